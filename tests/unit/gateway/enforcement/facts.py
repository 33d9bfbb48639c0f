"""A small world of facts, from which each test takes away or changes one thing."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hilum.apps.clients.models import ClientFacts, ClientType
from hilum.apps.installations.models import InstallationFacts, RegistryFacts
from hilum.apps.registry.models import Environment
from hilum.authorization.consent.models import ConsentFacts
from hilum.authorization.launches.models import LaunchFacts
from hilum.authorization.tokens.models import AccessToken, TokenFacts
from hilum.controls.switches import policy as controls
from hilum.controls.switches.models import ControlFacts, Mode, Switch, Target, TargetKind
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.ids import (
    AppId,
    AuthorizationId,
    ClientId,
    FamilyId,
    LaunchId,
    PersonId,
    TenantId,
    VendorId,
    VersionId,
)
from hilum.foundation.standards.fhir.requests import FhirRequest, Unsupported, parse
from hilum.foundation.standards.smart.scopes import Prefix, compile_narrowed, everything
from hilum.gateway.enforcement import policy
from hilum.gateway.enforcement.access_scope import effective_access
from hilum.gateway.enforcement.models import EffectiveAccess, GatewayRequest, Permit, Snapshot
from hilum.identity.people.models import IdentityFacts, MovedReads, TenantFacts, UpstreamKind, UpstreamRef
from hilum.identity.people.policy import role_rights
from hilum.policy.matrix.in_force import PolicyFacts
from hilum.policy.matrix.models import UNCLASSIFIED, Tier
from hilum.policy.matrix.shipped import shipped_book
from tests.sim.world import START

NOW = START + timedelta(minutes=10)
TENANT, OTHER = TenantId("general"), TenantId("clinic")
BASE = "http://127.0.0.1:8000/t/general/fhir"
BASES = (BASE + "/",)
SPECIAL = ("openid", "fhirUser", "launch", "launch/patient", "offline_access", "online_access")
EVERYTHING = (*SPECIAL, *(each for prefix in Prefix for each in everything(prefix)))

TOKEN = AccessToken(
    hash=b"h" * 32,
    tenant=TENANT,
    client=ClientId("cli_1"),
    app=AppId("app_1"),
    version=VersionId("ver_1"),
    vendor=VendorId("ven_1"),
    scopes=("launch", "patient/*.cruds"),
    issued_at=START,
    expires_at=START + timedelta(hours=1),
    person=PersonId("per_1"),
    role="physician",
    fhir_user="Practitioner/dr",
    patient="p1",
    authorization=AuthorizationId("aut_1"),
    authorization_expires_at=START + timedelta(days=1),
    family=FamilyId("fam_1"),
    launch=LaunchId("lau_1"),
)

CLIENT = ClientFacts(
    id=ClientId("cli_1"),
    app=AppId("app_1"),
    version=VersionId("ver_1"),
    vendor=VendorId("ven_1"),
    type=ClientType.PUBLIC,
    environment=Environment.PRODUCTION,
    active=True,
    expires_at=None,
    certified_scopes=EVERYTHING,
    certified_until=START + timedelta(days=100),
    origins=("https://app.example",),
    scopes=EVERYTHING,
    category=UNCLASSIFIED,
    certified_tier=Tier.HIGH,
)

INSTALLATION = InstallationFacts(
    scopes=EVERYTHING, roles=frozenset({"physician", "nurse", "patient"}), expires_at=None
)


def tenant(id_: TenantId = TENANT, **changes: Any) -> TenantFacts:
    made = TenantFacts(id_, UpstreamRef(UpstreamKind.EMBEDDED), MovedReads.REFUSE, active=True)
    return replace(made, **changes)


SNAPSHOT = Snapshot(
    epoch=7,
    identity=IdentityFacts({TENANT: tenant(), OTHER: tenant(OTHER)}),
    registry=RegistryFacts(
        {CLIENT.id: CLIENT},
        {(TENANT, CLIENT.app): INSTALLATION},
        {TENANT: frozenset({"https://app.example", "https://second.example"})},
    ),
    policies=PolicyFacts(shipped_book()),
)


def with_client(snapshot: Snapshot = SNAPSHOT, **changes: Any) -> Snapshot:
    client = replace(CLIENT, **changes)
    return replace(snapshot, registry=replace(snapshot.registry, clients={client.id: client}))


def with_installation(snapshot: Snapshot = SNAPSHOT, **changes: Any) -> Snapshot:
    made = {(TENANT, CLIENT.app): replace(INSTALLATION, **changes)}
    return replace(snapshot, registry=replace(snapshot.registry, installations=made))


def with_switch(
    target: Target, mode: Mode = Mode.FULL_STOP, snapshot: Snapshot = SNAPSHOT, **changes: Any
) -> Snapshot:
    switch = Switch("sw_1", target, mode, "because", "staff:sec", NOW - timedelta(seconds=1), **changes)
    index = controls.index([switch], [])
    return replace(snapshot, controls=ControlFacts(switches=index))


def with_tenant(snapshot: Snapshot = SNAPSHOT, **changes: Any) -> Snapshot:
    tenants = {**snapshot.identity.tenants, TENANT: tenant(**changes)}
    return replace(snapshot, identity=replace(snapshot.identity, tenants=tenants))


def ask(
    target: str = "Observation/o1",
    *,
    method: str = "GET",
    body: bytes = b"",
    tenant: TenantId = TENANT,
    headers: dict[str, str] | None = None,
) -> GatewayRequest:
    path, _, query = target.partition("?")
    given = {"content-type": "application/fhir+json"} if body else {}
    request = parse(method, path.encode(), query.encode(), {**given, **(headers or {})}, body)
    return GatewayRequest(tenant, request, BASES)


def decide(
    asked: GatewayRequest | None = None,
    token: AccessToken | Deny | None = TOKEN,
    snapshot: Snapshot | None = SNAPSHOT,
    now: datetime = NOW,
) -> Permit | Deny:
    return policy.decide(replace(asked or ask(), token=token), snapshot, now)


def reason(
    asked: GatewayRequest | None = None,
    token: AccessToken | Deny | None = TOKEN,
    snapshot: Snapshot | None = SNAPSHOT,
    now: datetime = NOW,
) -> Reason | None:
    """Why not; None for a permit."""
    decision = decide(asked, token, snapshot, now)
    return decision.reason if isinstance(decision, Deny) else None


def permit(
    asked: GatewayRequest | None = None, token: AccessToken = TOKEN, snapshot: Snapshot = SNAPSHOT
) -> Permit:
    decision = decide(asked, token, snapshot)
    assert isinstance(decision, Permit), decision
    return decision


def token(*scopes: str, **changes: Any) -> AccessToken:
    return replace(TOKEN, scopes=scopes, **changes) if scopes else replace(TOKEN, **changes)


def access_of(token: AccessToken, *allowed: tuple[str, ...]) -> EffectiveAccess:
    """What a token reaches within what each of the others still allows."""
    scopes, rights = (
        compile_narrowed(token.scopes, *allowed),
        role_rights(token.role) if token.person else None,
    )
    return effective_access(scopes, rights, token.patient, token.person_patients, token.fhir_user)


BACKEND: dict[str, Any] = {
    "person": PersonId(""),
    "role": "",
    "fhir_user": "",
    "patient": "",
    "launch": LaunchId(""),
    "authorization": AuthorizationId(""),
    "authorization_expires_at": None,
}
BACKEND_SNAPSHOT = with_client(type=ClientType.BACKEND)

PATIENT_USER: dict[str, Any] = {
    "role": "patient",
    "fhir_user": "Patient/p1",
    "person_patients": ("p1",),
    "patient": "p1",
    "launch": LaunchId(""),
}


def observation(id_: str = "o1", patient: str = "p1", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": id_,
        "status": "final",
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


def category(code: str, system: str = "http://terminology.hl7.org/CodeSystem/observation-category") -> Any:
    return [{"coding": [{"system": system, "code": code}]}]


RESTRICTED = {
    "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]
}

__all__ = [
    "ConsentFacts",
    "FhirRequest",
    "LaunchFacts",
    "TargetKind",
    "TokenFacts",
    "Unsupported",
]


def provenance(id_: str, *targets: str) -> dict[str, Any]:
    return {
        "resourceType": "Provenance",
        "id": id_,
        "target": [{"reference": target} for target in targets],
        "recorded": "2026-01-01T00:00:00Z",
        "agent": [{"who": {"reference": "Practitioner/dr"}}],
    }
