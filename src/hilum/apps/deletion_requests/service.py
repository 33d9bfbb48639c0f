"""Ask vendors to delete what their apps have, and record the answers."""

from dataclasses import replace

from hilum.apps.contacts import service as contacts
from hilum.apps.deletion_requests import policy, store
from hilum.apps.deletion_requests.models import (
    KEPT,
    LOOKED_BACK,
    Answer,
    Cause,
    DeletionRequest,
    DeletionRequestQuery,
    State,
)
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import AppId, AuthorizationId, TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent
from hilum.records.notices.policy import plain_name

# Called within the transaction that ends something. What is sent is in the outbox once that has committed.


def ask_of_person(
    ctx: Context, tenant: TenantId, app_id: AppId, authorization: AuthorizationId, patient: str
) -> None:
    """Ask about a patient, since an agreement about them ended just now."""
    once = f"agreement/{authorization}"
    _ask(ctx, Cause.AGREEMENT, app_id, once, tenant=tenant, authorization=authorization, patient=patient)


def ask_of_hospital(ctx: Context, tenant: TenantId, app_id: AppId, installation: str) -> None:
    """Ask about everything of a hospital that removed an app just now: once, however many agreements there were."""
    _ask(ctx, Cause.INSTALLATION, app_id, f"installation/{installation}", tenant=tenant)


def ask_of_app(ctx: Context, app_id: AppId, certification: str) -> None:
    """Ask about every hospital, since the last certification of an app ended."""
    _ask(ctx, Cause.CERTIFICATION, app_id, f"certification/{certification}")


def ask_of_former(ctx: Context, app_id: AppId, former: VendorId) -> None:
    """Ask an app's former vendor, just after a transfer, about every hospital."""
    certifications = registry.certifications_of(ctx, app_id)
    if any(each.environment is Environment.PRODUCTION for each in certifications):
        _ask(ctx, Cause.TRANSFER, app_id, f"transfer/{app_id}/{ctx.now.isoformat()}", vendor=former)


def ask_of_expired(ctx: Context, after: str) -> str:
    """Ask the vendors of apps whose last certification expired lately, of a batch of certifications; return the id to continue ``after``."""
    expired = registry.list_expired(ctx, ctx.now - LOOKED_BACK, after)
    for certification in expired:
        app = _app(ctx, certification.app)
        if app is None:
            continue
        grace = registry.grace_of(ctx, app.category)
        last = policy.ended_last(registry.certifications_of(ctx, app.id), ctx.now, grace)
        # The certification that ended last is the cause, whether it expired or was withdrawn.
        if last is not None and last.id == certification.id:
            ask_of_app(ctx, app.id, certification.id)
    return expired[-1].id if expired else ""


def _app(ctx: Context, app_id: AppId) -> App | None:
    """Return an app that has a vendor to ask; None for a hospital's own EHR or server, and for an app that is gone."""
    try:
        app = registry.get_app(ctx, app_id)
    except NotFound:
        return None
    return app if app.tenant is None else None


def _ask(
    ctx: Context,
    cause: Cause,
    app_id: AppId,
    once: str,
    *,
    vendor: VendorId | None = None,
    tenant: TenantId = TenantId(""),
    authorization: AuthorizationId = AuthorizationId(""),
    patient: str = "",
) -> None:
    """Record a request, to the app's vendor unless another is named, and put its webhooks and mail into the outbox.

    ``once`` names the cause: it makes one request.
    """
    app = _app(ctx, app_id)
    if app is None:
        return
    id_, asked = ctx.ids.new("dlr"), vendor or app.vendor
    deletion_request = DeletionRequest(id_, cause, asked, app.id, ctx.now, tenant, authorization, patient)
    if not store.add(ctx.tx, deletion_request, once):
        return
    facts = {
        "deletion_request_id": deletion_request.id,
        "app_id": app.id,
        "due_at": deletion_request.due_at.isoformat(),
    }
    event = VendorEvent(
        EventKind.DELETION_REQUEST_REQUESTED, asked, f"deletion_request/{deletion_request.id}", facts, app.id
    )
    webhooks = len(notices.put_event(ctx, event))
    mails = _mail(ctx, deletion_request, app)
    audit.record(
        ctx,
        _event(
            "deletion_requests.request.add",
            deletion_request,
            cause=cause.value,
            webhooks=webhooks,
            mails=mails,
        ),
    )


