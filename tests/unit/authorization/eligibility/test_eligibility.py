"""The one judgement of whether an app may act at a tenant (C4, C38, C140, C146)."""

import re
from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.apps.clients.models import ClientType
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry.models import Environment
from hilum.authorization.eligibility.models import ELIGIBILITY_REASONS, EligibilityInputs, Stopped
from hilum.authorization.eligibility.policy import (
    EHR_STOPPED,
    eligibility_fault,
    fault_without_app,
    in_words,
    refusal_of,
    stopped_part,
)
from hilum.authorization.eligibility.refusals import (
    ENDED,
    FOR_ROLE,
    FOR_TASK,
    FULL_STOP,
    LAUNCH_FAULTS,
    NO_NEW_LAUNCHES,
    SCOPES_STOPPED,
    TABLE,
    without_rights,
)
from hilum.controls.switches import policy as controls
from hilum.controls.switches.models import Mode, Switch, Target, TargetKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Refused
from hilum.foundation.kernel.ids import AppId, ClientId, FacilityId, PersonId, VendorId, VersionId
from hilum.foundation.standards.refusals import CATALOGUE
from tests.effort import effort
from tests.unit.authorization.eligibility.facts import (
    ASKED,
    DAY,
    FAULTS,
    GENERAL,
    GOOD,
    INSTALLED,
    MOMENT,
    NEEDY,
    NOW,
    OTHER,
    PARTY,
    STOPS,
    WRITTEN,
    Change,
    changed,
    ended,
    stopped,
    switch,
)

NOT_ASKED_FOR: list[Change] = [
    {"switches": stopped(switch(TargetKind.RESOURCE_TYPE, "Observation"))},
    ASKED | {"switches": stopped(switch(TargetKind.RESOURCE_TYPE, "Condition"))},
    ASKED | {"switches": stopped(switch(TargetKind.RESOURCE_TYPE, "Observation", Mode.READ_ONLY))},
    ASKED | {"switches": stopped(switch(TargetKind.APP, "app_1", Mode.READ_ONLY))},
    WRITTEN | {"switches": stopped(switch(TargetKind.APP, "app_2", Mode.READ_ONLY))},
    WRITTEN | {"switches": stopped(switch(TargetKind.APP, "app_1", Mode.READ_ONLY, expires_at=NOW))},
    ASKED | {"switches": stopped(switch(TargetKind.SCOPE, "user/Condition.rs"))},
    ASKED
    | {
        "scopes": ("patient/Observation.rs", "user/Observation.rs"),
        "switches": stopped(switch(TargetKind.SCOPE, "user/Observation.rs")),
    },
]
"""Switches on what is not asked for, or that leave a scope which permits it."""
HARMLESS: list[Change] = [
    *NOT_ASKED_FOR,
    {"switches": stopped(switch(TargetKind.TENANT, "other"))},
    {"switches": stopped(switch(TargetKind.APP, "app_2"))},
    {"switches": stopped(switch(TargetKind.PERSON, "per_2"))},
    {"switches": stopped(switch(TargetKind.PLATFORM, mode=Mode.OBSERVE)), "launching": True},
    {"switches": stopped(switch(TargetKind.PLATFORM, mode=Mode.READ_ONLY)), "launching": True},
    {"switches": stopped(switch(TargetKind.PLATFORM, mode=Mode.NO_NEW_LAUNCHES))},
    {"switches": stopped(switch(TargetKind.APP, "app_1", expires_at=NOW)), "issued_at": None},
    {"switches": ended(TargetKind.APP, "app_1"), "issued_at": None},
    {"switches": ended(TargetKind.APP, "app_1"), "issued_at": NOW + MOMENT},
    {"client.since": NOW},
    {"client.since": NOW + DAY, "issued_at": None},
    {"client.tenant": GENERAL},
    {"client.environment": Environment.SANDBOX, "installation.environment": Environment.SANDBOX},
    {"installation.environment": Environment.SANDBOX},
    {"installation.since": NOW},
    {"installation.expires_at": NOW + MOMENT},
    {"acting.role": None},
]


def test_an_eligible_app_may_act() -> None:
    assert eligibility_fault(GOOD, NOW) is None


@pytest.mark.parametrize("change", HARMLESS)
def test_what_is_no_fault_refuses_nothing(change: Change) -> None:
    assert eligibility_fault(changed(GOOD, change), NOW) is None


