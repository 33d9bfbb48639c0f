"""Opaque access and refresh tokens."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hilum.kernel.ids import (
    AppId,
    AuthorizationId,
    ClientId,
    FamilyId,
    LaunchId,
    Part,
    PersonId,
    TenantId,
    VendorId,
    VersionId,
)

TOKENS = Part("tokens")
"""The part of the facts that holds revocations; its keys are ``token/<hash in hex>`` and ``family/<id>``."""
ACCESS_PREFIX = "hil_at_"
REFRESH_PREFIX = "hil_rt_"
USER_TOKEN_LIFE = timedelta(hours=1)
BACKEND_TOKEN_LIFE = timedelta(seconds=300)
REFRESH_LIFE = timedelta(days=180)
"""Longer than the 3 months that regulation asks of patient apps; each refresh starts it anew."""
ONLINE_REFRESH_LIFE = timedelta(hours=12)
TABLE_BOUND = 200_000
"""Positive facts a worker keeps; the least recently used go first."""
NEGATIVE_WINDOW = USER_TOKEN_LIFE + timedelta(minutes=5)
"""How long a revocation must be remembered by the snapshot: no access token outlives it."""
SECRET_LENGTH = 43
MAC_LENGTH = 8
USED_REFRESH_KEPT = timedelta(days=7)
"""How long a refresh token that was used, and a family that was revoked, is remembered unless a setting says otherwise."""
PURGE_BATCH = 1_000
JTI_BOUND = 512
"""Longest ``jti`` that is looked at; a client has no reason for a longer one."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """The facts of an access token, fixed when it was minted. Whether it still counts is judged on every use.

    ``person`` is empty for a backend service. ``patient`` is the launch context, empty without one.
    ``person_patients``: for a person whose role reaches own charts only, those charts; None when the role reaches the tenant's.
    ``launch_moved``: the chart had already moved when it was minted by refresh.
    """

    hash: bytes
    tenant: TenantId
    client: ClientId
    app: AppId
    version: VersionId
    vendor: VendorId
    scopes: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    person: PersonId = PersonId("")
    role: str = ""
    fhir_user: str = ""
    person_patients: tuple[str, ...] | None = None
    patient: str = ""
    encounter: str = ""
    authorization: AuthorizationId = AuthorizationId("")
    authorization_expires_at: datetime | None = None
    family: FamilyId = FamilyId("")
    launch: LaunchId = LaunchId("")
    launch_moved: bool = False
    run: str = ""
    session: str = ""
    proof_key: str = ""
    """Thumbprint of the key that the token is bound to; empty for a bearer token, as all are today."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Everything that ``mint`` puts behind the tokens of one grant: an AccessToken without times and hash."""

    tenant: TenantId
    client: ClientId
    app: AppId
    version: VersionId
    vendor: VendorId
    scopes: tuple[str, ...]
    person: PersonId = PersonId("")
    role: str = ""
    fhir_user: str = ""
    person_patients: tuple[str, ...] | None = None
    patient: str = ""
    encounter: str = ""
    authorization: AuthorizationId = AuthorizationId("")
    authorization_expires_at: datetime | None = None
    launch: LaunchId = LaunchId("")
    launch_moved: bool = False
    session: str = ""
    """The EHR or browser session that ``online_access`` ends with."""
    nonce: str = ""
    extras: dict[str, object] = field(default_factory=dict)
    """Launch parameters that are repeated in token responses (need_patient_banner, intent, fhirContext)."""
    run: str = ""


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token as stored. ``scopes`` is the most a refresh may ask for."""

    hash: bytes
    family: FamilyId
    grant: Grant
    issued_at: datetime
    expires_at: datetime
    offline: bool
    used_at: datetime | None = None
    family_revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Minted:
    """What was just issued; the secrets exist only here. ``expires_in_s`` counts from issue."""

    access_token: str
    expires_in_s: int
    scopes: tuple[str, ...]
    refresh_token: str = ""


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """The negative list: what was revoked within the life of an access token."""

    revoked_tokens: AbstractSet[bytes] = frozenset()
    revoked_families: AbstractSet[FamilyId] = frozenset()
    ended_sessions: AbstractSet[str] = frozenset()
    """Of another part (``signin.facts``); the snapshot puts them here."""
