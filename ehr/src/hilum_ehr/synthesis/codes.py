"""Terminology facts: systems, illnesses, drugs, vaccines and the words of notes.

Source: public codes of SNOMED CT US, ICD-10-CM, RxNorm, CVX, LOINC, UCUM and HL7 terminology.
"""

from dataclasses import dataclass
from typing import Any

from hilum_ehr.synthesis.models import Story

US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/"
US_CORE_SYSTEM = "http://hl7.org/fhir/us/core/CodeSystem/"
HL7 = "http://terminology.hl7.org/CodeSystem/"
SNOMED = "http://snomed.info/sct"
LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
CVX = "http://hl7.org/fhir/sid/cvx"
UCUM = "http://unitsofmeasure.org"
NUCC = "http://nucc.org/provider-taxonomy"
NPI = "http://hl7.org/fhir/sid/us-npi"
RACE = "urn:oid:2.16.840.1.113883.6.238"
DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

Concept = dict[str, Any]


def coding(system: str, code: str, display: str = "") -> Concept:
    return (
        {"system": system, "code": code, "display": display} if display else {"system": system, "code": code}
    )


def concept(system: str, code: str, display: str = "") -> Concept:
    codeable: Concept = {"coding": [coding(system, code, display)]}
    if display:
        codeable["text"] = display
    return codeable


def snomed(code: str, display: str) -> Concept:
    return concept(SNOMED, code, display)


def loinc(code: str, display: str) -> Concept:
    return concept(LOINC, code, display)


def hl7(system: str, code: str, display: str = "") -> Concept:
    return {"coding": [coding(HL7 + system, code, display)]}


def quantity(value: float, unit: str, code: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "system": UCUM, "code": code}


def unknown(reason: str = "unknown") -> dict[str, Any]:
    """Return the data-absent-reason extension, which replaces a mandatory value.

    Source: US Core 6.1.0 general-guidance.html#missing-data
    """
    return {"extension": [{"url": DATA_ABSENT, "valueCode": reason}]}


HTEST = coding(HL7 + "v3-ActReason", "HTEST", "test health data")
RESTRICTED = coding(HL7 + "v3-Confidentiality", "R", "restricted")
PART_2 = coding(HL7 + "v3-ActCode", "42CFRPart2", "42 CFR Part2")
ABOUT_SUBSTANCES = coding(HL7 + "v3-ActCode", "ETH", "substance abuse information sensitivity")
ABOUT_HIV = coding(HL7 + "v3-ActCode", "HIV", "HIV/AIDS information sensitivity")
ABOUT_PSYCHIATRY = coding(HL7 + "v3-ActCode", "PSY", "psychiatry disorder information sensitivity")

LABELS: dict[Story, tuple[Concept, ...]] = {
    Story.OPIOID_USE: (RESTRICTED, ABOUT_SUBSTANCES, PART_2),
    Story.HIV: (RESTRICTED, ABOUT_HIV),
}


@dataclass(frozen=True, slots=True)
class Illness:
    name: str
    snomed: tuple[str, str]
    icd10: tuple[str, str]
    drugs: tuple[str, ...] = ()
    from_birth: bool = False


