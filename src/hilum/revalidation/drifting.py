"""Compare what a certified app was permitted with its contract, and remember at which hospitals (C220)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hilum.audit.models import PermitCount
from hilum.clients import service as clients
from hilum.clients.models import ClientType
from hilum.evidence import service as evidence
from hilum.evidence.models import RunContract
from hilum.identity.policy import may_administer
from hilum.infra import lanes
from hilum.infra.context import Context
from hilum.infra.lanes import Lane
from hilum.kernel.errors import NotPermitted
from hilum.kernel.ids import TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.registry.models import Certification, Environment
from hilum.revalidation import drift, store
from hilum.revalidation.models import DRIFT_DAYS, Drift, Finding

Permits = Callable[[Collection[str], datetime, str], Sequence[PermitCount]]
"""Reads what was permitted to some clients since a moment, at one tenant or (empty) at all (``audit.live.read_permits``)."""
Places = Callable[
    [Collection[str], datetime, Collection[tuple[str, str, str]]], Sequence[tuple[str, str, str]]
]
"""Reads where some clients were permitted some kinds: interaction, type, tenant (``audit.live.read_places``)."""


@dataclass(frozen=True, slots=True)
class Use:
    """The readers of counted decisions."""

    permits: Permits
    places: Places = lambda *_: ()


def drift_of(ctx: Context, certifications: Iterable[Certification], use: Use) -> tuple[Drift, ...]:
    """Return what was permitted to an app beyond the contracts of its certified versions, to the clients of each since it was certified, within DRIFT_DAYS.

    ``certifications``: one of each version. An app is looked at whole, or a version that nobody uses would hide what the others do.
    """
    return drift.together(each for of in certifications for each in _of_version(ctx, of, use))


def _of_version(ctx: Context, certification: Certification, use: Use) -> Iterator[Drift]:
    contract = evidence.find_contract(ctx, certification.id)
    # One that somebody changed measures nothing.
    if contract is None or not contract.genuine:
        return
    since = max(ctx.now - timedelta(days=DRIFT_DAYS), certification.certified_at)
    facts = clients.facts_of_apps(ctx, (certification.app,)).get(certification.app, ())
    mine = [
        each
        for each in facts
        if each.version == certification.version and each.environment is Environment.PRODUCTION
    ]
    for public in (False, True):
        of = [each.id for each in mine if (each.type is ClientType.PUBLIC) is public]
        found = _permitted(of, since, use, contract) if of else ()
        yield from map(drift.by_public_client, found) if public else found


def _permitted(of: Sequence[str], since: datetime, use: Use, contract: RunContract) -> tuple[Drift, ...]:
    with lanes.using(Lane.OWN):
        counted = (each for each in use.permits(of, since, "") if each.last >= since)
        found = drift.outside(counted, contract)
        kinds = [(each.interaction, each.type, rule) for each in found for rule in each.rules]
        places = use.places(of, since, kinds) if kinds else ()
    seen: dict[tuple[str, str], list[str]] = {}
    for interaction, type_, tenant in places:
        seen.setdefault((interaction, type_), []).append(tenant)
    return tuple(
        replace(each, tenants=tuple(sorted(set(seen.get((each.interaction, each.type), ())))))
        for each in found
    )


def remember_places(ctx: Context, found: Collection[Finding], drifts: Collection[Drift]) -> None:
    """Store at which hospitals the calls of open findings were seen."""
    tenants = {each.about: each.tenants for each in drifts}
    for each in found:
        if each.rule == drift.RULE and each.about in tenants:
            store.set_places(ctx.tx, each.id, tenants[each.about])


def list_seen_at(ctx: Context, tenant: TenantId, page: PageQuery = FIRST_PAGE) -> list[Finding]:
    """List the open findings about calls that were seen at a hospital, for its administrators and the platform's staff. Raises NotPermitted."""
    if not (ctx.actor.is_platform or may_administer(ctx.actor, tenant)):
        raise NotPermitted("not_permitted", "Findings are shown to the hospital's administrators.")
    return store.list_seen_at(ctx.tx, tenant, page)
