"""The real gateway over real modules: SQLite stores, the embedded FHIR server or another one, the real journal."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from hilum.apps.clients import service as client_registry
from hilum.apps.clients.models import BackendUse, Client, ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import Basis
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.live import TokenTable
from hilum.authorization.tokens.models import Grant
from hilum.controls.switches.live import Buckets
from hilum.foundation.infra.change_feed import open_change_feed
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.smart.scopes import Prefix, everything
from hilum.foundation.web.urls import Urls
from hilum.gateway.enforcement.batches import Batches
from hilum.gateway.enforcement.deps import GatewayDeps
from hilum.gateway.enforcement.routes import Gateway
from hilum.gateway.enforcement.service import Enforcer
from hilum.gateway.enforcement.snapshot import SnapshotKeeper
from hilum.gateway.upstream.live import Embedded, Upstreams
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Person, Tenant, UpstreamKind, UpstreamRef
from hilum.policy.matrix.models import UNCLASSIFIED
from hilum.records.audit import live as journals
from hilum.records.keys.live import vault
from hilum_ehr.fhirserver.routes import FhirServer
from tests.sim.fhir_files import fhir_server
from tests.sim.furnished import furnish
from tests.sim.proofs import all_proved
from tests.sim.world import FakeClock, SeededIds
from tests.unit.gateway.enforcement.facts import RESTRICTED, category, observation
from tests.unit.policy.matrix.books import LIFETIMES

T = TypeVar("T")
GENERAL, CLINIC = TenantId("general"), TenantId("clinic")
PLATFORM = "http://127.0.0.1:8000"
TRACE = Trace("req_setup")
ORIGIN, SECOND_ORIGIN = "https://app.example", "https://second.example"
SPECIAL = ("openid", "fhirUser", "launch", "launch/patient", "offline_access", "online_access")
EVERYTHING = (*SPECIAL, *everything(Prefix.PATIENT), *everything(Prefix.USER))
SYSTEM_SCOPES = ("system/*.cruds",)
ROLES = frozenset({"physician", "nurse", "patient", "analyst"})


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def ids(self) -> list[str]:
        """``Type/id`` of every entry."""
        return [
            f"{e['resource']['resourceType']}/{e['resource'].get('id')}" for e in self.json.get("entry", [])
        ]

    def link(self, relation: str) -> str | None:
        return next((each["url"] for each in self.json.get("link", []) if each["relation"] == relation), None)


@dataclass
class Ground:
    """One gateway process at two tenants, with one app, one backend service and some people."""

    uow: UnitOfWork
    clock: FakeClock
    ids: SeededIds
    gateway: Gateway
    keeper: SnapshotKeeper
    journal: journals.Journal
    upstreams: Upstreams
    servers: dict[TenantId, FhirServer]
    clients: dict[str, Client] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    vendor: Any = None
    count: int = 0

    def run(self, verb: Callable[[Context], T]) -> T:
        """Run a verb as the platform, and let the gateway hear of it."""
        done = self.uow.write_now(verb, actor=SYSTEM, trace=TRACE)
        self.keeper.step(0)
        return done

    def load(self, *resources: dict[str, Any], tenant: TenantId = GENERAL) -> None:
        self.servers[tenant].load(list(resources))

    def token(
        self,
        *scopes: str,
        person: str = "doctor",
        patient: str = "p1",
        client: str = "app",
        tenant: TenantId = GENERAL,
        **more: Any,
    ) -> str:
        """Mint an access token of these scopes."""
        held, who = self.clients[client], self.people.get(person)
        grant = Grant(
            tenant=tenant,
            client=held.id,
            app=held.app,
            version=held.version,
            vendor=self.vendor,
            scopes=scopes,
            patient=patient,
        )
        if who is not None and client != "backend":
            reach = None if who.role in {"physician", "nurse", "analyst"} else who.patients
            grant = replace(
                grant, person=who.id, role=who.role, fhir_user=who.fhir_user, person_patients=reach
            )
        else:
            grant = replace(grant, patient="")
        grant = replace(grant, **more)
        minted = self.run(
            lambda ctx: tokens.mint(
                ctx, grant, offline=None, code_family=None, lifetimes=LIFETIMES, life=timedelta(hours=1)
            )
        )
        return minted.access_token

    def authorized(self, *scopes: str, person: str = "doctor", patient: str = "p1") -> Any:
        """Record an authorization and mint a token under it; give both."""
        held, who = self.clients["app"], self.people[person]
        facts = self.run(lambda ctx: client_registry.client_facts(ctx, held.id))
        assert facts is not None
        made = self.run(
            lambda ctx: consent.record_authorization(
                ctx,
                tenant=GENERAL,
                person=who.id,
                facts=facts,
                basis=Basis.PERSON,
                scopes=scopes,
                patient=patient,
            )
        )
        bearer = self.token(
            *scopes,
            person=person,
            patient=patient,
            authorization=made.id,
            authorization_expires_at=made.expires_at,
        )
        return made, bearer

    async def send(
        self,
        method: str,
        target: str,
        token: str | None = None,
        *,
        body: Any = None,
        headers: dict[str, str] | None = None,
        tenant: str = GENERAL,
    ) -> Answer:
        """Send one request below a tenant's FHIR base, or to an absolute address that the gateway gave."""
        base = f"{PLATFORM}/t/{tenant}/fhir"
        target = target.removeprefix(base + "/").removeprefix(base)
        path, _, query = target.partition("?")
        raw = f"/t/{tenant}/fhir" + (f"/{path}" if path else "")
        content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        sent = {"content-type": "application/fhir+json"} if body is not None else {}
        sent |= {"authorization": f"Bearer {token}"} if token is not None else {}
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        self.count += 1
        return await call(
            self.gateway,
            {
                "type": "http",
                "method": method,
                "path": raw,
                "raw_path": raw.encode("latin-1"),
                "query_string": query.encode(),
                "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
                "state": {"request_id": f"req_{self.count:06}", "correlation_id": "", "source": "192.0.2.9"},
            },
            content,
        )

    async def get(self, target: str, token: str | None = None, **more: Any) -> Answer:
        return await self.send("GET", target, token, **more)


