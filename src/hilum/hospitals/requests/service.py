"""Ask a hospital for an app, and decide what is asked for."""

from collections.abc import Sequence
from dataclasses import replace

from hilum.apps.clients import service as clients
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import Installation, InstallOrder, LeftOut, WidenOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import (
    NO_RIGHT,
    Conflict,
    Invalid,
    NotFound,
    Readers,
    Unavailable,
    not_shown,
)
from hilum.foundation.kernel.ids import AppId, PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.standards.smart.scopes import all_covered, narrow
from hilum.hospitals.requests import policy, store
from hilum.hospitals.requests.catalogue import AppAtHospital, read_app_at
from hilum.hospitals.requests.mailing import announce, mail_decided
from hilum.hospitals.requests.models import (
    ASKED_BOUND,
    ASKED_WITHIN,
    KEPT,
    REASON_BOUND,
    WAITING_BOUND,
    AppRequest,
    ApproveOrder,
    AskOrder,
    State,
    Waiting,
)
from hilum.hospitals.requests.versions import accept, compare
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.submissions.service import reasons_of

__all__ = [
    "accept",
    "announce",
    "approve",
    "ask",
    "compare",
    "count_waiting",
    "decline",
    "list_requests",
    "preview",
    "purge",
    "view_request",
    "withdraw",
]
NOWHERE = TenantId("-")
"""No tenant has this id."""
ALREADY_DECIDED = "This request has already been decided or withdrawn."
OWN_REQUEST = "You asked for this app yourself, so a colleague must decide."


# --- asking --------------------------------------------------------------------------------------------------------------------


def ask(ctx: Context, order: AskOrder) -> AppRequest:
    """Ask a hospital for an app; the request waits for an administrator (C214).

    Raises NotFound (app, hospital), NotPermitted (right, too many requests), Invalid, Conflict (asked or installed already), Unavailable.
    """
    tenant, app = _asked_for(ctx, order)
    place = read_app_at(ctx, tenant, app)
    only_backend = clients.serves_backends_only(ctx, app.id)
    if faults := policy.ask_faults(order, place.workflows, only_backend=only_backend):
        raise Invalid("request_invalid", "The request is invalid; see fields.", fields=faults)
    scopes = _scopes_of(place, order)
    installed = installations.current(ctx, tenant.id, app)
    if installed and scopes and order.roles <= installed.roles and all_covered(scopes, installed.scopes):
        raise Conflict(
            "already_installed",
            "The app is installed here already, with all that you ask for. Open it, or ask for another role or more.",
        )
    if store.count_open(ctx.tx, tenant.id, app.id).count >= WAITING_BOUND:
        raise Unavailable(
            "too_many_requests",
            f"{WAITING_BOUND} people have asked for this app already, and nobody has decided yet.",
        )
    request = AppRequest(
        id=ctx.ids.new("arq"),
        tenant=tenant.id,
        app=app.id,
        person=PersonId(ctx.actor.id),
        # An account has one role.
        role=min(ctx.actor.roles),
        roles=order.roles,
        scopes=scopes,
        workflows=order.workflows,
        reason=order.reason.strip(),
        asked_at=ctx.now,
    )
    if not store.add_request(ctx.tx, request):
        raise Conflict("already_asked", "You have already requested this app, and nobody has decided yet.")
    audit.record(ctx, _event("requests.request.add", request))
    return request


def _asked_for(ctx: Context, order: AskOrder) -> tuple[Tenant, App]:
    """Return the hospital and the app of a request that the actor may make. Raises NotFound, NotPermitted."""
    at = order.tenant or ctx.actor.tenant or NOWHERE
    event = Event("requests.request.add", tenant=at, app=order.app)
    if ctx.actor.kind not in {ActorKind.PERSON, ActorKind.MEMBER}:
        raise audit.refusal(ctx, replace(event, tenant="", app=""))
    # People ask at their own hospital only. A vendor's member may name another one, whose addresses are public anyway.
    tenant = identity.find_tenant(ctx, at)
    if tenant is None or not tenant.active or ctx.actor.tenant not in {None, tenant.id}:
        raise NotFound("tenant_not_found", "There is no such hospital.")
    app = registry.get_app(ctx, order.app)
    if app.tenant is not None or ctx.actor.vendor not in {None, app.vendor}:
        raise NotFound("app_not_found", "There is no such app.")
    if not policy.may_ask(ctx.actor, tenant.id, app):
        raise audit.refusal(ctx, event)
    since = ctx.now - ASKED_WITHIN
    if store.count_since(ctx.tx, PersonId(ctx.actor.id), since, ASKED_BOUND) >= ASKED_BOUND:
        detail = f"You asked {ASKED_BOUND} times within a day. Try again tomorrow."
        raise audit.refusal(ctx, replace(event, reason="too_many_requests"), detail)
    return tenant, app


