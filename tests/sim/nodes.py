"""Two nodes in production on one PostgreSQL: each ``hilum serve`` with its own data directory and port, one issuer for both.

The hospitals' FHIR server is a simulator over HTTP. ``Nodes.tell`` runs a story with three ways in:
through node A, through node B, and through each in turn, as behind a proxy that balances requests.
"""

import asyncio
import itertools
import os
import secrets
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import (
    BackendUse,
    ClientMetadata,
    ClientType,
    Deployment,
    NewClient,
    NewSystemClient,
)
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.apps.service_owners import store as service_owners
from hilum.apps.service_owners.models import ServiceOwner
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Quota
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import ClientId, TenantId
from hilum.foundation.kernel.ports import Clock
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Tenant, UpstreamKind, UpstreamRef
from hilum.identity.signin import live as passwords
from hilum.identity.signin import service as signin
from hilum.policy.matrix.models import UNCLASSIFIED
from hilum.records.audit import service as audit
from hilum.records.keys import live as keyring
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from tests.flows.outside.ground import Outside, outside_of, straight
from tests.sim.command_line import run_hilum
from tests.sim.fhir_upstream import OtherServer, over_http
from tests.sim.launcher import Process, launch
from tests.sim.postgres import Cluster, free_port
from tests.sim.proofs import certify
from tests.sim.running import READY_WITHIN_S, STOP_WITHIN_S, Described, family_of, kill_all
from tests.sim.tcp_proxy import TcpProxy

KEY = "nodes-key-encryption-key-0123456789abcdef"
PASSWORD = "correct horse battery"
TENANTS = ("general", "children")
PEOPLE = (
    ("dr.nova", "Rena Nova", "physician", "Practitioner/dr-nova", ()),
    ("pat.quinn", "Pat Quinn", "patient", "Patient/p1", ("p1",)),
    ("admin.hall", "Noor Hall", "administrator", "", ()),
)
STAFF = (
    ("admin.ferro", "platform_admin", "Livia Ferro"),
    ("security.ito", "security", "Naoko Ito"),
    ("security.bauer", "security", "Klaus Bauer"),
    ("auditor.quispe", "auditor", "Rosa Quispe"),
)
SCOPES = (
    "launch", "launch/patient", "launch/encounter", "openid", "fhirUser", "online_access", "offline_access",
    *(f"{level}/{kind}.cruds" for level in ("patient", "user") for kind in ("Patient", "Observation", "Condition")),
)  # fmt: skip
CALLBACK, LAUNCH = "https://app.example/callback", "https://app.example/launch"
DELEGATED, SERVICE = "bench-symmetric", "bench-backend"
TRACE = Trace("nodes")


