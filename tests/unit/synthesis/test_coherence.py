"""A chart agrees with itself: numbers follow their equations, time runs forward, nothing has no reason."""

from base64 import b64decode
from collections import defaultdict
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum_ehr.synthesis import body
from hilum_ehr.synthesis.models import Resource, Story
from tests.unit.synthesis.hospital import (
    TENANTS,
    TODAY,
    amount,
    by_code,
    everything,
    made,
    moment,
    of,
    patient_of,
    plan_of,
    values,
)

TIMES = ("effectiveDateTime", "effectivePeriod.start", "authoredOn", "whenHandedOver", "occurrenceDateTime", "period.start", "date", "issued",
         "performedDateTime", "recordedDate", "onsetDateTime", "receivedTime", "authored", "recorded")  # fmt: skip


def _read(resource: Resource) -> str:
    """Read a resource as a person would: without its labels, with its attachments opened."""
    texts = [b64decode(data).decode() for data in values(resource, "content.attachment.data")]
    return str({key: value for key, value in resource.items() if key != "meta"}) + " ".join(texts)


def _at_once(tenant: str, *codes: str) -> list[tuple[Resource, ...]]:
    """Join observations of one patient at one moment, one of each code."""
    found: dict[tuple[str, str], dict[str, Resource]] = defaultdict(dict)
    for code in codes:
        for each in by_code(of(tenant, "Observation"), code):
            if "valueQuantity" in each:
                found[patient_of(each), each["effectiveDateTime"]][code] = each
    return [tuple(group[code] for code in codes) for group in found.values() if len(group) == len(codes)]


def _patients(tenant: str) -> dict[str, Resource]:
    return {each["id"]: each for each in of(tenant, "Patient")}


def _years(patient: Resource, when: str) -> float:
    return (moment(when).date() - date.fromisoformat(patient["birthDate"])).days / 365.25


@pytest.mark.parametrize("tenant", [each for each in TENANTS if each != "children"])
def test_a_calculator_of_cardiovascular_risk_finds_all_that_it_asks_for(tenant: str) -> None:
    """Age and sex are those of each patient: total cholesterol, HDL and hs-CRP at one moment, blood pressure, smoking."""
    together = {patient_of(group[0]) for group in _at_once(tenant, "2093-3", "2085-9", "30522-7")}
    pressure = {patient_of(each) for each in by_code(of(tenant, "Observation"), "85354-9")}
    smoking = {patient_of(each) for each in by_code(of(tenant, "Observation"), "72166-2")}

    complete = together & pressure & smoking

    assert len(complete) >= 10
    assert together - smoking == set(), "who has the blood values was asked about smoking too"


@pytest.mark.parametrize("tenant", TENANTS)
def test_body_mass_index_is_weight_over_height_squared(tenant: str) -> None:
    groups = _at_once(tenant, "8302-2", "29463-7", "39156-5")

    assert len(groups) > 100
    assert [
        one[2]["id"]
        for one in groups
        if abs(amount(one[1]) / (amount(one[0]) / 100) ** 2 - amount(one[2])) > 0.051
    ] == []


@pytest.mark.parametrize("tenant", ["general", "clinic"])
def test_filtration_follows_from_creatinine_age_and_sex(tenant: str) -> None:
    """CKD-EPI 2021, written out here again from the publication."""
    patients = _patients(tenant)
    groups = [
        one for one in _at_once(tenant, "2160-0", "98979-8") if "birthDate" in patients[patient_of(one[0])]
    ]

    assert len(groups) > 30
    for creatinine, rate in groups:
        patient = patients[patient_of(rate)]
        female = patient["gender"] == "female"
        ratio = amount(creatinine) / (0.7 if female else 0.9)
        power = -0.241 if female else -0.302
        expected = (
            142
            * min(ratio, 1) ** power
            * max(ratio, 1) ** -1.2
            * 0.9938 ** _years(patient, rate["effectiveDateTime"])
        )
        assert abs(expected * (1.012 if female else 1) - amount(rate)) <= 0.51


