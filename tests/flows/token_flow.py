"""A platform with a token endpoint: two hospitals, one client of each kind, and codes as the authorization endpoint issues them."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from starlette.applications import Starlette
from starlette.testclient import TestClient

from hilum.apps.clients import service as client_registry
from hilum.apps.clients.models import (
    BackendUse,
    Client,
    ClientMetadata,
    ClientType,
    Deployment,
    NewClient,
    NewSystemClient,
)
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.authorization.authorize import store
from hilum.authorization.authorize.models import CODE_LIFE, CODE_PREFIX, Code
from hilum.authorization.authorize.policy import offline_of
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import Basis
from hilum.authorization.eligibility import service as eligibility
from hilum.authorization.launches import service as launches
from hilum.authorization.launches.models import Launch, LaunchOrder
from hilum.authorization.token import routes as token_endpoints
from hilum.authorization.token.client_auth import ASSERTION_TYPE
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens import store as tokens_store
from hilum.authorization.tokens.models import Grant
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Target, TargetKind
from hilum.foundation.infra import settings
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import FamilyId, LaunchId, TenantId, VendorId
from hilum.foundation.standards.oauth import s256
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.web.kit import Kit
from hilum.foundation.web.urls import Site, Urls
from hilum.identity.people import policy as identity_policy
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Person, Tenant, UpstreamKind, UpstreamRef
from hilum.identity.signin import service as signin
from hilum.policy.matrix.models import UNCLASSIFIED
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, EventQuery
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from tests.sim.furnished import furnish
from tests.sim.site_client import SiteClient
from tests.sim.world import FakeClock
from tests.unit.policy.matrix.books import LIFETIMES

T = TypeVar("T")
MERCY, OTHER = TenantId("mercy"), TenantId("other")
BASE = "http://127.0.0.1:8000"
TRACE = Trace("req_test", source="192.0.2.1")
REDIRECT = "https://app.example/back"
ORIGIN = "https://app.example"
VERIFIER = "v" * 43 + "-._~"
EC = ECKey.generate_key("P-384", {"kid": "ec-1"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"})
JWKS = {"keys": [EC.as_dict(private=False), RSA.as_dict(private=False)]}
APP_SCOPES = (
    *(
        "openid",
        "fhirUser",
        "launch",
        "launch/patient",
        "launch/encounter",
        "offline_access",
        "online_access",
    ),
    *("patient/*.cruds", "user/*.cruds", "patient/*.rs", "user/*.rs"),
)
LAUNCH_SCOPES = (
    "launch",
    "openid",
    "fhirUser",
    "offline_access",
    "patient/Observation.rs",
    "patient/Patient.rs",
)
BACKEND_SCOPES = ("system/*.cruds", "system/*.rs")
UNDECLARED = NewVersion("1.0")


@dataclass
class Platform:
    """``http`` speaks to the token endpoint; ``run`` runs a verb as the platform itself."""

    uow: UnitOfWork
    clock: FakeClock
    urls: Urls
    http: TestClient
    fetcher: SafeFetcher
    vendor: VendorId = VendorId("")
    clients: dict[str, Client] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    jtis: int = 0
    category: str = UNCLASSIFIED
    """Of the apps that are added."""

    def run(self, verb: Callable[[Context], T]) -> T:
        return self.uow.write_now(verb, actor=SYSTEM, trace=TRACE)

    def site(self, tenant: TenantId = MERCY) -> Site:
        return self.urls.site(tenant)

    # --- what stands before anybody calls -------------------------------------------------------------------------------------

    def add_app(
        self,
        name: str,
        kind: ClientType,
        *,
        scopes: tuple[str, ...] = APP_SCOPES,
        tenants: tuple[TenantId, ...] = (MERCY,),
        beside: str = "",
        version: NewVersion = UNDECLARED,
        **more: Any,
    ) -> Client:
        """Add an app with one client, or one more client to the app of the client ``beside``."""
        server = kind is not ClientType.PUBLIC
        backend = kind is ClientType.BACKEND
        metadata = ClientMetadata(
            name,
            kind,
            Deployment.SERVER if server else Deployment.BROWSER,
            Environment.SANDBOX,
            redirect_uris=() if backend else (REDIRECT,),
            launch_uri="" if backend else f"{ORIGIN}/launch",
            origins=() if backend else (ORIGIN,),
            scopes=BACKEND_SCOPES if backend else scopes,
            jwks=JWKS if kind in {ClientType.BACKEND, ClientType.ASYMMETRIC} else None,
            expires_at=self.clock.now() + timedelta(days=300) if backend else None,
            backend_use=BackendUse("Quality reports", "All patients", "Nightly", "Ada Admin")
            if backend
            else None,
        )
        if backend and scopes != APP_SCOPES:
            metadata = replace(metadata, scopes=scopes)
        metadata = replace(metadata, **more)

        def make(ctx: Context) -> tuple[Client, str]:
            if beside:
                known = self.clients[beside]
                return client_registry.add_client(ctx, NewClient(known.app, known.version, metadata))
            app = registry.add_app(
                ctx, NewApp(self.vendor, name, "An app of the tests", "To be tested", self.category)
            )
            made = registry.add_version(ctx, app.id, version)
            client, secret = client_registry.add_client(ctx, NewClient(app.id, made.id, metadata))
            end = self.clock.now() + timedelta(days=365)
            registry.certify(ctx, CertifyOrder(made.id, Environment.SANDBOX, client.scopes, end))
            for tenant in tenants:
                roles = frozenset() if backend else frozenset({"physician", "nurse", "patient"})
                installations.install(ctx, InstallOrder(tenant, app.id, roles))
            return client, secret

        self.clients[name], self.secrets[name] = self.run(make)
        return self.clients[name]

    def add_system_client(self, name: str, kind: ClientType, tenant: TenantId = MERCY) -> Client:
        self.clients[name], self.secrets[name] = self.run(
            lambda ctx: client_registry.add_system_client(ctx, NewSystemClient(tenant, kind, name))
        )
        return self.clients[name]

    def add_person(
        self, username: str, role: str, fhir_user: str, *patients: str, at: TenantId = MERCY
    ) -> Person:
        order = NewPerson(at, username, username.title(), role, fhir_user, patients)
        self.people[username] = self.run(lambda ctx: identity.add_person(ctx, order))
        return self.people[username]

    # --- what the authorization endpoint does ------------------------------------------------------------------------------------------

    def code(
        self,
        client: str = "public",
        *,
        scopes: tuple[str, ...] = LAUNCH_SCOPES,
        person: str = "dora",
        tenant: TenantId = MERCY,
        launch: str = "",
        session: str = "",
        **grant: Any,
    ) -> str:
        """Issue a code as the authorization endpoint does, once the person agreed."""
        who, what = self.people[person], self.clients[client]
        secret = CODE_PREFIX + self.uow.ids.secret()
        session = session or self.begin_session(person)

        def issue(ctx: Context) -> None:
            facts = client_registry.client_facts(ctx, what.id)
            assert facts is not None
            authorization = consent.record_authorization(
                ctx,
                tenant=tenant,
                person=who.id,
                facts=facts,
                basis=Basis.TENANT,
                scopes=scopes,
                patient="p1",
                launch=LaunchId(launch),
                offline="offline_access" in scopes,
                covering_id=None,
            )
            made = Grant(
                tenant=tenant,
                client=what.id,
                app=facts.app,
                version=facts.version,
                vendor=facts.vendor,
                scopes=scopes,
                person=who.id,
                role=who.role,
                fhir_user=who.fhir_user,
                person_patients=identity_policy.patients_openable(who),
                patient="p1",
                encounter="e1",
                authorization=authorization.id,
                authorization_expires_at=authorization.expires_at,
                launch=LaunchId(launch),
                session=session,
                nonce="n-0S6_WzA2Mj",
                extras={
                    "need_patient_banner": False,
                    "intent": "reconcile",
                    "smart_style_url": self.site(tenant).style_url,
                },
            )
            store.add_code(
                ctx.tx,
                Code(
                    hash=hashlib.sha256(secret.encode()).digest(),
                    redirect_uri=REDIRECT,
                    code_challenge=s256(VERIFIER),
                    family=FamilyId(ctx.ids.new("fam")),
                    grant=replace(made, **grant),
                    auth_time=ctx.now - timedelta(minutes=3),
                    issued_at=ctx.now,
                    expires_at=ctx.now + CODE_LIFE,
                    offline=offline_of(smart.parse_stored(scopes)),
                ),
            )

        self.run(issue)
        return secret

    def mint(self, client: str, *scopes: str) -> str:
        """Mint an access token of a client that acts alone, whatever it may ask for."""

        def verb(ctx: Context) -> str:
            facts = client_registry.client_facts(ctx, self.clients[client].id)
            assert facts is not None
            grant = Grant(MERCY, self.clients[client].id, facts.app, facts.version, facts.vendor, scopes)
            life = timedelta(minutes=5)
            minted = tokens.mint(ctx, grant, offline=None, code_family=None, lifetimes=LIFETIMES, life=life)
            return minted.access_token

        return self.run(verb)

    def bind(self, token: str) -> None:
        """Bind an access token to a key, as DPoP will."""

        def verb(ctx: Context) -> None:
            found = tokens.find_access(ctx, token)
            assert found is not None
            table = tokens_store.access_token
            row = ctx.tx.execute(table.select().where(table.c.hash == found.hash)).mappings().one()
            facts = dict(row["facts"]) | {"proof_key": "thumbprint"}
            ctx.tx.execute(table.update().where(table.c.hash == found.hash).values(facts=facts))

        self.run(verb)

    def begin_session(self, person: str = "dora") -> str:
        return str(self.run(lambda ctx: signin.begin_session(ctx, self.people[person], "password"))[0].id)

    def open_launch(self, client: str = "public", person: str = "dora") -> LaunchId:
        """Open a launch as the hospital's EHR does, and take it as the authorization endpoint does."""
        order = LaunchOrder(self.clients[client].id, person, "p1", "e1", intent="reconcile")
        handle = self.as_ehr(lambda ctx: launches.open_launch(ctx, order)).handle
        return self.take(handle, client, person).id

    def take(
        self, handle: str, client: str = "public", person: str = "dora", tenant: TenantId = MERCY
    ) -> Launch:
        """Take a launch as an authorization request does that found it eligible."""
        return self.run(self.taking(handle, client, person, tenant))

    def taking(
        self, handle: str, client: str = "public", person: str = "dora", tenant: TenantId = MERCY
    ) -> Callable[[Context], Launch]:
        who, by = self.clients[client].id, self.people[person].id

        def verb(ctx: Context) -> Launch:
            found = identity.get_person(ctx, by)
            return launches.take(ctx, handle, eligibility.read(ctx, tenant, who, found))

        return verb

    @property
    def ehr(self) -> Actor:
        return Actor(ActorKind.CLIENT, self.clients["ehr"].id, MERCY, frozenset({"ehr", "hilum/launch"}))

    def as_ehr(self, verb: Callable[[Context], T]) -> T:
        return self.uow.write_now(verb, actor=self.ehr, trace=TRACE)

    def engage(self, kind: TargetKind, key: str = "", mode: Mode = Mode.FULL_STOP) -> str:
        return self.run(lambda ctx: controls.engage(ctx, EngageOrder(Target(kind, key), mode, "A test"))).id

    def release(self, switch: str) -> None:
        for name in ("host:one", "host:two"):
            actor = Actor(ActorKind.STAFF, name, roles=frozenset({"security"}))
            found = self.uow.write_now(
                lambda ctx: controls.release(ctx, switch, counts=lambda *_: True), actor=actor, trace=TRACE
            )
            if found.released_at is not None:
                return
        raise AssertionError("not released")

    # --- what clients do -------------------------------------------------------------------------------------------------------

    def assertion(self, client: str, *, key: Any = EC, tenant: TenantId = MERCY, **claims: Any) -> str:
        self.jtis += 1
        who = self.clients[client].id
        body = {
            "iss": who,
            "sub": who,
            "aud": self.urls.token(tenant),
            "exp": int(self.clock.now().timestamp()) + 300,
            "jti": f"jti-{self.jtis}",
        } | claims
        alg = "ES384" if key is EC else "RS384"
        return jwt.encode({"alg": alg, "kid": key.kid, "typ": "JWT"}, body, key, algorithms=[alg])

    def credentials(self, client: str, tenant: TenantId = MERCY) -> tuple[dict[str, str], dict[str, str]]:
        """How a client authenticates: form fields and headers."""
        found = self.clients[client]
        if found.type is ClientType.PUBLIC:
            return {"client_id": found.id}, {}
        if found.jwks is not None or found.jwks_uri:
            return {
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": self.assertion(client, tenant=tenant),
            }, {}
        return {}, {"Authorization": basic(found.id, self.secrets[client])}

    def post(
        self, endpoint: str, client: str, fields: dict[str, Any], tenant: TenantId = MERCY, **headers: str
    ) -> Any:
        form, auth = self.credentials(client, tenant)
        return self.http.post(f"/t/{tenant}/oauth/{endpoint}", data=form | fields, headers=auth | headers)

    def redeem(self, code: str, client: str = "public", tenant: TenantId = MERCY, **fields: Any) -> Any:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        } | fields
        form = {name: value for name, value in form.items() if value is not None}
        return self.post("token", client, form, tenant)

    def earn(self, client: str = "public", **code: Any) -> dict[str, Any]:
        """Go through a code to its token response."""

        def build() -> dict[str, Any]:
            answer = self.redeem(self.code(client, **code), client)
            assert answer.status_code == 200, answer.text
            return dict(answer.json())

        return furnish(f"earned by {client} {code}", self.uow, self, REMEMBERED, build)

    def refresh(self, token: str, client: str = "public", tenant: TenantId = MERCY, **fields: Any) -> Any:
        return self.post(
            "token", client, {"grant_type": "refresh_token", "refresh_token": token} | fields, tenant
        )

    def backend(self, scope: str = "system/*.rs", client: str = "backend", **fields: Any) -> Any:
        return self.post("token", client, {"grant_type": "client_credentials", "scope": scope} | fields)

    def introspect(self, token: str, client: str = "resource", tenant: TenantId = MERCY) -> dict[str, Any]:
        answer = self.post("introspect", client, {"token": token}, tenant)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def is_alive(self, token: str) -> bool:
        return bool(self.introspect(token)["active"])

    def all_events(self) -> list[Event]:
        page = self.uow.read_now(lambda ctx: audit.list_events(ctx, EventQuery()), actor=SYSTEM, trace=TRACE)
        return [recorded.event for recorded in page.events]

    def events(self, action: str) -> list[Event]:
        page = self.uow.read_now(
            lambda ctx: audit.list_events(ctx, EventQuery(action=action)), actor=SYSTEM, trace=TRACE
        )
        return [recorded.event for recorded in page.events]


