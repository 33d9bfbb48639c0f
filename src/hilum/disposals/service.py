"""Ask vendors to dispose of what their apps have, send the requests, and record the answers."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.clients import policy as clients_policy
from hilum.clients import service as clients
from hilum.clients.models import Client, ClientFacts
from hilum.contacts import service as contacts
from hilum.disposals import policy, store
from hilum.disposals.models import (
    ESCALATE_AFTER,
    KEPT,
    LOOKED_BACK,
    TEXT_TYPE,
    Agreed,
    AnswerOrder,
    Cause,
    Disposal,
    DisposalQuery,
    SignedRequest,
)
from hilum.disposals.receivers import ask as ask_receiver
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.kernel.ids import AppId, TenantId, VendorId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.keys import service as keys
from hilum.notices import service as notices
from hilum.notices.models import EventKind, Mail, MailKind, VendorEvent
from hilum.notices.policy import plain_name
from hilum.policies import service as policies
from hilum.registry import service as registry
from hilum.registry.models import App, Environment

__all__ = ["ask_receiver"]
# Called within the transaction that ends something. These only write a row: the job signs and sends.


def ask_of_person(ctx: Context, agreed: Agreed) -> None:
    """Record a request about an agreement that ended just now."""
    app = _app(ctx, agreed.app)
    if app is None:
        return
    facts = clients.client_facts(ctx, agreed.client)
    due = _due(ctx, agreed.tenant, [] if facts is None else [facts])
    disposal = Disposal(
        id=ctx.ids.new("dsp"),
        cause=Cause.AGREEMENT,
        vendor=app.vendor,
        app=app.id,
        requested_at=ctx.now,
        due_at=due,
        tenant=agreed.tenant,
        client=agreed.client,
        authorization=agreed.id,
        patient=agreed.patient,
    )
    _add(ctx, disposal, f"agreement/{agreed.id}")


def ask_of_hospital(ctx: Context, tenant: TenantId, app_id: AppId, installation: str) -> None:
    """Record a request about everything of a hospital that removed an app just now: one, however many agreements there were."""
    _ask(ctx, Cause.INSTALLATION, app_id, f"installation/{installation}", tenant)


def ask_of_app(ctx: Context, app_id: AppId, certification: str) -> None:
    """Record a request about every hospital, since the last certification of an app was withdrawn just now."""
    _ask(ctx, Cause.CERTIFICATION, app_id, f"certification/{certification}")


def _ask(ctx: Context, cause: Cause, app_id: AppId, once: str, tenant: TenantId | None = None) -> None:
    """Record a request to the vendor of an app, about one hospital or (None) all; nothing for an app that no longer exists.

    ``once`` names the cause: a second request with the same one is not recorded.
    """
    app = _app(ctx, app_id)
    if app is None:
        return
    due = _due(ctx, tenant, clients.facts_of_apps(ctx, (app.id,)).get(app.id, ()))
    disposal = Disposal(
        ctx.ids.new("dsp"), cause, app.vendor, app.id, ctx.now, due, tenant=tenant or TenantId("")
    )
    _add(ctx, disposal, once)


def ask_of_expired(ctx: Context, after: str) -> str:
    """Record a request for each app whose last certification expired lately, of a batch of certifications; return the id to continue ``after``.

    Certifications whose signature does not match are ignored: whoever writes to the database must not make vendors delete anything.
    """
    found = registry.list_expired(ctx, ctx.now - LOOKED_BACK, after)
    for each in found:
        app = _app(ctx, each.app)
        if app is None:
            continue
        grace = registry.grace_of(ctx, app.category)
        last = policy.ended_last(registry.certifications_of(ctx, each.app), ctx.now, grace)
        # The certification that ended last is the cause, whether it expired or was withdrawn.
        if last is not None and last.id == each.id:
            ask_of_app(ctx, each.app, each.id)
    return found[-1].id if found else ""


def ask_of_lapse(ctx: Context, tenant: TenantId, app_id: AppId, agreement: str) -> None:
    """Record a request about everything of a hospital, since an agreement with it that the app needs has been over for long."""
    _ask(ctx, Cause.LAPSE, app_id, f"lapse/{agreement}/{app_id}", tenant)


def ask_of_former(ctx: Context, app_id: AppId, former: VendorId) -> None:
    """Record a request to an app's former vendor, just after a transfer, about every hospital."""
    app = _app(ctx, app_id)
    certifications = registry.certifications_of(ctx, app_id)
    if app is None or not any(each.environment is Environment.PRODUCTION for each in certifications):
        return
    due = _due(ctx, None, clients.facts_of_apps(ctx, (app.id,)).get(app.id, ()))
    disposal = Disposal(ctx.ids.new("dsp"), Cause.TRANSFER, former, app.id, ctx.now, due)
    _add(ctx, disposal, f"transfer/{app.id}/{ctx.now.isoformat()}")


