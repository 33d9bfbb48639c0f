"""Which restricted records are readable after the glass was broken, and what that never opens (C82, ADR 77)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.authorization.breakglass.models import NEVER_OPENED, OPENABLE, BreakGlassFacts, OpenUse
from hilum.authorization.launches.models import LaunchFacts
from hilum.authorization.tokens.models import AccessToken
from hilum.controls.switches.models import Target, TargetKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import LaunchId, PersonId, TenantId
from hilum.foundation.standards.fhir.labels import CATEGORIES, categories_of, is_restricted
from hilum.foundation.standards.fhir.traits import traits_of
from hilum.foundation.standards.smart.scopes import READ
from hilum.gateway.enforcement import policy
from hilum.gateway.enforcement.access_scope import grant_rules
from hilum.gateway.enforcement.models import EffectiveAccess, Permit, Snapshot
from hilum.gateway.enforcement.resource_access import judge_resource
from hilum.identity.people.models import MovedReads
from tests.unit.gateway.enforcement.facts import (
    BASES,
    NOW,
    SNAPSHOT,
    TENANT,
    TOKEN,
    ask,
    decide,
    observation,
    permit,
    reason,
    with_switch,
    with_tenant,
)

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
MINUTE = timedelta(minutes=1)
USE = OpenUse(
    "btg_1", TENANT, TOKEN.person, TOKEN.launch, "p1", frozenset({"confidential", "hiv"}), NOW + MINUTE
)


def with_use(snapshot: Snapshot = SNAPSHOT, allowed: frozenset[str] = OPENABLE, **change: Any) -> Snapshot:
    use = replace(USE, **change)
    return replace(snapshot, break_glass=BreakGlassFacts({use.launch: use}, {TENANT: allowed}))


def labelled(*labels: tuple[str, str], patient: str = "p1", **more: Any) -> dict[str, Any]:
    security = [{"system": system, "code": code} for system, code in labels]
    return observation(patient=patient) | {"meta": {"security": security}} | more


SECRET = labelled((CONFIDENTIALITY, "R"))


def access(snapshot: Snapshot, token: AccessToken = TOKEN, **asked: Any) -> EffectiveAccess:
    found = decide(ask(**asked), token, snapshot)
    assert isinstance(found, Permit), found
    return found.access


def judged(resource: dict[str, Any], snapshot: Snapshot, token: AccessToken = TOKEN, **asked: Any) -> Any:
    reach = access(snapshot, token, **asked)
    rules = grant_rules(reach, str(resource["resourceType"]), READ)
    return judge_resource(reach, traits_of(resource, BASES), rules)


def test_a_restricted_record_of_the_launch_s_patient_is_readable_while_the_glass_is_broken() -> None:
    """C82: and withheld without it."""
    assert judged(SECRET, SNAPSHOT) is Reason.LABEL_WITHHELD
    assert judged(SECRET, with_use()) is None
    assert judged(labelled((ACT, "HIV"), (CONFIDENTIALITY, "R")), with_use()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"ends_at": NOW},
        {"ends_at": NOW - MINUTE},
        {"person": PersonId("per_2")},
        {"tenant": TenantId("clinic")},
        {"launch": LaunchId("lau_2")},
        {"patient": "p2"},
        {"patient": ""},
        {"categories": frozenset()},
        {"allowed": frozenset()},
        {"allowed": frozenset({"hiv"})},
        {"categories": frozenset({"hiv"})},
    ],
    ids=str,
)
def test_it_opens_nothing_after_its_end_for_others_elsewhere_or_beyond_what_the_hospital_allows(
    change: dict[str, Any],
) -> None:
    """C82, security decision 8: the clock ends it, whatever was recorded."""
    assert judged(SECRET, with_use(**change)) is Reason.LABEL_WITHHELD


def test_a_token_of_another_patient_in_the_same_launch_opens_nothing() -> None:
    """C73: the patient of the launch, and nobody else."""
    other = replace(TOKEN, patient="p2")
    reader = replace(other, scopes=("launch", "user/*.rs"))

    assert judged(labelled((CONFIDENTIALITY, "R"), patient="p2"), with_use(), other) is Reason.LABEL_WITHHELD
    assert judged(SECRET, with_use(), reader) is Reason.LABEL_WITHHELD


def test_under_user_scopes_another_patient_s_record_stays_withheld() -> None:
    """C82: the glass is broken for one patient, however far the scopes reach."""
    token = replace(TOKEN, scopes=("launch", "user/*.rs"))

    assert judged(SECRET, with_use(), token) is None
    assert judged(labelled((CONFIDENTIALITY, "R"), patient="p2"), with_use(), token) is Reason.LABEL_WITHHELD


def test_a_record_of_two_patients_stays_withheld() -> None:
    """C73: it is a part of the other's chart too."""
    both = {
        "resourceType": "Appointment",
        "id": "a1",
        "meta": SECRET["meta"],
        "participant": [{"actor": {"reference": "Patient/p1"}}, {"actor": {"reference": "Patient/p2"}}],
    }
    token = replace(TOKEN, scopes=("launch", "user/*.rs"))

    assert judged(both, with_use(), token) is Reason.LABEL_WITHHELD


