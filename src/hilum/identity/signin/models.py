"""Sessions, attempts and API tokens, and their limits."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import Part, PersonId, SessionId, TenantId
from hilum.foundation.kernel.sentences import Sentence
from hilum.identity.factors.models import Step
from hilum.identity.people.policy import is_vendor

COOKIE_PREFIX = "hil_ss_"
STEP_PREFIX = "hil_st_"
API_TOKEN_PREFIX = "hil_pat_"

SESSIONS = Part("sessions")
"""The part of the facts with ended sessions; its keys are session ids."""
NEGATIVE_WINDOW = timedelta(minutes=65)
"""How long the gateway must remember an ended session: longer than any access token lives."""
SESSION_LIFE = timedelta(hours=12)
SESSION_IDLE = timedelta(minutes=30)
"""A browser's session unused for this long requires the password again. Shorter for roles with power."""
POWER_LIFE, POWER_IDLE = timedelta(hours=8), timedelta(minutes=15)
TOKEN_USE_NOTED_EVERY = timedelta(hours=6)
"""How often a worker records the use of an API token at most."""
TOKENS_NOTED = 10_000
"""For how many API tokens a worker remembers that it recorded their use."""
DORMANT_POWER, DORMANT = timedelta(days=90), timedelta(days=180)
"""How long a password may stay unused before it is closed, for roles with power and for clinicians."""
TOUCH_EVERY = timedelta(minutes=1)
SESSIONS_PER_PERSON = 50
"""Beyond it the oldest sessions end, so that a person can always sign in."""
SESSIONS_KEPT = timedelta(days=2)
STEP_LIFE = timedelta(minutes=10)
"""How long after the password the second factor may be entered, or set up."""
STEPS_PER_PERSON = 5
"""Sign-ins of one person that wait for a second factor. Beyond it the oldest end; no session does."""
PURGE_BATCH = 1_000

# An upper bound too, because unauthenticated callers choose what is hashed.
PASSWORD_MIN, PASSWORD_MAX = 8, 256
# Each hash takes 19 MiB and a core for some tens of milliseconds, so a flood of sign-ins takes no more than two of each.
HASHING_THREADS = 2
HASHING_QUEUE_BOUND = 64
HASHING_QUEUE_SHARE = 8
"""How many passwords of one network may wait for a thread, so that nobody keeps everybody else from signing in."""

ATTEMPTS_FREE = 5
"""Failures of one name from one address before it must wait."""
DELAY_FIRST = timedelta(seconds=1)
DELAY_MAX = timedelta(minutes=15)
# Longer than DELAY_MAX, so that failures still count after the longest wait.
ATTEMPTS_FORGOTTEN = timedelta(hours=1)

API_TOKEN_LIFE = timedelta(days=30)
API_TOKEN_LIFE_MAX = timedelta(days=90)
API_TOKENS_PER_PERSON = 20
API_TOKEN_NAME_BOUND = 100


class Method(StrEnum):
    """The way in which a person was authenticated."""

    PASSWORD = "password"
    EHR = "ehr"
    """The tenant's EHR opened the browser and vouches for the person."""
    FEDERATED = "federated"
    """The tenant's identity provider states who the person is."""


STAFF, VENDOR = Sentence("Platform staff"), Sentence("Vendor account")


@dataclass(frozen=True, slots=True)
class Place:
    """Where an account is: at a hospital, at a vendor, or (``tenant`` None) on the platform's staff. ``key`` is what URLs are built from."""

    tenant: TenantId | None
    name: str

    @property
    def key(self) -> str:
        return self.tenant or ""

    @property
    def at_hospital(self) -> bool:
        return self.tenant is not None and not is_vendor(self.tenant)


@dataclass(frozen=True, slots=True)
class Limits:
    """When sessions of a role end: after ``idle`` without use, after ``life`` in any case, and on another network if ``bound``.

    ``dormant``: how long a password may stay unused before it is closed; None for ever.
    """

    idle: timedelta
    life: timedelta
    bound: bool
    dormant: timedelta | None


class Moved(StrEnum):
    """Why a session is not accepted for a request with its cookie."""

    NETWORK = "other_network"
    BROWSER = "other_browser"


