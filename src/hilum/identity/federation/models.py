"""Identity providers of hospitals, what they state about a person, and why that is not accepted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.foundation.kernel.errors import NotPermitted, Unavailable
from hilum.foundation.kernel.ids import PersonId, SessionId, TenantId

PROVIDERS_BOUND = 4
"""Identity providers of a hospital, such as one for staff and one for patients."""
HOSTS_BOUND = 1_000
ROWS_BOUND = 100
"""The most rows of a provider's role table."""
VALUES_BOUND = 500
"""How many values of the role claim are read; some providers list every group of a person."""
SCOPES_BOUND = 20
CLAIM_BOUND = 100
VALUE_BOUND = 200
SECRET_BOUND = 8_000
SUBJECT_BOUND = 255
"""OpenID Connect Core 1.0 section 2: a subject has at most 255 ASCII characters."""
THEN_BOUND = 600
CODE_BOUND = 4_000
SIGN_IN_LIFE = timedelta(minutes=10)
"""How long a person may take at the provider."""
SKEW = timedelta(seconds=60)
"""How far a provider's clock may differ from ours."""
ISSUED_WITHIN = timedelta(minutes=10)
"""How old an id_token may be when it is received, which is right after it was issued."""
SESSION_LIFE_MIN = timedelta(minutes=5)
SESSION_LIFE_MAX = timedelta(hours=12)
MAX_AGE_BOUND = timedelta(days=1)
LOGOUT_TOKEN_LIFE = timedelta(minutes=10)
ENDED_KEPT = SIGN_IN_LIFE + SKEW
"""How long a logout token is kept for a sign-in that it may have overtaken."""
SESSIONS_KEPT = timedelta(days=2)
PURGE_BATCH = 1_000
TOKEN_BOUND = 32 * 1024
SEALING = "federation-secret"
"""The purpose of the key that seals clients' secrets."""
ENDED_BOUND = 1_000
"""The most sessions that are ended in one statement."""


class ClientAuth(StrEnum):
    """How this platform authenticates at the provider's token endpoint, by the names of RFC 8414."""

    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    KEY = "private_key_jwt"
    """By a private JWK on one line, which is stored in place of the secret."""


class LinkBy(StrEnum):
    """The claim, if any, by which a subject that is not linked yet is matched with an existing account."""

    NOTHING = "nothing"
    USERNAME = "username"
    FHIR_USER = "fhir_user"


class Passwords(StrEnum):
    """Which people of a hospital may also sign in with a password of this platform."""

    EVERYONE = "everyone"
    ADMINISTRATORS = "administrators"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class RoleRow:
    """A value of the role claim, and the role that it gives here."""

    value: str
    role: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How a provider is reached and what its claims mean here.

    ``roles``: the only roles that may sign in through it, whatever the table says. ``adds_people``: an unknown person gets an account at the
    first sign-in. ``acr_values``: if not empty, the provider must state one of them. ``factor_amr`` and ``factor_acr``: values that prove a
    second factor. ``max_age_s``: how old the sign-in at the provider may be; 0 for any age.
    """

    name: str
    issuer: str
    client_id: str
    client_auth: ClientAuth = ClientAuth.BASIC
    algorithm: str = "RS256"
    scopes: tuple[str, ...] = ("openid", "profile")
    subject_claim: str = "sub"
    username_claim: str = "preferred_username"
    name_claim: str = "name"
    fhir_user_claim: str = ""
    role_claim: str = "roles"
    userinfo: bool = False
    """Whether names, roles and ``fhirUser`` that the id_token lacks are read from the UserInfo endpoint."""
    role_table: tuple[RoleRow, ...] = ()
    roles: tuple[str, ...] = ()
    adds_people: bool = False
    link_by: LinkBy = LinkBy.NOTHING
    passwords: Passwords = Passwords.EVERYONE
    acr_values: tuple[str, ...] = ()
    factor_amr: tuple[str, ...] = ()
    factor_acr: tuple[str, ...] = ()
    max_age_s: int = 0
    session_life_s: int = int(SESSION_LIFE_MAX.total_seconds())
    active: bool = True


@dataclass(frozen=True, slots=True)
class Provider:
    """An identity provider of a hospital. ``secret_sealed`` is opened by this room only; ``number`` counts its changes."""

    id: str
    tenant: TenantId
    settings: Settings
    secret_sealed: str
    number: int
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True, slots=True)
class Host:
    """An origin that may serve identity providers."""

    id: str
    origin: str
    added_at: datetime
    added_by: str


@dataclass(frozen=True, slots=True)
class LinkedPerson:
    """The account of an issuer's subject at a hospital."""

    id: str
    tenant: TenantId
    issuer: str
    subject: str
    person: PersonId
    linked_at: datetime
    linked_by: str
    seen_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of a provider that are used. Every URL is on an allowed host."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str = ""
    userinfo_endpoint: str = ""
    sends_iss: bool = False
    """It sends ``iss`` with each authentication response (RFC 9207), so one without it is refused."""


