"""Writes the Patient resource, related persons, coverage and care team."""

from datetime import timedelta
from typing import Any

from hilum_ehr.synthesis.chart import Chart
from hilum_ehr.synthesis.codes import HL7, RACE, US_CORE, coding, concept, hl7, snomed, unknown
from hilum_ehr.synthesis.models import Story
from hilum_ehr.synthesis.places import address, phone

RACES = (
    ("2106-3", "White"),
    ("2054-5", "Black or African American"),
    ("2028-9", "Asian"),
    ("2106-3", "White"),
    ("2131-1", "Other Race"),
)
SEX = {True: ("248152002", "F"), False: ("248153007", "M")}
RELATIONS = {"MTH": "mother", "FTH": "father", "SPS": "spouse"}
LANGUAGES = (
    ("en", "English"),
    ("en", "English"),
    ("en", "English"),
    ("es", "Spanish"),
    ("pt", "Portuguese"),
    ("fr", "French"),
)


def write_person(chart: Chart) -> None:
    """Write the Patient and related persons and, in a chart with data, coverage and care team."""
    _patient(chart)
    _kin(chart)
    if Story.NO_DATA not in chart.person.stories:
        _coverage(chart)
        _team(chart)


def _patient(chart: Chart) -> None:
    person, rng, site = chart.person, chart.rng, chart.site
    unnamed = Story.UNNAMED in person.stories
    record = f"{rng.randint(0, 9_999_999):07d}"
    content: dict[str, Any] = {
        "extension": _extensions(chart),
        "identifier": [{
            "use": "usual",
            "type": hl7("v2-0203", "MR", "Medical record number"),
            "system": f"https://{site.plan.tenant}.example/mrn",
            "value": record,
            "assigner": site.organization,
        }],
        "active": person.died is None,
        "name": [unknown()] if unnamed else _names(chart),
        "telecom": [phone(rng, "mobile"), {"system": "email", "value": f"{person.slug}@people.example", "use": "home"}],
        "gender": "female" if person.female else "male",
        "birthDate": person.born.isoformat(),
        "address": _addresses(chart),
        "communication": [_language(chart)],
        "generalPractitioner": [site.primary.ref],
        "managingOrganization": site.organization,
    }  # fmt: skip
    if unnamed:
        del content["birthDate"], content["telecom"], content["address"], content["communication"]
        # FHIR R4 json.html#primitive: an extension of a primitive that has no value.
        content["_birthDate"] = unknown()
    if person.died:
        content["deceasedDateTime"] = site.at(person.died, 250).isoformat()
    if not person.child(person.until) and not unnamed:
        content["maritalStatus"] = hl7(
            "v3-MaritalStatus", *rng.choice((("M", "Married"), ("S", "Never Married"), ("D", "Divorced")))
        )
    # The order of R4's definition, in which readers expect them.
    order = ("extension", "identifier", "active", "name", "telecom", "gender", "birthDate", "_birthDate", "deceasedDateTime", "address",
             "maritalStatus", "communication", "generalPractitioner", "managingOrganization")  # fmt: skip
    chart.write("Patient", {key: content[key] for key in order if key in content}, profile="us-core-patient",
                resource_id=site.plan.patient_id(person.slug))  # fmt: skip


def _language(chart: Chart) -> dict[str, Any]:
    code, words = chart.rng.choice(LANGUAGES)
    return {"language": concept("urn:ietf:bcp:47", code, words), "preferred": True}


def _names(chart: Chart) -> list[dict[str, Any]]:
    person = chart.person
    name: dict[str, Any] = {"use": "official", "family": person.family, "given": list(person.given)}
    if person.suffix:
        name["suffix"] = [person.suffix]
    if Story.OLD_NAME not in person.stories:
        return [name]
    changed = person.until - timedelta(days=700)
    former = {
        "use": "old",
        "family": "Fairweather",
        "given": list(person.given),
        "period": {"end": changed.isoformat()},
    }
    return [{**name, "period": {"start": changed.isoformat()}}, former]


def _addresses(chart: Chart) -> list[dict[str, Any]]:
    now = {"use": "home", **address(chart.site.plan, chart.rng)}
    if Story.OLD_NAME not in chart.person.stories:
        return [now]
    moved = (chart.person.until - timedelta(days=690)).isoformat()
    old = {"use": "old", **address(chart.site.plan, chart.rng), "period": {"end": moved}}
    return [{**now, "period": {"start": moved}}, old]


