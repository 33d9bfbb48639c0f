"""Compare a certified app's permitted calls with its contract, and store at which hospitals they differ (C220)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hilum.apps.clients.models import ClientFacts, ClientType
from hilum.apps.installations import service as installations
from hilum.apps.registry.models import Certification, Environment
from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.errors import not_shown
from hilum.foundation.kernel.ids import AppId, TenantId, VersionId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people.policy import may_administer
from hilum.records.audit.models import PermitCount, Served, ServedApp
from hilum.review.certification_runs import service as evidence
from hilum.review.certification_runs.models import RunContract
from hilum.review.recertification import drift, store, units
from hilum.review.recertification.figure_models import Units
from hilum.review.recertification.models import DRIFT_DAYS, UNUSED_DAYS, Drift, Finding

Permits = Callable[[Collection[str], datetime, str], Sequence[PermitCount]]
"""Reads what was permitted to some clients since a moment, at one tenant or, if empty, at all (``audit.live.read_permits``)."""
Places = Callable[
    [Collection[str], datetime, Collection[tuple[str, str, str]]], Sequence[tuple[str, str, str]]
]
"""Reads at which tenants some clients were permitted some interactions and types (``audit.live.read_places``)."""

ReadServed = Callable[[str, datetime, str], ServedApp]
"""Reads how an app's calls ended since the day of a moment, at one tenant or, if empty, at all (``audit.live.read_served``)."""
ReadTotals = Callable[[Collection[str], datetime], Mapping[str, Served]]
"""Reads how all apps' calls at some tenants ended since the day of a moment (``audit.live.read_totals``)."""


Used = Callable[[Collection[str], datetime], Sequence[tuple[str, str, str]]]
"""Reads the distinct interactions, types and tenants that some clients were permitted since a moment (``audit.live.read_used``)."""


@dataclass(frozen=True, slots=True)
class Use:
    """The readers of counted decisions."""

    permits: Permits
    places: Places = lambda *_: ()
    served: ReadServed = lambda *_: ServedApp()
    totals: ReadTotals = lambda *_: {}
    used: Used = lambda *_: ()


def drift_of(
    ctx: Context, certifications: Iterable[Certification], facts: Collection[ClientFacts], use: Use
) -> tuple[Drift, ...]:
    """Return what was permitted to an app's clients beyond the contracts of its certified versions, since each was certified, within DRIFT_DAYS.

    ``certifications``: those in force, the one that counts most first; ``facts``: those of the app's clients. All versions are compared, or an unused one would hide what
    the others do.
    """
    of_versions: dict[VersionId, list[Certification]] = {}
    for each in certifications:
        of_versions.setdefault(each.version, []).append(each)
    measures = {
        version: found for version, of in of_versions.items() if (found := _measure(ctx, of)) is not None
    }
    if not measures:
        return ()
    return drift.together(
        each
        for version, measure in measures.items()
        for each in _of_version(
            [one for one in facts if one.version == version],
            measure,
            _of_any(version, of_versions, measures),
            use,
        )
    )


@dataclass(frozen=True, slots=True)
class _Measure:
    """What a version's calls are compared with."""

    contracts: tuple[RunContract, ...]
    unmeasured: tuple[str, ...]
    """The scopes certified without a contract."""
    since: datetime


def _measure(ctx: Context, certifications: Sequence[Certification]) -> _Measure | None:
    """Return what a version's calls are compared with; None without a contract of its own."""
    contracts = evidence.find_contracts(ctx, [each.id for each in certifications])
    held = tuple(contracts[each.id] for each in certifications if each.id in contracts)
    if not held:
        return None
    began = max(each.certified_at for each in certifications if each.id in contracts)
    free = (scope for each in certifications if each.id not in contracts for scope in each.scopes)
    return _Measure(held, tuple(free), max(ctx.now - timedelta(days=DRIFT_DAYS), began))