@dataclass(frozen=True, slots=True)
class BegunSignIn:
    """What is sealed into ``state`` when a browser leaves for a provider. ``fresh``: the person must sign in there again."""

    provider: str
    number: int
    nonce: str
    then: str
    left_at: datetime
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """What a provider stated about a person in an id_token that was accepted."""

    issuer: str
    subject: str
    claims: Mapping[str, object]
    authenticated_at: datetime | None = None
    sid: str = ""
    has_factor: bool = False
    ends_at: datetime | None = None
    """When the provider's own session ends, if it states that."""
    sub: str = ""
    """The ``sub`` of the id_token, which logout tokens contain, whichever claim is the subject here."""


@dataclass(frozen=True, slots=True)
class Logout:
    """The sessions that a provider ended: of a ``sub``, of one ``sid``, or of both."""

    subject: str
    sid: str
    jti: str
    issued_at: datetime


@dataclass(frozen=True, slots=True)
class FederatedSession:
    """A session here that a provider began. ``hint_sealed`` is the sealed id_token, the hint at sign-out."""

    session: SessionId
    provider: str
    issuer: str
    subject: str
    sid: str
    hint_sealed: str
    expires_at: datetime
    sub: str
    """The ``sub`` of its id_token, by which logout tokens refer to it."""


class Fault(StrEnum):
    """Why nobody was signed in, in the order of the checks. The sentences are in ``policy.SENTENCES``."""

    STATE_MALFORMED = "state_malformed"
    STATE_OF_ANOTHER_BROWSER = "state_of_another_browser"
    STATE_EXPIRED = "state_expired"
    PROVIDER_CHANGED = "provider_changed"
    STATE_USED = "state_used"
    ISSUER_MIXED_UP = "issuer_mixed_up"
    ISSUER_NOT_STATED = "issuer_not_stated"
    DECLINED = "declined"
    PROVIDER_REFUSED = "provider_refused"
    CODE_MISSING = "code_missing"
    HOST_NOT_ALLOWED = "host_not_allowed"
    PROVIDER_UNREACHABLE = "provider_unreachable"
    METADATA_WRONG = "metadata_wrong"
    CLIENT_REFUSED = "client_refused"
    CODE_REFUSED = "code_refused"
    ANSWER_MALFORMED = "answer_malformed"
    TOKEN_MISSING = "token_missing"
    TOKEN_MALFORMED = "token_malformed"
    ALGORITHM_NOT_ALLOWED = "algorithm_not_allowed"
    HEADER_NOT_ALLOWED = "header_not_allowed"
    KEYS_UNREADABLE = "keys_unreadable"
    KEY_UNKNOWN = "key_unknown"
    SIGNATURE_WRONG = "signature_wrong"
    ISSUER_WRONG = "issuer_wrong"
    AUDIENCE_WRONG = "audience_wrong"
    PARTY_WRONG = "party_wrong"
    EXPIRED = "expired"
    ISSUED_WRONG = "issued_wrong"
    NOT_YET_VALID = "not_yet_valid"
    NONCE_WRONG = "nonce_wrong"
    SIGN_IN_TIME_MISSING = "sign_in_time_missing"
    SIGN_IN_TOO_OLD = "sign_in_too_old"
    ASSURANCE_TOO_LOW = "assurance_too_low"
    SUBJECT_MISSING = "subject_missing"
    SESSION_OVER = "session_over"
    USERINFO_MISSING = "userinfo_missing"
    USERINFO_OF_ANOTHER = "userinfo_of_another"
    ROLE_MISSING = "role_missing"
    PERSON_UNKNOWN = "person_unknown"
    PERSON_INACTIVE = "person_inactive"
    ROLE_LOST = "role_lost"
    ROLES_NOT_STATED = "roles_not_stated"
    FACTOR_MISSING = "factor_missing"
    LINKED_ALREADY = "linked_already"
    USERNAME_UNUSABLE = "username_unusable"
    USERNAME_TAKEN = "username_taken"
    FHIR_USER_UNUSABLE = "fhir_user_unusable"
    NEEDS_ADMINISTRATOR = "needs_administrator"


class Refusal(NotPermitted):
    """A sign-in through a provider, or its logout token, was refused. ``subject`` is shown to the person alone.

    ``recorded``: the verb that refused has recorded it.
    """

    def __init__(self, fault: Fault, detail: str, *, subject: str = "", recorded: bool = False) -> None:
        super().__init__(f"federation_{fault}", detail)
        self.fault = fault
        self.subject = subject
        self.recorded = recorded


class Unreached(Unavailable):
    """A provider did not answer, or not as it should."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(f"federation_{fault}", detail)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Finding:
    """One check of a trial: whether it passed, and otherwise what to do."""

    check: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a trial of a provider."""

    findings: tuple[Finding, ...] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(each.ok for each in self.findings)