@pytest.mark.parametrize("tenant", ["general", "clinic"])
def test_ldl_follows_friedewald_and_average_glucose_follows_a1c(tenant: str) -> None:
    fats = _at_once(tenant, "2093-3", "2085-9", "2571-8", "13457-7")
    sugars = _at_once(tenant, "4548-4", "27353-2")

    assert len(fats) > 10
    assert len(sugars) > 10
    assert [
        one[3]["id"]
        for one in fats
        if abs(amount(one[0]) - amount(one[1]) - amount(one[2]) / 5 - amount(one[3])) > 0.51
    ] == []
    assert [one[1]["id"] for one in sugars if abs(28.7 * amount(one[0]) - 46.7 - amount(one[1])) > 0.51] == []


@pytest.mark.parametrize("tenant", TENANTS)
def test_nothing_happens_before_birth_after_death_or_in_the_future(tenant: str) -> None:
    patients, wrong = _patients(tenant), []
    for resource in made(tenant):
        patient = patients.get(patient_of(resource))
        if patient is None or resource["resourceType"] in {"Appointment", "Goal"}:
            continue
        for path in TIMES:
            for text in values(resource, path):
                day = date.fromisoformat(text[:10])
                born = date.fromisoformat(patient.get("birthDate", "1900-01-01"))
                died = (
                    date.fromisoformat(patient["deceasedDateTime"][:10])
                    if "deceasedDateTime" in patient
                    else TODAY
                )
                if not born <= day <= died:
                    wrong.append((resource["id"], path, text))

    assert wrong == []


@pytest.mark.parametrize(
    ("code", "years"),
    [("96761-2", 18), ("72106-8", 18), ("11341-5", 14), ("55758-7", 12), ("72166-2", 12), ("13457-7", 18), ("98979-8", 18)],
)  # fmt: skip
def test_nobody_is_asked_or_tested_before_the_age_for_it(code: str, years: int) -> None:
    patients = {each: person for tenant in TENANTS for each, person in _patients(tenant).items()}
    ages = [
        _years(patients[patient_of(each)], when)
        for each in by_code(everything(), code)
        for when in values(each, "effectiveDateTime") + values(each, "effectivePeriod.start")
        if "birthDate" in patients[patient_of(each)]
    ]

    assert ages, f"no hospital has {code}"
    assert min(ages) >= years


@pytest.mark.parametrize("tenant", TENANTS)
def test_every_drug_has_a_reason_in_the_same_chart(tenant: str) -> None:
    conditions = {f"Condition/{each['id']}": each for each in of(tenant, "Condition")}
    for request in of(tenant, "MedicationRequest"):
        reasons = values(request, "reasonReference.reference")
        assert reasons, request["id"]
        for reason in reasons:
            assert patient_of(conditions[reason]) == patient_of(request)
            assert conditions[reason]["onsetDateTime"] <= request["authoredOn"]


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_drug_is_handed_over_after_it_was_prescribed(tenant: str) -> None:
    requests = {f"MedicationRequest/{each['id']}": each for each in of(tenant, "MedicationRequest")}
    for dispense in of(tenant, "MedicationDispense"):
        request = requests[dispense["authorizingPrescription"][0]["reference"]]
        assert dispense["subject"] == request["subject"]
        assert moment(request["authoredOn"]) < moment(dispense["whenHandedOver"])


@pytest.mark.parametrize("tenant", TENANTS)
def test_every_note_is_written_within_its_encounter(tenant: str) -> None:
    encounters = {f"Encounter/{each['id']}": each for each in of(tenant, "Encounter")}
    for note in of(tenant, "DocumentReference"):
        encounter = encounters[note["context"]["encounter"][0]["reference"]]
        assert encounter["subject"] == note["subject"]
        assert moment(encounter["period"]["start"]) <= moment(note["date"])
        if "end" in encounter["period"]:
            assert moment(note["date"]) <= moment(encounter["period"]["end"])


