"""Second factors and their limits."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.kernel.errors import NotPermitted
from hilum.kernel.sentences import Sentence

STEP_S = 30
CODE_DIGITS = 6
SEED_BYTES = 20
"""160 bits, as RFC 4226 section 4 recommends."""
SKEW_STEPS = 1
"""Steps before and after the present one whose code is accepted: telephones' clocks differ, and typing takes time."""
LOCKED_AFTER = 20
"""Wrong codes in a row after which an authenticator app is locked. Until then each wrong code makes the next one wait."""
OFFER_LIFE = timedelta(minutes=15)
RECOVERY_CODES = 10
CODE_BOUND = 64
"""Characters of a code that are looked at."""
FRESH_FOR = timedelta(minutes=15)
"""How long an entered second factor counts as fresh, for acts that widen what others may do."""


PASSKEYS_PER_PERSON = 10
PASSKEY_NAME_BOUND = 60
CHALLENGE_LIFE = timedelta(minutes=5)
PURGE_BATCH = 1_000
ANSWER_BOUND = 16_384
"""Characters of a browser's answer about a passkey that are looked at."""


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
    """What a challenge is for; one for making a passkey uses none, and the other way round."""

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
    """Where passkeys count: the origin of the page, the host that they are bound to, and its name. ``host`` is empty where none can be."""

    origin: str
    host: str
    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a browser answered about a passkey, as JSON. ``holder``: the session or sign-in whose page asked; ``name``: of a new passkey."""

    holder: str
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """The second factors of a person. ``locked``: too many wrong codes, so the authenticator app is no longer asked."""

    totp: bool = False
    totp_since: datetime | None = None
    locked: bool = False
    recovery_left: int = 0
    passkeys: tuple[Passkey, ...] = ()

    @property
    def any(self) -> bool:
        # Recovery codes are no factor of their own: they stand in for one that was lost.
        return self.totp or bool(self.passkeys)


@dataclass(frozen=True, slots=True)
class Totp:
    """An authenticator app of a person. ``last_step``: of the last accepted code; no code of it or before counts again."""

    person: str
    sealed: str
    created_at: datetime
    last_step: int
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """A seed to be set up in an authenticator app. ``sealed`` comes back with the first code; nothing is stored before that."""

    secret: str
    uri: str
    sealed: str


class CodeWrong(NotPermitted):
    """The code does not count: wrong, used already, or of a locked app."""

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
                "This authenticator app was locked after %(number)s wrong codes. Use a passkey or a recovery code. If the wrong codes were not yours, somebody knows your password: change it once you are in.",
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