def _of_any(
    version: VersionId,
    of_versions: Mapping[VersionId, Sequence[Certification]],
    measures: Mapping[VersionId, _Measure],
) -> _Measure:
    """Return what a client's calls from before it moved to a version are compared with: the contracts of all certified versions.

    The counts do not tell which version the client had then. Without any comparison an app that moves there and back could do what none of its versions showed.
    """
    others = [measures[each] for each in measures if each != version]
    own = measures[version]
    free = (
        scope
        for each, certifications in of_versions.items()
        if each not in measures
        for certification in certifications
        for scope in certification.scopes
    )
    return _Measure(
        (*own.contracts, *(contract for each in others for contract in each.contracts)),
        (*own.unmeasured, *(scope for each in others for scope in each.unmeasured), *free),
        own.since,
    )


def _of_version(
    facts: Iterable[ClientFacts], measure: _Measure, before: _Measure, use: Use
) -> Iterator[Drift]:
    groups: dict[tuple[bool, datetime | None], list[str]] = {}
    for each in facts:
        if each.environment is Environment.PRODUCTION:
            moved = each.adopted_at is not None and each.adopted_at > measure.since
            key = each.type is ClientType.PUBLIC, each.adopted_at if moved else None
            groups.setdefault(key, []).append(each.id)
    for (public, moved_at), of in groups.items():
        found = _permitted(of, moved_at, measure, before, use)
        yield from map(drift.by_public_client, found) if public else found


def _permitted(
    of: Sequence[str], moved_at: datetime | None, measure: _Measure, before: _Measure, use: Use
) -> tuple[Drift, ...]:
    since = measure.since
    with lanes.using(Lane.OWN):
        counted = [each for each in use.permits(of, since, "") if each.last >= since]
        now = (each for each in counted if moved_at is None or each.last >= moved_at)
        found = drift.outside(now, *measure.contracts, unmeasured=measure.unmeasured)
        # The client moved to another version within the period: its earlier calls are compared with what
        # certified versions showed.
        if moved_at is not None:
            then = (each for each in counted if each.last < moved_at)
            earlier = drift.outside(then, *before.contracts, unmeasured=before.unmeasured)
            found = drift.together((*found, *earlier))
        kinds = [(each.interaction, each.type, rule) for each in found for rule in each.rules]
        places = use.places(of, since, kinds) if kinds else ()
    seen: dict[tuple[str, str], list[str]] = {}
    for interaction, type_, tenant in places:
        seen.setdefault((interaction, type_), []).append(tenant)
    return tuple(
        replace(each, tenants=tuple(sorted(set(seen.get((each.interaction, each.type), ())))))
        for each in found
    )


def units_used(ctx: Context, app: AppId, facts: Collection[ClientFacts], use: Use) -> Units:
    """Count the units of scopes that hospitals grant an app, and those that nobody used for UNUSED_DAYS (K5)."""
    places = [(tenant, installed) for tenant, _, installed in installations.installations_of(ctx, [app])]
    if not places:
        return Units(0, 0)
    since = ctx.now - timedelta(days=UNUSED_DAYS)
    of = [each.id for each in facts if each.environment is Environment.PRODUCTION]
    with lanes.using(Lane.OWN):
        used = use.used(of, since) if of else ()
    return units.count(places, used, since, ctx.now)


def remember_places(ctx: Context, found: Collection[Finding], drifts: Collection[Drift]) -> None:
    """Store the hospitals where the calls of open findings were seen."""
    tenants = {each.about: each.tenants for each in drifts}
    for each in found:
        if each.rule == drift.RULE and each.about in tenants:
            store.set_places(ctx.tx, each.id, tenants[each.about])


def list_seen_at(ctx: Context, tenant: TenantId, page: PageQuery = FIRST_PAGE) -> list[Finding]:
    """List the open findings about calls seen at a hospital, for its administrators and the platform's staff. Raises NotPermitted."""
    if not (ctx.actor.is_platform or may_administer(ctx.actor, tenant)):
        raise not_shown("findings about calls at a hospital", "its administrators and the platform's staff")
    return store.list_seen_at(ctx.tx, tenant, page)
