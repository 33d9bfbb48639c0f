"""Put notices into the outbox within the caller's unit of work, claim and settle them, and manage webhook endpoints.

The verbs from ``claim`` on are the steps of one attempt, each in a transaction of its own; ``delivery`` runs them. No transaction is open
while a mail server or receiver is waited for.
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.fetch import FetchRefused, judge_url
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, not_shown
from hilum.foundation.kernel.limits import out_of_range, too_long
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.keys.live import vault
from hilum.records.notices import models, policy, store
from hilum.records.notices.models import (
    AFTER_HANDOVER,
    BEFORE_HANDOVER,
    BUDGET_WINDOW,
    CAUSE_BOUND,
    ENDPOINTS_BOUND,
    KEPT,
    MAIL_ENDS,
    OVERLAP_MAX,
    PINGS_BOUND,
    RECIPIENT_REFUSED,
    SECRET_BYTES,
    SECRET_PREFIX,
    URL_BOUND,
    WEBHOOK_ENDS,
    ZONE,
    Attempt,
    Channel,
    Endpoint,
    EndpointSecret,
    EventKind,
    Kind,
    Mail,
    NewEndpoint,
    Notice,
    NoticeQuery,
    State,
    Summary,
    VendorEvent,
)
from hilum.records.notices.templates import EVENTS, TEMPLATES

May = Callable[[Actor, str], bool]
"""Checks whether an actor may do something to the endpoints of a vendor."""
ABANDONED_BATCH = 100
COUNTED_BOUND = 10_000
"""A summary counts no further."""
_LINK_SEALING, _SECRET_SEALING = "notice-link", "webhook-secret"


def put_mail(ctx: Context, order: Mail) -> Notice | None:
    """Put a mail into the outbox, to be sent once this transaction has committed; None if its cause has yielded one already.

    Raises Invalid if the address or a parameter is not of its kind. Nothing is sent here and nothing is waited for.
    """
    template = TEMPLATES[order.template]
    order = replace(order, facts=policy.with_names(template.fields, order.facts))
    address = policy.parse_address(order.to)
    faults = policy.facts_faults(template.fields, order.facts)
    if not address:
        faults["to"] = "address_malformed"
    if faults:
        raise Invalid("notice_invalid", "The mail is invalid; see fields.", fields=faults)
    links = [value for name, value in order.facts.items() if template.fields[name] is Kind.LINK]
    assert len(links) <= 1, "a mail has at most one link"
    kept = {name: value for name, value in order.facts.items() if template.fields[name] is not Kind.LINK}
    notice = Notice(
        id=ctx.ids.new("ntc"),
        channel=Channel.MAIL,
        recipient=address,
        kind=template.id.value,
        vendor=order.vendor,
        app=order.app,
        cause=order.cause,
        # With the zone of that time: each attempt sends the same bytes, whatever the hospital states by then.
        facts=kept | ({ZONE: order.zone} if order.zone else {}),
        created_at=ctx.now,
        next_at=ctx.now,
        ends_at=min(order.until or ctx.now + MAIL_ENDS, ctx.now + MAIL_ENDS),
    )
    if links:
        sealed = vault().seal(_LINK_SEALING, links[0].encode(), nonce=ctx.ids, bound_to=notice.id)
        notice = replace(notice, sealed=sealed)
    return _put(ctx, notice)


def spend(ctx: Context, key: str, bound: int) -> bool:
    """Count one notice of a module against its daily budget; False if ``bound`` are counted already."""
    return store.spend(ctx.tx, key, bound, ctx.now, ctx.now - BUDGET_WINDOW)


def put_event(ctx: Context, order: VendorEvent) -> list[Notice]:
    """Put an event into the outbox for each endpoint of the vendor that subscribes to it; return those that are new."""
    kind = EVENTS[order.type]
    if faults := policy.facts_faults(kind.fields, order.facts):
        raise Invalid("notice_invalid", "The event is invalid; see fields.", fields=faults)

    every = store.list_endpoints(ctx.tx, order.vendor, PageQuery("", ENDPOINTS_BOUND))
    put = [_put_webhook(ctx, each, order) for each in every if policy.subscribes(each, kind.id, order.app)]
    return [each for each in put if each is not None]


def _put_webhook(ctx: Context, endpoint: Endpoint, order: VendorEvent) -> Notice | None:
    notice = Notice(
        id=ctx.ids.new("ntc"),
        channel=Channel.WEBHOOK,
        recipient=endpoint.id,
        kind=order.type.value,
        vendor=order.vendor,
        app=order.app,
        cause=order.cause,
        facts=dict(order.facts),
        created_at=ctx.now,
        next_at=ctx.now,
        ends_at=ctx.now + WEBHOOK_ENDS,
    )
    return _put(ctx, notice)


def _put(ctx: Context, notice: Notice) -> Notice | None:
    assert 0 < len(notice.cause) <= CAUSE_BOUND, "a cause is built by the code"
    if store.is_full(ctx.tx, notice.recipient):
        # The notice is stored without being sent, since its cause must not fail with it.
        notice = replace(notice, state=State.DEAD, reason="queue_full", settled_at=ctx.now, sealed="")
    text = f"{notice.channel}\0{notice.recipient}\0{notice.cause}"
    once = hashlib.sha256(text.encode()).hexdigest()
    if not store.NOTICES.add_new(ctx.tx, notice, once=once, priority=policy.priority_of(notice.kind)):
        return None
    _record(ctx, "notices.notice.put", notice)
    return notice


def _record(ctx: Context, action: str, notice: Notice) -> None:
    # Without the address, which is personal, and without the parameters.
    facts = {
        "notice": notice.id,
        "channel": notice.channel.value,
        "kind": notice.kind,
        "state": notice.state.value,
        "attempts": notice.attempts,
    }
    event = Event(action, app=notice.app, reason=notice.reason, facts=facts | {"vendor": notice.vendor})
    audit.record(ctx, event)


# One attempt, step by step.


def is_anything_due(ctx: Context, channel: Channel) -> bool:
    """Check whether a notice of this channel is due, or one of any channel was abandoned."""
    return store.is_anything_due(ctx.tx, channel, ctx.now)


def settle_abandoned(ctx: Context) -> int:
    """Settle or free notices whose attempt outlived its lease; return how many. Call again until it returns 0."""
    found = store.list_abandoned(ctx.tx, ctx.now, ABANDONED_BATCH)
    for notice in found:
        freed = policy.abandoned(notice, ctx.now)
        # ``attempt`` stays on an unknown mail: its process may still be frozen, and learn how it ended.
        if store.NOTICES.save(ctx.tx, freed, state=notice.state) and freed.state is not State.WAITING:
            _record(ctx, "notices.notice.settle", freed)
    return len(found)


def claim(ctx: Context, channel: Channel, *, busy: Collection[str]) -> Attempt | None:
    """Claim the next due notice of a channel for one attempt; None if none is due. Those that are past their end, or whose seal does not open, are given up.

    ``busy``: endpoints that this process is calling now; each is called for one notice at a time.
    """
    for _ in range(ABANDONED_BATCH):
        attempt, until = ctx.ids.new("att"), ctx.now + BEFORE_HANDOVER
        notice = store.claim(ctx.tx, channel, attempt, now=ctx.now, until=until, busy=busy)
        if notice is None:
            return None
        reason = notice.reason or "expired"
        if ctx.now < notice.ends_at:
            try:
                return _opened(ctx, notice)
            except Invalid as error:
                # Sealed under another key, or changed: it will never open, and must not delay what waits behind it.
                reason = error.code
        ended = policy.given_up(notice, reason, ctx.now)
        store.save_ended(ctx.tx, ended, attempt)
        _record(ctx, "notices.notice.settle", ended)
    return None


def _opened(ctx: Context, notice: Notice) -> Attempt:
    """Return an attempt with the sealed values that it needs, opened. Raises Invalid (seal_broken)."""
    if notice.channel is Channel.MAIL:
        link = vault().open(_LINK_SEALING, notice.sealed, notice.id).decode() if notice.sealed else ""
        return Attempt(notice, link=link)
    endpoint = store.ENDPOINTS.find(ctx.tx, id=notice.recipient)
    if endpoint is None or endpoint.disabled:
        return Attempt(notice)
    secrets = secrets_of(ctx, endpoint)
    return Attempt(notice, url=endpoint.url, secrets=secrets)


def secrets_of(ctx: Context, endpoint: Endpoint) -> tuple[str, ...]:
    """Return the secrets that sign for an endpoint now, for who sends to it. Raises Invalid (seal_broken)."""
    sealed = policy.secrets_in_force(endpoint, ctx.now)
    return tuple(vault().open(_SECRET_SEALING, each, endpoint.id).decode() for each in sealed)


def hand_over(ctx: Context, notice: Notice) -> bool:
    """Record that a mail may leave from now on; False if this attempt's lease went to another, so that it must not be sent."""
    return store.save_handing_over(ctx.tx, notice.id, notice.attempt, ctx.now + AFTER_HANDOVER)


