"""Measure the service of certified apps by their counted calls (C228)."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from hilum.apps.clients.models import ClientFacts, ClientType
from hilum.apps.registry.models import Certification, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people import service as identity
from hilum.policy.matrix.models import Criteria
from hilum.records.audit.models import Served
from hilum.review.recertification import serving
from hilum.review.recertification.drifting import ReadTotals, Use
from hilum.review.recertification.models import CriterionResult

_DAY = timedelta(days=1)


class Totals:
    """The calls of all apps by hospital, each read once: a night asks for those of a hospital as often as it has apps."""

    def __init__(self, read: ReadTotals) -> None:
        self._read = read
        self._since: datetime | None = None
        self._held: dict[str, Served] = {}

    def __call__(self, tenants: Collection[str], since: datetime) -> Mapping[str, Served]:
        """Return the calls at some hospitals since the day of a moment."""
        if self._since is None or self._since.date() != since.date():
            self._since, self._held = since, {}
        missing = [each for each in tenants if each not in self._held]
        if missing:
            self._held |= dict.fromkeys(missing, Served()) | dict(self._read(missing, since))
        return {each: self._held[each] for each in tenants}


def measured(
    ctx: Context, certification: Certification, criteria: Criteria, use: Use
) -> tuple[CriterionResult, ...]:
    """Return how an app meets its entry's criteria for its service: of its calls in production since it was certified, within SERVICE_DAYS."""
    since = max(serving.window(ctx.now), certification.certified_at + _DAY)
    if not serving.asks(criteria) or since > ctx.now:
        return ()
    found = use.served(certification.app, since, "").by_tenant
    at = {tenant: each for tenant, each in found.items() if _is_production(ctx, tenant)}
    totals = use.totals(tuple(at), serving.window(ctx.now))
    return serving.measure(at, totals, criteria)


def _is_production(ctx: Context, tenant: str) -> bool:
    found = identity.find_tenant(ctx, TenantId(tenant))
    return found is not None and not found.sandbox


def has_public_client(facts: Iterable[ClientFacts]) -> bool:
    """Check whether an app has a public client for production, whose tokens whoever uses it holds."""
    return any(
        each.type is ClientType.PUBLIC and each.environment is Environment.PRODUCTION for each in facts
    )
