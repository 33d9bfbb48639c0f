"""A person's own account: its session, factors, and credentials."""

from dataclasses import dataclass

from hilum.foundation.kernel.errors import NotPermitted
from hilum.identity.factors.models import Held
from hilum.identity.people.models import Person
from hilum.identity.signin.models import ApiToken, Session


@dataclass(frozen=True, slots=True)
class Own:
    """The session at the browser, its person and their second factors.

    ``confirmed``: whether the factors may be changed now. ``required``: whether the person's role must have a second factor.
    """

    session: Session
    person: Person
    held: Held
    confirmed: bool
    required: bool


class NotConfirmed(NotPermitted):
    """The act needs a fresh second factor, or a fresh password where there is no factor yet."""

    def __init__(self) -> None:
        super().__init__(
            "factor_stale", "This needs a second factor that was entered within the last 15 minutes."
        )


@dataclass(frozen=True, slots=True)
class Credentials:
    """A person's present sessions and API tokens, newest first."""

    sessions: tuple[Session, ...]
    tokens: tuple[ApiToken, ...]
