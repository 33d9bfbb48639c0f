"""The EHR's launch API over HTTP: contract.md, "The EHR's launch API"."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from hilum.apps.clients.models import ClientType
from hilum.apps.registry.models import NewVersion
from hilum.authorization.launches.models import BODY_BOUND, OPEN_URL_LIFE
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewFacility
from hilum.identity.signin import service as signin
from hilum.operations.switch_administration import service as switch_administration
from hilum.policy.matrix.models import Tier
from tests.flows.ehr_ground import LAUNCHES, SCOPE, Ehr, ehr, problem
from tests.flows.policy_ground import narrow_policy
from tests.flows.token_flow import BASE, MERCY, OTHER
from tests.sim.browser import seen_from
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import GONE

__all__ = ["ehr"]


def test_opening_answers_what_the_contract_promises(ehr: Ehr, clock: FakeClock) -> None:
    answer = ehr.send("POST", LAUNCHES, ehr.order())

    told = answer.json()
    assert answer.status_code == 201
    assert set(told) == {"id", "launch", "launch_url", "open_url", "expires_at"}
    assert answer.headers["location"] == f"{BASE}{LAUNCHES}/{told['id']}"
    assert answer.headers["cache-control"] == "no-store"
    assert told["open_url"].startswith(f"{BASE}/t/{MERCY}/ehr/open/")
    assert parse_qs(urlsplit(told["launch_url"]).query) == {
        "iss": [f"{BASE}/t/{MERCY}/fhir"],
        "launch": [told["launch"]],
    }
    assert told["expires_at"] == (clock.now() + timedelta(minutes=5)).isoformat()


def test_everything_an_ehr_may_say_is_kept(ehr: Ehr) -> None:
    opened = ehr.open(
        placement="sidebar",
        fhirContext=[{"reference": "ImagingStudy/1"}],
        need_patient_banner=False,
    )

    launch = ehr.launch(opened)
    assert (launch.placement, launch.need_patient_banner) == ("sidebar", False)
    assert launch.fhir_context == ({"reference": "ImagingStudy/1"},)


def test_open_url_signs_the_person_in_and_continues_to_the_app(ehr: Ehr) -> None:
    """Security decisions 2 and 13."""
    opened = ehr.open()

    answer = ehr.http.get(opened["open_url"])

    assert answer.status_code == 303
    assert answer.headers["location"] == opened["launch_url"]
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    lines = answer.headers.get_list("set-cookie")
    assert any(
        line.startswith("hilum_session=") and "HttpOnly" in line and "SameSite=Lax" in line for line in lines
    )
    assert any("Partitioned" in line and "Secure" in line for line in lines)
    cookie = ehr.http.cookies["hilum_session"]
    session = ehr.platform.run(lambda ctx: signin.session(seen_from(ctx, ehr.http), cookie))
    assert session is not None
    assert session.person == ehr.platform.people["dora"].id


def test_open_url_replaces_anothers_session_in_the_browser(ehr: Ehr) -> None:
    ehr.platform.add_person("nora", "nurse", "Practitioner/pr2")
    for person in ("dora", "nora"):
        ehr.http.get(ehr.open(person=person)["open_url"])

    cookie = ehr.http.cookies["hilum_session"]
    session = ehr.platform.run(lambda ctx: signin.session(seen_from(ctx, ehr.http), cookie))
    assert session is not None
    assert session.person == ehr.platform.people["nora"].id


def test_open_url_is_used_once(ehr: Ehr) -> None:
    opened = ehr.open()
    ehr.http.get(opened["open_url"])

    again = ehr.http.get(opened["open_url"])

    assert again.status_code == 404
    assert "location" not in again.headers
    assert "set-cookie" not in again.headers
    assert "Open the app from the EHR again" in again.text


def test_a_head_uses_nothing_up(ehr: Ehr) -> None:
    """Link previews and scanners ask by HEAD."""
    opened = ehr.open()

    assert ehr.http.head(opened["open_url"]).status_code == 405

    assert ehr.http.get(opened["open_url"]).status_code == 303


def test_open_url_is_late_after_sixty_seconds_and_foreign_at_another_tenant(
    ehr: Ehr, clock: FakeClock
) -> None:
    opened, late = ehr.open(), ehr.open()

    assert ehr.http.get(opened["open_url"].replace(f"/{MERCY}/", f"/{OTHER}/")).status_code == 404
    clock.advance(OPEN_URL_LIFE)
    assert ehr.http.get(late["open_url"]).status_code == 404
    for path in ("x", "A" * 43, "%00", "A" * 5000, "..%2F.."):
        assert ehr.http.get(f"/t/{MERCY}/ehr/open/{path}").status_code == 404


def test_the_chart_moves_and_the_session_ends(ehr: Ehr) -> None:
    """C35, C36."""
    opened = ehr.open()
    where = f"{LAUNCHES}/{opened['id']}"
    ehr.platform.take(opened["launch"])

    moved = ehr.send("PATCH", where, {"patient": "p2", "encounter": "e2"})
    stayed = ehr.send("PATCH", where, {})
    closed = ehr.send("PATCH", where, {"patient": None})
    ended = ehr.send("DELETE", where)

    assert moved.json() == {"id": opened["id"], "patient": "p2", "encounter": "e2", "moved": True}
    assert (stayed.json()["patient"], stayed.json()["encounter"]) == ("p2", "e2")
    assert closed.json()["patient"] == ""
    assert (ended.status_code, ended.content) == (204, b"")
    assert ehr.send("DELETE", where).status_code == 204
    assert ehr.launch(opened).ended_at is not None
    problem(ehr.send("PATCH", where, {"patient": "p1"}), 404, "launch_ended")


def test_each_step_of_a_launch_is_on_record(ehr: Ehr) -> None:
    """C27, C35, C36: for whom it was opened, on which chart, and what became of it."""
    opened = ehr.open(intent="outreach")
    where = f"{LAUNCHES}/{opened['id']}"
    assert ehr.http.get(urlsplit(opened["open_url"]).path).status_code == 303
    ehr.platform.take(opened["launch"])
    ehr.send("PATCH", where, {"patient": "p2"})
    ehr.send("DELETE", where)

    found = list(reversed(ehr.platform.events("launches.launch")))

    steps = [(each.action.rpartition(".")[2], each.patient) for each in found]
    assert steps == [("open", "p1"), ("begin", "p1"), ("take", "p1"), ("move", "p2"), ("end", "p2")]
    client, person = ehr.platform.clients["public"].id, ehr.platform.people["dora"].id
    whose = {(each.outcome, each.tenant, each.client, each.person, each.launch) for each in found}
    assert whose == {("done", MERCY, client, person, opened["id"])}
    assert (found[0].facts["intent"], found[3].facts["stale"]) == ("outreach", True)


def test_a_step_that_is_refused_is_on_record_too(ehr: Ehr) -> None:
    """C38: what another EHR tries with a launch, and which EHR's stop kept it from its app."""
    opened, first = ehr.open(), ehr.platform.clients["ehr"]
    ehr.platform.add_system_client("ehr", ClientType.EHR)
    other = ehr.platform.backend(SCOPE, "ehr").json()["access_token"]
    assert ehr.send("DELETE", f"{LAUNCHES}/{opened['id']}", token=other).status_code == 404
    ehr.platform.engage(TargetKind.APP, first.app)
    assert ehr.http.get(urlsplit(opened["open_url"]).path).status_code == 403

    begin, end = (each for each in ehr.platform.events("launches.launch") if each.outcome == "refused")

    assert (end.action, end.reason) == ("launches.launch.end", "launch_unknown")
    assert (end.client, end.facts["launch"]) == (ehr.platform.clients["ehr"].id, opened["id"])
    assert (begin.action, begin.reason) == ("launches.launch.begin", "switch_engaged")
    assert (begin.launch, begin.facts["by_ehr"]) == (opened["id"], first.id)


