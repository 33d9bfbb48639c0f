"""Notify hospitals of what changes for their apps, after another version of the policy was put in force (C180)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from hilum.apps.clients import service as clients
from hilum.apps.deprecations import policy, store
from hilum.apps.deprecations.models import APPS_READ, PLACES_AT_ONCE, Effect, Phase, Walk
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PageQuery
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book
from hilum.policy.matrix.policy import PolicyFacts, Succession, coming_days, enforced_from
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.notices.models import MailKind


def notify_next(ctx: Context) -> bool:
    """Notify the next few hospitals; return whether there is more to do. Progress commits with the notices.

    Each application gets its own notices, in order; those from before the first run get none.
    """
    facts = policies.current(ctx)
    walk = store.lock_walk(ctx.tx, store.BOOKS)
    done = int(walk.key) if walk.key else facts.last
    # A number that is ahead comes from a database that was replaced by a backup.
    if not walk.key or done > facts.last:
        walk = Walk(str(facts.last), Phase.DONE)
    elif walk.phase is Phase.DONE and done < facts.last:
        walk = Walk(str(done + 1))
    if walk.phase is not Phase.DONE:
        walk = _hospitals(ctx, walk, facts)
    store.save_walk(ctx.tx, walk, store.BOOKS)
    return walk.phase is not Phase.DONE or int(walk.key) < facts.last


def _hospitals(ctx: Context, walk: Walk, facts: PolicyFacts) -> Walk:
    done = Walk(walk.key, Phase.DONE)
    changed = policies.succession(ctx, int(walk.key))
    if changed is None:
        return done
    found = identity.view_tenants(ctx, PageQuery(walk.after, PLACES_AT_ONCE))
    for tenant in found:
        if tenant.active and changed.concerns(tenant.id):
            _notify(ctx, tenant, changed, facts)
    return done if len(found) < PLACES_AT_ONCE else replace(walk, after=str(found[-1].id))


def _notify(ctx: Context, tenant: Tenant, changed: Succession, facts: PolicyFacts) -> None:
    for day in coming_days(changed.after, ctx.now):
        _notify_of_day(ctx, tenant, changed, facts, day)
    effects = _effects(ctx, tenant, changed.before(tenant.id), changed.after, facts)
    cause = policy.change_cause(changed.application.number, tenant.id)
    since = changed.application.applied_at
    _announce(ctx, tenant, effects, _event(tenant, changed), MailKind.BOOK_CHANGED, cause=cause, since=since)


def _notify_of_day(ctx: Context, tenant: Tenant, changed: Succession, facts: PolicyFacts, day: date) -> None:
    """Notify a hospital of what a version enforces from a day to come on, and only observes until then (C180, C209)."""
    book = changed.after
    # What it learned with an earlier version it does not learn again.
    if enforced_from(book, day) == enforced_from(changed.before(tenant.id), day):
        return
    since = datetime.combine(day, time(), UTC)
    effects = _effects(ctx, tenant, book, book, facts, moments=(since - timedelta.resolution, since))
    event = _event(tenant, changed, since=day.isoformat())
    cause = f"{policy.change_cause(changed.application.number, tenant.id)}/{day}"
    _announce(ctx, tenant, effects, event, MailKind.BOOK_CHANGES, cause=cause, since=since)


def _event(tenant: Tenant, changed: Succession, **more: str) -> Event:
    of = changed.application
    facts = {"application": of.number, "version": of.version, **more}
    return Event("policies.application.announce", tenant=tenant.id, facts=facts)


def _announce(
    ctx: Context,
    tenant: Tenant,
    effects: Mapping[Effect, list[str]],
    event: Event,
    kind: MailKind,
    *,
    cause: str,
    since: datetime,
) -> None:
    """Mail a hospital's administrators what changes for which apps, and record it as ``event``; nothing if no app is affected."""
    # A hospital where nothing changes gets no mail.
    if not any(effects.values()):
        return
    said = {"place": tenant.name, "version": str(event.facts["version"]), "since": since.isoformat()}
    said |= {effect.value: policy.names_in_words(names) for effect, names in effects.items()}
    mailed = identity.mail_administrators(ctx, tenant.id, kind, cause, said)
    # If nobody has an address, the staff find here whom to inform.
    counts = {effect.value: len(names) for effect, names in effects.items()}
    audit.record(ctx, replace(event, facts={**event.facts, "mailed": mailed, **counts}))


def _effects(
    ctx: Context,
    tenant: Tenant,
    old: Book,
    new: Book,
    facts: PolicyFacts,
    *,
    moments: tuple[datetime, datetime] | None = None,
) -> Mapping[Effect, list[str]]:
    """Return the names of a hospital's apps, at most APPS_READ, by how the change affects them. ``moments``: of each policy; None: now."""
    at = moments or (ctx.now, ctx.now)
    # With each app's exceptions, as in decisions.
    before, after = (
        replace(facts, everywhere=replace(book, raised=facts.everywhere.raised), at={}) for book in (old, new)
    )
    apps = installations.apps_at(ctx, tenant.id)[:APPS_READ]
    named, of = registry.read_apps(ctx, apps), clients.facts_of_apps(ctx, apps)
    effects: dict[Effect, list[str]] = {effect: [] for effect in Effect}
    for app in apps:
        installed = installations.installation(ctx, tenant.id, app)
        # No entry applies to the hospital's own EHR and servers.
        if installed is None or app not in named or named[app].tenant is not None:
            continue
        was, is_now = (
            each.book_at(tenant.id, then, app) for each, then in zip((before, after), at, strict=True)
        )
        effect = policy.effect_of(of.get(app, ()), installed, was, is_now, ctx.now)
        if effect is not None:
            effects[effect].append(named[app].name)
    return effects
