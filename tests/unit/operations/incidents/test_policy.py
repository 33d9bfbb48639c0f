"""Playbooks, clocks, what an incident waits for, and who may see what was told (C158 to C163)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.registry.models import Environment
from hilum.controls.switches.models import Mode, TargetKind
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId
from hilum.operations.incidents import policy
from hilum.operations.incidents.models import (
    STOPS_BOUND,
    CertificateDecision,
    Closing,
    Containment,
    Incident,
    IncidentKind,
    IncidentNotice,
    IncidentSeverity,
    IncidentState,
    Settlement,
    StepCheck,
    StepOutcome,
    StopWhere,
)
from hilum.records.audit.models import PermitCount, Reach, TenantReach
from tests.sim.world import START
from tests.unit.apps.registry.values import CERT

GENERAL, CHILDREN, ACME = TenantId("general"), TenantId("children"), VendorId("ven_acme")
INCIDENT = Incident(
    "inc_1",
    IncidentKind.COMPROMISED_APP,
    IncidentSeverity.SEV1,
    "A key was published.",
    (AppId("app_1"),),
    ACME,
    (),
    START - timedelta(days=1),
    START,
    "staff:sam",
    None,
)
HOSPITAL = TenantReach(3, 2, 1, 1, START - timedelta(hours=2), START - timedelta(hours=1))
REACH = Reach(replace(HOSPITAL, calls=9, patients=5), {"general": HOSPITAL}, 4)


def counted(**change: Any) -> Incident:
    """Return the incident with what it reached."""
    permits = [PermitCount("patient/*.rs", "Observation", "read", 3, START)]
    report = policy.document(INCIDENT, REACH, permits, START)
    return replace(INCIDENT, reach={"report": report}, reach_at=START, **change)


@pytest.mark.parametrize("kind", list(IncidentKind))
def test_each_playbook_goes_through_all_phases_with_steps_of_its_own(kind: IncidentKind) -> None:
    """C159: each step once, none after the end, in the order of the phases."""
    steps = policy.playbook(kind)
    ids = [each.id for each in steps]
    phases = list(dict.fromkeys(each.phase for each in steps))
    others = {each.id for other in IncidentKind if other is not kind for each in policy.playbook(other)}
    assert len(ids) == len(set(ids))
    assert phases == list(IncidentState)[:-1]
    assert set(ids) - others, "a kind without a step of its own is no kind"


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        ({}, ["Stop what does harm."]),
        ({"switches": ("sw_1",)}, []),
        ({"skipped": {"stop": "It is down."}}, []),
        ({"done": ("stop",)}, ["Stop what does harm."]),
        ({"state": IncidentState.RECOVERED}, ["The hospitals know how it ended."]),
        ({"state": IncidentState.RECOVERED, "done": ("outcome",)}, []),
    ],
)
def test_what_an_incident_waits_for(change: dict[str, Any], waits: list[str]) -> None:
    """C159: of what the platform checks, nobody's word counts."""
    incident = replace(INCIDENT, **change)
    incident = replace(incident, steps=policy.steps_of(incident, policy.stated(incident)))
    assert policy.missing(incident) == waits
    assert policy.next_in_words(incident).startswith("Not possible yet" if waits else "Every step")


def test_what_the_record_of_an_incident_shows_to_be_done() -> None:
    """C159."""
    assert policy.stated(INCIDENT) == frozenset()
    full = replace(INCIDENT, switches=("sw_1",), reach_at=START, hold="hld_1", notified_at=START)
    assert policy.stated(full) == {
        StepCheck.STOPPED,
        StepCheck.MEASURED,
        StepCheck.HELD,
        StepCheck.NOTIFIED,
    }