@pytest.mark.parametrize("stopped", ["public", "ehr"])
def test_what_an_ehr_opened_before_a_full_stop_stays_closed_after_it(
    ehr: Ehr, clock: FakeClock, stopped: str
) -> None:
    """Security decision 8: of the app and of the EHR, whose own token is as dead."""
    opened, ends = ehr.open(), clock.now() + timedelta(seconds=10)
    target = Target(TargetKind.APP, ehr.platform.clients[stopped].app)
    ehr.platform.run(
        lambda ctx: switch_administration.engage(ctx, EngageOrder(target, Mode.FULL_STOP, "A test", ends))
    )
    clock.advance(timedelta(seconds=11))

    assert ehr.http.get(urlsplit(opened["open_url"]).path).status_code == 403
    again = ehr.send("POST", LAUNCHES, ehr.order())
    assert again.status_code == (201 if stopped == "public" else 403), again.text


def test_counts_are_reported(ehr: Ehr) -> None:
    body = {"date": "2026-03-01", "counts": [{"role": "nurse", "facility": "west", "count": 7}]}

    assert ehr.send("POST", f"/t/{MERCY}/ehr/activity", body).json() == {"recorded": 1}


@in_one_world(
    ("change", "field"),
    [
        ({"client_id": ...}, "client_id"),
        ({"person": ...}, "person"),
        ({"person": 7}, "person"),
        ({"person": None}, "person"),
        ({"person": "nobody"}, "person"),
        ({"patient": "a b"}, "patient"),
        ({"fhirContext": "x"}, "fhirContext"),
        ({"fhirContext": [1]}, "fhirContext.0"),
        ({"fhirContext": [{"reference": "Patient/1"}]}, "fhirContext.0"),
        ({"need_patient_banner": "yes"}, "need_patient_banner"),
        ({"surprise": 1}, "surprise"),
        ({"client_id": "cli\x00"}, "client_id"),
    ],
)
def test_a_bad_field_is_named(ehr: Ehr, change: dict[str, Any], field: str) -> None:
    told = problem(ehr.send("POST", LAUNCHES, ehr.order(**change)), 422, ehr_code(change))

    assert set(told["fields"]) == {field}


