"""What the policy says of one app: by which entry each of its versions is judged, and what that entry says."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from hilum.apps.registry.models import App, AppVersion, Environment
from hilum.foundation.kernel.ids import ClientId, VersionId
from hilum.policy.matrix.models import Book, ClientAuthentication, PolicyEntry, Tier, Workflow

VERSIONS_SHOWN = 50
"""Versions of an app that are judged, the newest."""


class ScopesOf(StrEnum):
    """Where the scopes come from by which a version is judged; the first of these that has any."""

    SUBMISSION = "open_submission"
    CERTIFICATION = "certification"
    CLIENTS = "clients"
    NONE = "none"
    """Neither it nor the app's clients ask for any yet: its tier is what it has at least."""


@dataclass(frozen=True, slots=True)
class WayJudged:
    """How review judges a version for clients that authenticate in one way, and why. ``used``: the app has such a client.

    ``allowed``: the category has an entry of this tier, which allows clients like that. ``today``: the tier by what is enforced already, if that is
    another one (C209), or by what two people allowed the app.
    """

    authentication: ClientAuthentication
    tier: Tier
    sentence: str
    used: bool
    allowed: bool
    today: Tier


@dataclass(frozen=True, slots=True)
class VersionRules:
    """A version with the scopes by which it is judged. ``beyond``: those of them that none of its declared workflows needs."""

    version: AppVersion
    scopes: tuple[str, ...]
    scopes_of: ScopesOf
    beyond: tuple[str, ...]
    ways: tuple[WayJudged, ...]


@dataclass(frozen=True, slots=True)
class ClientRules:
    """At which tier a client acts now; None: nothing is certified for it, or admitted."""

    id: ClientId
    version: VersionId
    environment: Environment
    authentication: ClientAuthentication
    tier: Tier | None


@dataclass(frozen=True, slots=True)
class CellRules:
    """An entry of the app's category as review asks for it, and as it is enforced ``today``.

    They differ until the day ``until`` if what is tighter in it is observed before that. ``versions`` are judged by it, ``clients`` act in it.
    """

    tier: Tier
    entry: PolicyEntry
    today: PolicyEntry
    until: date | None
    versions: tuple[VersionId, ...]
    clients: tuple[ClientId, ...]


@dataclass(frozen=True, slots=True)
class WorkflowRules:
    """A workflow with what it expands into. ``tiers``: whose entries allow it. ``declared``: by which of the versions that are judged."""

    workflow: Workflow
    tiers: tuple[Tier, ...]
    declared: tuple[VersionId, ...]


@dataclass(frozen=True, slots=True)
class AppRules:
    """All that the policy in force everywhere says of an app. ``entries`` is empty if the policy does not have its category.

    ``more``: there are older versions, which are not judged here. Of more than CLIENTS_BOUND clients the rest are left out.
    """

    app: App
    number: int
    book: Book
    versions: tuple[VersionRules, ...]
    more: bool
    clients: tuple[ClientRules, ...]
    entries: tuple[CellRules, ...]
    workflows: tuple[WorkflowRules, ...]