def end_attempt(ctx: Context, notice: Notice, outcome: models.Outcome, pause: timedelta) -> Notice | None:
    """Record how an attempt ended, and what follows; None if another attempt has the notice."""
    if outcome.result is models.Result.LOST:
        return None
    ended = policy.after(notice, outcome, now=ctx.now, pause=pause)
    if not store.save_ended(ctx.tx, ended, notice.attempt):
        return None
    if notice.channel is Channel.WEBHOOK and outcome.reason != models.ENDPOINT_ENDED:
        _note_endpoint(ctx, notice.recipient, outcome)
    if ended.state not in models.OPEN:
        _record(ctx, "notices.notice.settle", ended)
    return ended


def _note_endpoint(ctx: Context, endpoint_id: str, outcome: models.Outcome) -> None:
    endpoint = store.ENDPOINTS.find(ctx.tx, lock=True, id=endpoint_id)
    if endpoint is None:
        return
    noted = policy.endpoint_after(endpoint, outcome, ctx.now)
    store.ENDPOINTS.save(ctx.tx, noted)
    if noted.disabled and not endpoint.disabled:
        facts = {"endpoint": noted.id, "vendor": noted.vendor}
        audit.record(ctx, Event("notices.endpoint.disable", reason=noted.disabled, facts=facts))