@pytest.mark.parametrize("category", sorted(NEVER_OPENED))
def test_what_is_never_opened_stays_withheld_whatever_is_stored(category: str) -> None:
    """ADR 77: also if a use or a setting of another release lists it."""
    code = min(CATEGORIES[category])
    snapshot = with_use(categories=frozenset(CATEGORIES), allowed=frozenset(CATEGORIES))

    assert judged(labelled((ACT, code)), snapshot) is Reason.LABEL_WITHHELD


@pytest.mark.parametrize(
    "resource",
    [
        observation() | {"meta": "R"},
        observation() | {"meta": {"security": "R"}},
        observation() | {"meta": {"security": ["R"]}},
        observation() | {"meta": {"security": 7}},
        observation() | {"meta": {"security": [{"system": CONFIDENTIALITY, "code": 7}]}},
        observation() | {"securityLabel": "R"},
        observation() | {"securityLabel": ["R"]},
        observation() | {"securityLabel": [{"coding": "R"}]},
        labelled((CONFIDENTIALITY, "R"), (ACT, "MH")),
        labelled((CONFIDENTIALITY, "R"), securityLabel=[{"coding": [{"system": ACT, "code": "MH"}]}]),
        labelled((CONFIDENTIALITY, "R"), confidentiality="V", securityLabel=[7]),
    ],
    ids=str,
)
def test_a_label_that_cannot_be_read_or_is_of_another_category_withholds(resource: dict[str, Any]) -> None:
    """C82: unknown means no; every category of the labels must be open."""
    assert judged(resource, with_use()) is Reason.LABEL_WITHHELD


def test_labels_beside_restricting_ones_do_not_count() -> None:
    assert (
        judged(labelled((CONFIDENTIALITY, "R"), (CONFIDENTIALITY, "N"), (ACT, "HTEST")), with_use()) is None
    )


def test_contained_resources_open_with_the_record_of_the_patient_only() -> None:
    """C73, C82."""
    part = labelled((CONFIDENTIALITY, "R"))
    foreign = labelled((CONFIDENTIALITY, "R"), patient="p2")
    token = replace(TOKEN, scopes=("launch", "user/*.rs"))

    assert judged(observation(contained=[part]), SNAPSHOT) is Reason.LABEL_WITHHELD
    assert judged(observation(contained=[part]), with_use()) is None
    whole = observation(patient="p2") | {"contained": [foreign]}
    assert judged(whole, with_use(), token) is Reason.LABEL_WITHHELD
    assert judged(observation(contained=[foreign]), with_use(), token) is Reason.LABEL_WITHHELD


