"""Judge the calls of apps by the alert thresholds of their entries, and open, mail and close alerts."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from hilum.apps.contacts import service as contacts
from hilum.apps.contacts.models import ContactKind
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Certified, Environment, environment_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppAtTenant, AppId, TenantId, VendorId
from hilum.identity.people import service as identity
from hilum.operations.monitoring import policy, store
from hilum.operations.monitoring.models import BATCH, MAILED_AGAIN, NAMED, Alert, Followed, Run, Skip, Watched
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Tier
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Served
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent

K = TypeVar("K")
NOTHING = Served()
"""The figures of an app without calls."""


def judge(ctx: Context, found: Mapping[AppAtTenant, Served]) -> Counter[str]:
    """Judge some apps at some hospitals by their calls of the last hour; return how many were judged, and how many skipped by reason."""
    watched, apps = _watched(ctx, found)
    held = store.open_at(ctx.tx, list(found))
    tally: Counter[str] = Counter()
    opened: list[Alert] = []
    for each in watched:
        pair = each.tenant, each.app
        followed = policy.follow(each, found[pair], held.get(pair, ()), ctx.now)
        tally["judged" if followed.skip is None else followed.skip.value] += 1
        opened += _keep(ctx, followed)
    _announce(ctx, opened, apps)
    return tally


def _watched(ctx: Context, pairs: Collection[AppAtTenant]) -> tuple[list[Watched], Mapping[AppId, App]]:
    """Return the limits of some apps at some hospitals, with the apps."""
    certified = registry.read_certified(ctx, sorted({app for _, app in pairs}))
    books = policies.current(ctx)
    at: dict[TenantId, list[AppId]] = {}
    for tenant, each in pairs:
        at.setdefault(tenant, []).append(each)
    watched = []
    for tenant, of in at.items():
        found = identity.find_tenant(ctx, tenant)
        installed = installations.installed_at(ctx, tenant, of)
        book = books.book_at(tenant, ctx.now)
        for app_id in of:
            app = certified.apps.get(app_id)
            vendor = VendorId("") if app is None else app.vendor
            # Also of an app that no longer exists, or of calls under a name that is no hospital's.
            if app is None or found is None or app_id not in installed:
                watched.append(Watched(app_id, tenant, vendor, None, Skip.NOT_INSTALLED))
                continue
            entries = _entries(ctx, certified, app, environment_of(found))
            if entries is None:
                watched.append(Watched(app_id, tenant, vendor, None, Skip.NOT_CERTIFIED))
                continue
            limits = policy.limits_under(book, *entries)
            watched.append(Watched(app_id, tenant, vendor, limits, None if limits else Skip.NO_ENTRY))
    return watched, certified.apps


def _entries(
    ctx: Context, certified: Certified, app: App, environment: Environment
) -> tuple[set[str], set[Tier]] | None:
    """Return the categories and tiers in which an app is certified now: both after a move or a raise."""
    in_force = [
        each
        for each in certified.certifications.get(app.id, ())
        if each.environment is environment and each.withdrawn_at is None and ctx.now < each.expires_at
    ]
    raised = (policies.raise_of(ctx, each.version) for each in in_force)
    tiers = {each.tier for each in in_force if each.tier is not None} | {each.tier for each in raised if each}
    return ({app.category, *(each.category for each in in_force)}, tiers) if tiers else None


def _keep(ctx: Context, followed: Followed) -> list[Alert]:
    # Close first: a second open alert of a kind would be refused.
    for each in followed.closed:
        store.ALERTS.save(ctx.tx, each)
        _record(ctx, "monitoring.alert.close", each)
    for each in followed.kept:
        store.ALERTS.save(ctx.tx, each)
    opened = [replace(each, id=ctx.ids.new("alt")) for each in followed.opened]
    for each in opened:
        store.ALERTS.add(ctx.tx, each)
        _record(ctx, "monitoring.alert.open", each)
    return opened


def _record(ctx: Context, action: str, alert: Alert) -> None:
    facts = {"alert": alert.id, "kind": alert.kind.value, "limit": alert.limit, **alert.figures}
    reason = "" if alert.why is None else alert.why.value
    audit.record(ctx, Event(action, tenant=alert.tenant, app=alert.app, reason=reason, facts=facts))


# --- mail ----------------------------------------------------------------------------------------------------------------------


def _announce(ctx: Context, opened: Sequence[Alert], apps: Mapping[AppId, App]) -> None:
    """Mail opened alerts to vendors and hospitals: one mail for each kind, except what was mailed within MAILED_AGAIN."""
    if not opened:
        return
    tenants = {each.tenant for each in opened}
    recent = store.mailed_since(ctx.tx, ctx.now - MAILED_AGAIN, tenants)
    fresh = [each for each in opened if (each.tenant, each.app, each.kind.value) not in recent]
    names = {each: identity.get_tenant(ctx, each).name for each in tenants}
    # If a hospital's server is down, all of its apps are affected: nobody gets one mail for each.
    for (tenant, _), of in _grouped(fresh, lambda each: (each.tenant, each.kind)):
        facts = _facts(of, apps, names)
        identity.mail_administrators(ctx, tenant, MailKind.APP_ALERT, _cause(of, tenant), facts)
    for (vendor, _), of in _grouped(fresh, lambda each: (each.vendor, each.kind)):
        facts = _facts(of, apps, names)
        for address in _reached(ctx, vendor):
            notices.put_mail(ctx, Mail(MailKind.ALERT, address, _cause(of, vendor), facts, vendor=vendor))
    for each in fresh:
        store.ALERTS.save(ctx.tx, replace(each, mailed_at=ctx.now))
        facts = {"app_id": each.app, "alert_id": each.id, "tenant": each.tenant, "kind": each.kind.value}
        cause = f"alerts/{each.id}"
        notices.put_event(ctx, VendorEvent(EventKind.ALERT, each.vendor, cause, facts, app=each.app))


def _grouped(alerts: Iterable[Alert], key: Callable[[Alert], K]) -> list[tuple[K, list[Alert]]]:
    found: dict[K, list[Alert]] = {}
    for each in alerts:
        found.setdefault(key(each), []).append(each)
    return list(found.items())


def _facts(of: Sequence[Alert], apps: Mapping[AppId, App], names: Mapping[TenantId, str]) -> dict[str, str]:
    return {
        "apps": policy.in_words((apps[each.app].name for each in of), NAMED),
        "places": policy.in_words((names[each.tenant] for each in of), NAMED),
        "kind": of[0].kind.value,
    }


def _cause(of: Sequence[Alert], recipient: str) -> str:
    return f"alerts/{recipient}/{of[0].id}"


def _reached(ctx: Context, vendor: VendorId) -> list[str]:
    """Return a vendor's proved support and security contacts, or without any the addresses for its other mail."""
    proved = contacts.proved_contacts(ctx, vendor)
    found = [each.address for each in proved if each.kind is not ContactKind.OWNER]
    return list(dict.fromkeys(found)) or contacts.reached(ctx, vendor)


# --- the run -------------------------------------------------------------------------------------------------------------------


def list_alerted(ctx: Context, after: AppAtTenant) -> tuple[list[AppAtTenant], AppAtTenant | None]:
    """List the next apps at hospitals with an open alert, and where the list continues; None at its end."""
    found = store.open_pairs(ctx.tx, after, BATCH)
    return found, found[-1] if len(found) == BATCH else None


def finish(ctx: Context, tally: Mapping[str, int]) -> None:
    """Record that every app was judged, and how many had too few figures."""
    skipped = {each.value: tally[each.value] for each in Skip if tally.get(each.value)}
    store.save_run(ctx.tx, Run(ctx.now, tally.get("judged", 0), skipped))