def ehr_code(change: dict[str, Any]) -> str:
    shaped = {"person": "nobody"}, {"patient": "a b"}, {"client_id": "cli\x00"}
    semantic = change in shaped or change == {"fhirContext": [{"reference": "Patient/1"}]}
    return "launch_invalid" if semantic else "fields_invalid"


def test_bad_bodies_are_refused_not_failures(ehr: Ehr) -> None:
    for content in (b"", b"{", b"\xff\xfe", b"[" * 2000, b'{"a": 1' + b"}" * 10, b"NaN"):
        answer = ehr.send("POST", LAUNCHES, content=content)
        problem(answer, 400, "json_malformed")
    shapeless: tuple[Any, ...] = ([], "x", 7, [[]])
    for body in shapeless:
        problem(ehr.send("POST", LAUNCHES, body), 422, "fields_invalid")
    problem(ehr.send("POST", LAUNCHES, content=b" " * (BODY_BOUND + 1)), 413, "body_too_large")
    for body in (
        {"date": "yesterday", "counts": []},
        {"date": "2026-03-01"},
        {"date": "2026-03-01", "counts": []},
    ):
        assert ehr.send("POST", f"/t/{MERCY}/ehr/activity", body).status_code == 422


@in_one_world("token", ["", "x", "hil_at_" + "A" * 43 + "_AAAAAAAA", "é"])
def test_without_a_token_that_counts_there_is_nothing(ehr: Ehr, token: str) -> None:
    sent = token.encode("latin-1").decode("latin-1")
    headers = {b"authorization": f"Bearer {sent}".encode("latin-1")}

    answer = ehr.http.post(LAUNCHES, json=ehr.order(), headers=headers)

    problem(answer, 401, "not_authenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


@in_one_world(
    ("method", "path"),
    [("POST", LAUNCHES), ("PATCH", LAUNCHES + "/lch_x"), ("POST", f"/t/{MERCY}/ehr/activity")],
)
def test_a_body_is_read_only_for_an_ehr(ehr: Ehr, method: str, path: str) -> None:
    """Security decision 26: 401 and 403 come before 400, 413 and 422."""
    app = ehr.platform.earn()["access_token"]
    for content in (b"{", b"[]", b" " * (BODY_BOUND + 1)):
        for token in ("x", "hil_at_" + "A" * 43 + "_AAAAAAAA"):
            problem(ehr.send(method, path, token=token, content=content), 401, "not_authenticated")
        problem(ehr.send(method, path, token=app, content=content), 403, "not_an_ehr")


def test_a_missing_or_other_scheme_is_no_token(ehr: Ehr) -> None:
    problem(ehr.http.post(LAUNCHES, json=ehr.order()), 401, "not_authenticated")
    basic = {"authorization": f"Basic {ehr.token}"}
    problem(ehr.http.post(LAUNCHES, json=ehr.order(), headers=basic), 401, "not_authenticated")


def test_an_expired_token_opens_nothing(ehr: Ehr, clock: FakeClock) -> None:
    clock.advance(timedelta(seconds=300))

    problem(ehr.send("POST", LAUNCHES, ehr.order()), 401, "not_authenticated")


def test_an_apps_token_opens_no_launch(ehr: Ehr) -> None:
    """Only an EHR client with ``hilum/launch``."""
    app, backend = ehr.platform.earn()["access_token"], ehr.platform.backend().json()["access_token"]

    for token in (app, backend):
        problem(ehr.send("POST", LAUNCHES, ehr.order(), token), 403, "not_an_ehr")


def test_neither_the_type_of_a_client_nor_the_scope_of_its_token_opens_a_launch_alone(ehr: Ehr) -> None:
    """Only an EHR client with ``hilum/launch``."""
    for client, scope in (("ehr", "system/*.rs"), ("backend", SCOPE), ("resource", SCOPE), ("public", SCOPE)):
        token = ehr.platform.mint(client, scope)
        problem(ehr.send("POST", LAUNCHES, ehr.order(), token), 403, "not_an_ehr")
    assert ehr.send("POST", LAUNCHES, ehr.order(), ehr.platform.mint("ehr", SCOPE)).status_code == 201


def test_a_token_that_is_bound_to_a_key_opens_nothing_without_its_proof(ehr: Ehr) -> None:
    """C56: unknown means no."""
    ehr.platform.bind(ehr.token)

    problem(ehr.send("POST", LAUNCHES, ehr.order()), 401, "not_authenticated")


def test_an_ehr_of_another_tenant_is_a_stranger_here(ehr: Ehr) -> None:
    """C37."""
    problem(ehr.send("POST", f"/t/{OTHER}/ehr/launches", ehr.order()), 401, "not_authenticated")


def test_a_switch_on_the_ehr_client_closes_its_door(ehr: Ehr) -> None:
    ehr.platform.engage(TargetKind.APP, ehr.platform.clients["ehr"].app)

    problem(ehr.send("POST", LAUNCHES, ehr.order()), 403, "switch_engaged")


def test_another_ehr_of_the_tenant_does_not_reach_the_launch(ehr: Ehr) -> None:
    opened = ehr.open()
    ehr.platform.add_system_client("ehr", ClientType.EHR)
    other = ehr.platform.backend(SCOPE, "ehr").json()["access_token"]

    problem(ehr.send("PATCH", f"{LAUNCHES}/{opened['id']}", {"patient": "p2"}, other), 404, "launch_unknown")
    problem(ehr.send("DELETE", f"{LAUNCHES}/{opened['id']}", token=other), 404, "launch_unknown")


def test_odd_addresses_are_not_found(ehr: Ehr) -> None:
    for launch in ("lch_none", "%00", "a%20b", "A" * 200, "a.b"):
        assert ehr.send("DELETE", f"{LAUNCHES}/{launch}").status_code == 404
    for tenant in ("nowhere", "%00", "A" * 80):
        assert ehr.send("POST", f"/t/{tenant}/ehr/launches", ehr.order()).status_code in {401, 404}


def placed(ehr: Ehr, *placements: str) -> str:
    """Add an app whose version declares where it may be opened."""
    client = ehr.platform.add_app("placed", ClientType.PUBLIC, version=NewVersion("1", (), placements))
    return str(client.id)


@pytest.mark.parametrize("placement", ["banner", "note", ""])
def test_an_app_is_opened_from_where_its_version_declares(ehr: Ehr, placement: str) -> None:
    """C191."""
    opened = ehr.open(client_id=placed(ehr, "note", "banner"), placement=placement)

    assert ehr.launch(opened).placement == placement


def test_an_app_that_declares_no_placements_is_opened_wherever_its_entry_lists(ehr: Ehr) -> None:
    """C191: it was certified as if it had every one."""
    assert ehr.launch(ehr.open(placement="orders")).placement == "orders"


def test_a_placement_that_the_policy_does_not_name_is_refused_by_its_field(ehr: Ehr) -> None:
    """C191."""
    told = problem(ehr.send("POST", LAUNCHES, ehr.order(placement="ceiling")), 422, "launch_invalid")

    assert {name: fault["code"] for name, fault in told["fields"].items()} == {
        "placement": "placement_unknown"
    }


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        (("note",), "This app may not be opened where orders are written. Open it where notes are written, or ask your hospital's administrator."),
        (("note", "banner"), "This app may not be opened where orders are written. Open it above the chart or where notes are written, or ask your hospital's administrator."),
        ((), "This app may not be opened where orders are written. Ask your hospital's administrator."),
    ],
)  # fmt: skip
def test_a_launch_from_elsewhere_is_refused_with_a_sentence_for_the_clinician(
    ehr: Ehr, declared: tuple[str, ...], sentence: str
) -> None:
    """C191."""
    order = ehr.order(client_id=placed(ehr, *declared), placement="orders")

    told = problem(ehr.send("POST", LAUNCHES, order), 403, "placement_not_allowed")

    assert told["detail"] == sentence
    refused = ehr.platform.events("launches.launch.open")[-1]
    assert (refused.outcome, refused.reason) == ("refused", "placement_not_allowed")