# What people see and do.


def list_notices(ctx: Context, query: NoticeQuery, page: PageQuery = FIRST_PAGE) -> list[Notice]:
    """List notices, newest first. Raises NotPermitted."""
    _require_reader(ctx)
    return store.list_notices(ctx.tx, query, page)


def get_notice(ctx: Context, notice_id: str) -> Notice:
    """Get a notice. Raises NotPermitted, NotFound."""
    _require_reader(ctx)
    return store.NOTICES.get(ctx.tx, notice_id)


def _require_reader(ctx: Context) -> None:
    if not policy.may_read(ctx.actor):
        raise not_shown("notices", "administrators, security and auditors of the platform")


def refused_last(ctx: Context, addresses: Collection[str]) -> dict[str, datetime]:
    """Return which of some addresses have refused the last mail for good, by their own server, and when. None accepted one since."""
    refused = store.settled_last(ctx.tx, addresses, State.DEAD, RECIPIENT_REFUSED)
    accepted = store.settled_last(ctx.tx, list(refused), State.SENT, "")
    return {each: at for each, at in refused.items() if each not in accepted or accepted[each] < at}


def summary(ctx: Context) -> list[Summary]:
    """Count each channel's notices, for doctor and metrics, without a permission check."""
    return [store.summary(ctx.tx, each, COUNTED_BOUND) for each in Channel]


def resend(ctx: Context, notice_id: str) -> Notice:
    """Send an unknown or dead notice again; the recipient may get it twice. Raises NotFound, NotPermitted, Conflict.

    One whose one-time link has been deleted cannot be sent again: its module issues a new link.
    """
    notice = store.NOTICES.get(ctx.tx, notice_id)
    if not policy.may_manage(ctx.actor):
        raise audit.refusal(ctx, Event("notices.notice.resend", facts={"notice": notice.id}))
    if notice.state not in {State.UNKNOWN, State.DEAD}:
        raise Conflict("notice_not_settled", "Only an unknown or dead notice can be sent again.")
    template = TEMPLATES.get(notice.kind)
    if template is not None and Kind.LINK in template.fields.values():
        raise Conflict("notice_had_link", "Its one-time link has been deleted. Ask for a new link instead.")
    lives = MAIL_ENDS if notice.channel is Channel.MAIL else WEBHOOK_ENDS
    again = replace(
        notice,
        state=State.WAITING,
        attempts=0,
        attempt="",
        next_at=ctx.now,
        ends_at=ctx.now + lives,
        settled_at=None,
    )
    if not store.NOTICES.save(ctx.tx, again, state=notice.state):
        raise Conflict("concurrent_change", "The notice has changed meanwhile. Read it again.")
    _record(ctx, "notices.notice.resend", again)
    return again