async def call(
    app: Callable[[Any, Any, Any], Awaitable[None]], scope: dict[str, Any], body: bytes = b""
) -> Answer:
    """Call an ASGI application."""
    started: dict[str, Any] = {}
    chunks: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            started.update(message)
        else:
            chunks.append(message.get("body", b""))

    await app(scope, receive, send)
    headers = {name.decode(): value.decode("latin-1") for name, value in started["headers"]}
    return Answer(started["status"], headers, b"".join(chunks))


@asynccontextmanager
async def ground(
    uow: UnitOfWork,
    clock: FakeClock,
    ids: SeededIds,
    folder: Path,
    *,
    http_upstream: str = "",
    embedded: Callable[[TenantId], Any] | None = None,
) -> AsyncIterator[Ground]:
    """Stand a gateway up. ``http_upstream``: the general hospital's FHIR server is there, over HTTP."""
    urls = Urls(PLATFORM)
    servers = {
        id_: fhir_server(folder / f"{id_}.db", urls.fhir_base(id_), clock, ids) for id_ in (GENERAL, CLINIC)
    }

    served = {id_: Embedded(server, urls.fhir_base(id_)) for id_, server in servers.items()}

    def find(id_: TenantId) -> Embedded | None:
        if embedded is not None and id_ == GENERAL:
            return Embedded(embedded(id_), "http://upstream.internal/fhir")
        return served.get(id_)

    def read(verb: Callable[[Context], T]) -> T:
        return uow.read_now(verb, actor=SYSTEM, trace=TRACE)

    keeper = SnapshotKeeper(read, open_change_feed(uow.db), clock)
    journal = journals.open_journal(uow.db.url, folder / "journal", uow.writer, ids)
    upstreams = Upstreams(vault(), find)
    deps = GatewayDeps(
        keeper,
        TokenTable(uow.reads, uow.write),
        Buckets(clock),
        upstreams,
        journal,
        urls,
        vault(),
        clock,
        ids,
        journals.Intents(lambda: journals.open_reader(folder / "journal", uow.db.url)),
    )
    enforcer = Enforcer(deps)
    gateway = Gateway(enforcer, Batches(enforcer, clock, ids))
    made = Ground(uow, clock, ids, gateway, keeper, journal, upstreams, servers)
    furnish(
        f"gateway {http_upstream}",
        uow,
        made,
        ("clients", "people", "vendor"),
        lambda: furnish_ground(made, http_upstream),
    )
    keeper.step(0)
    try:
        yield made
    finally:
        await upstreams.close()
        keeper.stop()
        await asyncio.get_running_loop().run_in_executor(None, journal.close)
        for server in servers.values():
            server.close()