@pytest.mark.parametrize(
    ("reason", "change"), [(reason, change) for reason, changes in FAULTS.items() for change in changes]
)
def test_each_fault_alone_refuses_by_its_own_reason(reason: Reason, change: Change) -> None:
    """C4, C38, C140, C146; security decision 8: what is restored revives nothing that was issued before."""
    assert eligibility_fault(changed(GOOD, change), NOW) is reason


@pytest.mark.parametrize(
    ("declared", "expected"),
    [(("*",), None), (("intake",), None), (("outreach", "intake"), None), (("outreach",), Reason.WORKFLOW_NOT_APPROVED), ((), Reason.WORKFLOW_NOT_APPROVED)],
)  # fmt: skip
def test_a_workflow_must_be_one_that_the_version_declares(
    declared: tuple[str, ...], expected: Reason | None
) -> None:
    """C190."""
    change = {"acting.workflow": "intake", "client.workflows": declared}

    assert eligibility_fault(changed(GOOD, change), NOW) is expected
    assert eligibility_fault(changed(GOOD, change | {"acting.workflow": ""}), NOW) is None


EAST, WEST = FacilityId("fac_east"), FacilityId("fac_west")
BOTH, NO_FACILITY = frozenset({EAST, WEST}), frozenset[FacilityId]()


@pytest.mark.parametrize(
    ("facilities", "denied", "at", "allowed"),
    [
        (None, NO_FACILITY, "", True),
        (None, NO_FACILITY, EAST, True),
        (None, NO_FACILITY, "fac_added_since", True),
        (BOTH, NO_FACILITY, EAST, True),
        (frozenset({EAST}), NO_FACILITY, WEST, False),
        (frozenset({EAST}), NO_FACILITY, "fac_added_since", False),
        (frozenset({EAST}), NO_FACILITY, "", False),
        (NO_FACILITY, NO_FACILITY, EAST, False),
        (NO_FACILITY, NO_FACILITY, "", False),
        (None, frozenset({EAST}), WEST, True),
        (None, frozenset({EAST}), EAST, False),
        (None, frozenset({EAST}), "", False),
        (BOTH, frozenset({EAST}), EAST, False),
        (BOTH, frozenset({EAST}), WEST, True),
        (BOTH, BOTH, WEST, False),
    ],
)
def test_facilities_inherit_the_installation_and_a_deny_wins(
    facilities: frozenset[FacilityId] | None, denied: frozenset[FacilityId], at: str, *, allowed: bool
) -> None:
    """C38, C146: where an app is limited, a launch that names no facility that is known is refused."""
    judged = changed(
        GOOD,
        {"installation.facilities": facilities, "installation.denied": denied, "acting.facility": at},
    )

    assert eligibility_fault(judged, NOW) is (None if allowed else Reason.FACILITY_NOT_ALLOWED)


@pytest.mark.parametrize("limit", [{}, {"installation.facilities": BOTH}])
def test_a_facility_that_was_removed_is_refused_whatever_the_installation_says(limit: Change) -> None:
    """C146."""
    judged = changed(GOOD, {"acting.facility": EAST, "facility_open": False, **limit})

    assert eligibility_fault(judged, NOW) is Reason.FACILITY_NOT_ALLOWED


@pytest.mark.parametrize("limit", [{"facilities": frozenset({EAST})}, {"denied": frozenset({EAST})}])
def test_before_a_launch_is_taken_its_facility_is_not_judged(limit: Change) -> None:
    limited = changed(GOOD, {f"installation.{name}": value for name, value in limit.items()})

    assert eligibility_fault(changed(limited, {"acting.facility": None}), NOW) is None
    assert eligibility_fault(limited, NOW) is Reason.FACILITY_NOT_ALLOWED


@pytest.mark.parametrize("limit", [{"facilities": frozenset({EAST})}, {"denied": frozenset({EAST})}])
def test_a_backend_service_of_an_app_that_is_limited_to_facilities_gets_nothing(limit: Change) -> None:
    """Unknown means no: its requests come from no facility."""
    backend = changed(
        GOOD, {"client.type": ClientType.BACKEND, "acting.person": PersonId(""), "acting.role": ""}
    )
    limited = changed(backend, {f"installation.{name}": value for name, value in limit.items()})

    assert eligibility_fault(limited, NOW) is Reason.FACILITY_NOT_ALLOWED