def _app(ctx: Context, app_id: AppId) -> App | None:
    """Return an app that has a vendor to ask; None for a hospital's own EHR or server, and for an app that is gone."""
    try:
        app = registry.get_app(ctx, app_id)
    except NotFound:
        return None
    return app if app.tenant is None else None


def _due(ctx: Context, tenant: TenantId | None, found: Iterable[ClientFacts]) -> datetime:
    current = policies.current(ctx)
    cells = (
        clients_policy.admission(
            current.everywhere if tenant is None else current.book_at(tenant, ctx.now, each.app),
            each,
            ctx.now,
        ).cell
        for each in found
    )
    return policy.due_at(ctx.now, cells)


def _add(ctx: Context, disposal: Disposal, once: str) -> None:
    if store.add(ctx.tx, disposal, once):
        facts = {"cause": disposal.cause.value, "due_at": disposal.due_at.isoformat()}
        audit.record(ctx, _event("disposals.request.add", disposal, **facts))


def _event(action: str, disposal: Disposal, **facts: object) -> Event:
    return Event(
        action,
        tenant=disposal.tenant,
        app=disposal.app,
        client=disposal.client,
        authorization=disposal.authorization,
        patient=disposal.patient,
        facts={"disposal": disposal.id, "vendor": disposal.vendor, **facts},
    )


# The job.


def announce(ctx: Context, *, issuer: str) -> int:
    """Put a batch of new requests into the outbox of notices; return how many. Call again until it returns 0.

    The mark and the notices commit together, so that a request is never lost and never sent twice.
    """
    found = store.list_unannounced(ctx.tx)
    for disposal in found:
        facts = {
            "disposal_id": disposal.id,
            "app_id": disposal.app,
            "due_at": disposal.due_at.isoformat(),
            "request": signed_text(ctx, disposal, issuer=issuer),
        }
        event = VendorEvent(
            EventKind.DISPOSAL_REQUESTED, disposal.vendor, f"disposal/{disposal.id}", facts, disposal.app
        )
        sent = len(notices.put_event(ctx, event))
        mailed = _mail(ctx, disposal)
        store.save_announced(ctx.tx, disposal.id, ctx.now)
        audit.record(ctx, _event("disposals.request.send", disposal, webhooks=sent, mailed=mailed))
    return len(found)


def _mail(ctx: Context, disposal: Disposal) -> bool:
    """Put a mail to the vendor's proved contact, at most one a day about an app: it says that requests wait, and names no patient."""
    address = contacts.proved_address(ctx, disposal.vendor)
    app = _app(ctx, disposal.app)
    if not address or app is None:
        return False
    facts = {"app": app.name, "disposal": disposal.id, "due": disposal.due_at.isoformat()}
    cause = f"disposals/{disposal.app}/{ctx.now:%Y-%m-%d}"
    order = Mail(MailKind.DISPOSAL_REQUESTED, address, cause, facts, disposal.vendor, disposal.app)
    return notices.put_mail(ctx, order) is not None


def signed_text(ctx: Context, disposal: Disposal, *, issuer: str) -> str:
    """Return a request as a signed security event token, for the app alone: it has the patient's id as the app knew it."""
    audience = [disposal.client] if disposal.client else _clients_of(ctx, disposal.app)
    claims = policy.claims_of(disposal, issuer=issuer, audience=audience)
    return keys.sign_disposal(ctx, claims, typ=TEXT_TYPE)


def _clients_of(ctx: Context, app: AppId) -> list[str]:
    return [each.id for each in clients.facts_of_apps(ctx, (app,)).get(app, ())]


def mark_overdue(ctx: Context) -> int:
    """Record the requests without an answer whose deadline has passed, at most a batch; return how many. Call again until it returns 0."""
    due = store.list_due(ctx.tx, ctx.now)
    for disposal in due:
        if store.save_overdue(ctx.tx, disposal.id, ctx.now):
            audit.record(ctx, _event("disposals.request.overdue", disposal))
    return len(due)


def escalate(ctx: Context) -> int:
    """Escalate a batch of long overdue requests to the hospital's administrators, and remind the vendor; return how many."""
    late = store.list_late(ctx.tx, ctx.now - ESCALATE_AFTER)
    for disposal in late:
        store.save_escalated(ctx.tx, disposal.id, ctx.now)
        _mail(ctx, disposal)
        mailed = _mail_hospital(ctx, disposal)
        audit.record(ctx, _event("disposals.request.escalate", disposal, mailed=mailed))
    return len(late)


