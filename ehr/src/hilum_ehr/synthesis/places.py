"""Writes a hospital without patients: organizations, locations, clinicians."""

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from random import Random
from typing import Any

from hilum_ehr.synthesis import names
from hilum_ehr.synthesis.codes import HL7, HTEST, NPI, NUCC, SNOMED, US_CORE, coding, concept
from hilum_ehr.synthesis.models import HospitalPlan, Kind, Resource, Role

Reference = dict[str, str]

CLINICAL = frozenset({Role.PHYSICIAN, Role.NURSE})
SPECIALTIES: dict[str, tuple[str, str, str, str]] = {
    "primary": ("207R00000X", "Internal Medicine Physician", "59058001", "General physician"),
    "pediatrics": ("208000000X", "Pediatrics Physician", "82296001", "Pediatrician"),
    "nurse": ("163W00000X", "Registered Nurse", "224535009", "Registered nurse"),
    "cardiology": ("207RC0000X", "Cardiovascular Disease Physician", "17561000", "Cardiologist"),
    "obstetrics": ("207V00000X", "Obstetrics & Gynecology Physician", "11935004", "Obstetrician"),
    "pathology": (
        "207ZP0102X",
        "Anatomic Pathology & Clinical Pathology Physician",
        "81464008",
        "Clinical pathologist",
    ),
    "radiology": ("2085R0202X", "Diagnostic Radiology Physician", "66862007", "Radiologist"),
    "emergency": (
        "207P00000X",
        "Emergency Medicine Physician",
        "309294001",
        "Emergency department physician",
    ),
}
"""NUCC specialty and SNOMED role."""


@dataclass(frozen=True, slots=True)
class Clinician:
    id: str
    name: str
    specialty: str

    @property
    def ref(self) -> Reference:
        return {"reference": f"Practitioner/{self.id}", "display": self.name}

    @property
    def role(self) -> dict[str, Any]:
        return concept(SNOMED, *SPECIALTIES[self.specialty][2:])


@dataclass(slots=True)
class Site:
    """A hospital: the resources that its charts refer to."""

    plan: HospitalPlan
    today: date
    zone: timezone
    resources: list[Resource] = field(default_factory=list)
    clinicians: dict[str, Clinician] = field(default_factory=dict)
    """By specialty."""

    def id(self, name: str) -> str:
        return f"{self.plan.prefix}-{name}"

    def ref(self, kind: str, name: str) -> Reference:
        return {"reference": f"{kind}/{self.id(name)}"}

    @property
    def organization(self) -> Reference:
        return {**self.ref("Organization", "org-hospital"), "display": self.plan.name}

    @property
    def primary(self) -> Clinician:
        return self.clinicians["pediatrics" if self.plan.kind is Kind.CHILDREN else "primary"]

    def clinician(self, specialty: str) -> Clinician:
        return self.clinicians.get(specialty, self.primary)

    def at(self, day: date, minutes: int) -> datetime:
        """Return the moment ``minutes`` after local midnight."""
        return datetime.combine(day, time(), self.zone) + timedelta(minutes=minutes)

    def add(self, kind: str, name: str, content: dict[str, Any], profile: str = "") -> Reference:
        self.resources.append(tagged(kind, self.id(name), content, profile))
        return self.ref(kind, name)


def tagged(
    kind: str,
    resource_id: str,
    content: dict[str, Any],
    profile: str = "",
    labels: tuple[dict[str, Any], ...] = (),
) -> Resource:
    """Build a resource that is tagged as synthetic, with its members in FHIR's order."""
    meta: dict[str, Any] = {"profile": [US_CORE + profile]} if profile else {}
    if labels:
        meta["security"] = list(labels)
    return {"resourceType": kind, "id": resource_id, "meta": {**meta, "tag": [HTEST]}, **content}