def test_of_every_combination_of_faults_the_first_in_order_is_the_reason() -> None:
    """C38: the whole table, of at most two ways to each fault; of four, about sixty thousand combinations, under ``EFFORT=full``."""
    order, wrong = list(FAULTS), []
    ways = effort(2, 4)
    for chosen in product(*([None, *changes[:ways]] for changes in FAULTS.values())):
        change: Change = {}
        for one in filter(None, chosen):
            change |= one
        gone = any("client" in one for one in filter(None, chosen))
        # A client that is not there is not suspended either.
        of_it = (
            reason
            for reason, one in zip(order, chosen, strict=True)
            if one is not None and not (gone and reason is Reason.APP_SUSPENDED)
        )
        expected = next(of_it, None)
        if "client" in change:  # a client that is not there has no environment that could not fit
            change = {name: value for name, value in change.items() if not name.startswith("client.")}
        if "installation" in change:
            change = {name: value for name, value in change.items() if not name.startswith("installation.")}
        if eligibility_fault(changed(GOOD, change), NOW) is not expected:
            wrong.append((chosen, expected))

    assert wrong == []


def test_the_reasons_stand_in_the_order_of_the_enum_and_are_all_reached() -> None:
    order = list(Reason)

    assert list(FAULTS) == list(ELIGIBILITY_REASONS)
    assert sorted(ELIGIBILITY_REASONS, key=order.index) == list(ELIGIBILITY_REASONS)


def test_a_suspended_app_is_refused_as_suspended_also_where_a_switch_stops_its_launches() -> None:
    """C216, C226: the escalation does both, and only a stop of new launches leaves open what is open."""
    launches = stopped(switch(TargetKind.VERSION, "ver_1", Mode.NO_NEW_LAUNCHES))
    both = changed(GOOD, {"switches": launches, "launching": True, "client.active": False})

    assert eligibility_fault(both, NOW) is Reason.APP_SUSPENDED
    refused = refusal_of(both, Reason.APP_SUSPENDED, NOW, tenant="General")
    assert refused.code == "app_suspended"
    assert "suspended by the platform" in refused.rule
    assert "it keeps working" not in f"{refused.rule} {refused.next_step}"


@pytest.mark.parametrize("kind", [ClientType.EHR, ClientType.RESOURCE_SERVER])
def test_a_tenants_own_system_client_needs_no_certification_and_no_installation(kind: ClientType) -> None:
    """Its administrator's registration is all it needs; its suspension counts, and giving it back revives nothing."""
    system_client = {"client.type": kind, "client.tenant": GENERAL, "client.certified_until": None}
    alone = changed(
        GOOD, system_client | {"installation": None, "acting.person": PersonId(""), "acting.role": ""}
    )

    assert eligibility_fault(alone, NOW) is None
    assert eligibility_fault(changed(alone, {"client.since": NOW + MOMENT}), NOW) is Reason.APP_NOT_CERTIFIED
    assert eligibility_fault(changed(alone, {"client.active": False}), NOW) is Reason.APP_SUSPENDED
    assert eligibility_fault(changed(alone, {"client.tenant": OTHER}), NOW) is Reason.APP_NOT_INSTALLED
    assert eligibility_fault(changed(alone, STOPS[1]), NOW) is Reason.SWITCH_ENGAGED
    app_here = {"switches": stopped(switch(TargetKind.APP_TENANT, "app_1/general"))}
    assert eligibility_fault(changed(alone, app_here), NOW) is Reason.SWITCH_ENGAGED


@pytest.mark.parametrize("installation", [None, INSTALLED])
@pytest.mark.parametrize("kind", [ClientType.EHR, ClientType.RESOURCE_SERVER])
def test_a_tenants_own_system_client_reaches_no_records_installed_or_not(
    kind: ClientType, installation: InstallationFacts | None
) -> None:
    """C200: its token opens launches or introspects, and nothing else."""
    system_client = changed(
        GOOD, {"client.type": kind, "client.tenant": GENERAL, "installation": installation}
    )
    alone = changed(system_client, {"acting.person": PersonId(""), "acting.role": ""})

    assert eligibility_fault(alone, NOW) is None
    assert eligibility_fault(replace(alone, for_records=True), NOW) is Reason.APP_NOT_INSTALLED


