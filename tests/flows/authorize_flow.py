"""A platform with its authorization endpoint too: browsers with cookies, sign-in pages, an EHR, and records to pick from."""

import html
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hilum.apps.clients.models import ClientType
from hilum.authorization.launches import service as launches
from hilum.authorization.launches.models import EHR_ROLE, LaunchOrder, OpenedLaunch
from hilum.authorization.tokens.live import TokenTable
from hilum.controls.switches.live import Buckets
from hilum.controls.switches.models import Target, TargetKind
from hilum.foundation.infra import settings
from hilum.foundation.infra.change_feed import open_change_feed
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.standards.oauth import s256
from hilum.foundation.web import errors
from hilum.foundation.web.kit import Kit
from hilum.foundation.web.pages import Pages, Shell
from hilum.foundation.web.static import Assets
from hilum.foundation.web.urls import Urls
from hilum.gateway.enforcement.batches import Batches
from hilum.gateway.enforcement.deps import GatewayDeps
from hilum.gateway.enforcement.platform_reads import PlatformReads
from hilum.gateway.enforcement.routes import Gateway
from hilum.gateway.enforcement.service import Enforcer
from hilum.gateway.enforcement.snapshot import SnapshotKeeper
from hilum.gateway.upstream.live import Embedded, Upstreams
from hilum.identity.signin import live
from hilum.identity.signin import service as signin
from hilum.records.audit import live as journals
from hilum.records.audit.models import Access, AccessQuery
from hilum.records.keys.live import vault
from hilum.server import mounts
from hilum_ehr.sandbox.faults import FaultBook, with_faults
from tests.flows.gateway_ground import Answer, call
from tests.flows.token_flow import (
    BASE,
    MERCY,
    REDIRECT,
    REMEMBERED,
    TRACE,
    VERIFIER,
    Platform,
    furnish_platform,
)
from tests.sim import site_client
from tests.sim.browser import Form, form_with
from tests.sim.fhir_files import fhir_server
from tests.sim.furnished import furnish
from tests.sim.site_client import SiteClient
from tests.sim.world import FakeClock, SeededIds

T = TypeVar("T")
PASSWORD = "correct horse battery"
DIGEST = live.hash_password_now(PASSWORD, SeededIds("password"))
SETTINGS = settings.read(
    {
        "HILUM_MODE": "sandbox",
        "HILUM_BASE_URL": BASE,
        "HILUM_SECRET_KEY": "front-key-encryption-key-0123456789abcdef",
    }
)
STATE = "af0ifjsldkj ~!"
SCOPE = "launch openid fhirUser offline_access patient/*.rs"
STANDALONE = "launch/patient openid fhirUser offline_access patient/*.rs"


def patient(number: int, family: str, given: str) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": f"p{number}",
        "name": [{"use": "old", "family": "Before"}, {"use": "official", "family": family, "given": [given]}],
        "birthDate": f"19{number % 90 + 10}-01-02",
        "gender": "female",
    }


def encounter(name: str, of: str, start: str) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": name,
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "type": [{"text": "Check-up"}],
        "subject": {"reference": f"Patient/{of}"},
        "period": {"start": start},
    }


RECORDS = [
    patient(1, "Shaw", "Amy"),
    patient(2, "Tran", "Bea"),
    patient(3, "Usher", "Cy"),
    encounter("e1", "p1", "2026-01-05T09:00:00Z"),
    encounter("e1b", "p1", "2026-02-05T09:00:00Z"),
    encounter("e2", "p2", "2026-01-06T09:00:00Z"),
]