ENTRIES = {f"categories.unclassified.entries.{tier}.placements": ["banner"] for tier in Tier}


def test_a_entry_without_a_placement_closes_it_to_its_category_also_for_launches_in_progress(
    ehr: Ehr,
) -> None:
    """C191: whatever the version declares; judged again when the browser opens the launch."""
    opened = ehr.open(placement="orders")
    narrow_policy(ehr.platform.run, ENTRIES, MERCY)

    refused = problem(ehr.send("POST", LAUNCHES, ehr.order(placement="orders")), 403, "placement_not_allowed")
    assert "Open it above the chart, or ask" in refused["detail"]
    assert ehr.http.get(urlsplit(opened["open_url"]).path).status_code == 403
    begun = ehr.platform.events("launches.launch.begin")
    assert [(each.launch, each.reason) for each in begun] == [(opened["id"], "placement_not_allowed")]
    assert ehr.launch(ehr.open(placement="banner")).placement == "banner"


WORKFLOWS = {f"categories.unclassified.entries.{tier}.workflows": ["outreach"] for tier in Tier}


def test_a_launch_for_a_workflow_that_is_not_approved_is_refused_when_it_is_opened(ehr: Ehr) -> None:
    """C190, C38: in the clinician's words, before a browser waits for it; and at the browser, if the policy changes in between."""
    opened = ehr.open(intent="pre-visit-intake")
    narrow_policy(ehr.platform.run, WORKFLOWS, MERCY)

    told = problem(
        ehr.send("POST", LAUNCHES, ehr.order(intent="pre-visit-intake")), 403, "workflow_not_approved"
    )

    assert told["detail"] == (
        "This app may not be used for this task at Mercy."
        " Open it for another task, or ask the administrator of Mercy."
    )
    refused = [each for each in ehr.platform.events("launches.launch.open") if each.reason]
    assert [(each.outcome, each.reason) for each in refused] == [("refused", "workflow_not_approved")]
    assert ehr.http.get(urlsplit(opened["open_url"]).path).status_code == 403
    for intent in ("outreach", "some-intent-of-the-ehr", ""):
        assert ehr.launch(ehr.open(intent=intent)).intent == intent


