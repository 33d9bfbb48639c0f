"""Sessions, attempts and API tokens, and their limits."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.kernel.actor import Actor
from hilum.kernel.errors import NotPermitted
from hilum.kernel.ids import Part, PersonId, SessionId, TenantId

COOKIE_PREFIX = "hil_ss_"
API_TOKEN_PREFIX = "hil_pat_"

SESSIONS = Part("sessions")
"""The part of the facts that holds the sessions that were ended; its keys are their ids."""
NEGATIVE_WINDOW = timedelta(minutes=65)
"""How long the end of a session must be known to the gateway: no access token outlives it."""
SESSION_LIFE = timedelta(hours=12)
SESSION_IDLE = timedelta(minutes=30)
"""Unused this long, a browser's session asks for the password again."""
TOUCH_EVERY = timedelta(minutes=1)
SESSIONS_PER_PERSON = 50
SESSIONS_KEPT = timedelta(days=2)
PURGE_BATCH = 1_000

PASSWORD_MIN, PASSWORD_MAX = 8, 256
HASHING_THREADS = 2
HASHING_QUEUE_BOUND = 64

ATTEMPTS_FREE = 5
"""Failures of one name from one address before it must wait."""
DELAY_FIRST = timedelta(seconds=1)
DELAY_MAX = timedelta(minutes=15)
ATTEMPTS_FORGOTTEN = timedelta(hours=1)

API_TOKEN_LIFE = timedelta(days=30)
API_TOKEN_LIFE_MAX = timedelta(days=90)
API_TOKENS_PER_PERSON = 20
API_TOKEN_NAME_BOUND = 100


class Method(StrEnum):
    """How somebody came to be signed in."""

    PASSWORD = "password"
    EHR = "ehr"
    """The tenant's EHR vouches for the person it opened the browser for."""


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody signed in at a browser. ``csrf`` derives from the cookie and is empty where the cookie is not at hand."""

    id: SessionId
    person: PersonId
    tenant: TenantId | None
    role: str
    method: Method
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    csrf: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in that was let begin. ``digest`` is the stored password hash, None for an unknown or inactive person.

    ``loud``: its address has not been refused so often lately that one more record says nothing.
    """

    key: str
    tenant: TenantId | None
    person: PersonId | None
    digest: str | None
    loud: bool = True


@dataclass(frozen=True, slots=True)
class ApiToken:
    """An API token without its secret."""

    id: str
    person: PersonId
    name: str
    roles: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Barred:
    """Somebody with an API token in force who may not make this call: the refusal, and its reason for the record."""

    actor: Actor
    refusal: NotPermitted
    reason: str


class SlowDown(NotPermitted):
    """Too many failures of this name from this address; ``retry_after_s`` says when to come again."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__("too_many_attempts", f"Too many attempts. Try again in {retry_after_s} seconds.")
        self.retry_after_s = retry_after_s


class Stopped(NotPermitted):
    """The right person, whom a kill switch stops."""

    def __init__(self) -> None:
        super().__init__(
            "switch_engaged",
            "This account is stopped by a kill switch. Ask your administrator when it will work again.",
        )


class NotAuthenticated(NotPermitted):
    """Nobody is known behind the request: no credential, or none that counts."""


class TokenInvalid(NotAuthenticated):
    """An API token that does not count; the same whether it is missing, unknown, expired or revoked."""

    def __init__(self) -> None:
        super().__init__(
            "token_invalid",
            "The API token is missing, unknown, expired or revoked. Send one in force as `Authorization: Bearer`.",
        )