@pytest.mark.parametrize("tenant", TENANTS)
def test_nobody_is_in_two_places_at_once(tenant: str) -> None:
    stays: dict[str, list[Resource]] = defaultdict(list)
    for encounter in of(tenant, "Encounter"):
        stays[patient_of(encounter)].append(encounter)
    for own in stays.values():
        own.sort(key=lambda each: moment(each["period"]["start"]))
        for earlier, later in pairwise(own):
            assert earlier["period"]["end"] <= later["period"]["start"], earlier["id"]


@pytest.mark.parametrize("tenant", TENANTS)
def test_children_grow_and_never_shrink(tenant: str) -> None:
    patients = _patients(tenant)
    for code in ("8302-2", "29463-7", "9843-4"):
        series: dict[str, list[tuple[str, float]]] = defaultdict(list)
        for each in by_code(of(tenant, "Observation"), code):
            patient = patients[patient_of(each)]
            if "birthDate" in patient and _years(patient, str(TODAY)) < 18:
                series[patient_of(each)].append((each["effectiveDateTime"], amount(each)))
        assert series
        for own in series.values():
            measured = [value for _, value in sorted(own)]
            assert measured == sorted(measured)


def test_blood_pressure_falls_after_the_drug_was_started() -> None:
    """The chart of amara.osei is planned to show it."""
    mine = [each for each in made("general") if patient_of(each) == "gen-pat-osei-amara"]
    started = min(
        each["authoredOn"]
        for each in mine
        if each["resourceType"] == "MedicationRequest"
        and "314076" in values(each, "medicationCodeableConcept.coding.code")
    )
    top = {
        each["effectiveDateTime"]: values(each, "component[code.coding.code=8480-6].valueQuantity.value")[0]
        for each in by_code(mine, "85354-9")
    }

    before = [value for when, value in top.items() if when < started]
    settled = [value for when, value in top.items() if moment(when) > moment(started) + timedelta(days=365)]

    assert len(settled) >= 4
    assert sum(before) / len(before) - sum(settled) / len(settled) > 12


@pytest.mark.parametrize(
    ("tenant", "slug"),
    [("general", "okafor-rosalind"), ("clinic", "nakamura-ken"), ("children", "oyelaran-bisi")],
)
def test_diabetes_is_followed_for_years_and_improves(tenant: str, slug: str) -> None:
    mine = [
        each for each in of(tenant, "Observation") if patient_of(each) == plan_of(tenant).patient_id(slug)
    ]
    series = sorted((each["effectiveDateTime"], amount(each)) for each in by_code(mine, "4548-4"))

    assert len(series) >= 8
    assert moment(series[-1][0]) - moment(series[0][0]) > timedelta(days=700)
    assert series[0][1] - series[-1][1] > 1


def test_twins_share_a_birthday_and_a_mother() -> None:
    patients = _patients("general")
    related = {patient_of(each): each["name"][0]["given"] for each in of("general", "RelatedPerson")}

    first, second = patients["gen-pat-santos-ines"], patients["gen-pat-santos-tomas"]

    assert first["birthDate"] == second["birthDate"]
    assert related[first["id"]] == related[second["id"]] == ["Maria"]


def test_a_birth_ends_the_pregnancy_on_the_day_the_twins_are_born() -> None:
    pregnancy = next(
        each
        for each in by_code(of("general", "Condition"), "72892002")
        if patient_of(each) == "gen-pat-santos-maria"
    )

    assert pregnancy["abatementDateTime"] == _patients("general")["gen-pat-santos-ines"]["birthDate"]


@pytest.mark.parametrize("tenant", TENANTS)
def test_whoever_was_never_seen_has_a_patient_resource_and_nothing_clinical(tenant: str) -> None:
    plan = plan_of(tenant)
    slug = next(written.slug for written in plan.notable if Story.NO_DATA in written.stories)

    kinds = {each["resourceType"] for each in made(tenant) if patient_of(each) == plan.patient_id(slug)}

    assert kinds <= {"Patient", "RelatedPerson"}