@pytest.mark.parametrize("placement", ["banner", ""])
def test_an_app_of_a_category_that_no_entry_admits_is_opened_from_nowhere(ehr: Ehr, placement: str) -> None:
    """C38, C191: whoever opens it is told that it is the kind of app."""
    narrow_policy(ehr.platform.run, {"categories.unclassified": GONE}, MERCY)

    refused = problem(ehr.send("POST", LAUNCHES, ehr.order(placement=placement)), 403, "app_not_certified")

    assert refused["rule"].startswith("Apps of this kind may not be used at ")
    assert refused["owner"] == "The platform's operator"


def test_refusals_name_what_failed_and_whom_to_ask(ehr: Ehr) -> None:
    """C38, C216: the rule, whose it is, what to do, in words for the clinician."""
    ehr.platform.add_person("ana", "analyst", "Practitioner/pr4")

    told = problem(ehr.send("POST", LAUNCHES, ehr.order(person="ana")), 403, "role_not_allowed")

    assert "administrator" in told["detail"]
    assert told["rule"] == "Your role may not use this app at Mercy."
    assert told["owner"] == "The administrator of Mercy"
    assert told["next_step"] == "Ask the administrator of Mercy."
    assert "expected_at" not in told


def test_a_refused_launch_leaves_what_explains_it(ehr: Ehr) -> None:
    """C69, ADR 11: app, client, person, role, chart, switch and owner as they were judged; of what was wrong, what was sent."""
    app = ehr.platform.clients["public"].app
    ehr.platform.add_person("ana", "analyst", "Practitioner/pr4")
    ehr.send("POST", LAUNCHES, ehr.order(person="ana"))
    ehr.platform.engage(TargetKind.APP_TENANT, f"{app}/{MERCY}")
    ehr.send("POST", LAUNCHES, ehr.order())
    ehr.send("POST", LAUNCHES, ehr.order(client_id="nobody\u202e", person="x" * 100))

    wrong, stopped, role = ehr.platform.events("launches.launch.open")

    assert (role.app, role.client, role.reason) == (app, ehr.order()["client_id"], "role_not_allowed")
    assert (role.patient, role.facts["role"], bool(role.person)) == (ehr.order()["patient"], "analyst", True)
    assert role.facts["rule"] == "Your role may not use this app at Mercy."
    assert stopped.facts["owner"] == role.facts["owner"] == "The administrator of Mercy"
    (switch,) = stopped.facts["switches"]
    assert switch.startswith("sw_")
    assert wrong.reason == "launch_invalid"
    assert set(wrong.facts["fields"]) >= {"client_id"}
    assert (wrong.facts["client_id"], wrong.facts["username"]) == ("nobody?", "x" * 100)