@pytest.mark.parametrize(
    ("order", "faults"),
    [
        (Settlement("cause", StepOutcome.DONE), {}),
        (Settlement("cause", StepOutcome.SKIPPED, "Known since May."), {}),
        (Settlement("cause", StepOutcome.SKIPPED, "  "), {"reason": "reason_missing"}),
        (Settlement("stop", StepOutcome.DONE, "Done."), {"step": "step_is_checked"}),
        (Settlement("stop", StepOutcome.SKIPPED, "It is down."), {}),
        (Settlement("law", StepOutcome.DONE, "Done."), {"step": "step_unknown"}),
    ],
)
def test_a_step_is_settled_by_who_can_know_it(order: Settlement, faults: dict[str, str]) -> None:
    """C159."""
    assert policy.settle_fault(INCIDENT, order) == faults


@pytest.mark.parametrize(
    ("order", "faults"),
    [
        (Closing("a", "b", CertificateDecision.KEPT, "chart.switched"), {}),
        (Closing("a", "b", CertificateDecision.KEPT, no_scenario="No key there."), {}),
        (Closing("a", "b", CertificateDecision.KEPT), {"no_scenario": "missing"}),
        (Closing("a", "b", CertificateDecision.KEPT, "chart.lost"), {"scenario": "scenario_unknown"}),
        (
            Closing(" ", "", CertificateDecision.KEPT, no_scenario=" "),
            {"cause": "missing", "corrective": "missing", "no_scenario": "missing"},
        ),
    ],
)
def test_an_end_says_what_was_learned(order: Closing, faults: dict[str, str]) -> None:
    """C159."""
    assert policy.closing_faults(order, {"chart.switched"}) == faults


@pytest.mark.parametrize(
    ("where", "change", "targets"),
    [
        (StopWhere.EVERYWHERE, {}, [(TargetKind.APP, "app_1")]),
        (StopWhere.VENDOR, {}, [(TargetKind.VENDOR, ACME)]),
        (StopWhere.HOSPITALS, {}, []),
        (StopWhere.HOSPITALS, {"tenants": (GENERAL,)}, [(TargetKind.APP_TENANT, "app_1/general")]),
    ],
)
def test_what_contains_an_incident(
    where: StopWhere, change: dict[str, Any], targets: list[tuple[TargetKind, str]]
) -> None:
    """C158."""
    found = policy.targets_of(replace(INCIDENT, **change), where)
    assert [(each.kind, each.key) for each in found] == targets


@pytest.mark.parametrize(
    ("order", "change", "faults"),
    [
        (Containment(StopWhere.EVERYWHERE, "now"), {}, {}),
        (Containment(StopWhere.EVERYWHERE, "now", Mode.OBSERVE), {}, {"mode": "observe_stops_nothing"}),
        (Containment(StopWhere.HOSPITALS, "now"), {}, {"where": "hospitals_not_named"}),
        (
            Containment(StopWhere.EVERYWHERE, "now"),
            {"apps": tuple(AppId(f"app_{n}") for n in range(STOPS_BOUND + 1))},
            {"where": "too_many_stops"},
        ),
        (
            Containment(StopWhere.VENDOR, "now"),
            {"apps": tuple(AppId(f"app_{n}") for n in range(STOPS_BOUND + 1))},
            {},
        ),
    ],
)
def test_a_containment_that_stops_nothing_is_refused(
    order: Containment, change: dict[str, Any], faults: dict[str, str]
) -> None:
    """C158."""
    assert policy.contain_faults(replace(INCIDENT, **change), order) == faults


@pytest.mark.parametrize(
    ("severity", "after", "change", "late"),
    [
        ("sev1", timedelta(minutes=15), {}, ()),
        ("sev1", timedelta(minutes=16), {}, ("containment",)),
        ("sev1", timedelta(hours=5), {"contained_at": START}, ("notice",)),
        ("sev1", timedelta(days=9), {"contained_at": START, "notified_at": START}, ()),
        ("sev1", timedelta(0), {"contained_at": START + timedelta(hours=1)}, ("containment",)),
        ("sev2", timedelta(minutes=16), {}, ()),
        ("sev4", timedelta(days=6), {}, ()),
        ("sev4", timedelta(days=8), {}, ("containment",)),
    ],
)
def test_which_clocks_ran_out(
    severity: str, after: timedelta, change: dict[str, Any], late: tuple[str, ...]
) -> None:
    """C158: also one that was done too late stays late."""
    incident = replace(INCIDENT, severity=IncidentSeverity(severity), **change)
    assert policy.late_for(incident, START + after) == late