def test_a_backend_service_needs_an_installation_and_no_role() -> None:
    """C17: on its end date its tokens stop."""
    backend = {"client.type": ClientType.BACKEND, "acting.person": PersonId(""), "acting.role": ""}
    alone = changed(GOOD, backend | {"client.expires_at": NOW + DAY, "installation.roles": frozenset()})

    assert eligibility_fault(alone, NOW) is None
    assert eligibility_fault(changed(alone, {"installation": None}), NOW) is Reason.APP_NOT_INSTALLED
    assert eligibility_fault(alone, NOW + DAY) is Reason.APP_NOT_CERTIFIED


def test_no_role_is_judged_before_somebody_signed_in_and_all_else_is() -> None:
    """C38."""
    unknown = changed(GOOD, {"acting.role": None, "acting.person": PersonId("")})

    assert eligibility_fault(unknown, NOW) is None
    for reason in ELIGIBILITY_REASONS[:4]:
        for change in FAULTS[reason]:
            if not any(kind in str(change) for kind in ("PERSON", "per_1")):
                assert eligibility_fault(changed(unknown, change), NOW) is reason


@pytest.mark.parametrize(
    ("asked", "engaged", "part"),
    [
        (WRITTEN, switch(TargetKind.APP, "app_1", Mode.READ_ONLY), Stopped.WRITES),
        (WRITTEN, switch(TargetKind.VERSION, "ver_2", Mode.READ_ONLY), Stopped.WRITES),
        (WRITTEN, switch(TargetKind.APP, "app_1"), Stopped.EVERYTHING),
        (ASKED | {"scopes": ("user/Observation.r",)}, switch(TargetKind.SCOPE, "user/*.rs"), Stopped.SCOPES),
        (ASKED | {"scopes": ("user/*.rs",)}, switch(TargetKind.SCOPE, "user/Observation.rs"), Stopped.SCOPES),
        (ASKED, switch(TargetKind.APP, "app_1", Mode.OBSERVE), None),
    ],
)
def test_it_is_known_what_a_switch_stops(asked: Change, engaged: Switch, part: Stopped | None) -> None:
    eligibility = changed(GOOD, asked | {"switches": stopped(engaged), "client.version": VersionId("ver_2")})

    assert stopped_part(eligibility, NOW) is part


@pytest.mark.parametrize("version", ["ver_1", "ver_2"])
def test_a_switch_on_a_version_stops_tokens_of_it_and_of_the_one_before_it(version: str) -> None:
    """C140: a client that moved on runs the new version, whatever its tokens were issued for."""
    moved_on = changed(GOOD, {"client.version": VersionId("ver_2")})

    judged = replace(moved_on, switches=stopped(switch(TargetKind.VERSION, version)))

    assert eligibility_fault(judged, NOW) is Reason.SWITCH_ENGAGED
    elsewhere = replace(moved_on, switches=stopped(switch(TargetKind.VERSION, "ver_3")))
    assert eligibility_fault(elsewhere, NOW) is None


def test_a_read_of_the_platform_without_an_app_needs_person_tenant_and_no_stop() -> None:
    """Security decision 21."""
    nobodys = replace(
        GOOD,
        acting=replace(PARTY, client=ClientId(""), app=AppId(""), version=VersionId(""), vendor=VendorId("")),
        client=None,
        installation=None,
    )

    assert fault_without_app(nobodys, NOW) is None
    assert eligibility_fault(nobodys, NOW) is Reason.APP_NOT_CERTIFIED
    assert fault_without_app(changed(nobodys, {"person_active": False}), NOW) is Reason.PERSON_INACTIVE
    for change in FAULTS[Reason.TENANT_MISMATCH]:
        tenant = change["tenant"]
        # A vendor's own hospital is closed to other vendors' apps, and to nobody who reads without one.
        if tenant is not None and tenant.vendor is not None:
            assert fault_without_app(changed(nobodys, change), NOW) is None
            continue
        assert fault_without_app(changed(nobodys, change), NOW) is Reason.TENANT_MISMATCH
    for target in (Target(TargetKind.PLATFORM), Target(TargetKind.PERSON, "per_1")):
        judged = replace(nobodys, switches=stopped(switch(target.kind, target.key)), person_active=False)
        assert fault_without_app(judged, NOW) is Reason.SWITCH_ENGAGED


