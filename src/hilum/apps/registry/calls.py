"""The calls of an app as its vendor may see them: what the app was answered, without patients, paths and names."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from hilum.apps.registry import store
from hilum.apps.registry.models import ABSENT, CALLS, Call, CallsPage
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.policy import is_member
from hilum.records.audit import service as audit
from hilum.records.audit.models import Access, AccessPage, AccessQuery, Event, Outcome

Accesses = Callable[[AccessQuery], AccessPage]
"""Reads a page of the record of accesses."""
LeftOutAt = Callable[[Context, AppId, Collection[TenantId]], Mapping[TenantId, tuple[str, ...]]]
"""Returns what some hospitals knowingly left out of what an app needs (``installations.service.left_out_at``)."""


def seen(access: Access, *, sandbox: bool) -> Call:
    """Return what the vendor of an app may see of one of its calls."""
    call = Call(
        at=access.at,
        request_id=access.request_id,
        tenant=access.tenant,
        client=access.client,
        version=access.version,
        interaction=access.interaction,
        resource_type=access.resource_type,
        status=access.status,
        # The gateway answers absent, out of reach and withheld records alike, so this does not disclose which one it was.
        reason="" if access.status == ABSENT else access.reason,
        latency_us=access.latency_us,
    )
    if not sandbox:
        return call
    path = f"{access.path}?{access.query}" if access.query else access.path
    return Call(
        **{name: getattr(call, name) for name in _SHARED},
        reason=access.reason,
        sandbox=True,
        path=path,
        rule=access.rule,
        detail=access.detail,
    )


_SHARED = (
    "at",
    "request_id",
    "tenant",
    "client",
    "version",
    "interaction",
    "resource_type",
    "status",
    "latency_us",
)


def reading_of_calls(app_id: str, after: str = "", limit: int = CALLS, given: int = 0) -> Event:
    """Return the event that records a read of an app's calls."""
    return audit.reading_of(AccessQuery(app=app_id, after=after, limit=limit), given)


def nothing_left_out(_: Context, __: AppId, ___: Collection[TenantId]) -> Mapping[TenantId, tuple[str, ...]]:
    """Return that no hospital left anything out."""
    return {}


def read_calls(
    ctx: Context,
    app_id: AppId,
    accesses: Accesses,
    *,
    after: str = "",
    limit: int = CALLS,
    left_out: LeftOutAt = nothing_left_out,
) -> tuple[CallsPage, Event]:
    """Return a page of the calls of an app of the actor's own vendor, with the event to record before it is shown.

    Calls from before a transfer belong to the former vendor. Raises NotFound, also for another vendor's app.
    """
    app = store.APPS.get(ctx.tx, app_id)
    if not is_member(ctx.actor, app.vendor) or app.tenant is not None:
        raise NotFound("app_not_found", "There is no such app.")
    found = accesses(AccessQuery(app=app.id, since=app.owner_since, after=after, limit=limit))
    at = {each.tenant for each in found.accesses}
    tenants = {tenant: identity.find_tenant(ctx, TenantId(tenant)) for tenant in at}
    sandboxes = {tenant for tenant, each in tenants.items() if each is not None and each.sandbox}
    # The intent of a write is followed by its outcome, which is the call's.
    calls = [
        seen(each, sandbox=each.tenant in sandboxes)
        for each in found.accesses
        if each.outcome is not Outcome.INTENDED
    ]
    short = {TenantId(each.tenant) for each in calls if each.reason == Reason.SCOPE_INSUFFICIENT}
    lacking = left_out(ctx, app.id, short) if short else {}
    calls = [
        replace(each, without=lacking.get(TenantId(each.tenant), ()))
        if each.reason == Reason.SCOPE_INSUFFICIENT
        else each
        for each in calls
    ]
    return CallsPage(tuple(calls), found.next), reading_of_calls(app.id, after, limit, len(calls))
