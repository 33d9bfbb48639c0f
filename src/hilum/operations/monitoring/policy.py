"""Which limits of the policy an app's calls exceed, and how alerts follow. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import fields, replace
from datetime import datetime

from hilum.apps.registry.models import App
from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.lists import listed
from hilum.identity.people.policy import is_member
from hilum.operations.monitoring.models import (
    CALLS_LEAST,
    HITS_LEAST,
    NAME_SHOWN,
    QUIET,
    Alert,
    AlertKind,
    CloseReason,
    Followed,
    Skip,
    Watched,
)
from hilum.policy.matrix.models import AlertThresholds, Book, Tier
from hilum.policy.matrix.policy import entry_of
from hilum.records.audit.models import SLOW_PERCENT, Served


def may_see(actor: Actor, alert: Alert) -> bool:
    """Check whether an actor may see an alert: the platform's staff, members of its vendor, administrators of its hospital."""
    return actor.is_platform or is_member(actor, alert.vendor) or administers(actor, alert.tenant)


def alerts_shown(actor: Actor, tenant: str) -> tuple[str, str] | None:
    """Return the vendor and hospital whose alerts an actor may list when asking for those at ``tenant``; empty for any, None if there are none.

    The platform's staff see all, a vendor's member those about its apps, an administrator those at their hospital.
    """
    if actor.is_platform:
        return "", tenant
    if actor.vendor and is_member(actor, actor.vendor):
        return actor.vendor, tenant
    own = actor.tenant
    return ("", own) if own and administers(actor, own) and tenant in {"", own} else None


def is_own_app(actor: Actor, app: App) -> bool:
    """Check whether an app belongs to the actor's vendor; a hospital's own system belongs to none."""
    return app.tenant is None and is_member(actor, app.vendor)


def may_see_service(actor: Actor, app: App, at: TenantId | None) -> bool:
    """Check whether an actor may see how an app works, at one hospital or (None) at all."""
    return actor.is_platform or is_own_app(actor, app) or (at is not None and administers(actor, at))


def limits_under(book: Book, categories: Collection[str], tiers: Collection[Tier]) -> AlertThresholds | None:
    """Return the strictest limits of the entries of some categories and tiers; None if the policy lacks one of them."""
    entries = [entry_of(book, category, tier) for category in categories for tier in tiers]
    found = [each.alerts for each in entries if each is not None]
    if not entries or len(found) < len(entries):
        return None
    return AlertThresholds(
        **{each.name: min(getattr(one, each.name) for one in found) for each in fields(AlertThresholds)}
    )


def limit_of(kind: AlertKind, limits: AlertThresholds) -> int:
    """Return the limit of a kind of alert."""
    match kind:
        case AlertKind.REFUSED:
            return limits.refused_percent
        case AlertKind.FAILED:
            return limits.failed_percent
        case AlertKind.SLOW:
            return limits.latency_ms_p95


def exceeds(kind: AlertKind, served: Served, limits: AlertThresholds) -> bool | None:
    """Return whether calls exceed a limit; None if there are too few to say."""
    limit = limit_of(kind, limits)
    match kind:
        case AlertKind.REFUSED:
            hits, of, percent = served.refused, served.calls, limit
        case AlertKind.FAILED:
            hits, of, percent = served.mistaken + served.throttled + served.failed, served.calls, limit
        case AlertKind.SLOW:
            hits, of, percent = served.slower_than(limit), served.answers, SLOW_PERCENT
    if of < CALLS_LEAST:
        return None
    return hits >= HITS_LEAST and 100 * hits > percent * of


def figures(served: Served) -> dict[str, int]:
    """Return calls as numbers by name. ``within_ms`` is 0 if 95 of 100 answers took longer than the last edge of the buckets."""
    return {
        "calls": served.calls,
        "answered": served.answers,
        "refused": served.refused,
        "mistaken": served.mistaken,
        "throttled": served.throttled,
        "failed": served.failed,
        "within_ms": served.within_ms() or 0,
    }


def calls_of(alert: Alert, _now: datetime) -> int:
    """Return how many calls there were in the last hour in which they exceeded the limit."""
    return alert.figures["calls"]


def measured(alert: Alert, _now: datetime) -> float:
    """Return what is compared with the limit: percent of the calls, or the milliseconds that 95 of 100 answers took (0: more than ten seconds)."""
    numbers = alert.figures
    match alert.kind:
        case AlertKind.REFUSED:
            hits = numbers["refused"]
        case AlertKind.FAILED:
            hits = numbers["mistaken"] + numbers["throttled"] + numbers["failed"]
        case AlertKind.SLOW:
            return numbers["within_ms"]
    return round(100 * hits / numbers["calls"], 1)


def follow(watched: Watched, served: Served, held: Iterable[Alert], now: datetime) -> Followed:
    """Return how the calls of the last hour change the alerts of an app at a hospital.

    Without enough calls nothing opens, and an alert closes only after QUIET, or if the app is no longer watched.
    """
    by_kind = {each.kind: each for each in held}
    opened: list[Alert] = []
    kept: list[Alert] = []
    closed: list[Alert] = []
    verdicts: list[bool | None] = []
    gone = watched.skip in {Skip.NOT_INSTALLED, Skip.NOT_CERTIFIED}
    for kind in AlertKind:
        before, limits = by_kind.get(kind), watched.limits
        # An app that was transferred begins without the alerts of the vendor before.
        if before is not None and (gone or before.vendor != watched.vendor):
            closed.append(_closed(before, CloseReason.NOT_WATCHED, now))
            before = None
        verdict = None if limits is None else exceeds(kind, served, limits)
        verdicts.append(verdict)
        if verdict and limits is not None:
            limit, numbers = limit_of(kind, limits), figures(served)
            if before is None:
                opened.append(
                    Alert("", watched.app, watched.tenant, watched.vendor, kind, limit, numbers, now, now)
                )
            else:
                kept.append(replace(before, limit=limit, figures=numbers, seen_at=now))
        elif before is not None:
            if verdict is False:
                closed.append(_closed(before, CloseReason.WITHIN_LIMIT, now))
            elif now - before.seen_at >= QUIET:
                closed.append(_closed(before, CloseReason.QUIET, now))
    nothing = None if any(each is not None for each in verdicts) else Skip.FEW_CALLS
    return Followed(tuple(opened), tuple(kept), tuple(closed), watched.skip or nothing)


def _closed(alert: Alert, why: CloseReason, now: datetime) -> Alert:
    return replace(alert, closed_at=now, why=why)


def in_words(names: Iterable[str], named: int) -> str:
    """Return names as one line: the first ones, shortened, and the number of others."""
    return listed([_cut(each) for each in sorted(set(names))], named)


def _cut(name: str) -> str:
    # Vendors choose these names: a line that no mail accepts would keep every alert of its batch from opening.
    return name if len(name) <= NAME_SHOWN else f"{name[: NAME_SHOWN - 1].rstrip()}…"
