"""People ask a hospital for an app, and its administrators decide (C214)."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.hospitals.requests import service as requests
from hilum.hospitals.requests.models import MAILED_BACK
from hilum.identity.people.store import people, tenants
from hilum.records.notices import service as notices
from hilum.records.notices.models import NoticeQuery
from tests.flows.control_site import TRACE, codes, problem
from tests.flows.request_ground import GENERAL, READS, RequestGround
from tests.flows.vendor_ground import furnish_vendor, made
from tests.sim.world import FakeClock


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> RequestGround:
    return RequestGround(sqlite_uow, clock)


def test_an_approval_installs_the_app_and_answers_all_who_ask_for_no_more(ground: RequestGround) -> None:
    """C214."""
    first = made(ground.ask("ann"))
    within = made(ground.ask("greg", scopes=["patient/Observation.r"]))
    more = made(ground.ask("nora", roles=["nurse"], scopes=["patient/Observation.rs"]))
    assert [request["id"] for request in ground.waiting()] == [first["id"], within["id"], more["id"]]

    approved = made(ground.decide("gina", "approve", first["id"], reason="fine"), 200)

    (installed,) = ground.installed()
    assert set(installed["scopes"]) == set(READS)
    assert installed["roles"] == ["physician"]
    assert (approved["state"], approved["installation"]) == ("approved", installed["id"])
    (own,) = ground.api("ann").get("/requests").json()["items"]
    assert (own["state"], own["answer"], own["decided_by"]) == ("approved", "fine", "")
    served = made(ground.api("greg").get(f"/requests/{within['id']}"), 200)
    assert (served["state"], served["answer"]) == ("approved", "fine")
    assert [request["id"] for request in ground.waiting()] == [more["id"]]

    made(ground.decide("gina", "approve"), 200)
    assert sorted(ground.installed()[0]["roles"]) == ["nurse", "physician"]


def test_to_decline_needs_a_reason_which_the_person_sees_and_they_may_ask_again(
    ground: RequestGround,
) -> None:
    made(ground.ask("ann"))
    for reason, fault in ((" ", "reason_missing"), ("x" * 1_001, "reason_too_long")):
        refused = problem(ground.decide("gina", "decline", reason=reason), 422, "decision_invalid")
        assert codes(refused) == {"reason": fault}

    made(ground.decide("gina", "decline", reason="we have another"), 200)

    assert ground.installed() == []
    assert ground.api("ann").get("/requests").json()["items"][0]["answer"] == "we have another"
    assert made(ground.ask("ann"))["state"] == "open"


def test_one_request_is_declined_or_those_of_everybody_who_asks_for_the_app(ground: RequestGround) -> None:
    other = ground.add_app("Second")
    asked = [made(ground.ask(who)) for who in ("ann", "nora", "greg")]
    elsewhere = made(ground.ask("ann", other))

    made(ground.decide("gina", "decline", asked[0]["id"], reason="no"), 200)
    assert [request["id"] for request in ground.waiting()] == [
        *(request["id"] for request in asked[1:]),
        elsewhere["id"],
    ]
    made(ground.decide("gina", "decline", asked[1]["id"], reason="nobody", everybody=True), 200)

    assert [request["id"] for request in ground.waiting()] == [elsewhere["id"]]
    answers = [ground.api("gina").get(f"/requests/{request['id']}").json()["answer"] for request in asked]
    assert answers == ["no", "nobody", "nobody"]


def test_a_request_is_decided_once(ground: RequestGround) -> None:
    """C214."""
    asked = made(ground.ask("ann"))
    made(ground.decide("gina", "decline", asked["id"], reason="no"), 200)

    problem(ground.decide("gina", "decline", asked["id"], reason="no"), 409, "already_decided")
    problem(ground.decide("greg", "approve", asked["id"]), 409, "already_decided")
    assert ground.installed() == []


def test_nobody_decides_on_what_they_asked_for_also_not_once_it_is_withdrawn(ground: RequestGround) -> None:
    """C214: nor on what a colleague asks for meanwhile, which would answer their own."""
    asked = made(ground.ask("ann"))
    own = made(ground.ask("gina"))

    for request in (own, asked):
        problem(ground.decide("gina", "approve", request["id"]), 403, "own_request")
        problem(ground.decide("gina", "decline", request["id"], reason="x"), 403, "own_request")
    made(ground.api("gina").delete(f"/requests/{own['id']}"), 200)
    problem(ground.decide("gina", "approve", asked["id"]), 403, "own_request")
    assert ground.installed() == []
    made(ground.decide("greg", "decline", asked["id"], reason="not yet"), 200)

    ground.clock.advance(timedelta(hours=1))
    made(ground.ask("ann"))
    made(ground.decide("gina", "approve"), 200)


def test_only_the_hospitals_administrators_decide_and_others_do_not_see_it(ground: RequestGround) -> None:
    asked = made(ground.ask("ann"))

    for verb in ("approve", "decline"):
        problem(ground.decide("carl", verb, asked["id"], reason="x"), 404, "request_not_found")
        for who in ("ann", "root", "sam", "dev"):
            assert ground.decide(who, verb, asked["id"], reason="x").status_code == 403, who
    problem(ground.api("carl").get(f"/requests/{asked['id']}"), 404, "request_not_found")
    assert ground.waiting("carl") == []
    problem(ground.api("carl").get("/requests?tenant=general"), 403, "not_permitted")
    assert ground.api("otto").get(f"/requests/{asked['id']}").json()["id"] == asked["id"]
    assert ground.waiting()[0]["state"] == "open"


def test_an_administrator_lists_the_hospitals_requests_or_only_their_own(ground: RequestGround) -> None:
    theirs, own = made(ground.ask("ann")), made(ground.ask("gina"))

    def listed(query: str) -> list[str]:
        return [request["id"] for request in ground.api("gina").get(f"/requests{query}").json()["items"]]

    assert listed("") == [theirs["id"], own["id"]]
    assert listed("?sort=-since") == [own["id"], theirs["id"]]
    assert listed("?own=true") == [own["id"]]
    assert listed("?state=declined") == []


def test_a_request_of_who_was_deactivated_is_not_approved(ground: RequestGround) -> None:
    """C214."""
    made(ground.ask("nora", roles=["nurse"]))
    ground.leave("nora")

    problem(ground.decide("gina", "approve"), 409, "requester_left")
    assert ground.installed() == []
    declined = made(ground.decide("gina", "decline", reason="nobody wants it"), 200)
    assert declined["state"] == "declined"


def test_a_person_asks_once_and_withdraws_only_their_own(ground: RequestGround) -> None:
    asked = made(ground.ask("ann"))

    problem(ground.ask("ann"), 409, "already_asked")
    problem(ground.api("nora").delete(f"/requests/{asked['id']}"), 404, "request_not_found")
    problem(ground.api("nora").get(f"/requests/{asked['id']}"), 404, "request_not_found")
    made(ground.api("ann").delete(f"/requests/{asked['id']}"), 200)
    problem(ground.api("ann").delete(f"/requests/{asked['id']}"), 409, "already_decided")

    assert ground.waiting() == []
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
    assert ground.waiting() == []


def test_patients_strangers_and_people_of_another_hospital_do_not_ask(ground: RequestGround) -> None:
    for who in ("pat", "root", "otto"):
        assert ground.ask(who, tenant="general").status_code == 403, who
    problem(ground.ask("carl", tenant="general"), 404, "tenant_not_found")
    problem(ground.ask("dev", tenant="nowhere"), 404, "tenant_not_found")
    problem(ground.ask("dev"), 404, "tenant_not_found")


def test_a_vendor_asks_for_its_own_app_and_sees_how_it_ends_not_who_decided(ground: RequestGround) -> None:
    """C214."""
    asked = made(ground.ask("dev", tenant="general"))
    assert (asked["role"], asked["state"]) == ("vendor_developer", "open")

    made(ground.decide("gina", "decline", reason="not now"), 200)

    (own,) = ground.api("dev").get("/requests").json()["items"]
    assert (own["state"], own["answer"], own["decided_by"]) == ("declined", "not now", "")
    shown = ground.api("greg").get(f"/requests/{asked['id']}").json()
    assert shown["decided_by"] == f"person:{ground.site.people['gina'].id}"


def test_a_vendor_does_not_ask_for_anothers_app(ground: RequestGround) -> None:
    furnish_vendor(ground.site, "Umbra", "u")

    problem(ground.ask("u.owner", tenant="general"), 404, "app_not_found")
    assert ground.ask("u.billing", tenant="general").status_code == 403


def test_a_workflow_stands_for_the_scopes_that_it_needs_of_the_app(ground: RequestGround) -> None:
    asked = made(ground.ask("ann", scopes=["patient/Observation.rs"]))
    assert asked["scopes"] == ["patient/Observation.rs"]
    everything = made(ground.ask("nora", roles=["nurse"]))

    assert sorted(everything["scopes"]) == ["patient/Condition.rs", "patient/Observation.rs"]


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
    assert ground.waiting()[0]["state"] == "open"
    made(ground.decide("gina", "approve", scopes=["patient/Observation.r"], roles=["nurse"]), 200)

    (installed,) = ground.installed()
    assert installed["scopes"] == ["launch", "openid", "fhirUser", "patient/Observation.r"]
    assert installed["roles"] == ["nurse"]


def test_who_approves_less_than_an_app_needs_knows_it_before_and_it_is_on_record(
    ground: RequestGround,
) -> None:
    """C211, C97: what is left out, and that it was known; what is given back is no longer missing."""
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

    made(ground.ask("ann", needs, scopes=["patient/Condition.rs"]))
    assert codes(problem(ground.decide("gina", "approve"), 422, "installation_invalid")) == {
        "scopes": "needed_by_app"
    }
    made(ground.decide("gina", "approve", anyway=True), 200)

    (installed,) = ground.installed()
    path = f"/installations/{installed['id']}"
    assert made(gina.get(path), 200)["record"]["without"] == ["patient/Observation.rs"]
    less = made(ground.ask("nora", needs, roles=["nurse"], scopes=["patient/Condition.rs"]))
    seen = ground.site.system(requests.preview, request_id=less["id"])
    assert seen == (), "what is given beside what it has leaves nothing out"
    made(ground.api("nora").delete(f"/requests/{less['id']}"), 200)
    made(ground.ask("nora", needs, roles=["physician"]))
    made(ground.decide("gina", "approve"), 200)
    assert made(gina.get(path), 200)["without"] == []
    made(gina.patch(path, json={"scopes": ["patient/Observation.r"], "anyway": True}), 200)
    assert made(gina.get(path), 200)["without"] == ["patient/Observation.s"]


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
    """C214: whatever a clinician asks for and withdraws, and however often the job runs."""
    reach(ground, "gina", "greg", "ann", "nora")
    other = ground.add_app("Second")
    ground.certify(other, "1", READS)
    for _ in range(3):
        asked = made(ground.ask("ann"))
        made(ground.api("ann").delete(f"/requests/{asked['id']}"), 200)
    made(ground.ask("ann"))
    made(ground.ask("nora", roles=["nurse"]))
    made(ground.ask("ann", other))
    announce(ground)
    assert mails(ground) == []

    ground.clock.advance(timedelta(hours=1))
    announce(ground)
    announce(ground)

    first = [
        ("requests_wait", "gina@general.example", "Chart, Second"),
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
    made(ground.decide("gina", "decline", reason="no"), 200)
    ground.clock.advance(timedelta(hours=1))
    announce(ground)
    made(ground.ask("ann"))
    ground.clock.advance(MAILED_BACK + timedelta(hours=2))
    announce(ground)

    assert mails(ground) == []


def test_who_asked_gets_a_mail_once_it_is_decided(ground: RequestGround) -> None:
    """C214: not who has no address, left, or withdrew; and never the reason."""
    reach(ground, "ann", "nora")
    ground.join(GENERAL, "nick", "nurse")
    reach(ground, "nick")
    made(ground.ask("ann"))
    made(ground.ask("greg", roles=["administrator"]))
    withdrawn = made(ground.ask("nora"))
    made(ground.api("nora").delete(f"/requests/{withdrawn['id']}"), 200)
    made(ground.decide("gina", "decline", reason="Name of a patient", everybody=True), 200)
    assert mails(ground) == [("request_decided", "ann@general.example", "declined")]
    assert "patient" not in str(ground.site.system(notices.list_notices, query=NoticeQuery()))
    first = made(ground.ask("ann", roles=["nurse"]))
    for who in ("nick", "nora"):
        made(ground.ask(who, roles=["nurse"]))
    ground.leave("nick")

    made(ground.decide("gina", "approve", first["id"]), 200)

    assert mails(ground) == [
        ("request_decided", "ann@general.example", "approved"),
        ("request_decided", "ann@general.example", "declined"),
        ("request_decided", "nora@general.example", "approved"),
    ]


def test_requests_are_deleted_long_after_they_ended_and_open_ones_stay(ground: RequestGround) -> None:
    made(ground.ask("nora", roles=["nurse"]))
    made(ground.decide("gina", "decline", reason="no"), 200)
    made(ground.ask("ann"))
    assert ground.site.system(requests.purge) == 0
    ground.clock.advance(timedelta(days=401))

    assert ground.site.system(requests.purge) == 1

    items = ground.site.system(requests.list_requests)
    assert [request.person for request in items] == [ground.site.people["ann"].id]


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