def end_open_mail(ctx: Context) -> int:
    """Record every open mail as unknown, after a restore; return how many. It may have been sent after the backup was made."""
    return store.save_mail_unknown(ctx.tx, "restored", ctx.now)


def purge(ctx: Context) -> int:
    """Delete a batch of notices that were settled long ago; return how many. Call again until it returns 0."""
    store.delete_budgets(ctx.tx, ctx.now - BUDGET_WINDOW)
    return store.purge(ctx.tx, ctx.now - KEPT)


# Webhook endpoints.


def add_endpoint(ctx: Context, order: NewEndpoint, *, private: bool) -> EndpointSecret:
    """Register where a vendor receives webhooks; return the endpoint and its secret, which is shown only here.

    ``private`` allows loopback, in a sandbox that is not public. Raises NotPermitted, Invalid, Conflict (too many).
    """
    if not policy.may_manage_endpoints(ctx.actor, order.vendor):
        raise audit.refusal(ctx, Event("notices.endpoint.add", app=order.app, facts={"vendor": order.vendor}))
    faults = {"events": fault} if (fault := policy.events_fault(order.events)) else {}
    if fault := _url_fault(order.url, private=private):
        faults["url"] = fault
    if faults:
        raise Invalid("webhook_invalid", "The webhook endpoint is invalid; see fields.", fields=faults)
    if len(store.list_endpoints(ctx.tx, order.vendor, PageQuery("", ENDPOINTS_BOUND))) >= ENDPOINTS_BOUND:
        raise Conflict(
            "webhooks_full", f"A vendor has at most {ENDPOINTS_BOUND} webhook endpoints. Remove one first."
        )
    id_ = ctx.ids.new("whk")
    secret, sealed = _new_secret(ctx, id_)
    endpoint = Endpoint(
        id_, order.vendor, order.app, order.url, order.events, sealed, ctx.now, str(ctx.actor)
    )
    store.ENDPOINTS.add(ctx.tx, endpoint)
    _record_endpoint(ctx, "notices.endpoint.add", endpoint)
    return EndpointSecret(endpoint, secret)


def _url_fault(url: str, *, private: bool) -> str:
    if len(url) > URL_BOUND:
        return too_long(URL_BOUND)
    try:
        judge_url(url, allow_private=private)
    except FetchRefused:
        return "webhook_url_refused"
    return ""


def _new_secret(ctx: Context, endpoint: str) -> tuple[str, str]:
    """Return a new secret and the same sealed for its endpoint."""
    # Standard base64, not the URL-safe one: libraries of Standard Webhooks decode no other.
    raw = ctx.ids.secret(SECRET_BYTES).replace("-", "+").replace("_", "/")
    secret = f"{SECRET_PREFIX}{raw}{'=' * (-len(raw) % 4)}"
    return secret, vault().seal(_SECRET_SEALING, secret.encode(), nonce=ctx.ids, bound_to=endpoint)


def _record_endpoint(ctx: Context, action: str, endpoint: Endpoint) -> None:
    # Not the whole URL: receivers put tokens into its path.
    facts = {
        "endpoint": endpoint.id,
        "vendor": endpoint.vendor,
        "host": urlsplit(endpoint.url).hostname or "",
    }
    audit.record(ctx, Event(action, app=endpoint.app, facts=facts))


def list_endpoints(ctx: Context, vendor: str, page: PageQuery = FIRST_PAGE) -> list[Endpoint]:
    """List endpoints by id, of one vendor or (empty) of all; a member's are those of their vendor. Raises NotFound, NotPermitted."""
    vendor = vendor or ctx.actor.vendor or ""
    if ctx.actor.vendor is not None and vendor != ctx.actor.vendor:
        raise NotFound("vendor_not_found", "There is no such vendor.")
    if not policy.may_read_endpoints(ctx.actor, vendor):
        raise not_shown(
            "webhooks", "the vendor's members, and administrators, security and auditors of the platform"
        )
    return store.list_endpoints(ctx.tx, vendor, page)


