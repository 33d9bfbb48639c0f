"""Each class of work has its own threads and connections: long reading of the audit delays no switch and no token."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial

import httpx2
import psycopg
import pytest
from starlette.routing import BaseRoute, Route

from hilum.foundation.infra import lanes
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.lanes import ANSWER_WITHIN_S, BOUNDS, Lane
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin import service as signin
from hilum.records.audit import routes
from hilum.records.audit.reader_slots import READS, STREAMS, ReaderSlots, TooManyReads
from hilum.server.lanes import in_lanes, lane_of
from tests.flows import control_site
from tests.flows.control_site import PASSWORD, TRACE, ControlSite, problem
from tests.sim.world import FakeClock, SeededIds

pytestmark = pytest.mark.in_threads

READERS = 16


@pytest.fixture
def site(postgres_url: str, clock: FakeClock, ids: SeededIds) -> Iterator[ControlSite]:
    uow = UnitOfWork.create(Database(postgres_url), clock, ids, "test-writer")
    made = control_site.build(uow, clock)
    made.app = in_lanes(made.app)
    yield made
    uow.close()


@contextmanager
def nothing_can_be_read(url: str) -> Iterator[None]:
    """Make every reading of the accesses wait, as one over a huge record would."""
    with psycopg.connect(url) as holding:
        holding.execute("LOCK TABLE access_record IN ACCESS EXCLUSIVE MODE")
        yield
        holding.rollback()


def start_reading(
    site: ControlSite, pool: ThreadPoolExecutor, who: list[str], *, held: int
) -> list["Future[httpx2.Response]"]:
    """Start all readings at once; return once so many readings wait, which is all that the lanes of readers hold of them."""
    callers = [site.api(username) for username in who]
    asked = [
        pool.submit(caller.get, "/accesses", params={"tenant": site.people[username].tenant or ""})
        for caller, username in zip(callers, who, strict=True)
    ]
    until_held(site.uow.db.url, "access_record", held)
    return asked


def more_administrators(site: ControlSite, count: int) -> list[str]:
    names = [f"admin-{at}" for at in range(count)]
    for at, name in enumerate(names):
        tenant = TenantId("general" if at % 2 else "children")
        site.people[name] = site.system(
            identity.add_person, order=NewPerson(tenant, name, name.title(), "administrator")
        )
    return names


def test_many_readers_of_the_audit_delay_neither_a_switch_nor_a_token(site: ControlSite) -> None:
    """Fourteen of them delayed a switch by 66 s, and with 16 no token was issued at all."""
    security = site.api("sam")
    order = {"kind": "tenant", "key": "mercy", "reason": "Under attack", "mode": "full_stop"}
    with ThreadPoolExecutor(READERS) as pool, nothing_can_be_read(site.uow.db.url):
        held = start_reading(
            site, pool, ["otto", "otto", "root", "root", "sue", "sue"] + ["gina"] * 10, held=4
        )

        stopped = security.post("/switches", json=order)
        asked = site.api().post("/tokens", json={"username": "otto", "password": PASSWORD})

        assert stopped.status_code == 201, stopped.text
        assert asked.status_code == 201, asked.text
        assert any(not each.done() for each in held), "both were answered while the readers waited"


def test_a_reading_that_takes_too_long_is_ended_and_says_so(site: ControlSite) -> None:
    """Nobody's reading holds a place for longer than the bound."""
    with ThreadPoolExecutor(1) as pool, nothing_can_be_read(site.uow.db.url):
        (held,) = start_reading(site, pool, ["otto"], held=1)
        answer = held.result(timeout=60)

    problem(answer, 503, "audit_read_slow")
    assert answer.headers["retry-after"]
    assert "Add a filter" in answer.json()["detail"]
    assert site.api("otto").get("/accesses").status_code == 200


