"""Authorizations: who agreed to which scopes for which client."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.kernel.decision import Reason
from hilum.kernel.ids import AppId, AuthorizationId, ClientId, LaunchId, Part, PersonId, TenantId, VersionId
from hilum.tokens.models import TokenFamily

CONSENT = Part("consent")
"""The part of the facts with withdrawals; its keys are ``withdrawn/<id>`` and ``narrowed/<id>``."""
# Five minutes longer than an access token lives.
NEGATIVE_WINDOW = timedelta(minutes=65)


VERSIONS_BOUND = 1_000
"""Versions of one agreement that are read."""


class Basis(StrEnum):
    """Who agreed."""

    PERSON = "person"
    """The patient (or proxy) on a consent page."""
    TENANT = "tenant"
    """The tenant by installing the app; the person saw a first-use notice."""


@dataclass(frozen=True, slots=True)
class End:
    """When something ends, and by which limit."""

    at: datetime
    why: Reason


@dataclass(frozen=True, slots=True)
class Authorization:
    id: AuthorizationId
    tenant: TenantId
    person: PersonId
    app: AppId
    version: VersionId
    client: ClientId
    basis: Basis
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    patient: str = ""
    launch: LaunchId = LaunchId("")
    offline: bool = False
    last_validated_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str = ""
    workflow: str = ""
    """What it is for, as its launch stated; empty for what was agreed before there were workflows, or without one (C190)."""
    last_used_at: datetime | None = None
    """When a token was last issued under it; filled where it is needed."""
    ends: End | None = None
    """When it ends or ended, by everything that ends it; filled by ``list_for_person`` and ``list_lives`` only."""


UNUSED_AFTER = timedelta(days=90)
"""What was not used for so long is proposed for removal, and never removed by itself (C219)."""


@dataclass(frozen=True, slots=True)
class AgreementLife:
    """An agreement with its last use and end, and the newest families of tokens under it that can still be refreshed, with their ends."""

    agreement: Authorization
    families: tuple[tuple[TokenFamily, End], ...]


class Change(StrEnum):
    """Why there is a version of a person's agreement."""

    RECORDED = "recorded"
    NARROWED = "narrowed"
    WITHDRAWN = "withdrawn"
    """Also where nothing was left of it, or the person may no longer act for the patient."""


@dataclass(frozen=True, slots=True)
class AgreementVersion:
    """One version of a person's agreement: its scopes from ``at`` on, until the next version. A renewal only moves the end of the last one."""

    authorization: AuthorizationId
    number: int
    at: datetime
    change: Change
    scopes: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True)
class PlainPermission:
    """A scope in plain words, for a page. ``title`` is a sentence without its full stop; ``reach`` says whose data it is about."""

    scope: str
    title: str
    meaning: str
    verbs: tuple[str, ...]
    reach: str = ""
    writes: bool = False
    sensitive: bool = False
    what: str = ""
    """What it is about, without what may be done with it: the type."""
    kind: str = ""
    """To what a category or another constraint limits it."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A checkbox of a consent page. ``scopes`` are the requested scopes that it represents, whole or in part.

    ``group`` is the scope of the whole type, for a checkbox of one category; ``type`` the resource type, empty for special scopes.
    """

    value: str
    scopes: tuple[str, ...]
    words: PlainPermission
    group: str = ""
    type: str = ""
    optional: bool | None = None
    """Whether the app says that it works without it; None: it does not say (C211)."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Checkboxes under one heading, which has a checkbox of its own: unticked, it withholds all of them."""

    key: str
    title: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class ConsentFacts:
    """Authorizations revoked within the life of an access token."""

    revoked: AbstractSet[AuthorizationId] = frozenset()
