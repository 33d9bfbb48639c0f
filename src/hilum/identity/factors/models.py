"""Second factors and their limits."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.sentences import Sentence

STEP_S = 30
CODE_DIGITS = 6
SEED_BYTES = 20
"""160 bits, as RFC 4226 section 4 recommends."""
SKEW_STEPS = 1
"""How many steps before and after the present one are accepted, because clocks differ and typing takes time."""
LOCKED_AFTER = 20
"""Wrong codes in a row after which an authenticator app is locked. Before that, attempts are slowed down."""
OFFER_LIFE = timedelta(minutes=15)
RECOVERY_CODES = 10
CODE_BOUND = 64
"""The most characters of a code."""
FRESH_FOR = timedelta(minutes=15)
"""How long an entered second factor counts as fresh, for acts that widen what others may do."""


PASSKEYS_PER_PERSON = 10
PASSKEY_NAME_BOUND = 60
CHALLENGE_LIFE = timedelta(minutes=5)
PURGE_BATCH = 1_000
ANSWER_BOUND = 16_384
"""The most characters of a browser's response about a passkey."""


class FactorKind(StrEnum):
    TOTP = "totp"
    PASSKEY = "passkey"
    RECOVERY = "recovery"


class Step(StrEnum):
    """What is missing before a person whose password matched is signed in."""

    NONE = "none"
    FACTOR = "factor"
    """One of the second factors that the person has."""
    ENROL = "enrol"
    """The person must set a second factor up first."""


class Ceremony(StrEnum):
    """What a challenge is for. A challenge to create a passkey is not accepted for using one, nor the reverse."""

    CREATE = "create"
    GET = "get"


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey of a person. ``credential`` and ``public_key`` are base64url.

    ``sign_count`` counts its uses, as far as its authenticator counts at all.
    """

    credential: str
    person: str
    public_key: str
    sign_count: int
    name: str
    created_at: datetime
    last_used_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """The relying party of passkeys: the page's origin, its host (the RP id), and its name. ``host`` is empty if there can be no passkeys."""

    origin: str
    host: str
    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A browser's response about a passkey, as JSON. ``holder``: the session or pending sign-in of the page; ``name``: that of a new passkey."""

    holder: str
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """The second factors of a person. ``locked``: the authenticator app had too many wrong codes, so its codes are refused."""

    totp: bool = False
    totp_since: datetime | None = None
    locked: bool = False
    recovery_left: int = 0
    passkeys: tuple[Passkey, ...] = ()

    @property
    def any(self) -> bool:
        # Recovery codes are no factor by themselves: they replace one that was lost.
        return self.totp or bool(self.passkeys)


@dataclass(frozen=True, slots=True)
class Totp:
    """An authenticator app of a person. ``last_step``: the step of the last accepted code; only later ones are accepted."""

    person: str
    sealed: str
    created_at: datetime
    last_step: int
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """A seed for an authenticator app. The page sends ``sealed`` back with the first code; nothing is stored before that."""

    secret: str
    uri: str
    sealed: str


class CodeWrong(NotPermitted):
    """The code is wrong or was used already."""

    def __init__(self, detail: str = "") -> None:
        super().__init__(
            "code_wrong",
            detail
            or Sentence(
                "This code is wrong, or was used already. Wait for the next one in your authenticator app, or use a recovery code."
            ),
        )


class AppLocked(NotPermitted):
    """The authenticator app was locked by wrong codes."""

    def __init__(self) -> None:
        super().__init__(
            "authenticator_locked",
            Sentence(
                "This authenticator app was locked after %(number)s wrong codes. Use a passkey or a recovery code. If you did not enter them, somebody knows your password: change it once you are signed in.",
                number=LOCKED_AFTER,
            ),
        )


class PasskeyRefused(NotPermitted):
    """A passkey was not accepted; ``reason`` is for the record."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(
            "passkey_refused",
            detail
            or Sentence(
                "This passkey was not accepted. Try again, or use another way to confirm that it is you."
            ),
        )
        self.reason = reason
