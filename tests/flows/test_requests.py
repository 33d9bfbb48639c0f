"""People ask a hospital for an app, and its administrators decide (C214)."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from hilum.identity.store import people, tenants
from hilum.infra.context import Context
from hilum.infra.unit_of_work import UnitOfWork
from hilum.notices import service as notices
from hilum.notices.models import NoticeQuery
from hilum.requests import service as requests
from hilum.requests.models import MAILED_BACK
from tests.flows.control_site import TRACE, codes, problem
from tests.flows.request_ground import GENERAL, READS, RequestGround
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> RequestGround:
    return RequestGround(sqlite_uow, clock)


def test_what_several_people_ask_for_is_one_group_and_deciding_it_decides_all(ground: RequestGround) -> None:
    """C214."""
    first = made(ground.ask("ann"))
    second = made(ground.ask("nora", roles=["nurse"], scopes=["patient/Observation.rs"]))

    group = ground.group()
    assert (group["requests"], group["roles"]) == (2, ["nurse", "physician"])
    assert first["group"] == second["group"] == group["id"]
    assert (first["state"], first["verdict"]["action"]) == ("open", "wait")
    decided = made(ground.decide("gina", "approve", reason="fine"), 200)

    assert (decided["state"], decided["requests"]) == ("approved", 2)
    (installed,) = ground.installed()
    assert set(installed["scopes"]) == set(READS)
    assert sorted(installed["roles"]) == ["nurse", "physician"]
    assert installed["id"] == decided["installation"]
    assert [each["state"] for each in ground.api("ann").get("/requests").json()["items"]] == ["approved"]


def test_a_dismissal_needs_a_reason_and_who_asked_may_ask_again(ground: RequestGround) -> None:
    made(ground.ask("ann"))
    refused = problem(ground.decide("gina", "dismiss", reason=" "), 422, "decision_invalid")
    assert codes(refused) == {"reason": "reason_missing"}

    made(ground.decide("gina", "dismiss", reason="we have another"), 200)

    assert ground.installed() == []
    assert made(ground.ask("ann"))["state"] == "open"


def test_a_group_is_decided_once_at_the_revision_that_was_seen(ground: RequestGround) -> None:
    """C214: a second decision and a stale one are refused."""
    made(ground.ask("ann"))
    seen = ground.group()
    made(ground.ask("nora", roles=["nurse"]))
    gina, where = ground.api("gina"), f"/request-groups/{seen['id']}"

    problem(gina.post(f"{where}/approve", json={"revision": seen["revision"]}), 409, "changed_since_read")
    assert ground.installed() == []
    body = {"revision": ground.group()["revision"], "reason": "no"}
    made(gina.post(f"{where}/dismiss", json=body), 200)

    for verb in ("dismiss", "approve"):
        problem(gina.post(f"{where}/{verb}", json=body), 409, "already_decided")
    hand_over = {"revision": body["revision"], "to": str(ground.site.people["greg"].id)}
    problem(gina.post(f"{where}/hand-over", json=hand_over), 409, "already_decided")
    assert ground.installed() == []


def test_nobody_decides_on_what_they_asked_for_also_not_once_it_is_withdrawn(ground: RequestGround) -> None:
    """C214."""
    made(ground.ask("ann"))
    own = made(ground.ask("gina"))

    problem(ground.decide("gina", "approve"), 403, "own_request")
    problem(ground.decide("gina", "dismiss", reason="x"), 403, "own_request")
    made(ground.api("gina").delete(f"/requests/{own['id']}"), 200)
    problem(ground.decide("gina", "approve"), 403, "own_request")
    assert ground.installed() == []

    made(ground.decide("greg", "approve"), 200)


def test_only_the_hospitals_administrators_decide_and_others_do_not_see_it(ground: RequestGround) -> None:
    made(ground.ask("ann"))
    group = ground.group()
    where, body = f"/request-groups/{group['id']}", {"revision": group["revision"], "reason": "x"}

    for verb in ("approve", "dismiss"):
        problem(ground.api("carl").post(f"{where}/{verb}", json=body), 404, "group_not_found")
        for who in ("ann", "root", "sam", "dev"):
            assert ground.api(who).post(f"{where}/{verb}", json=body).status_code == 403, who
    problem(ground.api("carl").get(where), 404, "group_not_found")
    assert ground.api("carl").get("/request-groups").json()["items"] == []
    problem(ground.api("carl").get("/request-groups?tenant=general"), 403, "not_permitted")
    assert ground.api("otto").get(where).json()["id"] == group["id"]
    assert ground.group()["state"] == "open"


def test_requests_of_who_was_deactivated_do_not_count(ground: RequestGround) -> None:
    """C214."""
    made(ground.ask("ann"))
    made(ground.ask("nora", roles=["nurse"]))
    ground.leave("nora")

    group = ground.group()
    assert (group["requests"], group["not_counted"], group["roles"]) == (1, 1, ["physician"])
    made(ground.decide("gina", "approve"), 200)

    assert ground.installed()[0]["roles"] == ["physician"]


def test_a_group_of_which_nobody_is_left_is_not_approved(ground: RequestGround) -> None:
    made(ground.ask("nora", roles=["nurse"]))
    ground.leave("nora")

    problem(ground.decide("gina", "approve"), 409, "no_request_counts")
    assert ground.installed() == []
    assert made(ground.decide("gina", "dismiss", reason="nobody wants it"), 200)["state"] == "dismissed"


def test_a_person_asks_once_and_withdraws_only_their_own(ground: RequestGround) -> None:
    asked = made(ground.ask("ann"))

    problem(ground.ask("ann"), 409, "already_asked")
    problem(ground.api("nora").delete(f"/requests/{asked['id']}"), 404, "request_not_found")
    problem(ground.api("nora").get(f"/requests/{asked['id']}"), 404, "request_not_found")
    made(ground.api("ann").delete(f"/requests/{asked['id']}"), 200)
    problem(ground.api("ann").delete(f"/requests/{asked['id']}"), 409, "already_decided")

    assert ground.api("gina").get("/request-groups").json()["items"] == []
    assert made(ground.ask("ann"))["state"] == "open"


BAD: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"roles": []}, {"roles": "roles_missing"}),
    ({"roles": ["king"]}, {"roles": "role_unknown"}),
    ({"reason": "  "}, {"reason": "reason_missing"}),
    ({"reason": "x" * 1_001}, {"reason": "reason_too_long"}),
    ({"workflows": ["no_such_workflow"]}, {"workflows": "workflow_not_allowed"}),
    ({"scopes": ["patient/Nothing"]}, {"scopes": "malformed"}),
]


def test_an_invalid_request_is_refused_by_field_and_leaves_nothing(ground: RequestGround) -> None:
    for change, faults in BAD:
        found = codes(problem(ground.ask("ann", **change), 422, "request_invalid"))
        assert set(found) == set(faults), change
        if "scopes" not in faults:
            assert found == faults
    problem(ground.ask("ann", app="app_none"), 404, "app_not_found")
    assert ground.api("gina").get("/request-groups").json()["items"] == []


def test_patients_strangers_and_people_of_another_hospital_do_not_ask(ground: RequestGround) -> None:
    for who in ("pat", "root", "otto"):
        assert ground.ask(who, tenant="general").status_code == 403, who
    problem(ground.ask("carl", tenant="general"), 404, "tenant_not_found")
    problem(ground.ask("dev", tenant="nowhere"), 404, "tenant_not_found")
    problem(ground.ask("dev"), 404, "tenant_not_found")


def test_a_vendor_asks_for_its_own_app_and_sees_how_it_ends_not_how_it_was_judged(
    ground: RequestGround,
) -> None:
    """C214."""
    made(ground.rules("gina", {"name": "all", "action": "escalate", "because": "a person looks"}), 200)
    asked = made(ground.ask("dev", tenant="general"))

    assert (asked["role"], asked["state"]) == ("vendor_developer", "open")
    assert (asked["verdict"]["rule"], asked["verdict"]["steps"]) == ("", [])
    shown = ground.api("gina").get(f"/requests/{asked['id']}").json()
    assert shown["verdict"]["rule"] == "all"
    assert ground.api("dev").get("/requests").json()["items"][0]["id"] == asked["id"]


def test_a_vendor_does_not_ask_for_anothers_app(ground: RequestGround) -> None:
    furnish_vendor(ground.site, "Umbra", "u")

    problem(ground.ask("u.owner", tenant="general"), 404, "app_not_found")
    assert ground.ask("u.billing", tenant="general").status_code == 403


def test_a_workflow_stands_for_the_scopes_that_it_needs_of_the_app(ground: RequestGround) -> None:
    asked = made(ground.ask("ann", scopes=["patient/Observation.rs"]))
    assert asked["wanted"] == ["patient/Observation.rs"]
    everything = made(ground.ask("nora", roles=["nurse"]))

    assert sorted(everything["wanted"]) == ["patient/Condition.rs", "patient/Observation.rs"]


def test_more_for_an_installed_app_widens_it_and_the_same_again_is_refused(ground: RequestGround) -> None:
    made(ground.ask("ann", scopes=["patient/Observation.rs"]))
    made(ground.decide("gina", "approve"), 200)
    before = ground.installed()[0]

    problem(
        ground.ask("nora", roles=["physician"], scopes=["patient/Observation.r"]), 409, "already_installed"
    )
    made(ground.ask("nora", roles=["nurse"]))
    refused = problem(
        ground.decide("gina", "approve", expires_at="2030-01-01T00:00:00Z"), 422, "decision_invalid"
    )
    assert codes(refused) == {"expires_at": "already_installed"}
    made(ground.decide("gina", "approve"), 200)

    (after,) = ground.installed()
    assert (after["id"], after["approved_at"]) == (before["id"], before["approved_at"])
    assert sorted(after["roles"]) == ["nurse", "physician"]
    assert "patient/Condition.rs" in after["scopes"]


def test_an_administrator_approves_less_than_was_asked_for_and_never_more_than_is_certified(
    ground: RequestGround,
) -> None:
    made(ground.ask("ann"))

    refused = problem(
        ground.decide("gina", "approve", scopes=["patient/Task.rs"]), 422, "installation_invalid"
    )
    assert codes(refused) == {"scopes": "scopes_not_certified"}
    assert ground.group()["state"] == "open"
    made(ground.decide("gina", "approve", scopes=["patient/Observation.r"], roles=["nurse"]), 200)

    (installed,) = ground.installed()
    assert installed["scopes"] == ["launch", "openid", "fhirUser", "patient/Observation.r"]
    assert installed["roles"] == ["nurse"]


def test_who_approves_less_than_an_app_needs_knows_it_before_and_it_is_on_record(
    ground: RequestGround,
) -> None:
    """C211, C97: what is left out, and that it was known; a rule leaves it to a person, and what is given back is no longer missing."""
    needs = ground.add_app("Needy")
    ground.certify(needs, "1", READS, optional_scopes=("patient/Condition.rs",))
    body = {"tenant": "general", "app": needs, "roles": ["nurse"], "scopes": ["patient/Condition.rs"]}
    gina = ground.api("gina")
    seen = made(gina.post("/installations/preview", json=body), 200)
    assert [(each["scope"], each["needed"]) for each in seen["left_out"]] == [
        ("patient/Observation.rs", True)
    ]
    assert made(gina.post("/installations/preview", json=body | {"scopes": None}), 200)["complete"] is True
    problem(ground.api("ann").post("/installations/preview", json=body), 403, "not_permitted")
    refused = problem(gina.post("/installations", json=body), 422, "installation_invalid")
    assert codes(refused) == {"scopes": "needed_by_app"}
    assert "patient/Observation.rs" in refused["detail"]

    made(ground.rules("gina", {"name": "all", "action": "approve"}), 200)
    asked = made(ground.ask("ann", needs, scopes=["patient/Condition.rs"]))
    assert (asked["state"], asked["verdict"]["action"], ground.group()["attention"]) == (
        "open",
        "escalate",
        "needed_by_app",
    )
    assert codes(problem(ground.decide("gina", "approve"), 422, "installation_invalid")) == {
        "scopes": "needed_by_app"
    }
    made(ground.decide("gina", "approve", anyway=True), 200)

    (installed,) = ground.installed()
    path = f"/installations/{installed['id']}"
    assert made(gina.get(path), 200)["record"]["without"] == ["patient/Observation.rs"]
    less = made(ground.ask("nora", needs, roles=["nurse"], scopes=["patient/Condition.rs"]))
    seen = ground.site.system(requests.preview, group_id=ground.group()["id"])
    assert seen == (), "what is given beside what it has leaves nothing out"
    made(ground.api("nora").delete(f"/requests/{less['id']}"), 200)
    made(ground.ask("nora", needs, roles=["physician"]))
    made(ground.decide("gina", "approve"), 200)
    assert made(gina.get(path), 200)["without"] == []
    made(gina.patch(path, json={"scopes": ["patient/Observation.r"], "anyway": True}), 200)
    assert made(gina.get(path), 200)["without"] == ["patient/Observation.s"]


def test_open_groups_are_handed_over_one_by_one_or_all_of_who_leaves(ground: RequestGround) -> None:
    """C214."""
    gina, greg = (str(ground.site.people[name].id) for name in ("gina", "greg"))
    made(ground.ask("ann"))
    second = ground.add_app("Second")
    ground.certify(second, "1", READS)
    made(ground.ask("ann", app=second))
    for group in ground.api("gina").get("/request-groups").json()["items"]:
        body = {"revision": group["revision"], "to": gina}
        made(ground.api("greg").post(f"/request-groups/{group['id']}/hand-over", json=body), 200)

    (mine, _) = ground.api("greg").get("/request-groups").json()["items"]
    body = {"revision": mine["revision"], "reason": "no"}
    where = f"/request-groups/{mine['id']}/dismiss"
    problem(ground.api("greg").post(where, json=body), 403, "assigned_to_another")
    done = ground.api("greg").post("/request-groups/hand-over", json={"of": gina, "to": greg})
    assert done.json() == {"groups": 2, "more": False}

    problem(ground.api("greg").post(where, json=body), 409, "changed_since_read")
    problem(
        ground.api("gina").post(where, json=body | {"revision": mine["revision"] + 1}),
        403,
        "assigned_to_another",
    )
    made(ground.api("greg").post(where, json=body | {"revision": mine["revision"] + 1}), 200)


def test_anybody_may_decide_a_group_assigned_to_a_person_who_left(ground: RequestGround) -> None:
    made(ground.ask("ann"))
    group = ground.group()
    body = {"revision": group["revision"], "to": str(ground.site.people["greg"].id)}
    made(ground.api("gina").post(f"/request-groups/{group['id']}/hand-over", json=body), 200)
    problem(ground.decide("gina", "approve"), 403, "assigned_to_another")

    ground.leave("greg")

    made(ground.decide("gina", "approve"), 200)


@in_one_world("to", ["ann", "carl", "root", "nobody"])
def test_nothing_is_handed_over_to_a_person_who_may_not_decide(ground: RequestGround, to: str) -> None:
    ground.site.furnished_once("ann has asked", lambda: made(ground.ask("ann")))
    group = ground.group()
    person = str(ground.site.people[to].id) if to in ground.site.people else "per_nobody"

    for where, body in (
        (f"/request-groups/{group['id']}/hand-over", {"revision": group["revision"]}),
        ("/request-groups/hand-over", {"of": str(ground.site.people["gina"].id)}),
    ):
        answer = ground.api("gina").post(where, json=body | {"to": person})
        assert codes(problem(answer, 422, "hand_over_invalid")) == {"to": "person_no_administrator"}


def test_one_person_asks_so_often_a_day_and_no_more(ground: RequestGround) -> None:
    for _ in range(50):
        asked = made(ground.ask("ann"))
        made(ground.api("ann").delete(f"/requests/{asked['id']}"), 200)

    problem(ground.ask("ann"), 403, "too_many_requests")
    assert made(ground.ask("nora", roles=["nurse"]))["state"] == "open"


def reach(ground: RequestGround, *names: str) -> None:
    """Set the mail addresses of people."""

    def verb(ctx: Context) -> None:
        for name in names:
            own = update(people).where(people.c.id == ground.site.people[name].id)
            ctx.tx.execute(own.values(mail=f"{name}@general.example"))

    ground.site.uow.write_now(verb, trace=TRACE)


def mails(ground: RequestGround) -> list[tuple[str, str, str]]:
    """Return kind, recipient and what is named of all mail that was put, in order."""
    found = ground.site.system(notices.list_notices, query=NoticeQuery())
    return sorted(
        (each.kind, each.recipient, each.facts.get("apps") or each.facts["outcome"])
        for each in found
        if each.kind.startswith("request")
    )


def announce(ground: RequestGround) -> None:
    after = ground.site.system(requests.announce, after="")
    while after:
        after = ground.site.system(requests.announce, after=after)


def test_who_decides_gets_one_mail_for_all_that_began_to_wait_within_an_hour(ground: RequestGround) -> None:
    """C214: whatever a clinician asks for and withdraws, and however often the job runs; what is assigned is mailed to that person alone."""
    reach(ground, "gina", "greg", "ann", "nora")
    other = ground.add_app("Second")
    ground.certify(other, "1", READS)
    for _ in range(3):
        asked = made(ground.ask("ann"))
        made(ground.api("ann").delete(f"/requests/{asked['id']}"), 200)
    made(ground.ask("ann"))
    made(ground.ask("nora", roles=["nurse"]))
    made(ground.ask("ann", other))
    second = next(
        each for each in ground.api("gina").get("/request-groups").json()["items"] if each["app"] == other
    )
    handed = {"to": str(ground.site.people["greg"].id), "revision": second["revision"]}
    made(ground.api("gina").post(f"/request-groups/{second['id']}/hand-over", json=handed), 200)
    announce(ground)
    assert mails(ground) == []

    ground.clock.advance(timedelta(hours=1))
    announce(ground)
    announce(ground)

    first = [
        ("requests_wait", "gina@general.example", "Chart"),
        ("requests_wait", "greg@general.example", "Chart, Second"),
    ]
    assert mails(ground) == first
    ground.clock.advance(timedelta(hours=1))
    announce(ground)
    assert mails(ground) == first


def test_what_was_decided_within_the_hour_or_waited_for_longer_than_a_day_is_in_no_mail(
    ground: RequestGround,
) -> None:
    reach(ground, "gina")
    made(ground.ask("ann"))
    made(ground.decide("gina", "dismiss", reason="no"), 200)
    ground.clock.advance(timedelta(hours=1))
    announce(ground)
    made(ground.ask("ann"))
    ground.clock.advance(MAILED_BACK + timedelta(hours=2))
    announce(ground)

    assert mails(ground) == []


def test_who_asked_and_waited_gets_a_mail_once_it_is_decided(ground: RequestGround) -> None:
    """C214: not who has no address, left, or was answered by a rule at once; and never the reason."""
    reach(ground, "ann", "nora")
    made(ground.ask("ann"))
    made(ground.ask("greg", roles=["administrator"]))
    made(ground.decide("gina", "dismiss", reason="Name of a patient"), 200)
    assert mails(ground) == [("request_decided", "ann@general.example", "dismissed")]
    assert "patient" not in str(ground.site.system(notices.list_notices, query=NoticeQuery()))
    made(ground.ask("ann"))
    ground.join(GENERAL, "nick", "nurse")
    reach(ground, "nick")
    made(ground.ask("nick", roles=["nurse"]))
    ground.leave("nick")
    ground.clock.advance(timedelta(seconds=1))
    made(ground.rules("gina", {"name": "nurses", "action": "approve", "requesters": ["nurse"]}), 200)

    answered = made(ground.ask("nora", roles=["nurse", "physician"]))

    assert answered["state"] == "approved"
    assert mails(ground) == [
        ("request_decided", "ann@general.example", each) for each in ("approved", "dismissed")
    ]


def test_clinicians_list_what_their_hospital_could_install_and_ask_for_it(ground: RequestGround) -> None:
    """C214: page by page; not what is of another hospital, not certified or suspended, and nothing of the vendor but its name."""
    other = ground.add_app("Second")
    ground.certify(other, "1", READS, workflows=("chart_review",))
    ground.add_app("Not certified")
    gone = ground.add_app("Suspended")
    ground.certify(gone, "1", READS)
    made(ground.site.api("sam").post(f"/apps/{gone}/suspend", json={"reason": "a test"}), 200)
    made(ground.ask("ann"))

    found: list[Any] = []
    after = ""
    for _ in range(9):
        page = made(ground.api("ann").get("/requestable-apps", params={"limit": 1, "after": after}), 200)
        found, after = found + page["items"], page["next"]
        if not after:
            break

    assert [(each["name"], each["vendor"], each["installed"], each["asked"]) for each in found] == [
        ("Chart", "Lumen", False, True),
        ("Second", "Lumen", False, False),
    ]
    assert set(found[0]) == {"app", "name", "vendor", "purpose", "tasks", "installed", "asked"}
    made(ground.ask("ann", found[1]["app"]))
    for who in ("pat", "dev", "otto"):
        problem(ground.site.api(who).get("/requestable-apps"), 403, "not_permitted")


def test_at_a_vendors_own_hospital_nobody_elses_apps_are_listed(ground: RequestGround) -> None:
    """C123, C214: a synthetic hospital of a vendor is there for its own apps."""

    def pass_to(vendor: str) -> None:
        change = update(tenants).where(tenants.c.id == GENERAL).values(vendor=vendor)
        ground.site.uow.write_now(lambda ctx: ctx.tx.execute(change), trace=TRACE)

    def listed() -> list[str]:
        page = made(ground.api("ann").get("/requestable-apps"), 200)
        return [each["name"] for each in page["items"]]

    own = made(ground.site.api("sam").get("/apps"), 200)["items"][0]["vendor"]
    pass_to("ven_somebody_else")
    assert listed() == []
    pass_to(own)
    assert listed() == ["Chart"]