@dataclass
class Front(Platform):
    """``browser`` gives a browser of its own each time; ``app`` is what they all reach."""

    app: Starlette = field(default_factory=Starlette)
    records: Any = None
    journal: journals.Journal | None = None
    folder: Path = Path()
    upstreams: Any = None
    keeper: Any = None
    gateway: Any = None
    faults: Any = None

    def target(self, kind: TargetKind) -> Target:
        """Return the target of a kill switch of a kind that stops the app ``web`` for Dora at Mercy."""
        web, dora = self.clients["web"], self.people["dora"]
        keys = {
            TargetKind.PLATFORM: "",
            TargetKind.TENANT: MERCY,
            TargetKind.VENDOR: self.vendor,
            TargetKind.APP: web.app,
            TargetKind.VERSION: web.version,
            TargetKind.PERSON: dora.id,
            TargetKind.APP_TENANT: f"{web.app}/{MERCY}",
            TargetKind.APP_PERSON: f"{web.app}/{dora.id}",
        }
        return Target(kind, keys[kind])

    def read(self, target: str, token: str, tenant: str = MERCY) -> Answer:
        """Read below a tenant's FHIR base, through the gateway and a snapshot that has just been confirmed."""
        self.keeper.step(0)
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/t/{tenant}/fhir/{path}",
            "raw_path": f"/t/{tenant}/fhir/{path}".encode(),
            "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {token}".encode())],
            "state": {"request_id": self.uow.ids.new("req"), "correlation_id": "", "source": "192.0.2.9"},
        }
        return site_client.run(call(self.gateway, scope))

    def browser(self, person: str = "", **headers: str) -> "Browser":
        http = SiteClient(self.app, base_url=BASE, follow_redirects=False, headers=headers)
        made = Browser(self, http)
        if person:
            made.sit_down(person)
        return made

    def give_password(self, person: str) -> None:
        self.run(lambda ctx: signin.set_password(ctx, self.people[person].id, DIGEST))

    def open_launch(  # type: ignore[override]  # the authorization endpoint has the EHR's door instead of a row
        self, person: str = "dora", client: str = "web", **more: Any
    ) -> OpenedLaunch:
        """Open a launch as the tenant's EHR; ``handle`` is what the app gets."""
        order: dict[str, Any] = {
            "patient": "p1",
            "encounter": "e1",
            "intent": "reconcile",
            "need_patient_banner": False,
        }
        order |= more
        wanted = LaunchOrder(client=self.clients[client].id, person=person, **order)
        return self.as_ehr(lambda ctx: launches.open_launch(ctx, wanted))

    def as_ehr(self, verb: Callable[[Context], T]) -> T:
        ehr = Actor(ActorKind.CLIENT, str(self.clients["ehr"].id), MERCY, frozenset({EHR_ROLE}))
        return self.uow.write_now(verb, actor=ehr, trace=TRACE)

    def parameters(self, client: str = "web", **changes: str | None) -> dict[str, str]:
        """The parameters of a good request; None leaves one out."""
        given: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.clients[client].id,
            "redirect_uri": REDIRECT,
            "scope": SCOPE if "launch" in changes else STANDALONE,
            "state": STATE,
            "aud": self.urls.fhir_base(MERCY),
            "code_challenge": s256(VERIFIER),
            "code_challenge_method": "S256",
            "nonce": "n-1",
        }
        return {name: value for name, value in (given | changes).items() if value is not None}

    def accesses(self, **wanted: Any) -> list[Access]:
        """What is recorded of reads, newest first."""
        reader = journals.open_reader(self.folder, self.uow.db.url)
        return list(reader.newest(AccessQuery(**wanted)))

    def requests(self) -> int:
        """How many authorization requests are kept."""
        from hilum.authorization.authorize.store import authorization_request

        return len(self.uow.db.read(lambda tx: tx.execute(authorization_request.select()).all()))


@dataclass
class Watched:
    """The platform's reads over a snapshot that has just been confirmed, as the watching thread would have done."""

    reads: PlatformReads
    keeper: SnapshotKeeper

    async def search(self, *words: Any, **more: Any) -> Any:
        self.keeper.step(0)
        return await self.reads.search(*words, **more)


@dataclass
class Browser:
    """A browser that shows one page at a time and follows redirects until they leave the platform."""

    front: Front
    http: TestClient
    last: Any = None
    trail: list[str] = field(default_factory=list)

    def sit_down(self, person: str) -> None:
        """Be signed in already."""
        who = self.front.people[person]
        # Begun where this browser is: a session of a role with power is bound to its network.
        begin = partial(signin.begin_session, person=who, method="password")
        _, cookie = self.front.uow.write_now(begin, actor=SYSTEM, trace=Trace("req_test"))
        self.http.cookies.set("hilum_session", cookie)

    def follow(self, response: Any) -> Any:
        for _ in range(10):
            if response.status_code not in {302, 303, 307}:
                break
            location = response.headers["location"]
            self.trail.append(location)
            if not location.startswith(("/", BASE)):
                break
            response = self.http.get(location)
        self.last = response
        return response

    def authorize(
        self, *, method: str = "GET", tenant: str = MERCY, client: str = "web", **changes: Any
    ) -> Any:
        path = f"/t/{tenant}/oauth/authorize"
        parameters = self.front.parameters(client, **changes)
        if method == "POST":
            return self.follow(self.http.post(path, data=parameters))
        return self.follow(self.http.get(f"{path}?{urlencode(parameters)}"))

    def form(self, name: str) -> Form:
        assert self.last.status_code == 200, (self.last.status_code, self.last.text)
        return form_with(self.last.text, name)

    def press(
        self, form: Form, *changes: tuple[str, str], without: tuple[str, ...] = (), **headers: str
    ) -> Any:
        """Send a form with its own fields, ``changes`` added and the fields ``without`` left out."""
        fields = [(k, v) for k, v in form.fields if k not in {name for name, _ in changes if name != "scope"}]
        fields = [(k, v) for k, v in fields if k not in without and v not in without]
        body = urlencode([*fields, *changes])
        sent = {"content-type": "application/x-www-form-urlencoded", "origin": BASE} | headers
        where = form.action or urlsplit(str(self.last.url)).path
        return self.follow(self.http.post(where, content=body, headers=sent))

    def sign_in(self, person: str, password: str = PASSWORD) -> Any:
        return self.press(
            self.form("password"), ("username", person), ("password", password), ("action", "login")
        )

    def allow(self, *, without: tuple[str, ...] = ()) -> Any:
        return self.press(self.form("decision"), ("decision", "allow"), without=without)

    def deny(self) -> Any:
        return self.press(self.form("decision"), ("decision", "deny"))

    def pick(self, patient: str) -> Any:
        return self.press(self.form("patient"), ("patient", patient))