@pytest.mark.parametrize("over", [{"moved": frozenset({TOKEN.launch})}, {"ended": frozenset({TOKEN.launch})}])
def test_it_ends_with_its_launch_also_where_the_app_may_go_on(over: dict[str, Any]) -> None:
    """C35, C36: with offline access, or moved reads allowed, the app reads on what it could before."""
    snapshot = replace(with_tenant(with_use(), moved_reads=MovedReads.ALLOW), launches=LaunchFacts(**over))
    token = replace(TOKEN, scopes=("launch", "offline_access", "patient/*.rs"))

    assert access(snapshot, token).glass is None


def test_a_token_that_says_that_its_launch_moved_opens_nothing() -> None:
    snapshot = with_tenant(with_use(), moved_reads=MovedReads.ALLOW)

    assert access(snapshot, replace(TOKEN, launch_moved=True)).glass is None


def test_it_adds_no_scope_no_write_and_passes_no_switch() -> None:
    """C82, security decision 24: what refuses a request without it refuses it with it."""
    body = b'{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"meta":{"security":[{"system":"%s","code":"R"}]}}'
    create = ask("Observation", method="POST", body=body % CONFIDENTIALITY.encode())
    stopped = with_switch(Target(TargetKind.PERSON, TOKEN.person), snapshot=with_use())

    assert reason(create, TOKEN, with_use()) is Reason.LABEL_WITHHELD
    assert reason(ask(), TOKEN, stopped) is Reason.SWITCH_ENGAGED
    assert (
        reason(ask(), replace(TOKEN, scopes=("patient/Patient.rs",)), with_use()) is Reason.SCOPE_INSUFFICIENT
    )
    assert reason(ask("Patient/p2"), TOKEN, with_use()) is Reason.OUTSIDE_LAUNCH_CONTEXT


def test_reads_of_the_platform_itself_open_nothing() -> None:
    """Security decision 21: a picker shows what it showed before."""
    asked = replace(ask("Patient/p1"), purpose="picker")
    found = decide(asked, replace(TOKEN, scopes=("user/Patient.rs",)), with_use())

    assert isinstance(found, Permit)
    assert found.access.glass is None


def test_a_request_in_progress_when_it_ends_is_decided_again_as_another_grant() -> None:
    """Security decision 23."""
    before, after = permit(ask(), TOKEN, with_use()), permit(ask(), TOKEN, SNAPSHOT)

    assert not policy.is_same_grant(before, after)
    assert not policy.is_same_grant(after, before)
    assert policy.is_same_grant(before, permit(ask(), TOKEN, with_use()))
    assert policy.is_same_grant(after, policy.without_glass(before))


def test_a_scope_that_is_stopped_meanwhile_is_another_grant_with_the_glass_broken_too() -> None:
    """Security decision 23: what the other scope reached is not shown."""
    held = replace(TOKEN, scopes=("patient/Observation.rs", "user/Observation.rs"))
    stopped = with_switch(Target(TargetKind.SCOPE, "user/Observation.rs"))

    before, after = permit(ask(), held, with_use()), permit(ask(), held, with_use(stopped))

    assert [rule.text for rule in after.grants] == ["patient/Observation.rs"]
    assert not policy.is_same_grant(before, after)


@given(
    st.sampled_from([ACT, CONFIDENTIALITY]) | st.text(max_size=20),
    st.sampled_from(sorted(code for codes in CATEGORIES.values() for code in codes)),
    st.booleans(),
)
def test_each_code_that_withholds_is_of_one_category(system: str, code: str, lower: bool) -> None:
    """C82, ADR 77: none is withheld that no category names, in whatever case and under whatever system."""
    resource = labelled((system, code.lower() if lower else code))

    found = categories_of(resource)

    assert found is not None
    assert [name for name, codes in CATEGORIES.items() if code in codes] == list(found)


JSON = st.recursive(
    st.none() | st.sampled_from(["R", "HIV", "N", CONFIDENTIALITY, ACT]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["system", "code", "security", "coding"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["meta", "securityLabel", "confidentiality"]), JSON, max_size=3))
def test_no_category_means_not_restricted(resource: dict[str, Any]) -> None:
    """The invariant of ``categories_of``."""
    assert (categories_of(resource) == frozenset()) is not is_restricted(resource)