def _managed(ctx: Context, action: str, endpoint_id: str, may: May = policy.may_manage_endpoints) -> Endpoint:
    """Get an endpoint for a change, locked. Raises NotFound, NotPermitted."""
    endpoint = store.ENDPOINTS.get(ctx.tx, endpoint_id, lock=True)
    # To members of another vendor it does not exist.
    if ctx.actor.vendor is not None and ctx.actor.vendor != endpoint.vendor:
        raise store.ENDPOINTS.missing()
    if not may(ctx.actor, endpoint.vendor):
        facts = {"endpoint": endpoint.id, "vendor": endpoint.vendor}
        raise audit.refusal(ctx, Event(action, app=endpoint.app, facts=facts))
    return endpoint


def rotate_secret(ctx: Context, endpoint_id: str, overlap: timedelta) -> EndpointSecret:
    """Replace the secret of an endpoint; the old one signs as well until ``overlap`` is over. A zero overlap ends it now.

    Raises NotFound, NotPermitted, Invalid.
    """
    endpoint = _managed(ctx, "notices.endpoint.rotate", endpoint_id, policy.may_replace_secrets)
    if not timedelta(0) <= overlap <= OVERLAP_MAX:
        raise Invalid(
            "webhook_invalid",
            "The overlap is invalid; see fields.",
            fields={"overlap": out_of_range(0, int(OVERLAP_MAX.total_seconds()), "seconds")},
        )
    secret, sealed = _new_secret(ctx, endpoint.id)
    # At most two secrets: a rotation within an overlap ends the older one, which may be the one that leaked.
    old = (endpoint.sealed, ctx.now + overlap) if overlap else ("", None)
    rotated = replace(endpoint, sealed=sealed, old_sealed=old[0], old_until=old[1])
    store.ENDPOINTS.save(ctx.tx, rotated)
    _record_endpoint(ctx, "notices.endpoint.rotate", rotated)
    return EndpointSecret(rotated, secret)


def ping(ctx: Context, endpoint_id: str) -> Notice:
    """Send a test event to an endpoint. Raises NotFound, NotPermitted (right, too many today), Conflict (disabled)."""
    endpoint = _managed(ctx, "notices.endpoint.ping", endpoint_id)
    if endpoint.disabled:
        raise Conflict("webhook_disabled", "This endpoint is disabled. Resume it first.")
    # Counted by vendor, since an endpoint that is removed and added again would start from zero. The URL may be a stranger's.
    if not spend(ctx, f"ping/{endpoint.vendor}", PINGS_BOUND):
        facts = {"endpoint": endpoint.id, "vendor": endpoint.vendor}
        event = Event("notices.endpoint.ping", app=endpoint.app, reason="ping_bound", facts=facts)
        raise audit.refusal(
            ctx, event, f"A vendor sends at most {PINGS_BOUND} test events a day. Try again tomorrow."
        )
    facts, cause = {"webhook_id": endpoint.id}, f"ping/{ctx.ids.new('png')}"
    order = VendorEvent(EventKind.PING, endpoint.vendor, cause, facts, endpoint.app)
    put = _put_webhook(ctx, endpoint, order)
    assert put is not None, "its cause is new"
    return put


def resume_endpoint(ctx: Context, endpoint_id: str) -> Endpoint:
    """Resume calls of a disabled or paused endpoint. Raises NotFound, NotPermitted."""
    endpoint = _managed(ctx, "notices.endpoint.resume", endpoint_id)
    resumed = replace(endpoint, disabled="", failures=0, paused_until=None)
    store.ENDPOINTS.save(ctx.tx, resumed)
    _record_endpoint(ctx, "notices.endpoint.resume", resumed)
    return resumed


def remove_endpoint(ctx: Context, endpoint_id: str) -> None:
    """Remove an endpoint; what still waits for it is given up. Raises NotFound, NotPermitted."""
    endpoint = _managed(ctx, "notices.endpoint.remove", endpoint_id)
    store.ENDPOINTS.delete(ctx.tx, id=endpoint.id)
    _record_endpoint(ctx, "notices.endpoint.remove", endpoint)