ANY_TARGET = st.sampled_from(
    [
        Target(TargetKind.PLATFORM),
        *(Target(TargetKind.TENANT, key) for key in ("general", "other")),
        *(Target(TargetKind.APP, key) for key in ("app_1", "app_2")),
        *(Target(TargetKind.VERSION, key) for key in ("ver_1", "ver_2")),
        *(Target(TargetKind.PERSON, key) for key in ("per_1", "per_2")),
        Target(TargetKind.APP_TENANT, "app_1/general"),
        Target(TargetKind.APP_PERSON, "app_1/per_1"),
        Target(TargetKind.SCOPE, "patient/*.rs"),
        Target(TargetKind.RESOURCE_TYPE, "Patient"),
    ]
)
MOMENTS = st.integers(-3, 3).map(lambda n: NOW + timedelta(minutes=n))
SWITCHES = st.builds(
    lambda target, mode, at, end: Switch("sw", target, mode, "x", "host:x", at, end),
    ANY_TARGET,
    st.sampled_from(list(Mode)),
    MOMENTS,
    st.none() | MOMENTS,
)
ANY_CHANGE = st.sampled_from([change for changes in FAULTS.values() for change in changes] + HARMLESS)


@st.composite
def eligibilities(draw: st.DrawFn) -> EligibilityInputs:
    made = GOOD
    for change in draw(st.lists(ANY_CHANGE, max_size=3)):
        made = changed(made, change)
    return replace(
        made,
        switches=controls.index(
            draw(st.lists(SWITCHES, max_size=2)), draw(st.lists(st.tuples(ANY_TARGET, MOMENTS), max_size=2))
        ),
        issued_at=draw(st.none() | MOMENTS),
        launching=draw(st.booleans()),
    )


@settings(max_examples=effort(50, 3_000), deadline=None)
@given(eligibilities(), SWITCHES)
def test_engaging_a_switch_never_turns_a_refusal_into_a_permit(
    eligibility: EligibilityInputs, engaged: Switch
) -> None:
    """C140; security decision 8."""
    held = [each for found in eligibility.switches.engaged.values() for each in found]
    more = controls.index([*held, engaged], list(eligibility.switches.not_issued_before.items()))

    before, after = (
        eligibility_fault(eligibility, NOW),
        eligibility_fault(replace(eligibility, switches=more), NOW),
    )

    assert after in ({before, Reason.SWITCH_ENGAGED} if before is not None else {None, Reason.SWITCH_ENGAGED})


TAKEN: list[Change] = [
    {"installation": None},
    {"client": None},
    {"tenant": None},
    {"person_active": False},
    {"client.active": False},
    {"client.certified_until": None},
    {"installation.roles": frozenset()},
    {"installation.facilities": frozenset()},
    {"installation.denied": frozenset({""})},
    {"facility_open": False, "acting.facility": "fac_1"},
    {"installation.expires_at": NOW},
    {"installation.since": NOW + DAY},
    {"client.since": NOW + DAY},
]


@settings(max_examples=effort(50, 3_000), deadline=None)
@given(eligibilities(), st.lists(st.sampled_from(TAKEN), min_size=1, max_size=3))
def test_taking_anything_away_never_turns_a_refusal_into_a_permit(
    eligibility: EligibilityInputs, taken: list[Change]
) -> None:
    """C146: an installation that is removed, a certification that is withdrawn, an account that is closed."""
    less = eligibility
    for change in taken:
        less = changed(less, change)

    if eligibility_fault(eligibility, NOW) is not None:
        assert eligibility_fault(less, NOW) is not None


def refused(eligibility: EligibilityInputs, reason: Reason) -> Refused:
    return refusal_of(eligibility, reason, NOW, tenant="General")


@pytest.mark.parametrize(
    ("reason", "change"), [(reason, change) for reason, changes in FAULTS.items() for change in changes]
)
def test_a_refusal_names_the_rule_its_owner_and_one_thing_to_do(reason: Reason, change: Change) -> None:
    """C38, C216: in the words of the person, whatever is missing."""
    judged = changed(GOOD, change)

    said = refused(judged, reason)

    assert said.code == reason
    _in_words_of_a_person(said)


def _in_words_of_a_person(said: Refused) -> None:
    assert said.rule.endswith(".")
    assert said.owner
    assert said.next_step.endswith(".")
    text = f"{said.detail} {said.owner}"
    assert "{" not in text
    assert len(re.findall(r"\bask\b", text, re.IGNORECASE)) <= 1
    assert not re.search(r"OAuth|access_denied|kill switch|scope|token|client|tenant|None", text)


