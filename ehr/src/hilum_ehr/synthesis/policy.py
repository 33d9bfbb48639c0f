"""The plan of the sandbox: its hospitals, who signs in there, and the planned charts. Pure."""

from hilum_ehr.synthesis.models import CastMember, HospitalPlan, Kin, Kind, PatientPlan, Role, Story

YEAR = 365
MONTH = 30


def hospitals() -> tuple[HospitalPlan, ...]:
    """Plan the three synthetic hospitals: a general hospital, a children's hospital and an outpatient clinic."""
    return (
        HospitalPlan(
            tenant="general",
            name="Meridian General Hospital",
            kind=Kind.GENERAL,
            prefix="gen",
            city="Alder Falls",
            state="MA",
            postal_code="01099",
            utc_offset_h=-5,
            size=60,
            notable=_GENERAL_CHARTS,
            cast=_GENERAL_CAST,
        ),
        HospitalPlan(
            tenant="children",
            name="Harbor Children's Hospital",
            kind=Kind.CHILDREN,
            prefix="chi",
            city="Lakemont",
            state="IL",
            postal_code="60999",
            utc_offset_h=-6,
            size=35,
            notable=_CHILDREN_CHARTS,
            cast=_CHILDREN_CAST,
        ),
        HospitalPlan(
            tenant="clinic",
            name="Juniper Street Clinic",
            kind=Kind.CLINIC,
            prefix="cli",
            city="Port Elgin",
            state="WA",
            postal_code="98999",
            utc_offset_h=-8,
            size=25,
            notable=_CLINIC_CHARTS,
            cast=_CLINIC_CAST,
        ),
    )


def _staff(prefix: str, username: str, role: Role, name: str) -> CastMember:
    slug = username.rpartition(".")[2]
    # Passwords are published on purpose. A sandbox that is open to strangers draws its own (security decision 28).
    return CastMember(username, f"sandbox-{username}", role, f"Practitioner/{prefix}-prac-{slug}", name)


def _patient(prefix: str, slug: str, username: str, name: str, wards: tuple[str, ...] = ()) -> CastMember:
    chart = f"{prefix}-pat-{slug}"
    return CastMember(
        username,
        f"sandbox-{username}",
        Role.PATIENT,
        f"Patient/{chart}",
        name,
        patient=chart,
        proxies=tuple(f"{prefix}-pat-{ward}" for ward in wards),
    )


def _parent(prefix: str, wards: tuple[str, ...], kin: Kin, username: str) -> CastMember:
    return CastMember(
        username,
        f"sandbox-{username}",
        Role.PATIENT,
        # A parent's own resource is the RelatedPerson in the first child's chart.
        f"RelatedPerson/{prefix}-rel-{wards[0]}-{kin.slug}",
        f"{kin.given} {kin.family}",
        proxies=tuple(f"{prefix}-pat-{ward}" for ward in wards),
    )


_SANTOS = Kin("maria", "Maria", "Santos", "MTH")
_HADDAD = Kin("rania", "Rania", "Haddad", "MTH")
_OYELARAN = Kin("tunde", "Tunde", "Oyelaran", "FTH")
_BRANDT = Kin("greta", "Greta", "Brandt", "MTH")

