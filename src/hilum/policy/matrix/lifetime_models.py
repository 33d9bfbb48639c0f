"""Lifetimes of what is issued to an app, and the expiry class of its agreements."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

DORMANT_DAYS = 180  # of a cell that states none


class Expiry(StrEnum):
    """When agreements with an app end, the shortest first (C89)."""

    ONE_TIME = "one_time"
    """Ends with the life of an access token; each launch asks again."""
    STUDY = "study"
    """As ``fixed``, and at the end of the study, which is the required end date of the hospital's installation."""
    FIXED = "fixed"
    """Ends ``authorization`` after its person agreed, however often the app is opened."""
    ROLLING = "rolling"
    """Ends ``authorization`` after the app was last opened."""

    @property
    def rank(self) -> int:
        """Return its place in the order."""
        return _RANKS[self.value]


_RANKS = {"one_time": 0, "study": 1, "fixed": 2, "rolling": 3}


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """Lifetimes of what is issued. ``refresh_token`` restarts with each refresh; ``session_refresh_token`` is that of ``online_access``.

    ``idle``: how long an agreement and what was issued under it last without a token; None: as long as its other limits. ``absolute``: how
    long tokens are refreshed after one authorization; None: as long as the agreement.
    """

    access_token: timedelta
    backend_token: timedelta
    refresh_token: timedelta
    session_refresh_token: timedelta
    authorization: timedelta
    idle: timedelta | None = None
    absolute: timedelta | None = None
    expiry: Expiry = Expiry.ROLLING


def within(one: timedelta | None, other: timedelta | None) -> timedelta | None:
    """Return the shorter of two limits; None means no limit."""
    return min((each for each in (one, other) if each is not None), default=None)


def stricter_lifetimes(one: Lifetimes, other: Lifetimes) -> Lifetimes:
    """Return the shorter lifetimes of two, field by field."""
    return Lifetimes(
        access_token=min(one.access_token, other.access_token),
        backend_token=min(one.backend_token, other.backend_token),
        refresh_token=min(one.refresh_token, other.refresh_token),
        session_refresh_token=min(one.session_refresh_token, other.session_refresh_token),
        authorization=min(one.authorization, other.authorization),
        idle=within(one.idle, other.idle),
        absolute=within(one.absolute, other.absolute),
        expiry=min(one.expiry, other.expiry, key=lambda each: each.rank),
    )