def test_one_reader_and_one_tenant_have_a_limited_number_of_reads_in_progress(site: ControlSite) -> None:
    """One too many is refused at once, with a hint; others are still read for."""
    names = more_administrators(site, 4)
    with ThreadPoolExecutor(READERS) as pool, nothing_can_be_read(site.uow.db.url):
        readers = ["otto"] * READS.actor + [names[1]] + ["gina"] * (READS.tenant - 1)
        held = start_reading(site, pool, readers, held=len(readers))

        over = site.api("otto").get("/accesses")
        colleague = site.api("gina").get("/accesses?tenant=general")
        other = pool.submit(site.api("carl").get, "/accesses?tenant=children")
        until_held(site.uow.db.url, "access_record", len(readers) + 1)
        assert not other.done(), "another hospital's reader is admitted"

    for refused in (over, colleague):
        problem(refused, 429, "too_many_reads")
        assert int(refused.headers["retry-after"]) > 0
    assert {each.result().status_code for each in [*held, other]} <= {200, 503}
    assert site.api("otto").get("/accesses").status_code == 200, "the places are free again"


def test_strangers_with_made_up_tokens_do_not_take_the_places_of_switches(site: ControlSite) -> None:
    """C196: a token that looks like one is looked up apart; only whoever it names enters the lane of the route."""
    stranger = site.api()
    stranger.headers["authorization"] = f"Bearer {unknown_token(site)}"
    with ThreadPoolExecutor(READERS) as pool, psycopg.connect(site.uow.db.url) as holding:
        holding.execute("LOCK TABLE signin_api_token IN ACCESS EXCLUSIVE MODE")
        knocking = [pool.submit(stranger.delete, "/installations/ins_1") for _ in range(READERS)]
        until_held(site.uow.db.url, "signin_api_token", 2)

        with lanes.using(Lane.URGENT):
            answer = asyncio.run(site.uow.read(lambda ctx: "answered", trace=TRACE))

        assert answer == "answered"
        assert not any(each.done() for each in knocking), "nobody was held, so nothing is proved"
        holding.rollback()
        assert {each.result().status_code for each in knocking} == {401}


def test_tenants_reading_the_audit_do_not_delay_its_staff(site: ControlSite) -> None:
    """ADR 32: staff read in threads of their own, while tenants' reads hold every other thread of the readers."""
    with ThreadPoolExecutor(READERS) as pool, nothing_can_be_read(site.uow.db.url):
        held = start_reading(site, pool, ["gina", "gina", "carl", "carl"], held=3)

        answer = site.api("otto").get("/audit/events")

        assert answer.status_code == 200, answer.text
        assert not any(each.done() for each in held), "the answer came after a reader had ended"


def unknown_token(site: ControlSite) -> str:
    """Return a token with a MAC of this platform that is not on file any more, so that it costs a look-up."""
    make = partial(signin.create_api_token, person_id=site.people["sam"].id, life=timedelta(days=1))
    token, secret = site.system(make)
    with psycopg.connect(site.uow.db.url, autocommit=True) as db:
        assert db.execute("DELETE FROM signin_api_token WHERE id = %s", (token.id,)).rowcount == 1
    return str(secret)


def until_held(url: str, table: str, count: int) -> None:
    """Wait until so many statements wait for the table's lock."""
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
    begun = time.monotonic()
    with psycopg.connect(url, autocommit=True) as watching:
        while (found := watching.execute(waiting, (table,)).fetchone()) != (count,):
            assert time.monotonic() - begun < ANSWER_WITHIN_S, f"{found} wait, not {count}"
            time.sleep(0.01)


def person(name: str, tenant: str) -> Actor:
    return Actor(ActorKind.PERSON, name, TenantId(tenant), frozenset({"administrator"}))


def taken_until_refused(places: ReaderSlots, actors: Iterator[Actor]) -> int:
    count = 0
    for actor in actors:
        try:
            places.acquire(actor)
        except TooManyReads:
            return count
        count += 1
    return count


