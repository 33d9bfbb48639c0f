"""One permission, one tick: whatever is unticked is closed at the gateway, whatever is ticked stays open.

Judged with the gateway's own compiled scopes and decision, over random askings and random ticks.
"""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hilum.apps.clients.policy import admission
from hilum.authorization.authorize.policy import grantable
from hilum.authorization.consent import policy
from hilum.authorization.consent.models import Authorization, Basis
from hilum.authorization.consent.policy import Consenter
from hilum.foundation.kernel.ids import AuthorizationId
from hilum.foundation.standards.fhir.matching import compile_all
from hilum.foundation.standards.fhir.traits import traits_of
from hilum.foundation.standards.smart.scopes import (
    READ,
    ClinicalScope,
    all_covered,
    parse_scope,
    parse_stored,
    render,
)
from hilum.gateway.enforcement.access_scope import grant_rules
from hilum.gateway.enforcement.models import Permit
from hilum.gateway.enforcement.resource_access import judge_resource
from hilum.gateway.enforcement.response_filter import judge_read
from hilum.identity.people.policy import rights_of
from hilum.policy.matrix.shipped import shipped_book
from tests.effort import effort
from tests.unit.gateway.enforcement.facts import (
    BASES,
    NOW,
    PATIENT_USER,
    SNAPSHOT,
    TOKEN,
    access_of,
    ask,
    decide,
)

OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
CONDITION = "http://terminology.hl7.org/CodeSystem/condition-category"
SYSTEMS = {"Observation": OBSERVATION, "Condition": CONDITION}
RIGHTS = rights_of("patient")
PATIENT = Consenter(RIGHTS, "Patient")
EVERYTHING = ("openid", "fhirUser", "launch/patient", "offline_access", "patient/*.cruds", "user/*.cruds")
TYPES = (
    "Patient",
    "Condition",
    "Observation",
    "Encounter",
    "Practitioner",
    "DocumentReference",
    "Appointment",
)
CATEGORIES = {
    "Observation": ("vital-signs", "laboratory", "imaging", ""),
    "Condition": ("problem-list-item", "encounter-diagnosis", ""),
}
SUBJECT = {
    "Observation": "subject",
    "Condition": "subject",
    "Encounter": "subject",
    "DocumentReference": "subject",
}
CONSTRAINTS = {
    "Observation": (
        f"category={OBSERVATION}|vital-signs",
        f"category={OBSERVATION}|laboratory",
        f"category={OBSERVATION}|imaging",
        "category=laboratory",
        f"category={OBSERVATION}|laboratory,{OBSERVATION}|vital-signs",
        f"category={OBSERVATION}|laboratory&status=final",
        "status=final",
        "status=amended",
    ),
    "Condition": (f"category={CONDITION}|problem-list-item", "category=encounter-diagnosis"),
    "Encounter": ("status=finished",),
}
ACCESS = ("r", "rs", "cruds", "crs", "cu", "s", "read", "write", "*")


def _granular(name: str) -> st.SearchStrategy[str]:
    query = st.sampled_from(CONSTRAINTS[name])
    access = st.sampled_from([each for each in ACCESS if each not in {"read", "write", "*"}])
    return st.builds("{}/{}.{}?{}".format, st.sampled_from(["patient", "user"]), st.just(name), access, query)


PLAIN = st.builds(
    "{}/{}.{}".format,
    st.sampled_from(["patient", "user"]),
    st.sampled_from(["*", *TYPES]),
    st.sampled_from(ACCESS),
)
ASKED = st.lists(
    st.one_of(
        PLAIN, PLAIN, *map(_granular, CONSTRAINTS), st.sampled_from(["openid", "fhirUser", "offline_access"])
    ),
    min_size=1,
    max_size=6,
    unique=True,
)
PROBES = [
    (type_, letter, category)
    for type_ in TYPES
    for letter in (1 << n for n in range(5))
    for category in CATEGORIES.get(type_, ("",))
]


def sample(type_: str, category: str) -> dict[str, Any]:
    """A record of the patient's own, of one category."""
    made: dict[str, Any] = {
        "resourceType": type_,
        "id": "p1" if type_ == "Patient" else "x1",
        "status": "final",
    }
    if type_ in SUBJECT:
        made[SUBJECT[type_]] = {"reference": "Patient/p1"}
    if type_ == "Appointment":
        made["participant"] = [{"actor": {"reference": "Patient/p1"}}]
    if category:
        made["category"] = [{"coding": [{"system": SYSTEMS[type_], "code": category}]}]
    return made


def is_open(scopes: tuple[str, ...], type_: str, letter: int, category: str, *, chart: str = "p1") -> bool:
    """What the gateway says: the decision and the judging of the record for a read, the same reach for all else."""
    token = replace(
        TOKEN, scopes=scopes, **PATIENT_USER | {"patient": chart, "person_patients": ("p1", "p2")}
    )
    resource = sample(type_, category)
    if letter == READ:
        decision = decide(ask(f"{type_}/{resource['id']}"), token)
        return isinstance(decision, Permit) and judge_read(decision, traits_of(resource)) is None
    client, installed = (
        SNAPSHOT.registry.clients[token.client],
        next(iter(SNAPSHOT.registry.installations.values())),
    )
    reach = access_of(token, admission(shipped_book(), client, NOW).scopes, installed.scopes)
    grants = grant_rules(reach, type_, letter)
    return bool(grants) and judge_resource(reach, traits_of(resource, BASES), grants) is None