def signed_by(platform: Platform, client: str, key: ECKey, **header: str) -> str:
    """Make an assertion that any key signs, with any header."""
    who = platform.clients[client].id
    platform.jtis += 1
    claims = {
        "iss": who,
        "sub": who,
        "aud": platform.urls.token(MERCY),
        "exp": int(platform.clock.now().timestamp()) + 300,
        "jti": f"jti-{platform.jtis}",
    }
    return jwt.encode({"alg": "ES384", "kid": key.kid} | header, claims, key, algorithms=["ES384"])


def published_keys(platform: Platform, tenant: TenantId = MERCY) -> KeySet:
    return KeySet.import_key_set(platform.http.get(f"/t/{tenant}/oauth/jwks.json").json())


def basic(client: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client}:{secret}".encode()).decode()


def refused(answer: Any, code: str, status: int = 400) -> str:
    """Check that an answer is this OAuth error, is not to be stored and earns nothing; gives its sentence."""
    assert (answer.status_code, answer.json().get("error")) == (status, code), answer.text
    assert "access_token" not in answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    return str(answer.json()["error_description"])


@contextmanager
def running_platform(uow: UnitOfWork, clock: FakeClock, *, registers: bool = True) -> Iterator[Platform]:
    urls = Urls(BASE, "http://localhost:8001")
    fetcher = SafeFetcher(allow_private=True, deadline=timedelta(seconds=1))

    async def nobody(_: object) -> Any:
        raise AssertionError("the token endpoint asks for no API token")

    kit = Kit(uow, clock, uow.ids, urls, settings.Mode.SANDBOX, None, nobody)  # type: ignore[arg-type]
    app = Starlette(routes=token_endpoints.routes(kit, fetcher, registers=registers))
    with SiteClient(app, base_url=BASE) as http:
        platform = Platform(uow, clock, urls, http, fetcher)
        furnish("token endpoint", uow, platform, REMEMBERED, lambda: furnish_platform(platform))
        yield platform


