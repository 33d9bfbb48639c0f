"""The control plane alone over real HTTP semantics: sign-in pages and /api/v1, without the rest of the platform."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any, TypeVar

import httpx2
import orjson
from sqlalchemy import Connection, func, select, update
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from hilum.apps.clients.models import ClientMetadata, ClientType, Deployment
from hilum.apps.contacts import pages as contacts_pages
from hilum.apps.contacts.domain_checks import DomainChecker
from hilum.apps.registry.models import Environment
from hilum.authorization.eligibility import service as eligibility
from hilum.authorization.tokens import service as tokens_service
from hilum.foundation.infra import nodes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.infra.nodes import Node
from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.pictures import routes as pictures
from hilum.foundation.web import errors
from hilum.foundation.web.kit import Kit
from hilum.foundation.web.pages import Pages, Shell
from hilum.foundation.web.static import Assets
from hilum.foundation.web.urls import Urls
from hilum.gateway.upstream.access import seal_secrets
from hilum.identity.account import pages as account_pages
from hilum.identity.enrolment import pages as enrolment_pages
from hilum.identity.enrolment.models import LinkMail
from hilum.identity.factors.models import FRESH_FOR
from hilum.identity.factors.policy import must_have
from hilum.identity.federation import pages as federation_pages
from hilum.identity.federation.live import Providers
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Person, Tenant, UpstreamKind, UpstreamRef
from hilum.identity.signin import live
from hilum.identity.signin import routes as signin_routes
from hilum.identity.signin import service as signin
from hilum.identity.signin import store as tokens
from hilum.identity.signin.forbidden import Forbidden
from hilum.identity.signin.policy import digest
from hilum.policy.matrix import service as policies
from hilum.records.audit import live as journals
from hilum.records.audit.store import audit_event
from hilum.records.keys.live import vault
from hilum.review.certificates import pages as certificate_pages
from hilum.review.recertification import pages as revalidation_pages
from hilum.server import mounts
from hilum.surfaces.console import routes as console
from tests.sim.asked_modules import AskedModules
from tests.sim.browser import form_with
from tests.sim.furnished import furnish
from tests.sim.journals import journal_of
from tests.sim.patient_directory import Patients
from tests.sim.site_client import SiteClient
from tests.sim.world import FakeClock, SeededIds

ORIGIN = "http://127.0.0.1:8000"
PASSWORD = "correct horse"
STAYS_LIVE = timedelta(days=1)
TRACE = Trace("req_setup")
REMEMBERED = ("people", "_tokens")
CHANGES = {"DELETE", "PATCH", "POST", "PUT"}
PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [{"family": "Reyes", "given": ["Jordan"]}],
    "birthDate": "1980-03-05",
    "identifier": [{"type": {"coding": [{"code": "MR"}]}, "value": "MRN-77"}],
}
"""Who the patient p1 is."""
QUESTIONS = ("/assess", "/preview", "/try", "/try-narrowing", "/validate")
"""How calls end that have a body and change nothing."""
_RECORDS = select(func.count()).select_from(audit_event)
T = TypeVar("T")


@dataclass
class ControlSite:
    """``people`` by username; everybody's password is PASSWORD."""

    uow: UnitOfWork
    clock: FakeClock
    app: Any
    kit: Kit
    people: dict[str, Person]
    origin: str = ORIGIN
    patients: Patients = field(default_factory=Patients)
    _tokens: dict[tuple[Any, ...], str] = field(default_factory=dict)
    _once: dict[str, Any] = field(default_factory=dict)

    def browser(self, source: str = "198.51.100.7") -> TestClient:
        return SiteClient(self._from(source), base_url=self.origin, follow_redirects=False)

    def signed_in(self, username: str, page: str = "/signin") -> TestClient:
        """Return a browser in which a person has entered a sign-in page with their password."""
        browser = self.browser()
        form = form_with(browser.get(page).text, "password")
        values = dict(form.fields) | {"username": username, "password": PASSWORD, "action": "login"}
        assert browser.post(form.action, data=values).status_code == 303
        return browser

    def api(self, username: str = "", *, confirmed: bool = False, **more: Any) -> TestClient:
        """A caller with an API token made for somebody now; nobody's without a username. ``confirmed``: with a second factor just now."""
        client = SiteClient(self._from("198.51.100.8"), base_url=ORIGIN + "/api/v1", **more)
        if username:
            person = self.people[username]
            # In production a token of a role with power was made with a factor, if not just now.
            earlier = (
                self.clock.now() - FRESH_FOR
                if must_have(person.role, production=not self.kit.is_sandbox)
                else None
            )
            entered = self.clock.now() if confirmed else earlier
            secret = self._token(person, entered)
            client.headers["authorization"] = f"Bearer {secret}"
        client.event_hooks = {"request": [self._note_records], "response": [self._require_record]}
        return client

    def _note_records(self, request: httpx2.Request) -> None:
        if request.method in CHANGES:
            request.extensions["records"] = self._records()

    def _require_record(self, response: httpx2.Response) -> None:
        """Whatever call of whatever test changed something, a record says so. That rows were signed is no such record."""
        request = response.request
        if request.method in CHANGES and response.is_success and not changes_nothing(request):
            call = f"{request.method} {request.url.path}"
            assert self._records() > request.extensions["records"], f"{call} left no record"

    def _records(self) -> int:
        return self.uow.read_now(lambda ctx: ctx.tx.execute(_RECORDS).scalar_one(), actor=SYSTEM, trace=TRACE)

    def _token(self, person: Person, entered: datetime | None) -> str:
        """Return an API token made now; the same as before if that was now, too, and nobody has changed it since."""
        wanted = (person.id, (person.role,), self.clock.now(), entered)
        held = self._tokens.get(wanted, "")

        def kept(ctx: Context) -> bool:
            found = tokens.API_TOKENS.find(ctx.tx, digest=digest(held))
            if found is None or found.revoked_at is not None:
                return False
            return (found.person, found.roles, found.created_at, found.factor_at) == wanted

        if not held or not self.uow.read_now(kept, actor=SYSTEM, trace=TRACE):
            life = timedelta(days=1)
            _, held = self.system(signin.create_api_token, person_id=person.id, life=life, factor_at=entered)
            self._tokens[wanted] = held
        return held

    def furnished(self, name: str, build: Callable[[], T]) -> T:
        """Furnish the site further, or copy what was furnished alike before; ``name`` says all that ``build`` depends on."""
        return furnish(name, self.uow, self, REMEMBERED, build)

    def furnished_once(self, name: str, build: Callable[[], T]) -> T:
        """Furnish the site further, once a test: the same name again returns what was built."""
        if name not in self._once:
            self._once[name] = self.furnished(name, build)
        found: T = self._once[name]
        return found

    def system(self, verb: Any, **arguments: Any) -> Any:
        return self.uow.write_now(partial(verb, **arguments), actor=SYSTEM, trace=TRACE)

    def _from(self, source: str) -> Any:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                scope.setdefault("state", {})
                scope["state"] |= {"request_id": "req_test", "source": source}
            await self.app(scope, receive, send)

        return app