def covers(value: str, type_: str, letter: int, category: str) -> bool:
    """Whether a tick, read as the scope string that it is, speaks of this."""
    scope = parse_scope(value)
    if not isinstance(scope, ClinicalScope) or scope.type != type_ or not scope.letters & letter:
        return False
    tests = compile_all(type_, scope.constraints)
    return tests is not None and all(test(sample(type_, category)) for test in tests)


def offered_of(asked: list[str]) -> tuple[str, ...]:
    return tuple(render(scope) for scope in grantable(parse_stored(asked), EVERYTHING, RIGHTS))


@settings(max_examples=effort(50, 3_000), deadline=None)
@given(ASKED, st.data())
def test_nothing_unticked_is_readable_and_nothing_ticked_is_lost(
    asked: list[str], data: st.DataObject
) -> None:
    """Consent means what it shows (C87, C88). Only ticks that name more than one category may overlap."""
    offered = offered_of(asked)
    values = [choice.value for choice in policy.choices(offered, by=PATIENT)]
    assume(values)
    unticked = set(data.draw(st.lists(st.sampled_from(values), unique=True, max_size=4)))
    ticked = [value for value in values if value not in unticked]

    granted = policy.apply_ticks(offered, ticked, by=PATIENT)

    assert all_covered(granted, offered)
    for probe in PROBES:
        shown = {value for value in values if covers(value, *probe)}
        overlapping = any("status=" in value or "," in value for value in shown)
        if shown & unticked and (shown <= unticked or not overlapping):
            assert not is_open(granted, *probe), probe
        elif shown - unticked and is_open(offered, *probe):
            assert is_open(granted, *probe), probe


@settings(max_examples=effort(40, 3_000), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["p1", "p2"]), ASKED), min_size=2, max_size=4), st.data())
def test_after_any_agreements_nothing_unticked_is_readable_through_any_of_them(
    steps: list[tuple[str, list[str]]], data: st.DataObject
) -> None:
    """S1.12: over random sequences of pages about two charts; what is about the other chart alone stays."""
    agreements: list[Authorization] = []
    for chart, asked in steps:
        offered = offered_of(asked)
        values = [choice.value for choice in policy.choices(offered, by=PATIENT)]
        unticked = set(
            data.draw(st.lists(st.sampled_from(values), unique=True, max_size=4)) if values else ()
        )
        ticked = [value for value in values if value not in unticked]
        refused = policy.declined(offered, ticked, by=PATIENT)

        for n, each in enumerate(agreements):
            left = policy.left_of(each, refused, patient=chart, by=PATIENT)
            assert all_covered(left, each.scopes)
            if each.patient != chart:
                assert [text for text in left if text.startswith("patient/")] == [
                    text for text in each.scopes if text.startswith("patient/")
                ]
            agreements[n] = replace(each, scopes=left)
        agreements.append(agreement(chart, policy.apply_ticks(offered, ticked, by=PATIENT)))

        for probe in PROBES if chart == "p1" else ():
            shown = {value for value in values if covers(value, *probe)}
            overlapping = any("status=" in value or "," in value for value in shown)
            if shown & unticked and (shown <= unticked or not overlapping):
                assert not any(is_open(each.scopes, *probe, chart=each.patient) for each in agreements), probe


def agreement(chart: str, scopes: tuple[str, ...]) -> Authorization:
    at = TOKEN.issued_at
    return Authorization(
        AuthorizationId(f"aut_{chart}"),
        TOKEN.tenant,
        TOKEN.person,
        TOKEN.app,
        TOKEN.version,
        TOKEN.client,
        Basis.PERSON,
        scopes,
        at,
        at,
        patient=chart,
    )


@settings(max_examples=effort(60, 1_000), deadline=None)
@given(ASKED, st.data())
def test_narrowing_later_never_brings_it_back(asked: list[str], data: st.DataObject) -> None:
    """C91: what was declined stays declined, on the connected-apps page and when scripts send ticks of before."""
    offered = offered_of(asked)
    values = [choice.value for choice in policy.choices(offered, by=PATIENT)]
    assume(values)
    ticked = data.draw(st.lists(st.sampled_from(values), unique=True))
    granted = policy.apply_ticks(offered, ticked, by=PATIENT)

    again = policy.apply_ticks(granted, [*values, *offered], by=PATIENT)
    same = policy.apply_ticks(granted, [c.value for c in policy.choices(granted, by=PATIENT)], by=PATIENT)

    assert all_covered(again, granted)
    assert same == granted
    for probe in PROBES:
        assert is_open(again, *probe) <= is_open(granted, *probe), probe


@settings(max_examples=effort(60, 1_000), deadline=None)
@given(ASKED)
def test_no_permission_stands_twice_and_each_says_something_else(asked: list[str]) -> None:
    offered = offered_of(asked)
    choices = policy.choices(offered, by=PATIENT)

    assert len({choice.value for choice in choices}) == len(choices)
    assert len({(choice.words.title, choice.group) for choice in choices}) == len(choices)