@dataclass
class Node:
    """One machine, with a path of its own to the database, which a test can freeze, delay or cut."""

    name: str
    home: Path
    listen: str
    environment: dict[str, str]
    path: TcpProxy
    process: Process | None = None

    @property
    def log(self) -> str:
        return (self.home / "run.log").read_text()

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def begin(self, **settings: str) -> None:
        """Start without waiting for it to be ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.process = launch(("serve",), self.environment | settings, self.home / "run.log")

    def start(self, **settings: str) -> None:
        """Start and wait until it is ready."""
        self.begin(**settings)
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        begun = time.monotonic()
        host = self.environment["HILUM_BASE_URL"].partition("//")[2]
        # By address, but under the platform's Host, which it checks.
        asked = urllib.request.Request(f"http://{self.listen}/readyz", headers={"host": host})
        while self.runs and time.monotonic() - begun < READY_WITHIN_S:
            with suppress(OSError), urllib.request.urlopen(asked, timeout=2) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"node {self.name} did not become ready: {self.log[-3000:]}")

    def stop(self) -> None:
        """Stop the node with SIGTERM, as a service manager does."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_WITHIN_S)
        # Whatever is left after the time that a service manager gives.
        self.kill()

    def kill(self) -> None:
        """Kill every process of the node at once, as a power cut would."""
        # The number of one that ended may be another's by now.
        if self.process is not None and self.process.poll() is None:
            kill_all(family_of(self.process.pid))
            self.process.wait()

    def hilum(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run the command line on this machine."""
        return run_hilum(words, self.environment | settings)


class Through(httpx2.AsyncBaseTransport):
    """Sends each request to one of the nodes in turn, under the Host that its address has; as a proxy in front of them does."""

    def __init__(self, listens: list[str]) -> None:
        self._inner = straight()
        self._turns = itertools.cycle(listens)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        host, _, port = next(self._turns).partition(":")
        # The Host stays that of the platform; only the connection goes to the node.
        sent = httpx2.Request(
            request.method,
            request.url.copy_with(host=host, port=int(port)),
            headers=request.headers,
            stream=request.stream,
            extensions=request.extensions,
        )
        return await self._inner.handle_async_request(sent)

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass
class Nodes(Described):
    """``url`` reaches the database by none of the nodes' paths."""

    url: str
    a: Node
    b: Node
    upstream: OtherServer
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def both(self) -> tuple[Node, Node]:
        return self.a, self.b

    def tell(self, story: Callable[[Outside, Outside, Outside], Any]) -> Any:
        """Run ``story(a, b, either)``: what is outside, with a way in through each node and through both in turn."""

        async def told() -> Any:
            async with AsyncExitStack() as stack:
                ways = ([self.a.listen], [self.b.listen], [self.a.listen, self.b.listen])
                entered = [await stack.enter_async_context(outside_of(self, Through(way))) for way in ways]
                return await story(*entered)

        return asyncio.run(told())

    def heal(self) -> None:
        """Restore every path, and start each node that does not run."""
        for node in self.both:
            node.path.delay(0.0)
            node.path.thaw()
        ended = [node for node in self.both if not node.runs]
        # Started together and awaited together, so that recovery takes the time of one.
        for node in ended:
            node.begin()
        for node in ended:
            node.wait_until_ready()

    def stop(self) -> None:
        for node in self.both:
            node.stop()

    def uow(self, clock: Clock | None = None) -> UnitOfWork:
        """Open the control plane beside the nodes. The caller closes it."""
        keyring.install(keyring.Vault(KEY))
        return UnitOfWork.create(
            Database(self.url), clock or SystemClock(), SystemIds(), "nodes-test", append=audit.record
        )


@contextmanager
def two_nodes(cluster: Cluster, home: Path, *, workers: int = 1, name: str = "nodes") -> Iterator[Nodes]:
    """Serve a fresh platform from two nodes, and stop them at the end."""
    url = cluster.migrated(name)
    upstream = OtherServer()
    with over_http(upstream) as fhir:
        base = f"http://127.0.0.1:{free_port()}"
        made = [_node(each, home / each, base, url, workers) for each in ("a", "b")]
        nodes = Nodes(base, url, made[0], made[1], upstream)
        nodes.card = _register(nodes, fhir)
        upstream.load(*_chart())
        try:
            nodes.heal()
            yield nodes
        finally:
            nodes.stop()
            for node in nodes.both:
                node.path.close()


def _node(name: str, home: Path, base: str, url: str, workers: int) -> Node:
    path = TcpProxy(urlsplit(url).port or 5432)
    listen = f"127.0.0.1:{free_port()}"
    # Settings of the developer's shell must not reach the nodes.
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HILUM_")}
    environment = kept | {
        "HILUM_MODE": "production",
        "HILUM_DATA_DIR": str(home),
        # Through the proxy, so that a test can freeze one node's path and not the other's.
        "HILUM_DATABASE_URL": path.url(url),
        "HILUM_BASE_URL": base,
        "HILUM_LISTEN": listen,
        "HILUM_SECRET_KEY": KEY,
        "HILUM_WORKERS": str(workers),
    }
    return Node(name, home, listen, environment, path)


def _register(nodes: Nodes, fhir: str) -> dict[str, Any]:
    """Register tenants, people and apps in one transaction; return the platform's card."""
    uow = nodes.uow()
    digest = passwords.hash_password_now(PASSWORD, uow.ids)
    try:
        return uow.write_now(lambda ctx: _platform(ctx, nodes.base, fhir, digest), actor=SYSTEM, trace=TRACE)
    finally:
        uow.close()


def _platform(ctx: Context, base: str, fhir: str, digest: str) -> dict[str, Any]:
    secret_of: dict[str, str] = {}
    keys.ensure(ctx, Purpose.CHECKPOINT, "")
    for tenant in TENANTS:
        _tenant(ctx, TenantId(tenant), fhir, digest, secret_of)
    tokens = {username: _staff(ctx, username, role, name, digest) for username, role, name in STAFF}
    private = _apps(ctx, secret_of)
    return {
        "base_url": base,
        "tenants": [
            {
                "id": each,
                "fhir": f"{base}/t/{each}/fhir",
                "issuer": f"{base}/t/{each}",
                "launch_api": f"{base}/t/{each}/ehr/launches",
            }
            for each in TENANTS
        ],
        "people": [
            {"tenant": tenant, "username": username, "password": PASSWORD, "role": role}
            for tenant in TENANTS
            for username, _, role, _, _ in PEOPLE
        ],
        "staff": [
            {"username": username, "password": PASSWORD, "role": role, "api_token": tokens[username]}
            for username, role, _ in STAFF
        ],
        "patients": [
            {"tenant": tenant, "id": "p1", "encounters": ["e1"], "notable": ""} for tenant in TENANTS
        ],
        "clients": [_described(each, secret_of, private) for each in (DELEGATED, SERVICE)],
        "ehr_clients": [_system_client_card(f"ehr-{each}", each, secret_of) for each in TENANTS],
        "resource_servers": [_system_client_card(f"rs-{each}", each, secret_of) for each in TENANTS],
    }


def _tenant(ctx: Context, tenant: TenantId, fhir: str, digest: str, secret_of: dict[str, str]) -> None:
    identity.add_tenant(ctx, Tenant(tenant, tenant.title(), UpstreamRef(UpstreamKind.HTTP, fhir)))
    keys.ensure(ctx, Purpose.ID_TOKEN, tenant)
    for username, name, role, fhir_user, patients in PEOPLE:
        person = identity.add_person(ctx, NewPerson(tenant, username, name, role, fhir_user, patients))
        signin.set_password(ctx, person.id, digest)
    for kind, slug in ((ClientType.EHR, "ehr"), (ClientType.RESOURCE_SERVER, "rs")):
        client_id = f"{slug}-{tenant}"
        _, secret_of[client_id] = clients.add_system_client(
            ctx, NewSystemClient(tenant, kind, client_id, client_id)
        )


def _staff(ctx: Context, username: str, role: str, name: str, digest: str) -> str:
    person = identity.add_person(ctx, NewPerson(None, username, name, role))
    signin.set_password(ctx, person.id, digest)
    _, token = signin.create_api_token(ctx, person.id, life=timedelta(days=1), name="card", factor_at=ctx.now)
    return token


def _apps(ctx: Context, secret_of: dict[str, str]) -> dict[str, Any]:
    from hilum_ehr.sandbox.credentials import CredentialsFile

    credentials_file = CredentialsFile()
    vendor = registry.add_vendor(ctx, NewVendor("Bench", "help@bench.example", "security@bench.example"))
    delegated = ClientMetadata(
        name="Bench",
        type=ClientType.SYMMETRIC,
        deployment=Deployment.SERVER,
        environment=Environment.PRODUCTION,
        redirect_uris=(CALLBACK,),
        launch_uri=LAUNCH,
        scopes=SCOPES,
    )
    service = ClientMetadata(
        name="Bench service",
        type=ClientType.BACKEND,
        deployment=Deployment.SERVER,
        environment=Environment.PRODUCTION,
        scopes=("system/Patient.rs", "system/Observation.cruds"),
        jwks=credentials_file.make_keys(SERVICE),
        expires_at=ctx.now + timedelta(days=90),
        backend_use=BackendUse("Tests", "Synthetic patients", "On demand"),
    )
    for client_id, metadata, roles in (
        (DELEGATED, delegated, frozenset({"physician", "patient"})),
        (SERVICE, service, frozenset[str]()),
    ):
        app = registry.add_app(
            ctx, NewApp(vendor.id, metadata.name, "An app of the tests.", "To be tested.", UNCLASSIFIED)
        )
        version = registry.add_version(ctx, app.id, NewVersion("1.0"))
        _, secret = clients.add_client(ctx, NewClient(app.id, version.id, metadata, client_id))
        secret_of[client_id] = secret or ""
        until = ctx.now + timedelta(days=365)
        certify(ctx, CertifyOrder(version.id, Environment.PRODUCTION, metadata.scopes, until))
        for tenant in TENANTS:
            installations.install(ctx, InstallOrder(TenantId(tenant), app.id, roles))
            if client_id == SERVICE:
                _service_owner(ctx, TenantId(tenant), app)
            # Beyond what any story sends: quotas have tests of their own.
            controls.set_quota(ctx, app.id, tenant, Quota(rate_per_s=10_000.0, burst=10_000))
    return credentials_file.private_jwks


def _service_owner(ctx: Context, tenant: TenantId, app: App) -> None:
    """Let a physician of a hospital answer for the service there."""
    who = next(username for username, _, role, *_ in PEOPLE if role == "physician")
    approver = identity.find_person_by_username(ctx, tenant, who)
    assert approver is not None
    use = "Tests", "Synthetic patients", "On demand"
    service = ClientId(SERVICE), app.id, app.vendor, *use, approver.id, approver.id
    ends = ctx.now + timedelta(days=90)
    made = ServiceOwner(ctx.ids.new("svo"), tenant, *service, ctx.now, ends, agreed_at=ctx.now)
    service_owners.add_service_owner(ctx.tx, made)


def _described(client_id: str, secret_of: dict[str, str], private: dict[str, Any]) -> dict[str, Any]:
    is_service = client_id == SERVICE
    return {
        "client_id": client_id,
        "type": "backend" if is_service else "confidential-symmetric",
        "secret": secret_of[client_id],
        "private_jwks": private.get(client_id, {}),
        "redirect_uris": [] if is_service else [CALLBACK],
        "launch_url": "" if is_service else LAUNCH,
    }


def _system_client_card(client_id: str, tenant: str, secret_of: dict[str, str]) -> dict[str, str]:
    return {"tenant": tenant, "client_id": client_id, "secret": secret_of[client_id]}


def _chart() -> list[dict[str, Any]]:
    subject = {"reference": "Patient/p1"}
    observed = {
        "resourceType": "Observation",
        "status": "final",
        "subject": subject,
        "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    }
    name = [{"family": "Quinn", "given": ["Pat"]}]
    return [
        {"resourceType": "Patient", "id": "p1", "name": name},
        {"resourceType": "Patient", "id": "p2", "name": [{"family": "Other"}]},
        {
            "resourceType": "Encounter",
            "id": "e1",
            "status": "in-progress",
            "class": {"code": "AMB"},
            "subject": subject,
        },
        {"resourceType": "Practitioner", "id": "dr-nova", "name": [{"family": "Nova"}]},
        *({**observed, "id": f"o{at}", "valueQuantity": {"value": 60 + at}} for at in range(5)),
    ]


def unguessable() -> str:
    """Return a name that no other test has."""
    return secrets.token_hex(6)
