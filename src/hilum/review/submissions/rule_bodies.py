"""The API's bodies of what the policy says of one app."""

from datetime import date
from typing import Any

from pydantic import BaseModel

from hilum.apps.registry.models import Environment
from hilum.foundation.web.api import Shown
from hilum.policy.matrix.models import ClientAuthentication, Tier
from hilum.policy.matrix.policy import differences, rules_of
from hilum.review.submissions.rule_models import AppRules, CellRules, ScopesOf, VersionRules, WorkflowRules


class WayShown(Shown):
    """How review judges a version for clients that authenticate in one way. ``used``: the app has such a client.

    ``allowed``: the category has an entry of this tier, and it allows them. ``today``: the tier by what is enforced now, also where people set one.
    """

    authentication: ClientAuthentication
    tier: Tier
    sentence: str
    used: bool
    allowed: bool
    today: Tier


class VersionRulesShown(BaseModel):
    """``scopes``: those by which it is judged, and ``scopes_of`` where they come from. ``beyond``: those that no declared workflow needs."""

    version: str
    label: str
    workflows: tuple[str, ...]
    placements: tuple[str, ...]
    scopes: tuple[str, ...]
    scopes_of: ScopesOf
    beyond: tuple[str, ...]
    ways: tuple[WayShown, ...]


class ClientRulesShown(Shown):
    """``tier``: at which the client acts now; null: nothing is certified for it, or admitted."""

    id: str
    version: str
    environment: Environment
    authentication: ClientAuthentication
    tier: Tier | None


class StillShown(BaseModel):
    """A rule that is another one until the day of its entry."""

    path: str
    value: str


class CellRulesShown(BaseModel):
    """An entry with every rule, as a document of the policy has them, also those that are left out there.

    ``waived``: the requirements that are not asked of the app for a time. ``still``: what is enforced
    instead until the day ``until``. ``versions`` are judged by it, ``clients`` act in it.
    """

    tier: Tier
    rules: dict[str, Any]
    waived: tuple[str, ...]
    until: date | None
    still: tuple[StillShown, ...]
    versions: tuple[str, ...]
    clients: tuple[str, ...]


class WorkflowRulesShown(BaseModel):
    """A workflow. ``scopes``: what it expands into, beside launch and identity. ``tiers``: whose entries allow it."""

    name: str
    title: str
    purpose: str
    owner: str
    version: int
    scopes: tuple[str, ...] | None
    intents: tuple[str, ...]
    placements: tuple[str, ...]
    tiers: tuple[Tier, ...]
    versions: tuple[str, ...]


class TitlesShown(Shown):
    """What the names mean that entries use."""

    evidence: dict[str, str]
    scenarios: dict[str, str]
    placements: dict[str, str]


class AppRulesShown(BaseModel):
    """What the policy in force everywhere says of an app. ``policy_version`` and ``digest``: which version that is.

    ``entries`` is empty if the policy does not have the app's category. ``more``: only the newest versions are listed.
    """

    app: str
    category: str
    title: str
    policy_version: int
    digest: str
    versions: tuple[VersionRulesShown, ...]
    more: bool
    clients: tuple[ClientRulesShown, ...]
    entries: tuple[CellRulesShown, ...]
    workflows: tuple[WorkflowRulesShown, ...]
    titles: TitlesShown


def rules_shown(found: AppRules) -> AppRulesShown:
    """Return what the policy says of an app as the API does."""
    category = found.book.categories.get(found.app.category)
    return AppRulesShown(
        app=found.app.id,
        category=found.app.category,
        title=category.title if category else "",
        policy_version=found.number,
        digest=found.book.digest,
        versions=tuple(map(_version, found.versions)),
        more=found.more,
        clients=tuple(map(ClientRulesShown.model_validate, found.clients)),
        entries=tuple(map(_entry, found.entries)),
        workflows=tuple(map(_workflow, found.workflows)),
        titles=TitlesShown.model_validate(found.book),
    )


def _version(found: VersionRules) -> VersionRulesShown:
    return VersionRulesShown(
        version=found.version.id,
        label=found.version.label,
        workflows=found.version.workflows,
        placements=found.version.placements,
        scopes=found.scopes,
        scopes_of=found.scopes_of,
        beyond=found.beyond,
        ways=tuple(map(WayShown.model_validate, found.ways)),
    )


def _entry(found: CellRules) -> CellRulesShown:
    still = differences(found.today, found.entry)
    return CellRulesShown(
        tier=found.tier,
        rules=rules_of(found.entry),
        waived=tuple(sorted(found.entry.waived)),
        until=found.until,
        still=tuple(StillShown(path=each.path, value=each.first) for each in still),
        versions=found.versions,
        clients=found.clients,
    )


def _workflow(found: WorkflowRules) -> WorkflowRulesShown:
    each = found.workflow
    return WorkflowRulesShown(
        name=each.name,
        title=each.title,
        purpose=each.purpose,
        owner=each.owner,
        version=each.version,
        scopes=each.scopes,
        intents=tuple(sorted(each.intents)),
        placements=tuple(sorted(each.placements)),
        tiers=found.tiers,
        versions=found.declared,
    )