def npi(nine: str) -> str:
    """Complete nine digits with the check digit of a National Provider Identifier.

    Source: ISO 7812 Luhn check over the prefix 80840, as CMS prescribes
    """
    total = 0
    for position, digit in enumerate(reversed("80840" + nine)):
        value = int(digit) * (2 if position % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return f"{nine}{-total % 10}"


def address(plan: HospitalPlan, rng: Random) -> dict[str, Any]:
    return {
        "line": [f"{rng.randint(2, 980)} {rng.choice(names.STREETS)}"],
        "city": plan.city,
        "state": plan.state,
        "postalCode": plan.postal_code,
        "country": "US",
    }


def phone(rng: Random, use: str = "work") -> dict[str, Any]:
    return {
        "system": "phone",
        # 555-0100 to 555-0199 are reserved for fiction in North America.
        "value": f"({rng.randint(201, 989)}) 555-01{rng.randint(0, 99):02d}",
        "use": use,
    }


def build_site(plan: HospitalPlan, *, seed: int, today: date) -> Site:
    """Build a hospital's resources other than those of patients."""
    # Not the patients' random streams: they do not change when a clinician is added.
    rng = Random(f"{seed}:{plan.tenant}:places")  # noqa: S311 - invented addresses need no secrecy
    site = Site(plan, today, timezone(timedelta(hours=plan.utc_offset_h)))
    _organizations(site, rng)
    _locations(site, rng)
    _staff(site, rng)
    return site


def _organizations(site: Site, rng: Random) -> None:
    plan = site.plan
    for name, kind, title, identifiers in (
        ("org-hospital", "prov", plan.name, [(NPI, npi(f"19{rng.randint(0, 9_999_999):07d}"))]),
        ("org-pharmacy", "prov", f"{plan.city} Community Pharmacy", [(NPI, npi(f"18{rng.randint(0, 9_999_999):07d}"))]),
        ("org-laboratory", "prov", f"{plan.city} Reference Laboratory", [
            (NPI, npi(f"17{rng.randint(0, 9_999_999):07d}")), ("urn:oid:2.16.840.1.113883.4.7", f"22D{rng.randint(0, 9_999_999):07d}"),
        ]),
        ("org-payer", "ins", "Northern Mutual Health Plan", [
            (NPI, npi(f"16{rng.randint(0, 9_999_999):07d}")), ("urn:oid:2.16.840.1.113883.6.300", f"{rng.randint(10_000, 99_999)}"),
        ]),
    ):  # fmt: skip
        site.add("Organization", name, {
            "identifier": [{"system": system, "value": value} for system, value in identifiers],
            "active": True,
            "type": [concept(HL7 + "organization-type", kind, "Insurance Company" if kind == "ins" else "Healthcare Provider")],
            "name": title,
            "telecom": [phone(rng), {"system": "url", "value": f"https://{name}.{plan.tenant}.example"}],
            "address": [address(plan, rng)],
        }, "us-core-organization")  # fmt: skip


def _locations(site: Site, rng: Random) -> None:
    rooms = [
        ("loc-outpatient", "Outpatient department", "OF"),
        ("loc-laboratory", "Blood collection", "LOCHFID"),
    ]
    if site.plan.kind is not Kind.CLINIC:
        rooms += [("loc-ward", "Ward 4 East", "HU"), ("loc-emergency", "Emergency department", "ER")]
    for name, title, kind in rooms:
        site.add("Location", name, {
            "identifier": [{"system": f"https://{site.plan.tenant}.example/locations", "value": name.removeprefix("loc-")}],
            "status": "active",
            "name": f"{site.plan.name}: {title}",
            "mode": "instance",
            "type": [{"coding": [coding(HL7 + "v3-RoleCode", kind)], "text": title}],
            "telecom": [phone(rng)],
            "address": address(site.plan, rng),
            "managingOrganization": site.organization,
        }, "us-core-location")  # fmt: skip


def _staff(site: Site, rng: Random) -> None:
    plan = site.plan
    first = "pediatrics" if plan.kind is Kind.CHILDREN else "primary"
    specialties = {Role.PHYSICIAN: [first, "cardiology"], Role.NURSE: ["nurse"]}
    for member in plan.cast:
        kind, _, name = member.fhir_user.partition("/")
        if kind == "Practitioner":
            specialty = specialties[member.role].pop(0) if specialties.get(member.role) else ""
            given, _, family = member.name.partition(" ")
            _practitioner(site, rng, name.removeprefix(f"{plan.prefix}-"), (given, family), specialty)
    # Charts refer to each specialty, so one that no planned person has gets a drawn one.
    for specialty in SPECIALTIES:
        if (
            specialty not in site.clinicians
            and specialty not in {"primary", "pediatrics"}
            and not (plan.kind is Kind.CLINIC and specialty == "emergency")
        ):
            given = rng.choice(names.WOMEN + names.MEN)
            _practitioner(site, rng, f"prac-{specialty}", (given, rng.choice(names.FAMILIES)), specialty)


def _practitioner(site: Site, rng: Random, name: str, full_name: tuple[str, str], specialty: str) -> None:
    given, family = full_name
    number = rng.randint(0, 99_999_999)
    identifiers = [{"system": f"https://{site.plan.tenant}.example/staff", "value": f"S{number:08d}"}]
    if specialty:
        identifiers.insert(0, {"system": NPI, "value": npi(f"1{number:08d}")})
    doctor = specialty not in {"", "nurse"}
    site.add("Practitioner", name, {
        "identifier": identifiers,
        "active": True,
        "name": [{"use": "official", "family": family, "given": [given], **({"prefix": ["Dr."]} if doctor else {})}],
        "telecom": [phone(rng), {"system": "email", "value": f"{names.slug(given)}.{names.slug(family)}@{site.plan.tenant}.example", "use": "work"}],
        "address": [{"use": "work", **address(site.plan, rng)}],
    }, "us-core-practitioner")  # fmt: skip
    if not specialty:
        return
    clinician = Clinician(site.id(name), f"{'Dr. ' if doctor else ''}{given} {family}", specialty)
    site.clinicians.setdefault(specialty, clinician)
    code = SPECIALTIES[specialty]
    site.add("PractitionerRole", name.replace("prac-", "role-"), {
        "active": True,
        "practitioner": clinician.ref,
        "organization": site.organization,
        "code": [clinician.role],
        "specialty": [concept(NUCC, *code[:2])],
        "location": [site.ref("Location", "loc-outpatient")],
        "telecom": [phone(rng)],
    }, "us-core-practitionerrole")  # fmt: skip