@pytest.mark.parametrize(
    ("incident", "code"),
    [
        (INCIDENT, "reach_unknown"),
        (counted(), ""),
        (counted(reach_asked_at=START), ""),
        (counted(reach_asked_at=START + timedelta(seconds=1)), "reach_unknown"),
        (counted(notice_number=2, sent_number=1), "notice_in_progress"),
        (counted(notice_number=2, sent_number=2), ""),
    ],
)
def test_when_nobody_can_be_notified(incident: Incident, code: str) -> None:
    """C163."""
    fault = policy.notify_fault(incident)
    assert (fault[0] if fault else "") == code


def test_a_notice_has_the_counts_of_its_hospital_and_the_vendors_those_of_all() -> None:
    """C163: who is named but was not reached is told so."""
    incident = counted(notice_number=1, tenants=(CHILDREN,))
    assert policy.recipients_of(incident) == [CHILDREN, GENERAL]
    told = {each: policy.notice_to(incident, "inn_1", each, START) for each in ("general", "children", "")}
    assert {place: (each.calls, each.patients) for place, each in told.items()} == {
        "general": (3, 2),
        "children": (0, 0),
        "": (9, 5),
    }
    assert {each.due_at for each in told.values()} == {START + timedelta(hours=4)}


def of_hospital(place: str, role: str) -> Actor:
    return Actor(ActorKind.PERSON, "per_1", TenantId(place), frozenset({role}))


def of_vendor(vendor: str, role: str) -> Actor:
    return Actor(ActorKind.MEMBER, "per_2", roles=frozenset({role}), vendor=VendorId(vendor))


TO_GENERAL = policy.notice_to(counted(), "inn_1", GENERAL, START)
TO_ACME = policy.notice_to(counted(), "inn_2", "", START)


@pytest.mark.parametrize(
    ("who", "notice", "sees", "acknowledges"),
    [
        (of_hospital(GENERAL, "administrator"), TO_GENERAL, True, True),
        (of_hospital(GENERAL, "administrator"), TO_ACME, False, False),
        (of_hospital(GENERAL, "physician"), TO_GENERAL, False, False),
        (of_hospital(CHILDREN, "administrator"), TO_GENERAL, False, False),
        (of_vendor(ACME, "vendor_billing"), TO_ACME, True, True),
        (of_vendor(ACME, "vendor_owner"), TO_GENERAL, False, False),
        (of_vendor("ven_other", "vendor_owner"), TO_ACME, False, False),
        (Actor(ActorKind.STAFF, "per_3", roles=frozenset({"auditor"})), TO_GENERAL, True, False),
        (SYSTEM, TO_ACME, True, False),
    ],
)
def test_who_sees_a_notice_and_who_acknowledges_it(
    who: Actor, notice: IncidentNotice, sees: bool, acknowledges: bool
) -> None:
    """C163: the staff see all, and confirm nothing for anybody."""
    assert policy.may_see_notice(who, notice) is sees
    assert policy.may_acknowledge(who, notice) is acknowledges


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ([("production", {})], True),
        ([("production", {"withdrawn_at": START})], False),
        ([("production", {"expires_at": START})], False),
        ([("sandbox", {})], True),
        ([("sandbox", {}), ("production", {"withdrawn_at": START})], False),
        ([("production", {"withdrawn_at": START}), ("production", {})], True),
        ([], False),
    ],
)
def test_an_app_is_certified_again_where_it_was(
    change: list[tuple[str, dict[str, Any]]], holds: bool
) -> None:
    """C159: a certificate for the sandbox does not bring back one for production."""
    certifications = [
        replace(
            CERT, environment=Environment(environment), **{"expires_at": START + timedelta(days=1)} | more
        )
        for environment, more in change
    ]
    assert policy.is_certified(certifications, START) is holds