@dataclass(frozen=True, slots=True)
class Session:
    """A person's session at a browser. ``csrf`` is derived from the cookie, and empty if the session was not read by its cookie."""

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
    factor_at: datetime | None = None
    """When a second factor was last entered in this session; None for never."""
    authenticated_at: datetime | None = None
    """When the person was authenticated, if an identity provider did that earlier."""
    network: str = ""
    browser: str = ""
    """The network and the browser family with which the session began; empty if unknown."""
    confirmed: bool = True
    """Whether acts that widen what others may do are permitted in it now; judged when the session is read by its cookie."""

    @property
    def signed_in_at(self) -> datetime:
        """When the person was authenticated: ``auth_time``. Source: OpenID Connect Core 1.0 section 2."""
        return self.authenticated_at or self.created_at


@dataclass(frozen=True, slots=True)
class Pending:
    """A sign-in whose password matched and that waits for ``step``. It gives access only to the pages of that step.

    ``csrf`` is derived from its cookie.
    """

    digest: str
    person: PersonId
    tenant: TenantId | None
    step: Step
    created_at: datetime
    expires_at: datetime
    csrf: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A sign-in attempt that was admitted. ``digest`` is the stored password hash, None for an unknown or inactive person.

    ``recorded``: whether a failure gets an audit record of its own; False if its address had so many lately that they are only counted.
    """

    key: str
    tenant: TenantId | None
    person: PersonId | None
    digest: str | None
    recorded: bool = True


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
    factor_at: datetime | None = None
    """When its person last entered a second factor for it, at first at its creation; None for never."""
    last_used_at: datetime | None = None
    """When it was last used, exact to TOKEN_USE_NOTED_EVERY; None if no use was recorded."""


@dataclass(frozen=True, slots=True)
class Barred:
    """The refusal of a call with a valid API token: its actor, the error to return, and the reason to record."""

    actor: Actor
    refusal: NotPermitted
    reason: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A button of the sign-in page for an identity provider. ``address`` is a path."""

    name: str
    address: str


class SlowDown(NotPermitted):
    """Too many failures of this username from this address; ``retry_after_s`` is how long to wait."""

    def __init__(self, retry_after_s: int) -> None:
        detail = Sentence.counted(
            "Too many attempts. Try again in %(number)s second.",
            "Too many attempts. Try again in %(number)s seconds.",
            retry_after_s,
        )
        super().__init__("too_many_attempts", detail)
        self.retry_after_s = retry_after_s


class Stopped(NotPermitted):
    """The person is authenticated, but stopped by a kill switch."""

    def __init__(self) -> None:
        super().__init__(
            "switch_engaged",
            Sentence(
                "This account is stopped by a kill switch. Ask your administrator when it will work again."
            ),
        )


class PasswordsOff(NotPermitted):
    """The password matched, but the person's hospital requires sign-in through its identity provider."""

    def __init__(self) -> None:
        super().__init__(
            "passwords_off",
            Sentence(
                "Your hospital has you sign in through its own identity provider. Use its button on the sign-in page; if there is none, ask an administrator of your hospital."
            ),
        )


class Dormant(NotPermitted):
    """The password matched, but was unused for so long that an administrator must open the account again."""

    def __init__(self) -> None:
        super().__init__(
            "account_dormant",
            Sentence(
                "This account was not used for a long time, so it was closed. Ask an administrator for a new link; with it you set a new password."
            ),
        )


class NotAuthenticated(NotPermitted):
    """The request has no valid credential."""


class StepOver(NotAuthenticated):
    """The sign-in that waited for a second factor has expired or was finished."""

    def __init__(self) -> None:
        super().__init__("step_over", Sentence("This sign-in was finished, or took too long. Sign in again."))


class FactorRequired(NotPermitted):
    """The password matched, but a second factor is missing. Code ``factor_missing``: the person must set one up first."""

    def __init__(self, step: Step) -> None:
        if step is Step.ENROL:
            detail = "Your role needs a second factor. Sign in at the platform's page to set one up, then try again with its code."
            super().__init__("factor_missing", detail)
        else:
            detail = "Send the code that your authenticator app shows, or a recovery code, as `code`. With a passkey only, create the token on the page of your account."
            super().__init__("factor_required", detail)


class TokenInvalid(NotAuthenticated):
    """The API token is missing, unknown, expired or revoked. The answer is the same for each, so that a guess reveals nothing."""

    def __init__(
        self,
        detail: str = "The API token is missing, unknown, expired or revoked. Send a valid one as `Authorization: Bearer`.",
    ) -> None:
        super().__init__("token_invalid", detail)


class TokenWithoutFactor(TokenInvalid):
    """The API token is valid, but was created without the second factor that its person's role must have."""

    def __init__(self) -> None:
        super().__init__(
            "This API token was made without a second factor, and your role needs one. Sign in at the platform's page, where you set one up if you have none, then make a new token with its code (`hilum login`)."
        )