def _mail(ctx: Context, deletion_request: DeletionRequest, app: App) -> int:
    """Mail the vendor that requests wait, at most once a day about an app; return how many mails that are."""
    # A name that no mail can show must not keep anybody from withdrawing.
    name = app.name if plain_name(app.name) else app.id
    facts = {"app": name, "deletion_request": deletion_request.id, "due": deletion_request.due_at.isoformat()}
    cause = f"deletion_requests/{app.id}/{ctx.now:%Y-%m-%d}"
    mails = (
        Mail(MailKind.DELETION_REQUEST_REQUESTED, address, cause, facts, deletion_request.vendor, app.id)
        for address in contacts.reached(ctx, deletion_request.vendor)
    )
    return sum(notices.put_mail(ctx, mail) is not None for mail in mails)


def _event(action: str, deletion_request: DeletionRequest, **facts: object) -> Event:
    return Event(
        action,
        tenant=deletion_request.tenant,
        app=deletion_request.app,
        authorization=deletion_request.authorization,
        patient=deletion_request.patient,
        facts={"deletion_request": deletion_request.id, "vendor": deletion_request.vendor, **facts},
    )


def purge(ctx: Context) -> int:
    """Delete a batch of old requests; return how many."""
    return store.purge(ctx.tx, ctx.now - KEPT)


# What people see and do.


def list_requests(
    ctx: Context, query: DeletionRequestQuery, page: PageQuery = FIRST_PAGE
) -> list[DeletionRequest]:
    """List requests by id, as far as the actor may see them. Raises NotPermitted for actors who may see none."""
    narrowed = policy.query_for(ctx.actor, query)
    if narrowed is None:
        raise not_shown("these requests to delete", Readers.BOTH)
    return store.list_requests(ctx.tx, narrowed, page)


def get_request(ctx: Context, deletion_request_id: str) -> DeletionRequest:
    """Get a request, with its patient only for who may answer it. Raises NotFound, also for one that the actor may not see."""
    deletion_request = _visible(ctx, deletion_request_id)
    return (
        deletion_request
        if policy.may_answer(ctx.actor, deletion_request)
        else replace(deletion_request, patient="")
    )


def answer(ctx: Context, deletion_request_id: str, answer: Answer, reason: str = "") -> DeletionRequest:
    """Record the answer of a vendor's member. Raises NotFound, NotPermitted, Invalid, Conflict (answered already)."""
    deletion_request = _visible(ctx, deletion_request_id, lock=True)
    if not policy.may_answer(ctx.actor, deletion_request):
        raise audit.refusal(ctx, _event("deletion_requests.request.answer", deletion_request))
    reason = reason.strip()
    if faults := policy.answer_faults(answer, reason):
        raise Invalid("answer_invalid", "The answer is invalid; see fields.", fields=faults)
    # What was deleted cannot be kept any more; what is kept may be deleted later, or be kept for another reason.
    if deletion_request.state is State.DELETED:
        raise Conflict(
            "deletion_request_answered", "This request was already answered: everything was deleted."
        )
    after = replace(
        deletion_request, state=answer, reason=reason, answered_at=ctx.now, answered_by=str(ctx.actor)
    )
    store.save_answer(ctx.tx, after)
    audit.record(ctx, _event("deletion_requests.request.answer", after, answer=answer.value))
    return after


def _visible(ctx: Context, deletion_request_id: str, *, lock: bool = False) -> DeletionRequest:
    deletion_request = store.get(ctx.tx, deletion_request_id, lock=lock)
    if not policy.may_read(ctx.actor, deletion_request):
        raise NotFound("deletion_request_not_found", "There is no such deletion request.")
    return deletion_request