def test_a_stop_with_an_end_says_when_to_expect_the_app_back(ehr: Ehr, clock: FakeClock) -> None:
    """C216, C87: to the EHR in UTC, and in the hospital's own zone on the page of a launch that was opened before."""
    opened, other = ehr.open(), ehr.open()
    ends = clock.now() + timedelta(hours=2)
    target = Target(TargetKind.APP_TENANT, f"{ehr.platform.clients['public'].app}/{MERCY}")
    order = EngageOrder(target, Mode.FULL_STOP, "A test", ends)
    ehr.platform.run(lambda ctx: switch_administration.engage(ctx, order))

    told = problem(ehr.send("POST", LAUNCHES, ehr.order()), 403, "switch_engaged")
    page = ehr.http.get(urlsplit(opened["open_url"]).path)

    assert told["expected_at"] == ends.isoformat()
    assert page.status_code == 403
    assert "It ends by itself on 2 March 2026, 11:00 UTC." in told["detail"]
    assert "It ends by itself on 2 March 2026, 12:00 CET." in page.text
    spanish = ehr.http.get(urlsplit(other["open_url"]).path, headers={"accept-language": "es"})
    assert "2 de marzo de 2026, 12:00 CET" in spanish.text
    assert "Who decides: The administrator of Mercy." in page.text
    assert "switch_engaged" not in page.text


def test_a_launch_names_its_facility_by_the_ehrs_own_reference(ehr: Ehr) -> None:
    """C38: what was never added is kept as none, and what cannot be one is refused by its field."""
    order = NewFacility(MERCY, "East", "Mercy Ltd", "Location/east")
    east = ehr.platform.run(lambda ctx: identity.add_facility(ctx, order))

    assert ehr.launch(ehr.open(facility="Location/east")).facility == east.id
    assert ehr.launch(ehr.open(facility="Location/unknown")).facility == ""
    found = problem(ehr.send("POST", LAUNCHES, ehr.order(facility="the east wing")), 422, "launch_invalid")
    assert found["fields"]["facility"]["code"] == "facility_malformed"


APPS = f"/t/{MERCY}/ehr/apps"
NAMED = {"name": "public", "description": "An app of the tests"}


def available(ehr: Ehr, person: str = "dora", **more: Any) -> dict[str, Any]:
    client = ehr.platform.clients["public"].id
    answer = ehr.send("GET", f"{APPS}?person={person}&client_id={client}", **more)
    assert answer.status_code == 200, answer.text
    (found,) = answer.json()["items"]
    assert found.pop("client_id") == client
    return dict(found)