ILLNESSES: dict[Story, Illness] = {
    Story.HYPERTENSION: Illness("hypertension", ("59621000", "Essential hypertension"), ("I10", "Essential (primary) hypertension"), ("lisinopril", "hydrochlorothiazide")),
    Story.DIABETES: Illness("type 2 diabetes", ("44054006", "Diabetes mellitus type 2"), ("E11.9", "Type 2 diabetes mellitus without complications"), ("metformin",)),
    Story.TYPE1_DIABETES: Illness("type 1 diabetes", ("46635009", "Diabetes mellitus type 1"), ("E10.9", "Type 1 diabetes mellitus without complications"), ("glargine", "insulin")),
    Story.KIDNEY: Illness("chronic kidney disease stage 3", ("433144002", "Chronic kidney disease stage 3"), ("N18.30", "Chronic kidney disease, stage 3 unspecified"), ("losartan",)),
    Story.LIPIDS: Illness("hyperlipidemia", ("55822004", "Hyperlipidemia"), ("E78.5", "Hyperlipidemia, unspecified"), ("atorvastatin",)),
    Story.HEART_FAILURE: Illness("heart failure", ("88805009", "Chronic congestive heart failure"), ("I50.9", "Heart failure, unspecified"), ("carvedilol", "furosemide")),
    Story.ATRIAL_FIBRILLATION: Illness("atrial fibrillation", ("49436004", "Atrial fibrillation"), ("I48.91", "Unspecified atrial fibrillation"), ("warfarin",)),
    Story.CORONARY: Illness("coronary artery disease", ("53741008", "Coronary arteriosclerosis"), ("I25.10", "Atherosclerotic heart disease of native coronary artery without angina pectoris"), ("clopidogrel", "aspirin")),
    Story.COPD: Illness("COPD", ("13645005", "Chronic obstructive lung disease"), ("J44.9", "Chronic obstructive pulmonary disease, unspecified"), ("salmeterol",)),
    Story.ASTHMA: Illness("asthma", ("195967001", "Asthma"), ("J45.909", "Unspecified asthma, uncomplicated"), ("albuterol",)),
    Story.DEPRESSION: Illness("depression", ("370143000", "Major depressive disorder"), ("F32.9", "Major depressive disorder, single episode, unspecified"), ("fluoxetine",)),
    Story.ANXIETY: Illness("anxiety", ("21897009", "Generalized anxiety disorder"), ("F41.1", "Generalized anxiety disorder"), ("escitalopram",)),
    Story.HYPOTHYROID: Illness("hypothyroidism", ("40930008", "Hypothyroidism"), ("E03.9", "Hypothyroidism, unspecified"), ("levothyroxine",)),
    Story.ARTHRITIS: Illness("osteoarthritis", ("396275006", "Osteoarthritis"), ("M19.90", "Unspecified osteoarthritis, unspecified site"), ("naproxen",)),
    Story.BREAST_CANCER: Illness("breast cancer", ("254837009", "Malignant neoplasm of breast"), ("C50.919", "Malignant neoplasm of unspecified site of unspecified female breast"), ("anastrozole",)),
    Story.PROSTATE_CANCER: Illness("prostate cancer", ("399068003", "Malignant tumor of prostate"), ("C61", "Malignant neoplasm of prostate"), ("leuprolide",)),
    Story.PREGNANCY: Illness("pregnancy", ("72892002", "Normal pregnancy"), ("Z34.90", "Encounter for supervision of normal pregnancy, unspecified, unspecified trimester"), ("iron",)),
    Story.OPIOID_USE: Illness("opioid use disorder", ("5602001", "Opioid abuse"), ("F11.10", "Opioid abuse, uncomplicated"), ("buprenorphine",)),
    Story.HIV: Illness("HIV", ("86406008", "Human immunodeficiency virus infection"), ("B20", "Human immunodeficiency virus [HIV] disease"), ("bictegravir",)),
    Story.MIGRAINE: Illness("migraine", ("37796009", "Migraine"), ("G43.909", "Migraine, unspecified, not intractable, without status migrainosus"), ("sumatriptan",)),
    Story.DEMENTIA: Illness("dementia", ("26929004", "Alzheimer's disease"), ("G30.9", "Alzheimer's disease, unspecified"), ("donepezil",)),
    Story.REFLUX: Illness("reflux", ("235595009", "Gastroesophageal reflux disease"), ("K21.9", "Gastro-esophageal reflux disease without esophagitis"), ("omeprazole",)),
    Story.OBESITY: Illness("obesity", ("414916001", "Obesity"), ("E66.9", "Obesity, unspecified")),
    Story.ADHD: Illness("ADHD", ("406506008", "Attention deficit hyperactivity disorder"), ("F90.9", "Attention-deficit hyperactivity disorder, unspecified type"), ("methylphenidate",)),
    Story.ECZEMA: Illness("eczema", ("24079001", "Atopic dermatitis"), ("L20.9", "Atopic dermatitis, unspecified"), ("hydrocortisone",)),
    Story.RHINITIS: Illness("allergic rhinitis", ("367498001", "Seasonal allergic rhinitis"), ("J30.2", "Other seasonal allergic rhinitis"), ("loratadine",)),
    Story.PREMATURITY: Illness("preterm birth", ("367494004", "Premature birth of newborn"), ("P07.30", "Preterm newborn, unspecified weeks of gestation"), from_birth=True),
    Story.CYSTIC_FIBROSIS: Illness("cystic fibrosis", ("190905008", "Cystic fibrosis"), ("E84.9", "Cystic fibrosis, unspecified"), ("albuterol-solution",), from_birth=True),
    Story.EPILEPSY: Illness("epilepsy", ("84757009", "Epilepsy"), ("G40.909", "Epilepsy, unspecified, not intractable, without status epilepticus"), ("diazepam",)),
}  # fmt: skip