@pytest.mark.parametrize("tenant", TENANTS)
def test_one_chart_holds_more_than_five_hundred_observations(tenant: str) -> None:
    counts: dict[str, int] = defaultdict(int)
    for each in of(tenant, "Observation"):
        counts[patient_of(each)] += 1

    assert max(counts.values()) > 500


@pytest.mark.parametrize("tenant", ["general", "children"])
def test_somebody_is_in_a_bed_right_now(tenant: str) -> None:
    now = [each for each in of(tenant, "Encounter") if each["status"] == "in-progress"]

    assert now
    assert all(each["class"]["code"] == "IMP" and "end" not in each["period"] for each in now)


@pytest.mark.parametrize("tenant", TENANTS)
def test_what_is_about_a_restricted_illness_is_labelled(tenant: str) -> None:
    """C82: restricted labels (for example 42 CFR Part 2) are withheld; nothing about them may go unlabelled."""
    words = ("opioid", "buprenorphine", "HIV", "bictegravir", "Human immunodeficiency")
    bare = [
        each["id"]
        for each in made(tenant)
        if any(word.lower() in _read(each).lower() for word in words)
        and "R" not in values(each, "meta.security.code")
    ]
    part2 = [each for each in made(tenant) if "42CFRPart2" in values(each, "meta.security.code")]

    assert bare == []
    assert {"Condition", "Encounter", "MedicationRequest", "MedicationDispense", "DocumentReference"} <= {
        each["resourceType"] for each in part2
    }


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_provenance_never_mixes_what_is_shared_differently(tenant: str) -> None:
    """Security decision 10: a Provenance is seen only by who sees all its targets."""
    known = {f"{each['resourceType']}/{each['id']}": each for each in made(tenant)}
    for provenance in of(tenant, "Provenance"):
        targets = [known[reference] for reference in values(provenance, "target.reference")]
        labels = {tuple(values(each, "meta.security.code")) for each in targets}
        assert labels == {tuple(values(provenance, "meta.security.code"))}
        assert len({each["resourceType"] for each in targets}) == 1
        assert len({patient_of(each) for each in targets}) == 1


def test_names_reach_beyond_ascii_and_beyond_length() -> None:
    families = {
        name for tenant in TENANTS for each in of(tenant, "Patient") for name in values(each, "name.family")
    }

    assert {"Novák-Łódzki", "张", "박", "Иванов", "Trần"} <= families
    assert max(map(len, families)) > 50


@given(st.floats(8, 118), st.floats(18, 95), st.booleans())
def test_creatinine_and_filtration_are_inverse(rate: float, years: float, female: bool) -> None:
    creatinine = body.creatinine_for(rate, years, female=female)

    # Creatinine is reported to 0.01 mg/dL: near its smallest values a step of it is several mL/min.
    step = abs(
        body.egfr(creatinine + 0.01, years, female=female) - body.egfr(creatinine, years, female=female)
    )
    assert abs(body.egfr(creatinine, years, female=female) - rate) <= step + 1


@given(st.floats(0, 400), st.floats(0, 400), st.booleans())
def test_growth_curves_never_fall(first: float, second: float, female: bool) -> None:
    earlier, later = sorted((first, second))
    for curve in (body.HEIGHT_CM[female], body.WEIGHT_KG[female]):
        assert body.on_curve(curve, earlier) <= body.on_curve(curve, later)


@given(st.floats(-6, 6), st.floats(-6, 6))
def test_percentiles_rise_with_z_and_stay_within_one_and_ninety_nine(first: float, second: float) -> None:
    lower, higher = sorted((first, second))

    assert 1 <= body.percentile(lower) <= body.percentile(higher) <= 99


@given(st.floats(-10, 200), st.floats(0.1, 24))
def test_a_treatment_never_does_more_than_all_of_its_effect(months: float, half_life: float) -> None:
    share = body.eased(months, half_life)

    assert 0 <= share <= 1
    assert months > 0 or share == 0
