"""One trace, three uses: it proposes the scopes, becomes the certified contract, and is what drift is measured against (C220)."""

from dataclasses import replace
from datetime import timedelta
from functools import partial
from html import unescape
from typing import Any

import pytest
from sqlalchemy import text

from hilum.foundation.kernel.actor import SYSTEM
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, Outcome
from hilum.review.certification_runs import service
from hilum.review.certification_runs.models import Outcome as Judged
from hilum.review.certification_runs.models import Records
from hilum.review.recertification.service import Use
from tests.flows.certified_app import Certified
from tests.flows.console_review_ground import enter_vendor
from tests.flows.contract_ground import LATER, place_of, shown_calls
from tests.flows.control_site import TRACE, codes, problem, send
from tests.flows.journal_ground import JournalGround, access
from tests.flows.review_ground import SCOPES, Ground, pass_discipline, signs
from tests.flows.review_world import World, again, decide, in_order, opened, passed, sandbox_client, submitted
from tests.flows.vendor_ground import furnish_vendor, made
from tests.unit.review.certification_runs.cases import CASES, during


@pytest.fixture
def ground(world: World) -> Ground:
    found = in_order(world)
    found.site.furnished("rita signs", lambda: signs(found.site, "rita", "technical"))
    return found


def contract_of(ground: Ground, who: str = "rita", **query: str) -> Any:
    return ground.site.api(who).get(f"/apps/{ground.app}/contract", params=query)


def propose(ground: Ground, who: str = "acme.developer", **query: str) -> Any:
    return ground.site.api(who).get(f"/apps/{ground.app}/proposed-scopes", params=query)


def test_a_run_proposes_the_least_scopes_and_they_go_into_the_draft(ground: Ground) -> None:
    """C220: by API and by page; what the draft said of a scope is kept, also where it is narrowed."""
    run = passed(ground, sandbox_client(ground), *shown_calls(ground))

    found = made(propose(ground, run=run), 200)

    scopes = {each["scope"]: each for each in found["scopes"]}
    assert list(scopes) == ["launch", "openid", "user/Slot.s"]
    (call,) = scopes["user/Slot.s"]["calls"]
    assert call == {"interaction": "search-type", "type": "Slot", "parameters": ["schedule", "start"], "workflow": "appointments", "number": 2}  # fmt: skip
    assert scopes["launch"]["launches"] == 1
    assert (found["left_out"], found["whole"]) == ([], True)

    wide = [*SCOPES, {"scope": "user/Patient.r", "justification": "Shows names."}]
    draft = made(ground.submit(draft=True, scopes=wide))["id"]
    page = f"/developer/apps/{ground.app}/proposal"
    browser = enter_vendor(ground, "acme.developer")
    assert "Put them into the draft" not in browser.get(page).text, "nothing is chosen yet"
    assert "user/Slot.s" in unescape(browser.get(f"{page}?run={run}").text)
    answer = send(browser, f"{page}?run={run}", "scopes")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/developer/submissions/{draft}")
    held = {each["scope"]: each["justification"] for each in ground.see(draft)["scopes"]}
    assert held == {
        "launch": SCOPES[0]["justification"],
        "openid": "",
        "user/Slot.s": SCOPES[1]["justification"],
    }
    stale = send(browser, f"{page}?run={run}", "scopes", scopes="user/Patient.rs")
    assert stale.status_code == 409, "another proposal than was shown"
    assert enter_vendor(ground, "acme.billing").get(f"{page}?run={run}").text.count('name="scopes"') == 0