def changes_nothing(request: httpx2.Request) -> bool:
    """Check whether a call that succeeded was a question, or an edit of nothing."""
    is_empty = request.method == "PATCH" and set(orjson.loads(request.content)) <= {"revision"}
    return is_empty or request.url.path.endswith(QUESTIONS)


async def nowhere(host: str, port: int) -> list[str]:
    return []


@cache
def everybodys_digest() -> str:
    return live.hash_password_now(PASSWORD, SeededIds())


@cache
def shared_pages() -> Pages:
    """Return the pages of every site: templates are compiled once."""
    assets = Assets(*mounts.static_folders())
    return Pages(assets, Shell(sandbox=True), folders=mounts.template_folders())


def build(
    uow: UnitOfWork,
    clock: FakeClock,
    checker: DomainChecker | None = None,
    *,
    mode: Mode = Mode.SANDBOX,
    then: Callable[[ControlSite], object] | None = None,
    origin: str = ORIGIN,
) -> ControlSite:
    """Two hospitals and their people, the staff, and one site. ``then`` fills it further; its rows are kept like the others."""
    forbidden = Forbidden(uow)
    kit = Kit(
        uow=uow,
        clock=clock,
        ids=uow.ids,
        urls=Urls(origin),
        mode=mode,
        pages=shared_pages(),
        authenticate=signin_routes.authenticator(uow, forbidden, production=mode is Mode.PRODUCTION),
        record_forbidden=forbidden.record,
    )
    providers = Providers(SafeFetcher(allow_private=True), clock, vault())
    federated = federation_pages.Federated(kit, providers, tokens_service.revoke_person)
    folder = journal_of(uow)
    patients = Patients(PATIENT)
    domain_checker = checker or DomainChecker(SafeFetcher(allow_private=False, resolve=nowhere))
    make_api = partial(
        mounts.control_plane,
        kit,
        lambda secrets, upstream: seal_secrets(vault(), secrets, upstream, uow.ids),
        lambda: journals.open_reader(folder, uow.db.url),
        partial(journals.read_permits, folder, uow.db.url),
        calls=partial(journals.read_calls, folder, uow.db.url),
        traffic=partial(journals.read_traffic, folder, uow.db.url),
        domain_checker=domain_checker,
        providers=providers,
        mails_links=True,
        private_urls=True,
        counted=mounts.counted_calls((folder, uow.db.url)),
        directory=patients,
    )
    ports = mounts.consoles(
        kit,
        lambda: journals.open_reader(folder, uow.db.url),
        (folder, uow.db.url),
        LinkMail(kit.urls.enrol, works=False),
        providers=providers,
        checker=domain_checker,
    )

    def make_pages() -> Starlette:
        pages = Starlette(
            routes=[
                *account_pages.pages(kit),
                *signin_routes.pages(kit, federated=federated),
                *federated.routes(),
                *enrolment_pages.pages(kit),
                *contacts_pages.pages(kit),
                *revalidation_pages.pages(kit),
                *certificate_pages.pages(kit),
                *console.pages(kit, ports),
                *pictures.pages(kit, eligibility.is_app_stopped),
                *kit.pages.assets.routes(),
            ]
        )
        errors.install(pages, kit.pages)
        return pages

    # Each only for tests that call it: joining the routes of every module takes longer than most of what is tested here.
    modules, pages = AskedModules(make_api, mode), cache(make_pages)

    async def site(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        half = modules.find(path) if path.startswith("/api/") else pages()
        await half(scope, receive, send)

    made = ControlSite(uow, clock, site, kit, {}, origin, patients)
    name = f"control site {then.__module__}.{then.__qualname__}" if then else "control site"
    furnish(name, uow, made, REMEMBERED, lambda: furnish_site(made, then))
    return made


def furnish_site(made: ControlSite, then: Callable[[ControlSite], object] | None) -> None:
    for tenant, sandbox in (("general", True), ("children", True), ("mercy", False)):
        upstream = UpstreamRef(UpstreamKind.EMBEDDED)
        made.system(
            identity.add_tenant, tenant=Tenant(TenantId(tenant), tenant.title(), upstream, sandbox=sandbox)
        )
    for tenant, username, role in PEOPLE:
        where = TenantId(tenant) if tenant else None
        person = made.system(identity.add_person, order=NewPerson(where, username, username.title(), role))
        made.people[username] = person
        made.system(signin.set_password, person_id=person.id, digest=everybodys_digest())
    if then is not None:
        then(made)


def with_policy(made: ControlSite) -> None:
    """Make the shipped policy the first version."""
    made.system(policies.adopt_shipped)


PEOPLE = (
    ("general", "ann", "physician"),
    ("general", "gina", "administrator"),
    ("children", "carl", "administrator"),
    ("mercy", "mary", "administrator"),
    ("", "root", "platform_admin"),
    ("", "sam", "security"),
    ("", "sue", "security"),
    ("", "rita", "reviewer"),
    ("", "otto", "auditor"),
)


def site_on(uow: UnitOfWork, clock: FakeClock) -> ControlSite:
    """Build the site with a policy in force and one node that is on record."""
    made = build(uow, clock, then=with_policy)
    made.furnished("a node", lambda: uow.db.write(_report_node))
    return made


def _report_node(tx: Connection) -> None:
    nodes.report(tx, Node("a", 1, "0001", "boot"))
    # Nodes are live by the database's clock, which no test moves, and a world is copied minutes after it was built: by then the one report
    # of this node would be too old, and a stop would be engaged where no node serves.
    tx.execute(update(nodes.node).values(seen_at=nodes.database_now(tx) + STAYS_LIVE))


def in_a_browser(name: str, scopes: tuple[str, ...]) -> ClientMetadata:
    """Return the metadata of an app that people open in a browser, with an address of its own in the sandbox."""
    return ClientMetadata(
        name=name,
        type=ClientType.PUBLIC,
        deployment=Deployment.BROWSER,
        environment=Environment.SANDBOX,
        redirect_uris=("https://app.example/cb",),
        launch_uri="https://app.example/launch",
        scopes=scopes,
    )


def send(
    browser: TestClient, page: str, control: str, headers: dict[str, str] | None = None, /, **values: Any
) -> Any:
    """Send the form of a page that has a control of this name."""
    form = form_with(browser.get(page).text, control)
    return browser.post(form.action or page, data=dict(form.fields) | values, headers=headers or {})


def codes(found: dict[str, Any]) -> dict[str, str]:
    """Return the code of each field of a problem; each stands beside its sentence."""
    fields = found["fields"]
    assert all(each["detail"].endswith(".") and set(each) == {"code", "detail"} for each in fields.values())
    return {name: each["code"] for name, each in fields.items()}


def problem(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is a problem of this status and code, and give it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found["code"] == code, found
    return found