_GENERAL_CHARTS = (
    PatientPlan(
        "okafor-rosalind", ("Rosalind", "Ngozi"), "Okafor", True, 61 * YEAR + 74,
        (Story.DIABETES, Story.HYPERTENSION, Story.KIDNEY, Story.LIPIDS, Story.EVERY_PROFILE, Story.OLD_NAME),
        "type 2 diabetes with 3 years of HbA1c, blood pressure under treatment, kidney disease; carries every US Core profile an adult can",
        kin=(Kin("chidi", "Chidi", "Okafor", "SPS"),), suffix="PhD",
    ),
    PatientPlan(
        "osei-amara", ("Amara",), "Osei", True, 44 * YEAR + 200,
        (Story.HYPERTENSION, Story.ANXIETY, Story.MIGRAINE),
        "blood pressure falling after a drug was started; signs in as amara.osei",
    ),
    PatientPlan(
        "santos-maria", ("Maria", "Luísa"), "Santos", True, 31 * YEAR + 12,
        (Story.PREGNANCY, Story.OBESITY),
        "gave birth to twins; signs in as maria.santos and acts for both", gave_birth_days_ago=24,
    ),
    PatientPlan(
        "santos-ines", ("Inês",), "Santos", True, 24, (Story.PREMATURITY,),
        "newborn twin, 24 days old", kin=(_SANTOS,),
    ),
    PatientPlan(
        "santos-tomas", ("Tomás",), "Santos", False, 24, (Story.PREMATURITY,),
        "newborn twin, 24 days old", kin=(_SANTOS,),
    ),
    PatientPlan(
        "bell-oscar", ("Oscar",), "Bell", False, 2 * YEAR + 7 * MONTH, (Story.EVERY_PROFILE, Story.ASTHMA),
        "toddler with growth percentiles; carries every US Core profile a child can",
        kin=(Kin("ada", "Ada", "Bell", "MTH"),),
    ),
    PatientPlan(
        "whitehorse-daniel", ("Daniel",), "Whitehorse", False, 52 * YEAR, (Story.TRIBAL, Story.DIABETES),
        "tribal affiliation",
    ),
    PatientPlan(
        "marchetti-aldo", ("Aldo",), "Marchetti", False, 83 * YEAR, (Story.HEART_FAILURE, Story.DECEASED, Story.CORONARY),
        "deceased", suffix="Jr.",
    ),
    PatientPlan(
        "novak-stefan", ("Štefan",), "Novák-Łódzki", False, 70 * YEAR,
        (Story.HEART_FAILURE, Story.ATRIAL_FIBRILLATION, Story.MANY_RESULTS),
        "heart failure under home monitoring: more than 500 observations; a pacemaker",
    ),
    PatientPlan(
        "reyes-jordan", ("Jordan",), "Reyes", False, 34 * YEAR, (Story.OPIOID_USE, Story.HIV, Story.DEPRESSION),
        "restricted labels: 42 CFR Part 2, HIV and psychiatry",
    ),
    PatientPlan(
        "lindgren-ulla", ("Ulla",), "Lindgren", True, 76 * YEAR, (Story.COPD, Story.INPATIENT, Story.HYPERTENSION),
        "inpatient, in a bed right now",
    ),
    PatientPlan("empty-quinn", ("Quinn",), "Ellery", True, 29 * YEAR, (Story.NO_DATA,), "no data"),
    PatientPlan(
        "unnamed", (), "", False, 40 * YEAR, (Story.UNNAMED, Story.INPATIENT),
        "brought in unconscious: name and birth date unknown",
    ),
    PatientPlan(
        "wolfeschlegel", ("Hubert", "Blaine", "Wolfgang", "Maximilian", "Bartholomew"),
        "Wolfeschlegelsteinhausenbergerdorff-Papadimitrakopoulos", False, 58 * YEAR, (Story.ARTHRITIS, Story.REFLUX),
        "a very long name; a hip prosthesis",
    ),
    PatientPlan("zhang-wei", ("伟",), "张", False, 47 * YEAR, (Story.LIPIDS, Story.HYPERTENSION), "a name in Han characters"),
    PatientPlan(
        "delacroix-eve", ("Ève",), "Delacroix", True, 57 * YEAR, (Story.BREAST_CANCER, Story.FOOD_INSECURITY),
        "breast cancer with pathology, imaging and follow-up; food insecurity",
    ),
)  # fmt: skip

_GENERAL_CAST = (
    _staff("gen", "dr.adeyemi", Role.PHYSICIAN, "Folake Adeyemi"),
    _staff("gen", "dr.lindqvist", Role.PHYSICIAN, "Jonas Lindqvist"),
    _staff("gen", "nurse.okeke", Role.NURSE, "Ifeoma Okeke"),
    _staff("gen", "analyst.romero", Role.ANALYST, "Pilar Romero"),
    _staff("gen", "admin.hall", Role.ADMINISTRATOR, "Miriam Hall"),
    # What opens restricted records takes two administrators of the hospital.
    _staff("gen", "admin.silva", Role.ADMINISTRATOR, "Beatriz Silva"),
    _staff("gen", "desk.quinn", Role.FRONT_DESK, "Sean Quinn"),
    _patient("gen", "osei-amara", "amara.osei", "Amara Osei"),
    _patient("gen", "okafor-rosalind", "rosalind.okafor", "Rosalind Okafor"),
    _patient("gen", "santos-maria", "maria.santos", "Maria Santos", ("santos-ines", "santos-tomas")),
)

_CHILDREN_CHARTS = (
    PatientPlan(
        "haddad-noor", ("Noor",), "Haddad", True, 2 * YEAR + 5 * MONTH, (Story.EVERY_PROFILE, Story.ECZEMA),
        "toddler with growth percentiles; carries every US Core profile a child can", kin=(_HADDAD,),
    ),
    PatientPlan(
        "haddad-sami", ("Sami",), "Haddad", False, 8 * YEAR + 100, (Story.ASTHMA, Story.RHINITIS),
        "asthma; his mother signs in as rania.haddad", kin=(_HADDAD,),
    ),
    PatientPlan(
        "oyelaran-bisi", ("Bisi",), "Oyelaran", True, 17 * YEAR + 40,
        (Story.EVERY_PROFILE, Story.TYPE1_DIABETES, Story.OLD_NAME, Story.TRIBAL),
        "type 1 diabetes, 3 years of HbA1c; nearly of age, signs in herself", kin=(_OYELARAN,), suffix="II",
    ),
    PatientPlan(
        "brandt-mila", ("Mila",), "Brandt", True, 4 * YEAR + 61, (Story.PREMATURITY,), "twin, born preterm", kin=(_BRANDT,),
    ),
    PatientPlan(
        "brandt-emil", ("Emil",), "Brandt", False, 4 * YEAR + 61, (Story.PREMATURITY, Story.ASTHMA),
        "twin, born preterm", kin=(_BRANDT,),
    ),
    PatientPlan("park-minjun", ("민준",), "박", False, 9, (), "newborn, 9 days old; a name in Hangul",
                kin=(Kin("jisoo", "Jisoo", "Park", "MTH"),)),
    PatientPlan(
        "kowalska-zofia", ("Zofia",), "Kowalska", True, 11 * YEAR, (Story.CYSTIC_FIBROSIS, Story.MANY_RESULTS),
        "cystic fibrosis with home spirometry: more than 500 observations",
    ),
    PatientPlan("ferreira-davi", ("Davi",), "Ferreira", False, 9 * YEAR, (Story.EPILEPSY, Story.INPATIENT), "inpatient, in a bed right now"),
    PatientPlan("murphy-aoife", ("Aoife",), "O'Murphy", True, 6 * YEAR, (Story.NO_DATA,), "no data"),
    PatientPlan("tran-kai", ("Kai",), "Trần", False, 16 * YEAR, (Story.DEPRESSION, Story.OPIOID_USE), "restricted labels on an adolescent's chart"),
    PatientPlan("castillo-luz", ("Luz",), "Castillo", True, 5 * YEAR, (Story.HEART_FAILURE, Story.DECEASED), "deceased"),
    PatientPlan("unnamed", (), "", True, 3 * YEAR, (Story.UNNAMED, Story.INPATIENT), "found alone: name and birth date unknown"),
)  # fmt: skip