def _extensions(chart: Chart) -> list[dict[str, Any]]:
    person, rng = chart.person, chart.rng
    tribal = Story.TRIBAL in person.stories
    race = ("1002-5", "American Indian or Alaska Native") if tribal else rng.choice(RACES)
    hispanic = rng.random() < 0.25
    ethnicity = ("2135-2", "Hispanic or Latino") if hispanic else ("2186-5", "Not Hispanic or Latino")
    sex, birth_sex = SEX[person.female]
    extensions: list[dict[str, Any]] = [
        {"url": US_CORE + name, "extension": [
            {"url": "ombCategory", "valueCoding": coding(RACE, *value)},
            {"url": "text", "valueString": value[1]},
        ]}
        for name, value in (("us-core-race", race), ("us-core-ethnicity", ethnicity))
    ]  # fmt: skip
    # Of an unidentified patient nobody knows the sex assigned at birth.
    if Story.UNNAMED not in person.stories:
        extensions.append({"url": US_CORE + "us-core-birthsex", "valueCode": birth_sex})
        extensions.append({"url": US_CORE + "us-core-sex", "valueCode": sex})
    if tribal:
        extensions.append({"url": US_CORE + "us-core-tribal-affiliation", "extension": [
            {"url": "tribalAffiliation", "valueCodeableConcept": concept(HL7 + "v3-TribalEntityUS", "187", "Paiute-Shoshone Tribe of the Fallon Reservation and Colony, Nevada")},
            {"url": "isEnrolled", "valueBoolean": True},
        ]})  # fmt: skip
    return extensions


def _kin(chart: Chart) -> None:
    for kin in chart.person.kin:
        chart.write("RelatedPerson", {
            "active": True,
            "patient": chart.patient,
            "relationship": [hl7("v3-RoleCode", kin.relation, RELATIONS[kin.relation])],
            "name": [{"use": "official", "family": kin.family, "given": [kin.given]}],
            "telecom": [phone(chart.rng, "mobile")],
            "gender": "male" if kin.relation == "FTH" else "female" if kin.relation == "MTH" else "unknown",
            "address": [address(chart.site.plan, chart.rng)],
        }, profile="us-core-relatedperson", resource_id=chart.site.id(f"rel-{chart.person.slug}-{kin.slug}"))  # fmt: skip


def _coverage(chart: Chart) -> None:
    person, rng = chart.person, chart.rng
    member = f"NM{rng.randint(0, 99_999_999):08d}"
    public = person.years(person.until) >= 65
    plan = ("Silver 3000", "NM-S3000") if not public else ("Medicare Advantage", "NM-MA1")
    own = not person.child(person.until)
    chart.write("Coverage", {
        "identifier": [{"type": hl7("v2-0203", "MB", "Member Number"), "system": "https://northern-mutual.example/members", "value": member}],
        "status": "cancelled" if person.died else "active",
        "type": concept("https://nahdo.org/sopt", *(("1", "MEDICARE") if public else ("5", "PRIVATE HEALTH INSURANCE"))),
        "subscriberId": member[:8],
        "beneficiary": chart.patient,
        "relationship": hl7("subscriber-relationship", *(("self", "Self") if own else ("child", "Child"))),
        "period": {"start": max(person.begins, person.born).isoformat(), **({"end": person.died.isoformat()} if person.died else {})},
        "payor": [{**chart.site.ref("Organization", "org-payer"), "display": "Northern Mutual Health Plan"}],
        "class": [
            {"type": hl7("coverage-class", "group"), "value": f"G{rng.randint(100, 999)}", "name": "Valley Employers"},
            {"type": hl7("coverage-class", "plan"), "value": plan[1], "name": plan[0]},
        ],
    }, profile="us-core-coverage")  # fmt: skip


def _team(chart: Chart) -> None:
    person, site = chart.person, chart.site
    members = [
        {"role": [site.primary.role], "member": site.primary.ref, "onBehalfOf": site.organization},
        {"role": [site.clinician("nurse").role], "member": site.clinician("nurse").ref},
    ]
    if person.course(Story.HEART_FAILURE) or person.course(Story.ATRIAL_FIBRILLATION):
        # One participant is a PractitionerRole, which must-support of us-core-careteam asks for.
        role_id = site.clinician("cardiology").id.replace("-prac-", "-role-")
        members.append(
            {
                "role": [site.clinician("cardiology").role],
                "member": {"reference": f"PractitionerRole/{role_id}"},
            }
        )
    members += [
        {"role": [snomed("133932002", "Caregiver")], "member": {"reference": f"RelatedPerson/{site.id(f'rel-{person.slug}-{kin.slug}')}"}}
        for kin in person.kin
    ]  # fmt: skip
    chart.write("CareTeam", {
        "status": "inactive" if person.died else "active",
        "name": "Care team",
        "subject": chart.patient,
        "period": {"start": max(person.begins, person.born).isoformat()},
        "participant": members,
        "managingOrganization": [site.organization],
    }, profile="us-core-careteam")  # fmt: skip


def full_name(given: tuple[str, ...], family: str) -> str:
    return " ".join((*given, family)) or "Name unknown"