def test_calls_of_the_last_days_propose_scopes_and_the_read_is_recorded(ground: Ground) -> None:
    """C220: of the sandbox alone, and of what was permitted."""
    client, site = sandbox_client(ground), ground.site
    now = site.clock.now()
    facts: dict[str, Any] = {
        "app": ground.app,
        "client": client,
        "rule": "user/*.rs",
        "resource_type": "Slot",
    }
    rows = [
        access(1, at=now - LATER, **facts),
        access(2, at=now - LATER, **facts, outcome=Outcome.REFUSED, reason="label_withheld"),
        access(3, at=now - LATER, **facts | {"resource_type": "Patient", "tenant": "mercy"}),
        access(4, at=now - timedelta(days=3), **facts | {"resource_type": "Goal"}),
    ]
    place_of(ground).write(*rows)

    found = made(propose(ground, client=client, days="1"), 200)

    assert [each["scope"] for each in found["scopes"]] == ["user/Slot.r"]
    assert found["left_out"] == ["launch"]
    week = made(propose(ground, "rita", client=client), 200)
    assert [each["scope"] for each in week["scopes"]] == ["user/Goal.r", "user/Slot.r"]
    query = EventQuery(action="audit.access.list", limit=5)
    read = [
        each.event.facts["filters"]["client"] for each in site.system(audit.list_events, query=query).events
    ]
    assert read == [client, client]


def test_nobody_else_learns_what_an_app_did_and_a_wrong_trace_is_refused(ground: Ground) -> None:
    """C220, C183."""
    client = sandbox_client(ground)
    run = passed(ground, client)
    furnish_vendor(ground.site, "Rival", "rival")
    for query in ({"run": run}, {"client": client}):
        problem(propose(ground, "rival.owner", **query), 404, "app_not_found")
        assert propose(ground, "gina", **query).status_code in {403, 404}
    problem(contract_of(ground, "rival.owner"), 404, "app_not_found")
    problem(contract_of(ground), 404, "contract_not_found")
    both = {"run": "missing", "client": "missing"}
    for query in ({}, {"run": run, "client": client}):
        assert codes(problem(propose(ground, **query), 422, "trace_invalid")) == both
    for other in ("cli_nowhere", ground.client):
        refused = problem(propose(ground, client=other), 422, "trace_invalid")
        assert codes(refused) == {"client": "client_not_of_sandbox"}, "also one of production"
    problem(propose(ground, run="run_nowhere"), 404, "evidence_run_not_found")
    browser = enter_vendor(ground, "acme.developer")
    page = f"/developer/apps/{ground.app}/proposal"
    assert browser.get(f"{page}?client={client}&days=9999").status_code == 422
    assert browser.get(f"{page}?client={ground.client}").status_code == 422


def test_what_is_certified_keeps_the_shapes_of_its_run_bound_to_what_was_submitted(
    ground: Ground, world: World
) -> None:
    """C220: made with the certification."""
    run = passed(ground, sandbox_client(ground), *shown_calls(ground))
    sent = submitted(ground, world)
    certified = made(decide(ground, sent), 200)

    found = made(contract_of(ground, "acme.developer"), 200)

    assert (found["run"], found["submission"]) == (run, sent)
    assert found["submitted"] == certified["digest"]
    slots = next(each for each in found["shapes"] if each["type"] == "Slot")
    assert (slots["interaction"], slots["scopes"], slots["number"]) == ("search-type", ["user/Slot.s"], 2)
    assert made(contract_of(ground, certification=found["certification"]), 200) == found
    problem(contract_of(ground, certification="cert_other"), 404, "contract_not_found")


@pytest.mark.parametrize("wider", [True, False])
def test_a_run_after_the_checks_neither_widens_the_contract_nor_takes_it_away(
    ground: Ground, world: World, wider: bool
) -> None:
    """C220: what nobody has looked at is not certified, also if the run is failed on purpose between the verdict and the decision."""
    client = sandbox_client(ground)
    run = passed(ground, client)
    sent = submitted(ground, world)
    world.clock.advance(LATER)
    if wider:
        passed(ground, client, *shown_calls(ground))
    else:
        another = opened(ground, client)
        name, rows = next((each[0], each[3]) for each in CASES if each[2] is Judged.NOT_MET)
        assert name in {each["name"] for each in another["scenarios"]}
        fails = partial(service.finish, run_id=another["id"], records=Records(tuple(during(name, rows))))
        assert world.uow.write_now(fails, actor=SYSTEM, trace=TRACE).state.value == "failed"

    made(decide(ground, sent), 200)

    found = made(contract_of(ground), 200)
    assert found["run"] == run
    assert not any(each["type"] == "Slot" and each["workflow"] for each in found["shapes"])