FULL, LAUNCHES = Mode.FULL_STOP, Mode.NO_NEW_LAUNCHES


@pytest.mark.parametrize(
    ("modes", "expected"),
    [
        ((FULL,), FULL_STOP),
        ((LAUNCHES,), NO_NEW_LAUNCHES),
        ((FULL, LAUNCHES), FULL_STOP),
        ((LAUNCHES, FULL), FULL_STOP),
        ((), ENDED),
        ((Mode.OBSERVE,), ENDED),
        ((Mode.READ_ONLY,), ENDED),
    ],
)
def test_of_several_stops_the_strictest_is_shown(modes: tuple[Mode, ...], expected: str) -> None:
    """C38: a launch refused by a full stop is not said to be refused by a stop of new launches."""
    kinds = ((TargetKind.PLATFORM, ""), (TargetKind.APP, "app_1"))
    made = (switch(*kind, mode=mode, id=kind[0]) for kind, mode in zip(kinds, modes, strict=False))
    launch = replace(changed(GOOD, {"switches": stopped(*made)}), launching=True)

    assert refused(launch, Reason.SWITCH_ENGAGED).rule == TABLE[Reason.SWITCH_ENGAGED, expected].rule
    assert (eligibility_fault(launch, NOW) is Reason.SWITCH_ENGAGED) is (expected is not ENDED)


@pytest.mark.parametrize(
    ("ends", "expected"),
    [((DAY,), DAY), ((DAY, 2 * DAY), 2 * DAY), ((DAY, None), None), ((None,), None)],
)
def test_when_to_expect_it_back_is_said_only_if_every_stop_ends(
    ends: tuple[timedelta | None, ...], expected: timedelta | None
) -> None:
    """C216."""
    kinds = ((TargetKind.APP, "app_1"), (TargetKind.APP_TENANT, "app_1/general"))
    made = (
        switch(*kind, id=kind[0], expires_at=None if end is None else NOW + end)
        for kind, end in zip(kinds, ends, strict=False)
    )

    said = refused(changed(GOOD, {"switches": stopped(*made)}), Reason.SWITCH_ENGAGED)

    assert said.expected_at == (None if expected is None else NOW + expected)
    assert ("It ends by itself on " in said.detail) is (expected is not None)


@pytest.mark.parametrize(
    ("kind", "key", "owner"),
    [
        (TargetKind.APP_TENANT, "app_1/general", "The administrator of General"),
        (TargetKind.PERSON, "per_1", "The administrator of General"),
        (TargetKind.APP, "app_1", "The platform's security team"),
        (TargetKind.PLATFORM, "", "The platform's security team"),
    ],
)
def test_the_owner_of_a_stop_is_who_can_release_it(kind: TargetKind, key: str, owner: str) -> None:
    """C216."""
    assert (
        refused(changed(GOOD, {"switches": stopped(switch(kind, key))}), Reason.SWITCH_ENGAGED).owner == owner
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"installation.expires_at": NOW}, "was installed at General until 2 March 2026"),
        ({"installation": None}, "is not installed at General"),
        ({"client.certified_until": NOW}, "was certified for use here until"),
        ({"client.certified_until": None}, "is not certified"),
        ({"installation.denied": BOTH, "acting.facility": EAST}, "at this facility of General"),
        ({"installation.denied": BOTH}, "not known at which one you are"),
    ],
)
def test_what_is_known_of_a_rule_is_said(change: Change, words: str) -> None:
    """C216: what ended says when, and an unnamed facility is not called a wrong one."""
    judged = changed(GOOD, change)
    reason = eligibility_fault(judged, NOW)
    assert reason is not None

    assert words in refused(judged, reason).rule


def test_a_stop_that_ended_since_is_none_that_stands() -> None:
    since = replace(changed(GOOD, {"switches": ended(TargetKind.APP, "app_1")}), launching=True)
    before = replace(since, issued_at=NOW - DAY)

    assert eligibility_fault(before, NOW) is Reason.SWITCH_ENGAGED
    assert "ask " not in refused(before, Reason.SWITCH_ENGAGED).detail.lower()


def test_every_reason_of_ineligibility_has_its_row_and_none_is_for_another() -> None:
    assert {reason for reason, _ in TABLE} == {*ELIGIBILITY_REASONS, EHR_STOPPED, *LAUNCH_FAULTS}