def furnish_ground(made: Ground, http_upstream: str) -> None:
    """Put tenants, people, an app and a backend service into the modules."""
    there = (
        UpstreamRef(UpstreamKind.HTTP, http_upstream) if http_upstream else UpstreamRef(UpstreamKind.EMBEDDED)
    )
    made.run(lambda ctx: identity.add_tenant(ctx, Tenant(GENERAL, "General Hospital", there)))
    made.run(
        lambda ctx: identity.add_tenant(ctx, Tenant(CLINIC, "Clinic", UpstreamRef(UpstreamKind.EMBEDDED)))
    )
    people = {
        "doctor": NewPerson(GENERAL, "doctor", "Dr Ada", "physician", "Practitioner/dr"),
        "nurse": NewPerson(GENERAL, "nurse", "Nils", "nurse", "Practitioner/nu"),
        "patient": NewPerson(GENERAL, "patient", "Pat", "patient", "Patient/p1", ("p1",)),
        "parent": NewPerson(GENERAL, "parent", "Pam", "patient", "RelatedPerson/r1", ("p1", "p3")),
    }
    for name, order in people.items():
        made.people[name] = made.run(partial(identity.add_person, order=order))
    made.vendor = made.run(
        lambda ctx: registry.add_vendor(
            ctx, NewVendor("Vendor", "help@vendor.example", "security@vendor.example")
        )
    ).id
    add_app(made, "app", ClientType.PUBLIC, EVERYTHING, origins=(ORIGIN,))
    add_app(made, "second", ClientType.PUBLIC, EVERYTHING, origins=(SECOND_ORIGIN,))
    add_app(made, "backend", ClientType.BACKEND, SYSTEM_SCOPES)


UNDECLARED = NewVersion("1.0")


def add_app(
    made: Ground,
    name: str,
    kind: ClientType,
    scopes: tuple[str, ...],
    origins: tuple[str, ...] = (),
    *,
    declared: NewVersion = UNDECLARED,
) -> None:
    """Register, certify and install one app."""
    backend = kind is ClientType.BACKEND
    app = made.run(
        lambda ctx: registry.add_app(
            ctx, NewApp(made.vendor, name, f"{name} does things", "care", UNCLASSIFIED)
        )
    )
    version = made.run(lambda ctx: registry.add_version(ctx, app.id, declared))
    metadata = ClientMetadata(
        name=name,
        type=kind,
        deployment=Deployment.SERVER if backend else Deployment.BROWSER,
        environment=Environment.PRODUCTION,
        redirect_uris=() if backend else (f"{origins[0]}/back",),
        launch_uri="" if backend else f"{origins[0]}/launch",
        origins=origins,
        scopes=scopes,
        jwks_uri="https://backend.example/jwks" if backend else "",
        expires_at=made.clock.now() + timedelta(days=90) if backend else None,
        backend_use=BackendUse("quality", "all patients", "nightly") if backend else None,
    )
    made.clients[name], _ = made.run(
        lambda ctx: client_registry.add_client(ctx, NewClient(app.id, version.id, metadata))
    )
    until = made.clock.now() + timedelta(days=365)
    order = CertifyOrder(version.id, Environment.PRODUCTION, scopes, until)
    made.run(lambda ctx: registry.certify(ctx, order, unproved=all_proved))
    made.run(lambda ctx: installations.install(ctx, InstallOrder(GENERAL, app.id, ROLES)))


def patient(id_: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id_, "name": [{"family": f"Family{id_}"}], **more}


Story = Callable[[Ground], Awaitable[None]]
Play = Callable[..., None]

RECORDS: tuple[dict[str, Any], ...] = (
    patient("p1"),
    patient("p2"),
    patient("p3"),
    {"resourceType": "Practitioner", "id": "dr", "name": [{"family": "Ada"}]},
    {"resourceType": "Organization", "id": "org", "name": "General"},
    observation("o1", category=category("laboratory"), code={"text": "a"}),
    observation("o2", category=category("vital-signs"), code={"text": "b"}),
    observation("o3", category=category("laboratory"), code={"text": "c"}, meta=RESTRICTED),
    observation("x1", "p2", category=category("laboratory"), code={"text": "d"}),
    {"resourceType": "Medication", "id": "m1", "code": {"text": "drug"}},
    {
        "resourceType": "MedicationRequest",
        "id": "mr1",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/p1"},
        "medicationReference": {"reference": "Medication/m1"},
    },
    {
        "resourceType": "Provenance",
        "id": "pr1",
        "target": [{"reference": "Observation/o1"}],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/dr"}}],
    },
    {
        "resourceType": "Provenance",
        "id": "pr2",
        "target": [{"reference": "Observation/o1"}, {"reference": "Observation/x1"}],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/dr"}}],
    },
)
"""Patient p1 with a restricted Observation o3, patient p2 with x1, and what hangs on them."""


def player(uow: UnitOfWork, clock: FakeClock, ids: SeededIds, folder: Path) -> Play:
    """Make what plays a story on a furnished ground, with the records in the general hospital's own server."""

    def play(story: Story, **settings: Any) -> None:
        async def main() -> None:
            async with ground(uow, clock, ids, folder, **settings) as made:
                made.load(*RECORDS)
                await story(made)

        asyncio.run(main())

    return play
