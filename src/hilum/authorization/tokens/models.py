"""Opaque access and refresh tokens, their families, and their bounds."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hilum.foundation.kernel.ids import (
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
from hilum.policy.matrix.models import ACCESS_TOKEN_BOUND

TOKENS = Part("tokens")
"""The part of the facts with revocations. Its keys are ``token/<hash in hex>`` and ``family/<id>``."""
ACCESS_PREFIX = "hil_at_"
REFRESH_PREFIX = "hil_rt_"
TABLE_BOUND = 200_000
"""How many tokens a worker caches; the least recently used are evicted first."""
NEGATIVE_WINDOW = ACCESS_TOKEN_BOUND + timedelta(minutes=5)
"""How long the snapshot keeps a revocation: longer than any policy lets an access token live (C47)."""
# 32 random bytes in base64url without padding.
SECRET_LENGTH = 43
MAC_LENGTH = 8
USED_REFRESH_KEPT = timedelta(days=7)
"""How long used refresh tokens and revoked families are stored, unless configured otherwise."""
PURGE_BATCH = 1_000
FAMILIES_BOUND = 20
"""How many families of one authorization are listed."""
REPEAT_WITHIN = timedelta(seconds=10)
"""How long a request whose answer may have been lost gets the same answer again (ADR 163)."""
REPEAT_PAUSE = timedelta(days=1)
"""How long after a repeat no other token of a public client's family may be repeated: a thief who refreshes beside the owner is then found out."""
JTI_BOUND = 512
"""The longest ``jti`` that is accepted, in characters."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """The facts of an access token, fixed when it was issued. Whether it is still valid is decided on every use.

    ``person`` is empty for a backend service. ``patient`` is the launch context, empty without one.
    ``person_patients``: the charts of a person whose role may open only those; None if it may open any chart of the tenant.
    ``launch_moved``: the launch had already moved to another chart when the token was issued by a refresh.
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
    workflow: str = ""
    facility: str = ""
    run: str = ""
    session: str = ""
    proof_key: str = ""
    """Thumbprint of the key that the token is bound to; empty for a bearer token, as all tokens are today."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What ``mint`` stores with the tokens of one grant, besides their hashes, families and times."""

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
    workflow: str = ""
    facility: str = ""
    session: str = ""
    """The EHR or browser session that ``online_access`` ends with."""
    nonce: str = ""
    extras: dict[str, object] = field(default_factory=dict)
    """Launch parameters that are repeated in token responses (need_patient_banner, intent, fhirContext)."""
    run: str = ""


@dataclass(frozen=True, slots=True)
class IssuedTokens:
    """Newly issued tokens; their secrets are stored nowhere else. ``expires_in_s`` counts from issue."""

    access_token: str
    expires_in_s: int
    scopes: tuple[str, ...]
    refresh_token: str = ""


@dataclass(frozen=True, slots=True)
class Exchange:
    """An exchange of a code or refresh token. ``cause`` is the digest of its request (``policy.cause_of``), from which its tokens follow.

    ``authenticated``: the client presented a secret or a key of its own, as a public client cannot.
    """

    client: ClientId
    tenant: TenantId
    cause: bytes
    authenticated: bool


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token as stored. The scopes of ``grant`` are the most that a refresh may request."""

    hash: bytes
    family: FamilyId
    grant: Grant
    issued_at: datetime
    expires_at: datetime
    offline: bool
    used_at: datetime | None = None
    family_revoked_at: datetime | None = None
    family_started_at: datetime | None = None
    """When the family's first token was issued. ``find_refresh`` sets it, ``use_refresh`` does not."""
    answer: IssuedTokens | None = None
    """What its use was answered with, if ``redeem_refresh`` permits this request to repeat it."""


@dataclass(frozen=True, slots=True)
class TokenFamily:
    """A family with a refresh token that can be redeemed. ``minted_at``: when the family's last token was issued."""

    id: FamilyId
    authorization: AuthorizationId
    offline: bool
    started_at: datetime
    minted_at: datetime
    expires_at: datetime
    """When that refresh token expires."""


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """Revocations within the life of an access token."""

    revoked_tokens: AbstractSet[bytes] = frozenset()
    revoked_families: AbstractSet[FamilyId] = frozenset()
    ended_sessions: AbstractSet[str] = frozenset()
    """The snapshot adds them from ``signin.facts``."""


@dataclass(frozen=True, slots=True)
class OpenTokens:
    """How many access tokens are in force at a tenant, and how many people an app acted for in the last hour."""

    tenant: TenantId
    tokens: int
    people: int
