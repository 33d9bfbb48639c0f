"""Who calls is judged before anything of the request is read: on every route of the API's own document (C183, security decision 26)."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import orjson
import pytest

from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.standards.strangers import RECORDED_BOUND
from hilum.foundation.web.bounds import API_BODY_BOUND
from hilum.identity.signin.models import TOKEN_USE_NOTED_EVERY
from hilum.operations.switch_administration import service as switch_administration
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, RecordedEvent
from tests.effort import FULL
from tests.flows.control_site import TRACE, ControlSite, build, problem
from tests.sim.site_client import SiteClient
from tests.sim.world import FakeClock

T = TypeVar("T")
USE = "signin.token.use"
BAD_BODIES = (b"{", b"[1]", b'{"surprise": 1}', b"\xff", b"x" * 2_000_000)
BEARERS = {
    "none": "",
    "another scheme": "Basic b3R0bzpvdHRv",
    "garbage": "Bearer x",
    "an app's token": "Bearer hil_at_" + "a" * 43 + "_" + "b" * 8,
    "a guess": "Bearer hil_pat_" + "a" * 43,
}


COLLEAGUES = ("ann", "otto", "rita", "gina", "sam")


def in_turn(cases: Sequence[T], n: int) -> Sequence[T]:
    """Return the cases that the route ``n`` meets: one, another for each route; under ``EFFORT=full`` every one."""
    return cases if FULL else (cases[n % len(cases)],)


def operations(site: ControlSite) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Read method, path and description of every operation of the document."""
    client = SiteClient(site.app, base_url="http://127.0.0.1:8000")
    for path, methods in client.get("/api/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def guarded(site: ControlSite) -> list[tuple[str, str, list[str]]]:
    found = [
        (method, path, operation["x-audience"])
        for method, path, operation in operations(site)
        if operation["x-audience"] != ["anyone"]
    ]
    assert len(found) > 45
    return found


def address(path: str) -> str:
    """Fill a path with ids that cannot be, and add a query that no route takes."""
    while "{" in path:
        before, _, rest = path.partition("{")
        path = before + "%00" + rest.partition("}")[2]
    return path + "?surprise=1&limit=none"


def recorded(site: ControlSite) -> list[RecordedEvent]:
    read = partial(audit.list_events, query=EventQuery(action=USE, limit=200))
    return list(site.uow.read_now(read, trace=TRACE).events)


def test_every_route_declares_for_whom_it_is_and_what_it_does(site: ControlSite) -> None:
    """House rule 15."""
    found = list(operations(site))

    assert len(found) >= 46
    assert [path for _, path, operation in found if not operation.get("x-audience")] == []
    assert [path for _, path, operation in found if not operation.get("description")] == []


def test_no_route_reads_a_body_or_a_parameter_for_a_stranger(site: ControlSite) -> None:
    """401 comes before 422, 400 and 413, whatever is wrong with the rest."""
    client = SiteClient(site.app, base_url="http://127.0.0.1:8000")
    routes, cases = guarded(site), list(itertools.product(BEARERS, BAD_BODIES))
    assert len(routes) > len(cases), "some route meets each case"
    for n, (method, path, _) in enumerate(routes):
        for who, body in in_turn(cases, n):
            headers = {"content-type": "application/json", "authorization": BEARERS[who]}
            sent = {name: value for name, value in headers.items() if value}
            answer = client.request(method, address(path), content=body, headers=sent)
            assert problem(answer, 401, "token_invalid"), (method, path, who, body[:20])
            assert answer.headers["www-authenticate"] == "Bearer"
    assert recorded(site) == [], "a stranger is counted by the site, not by the API"


def test_no_route_reads_a_body_or_a_parameter_for_somebody_whom_it_is_not_for(site: ControlSite) -> None:
    """403 says for whom the call is, before anything of it is validated."""
    callers = {who: site.api(who) for who in COLLEAGUES}
    refused = Counter[str]()
    for n, (method, path, roles) in enumerate(guarded(site)):
        strangers = [who for who in COLLEAGUES if not is_for(site.people[who].role, roles, who)]
        for body, who in in_turn(list(itertools.product(BAD_BODIES, strangers)), n) if strangers else ():
            answer = callers[who].request(method, address(path).removeprefix("/api/v1"), content=body)
            said = problem(answer, 403, "not_permitted")["detail"]
            assert site.people[who].role in said, (method, path, who)
            assert all(each in said for each in roles), (method, path, who)
            refused[who] += 1

    assert set(refused) == set(COLLEAGUES)
    told = recorded(site)
    # The first ones of each person.
    first = {site.people[who].id: min(refused[who], RECORDED_BOUND) for who in COLLEAGUES}
    assert Counter(each.event.person for each in told) == first
    assert all(each.event.facts["call"].partition(" ")[2].startswith("/api/v1/") for each in told)


def test_who_is_stopped_while_a_body_arrives_carries_out_nothing(site: ControlSite, clock: FakeClock) -> None:
    """Security decision 24: also with many half-sent bodies, each authenticated before the stop."""
    order = {"name": "Acme", "support_contact": "help@v.example", "security_contact": "sec@v.example"}
    token, body = site.api("root").headers["authorization"].encode(), orjson.dumps(order)
    halves = [body[:10], body[10:]]
    stop = EngageOrder(Target(TargetKind.PERSON, site.people["root"].id), Mode.FULL_STOP, "stolen")
    answer: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if len(halves) == 1:
            await asyncio.to_thread(partial(site.system, switch_administration.engage, order=stop))
            clock.advance(timedelta(seconds=0.2))
        return {"type": "http.request", "body": halves.pop(0), "more_body": bool(halves)}

    async def send(message: Any) -> None:
        answer.append(message)

    path = "/api/v1/vendors"
    sent = [(b"authorization", token), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": sent}
    asyncio.run(
        site.app(scope | {"state": {"request_id": "req_test", "source": "198.51.100.8"}}, receive, send)
    )

    assert answer[0]["status"] == 403
    assert orjson.loads(answer[1]["body"])["code"] == "switch_engaged"


def test_what_one_person_tries_in_a_loop_hides_nothing_that_a_colleague_tries(site: ControlSite) -> None:
    """ADR 11: they are often behind one address."""
    ann = site.api("ann")
    for _ in range(RECORDED_BOUND + 3):
        problem(ann.post("/switches/sw_1/release"), 403, "not_permitted")

    problem(site.api("otto").post("/policies/versions", json={}), 403, "not_permitted")

    tried = Counter(each.event.person for each in recorded(site))
    assert tried == {site.people["ann"].id: RECORDED_BOUND, site.people["otto"].id: 1}


def is_for(role: str, roles: list[str], who: str) -> bool:
    return bool({"oneself", role} & set(roles)) or ("staff" in roles and who in {"otto", "rita", "sam"})


def names(count: int) -> dict[str, int]:
    return {str(n): 0 for n in range(count)}


# Who calls, the path, how many unknown names the body has, and the answer.
HEAVY = [
    ("", "/tokens", 105_000, 413, "body_too_large"),
    ("ann", "/tokens/confirm", 105_000, 413, "body_too_large"),
    ("", "/tokens", 600, 400, "body_too_complex"),
    ("ann", "/tokens/confirm", 600, 400, "body_too_complex"),
    ("root", "/vendors", 105_000, 413, "body_too_large"),
    ("root", "/vendors", 5_000, 400, "body_too_complex"),
    ("root", "/policies/versions", 120_000, 413, "body_too_large"),
    ("root", "/policies/versions", 90_000, 400, "body_too_complex"),
]


@pytest.mark.parametrize(("who", "path", "count", "status", "code"), HEAVY)
def test_a_body_of_unknown_names_is_refused_before_each_costs_an_error(
    site: ControlSite, who: str, path: str, count: int, status: int, code: str
) -> None:
    """Security decision 26: an answer of 422 would show that each name was validated."""
    problem(site.api(who).post(path, json=names(count)), status, code)


@pytest.mark.parametrize("deep", [names(5_000), [0] * 5_000, [[0]] * 2_500, {"a": [names(2_000)] * 3}])
def test_names_and_entries_count_at_every_depth(site: ControlSite, deep: Any) -> None:
    problem(site.api("root").post("/vendors", json={"name": deep}), 400, "body_too_complex")


def test_a_query_of_unknown_names_is_refused_before_each_costs_an_error(site: ControlSite) -> None:
    query = "&".join(f"{n}=1" for n in range(5_000))

    problem(site.api().get(f"/defect-figures?{query}"), 400, "query_too_long")


LARGE = {
    "PUT /api/v1/apps/{app}/profile",
    "POST /api/v1/apps/{app}/versions",
    "POST /api/v1/policies/validate",
    "POST /api/v1/policies/versions",
    "POST /api/v1/submissions",
    "PUT /api/v1/submissions/{submission}",
    "POST /api/v1/submissions/{submission}/disciplines/{discipline}/judge",
    "PUT /api/v1/tenants/{tenant}/branding",
}


def test_only_roles_may_send_a_large_body_and_only_where_a_field_needs_it(site: ControlSite) -> None:
    """Security decision 26."""
    declared = {
        f"{method} {path}": (operation["x-body-bound"], {"anyone", "oneself"} & set(operation["x-audience"]))
        for method, path, operation in operations(site)
        if "x-body-bound" in operation
    }

    assert {route for route, (bound, _) in declared.items() if bound > API_BODY_BOUND} == LARGE
    assert all(bound <= API_BODY_BOUND for bound, open_to_all in declared.values() if open_to_all)


def test_a_permitted_caller_sees_what_is_wrong_with_the_request(site: ControlSite) -> None:
    """The order is no way to lose a refusal: with the right role the same request is 422."""
    problem(site.api("root").get("/apps?surprise=1"), 422, "fields_invalid")
    problem(site.api("root").post("/vendors", json={"surprise": 1}), 422, "fields_invalid")


@pytest.mark.parametrize("mode", [Mode.FULL_STOP, Mode.READ_ONLY])
def test_a_stopped_persons_call_is_on_record_and_reads_nothing_of_it(site: ControlSite, mode: Mode) -> None:
    """C80; security decision 24: the refusal names the switch, and leaves an event, the first of them singly."""
    client, person = site.api("root"), site.people["root"].id
    order = EngageOrder(Target(TargetKind.PERSON, person), mode, "left open")
    site.system(switch_administration.engage, order=order)

    for _ in range(RECORDED_BOUND + 3):
        problem(client.post("/vendors", content=b"{"), 403, "switch_engaged")

    told = recorded(site)
    assert len(told) == RECORDED_BOUND
    assert {(each.event.person, each.event.reason, each.actor) for each in told} == {
        (person, "switch_engaged", f"staff:{person}")
    }
    assert told[0].event.facts["call"] == "POST /api/v1/vendors"
    if mode is Mode.FULL_STOP:
        problem(client.get("/vendors?surprise=1"), 403, "switch_engaged")
    else:
        assert client.get("/vendors").status_code == 200


def test_a_switch_that_ended_leaves_the_old_token_dead_and_that_on_record(
    site: ControlSite, clock: FakeClock
) -> None:
    """Security decision 8: the caller learns no more than of a token that never was."""
    client, person = site.api("ann"), site.people["ann"].id
    order = EngageOrder(
        Target(TargetKind.PERSON, person), Mode.FULL_STOP, "lost", clock.now() + timedelta(hours=1)
    )
    site.system(switch_administration.engage, order=order)
    clock.advance(timedelta(hours=2))

    problem(client.get("/tokens"), 401, "token_invalid")

    assert [each.event.reason for each in recorded(site)] == ["issued_before"]


def test_the_use_of_a_token_is_recorded_seldom_and_shown_to_its_person(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C219: after a call that was admitted, exact to six hours, at any worker."""
    site = build(sqlite_uow, clock)
    first = clock.now()
    gina = site.api("gina")
    (before,) = gina.get("/tokens").json()["items"]

    clock.advance(TOKEN_USE_NOTED_EVERY - timedelta(seconds=1))
    (soon,) = gina.get("/tokens").json()["items"]
    clock.advance(timedelta(seconds=1))
    gina.get("/tenants")
    (later,) = gina.get("/tokens").json()["items"]

    moments = [
        None if each["last_used_at"] is None else each["last_used_at"] for each in (before, soon, later)
    ]
    assert moments == [stamp(first), stamp(first), stamp(clock.now())]


def stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def test_what_the_verb_alone_refuses_is_recorded_once_with_its_route_and_object(site: ControlSite) -> None:
    """C69, ADR 11: a list of another hospital's switches, which its own verb refuses without a record; one that records is not repeated."""
    gina = site.api("gina")
    answer = gina.get("/switches?tenant=mercy")
    said = problem(answer, 403, "not_permitted")
    problem(gina.get("/audit/events?tenant=mercy"), 403, "audit_not_yours")
    assert gina.get("/switches/sw_none").status_code == 404

    (told,) = recorded(site)
    assert (told.event.reason, told.event.tenant) == ("not_permitted", "general")
    facts = {"call": "GET /api/v1/switches", "detail": said["detail"], "role": "administrator"}
    assert told.event.facts == facts
    assert told.request_id == said["request_id"]
