"""What the policy says of one app, read from the policy by which it is judged, for its vendor's members and the staff (C181).

Of the version that is in force everywhere: at which hospitals another one is tried is the platform's to say.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import AUTHENTICATION, admission, served_until
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppVersion, Certification, Environment
from hilum.apps.registry.policy import applicant_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, TenantId, VersionId
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ANY, TIERS, Book, ClientAuthentication, Tier
from hilum.policy.matrix.policy import admit, assess, entry_of, excess_scopes, tiers_to_certify
from hilum.review.submissions import policy, queue_store
from hilum.review.submissions.models import CLIENTS_BOUND, BrowseQuery, Submission
from hilum.review.submissions.rule_models import (
    VERSIONS_SHOWN,
    AppRules,
    CellRules,
    ClientRules,
    ScopesOf,
    VersionRules,
    WayJudged,
    WorkflowRules,
)

_EVERYWHERE = TenantId("")
"""Stands for a hospital at which nothing of its own is in force."""


def view_rules(ctx: Context, app_id: AppId) -> AppRules:
    """Return what the policy says of an app: how each version is judged, and each entry of its category. Raises NotFound.

    INVARIANT: it is read from the policies that judge: by the one, submissions are checked; by the other, clients act.
    """
    app = registry.view_app(ctx, app_id)
    if not policy.may_see(ctx.actor, app.vendor):
        raise NotFound("app_not_found", "There is no such app.")
    asked = policies.asked_of(ctx, app.id)
    today = policies.current(ctx).book_at(_EVERYWHERE, ctx.now, app.id)
    held = clients.facts_of_apps(ctx, (app.id,)).get(app.id, ())
    found = registry.list_versions(ctx, app.id, PageQuery(limit=VERSIONS_SHOWN))
    basis = _Basis(ctx, app, held)
    versions = tuple(_version(app, each, basis, asked, today) for each in found)
    apps_own = [each for each in held if each.type in AUTHENTICATION][:CLIENTS_BOUND]
    acting = tuple(_client(ctx, each, today) for each in apps_own)
    return AppRules(
        app,
        policies.in_force(ctx.as_actor(SYSTEM)).everywhere,
        asked,
        versions,
        len(found) == VERSIONS_SHOWN,
        acting,
        tuple(_entries(app, asked, today, versions, acting, on=ctx.now.date())),
        tuple(_workflows(app, asked, versions)),
    )


class _Basis:
    """By which scopes the versions of an app are judged."""

    def __init__(self, ctx: Context, app: App, held: Sequence[ClientFacts]) -> None:
        wanted = BrowseQuery(states=policy.OPEN, app=app.id, newest=True, limit=PAGE_BOUND)
        # Of a former vendor nothing is shown.
        self._open: Sequence[Submission] = queue_store.browse(ctx.tx, wanted, vendor=app.vendor).submissions
        self._certified: Sequence[Certification] = [
            each
            for each in registry.certifications_of(ctx, app.id)
            if each.withdrawn_at is None and ctx.now < each.expires_at
        ]
        self._held = held
        self.ways = {AUTHENTICATION[each.type] for each in held if each.type in AUTHENTICATION}

    def of(self, version: VersionId) -> tuple[tuple[str, ...], ScopesOf]:
        """Return the scopes of a version, and where they come from."""
        mine = [each for each in self._open if each.version == version]
        # What is submitted for hospitals, if there is anything.
        mine.sort(key=lambda each: each.environment is not Environment.PRODUCTION)
        asked = (each.scope for one in mine[:1] for each in one.order.scopes)
        certified = (scope for each in self._certified if each.version == version for scope in each.scopes)
        own = [each for each in self._held if each.version == version] or self._held
        registered = (scope for each in own for scope in each.scopes)
        for scopes, of in (
            (asked, ScopesOf.SUBMISSION),
            (certified, ScopesOf.CERTIFICATION),
            (registered, ScopesOf.CLIENTS),
        ):
            if found := tuple(dict.fromkeys(scopes)):
                return found, of
        return (), ScopesOf.NONE


def _version(app: App, version: AppVersion, basis: _Basis, asked: Book, today: Book) -> VersionRules:
    scopes, of = basis.of(version.id)
    applicant = applicant_of(app, version, scopes)
    certified = tiers_to_certify(asked, applicant)
    ways = []
    for way in ClientAuthentication:
        one = replace(applicant, authentication=way)
        judged = certified.get(way) or assess(asked, one)
        entry = entry_of(asked, app.category, judged.tier)
        allowed = entry is not None and way in entry.client_authentication
        # As if review certified all of it: this is about what is enforced, not about what it has.
        enforced = admit(today, replace(one, certified_tier=Tier.HIGH)).assessment
        ways.append(WayJudged(way, judged.tier, str(judged), way in basis.ways, allowed, enforced.tier))
    return VersionRules(version, scopes, of, excess_scopes(asked, version.workflows, scopes), tuple(ways))


def _client(ctx: Context, facts: ClientFacts, today: Book) -> ClientRules:
    ends = served_until(today, facts)
    acts = ends is not None and ctx.now < ends
    tier = admission(today, facts, ctx.now).tier if acts else None
    return ClientRules(facts.id, facts.version, facts.environment, AUTHENTICATION[facts.type], tier)


def _entries(
    app: App,
    asked: Book,
    today: Book,
    versions: Sequence[VersionRules],
    acting: Sequence[ClientRules],
    *,
    on: date,
) -> Iterator[CellRules]:
    for tier in TIERS:
        entry = entry_of(asked, app.category, tier)
        if entry is None:
            continue
        # Of ways that no client of it uses it is not judged, unless it has no client yet.
        judged = (each for each in versions if tier in _tiers_of(each))
        yield CellRules(
            tier,
            entry,
            entry_of(today, app.category, tier) or entry,
            entry.observe.until if entry.observe and entry.observe.until > on else None,
            tuple(each.version.id for each in judged),
            tuple(each.id for each in acting if each.tier is tier),
        )


def _tiers_of(version: VersionRules) -> set[Tier]:
    used = [each for each in version.ways if each.used] or version.ways
    return {each.tier for each in used}


def _workflows(app: App, book: Book, versions: Sequence[VersionRules]) -> Iterator[WorkflowRules]:
    """Yield the workflows that an entry of the category allows, or a version declares."""
    category = book.categories.get(app.category)
    entries = {} if category is None else category.entries
    for name, workflow in sorted(book.workflows.items()):
        tiers = tuple(tier for tier in TIERS if tier in entries and {name, ANY} & entries[tier].workflows)
        declared = tuple(each.version.id for each in versions if name in each.version.workflows)
        if tiers or declared:
            yield WorkflowRules(workflow, tiers, declared)