def test_calls_beyond_the_contract_are_found_and_shown_where_they_were_seen(
    ground: Ground, world: World
) -> None:
    """C220: to the vendor, reviewers and those hospitals; a week after the last one it is fixed."""
    passed(ground, sandbox_client(ground), *shown_calls(ground))
    made(decide(ground, submitted(ground, world), expires_at=_ends(world)), 200)
    place = place_of(ground)
    certified = _looked_at(ground, world, place)
    facts: dict[str, Any] = {"app": ground.app, "client": ground.client, "rule": "user/Slot.rs"}
    search = facts | {"interaction": "search-type", "resource_type": "Slot"}
    at = world.clock.now() + timedelta(hours=2)
    place.write(access(1, at=at, **search), access(2, at=at, **search | {"tenant": "mercy"}))
    journals.count_decisions(place.directory, place.url, at)
    certified.night()
    assert certified.findings() == [], "as it was shown"

    beyond = facts | {
        "interaction": "create",
        "resource_type": "Slot",
        "rule": "user/Slot.cu",
        "tenant": "mercy",
    }
    place.write(access(3, at=world.clock.now(), **beyond))
    journals.count_decisions(place.directory, place.url, world.clock.now())
    certified.night()

    (found,) = certified.findings()
    assert (found["rule"], found["about"], found["severity"]) == ("calls.as_certified", "create Slot", "high")
    assert all(found[name] for name in ("evidence", "reproduction", "fix", "due_at"))
    site = ground.site
    assert made(site.api("acme.developer").get("/findings"), 200)["items"] == [found]
    assert made(site.api("rita").get("/tenants/mercy/findings"), 200)["items"] == [found]
    assert made(site.api("rita").get("/tenants/general/findings"), 200)["items"] == []
    assert made(site.api("gina").get("/tenants/general/findings"), 200)["items"] == []
    problem(site.api("gina").get("/tenants/mercy/findings"), 403, "not_permitted")
    problem(site.api("acme.owner").get("/tenants/mercy/findings"), 403, "not_permitted")

    world.clock.advance(timedelta(days=7))
    certified.night()
    assert certified.findings() == []
    assert made(site.api("rita").get("/tenants/mercy/findings"), 200)["items"] == []


def test_a_newer_version_that_nobody_uses_hides_no_calls_of_the_one_before(
    ground: Ground, world: World
) -> None:
    """C220: each certified version is compared with its own contract."""
    passed(ground, sandbox_client(ground))
    made(decide(ground, submitted(ground, world), expires_at=_ends(world)), 200)
    world.clock.advance(LATER)
    path, declared = (
        f"/apps/{ground.app}/versions",
        {"workflows": ["appointments"], "placements": ["sidebar"]},
    )
    added = made(ground.site.api("acme.developer").post(path, json={"label": "2"} | declared))
    newer = replace(ground, version=added["id"])
    passed(newer, sandbox_client(newer), *shown_calls(ground))
    made(decide(newer, submitted(newer, world), expires_at=_ends(world)), 200)
    place = place_of(ground)
    facts = {"app": ground.app, "client": ground.client, "rule": "user/Slot.cu", "tenant": "mercy"}
    place.write(access(1, at=world.clock.now() + LATER, interaction="create", resource_type="Slot", **facts))
    journals.count_decisions(place.directory, place.url, world.clock.now() + LATER)

    certified = _looked_at(ground, world, place)
    certified.night()

    (found,) = certified.findings()
    assert found["about"] == "create Slot"
    assert made(ground.site.api("rita").get("/tenants/mercy/findings"), 200)["items"] == [found]


