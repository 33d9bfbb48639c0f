"""Notify hospitals and vendors of the end of scopes that their apps have."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, time
from itertools import chain

from hilum.apps.contacts import service as contacts
from hilum.apps.deprecations import policy, store
from hilum.apps.deprecations.changed_books import notify_next
from hilum.apps.deprecations.models import APPS_READ, PLACES_AT_ONCE, Ending, Phase, Stage, Walk
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Vendor
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.foundation.kernel.pages import PageQuery
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.policy import PolicyFacts
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent

__all__ = ["notify_next"]


def step(ctx: Context) -> bool:
    """Notify the next few hospitals or vendors; return whether there is more to do. Progress commits with the notices."""
    facts = policies.current(ctx)
    due = [each for book in facts.books() for each in policy.endings(book, ctx.now.astimezone(UTC).date())]
    key = policy.walk_key(facts.last, due)
    walk = store.lock_walk(ctx.tx)
    if walk.key != key:
        # Nobody gets a notice twice: a cause yields one mail.
        walk = Walk(key, Phase.HOSPITALS if due else Phase.DONE)
    match walk.phase:
        case Phase.HOSPITALS:
            walk = _hospitals(ctx, walk, facts)
        case Phase.VENDORS:
            walk = _vendors(ctx, walk, due)
        case Phase.DONE:
            pass
    store.save_walk(ctx.tx, walk)
    return walk.phase is not Phase.DONE


def _hospitals(ctx: Context, walk: Walk, facts: PolicyFacts) -> Walk:
    found = identity.view_tenants(ctx, PageQuery(walk.after, PLACES_AT_ONCE))
    for tenant in found:
        # By the policy in force there: a policy on trial elsewhere ends nothing here.
        book = facts.at.get(tenant.id, facts.everywhere)
        due = policy.endings(book, ctx.now.astimezone(UTC).date())
        if due and tenant.active:
            _notify_hospital(ctx, tenant, due)
    if len(found) < PLACES_AT_ONCE:
        return Walk(walk.key, Phase.VENDORS)
    return replace(walk, after=str(found[-1].id))


def _notify_hospital(ctx: Context, tenant: Tenant, due: Iterable[Ending]) -> None:
    installed = list(installations.scopes_at(ctx, tenant.id))
    for ending in due:
        holders = [app for app, scopes in installed if policy.has(ending.product, scopes)]
        if holders:
            names = [each.name for each in registry.read_apps(ctx, holders[:APPS_READ]).values()]
            facts, cause = _facts(ending, tenant.name, names), policy.cause_of(ending, tenant.id)
            identity.mail_administrators(ctx, tenant.id, _kind(ending), cause, facts)


def _vendors(ctx: Context, walk: Walk, due: list[Ending]) -> Walk:
    found = registry.list_vendors(ctx, PageQuery(walk.after, PLACES_AT_ONCE))
    for vendor in found:
        _notify_vendor(ctx, vendor, due)
    if len(found) < PLACES_AT_ONCE:
        return Walk(walk.key, Phase.DONE)
    return replace(walk, after=str(found[-1].id))


def _notify_vendor(ctx: Context, vendor: Vendor, due: list[Ending]) -> None:
    apps = registry.list_of_vendor(ctx, vendor.id, APPS_READ)
    certified: dict[AppId, set[str]] = {}
    found = registry.read_certified(ctx, [app.id for app in apps]).certifications if apps else {}
    for each in chain.from_iterable(found.values()):
        if each.withdrawn_at is None and ctx.now < each.expires_at:
            certified.setdefault(each.app, set()).update(each.scopes)
    proved = contacts.proved_contacts(ctx, vendor.id) if certified else []
    for ending in {(each.product.name, each.product.sunset): each for each in due}.values():
        names = [app.name for app in apps if policy.has(ending.product, certified.get(app.id, ()))]
        if not names:
            continue
        facts, cause = _facts(ending, vendor.name, names), policy.cause_of(ending, vendor.id)
        # One mailbox may serve several kinds of contact: a cause yields one mail for each address.
        for contact in proved:
            mail = Mail(_kind(ending), contact.address, cause, facts, vendor=vendor.id)
            notices.put_mail(ctx, mail)
        _put_event(ctx, ending, vendor.id)


def _kind(ending: Ending) -> MailKind:
    return MailKind.SCOPE_ENDED if ending.stage is Stage.ENDED else MailKind.SCOPE_ENDS


def _facts(ending: Ending, place: str, apps: list[str]) -> dict[str, str]:
    """Return what a mail to a hospital or a vendor says of a scope that ends."""
    return {
        "scope": ending.product.name,
        "ends": _moment(ending),
        "successor": policy.successor_in_words(ending.product),
        "apps": policy.apps_in_words(apps),
        "place": place,
    }


def _put_event(ctx: Context, ending: Ending, vendor: VendorId) -> None:
    facts = {"scope": ending.product.name, "stage": ending.stage.value, "ends": _moment(ending)}
    cause = policy.cause_of(ending, vendor)
    notices.put_event(ctx, VendorEvent(EventKind.SCOPE_ENDING, vendor, cause, facts | {"vendor_id": vendor}))


def _moment(ending: Ending) -> str:
    assert ending.product.sunset is not None, "it has a stage"
    return datetime.combine(ending.product.sunset, time(), UTC).isoformat()