@pytest.mark.parametrize(("reason", "variant"), [key for key in TABLE if key[0] in LAUNCH_FAULTS])
def test_what_is_refused_for_the_launch_itself_is_said_in_the_same_way(reason: str, variant: str) -> None:
    """C216: for scopes and charts too; a stop says when it ends."""
    stop = switch(TargetKind.RESOURCE_TYPE, "Patient", expires_at=NOW + DAY)

    said = in_words(reason, variant, tenant="General", stops=(stop,) if variant == SCOPES_STOPPED else ())

    _in_words_of_a_person(said)
    assert ("It ends by itself on " in said.detail) is (variant == SCOPES_STOPPED)


@pytest.mark.parametrize(
    ("admitted", "in_role", "in_task", "variant"),
    [
        (False, False, False, ""),
        (True, False, False, FOR_ROLE),
        (True, True, False, FOR_TASK),
        (True, True, True, SCOPES_STOPPED),
    ],
)
def test_where_nothing_is_left_the_first_rule_that_took_the_rest_is_named(
    admitted: bool, in_role: bool, in_task: bool, variant: str
) -> None:
    """C216."""
    assert without_rights(admitted=admitted, in_role=in_role, in_task=in_task) == variant


def test_every_reason_has_its_sentences() -> None:
    assert list(CATALOGUE) == list(Reason)
    assert all(each.meaning.endswith(".") and each.next_step.endswith(".") for each in CATALOGUE.values())
    assert len({each.meaning for each in CATALOGUE.values()}) == len(Reason)


BEGINS: Change = {"begins": True, "book": NEEDY, "agreements": frozenset({"business_associate"})}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (BEGINS, None),
        (BEGINS | {"agreements": frozenset()}, Reason.AGREEMENT_MISSING),
        (BEGINS | {"agreements": frozenset(), "begins": False}, None),
        (BEGINS | {"agreements": frozenset(), "acting.role": None}, Reason.AGREEMENT_MISSING),
        (BEGINS | {"agreements": frozenset(), "acting.role": None, "installation.roles": frozenset({"patient"})}, None),
        (BEGINS | {"agreements": frozenset(), "acting.role": "patient", "installation.roles": frozenset({"patient"})}, None),
        (BEGINS | {"agreements": frozenset(), "installation.roles": frozenset({"patient", "physician"})}, Reason.AGREEMENT_MISSING),
        (
            BEGINS | {"agreements": frozenset(), "client.environment": Environment.SANDBOX, "installation.environment": Environment.SANDBOX},
            None,
        ),
        (BEGINS | {"client.type": ClientType.EHR, "agreements": frozenset()}, None),
    ],
)  # fmt: skip
def test_what_begins_needs_agreements_where_the_book_says_so_and_no_patient_or_sandbox_does(
    change: Change, reason: Reason | None
) -> None:
    """C189: what was begun goes on."""
    assert eligibility_fault(changed(GOOD, change), NOW) is reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answered_until": NOW + MOMENT}, None),
        ({"answered_until": NOW}, Reason.APPROVER_MISSING),
        ({}, Reason.APPROVER_MISSING),
        ({"begins": False}, None),
    ],
)
def test_a_backend_services_token_needs_somebody_who_answers_for_it(
    change: Change, reason: Reason | None
) -> None:
    """C17: unknown means nobody."""
    backend = {"begins": True, "client.type": ClientType.BACKEND, "acting.person": PersonId("")}

    assert eligibility_fault(changed(GOOD, backend | change), NOW) is reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"source": "192.0.2.1"}, None),
        ({"source": "192.0.3.1"}, Reason.NETWORK_NOT_ALLOWED),
        ({"source": ""}, Reason.NETWORK_NOT_ALLOWED),
        ({"source": None}, None),
        ({"source": "192.0.3.1", "installation.networks": ()}, None),
        ({"source": "192.0.3.1", "client.type": ClientType.PUBLIC}, None),
    ],
)
def test_a_backend_service_comes_from_where_the_hospital_said(change: Change, reason: Reason | None) -> None:
    """C213: people come from anywhere, and where nobody comes with the question there is no address to judge."""
    backend = {"client.type": ClientType.BACKEND, "installation.networks": ("192.0.2.0/24",)}

    assert eligibility_fault(changed(GOOD, backend | change), NOW) is reason