def _scopes_of(place: AppAtHospital, order: AskOrder) -> tuple[str, ...]:
    """Return all the scopes that are asked for: those named, those that the workflows need, or all that the app may have."""
    if not order.scopes and not order.workflows:
        return policy.without_launch(place.admitted)
    scopes = list(order.scopes)
    for name in order.workflows:
        needed = place.book.workflows[name].scopes
        # A workflow of a policy of the first format limits nothing.
        scopes += place.admitted if needed is None else narrow(place.admitted, needed)
    return policy.without_launch(scopes)


def withdraw(ctx: Context, request_id: str) -> AppRequest:
    """Withdraw one's own request that nobody has decided. Raises NotFound, Conflict (decided, or withdrawn)."""
    request = store.get_request(ctx.tx, request_id)
    if request.person != ctx.actor.id:
        raise NotFound("request_not_found", "There is no such request.")
    after = replace(request, state=State.WITHDRAWN, decided_by=str(ctx.actor), decided_at=ctx.now)
    if not store.save_decided(ctx.tx, [request.id], after):
        raise Conflict("already_decided", ALREADY_DECIDED)
    audit.record(ctx, _event("requests.request.withdraw", request))
    return _visible_to(ctx.actor, after)


# --- decisions -----------------------------------------------------------------------------------------------------------------


def approve(ctx: Context, order: ApproveOrder) -> AppRequest:
    """Approve a request: install the app, or widen its installation, for what it asks or what is named.

    Other open requests for the app that ask for no more than it has then are approved with it. Raises NotFound, NotPermitted (right, own
    request), Invalid, Conflict (decided, or the person who asked has left).
    """
    request, waiting, app = _decidable(ctx, order.request, "requests.request.approve")
    _require_reason(order.reason, required=False)
    if not policy.is_active(request, identity.find_person(ctx, request.person), app):
        raise Conflict("requester_left", "The person who asked is no longer active. Decline the request.")
    installed = _carry_out(ctx, request, app, order)
    served = [
        other
        for other in waiting
        if other.id == request.id or policy.is_within(other, installed.roles, installed.scopes)
    ]
    after = replace(request, state=State.APPROVED, answer=order.reason.strip(), installation=installed.id)
    return _decided(ctx, "requests.request.approve", after, served)


def decline(ctx: Context, request_id: str, reason: str, *, everybody: bool = False) -> AppRequest:
    """Decline a request, or every open request for its app, with a reason that those who asked see. Raises as ``approve``."""
    request, waiting, _ = _decidable(ctx, request_id, "requests.request.decline")
    _require_reason(reason, required=True)
    after = replace(request, state=State.DECLINED, answer=reason.strip())
    return _decided(ctx, "requests.request.decline", after, waiting if everybody else [request])


def preview(ctx: Context, request_id: str) -> tuple[LeftOut, ...]:
    """Return what an approval of a request would leave out of what the app needs, or may need. Nothing changes. Raises NotFound."""
    request = view_request(ctx, request_id)
    app = registry.get_app(ctx, request.app)
    # Widening an installation takes nothing away from the app, so nothing is missing.
    if request.state is not State.OPEN or installations.current(ctx, request.tenant, app) is not None:
        return ()
    place = read_app_at(ctx, identity.get_tenant(ctx, request.tenant), app)
    scopes = policy.with_launch(request.scopes, place.admitted)
    return installations.preview(ctx, InstallOrder(request.tenant, app.id, request.roles, scopes), reasons_of)


def _decidable(ctx: Context, request_id: str, action: str) -> tuple[AppRequest, list[AppRequest], App]:
    """Return a request that the actor may decide now, all open ones for its app, locked, and the app. Raises NotFound, NotPermitted, Conflict."""
    request = view_request(ctx, request_id)
    waiting = store.lock_open(ctx.tx, request.tenant, request.app)
    fault = policy.decision_fault(
        ctx.actor,
        request,
        is_open=any(other.id == request.id for other in waiting),
        asked_too=store.asked_meanwhile(ctx.tx, request, ctx.actor.id),
    )
    if fault == "already_decided":
        raise Conflict(fault, ALREADY_DECIDED)
    if fault:
        event = replace(_event(action, request), reason=fault)
        raise audit.refusal(ctx, event, OWN_REQUEST if fault == "own_request" else NO_RIGHT)
    return request, waiting, registry.get_app(ctx, request.app)


