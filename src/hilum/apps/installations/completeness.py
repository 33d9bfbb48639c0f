"""Whether a hospital gives an app what it needs there, said before it takes effect (C211, C97)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from hilum.apps.clients import policy as rules
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.apps.installations import policy
from hilum.apps.installations.held import union
from hilum.apps.installations.models import Installation, LeftOut, Needs
from hilum.apps.registry.models import Environment, environment_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.identity.people.models import Tenant
from hilum.policy.matrix import service as policies

Reasons = Callable[[Context, AppId], Mapping[str, str]]
"""Reads what the vendor wrote about each scope of what is certified of an app (``review.service.reasons_of``)."""


def no_reasons(_: Context, __: AppId) -> Mapping[str, str]:
    """Return no reason, where there is no submission."""
    return {}


def working(ctx: Context, app: AppId, environment: Environment) -> list[ClientFacts]:
    """Return the facts of an app's clients that work at hospitals of an environment (C4)."""
    facts = clients.facts_of_apps(ctx, (app,)).get(app, ())
    return [each for each in facts if each.environment in {environment, Environment.PRODUCTION}]


def needs_at(ctx: Context, tenant: Tenant, app: AppId, reasons: Reasons) -> Needs:
    """Return what an app says about its scopes at a hospital, for whoever is about to choose among them."""
    found = working(ctx, app, environment_of(tenant))
    return Needs(policy.optional_for_all(found), reasons(ctx, app))


def of_new(
    ctx: Context, tenant: Tenant, app: AppId, scopes: Iterable[str], reasons: Reasons
) -> tuple[LeftOut, ...]:
    """Return what a new installation with these scopes leaves out of what the app could have at the hospital."""
    found = working(ctx, app, environment_of(tenant))
    book = policies.current(ctx).book_at(tenant.id, ctx.now, app)
    # What the policy withholds there is not the hospital's to give.
    could = union(rules.admission(book, each, ctx.now).scopes for each in found)
    return _left_out(ctx, tenant.id, app, could, scopes, found=found, reasons=reasons)


def of_narrowing(
    ctx: Context, before: Installation, after: Installation, reasons: Reasons
) -> tuple[LeftOut, ...]:
    """Return what a narrowing takes away of what the app had at the hospital."""
    found = working(ctx, before.app, before.environment)
    return _left_out(
        ctx, before.tenant, before.app, before.scopes, after.scopes, found=found, reasons=reasons
    )


def _left_out(
    ctx: Context,
    tenant: TenantId,
    app: AppId,
    before: Iterable[str],
    after: Iterable[str],
    *,
    found: list[ClientFacts],
    reasons: Reasons,
) -> tuple[LeftOut, ...]:
    before, after = tuple(before), tuple(after)
    if not policy.left_out(before, after, found, policies.current(ctx).everywhere, {}):
        return ()
    book = policies.current(ctx).book_at(tenant, ctx.now, app)
    return policy.left_out(before, after, found, book, reasons(ctx, app))


def accepted(found: Iterable[LeftOut], *, anyway: bool, how: str) -> tuple[str, ...]:
    """Return what an app needs and is left out knowingly. Raises Invalid, with what for and what stops, unless ``anyway``."""
    found = tuple(found)
    if not anyway and (detail := policy.needed_words(found, how=how)):
        raise Invalid("installation_invalid", detail, fields={"scopes": "needed_by_app"})
    return tuple(each.scope for each in found if each.needed)


def recorded(after: Installation, without: tuple[str, ...]) -> Installation:
    """Return an installation whose record says what was knowingly left out, beside what was before and still is."""
    if after.record is None:
        return after
    kept = policy.still_without(after.record, after.scopes)
    return replace(after, record=replace(after.record, without=tuple(dict.fromkeys((*kept, *without)))))
