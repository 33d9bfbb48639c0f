"""Authorizations: who agreed to which scopes for which client."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.authorization.tokens.models import TokenFamily
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import (
    AppId,
    AuthorizationId,
    ClientId,
    LaunchId,
    Part,
    PersonId,
    TenantId,
    VersionId,
)

CONSENT = Part("consent")
"""The part of the facts with withdrawals; its keys are ``withdrawn/<id>`` and ``narrowed/<id>``."""
NEGATIVE_WINDOW = timedelta(minutes=65)
"""How long the facts keep a withdrawal: five minutes longer than any access token lives."""


VERSIONS_BOUND = 1_000
"""How many versions of one agreement are read."""


class Basis(StrEnum):
    """Who agreed."""

    PERSON = "person"
    """The patient, or a proxy, on a consent page."""
    TENANT = "tenant"
    """The tenant by installing the app; the person saw a first-use notice."""


@dataclass(frozen=True, slots=True)
class End:
    """When something ends, and by which limit."""

    at: datetime
    why: Reason


@dataclass(frozen=True, slots=True)
class Authorization:
    """An agreement of a person or a tenant to scopes for a client. ``scopes`` are v2 strings; ``patient`` is empty without a chart."""

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
    """The workflow of its launch; empty without one, and for agreements from before there were workflows (C190)."""
    last_used_at: datetime | None = None
    """When a token was last issued under it; set only by the verbs that say so."""
    ends: End | None = None
    """When it ends or ended, by whichever limit is first; set by ``list_for_person`` and ``list_lives`` only."""


UNUSED_AFTER = timedelta(days=90)
"""After this time without use an agreement is proposed for removal; it is never removed automatically (C219)."""


@dataclass(frozen=True, slots=True)
class AgreementLife:
    """An agreement with its last use and end, and the newest families of tokens under it that can still be refreshed, with their ends."""

    agreement: Authorization
    families: tuple[tuple[TokenFamily, End], ...]


class Change(StrEnum):
    """What created a version of a person's agreement."""

    RECORDED = "recorded"
    NARROWED = "narrowed"
    WITHDRAWN = "withdrawn"
    """Also if no scope was left, or if the person may no longer act for the patient."""


@dataclass(frozen=True, slots=True)
class AgreementVersion:
    """One version of a person's agreement: its scopes from ``at`` until the next version. A renewal only extends the last one."""

    authorization: AuthorizationId
    number: int
    at: datetime
    change: Change
    scopes: tuple[str, ...]
    by: str


@dataclass(frozen=True, slots=True)
class PlainPermission:
    """A scope in plain words, for a page. ``title`` is a sentence without a full stop; ``reach`` describes whose data it covers."""

    scope: str
    title: str
    meaning: str
    verbs: tuple[str, ...]
    reach: str = ""
    writes: bool = False
    sensitive: bool = False
    what: str = ""
    """The name of the type, without the verbs."""
    kind: str = ""
    """The category or other constraint that limits it; empty without one."""


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
    """Whether the app states that it works without it; None if it states nothing (C211)."""


@dataclass(frozen=True, slots=True)
class Topic:
    """Checkboxes under one heading with a checkbox of its own, which withholds all of them if it is unticked."""

    key: str
    title: str
    choices: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class ConsentFacts:
    """Authorizations revoked within the life of an access token."""

    revoked: AbstractSet[AuthorizationId] = frozenset()