def answer(response: Any) -> dict[str, str]:
    """Read what a redirect to the app tells it, or the page of a refused launch by its way back; fails when it is neither."""
    if response.status_code == 403 and (back := re.search(r'id="back" href="([^"]+)"', response.text)):
        return _told(html.unescape(back[1]))
    assert response.status_code == 303, (response.status_code, response.text)
    return _told(response.headers["location"])


def _told(location: str) -> dict[str, str]:
    assert location.startswith(REDIRECT + "?"), location
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


def error(response: Any, expected: str) -> str:
    """Check that the app gets this error, with state and iss and without a code; return its description."""
    told = answer(response)
    assert told.get("error") == expected, told
    assert "code" not in told
    assert told["state"] == STATE
    assert told["iss"] == f"{BASE}/t/{MERCY}"
    return told["error_description"]


def shown(response: Any, words: str) -> None:
    """Check that the person sees an error page and is sent nowhere."""
    assert response.status_code == 400, response.status_code
    assert "location" not in response.headers
    assert words in response.text, response.text


@cache
def shared_pages() -> Pages:
    """Return the pages of every platform: templates are compiled once."""
    return Pages(Assets(), Shell(sandbox=True), folders=mounts.template_folders())


@contextmanager
def eligibility(uow: UnitOfWork, clock: FakeClock, folder: Path) -> Iterator[Front]:
    urls = Urls(BASE, "http://localhost:8001")
    fetcher = SafeFetcher(allow_private=True, deadline=timedelta(seconds=1))
    records = fhir_server(folder / "fhir.db", urls.fhir_base(MERCY), clock, SeededIds("fhir"))
    records.load(RECORDS)
    faults = FaultBook(folder, clock)

    async def pause(seconds: float) -> None:
        clock.advance(timedelta(seconds=seconds))

    server = Embedded(with_faults(records, faults, MERCY, pause), urls.fhir_base(MERCY))
    upstreams = Upstreams(vault(), lambda _: server)

    async def nobody(_: object, __: object = None, /) -> Any:
        raise AssertionError("nobody asks for an API token here")

    pages = shared_pages()
    kit = Kit(uow, clock, uow.ids, urls, Mode.SANDBOX, pages, nobody)

    def read(verb: Callable[[Context], T]) -> T:
        return uow.read_now(verb, actor=SYSTEM, trace=TRACE)

    keeper = SnapshotKeeper(read, open_change_feed(uow.db), clock)
    journal = journals.open_journal(uow.db.url, folder / "journal", uow.writer, uow.ids)
    table, buckets = TokenTable(uow.reads, uow.write), Buckets(clock)
    intents = journals.Intents(lambda: journals.open_reader(folder / "journal", uow.db.url))
    deps = GatewayDeps(keeper, table, buckets, upstreams, journal, urls, vault(), clock, uow.ids, intents)
    enforcer = Enforcer(deps)
    directory = Watched(PlatformReads(enforcer, clock), keeper)
    here = replace(SETTINGS, data_dir=folder, database_url=uow.db.url)
    site = mounts.Site(kit, fetcher, directory, here, at_stop=[])  # type: ignore[arg-type]
    app = Starlette(routes=[*mounts.pages(site), *pages.assets.routes()])
    errors.install(app, pages)
    journal.start()
    with SiteClient(app, base_url=BASE) as http:
        made = Front(
            uow,
            clock,
            urls,
            http,
            fetcher,
            app=app,
            records=records,
            journal=journal,
            folder=folder / "journal",
            upstreams=upstreams,
            keeper=keeper,
            gateway=Gateway(enforcer, Batches(enforcer, clock, uow.ids)),
            faults=faults,
        )
        furnish("authorization endpoint", uow, made, REMEMBERED, lambda: furnish_front(made))
        yield made
    keeper.stop()
    journal.close()
    records.close()


def furnish_front(front: Front) -> None:
    furnish_platform(front)
    front.add_person("gus", "patient", "RelatedPerson/r1", "p1", "p2")
    front.add_person("nora", "nurse", "Practitioner/pr2")
    front.add_person("adam", "administrator", "Practitioner/pr3")
    for name in ("dora", "pat", "gus", "nora", "adam"):
        front.give_password(name)
    for name in ("web", "second"):
        front.add_app(name, ClientType.PUBLIC, launch_uri="https://app.example/launch")


@pytest.fixture
def front(sqlite_uow: UnitOfWork, clock: FakeClock, tmp_path: Path) -> Iterator[Front]:
    with eligibility(sqlite_uow, clock, tmp_path) as made:
        yield made


def keep_using(front: Front, token: str, *, days: int, times: int) -> str:
    for _ in range(times):
        front.clock.advance(timedelta(days=days))
        token = front.refresh(token, "web").json()["refresh_token"]
    return token