def _require_reason(reason: str, *, required: bool) -> None:
    if faults := policy.reason_faults(reason, required=required):
        raise Invalid(
            "decision_invalid",
            f"State a reason of at most {REASON_BOUND:,} characters; those who asked see it.",
            fields=faults,
        )


def _carry_out(ctx: Context, request: AppRequest, app: App, order: ApproveOrder) -> Installation:
    """Install an app, or widen its installation, for the roles and scopes of an approval."""
    roles = request.roles if order.roles is None else order.roles
    scopes = request.scopes if order.scopes is None else order.scopes
    place = read_app_at(ctx, identity.get_tenant(ctx, request.tenant), app)
    scopes = policy.with_launch(scopes, place.admitted)
    before = installations.current(ctx, request.tenant, app)
    if before is None:
        install = InstallOrder(request.tenant, app.id, roles, scopes, order.expires_at, anyway=order.anyway)
        return installations.install(ctx, install, reasons_of)
    if order.expires_at is not None:
        fields = {"expires_at": "already_installed"}
        raise Invalid("decision_invalid", "The app is installed already, with its own end.", fields=fields)
    new = tuple(scope for scope in scopes if not all_covered((scope,), before.scopes))
    if not new and roles <= before.roles:
        return before
    return installations.widen(ctx, before.id, WidenOrder(new, roles - before.roles))


def _decided(ctx: Context, action: str, decided: AppRequest, requests: Sequence[AppRequest]) -> AppRequest:
    """Save and mail that requests were decided as one of them was."""
    decided = replace(decided, decided_by=str(ctx.actor), decided_at=ctx.now)
    store.save_decided(ctx.tx, [request.id for request in requests], decided)
    mail_decided(ctx, decided, requests)
    facts = {"request": decided.id, "requests": len(requests), "installation": decided.installation}
    audit.record(ctx, replace(_event(action, decided), facts=facts))
    return decided


def _event(action: str, request: AppRequest) -> Event:
    return Event(
        action, tenant=request.tenant, app=request.app, person=request.person, facts={"request": request.id}
    )


# --- reading -------------------------------------------------------------------------------------------------------------------


def view_request(ctx: Context, request_id: str) -> AppRequest:
    """Get a request of the actor, or of the hospital that they administer. Raises NotFound."""
    request = store.get_request(ctx.tx, request_id)
    if request.person != ctx.actor.id and not policy.sees_all(ctx.actor, request.tenant):
        raise NotFound("request_not_found", "There is no such request.")
    return _visible_to(ctx.actor, request)


def list_requests(
    ctx: Context,
    *,
    tenant: TenantId | None = None,
    state: State | None = None,
    own: bool = False,
    page: PageQuery = FIRST_PAGE,
) -> list[AppRequest]:
    """List requests: those of a hospital for its administrators, of every one for the staff, otherwise or with ``own`` the actor's. Raises NotPermitted."""
    at = tenant if ctx.actor.is_platform else tenant or ctx.actor.tenant
    if not own and policy.sees_all(ctx.actor, at):
        return store.list_requests(ctx.tx, page, tenant=at, state=state)
    if tenant is not None and tenant != ctx.actor.tenant:
        raise not_shown("the requests of a hospital", Readers.HOSPITAL)
    requests = store.list_requests(ctx.tx, page, person=PersonId(ctx.actor.id), state=state)
    return [_visible_to(ctx.actor, request) for request in requests]


def count_waiting(ctx: Context, tenant: TenantId, app: AppId | None = None) -> Waiting:
    """Count the open requests at a hospital, or those for one app. Raises NotPermitted."""
    if not policy.sees_all(ctx.actor, tenant):
        raise not_shown("the requests of a hospital", Readers.HOSPITAL)
    return store.count_open(ctx.tx, tenant, app)


def _visible_to(actor: Actor, request: AppRequest) -> AppRequest:
    """Return a request as an actor may see it: who decided it is shown at the hospital only."""
    return request if policy.sees_all(actor, request.tenant) else replace(request, decided_by="")


def purge(ctx: Context) -> int:
    """Delete old requests that ended; return how many. Call again until it returns 0."""
    return store.purge(ctx.tx, ctx.now - KEPT)