@settings(max_examples=effort(60, 1_000), deadline=None)
@given(ASKED)
def test_with_everything_ticked_the_exact_scopes_are_granted(asked: list[str]) -> None:
    """contract.md, Forms that a script can send."""
    offered = offered_of(asked)

    assert (
        policy.apply_ticks(offered, [c.value for c in policy.choices(offered, by=PATIENT)], by=PATIENT)
        == offered
    )


PAIR = ("user/*.*", "patient/*.read")
"""The asking of the review: 140 boxes, 55 titles twice."""


def test_what_was_declined_of_user_and_patient_scopes_is_declined_in_both() -> None:
    """C88. Unticking "See prescriptions" left the other box, and the app went on reading them."""
    offered = offered_of(list(PAIR))
    choices = policy.choices(offered, by=PATIENT)
    prescriptions = [choice for choice in choices if choice.type == "MedicationRequest"]

    granted = policy.apply_ticks(offered, [c.value for c in choices if c not in prescriptions], by=PATIENT)

    assert [choice.value for choice in prescriptions] == ["patient/MedicationRequest.rs"]
    assert not [text for text in granted if "MedicationRequest" in text or "/*" in text]
    assert {"user/Immunization.rs", "patient/Immunization.rs"} <= set(granted)


@pytest.mark.parametrize(
    ("asked", "unticked", "expected"),
    [
        (("user/Encounter.rs", "patient/Encounter.rs"), "patient/Encounter.rs", ()),
        (("user/Encounter.read", "patient/Encounter.r"), "patient/Encounter.r", ("user/Encounter.s",)),
        (
            ("patient/Encounter.rs", "patient/Encounter.cruds"),
            "patient/Encounter.rs",
            ("patient/Encounter.cud",),
        ),
        (
            ("patient/Encounter.rs", "patient/Encounter.cruds"),
            "patient/Encounter.cud",
            ("patient/Encounter.rs",),
        ),
        (
            ("patient/DocumentReference.rs", "patient/DocumentReference.rs?category=note"),
            "patient/DocumentReference.rs",
            (),
        ),
        (
            (
                f"patient/Observation.rs?category={OBSERVATION}|laboratory",
                "user/Observation.r?category=laboratory",
            ),
            f"patient/Observation.r?category={OBSERVATION}|laboratory",
            (f"patient/Observation.s?category={OBSERVATION}|laboratory",),
        ),
        (("patient/Patient.rs", "openid", "fhirUser"), "patient/Patient.rs", ("openid",)),
        (("user/Patient.r", "fhirUser", "openid"), "user/Patient.r", ("openid",)),
        (("patient/Patient.cu", "fhirUser"), "patient/Patient.cu", ("fhirUser",)),
        (("patient/DocumentReference.rs", "patient/Binary.r"), "patient/DocumentReference.rs", ()),
    ],
)
def test_an_unticked_permission_is_taken_out_of_every_scope_that_expresses_it(
    asked: tuple[str, ...], unticked: str, expected: tuple[str, ...]
) -> None:
    values = [choice.value for choice in policy.choices(asked, by=PATIENT)]
    assert unticked in values

    assert policy.apply_ticks(asked, [v for v in values if v != unticked], by=PATIENT) == expected


def test_with_a_category_unticked_both_prefixes_keep_the_others_only() -> None:
    asked = ("user/Condition.rs", "patient/*.rs")
    labelled = [c for c in policy.choices(asked, by=PATIENT) if c.type == "Condition"]
    declined = next(c.value for c in labelled if c.value.endswith("|problem-list-item"))

    kept = policy.apply_ticks(
        asked, [c.value for c in policy.choices(asked, by=PATIENT) if c.value != declined], by=PATIENT
    )

    for prefix in ("user", "patient"):
        of_type = [text for text in kept if text.startswith(f"{prefix}/Condition")]
        assert len(of_type) == len(labelled) - 1
        assert not [text for text in of_type if "problem-list-item" in text]


def test_a_file_is_no_permission_of_its_own_beside_what_refers_to_it() -> None:
    """Security decision 22: a Binary is reached through its document only."""
    both = policy.choices(("patient/DocumentReference.rs", "patient/Binary.r"), by=PATIENT)
    alone = policy.choices(("patient/Binary.r",), by=PATIENT)

    assert [choice.type for choice in both] == ["DocumentReference"]
    assert [choice.type for choice in alone] == ["Binary"]
    assert "Binary" not in {choice.type for choice in policy.choices(("patient/*.rs",), by=PATIENT)}


def test_a_wildcard_offers_what_the_role_reaches_and_nothing_else() -> None:
    choices = policy.choices(("patient/*.cruds",), by=PATIENT)

    for choice in choices:
        scope = parse_scope(choice.value)
        assert isinstance(scope, ClinicalScope)
        assert RIGHTS[scope.type]
        assert set(scope.letters.__format__("b"))
    assert "AdverseEvent" not in {choice.type for choice in choices}