REMEMBERED = ("vendor", "clients", "secrets", "people", "jtis")


def furnish_platform(platform: Platform) -> None:
    def tenants(ctx: Context) -> VendorId:
        for tenant in (MERCY, OTHER):
            identity.add_tenant(
                ctx, Tenant(tenant, tenant.title(), UpstreamRef(UpstreamKind.EMBEDDED), sandbox=True)
            )
            keys.ensure(ctx, Purpose.ID_TOKEN, tenant)
        vendor = NewVendor("Acme Health", "support@acme.example", "security@acme.example")
        return registry.add_vendor(ctx, vendor).id

    platform.vendor = platform.run(tenants)
    platform.add_app("public", ClientType.PUBLIC)
    platform.add_app("symmetric", ClientType.SYMMETRIC)
    platform.add_app("asymmetric", ClientType.ASYMMETRIC)
    platform.add_app("backend", ClientType.BACKEND)
    platform.add_system_client("ehr", ClientType.EHR)
    platform.add_system_client("resource", ClientType.RESOURCE_SERVER)
    platform.add_system_client("other-resource", ClientType.RESOURCE_SERVER, OTHER)
    platform.add_person("dora", "physician", "Practitioner/pr1")
    platform.add_person("pat", "patient", "Patient/p1", "p1")


@pytest.fixture
def platform(sqlite_uow: UnitOfWork, clock: FakeClock) -> Iterator[Platform]:
    with running_platform(sqlite_uow, clock) as made:
        yield made
