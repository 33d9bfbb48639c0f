"""Requests for apps, decisions on them, and wider versions."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.foundation.kernel.ids import AppId, PersonId, TenantId
from hilum.foundation.kernel.pages import Sorts
from hilum.identity.people.models import VENDOR_ROLES

REASON_BOUND = 1_000
WAITING_BOUND = 500
"""Open requests for one app at a hospital; beyond it the administrators know that the app is wanted."""
ASKED_WITHIN = timedelta(hours=24)
ASKED_BOUND = 50
"""Requests of one person within ASKED_WITHIN."""
KEPT = timedelta(days=400)
"""How long a request is kept after it was decided."""
PURGE_BATCH = 500
MAIL_WINDOW = timedelta(hours=1)
"""What began to wait within such a window is one mail to each who decides."""
MAILED_BACK = timedelta(days=1)
"""What has waited for longer is in no mail: the jobs process was down for as long."""
APPS_MAILED = 5
"""Apps that one mail names."""
MAILED_BATCH = 100
"""Hospitals that one transaction mails."""
REQUEST_SORTS = Sorts({"since": "id"})
"""The orders of requests, whose ids are in the order in which they were made."""


class State(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"
    """By the person who asked."""


@dataclass(frozen=True, slots=True)
class AskOrder:
    """A request to make. Without ``scopes`` and ``workflows`` it is for all that the app may have; without ``tenant`` at one's own."""

    tenant: TenantId | None
    app: AppId
    roles: frozenset[str]
    reason: str
    scopes: tuple[str, ...] = ()
    workflows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppRequest:
    """One person's request for an app at a hospital, and how it ended.

    ``role``: that of the person. ``roles`` and ``scopes``: who should have the app, and what it should have, workflows expanded, without
    launch and identity scopes. ``decided_by``: an actor. ``answer``: the reason of the decision; the person who asked sees it.
    """

    id: str
    tenant: TenantId
    app: AppId
    person: PersonId
    role: str
    roles: frozenset[str]
    scopes: tuple[str, ...]
    workflows: tuple[str, ...]
    reason: str
    asked_at: datetime
    state: State = State.OPEN
    decided_by: str = ""
    decided_at: datetime | None = None
    answer: str = ""
    installation: str = ""

    @property
    def from_vendor(self) -> bool:
        """Return whether a vendor's member made the request, not somebody of the hospital."""
        return self.role in VENDOR_ROLES


@dataclass(frozen=True, slots=True)
class ApproveOrder:
    """An approval of a request. ``roles`` and ``scopes`` None: those that it asks for.

    ``anyway``: also without what the app says that it needs.
    """

    request: str
    reason: str = ""
    roles: frozenset[str] | None = None
    scopes: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    anyway: bool = False


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many requests wait, and since when the oldest does."""

    count: int = 0
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A workflow that an app may do at a hospital, by which it can be asked for."""

    name: str
    title: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Requestable:
    """An app that a hospital could install. ``asked``: the reader has an open request for it."""

    app: AppId
    name: str
    vendor: str
    purpose: str
    tasks: tuple[Task, ...]
    installed: bool
    asked: bool


# --- wider versions ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewScope:
    """A scope that a newer version is certified for and the installation does not have, in words."""

    scope: str
    words: str
    writes: bool


@dataclass(frozen=True, slots=True)
class NewWork:
    """The new scopes of one workflow. ``is_new``: no earlier version declares it. Empty ``name``: scopes that no declared workflow needs."""

    name: str
    title: str
    purpose: str
    is_new: bool
    scopes: tuple[NewScope, ...]


@dataclass(frozen=True, slots=True)
class WiderVersion:
    """The scopes that the newest certified versions have more than an installation, and than what was certified when it was approved.

    ``version`` is empty if there are none. ``digest`` identifies the difference that was seen. ``withheld``: certified, and not allowed by
    the policy here. ``revives``: accepting all of it ends what was issued before, since it gives back what was narrowed away.
    """

    installation: str
    app: AppId
    version: str
    label: str
    digest: str
    scopes: tuple[str, ...]
    work: tuple[NewWork, ...]
    withheld: tuple[str, ...]
    revives: bool


@dataclass(frozen=True, slots=True)
class AcceptOrder:
    """An order to accept a wider version: all of it (``scopes`` None), or a part. ``digest`` is that of the difference that was seen."""

    installation: str
    digest: str
    scopes: tuple[str, ...] | None = None
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What was accepted and left out of a version, and the installation's scopes and roles after it."""

    installation: str
    app: AppId
    version: str
    accepted: tuple[str, ...]
    left_out: tuple[str, ...]
    scopes: tuple[str, ...]
    roles: frozenset[str]
