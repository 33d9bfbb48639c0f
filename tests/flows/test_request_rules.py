"""A hospital's ordered rules decide requests under the name of who put them in force (C214)."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from hilum.audit import service as audit
from hilum.audit.models import EventQuery
from hilum.controls.models import EngageOrder, Mode, Target, TargetKind
from hilum.infra.unit_of_work import UnitOfWork
from hilum.registry import service as registry
from hilum.requests import rule_sets
from hilum.requests import service as requests
from hilum.switchboard import service as switchboard
from tests.flows.control_site import TRACE, codes, problem
from tests.flows.request_ground import RequestGround
from tests.flows.vendor_ground import made
from tests.sim.world import FakeClock

APPROVE = {"name": "colleagues", "action": "approve", "requesters": ["physician"], "because": "as usual"}
DISMISS = {"name": "nobody-else", "action": "dismiss", "because": "ask your head of department"}


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> RequestGround:
    return RequestGround(sqlite_uow, clock)


def events(ground: RequestGround, action: str) -> list[Any]:
    read = partial(audit.list_events, query=EventQuery(action=action, limit=50))
    return list(ground.site.uow.read_now(read, trace=TRACE).events)


def obstacle(asked: Any, ground: RequestGround) -> tuple[str, str, str]:
    """Return what became of a request, as the administrator sees it."""
    found = ground.api("greg").get(f"/requests/{made(asked)['id']}").json()
    return found["state"], found["verdict"]["action"], found["verdict"]["obstacle"]


def test_a_rule_approves_under_the_name_of_who_put_it_in_force_and_the_record_has_its_version(
    ground: RequestGround,
) -> None:
    """C214."""
    assert made(ground.rules("gina", APPROVE, DISMISS), 200)["version"] == 1
    gina = f"person:{ground.site.people['gina'].id}"

    asked = made(ground.ask("ann", scopes=["patient/Observation.rs"]))

    assert (asked["state"], asked["because"]) == ("approved", "as usual")
    (installed,) = ground.installed()
    assert installed["approved_by"] == gina
    assert installed["scopes"] == ["launch", "openid", "fhirUser", "patient/Observation.rs"]
    (decided,) = events(ground, "requests.request.approve")
    assert decided.actor == gina
    facts = decided.event.facts
    assert (facts["rule"], facts["rules_version"], facts["installation"]) == (
        "colleagues",
        1,
        installed["id"],
    )
    (group,) = ground.api("gina").get("/request-groups?state=approved").json()["items"]
    assert (group["rule"], group["rules_version"], group["decided_by"]) == ("colleagues", 1, gina)


def test_a_rule_dismisses_with_its_reason_and_opens_no_group(ground: RequestGround) -> None:
    made(ground.rules("gina", APPROVE, DISMISS), 200)

    asked = made(ground.ask("nora", roles=["nurse"]))

    assert (asked["state"], asked["because"]) == ("dismissed", DISMISS["because"])
    assert ground.installed() == []
    assert ground.api("gina").get("/request-groups").json()["items"] == []


def test_a_rule_restricts_what_it_approves(ground: RequestGround) -> None:
    less = {"name": "less", "action": "restrict", "only_scopes": ["patient/Observation.r"], "for_days": 30}
    made(ground.rules("gina", less), 200)

    made(ground.ask("ann", roles=["physician", "nurse"]))

    (installed,) = ground.installed()
    assert installed["scopes"] == ["launch", "openid", "fhirUser", "patient/Observation.r"]
    ends = ground.clock.now() + timedelta(days=30)
    assert installed["expires_at"] == ends.isoformat().replace("+00:00", "Z")


def test_a_rule_escalates_to_a_person_who_then_decides(ground: RequestGround) -> None:
    greg = str(ground.site.people["greg"].id)
    made(ground.rules("gina", {"name": "to-greg", "action": "escalate", "to": greg}), 200)

    made(ground.ask("ann"))

    group = ground.group()
    assert (group["assigned_to"], group["attention"]) == (greg, "rule")
    problem(ground.decide("gina", "approve"), 403, "assigned_to_another")
    made(ground.decide("greg", "approve"), 200)


def test_what_a_rule_approves_serves_colleagues_who_wait_for_no_more(ground: RequestGround) -> None:
    served = made(ground.ask("nora", roles=["physician"], scopes=["patient/Observation.r"]))
    more = made(ground.ask("greg", roles=["nurse"]))
    made(ground.rules("gina", APPROVE), 200)

    made(ground.ask("ann", scopes=["patient/Observation.rs"]))

    states = {each["id"]: each["state"] for each in ground.api("gina").get("/requests").json()["items"]}
    assert (states[served["id"]], states[more["id"]]) == ("approved", "open")
    assert (ground.group()["requests"], ground.group()["roles"]) == (1, ["nurse"])


def test_no_rule_approves_what_is_not_certified_or_not_allowed_by_the_rule_book(
    ground: RequestGround,
) -> None:
    """C214."""
    made(ground.rules("gina", {"name": "all", "action": "approve"}), 200)

    wide = ground.ask("ann", scopes=["patient/Observation.rs", "patient/MedicationRequest.rs"])
    assert obstacle(wide, ground) == ("open", "escalate", "wider_than_allowed")
    unknown = ground.add_app("Uncertified")
    assert obstacle(ground.ask("ann", app=unknown), ground) == ("open", "escalate", "app_not_certified")
    tier = {"name": "small", "action": "approve", "tier_at_most": "high"}
    made(ground.rules("gina", tier, base=1), 200)
    assert obstacle(ground.ask("nora", app=unknown), ground) == ("open", "escalate", "unknown_fact")
    assert ground.installed() == []


def test_under_a_stop_or_a_suspension_rules_approve_nothing(ground: RequestGround) -> None:
    made(ground.rules("gina", {"name": "all", "action": "approve"}), 200)
    target = Target(TargetKind.APP_TENANT, f"{ground.app}/general")
    order = EngageOrder(target, Mode.NO_NEW_LAUNCHES, "watched")
    ground.site.system(switchboard.engage, order=order)
    assert obstacle(ground.ask("ann"), ground) == ("open", "escalate", "switch_engaged")

    second = ground.add_app("Second")
    ground.certify(second, "1", ("launch", "patient/Observation.rs"))
    ground.site.system(registry.suspend_app, app_id=second, reason="looked at")
    assert obstacle(ground.ask("ann", app=second), ground) == ("open", "escalate", "app_suspended")
    assert ground.installed() == []


def test_what_the_hospital_removed_or_dismissed_no_rule_brings_back(ground: RequestGround) -> None:
    made(ground.rules("gina", {"name": "all", "action": "approve"}), 200)
    made(ground.ask("ann"))
    ground.clock.advance(timedelta(hours=1))
    assert obstacle(ground.ask("nora", roles=["nurse"]), ground) == ("open", "escalate", "already_installed")
    made(ground.decide("greg", "dismiss", reason="physicians only"), 200)
    made(ground.api("gina").delete(f"/installations/{ground.installed()[0]['id']}"), 200)

    assert obstacle(ground.ask("ann"), ground) == ("open", "escalate", "removed_before")
    second = ground.add_app("Second")
    made(ground.ask("ann", app=second))
    (_, group) = ground.api("gina").get("/request-groups").json()["items"]
    body = {"revision": group["revision"], "reason": "not yet"}
    made(ground.api("gina").post(f"/request-groups/{group['id']}/dismiss", json=body), 200)
    ground.certify(second, "1", ("launch", "patient/Observation.rs"))
    assert obstacle(ground.ask("ann", app=second), ground) == ("open", "escalate", "dismissed_before")
    made(ground.rules("gina", {"name": "all", "action": "approve"}, base=1), 200)
    ground.clock.advance(timedelta(hours=1))
    made(ground.rules("gina", {"name": "all", "action": "approve"}, base=2), 200)
    assert obstacle(ground.ask("nora", app=second), ground)[0] == "approved"


def test_rules_approve_for_nobody_once_who_put_them_in_force_may_not(ground: RequestGround) -> None:
    """C214: stopped, though the stop was released, or deactivated."""
    made(ground.rules("greg", {"name": "all", "action": "approve"}), 200)
    ground.clock.advance(timedelta(hours=1))
    target = Target(TargetKind.PERSON, str(ground.site.people["greg"].id))
    order = EngageOrder(target, Mode.FULL_STOP, "lost a laptop")
    stopped = ground.site.system(switchboard.engage, order=order)
    asked = ground.ask("ann")
    found = ground.api("gina").get(f"/requests/{made(asked)['id']}").json()
    assert (found["state"], found["verdict"]["obstacle"]) == ("open", "approver_may_not")

    release = {"reason": "found"}
    for who in ("sam", "sue"):
        ground.api(who).post(f"/switches/{stopped.id}/release", json=release)
    ground.clock.advance(timedelta(hours=1))
    found = ground.api("gina").get(f"/requests/{made(ground.ask('nora'))['id']}").json()
    assert found["verdict"]["obstacle"] == "approver_may_not"
    assert ground.installed() == []

    made(ground.rules("gina", {"name": "all", "action": "approve"}, base=1), 200)
    made(ground.decide("gina", "dismiss", reason="again"), 200)
    ground.leave("greg")


def test_ones_own_rule_does_not_approve_ones_own_request(ground: RequestGround) -> None:
    made(ground.rules("gina", {"name": "all", "action": "approve"}), 200)

    assert obstacle(ground.ask("gina"), ground) == ("open", "escalate", "own_request")
    assert ground.installed() == []


def test_rules_are_put_in_force_by_an_administrator_of_the_hospital_upon_those_that_were_read(
    ground: RequestGround,
) -> None:
    made(ground.rules("gina", APPROVE), 200)

    problem(ground.rules("greg", DISMISS), 409, "changed_since_read")
    for who in ("ann", "root", "sam", "dev"):
        assert ground.rules(who, DISMISS, base=1).status_code == 403, who
    body = {"rules": [], "base": 1, "tenant": "general"}
    problem(ground.api("carl").put("/request-rules", json=body), 404, "tenant_not_found")
    problem(ground.api("carl").get("/request-rules?tenant=general"), 404, "tenant_not_found")
    made(ground.rules("greg", DISMISS, base=1), 200)

    found = ground.api("gina").get("/request-rules").json()
    assert (found["version"], found["rules"]) == (2, [DISMISS])
    listed = ground.api("otto").get("/request-rules/versions?tenant=general").json()["items"]
    assert [each["version"] for each in listed] == [2, 1]
    for after in ("x", "9" * 12, "~"):
        assert ground.api("gina").get(f"/request-rules/versions?after={after}").status_code == 422


BAD_RULES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"name": "x", "action": "escalate", "to": "per_nobody"}, {"rules.0.to": "person_no_administrator"}),
    ({"name": "x", "action": "approve", "categories": ["magic"]}, {"rules.0.categories": "category_unknown"}),
    ({"name": "x", "action": "restrict"}, {"rules.0.only_scopes": "limit_missing"}),
]


def test_invalid_rules_are_refused_by_field_and_those_in_force_stay(ground: RequestGround) -> None:
    made(ground.rules("gina", DISMISS), 200)
    for rule, faults in BAD_RULES:
        assert codes(problem(ground.rules("gina", rule, base=1), 422, "rules_invalid")) == faults
        tried = ground.api("gina").post("/request-rules/try", json={"rules": [rule]})
        assert codes(problem(tried, 422, "rules_invalid")) == faults
    for rule in ({"name": "x"}, {"name": "x", "action": "allow"}, DISMISS | {"surprise": 1}):
        problem(ground.rules("gina", rule, base=1), 422, "fields_invalid")
    ann = str(ground.site.people["ann"].id)
    to_ann = {"name": "x", "action": "escalate", "to": ann}
    assert codes(problem(ground.rules("gina", to_ann, base=1), 422, "rules_invalid")) == {
        "rules.0.to": "person_no_administrator"
    }
    assert ground.api("gina").get("/request-rules").json()["version"] == 1


def test_other_rules_are_tried_on_past_requests_before_they_are_put_in_force(ground: RequestGround) -> None:
    """C214."""
    made(ground.rules("gina", DISMISS), 200)
    first, second = made(ground.ask("ann")), made(ground.ask("nora", roles=["nurse"]))

    body = {"rules": [APPROVE, DISMISS]}
    tried = made(ground.api("gina").post("/request-rules/try", json=body), 200)

    assert (tried["judged"], tried["next"]) == (2, "")
    (item,) = tried["items"]
    assert (item["request"], item["ended"]) == (first["id"], "dismissed")
    assert (item["before"]["action"], item["now"]["action"], item["now"]["rule"]) == (
        "dismiss",
        "approve",
        "colleagues",
    )
    assert item["now"]["grant"]["roles"] == ["physician"]
    assert ground.installed() == []
    assert ground.api("gina").get("/request-rules").json()["version"] == 1
    same = made(ground.api("gina").post("/request-rules/try", json={"rules": [DISMISS]}), 200)
    assert same["items"] == []
    after = made(ground.api("gina").post("/request-rules/try", json=body | {"after": second["id"]}), 200)
    assert after["judged"] == 0
    ground.clock.advance(timedelta(days=91))
    ground.clients.clear()
    assert made(ground.api("gina").post("/request-rules/try", json=body), 200)["judged"] == 0


def test_a_dry_run_ends_its_part_once_it_has_done_so_much_work(
    ground: RequestGround, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hospital's rules and requests, however large, do not keep the database from all others."""
    monkeypatch.setattr(rule_sets, "TRY_BOUND", 1)
    made(ground.rules("gina", DISMISS), 200)
    asked = [made(ground.ask("ann")), made(ground.ask("nora", roles=["nurse"]))]
    body: dict[str, Any] = {"rules": [APPROVE | {"scopes_within": ["patient/*.rs"]}, DISMISS]}

    first = made(ground.api("gina").post("/request-rules/try", json=body), 200)
    assert (first["judged"], first["next"]) == (1, asked[0]["id"])
    second = made(ground.api("gina").post("/request-rules/try", json=body | {"after": first["next"]}), 200)
    assert (second["judged"], second["next"]) == (1, "")


def test_a_restored_backup_brings_no_rule_back(ground: RequestGround) -> None:
    made(ground.rules("gina", {"name": "all", "action": "approve"}), 200)

    assert ground.site.system(requests.end_rules) == 1
    assert ground.site.system(requests.end_rules) == 0

    assert obstacle(ground.ask("ann"), ground) == ("open", "wait", "")
    assert ground.api("gina").get("/request-rules").json()["version"] == 2


def test_decided_groups_are_deleted_after_their_time_and_open_ones_stay(ground: RequestGround) -> None:
    made(ground.rules("gina", DISMISS | {"requesters": ["nurse"]}), 200)
    made(ground.ask("nora", roles=["nurse"]))
    made(ground.ask("ann"))
    assert ground.site.system(requests.purge) == 0
    ground.clock.advance(timedelta(days=401))

    assert ground.site.system(requests.purge) == 1

    items = ground.site.system(requests.list_requests)
    assert [each.person for each in items] == [ground.site.people["ann"].id]