def test_what_a_client_did_before_it_moved_is_not_measured_by_the_version_that_it_moved_to(
    ground: Ground, world: World
) -> None:
    """C220: what some certified version showed is no drift of before; what none showed stays one, or moving there and back would hide it."""
    passed(ground, sandbox_client(ground), *shown_calls(ground))
    made(decide(ground, submitted(ground, world), expires_at=_ends(world)), 200)
    path, declared = (
        f"/apps/{ground.app}/versions",
        {"workflows": ["appointments"], "placements": ["sidebar"]},
    )
    added = made(ground.site.api("acme.developer").post(path, json={"label": "2"} | declared))
    newer = replace(ground, version=added["id"])
    passed(newer, sandbox_client(newer))
    made(decide(newer, submitted(newer, world), expires_at=_ends(world)), 200)
    place, certified = place_of(ground), _looked_at(ground, world, place_of(ground))
    facts = {"app": ground.app, "client": ground.client, "tenant": "mercy", "resource_type": "Slot"}
    search = facts | {"rule": "user/Slot.rs", "interaction": "search-type"}
    world.clock.advance(LATER)
    place.write(access(1, at=world.clock.now(), **search))
    place.write(access(2, at=world.clock.now(), **facts | {"rule": "user/Slot.cu", "interaction": "create"}))
    world.clock.advance(LATER)
    made(ground.site.api("acme.owner").put(f"/clients/{ground.client}/version", json={"version": added["id"]}), 200)  # fmt: skip
    journals.count_decisions(place.directory, place.url, world.clock.now())

    certified.night()

    assert [each["about"] for each in certified.findings()] == ["create Slot"]
    place.write(access(3, at=world.clock.now() + LATER, **search))
    journals.count_decisions(place.directory, place.url, world.clock.now() + LATER)
    certified.night()
    assert {each["about"] for each in certified.findings()} == {"create Slot", "search-type Slot"}


def test_another_run_is_judged_again_also_if_nothing_else_changed(ground: Ground, world: World) -> None:
    """C108: whoever passed with one run must not have it checked again with another one."""
    client = sandbox_client(ground)
    passed(ground, client)
    sent = submitted(ground, world)
    world.clock.advance(LATER)
    wider = passed(ground, client, *shown_calls(ground))
    again(ground, sent)
    assert world.check()

    problem(decide(ground, sent), 403, "disciplines_not_passed")
    pass_discipline(ground, sent)
    again(ground, sent)
    assert world.check()

    made(decide(ground, sent), 200)
    assert made(contract_of(ground), 200)["run"] == wider


def test_an_app_whose_submission_cannot_be_read_is_skipped_and_keeps_no_other_waiting(
    ground: Ground, world: World
) -> None:
    """C115: a row that somebody wrote into the database must not end the look at every app after it."""
    passed(ground, sandbox_client(ground))
    made(decide(ground, submitted(ground, world), expires_at=_ends(world)), 200)
    certified = _looked_at(ground, world, place_of(ground))
    certified.night()
    broken = "UPDATE review_submission SET documents = '[[1]]'"
    world.uow.write_now(lambda ctx: ctx.tx.execute(text(broken)), actor=SYSTEM, trace=TRACE)

    with pytest.raises(ValueError, match="unpack"):
        certified.night()
    certified.look()

    progress = made(ground.site.api("otto").get("/revalidation"), 200)
    assert (progress["done"], bool(progress["ended_at"])) == (1, True)
    skipped = EventQuery(action="revalidation.app.skip", limit=5)
    found = ground.site.system(audit.list_events, query=skipped).events
    assert [each.event.app for each in found] == [ground.app]


def _looked_at(ground: Ground, world: World, place: JournalGround) -> Certified:
    use = Use(
        partial(journals.read_permits, place.directory, place.url),
        partial(journals.read_places, place.directory, place.url),
    )
    return Certified(world, ground, f"https://acme.example:{world.hosts['acme.example'].port}", use)


def _ends(world: World) -> str:
    return (world.clock.now() + timedelta(days=200)).isoformat()