ACUTE: dict[str, tuple[Illness, int]] = {
    "pharyngitis": (Illness("viral pharyngitis", ("195662009", "Acute viral pharyngitis"), ("J02.9", "Acute pharyngitis, unspecified")), 8),
    "sinusitis": (Illness("sinusitis", ("75498004", "Acute bacterial sinusitis"), ("J01.90", "Acute sinusitis, unspecified"), ("amoxicillin",)), 14),
    "otitis": (Illness("otitis media", ("65363002", "Otitis media"), ("H66.90", "Otitis media, unspecified, unspecified ear"), ("amoxicillin",)), 10),
    "cystitis": (Illness("urinary tract infection", ("68566005", "Urinary tract infectious disease"), ("N39.0", "Urinary tract infection, site not specified"), ("nitrofurantoin",)), 9),
    "sprain": (Illness("ankle sprain", ("44465007", "Sprain of ankle"), ("S93.409A", "Sprain of unspecified ligament of unspecified ankle, initial encounter"), ("ibuprofen",)), 21),
    "pneumonia": (Illness("pneumonia", ("233604007", "Pneumonia"), ("J18.9", "Pneumonia, unspecified organism"), ("ceftriaxone",)), 18),
}  # fmt: skip
"""Short illnesses and the days they last."""


@dataclass(frozen=True, slots=True)
class Drug:
    rxcui: str
    display: str
    directions: str
    dose: tuple[float, str, str]
    """Amount of one dose, its unit and UCUM code."""
    times_a_day: int
    supply: tuple[int, str]
    """What is handed over for ``days``, and its UCUM code."""
    days: int = 90
    as_needed: bool = False


_TABLET, _CAPSULE, _PUFF = "{tbl}", "{capsule}", "{puff}"

