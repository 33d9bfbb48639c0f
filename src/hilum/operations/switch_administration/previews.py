"""The effect of a stop before it is engaged: what is open at which hospital, and the possible stand-ins (C217)."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Protocol

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import served_until
from hilum.apps.installations import service as installations
from hilum.apps.installations.policy import allowed_scopes
from hilum.apps.registry import service as registry
from hilum.authorization.tokens import service as tokens
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Target, TargetKind
from hilum.controls.switches.policy import may_engage, stop_among, target_fault
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.kernel.ids import AppId, TenantId, VersionId
from hilum.operations.switch_administration.models import PREVIEWED_BOUND, HospitalPreview, Preview, StandIn
from hilum.operations.switch_administration.policy import Filters, filters_of
from hilum.operations.switch_administration.service import require_target
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import NOT_DECLARED

_NOT_COUNTED = frozenset({TargetKind.SCOPE, TargetKind.RESOURCE_TYPE})


class Counted(Protocol):
    """Launches that are open at a tenant (``launches.models.OpenLaunches``)."""

    @property
    def tenant(self) -> TenantId: ...

    @property
    def launches(self) -> int: ...

    @property
    def encounters(self) -> int: ...


class OpenLaunches(Protocol):
    """Counts the launches that are open (``launches.service.count_open``), a module above this one."""

    def __call__(
        self, ctx: Context, *, tenant: str = "", clients: Collection[str] | None = None, person: str = ""
    ) -> Iterable[Counted]: ...


def preview(ctx: Context, target: Target, open_launches: OpenLaunches) -> Preview:
    """Return the effect of a full stop on a target, for those who may engage it. Raises NotPermitted, NotFound, Invalid."""
    if fault := target_fault(target):
        raise Invalid("switch_invalid", "The target is not valid.", fields={"key": fault})
    if not may_engage(ctx.actor, target, person_tenant=require_target(ctx, target)):
        raise NotPermitted(
            "not_permitted", "You may not engage this switch, so you may not see what it would stop."
        )
    # Open launches and tokens are found by app, person and tenant, not by what they permit.
    if target.kind in _NOT_COUNTED:
        return Preview(target, counted=False)
    named = filters_of(target) or Filters()
    apps = _apps_of(ctx, target)
    stopped = None if apps is None else clients.facts_of_apps(ctx, apps)
    found = _open(ctx, target, stopped, open_launches)
    installed: dict[TenantId, list[AppId]] = {}
    if apps is not None and target.kind is not TargetKind.APP_PERSON:
        for tenant, app, facts in installations.installations_of(ctx, apps):
            ended = facts.expires_at is not None and facts.expires_at <= ctx.now
            if not ended and named.get("tenant", "") in {"", tenant}:
                installed.setdefault(tenant, []).append(app)
    hospitals, without = [], []
    for number, tenant in enumerate(sorted({*found, *installed})):
        each = found.get(tenant, HospitalPreview(tenant))
        # Stand-ins take several reads for each hospital, so they are looked for at the first ones only.
        if tenant in installed and number < PREVIEWED_BOUND:
            stand_ins = _stand_ins(ctx, tenant, installed[tenant], target)
            each = replace(each, stand_ins=stand_ins)
            without += [] if stand_ins else [tenant]
        hospitals.append(each)
    return Preview(target, counted=True, hospitals=tuple(hospitals), without_stand_in=tuple(without))


def _apps_of(ctx: Context, target: Target) -> list[AppId] | None:
    """Return the apps that a target stops; None if it is not about apps."""
    match target.kind:
        case TargetKind.APP | TargetKind.APP_TENANT | TargetKind.APP_PERSON:
            return [AppId(target.key.partition("/")[0])]
        case TargetKind.VERSION:
            return [registry.get_version(ctx, VersionId(target.key)).app]
        case TargetKind.VENDOR:
            return sorted(
                app for app, each in registry.read_apps(ctx, None).items() if each.vendor == target.key
            )
        case _:
            return None


def _open(
    ctx: Context,
    target: Target,
    stopped: dict[AppId, tuple[ClientFacts, ...]] | None,
    open_launches: OpenLaunches,
) -> dict[TenantId, HospitalPreview]:
    of = None
    if stopped is not None:
        version = target.key if target.kind is TargetKind.VERSION else ""
        of = [
            each.id for facts in stopped.values() for each in facts if not version or each.version == version
        ]
    named = filters_of(target) or Filters()
    tenant, person = named.get("tenant", ""), named.get("person", "")
    launched = {each.tenant: each for each in open_launches(ctx, tenant=tenant, clients=of, person=person)}
    issued = {each.tenant: each for each in tokens.count_open(ctx, tenant=tenant, clients=of, person=person)}
    found = {}
    for at in {*launched, *issued}:
        opened, held = launched.get(at), issued.get(at)
        found[at] = HospitalPreview(
            at,
            0 if opened is None else opened.launches,
            0 if opened is None else opened.encounters,
            0 if held is None else held.tokens,
            0 if held is None else held.people,
        )
    return found


def _stand_ins(ctx: Context, tenant: TenantId, stopped: list[AppId], target: Target) -> tuple[StandIn, ...]:
    """Return the apps at a hospital that could be launched there now and are like a stopped one."""
    at = installations.apps_at(ctx, tenant)
    facts = clients.facts_of_apps(ctx, at)
    apps = registry.read_apps(ctx, at)
    categories = {apps[app].category for app in stopped if app in apps}
    workflows = set().union(*(_declared(facts.get(app, ())) for app in stopped))
    found = []
    for app in sorted(set(at) - set(stopped)):
        shared = tuple(sorted(workflows & _declared(facts.get(app, ()))))
        is_like = app in apps and (apps[app].category in categories or shared)
        # An app that the same switch stops cannot stand in.
        same = target.kind is TargetKind.VENDOR and apps[app].vendor == target.key
        if is_like and not same and _works(ctx, tenant, app, facts.get(app, ())):
            found.append(StandIn(app, apps[app].name, apps[app].category, shared))
    return tuple(found)


def _declared(of: Iterable[ClientFacts]) -> set[str]:
    """Return the workflows that an app's versions declare; one that declares none may be for any, which says nothing."""
    return {name for each in of if each.workflows != NOT_DECLARED for name in each.workflows}


def _works(ctx: Context, tenant: TenantId, app: AppId, of: Iterable[ClientFacts]) -> bool:
    """Check whether an app may be launched at a hospital now: installed, certified, allowed something, and not stopped."""
    installed = installations.installation(ctx, tenant, app)
    if installed is None or (installed.expires_at is not None and installed.expires_at <= ctx.now):
        return False
    book = policies.current(ctx).book_at(tenant, ctx.now, app)
    for each in of:
        until = served_until(book, each)
        certified = each.active and until is not None and ctx.now < until
        on = (
            Target(TargetKind.PLATFORM),
            Target(TargetKind.TENANT, tenant),
            Target(TargetKind.VENDOR, each.vendor),
            Target(TargetKind.APP, app),
            Target(TargetKind.VERSION, each.version),
            Target(TargetKind.APP_TENANT, f"{app}/{tenant}"),
        )
        stop = stop_among(controls.stops_on(ctx, on), on, now=ctx.now, issued_at=None)
        if certified and stop is None and allowed_scopes(each, installed, book, ctx.now):
            return True
    return False