_CHILDREN_CAST = (
    _staff("chi", "dr.whitfield", Role.PHYSICIAN, "Nora Whitfield"),
    _staff("chi", "nurse.banerjee", Role.NURSE, "Anjali Banerjee"),
    _staff("chi", "analyst.kim", Role.ANALYST, "Hana Kim"),
    _staff("chi", "admin.ortega", Role.ADMINISTRATOR, "Luis Ortega"),
    _staff("chi", "desk.moreau", Role.FRONT_DESK, "Claire Moreau"),
    _patient("chi", "oyelaran-bisi", "bisi.oyelaran", "Bisi Oyelaran"),
    _parent("chi", ("haddad-noor", "haddad-sami"), _HADDAD, "rania.haddad"),
    _parent("chi", ("oyelaran-bisi",), _OYELARAN, "tunde.oyelaran"),
    _parent("chi", ("brandt-mila", "brandt-emil"), _BRANDT, "greta.brandt"),
)

_CLINIC_CHARTS = (
    PatientPlan(
        "petrov-irina", ("Irina",), "Petrova", True, 38 * YEAR + 30,
        (Story.EVERY_PROFILE, Story.PREGNANCY, Story.HYPOTHYROID, Story.OLD_NAME, Story.TRIBAL),
        "pregnant; thyroid replacement; carries every US Core profile an adult can",
        kin=(Kin("pavel", "Pavel", "Petrov", "SPS"),), suffix="RN",
    ),
    PatientPlan(
        "petrov-alexei", ("Alexei",), "Petrov", False, 2 * YEAR + 3 * MONTH, (Story.EVERY_PROFILE,),
        "toddler with growth percentiles; his mother signs in as irina.petrova",
        kin=(Kin("irina", "Irina", "Petrova", "MTH"),),
    ),
    PatientPlan("nakamura-ken", ("Ken",), "Nakamura", False, 55 * YEAR, (Story.DIABETES, Story.HYPERTENSION, Story.LIPIDS),
                "type 2 diabetes, 3 years of HbA1c; signs in as ken.nakamura"),
    PatientPlan("greene-walter", ("Walter",), "Greene", False, 79 * YEAR, (Story.DEMENTIA, Story.PROSTATE_CANCER, Story.DECEASED), "deceased",
                suffix="Sr."),
    PatientPlan("moss-harriet", ("Harriet",), "Moss", True, 49 * YEAR, (Story.DEPRESSION, Story.OPIOID_USE),
                "restricted labels: 42 CFR Part 2 and psychiatry"),
    PatientPlan("ivanov-gleb", ("Глеб",), "Иванов", False, 66 * YEAR, (Story.HYPERTENSION, Story.MANY_RESULTS, Story.KIDNEY),
                "home blood pressure monitoring: more than 500 observations; a name in Cyrillic"),
    PatientPlan("adler-noa", ("Noa",), "Adler", True, 22 * YEAR, (Story.NO_DATA,), "no data"),
    PatientPlan("unnamed", (), "", True, 35 * YEAR, (Story.UNNAMED,), "name and birth date unknown"),
)  # fmt: skip

_CLINIC_CAST = (
    _staff("cli", "dr.solberg", Role.PHYSICIAN, "Ingrid Solberg"),
    _staff("cli", "nurse.diallo", Role.NURSE, "Awa Diallo"),
    _staff("cli", "analyst.webb", Role.ANALYST, "Colin Webb"),
    _staff("cli", "admin.fraser", Role.ADMINISTRATOR, "Elspeth Fraser"),
    _staff("cli", "desk.nunez", Role.FRONT_DESK, "Teresa Núñez"),
    _patient("cli", "nakamura-ken", "ken.nakamura", "Ken Nakamura"),
    _patient("cli", "petrov-irina", "irina.petrova", "Irina Petrova", ("petrov-alexei",)),
)