DRUGS: dict[str, Drug] = {
    "lisinopril": Drug("314076", "lisinopril 10 MG Oral Tablet", "Take one tablet by mouth once a day", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "hydrochlorothiazide": Drug("310798", "hydrochlorothiazide 25 MG Oral Tablet", "Take one tablet by mouth every morning", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "metformin": Drug("860975", "24 HR metformin hydrochloride 500 MG Extended Release Oral Tablet", "Take two tablets by mouth with the evening meal", (2, "tablet", _TABLET), 1, (180, _TABLET)),
    "glargine": Drug("311041", "insulin glargine 100 UNT/ML Injectable Solution", "Inject 18 units under the skin at bedtime", (18, "unit", "[iU]"), 1, (20, "mL")),
    "insulin": Drug("311034", "insulin, regular, human 100 UNT/ML Injectable Solution", "Inject 5 units under the skin before each meal", (5, "unit", "[iU]"), 3, (20, "mL")),
    "losartan": Drug("979492", "losartan potassium 50 MG Oral Tablet", "Take one tablet by mouth once a day", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "atorvastatin": Drug("617310", "atorvastatin 20 MG Oral Tablet", "Take one tablet by mouth at bedtime", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "carvedilol": Drug("200032", "carvedilol 12.5 MG Oral Tablet", "Take one tablet by mouth twice a day with food", (1, "tablet", _TABLET), 2, (180, _TABLET)),
    "furosemide": Drug("313988", "furosemide 40 MG Oral Tablet", "Take one tablet by mouth every morning", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "warfarin": Drug("855332", "warfarin sodium 5 MG Oral Tablet", "Take one tablet by mouth every evening", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "clopidogrel": Drug("309362", "clopidogrel 75 MG Oral Tablet", "Take one tablet by mouth once a day", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "aspirin": Drug("243670", "aspirin 81 MG Oral Tablet", "Take one tablet by mouth once a day", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "salmeterol": Drug("896209", "60 ACTUAT fluticasone propionate 0.25 MG/ACTUAT / salmeterol 0.05 MG/ACTUAT Dry Powder Inhaler", "Inhale one puff twice a day", (1, "puff", _PUFF), 2, (60, _PUFF), 30),
    "albuterol": Drug("2123111", "NDA020503 200 ACTUAT albuterol 0.09 MG/ACTUAT Metered Dose Inhaler", "Inhale two puffs every 4 to 6 hours when short of breath", (2, "puff", _PUFF), 4, (200, _PUFF), 30, as_needed=True),
    "albuterol-solution": Drug("630208", "albuterol 0.83 MG/ML Inhalation Solution", "Inhale 3 mL by nebulizer before chest physiotherapy", (3, "mL", "mL"), 2, (180, "mL"), 30),
    "fluoxetine": Drug("310385", "fluoxetine 20 MG Oral Capsule", "Take one capsule by mouth every morning", (1, "capsule", _CAPSULE), 1, (90, _CAPSULE)),
    "escitalopram": Drug("349332", "escitalopram 10 MG Oral Tablet", "Take one tablet by mouth once a day", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "levothyroxine": Drug("966222", "levothyroxine sodium 0.075 MG Oral Tablet", "Take one tablet by mouth on an empty stomach every morning", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "naproxen": Drug("198014", "naproxen 500 MG Oral Tablet", "Take one tablet by mouth twice a day with food when in pain", (1, "tablet", _TABLET), 2, (60, _TABLET), 30, as_needed=True),
    "anastrozole": Drug("199224", "anastrozole 1 MG Oral Tablet", "Take one tablet by mouth once a day", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "leuprolide": Drug("752899", "0.25 ML leuprolide acetate 30 MG/ML Prefilled Syringe", "Inject one syringe under the skin once a month", (1, "syringe", "{syringe}"), 1, (1, "{syringe}"), 30),
    "iron": Drug("310325", "ferrous sulfate 325 MG Oral Tablet", "Take one tablet by mouth once a day", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "buprenorphine": Drug("351266", "buprenorphine 2 MG / naloxone 0.5 MG Sublingual Tablet", "Dissolve two tablets under the tongue once a day", (2, "tablet", _TABLET), 1, (60, _TABLET), 30),
    "bictegravir": Drug("1999667", "bictegravir 50 MG / emtricitabine 200 MG / tenofovir alafenamide 25 MG Oral Tablet", "Take one tablet by mouth once a day", (1, "tablet", _TABLET), 1, (30, _TABLET), 30),
    "sumatriptan": Drug("313161", "sumatriptan 50 MG Oral Tablet", "Take one tablet by mouth at the onset of a migraine", (1, "tablet", _TABLET), 1, (9, _TABLET), 30, as_needed=True),
    "donepezil": Drug("997223", "donepezil hydrochloride 10 MG Oral Tablet", "Take one tablet by mouth at bedtime", (1, "tablet", _TABLET), 1, (90, _TABLET)),
    "omeprazole": Drug("198051", "omeprazole 20 MG Delayed Release Oral Capsule", "Take one capsule by mouth before breakfast", (1, "capsule", _CAPSULE), 1, (90, _CAPSULE)),
    "methylphenidate": Drug("1091392", "methylphenidate hydrochloride 20 MG Oral Tablet", "Take half a tablet by mouth every morning on school days", (0.5, "tablet", _TABLET), 1, (15, _TABLET), 30),
    "hydrocortisone": Drug("106258", "hydrocortisone 10 MG/ML Topical Cream", "Apply a thin layer to affected skin twice a day", (1, "application", "{application}"), 2, (30, "g"), 30),
    "loratadine": Drug("665078", "loratadine 5 MG Chewable Tablet", "Chew one tablet once a day in the season", (1, "tablet", _TABLET), 1, (30, _TABLET), 30),
    "diazepam": Drug("197591", "diazepam 5 MG Oral Tablet", "Take one tablet by mouth for a cluster of seizures", (1, "tablet", _TABLET), 1, (10, _TABLET), 30, as_needed=True),
    "amoxicillin": Drug("308182", "amoxicillin 250 MG Oral Capsule", "Take one capsule by mouth three times a day until finished", (1, "capsule", _CAPSULE), 3, (30, _CAPSULE), 10),
    "nitrofurantoin": Drug("1648755", "nitrofurantoin, macrocrystals 25 MG / nitrofurantoin, monohydrate 75 MG Oral Capsule", "Take one capsule by mouth twice a day until finished", (1, "capsule", _CAPSULE), 2, (10, _CAPSULE), 5),
    "ibuprofen": Drug("310965", "ibuprofen 200 MG Oral Tablet", "Take one tablet by mouth three times a day with food", (1, "tablet", _TABLET), 3, (30, _TABLET), 10),
    "ceftriaxone": Drug("1665021", "ceftriaxone 1000 MG Injection", "Infuse one gram into a vein once a day", (1, "g", "g"), 1, (5, "g"), 5),
}  # fmt: skip

VACCINES: dict[str, tuple[str, str]] = {
    "flu": ("140", "Influenza, seasonal, injectable, preservative free"),
    "hepb": ("08", "Hep B, adolescent or pediatric"),
    "dtap": ("20", "DTaP"),
    "ipv": ("10", "IPV"),
    "hib": ("49", "Hib (PRP-OMP)"),
    "pcv": ("133", "Pneumococcal conjugate PCV 13"),
    "mmr": ("03", "MMR"),
    "varicella": ("21", "varicella"),
    "hepa": ("83", "Hep A, ped/adol, 2 dose"),
    "tdap": ("115", "Tdap"),
    "menacwy": ("114", "meningococcal MCV4P"),
    "ppsv": ("33", "pneumococcal polysaccharide vaccine, 23 valent"),
    "zoster": ("187", "zoster vaccine recombinant"),
}

CHILD_SCHEDULE: tuple[tuple[int, str], ...] = (
    (0, "hepb"), (2, "hepb"), (2, "dtap"), (2, "ipv"), (2, "hib"), (2, "pcv"), (4, "dtap"), (4, "ipv"), (4, "hib"), (4, "pcv"),
    (6, "dtap"), (6, "hepb"), (6, "pcv"), (6, "ipv"), (12, "mmr"), (12, "varicella"), (12, "hepa"), (15, "dtap"), (15, "pcv"), (18, "hepa"),
    (50, "dtap"), (50, "ipv"), (50, "mmr"), (50, "varicella"), (134, "tdap"), (134, "menacwy"),
)  # fmt: skip
"""Months of age and what is given, after the routine US schedule."""

NOTES: dict[str, tuple[str, str]] = {
    "consult": ("11488-4", "Consult note"),
    "discharge": ("18842-5", "Discharge summary"),
    "history": ("34117-2", "History and physical note"),
    "procedure": ("28570-0", "Procedure note"),
    "progress": ("11506-3", "Progress note"),
    "imaging": ("18748-4", "Diagnostic imaging study"),
    "laboratory": ("11502-2", "Laboratory report"),
    "pathology": ("11526-1", "Pathology study"),
}