def test_no_tenant_takes_every_place_of_a_stream_nor_all_together_the_staffs() -> None:
    """L2: places are shared fairly, whoever is first and however many accounts they have."""
    places = ReaderSlots(STREAMS)
    alone = taken_until_refused(places, (person(f"p{at}", "big") for at in range(1_000)))
    assert alone == STREAMS.tenant < STREAMS.total
    places.acquire(person("somebody", "small"))

    for at in range(1_000):
        taken_until_refused(places, iter([person(f"q{at}", f"t{at}")]))
    staff = Actor(ActorKind.STAFF, "otto", None, frozenset({"auditor"}))

    assert taken_until_refused(places, iter([staff] * 1_000)) == STREAMS.actor


@pytest.mark.parametrize(
    ("method", "path", "lane"),
    [
        ("POST", "/api/v1/switches", Lane.URGENT),
        ("POST", "/api/v1/switches/sw_1/release", Lane.URGENT),
        ("POST", "/api/v1/apps/app_1/suspend", Lane.URGENT),
        ("DELETE", "/api/v1/installations/ins_1", Lane.URGENT),
        ("DELETE", "/api/v1/people/per_1/sessions", Lane.URGENT),
        ("PATCH", "/api/v1/tenants/general", Lane.URGENT),
        ("PUT", "/api/v1/people/per_1/charts", Lane.URGENT),
        ("GET", "/api/v1/tenants/general", Lane.CONTROL),
        ("PUT", "/api/v1/people/per_1/charts/more", Lane.CONTROL),
        ("POST", "/t/general/oauth/revoke", Lane.REVOKE),
        ("POST", "/t/general/manage", Lane.REVOKE),
        ("DELETE", "/t/general/ehr/launches/lau_1", Lane.REVOKE),
        ("GET", "/api/v1/accesses", Lane.AUDIT),
        ("GET", "/api/v1/events", Lane.AUDIT),
        ("GET", "/api/v1/audit/events", Lane.AUDIT),
        ("GET", "/api/v1/explain/req_1", Lane.AUDIT),
        ("POST", "/t/general/oauth/token", Lane.TOKENS),
        ("GET", "/t/general/authorize", Lane.TOKENS),
        ("GET", "/t/general/oauth/jwks.json", Lane.TOKENS),
        ("GET", "/t/general/manage", Lane.TOKENS),
        ("GET", "/logos/hospital/general/0.png", Lane.TOKENS),
        ("POST", "/t/general/ehr/launches", Lane.TOKENS),
        ("GET", "/api/v1/switches", Lane.CONTROL),
        ("POST", "/api/v1/vendors", Lane.CONTROL),
        ("GET", "/", Lane.CONTROL),
        ("GET", "/api/v1/accesses/../switches", Lane.CONTROL),
        ("BREW", "/api/v1/switches", Lane.CONTROL),
        ("", "", Lane.CONTROL),
    ],
)
def test_every_route_has_its_lane(method: str, path: str, lane: Lane) -> None:
    assert lane_of(method, path) is lane


def test_every_route_that_reads_the_record_is_in_the_lane_of_readers(site: ControlSite) -> None:
    """A new route of the audit's module must not take an ordinary place."""
    found: list[BaseRoute] = list(routes.api(site.kit, lambda: None).routes)  # type: ignore[arg-type,return-value]  # never opened

    read = [route for route in found if isinstance(route, Route)]

    assert read
    for route in read:
        for method in route.methods or ():
            assert lane_of(method, route.path.replace("{request_id}", "req_1")) is Lane.AUDIT


def test_every_lane_with_threads_has_a_connection_for_each_and_a_deadline() -> None:
    """No thread ever waits for a connection, and no request longer than what is promised."""
    assert any(bounds.threads for bounds in BOUNDS.values())
    for bounds in BOUNDS.values():
        assert bounds.connections >= bounds.threads
        if bounds.threads:
            assert bounds.within_s is not None
            assert bounds.within_s < ANSWER_WITHIN_S
            assert bounds.statement_s is not None
            assert 0 < bounds.waiting <= 5_000