def _mail_hospital(ctx: Context, disposal: Disposal) -> int:
    """Mail the administrators of the hospital that a request is about, at most once a day about an app; return how many."""
    app = _app(ctx, disposal.app)
    if not disposal.tenant or app is None:
        return 0
    vendor = registry.get_vendor(ctx, disposal.vendor).name
    facts = {
        # A name that no mail can show must not delay the mails about others.
        "app": app.name if plain_name(app.name) else app.id,
        "vendor": vendor if plain_name(vendor) else disposal.vendor,
        "disposal": disposal.id,
        "due": disposal.due_at.isoformat(),
    }
    cause = f"disposals/late/{disposal.tenant}/{disposal.app}/{ctx.now:%Y-%m-%d}"
    return identity.mail_administrators(
        ctx, disposal.tenant, MailKind.DISPOSAL_LATE, cause, facts, vendor=disposal.vendor, app=app.id
    )


def purge(ctx: Context) -> int:
    """Delete a batch of requests that were answered long ago, or never and whose deadline is long past; return how many.

    That one was never answered stays on record, as an event.
    """
    given_up = store.take_unanswered(ctx.tx, ctx.now - KEPT)
    for disposal in given_up:
        audit.record(ctx, _event("disposals.request.give_up", disposal, due_at=disposal.due_at.isoformat()))
    return len(given_up) + store.purge(ctx.tx, ctx.now - KEPT)


# What people see and do.


def list_requests(ctx: Context, query: DisposalQuery, page: PageQuery = FIRST_PAGE) -> list[Disposal]:
    """List requests: a vendor's members their own, a hospital's administrator those about it, the staff all. Raises NotPermitted."""
    narrowed = policy.query_for(ctx.actor, query)
    if narrowed is None:
        raise not_shown("these requests to delete", Readers.BOTH)
    return store.list_requests(ctx.tx, narrowed, page, ctx.now)


def get_request(ctx: Context, disposal_id: str) -> Disposal:
    """Get a request. Raises NotFound, also for one that the actor may not see."""
    return _visible(ctx, disposal_id)


def answer(ctx: Context, disposal_id: str, order: AnswerOrder) -> Disposal:
    """Record the answer of a vendor's member. Raises NotFound, NotPermitted, Invalid, Conflict (answered already)."""
    found = _visible(ctx, disposal_id, lock=True)
    if not policy.may_answer(ctx.actor, found):
        raise audit.refusal(ctx, _event("disposals.request.answer", found))
    return _answered(ctx, found, order)


def _visible(ctx: Context, disposal_id: str, *, lock: bool = False) -> Disposal:
    found = store.get(ctx.tx, disposal_id, lock=lock)
    if not policy.may_read(ctx.actor, found):
        raise NotFound("disposal_not_found", "There is no such disposal request.")
    return found


# What the app itself does, with its own authentication.


def open_of_client(ctx: Context, client: Client, tenant: TenantId, *, issuer: str) -> list[SignedRequest]:
    """List what a client's app was asked and has not answered, of a hospital and of all, each with its signed text."""
    vendor = registry.get_app(ctx, client.app).vendor
    found = store.list_open(ctx.tx, client.app, vendor, tenant)
    return [SignedRequest(each, signed_text(ctx, each, issuer=issuer)) for each in found]


def answer_as_client(
    ctx: Context, client: Client, tenant: TenantId, disposal_id: str, order: AnswerOrder
) -> Disposal:
    """Record the answer of an authenticated client of the app. Raises NotFound, Invalid, Conflict (answered already)."""
    found = store.get(ctx.tx, disposal_id, lock=True)
    # Also after a transfer: the new vendor does not answer for the former one.
    own = found.app == client.app and found.vendor == registry.get_app(ctx, client.app).vendor
    if not own or found.tenant not in {"", tenant}:
        raise NotFound("disposal_not_found", "There is no such disposal request.")
    return _answered(ctx.as_actor(Actor(ActorKind.CLIENT, client.id, tenant)), found, order)


def _answered(ctx: Context, found: Disposal, order: AnswerOrder) -> Disposal:
    if faults := policy.answer_faults(order):
        raise Invalid("answer_invalid", "The answer is invalid; see fields.", fields=faults)
    # A repeated answer gets the same response: the client may not have received ours.
    if found.answer is order.answer:
        return found
    after = replace(
        found,
        answer=order.answer,
        legal_reason=order.legal_reason.strip(),
        answered_at=ctx.now,
        answered_by=str(ctx.actor),
    )
    if order.answer not in policy.FOLLOWS[found.answer] or not store.save_answer(ctx.tx, after, found.answer):
        raise Conflict(
            "disposal_answered", "This request was already answered with a further-reaching answer."
        )
    late = ctx.now >= found.due_at
    audit.record(ctx, _event("disposals.request.answer", after, answer=order.answer.value, late=late))
    return after