def test_an_ehr_learns_what_it_may_open_and_that_it_was_stopped(ehr: Ehr) -> None:
    """C140: a stop reaches the launch button, before anybody presses it."""
    assert available(ehr) == {"open": True, "reason": "", "detail": "", "logo": ""} | NAMED

    ehr.platform.engage(TargetKind.APP, ehr.platform.clients["public"].app)

    found = available(ehr)
    assert (found["open"], found["reason"]) == (False, "switch_engaged")
    refused = problem(ehr.send("POST", LAUNCHES, ehr.order()), 403, "switch_engaged")
    assert found["detail"] == refused["detail"]


def test_what_may_be_opened_depends_on_the_person(ehr: Ehr) -> None:
    """C38."""
    ehr.platform.add_person("ana", "analyst", "Practitioner/pr4")

    assert available(ehr, "ana")["reason"] == "role_not_allowed"
    unknown = ehr.send("GET", f"{APPS}?person=dora&client_id=nobody")
    assert [(each["open"], each["reason"]) for each in unknown.json()["items"]] == [
        (False, "app_not_certified")
    ]


def test_what_cannot_be_opened_for_a_person_is_not_offered(ehr: Ehr) -> None:
    """C140: a backend service and an EHR are no apps; opening one is refused, so no button promises it."""
    backend = ehr.platform.clients["backend"].id

    (found,) = ehr.send("GET", f"{APPS}?person=dora&client_id={backend}").json()["items"]

    assert (found["open"], found["reason"]) == (False, "client_not_launchable")
    refused = problem(ehr.send("POST", LAUNCHES, ehr.order(client_id=backend)), 422, "launch_invalid")
    assert refused["fields"]["client_id"]["code"] == "client_not_launchable"


def test_an_ehr_lists_what_is_installed_for_a_person(ehr: Ehr) -> None:
    """C38, C140: also what is stopped, with the reason; nothing of another role, of another hospital, or that no person opens."""
    ehr.platform.add_person("ana", "analyst", "Practitioner/pr4")

    def listed(person: str) -> list[dict[str, Any]]:
        return list(ehr.send("GET", f"{APPS}?person={person}").json()["items"])

    people_open = {client.id for client in ehr.platform.clients.values() if client.launch_uri}
    found = listed("dora")
    assert {each["client_id"] for each in found} <= people_open
    assert ehr.platform.clients["public"].id in {each["client_id"] for each in found}
    assert all(each["open"] and each["name"] for each in found)
    assert listed("ana") == []
    ehr.platform.engage(TargetKind.APP, ehr.platform.clients["public"].app)
    assert "switch_engaged" in {each["reason"] for each in listed("dora")}


@in_one_world(
    ("query", "field"),
    [
        ("person=dora&client_id=", "client_id"),
        ("person=dora&client_id=%00", "client_id"),
        ("person=dora&" + "&".join(f"client_id=c{n}" for n in range(51)), "client_id"),
        ("client_id=c", "person"),
        ("person=nobody&client_id=c", "person"),
        ("person=dora%00&client_id=c", "person"),
        ("person=dora&client_id=c&facility=%00", "facility"),
        ("person=dora&client_id=c&facility=" + "x" * 5_000, "facility"),
    ],
)
def test_a_bad_question_about_apps_is_refused_by_its_field(ehr: Ehr, query: str, field: str) -> None:
    told = problem(ehr.send("GET", f"{APPS}?{query}"), 422, "fields_invalid")

    assert set(told["fields"]) == {field}


def test_only_the_hospitals_own_ehr_learns_what_may_be_opened(ehr: Ehr) -> None:
    query = "person=dora&client_id=c"
    app = ehr.platform.backend("system/Patient.rs").json()["access_token"]

    problem(ehr.send("GET", f"{APPS}?{query}", token="hil_at_x"), 401, "not_authenticated")
    problem(ehr.send("GET", f"{APPS}?{query}", token=app), 403, "not_an_ehr")
    problem(ehr.send("GET", f"/t/{OTHER}/ehr/apps?{query}"), 401, "not_authenticated")
