"""The outbox, and the table of webhook endpoints."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import JSON, Column, Connection, Index, Integer, String, Table, Text, func, select

from hilum.foundation.infra import budgets as budgets_of
from hilum.foundation.infra.budgets import budget_table
from hilum.foundation.infra.db import Instant, in_batches, metadata
from hilum.foundation.infra.rows import Rows, given
from hilum.foundation.kernel.pages import PageQuery
from hilum.records.notices.models import (
    OPEN,
    PURGE_BATCH,
    WAITING_BOUND,
    Channel,
    Endpoint,
    Notice,
    NoticeQuery,
    State,
    Summary,
)

notices = Table(
    "notices_notice",
    metadata,
    Column("id", String(64), primary_key=True),
    # SHA-256 of channel, recipient and cause: the constraint decides between two notices of one cause.
    Column("once", String(64), nullable=False, unique=True),
    Column("channel", String(20), nullable=False),
    Column("recipient", String(254), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("vendor", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("cause", Text, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("attempt", String(64), nullable=False),
    Column("leased_until", Instant),
    Column("created_at", Instant, nullable=False),
    Column("next_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("settled_at", Instant),
    Column("priority", Integer, nullable=False, server_default="1"),
    Index("ix_notices_notice_due", "channel", "state", "priority", "next_at"),
    Index("ix_notices_notice_leased", "state", "leased_until"),
    Index("ix_notices_notice_recipient", "recipient", "state"),
    Index("ix_notices_notice_state", "state", "id"),
    Index("ix_notices_notice_vendor", "vendor", "id"),
    Index("ix_notices_notice_settled", "settled_at"),
)

endpoints = Table(
    "notices_endpoint",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("vendor", String(64), nullable=False),
    Column("app", String(64), nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Text, nullable=False),
    Column("sealed", Text, nullable=False),
    Column("old_sealed", Text, nullable=False),
    Column("old_until", Instant),
    Column("created_at", Instant, nullable=False),
    Column("created_by", String(120), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("paused_until", Instant),
    Column("disabled", String(64), nullable=False),
    Column("last_status", Integer, nullable=False),
    Column("last_reason", String(64), nullable=False),
    Column("last_at", Instant),
    Index(None, "vendor", "id"),
    Index(None, "paused_until"),
)

budgets = budget_table("notices_budget")


NOTICES = Rows(notices, Notice, "notice")
ENDPOINTS = Rows(endpoints, Endpoint, "webhook endpoint", code="webhook_not_found")


def is_full(tx: Connection, recipient: str) -> bool:
    """Check whether WAITING_BOUND notices are open for a recipient."""
    # Counts no further than the bound.
    query = select(notices.c.id).where(notices.c.recipient == recipient, notices.c.state.in_(OPEN))
    counted = select(func.count()).select_from(query.limit(WAITING_BOUND).subquery())
    return int(tx.execute(counted).scalar_one()) >= WAITING_BOUND


def claim(
    tx: Connection, channel: Channel, attempt: str, *, now: datetime, until: datetime, busy: Collection[str]
) -> Notice | None:
    """Claim the notice of the first priority that has been due longest for one attempt, until a time; None if none is due.

    ``busy`` are recipients that this process is sending to; paused endpoints are left out too.
    """
    due = [
        notices.c.channel == channel.value,
        notices.c.state == State.WAITING.value,
        notices.c.next_at <= now,
    ]
    if channel is Channel.WEBHOOK:
        paused = select(endpoints.c.id).where(endpoints.c.paused_until > now)
        due += [notices.c.recipient.not_in(busy), notices.c.recipient.not_in(paused)]
    first = select(notices.c.id).where(*due).order_by(notices.c.priority, notices.c.next_at).limit(1)
    # Two nodes take different rows instead of waiting for each other.
    chosen = tx.execute(first.with_for_update(skip_locked=True)).scalar_one_or_none()
    if chosen is None:
        return None
    values = {"state": State.SENDING, "attempt": attempt, "leased_until": until}
    # Only from waiting: of two claims at one moment one gets the row, whatever the isolation.
    return NOTICES.step(tx, values, id=chosen, state=State.WAITING)


def is_anything_due(tx: Connection, channel: Channel, now: datetime) -> bool:
    """Check whether a notice of this channel is due, or one of any channel has outlived its lease."""
    waiting = (notices.c.channel == channel.value, notices.c.state == State.WAITING.value)
    # By value, so that the index passes over those that wait for a later time.
    priorities = notices.c.priority.in_((0, 1))
    due = select(notices.c.id).where(*waiting, priorities, notices.c.next_at <= now).limit(1)
    under_way = notices.c.state.in_((State.SENDING, State.HANDING_OVER))
    abandoned = select(notices.c.id).where(under_way, notices.c.leased_until < now).limit(1)
    return any(tx.execute(each).first() is not None for each in (due, abandoned))


def save_handing_over(tx: Connection, notice: str, attempt: str, until: datetime) -> bool:
    """Record that a notice may leave now; False if this attempt no longer has it."""
    values = {"state": State.HANDING_OVER, "leased_until": until}
    return NOTICES.change(tx, values, id=notice, attempt=attempt, state=State.SENDING) == 1


def save_ended(tx: Connection, notice: Notice, attempt: str) -> bool:
    """Record how an attempt ended; False if another attempt has the notice."""
    # Unknown as well: a process that was frozen past its lease may still learn that its mail was accepted.
    mine = notices.c.state.in_((State.SENDING, State.HANDING_OVER, State.UNKNOWN))
    return NOTICES.save(tx, notice, mine, attempt=attempt)


def list_abandoned(tx: Connection, now: datetime, limit: int) -> list[Notice]:
    """List and lock notices whose attempt has outlived its lease."""
    under_way = notices.c.state.in_((State.SENDING, State.HANDING_OVER))
    query = NOTICES.select(under_way, notices.c.leased_until < now).limit(limit)
    return NOTICES.read(tx, query.with_for_update(skip_locked=True))


def settled_last(
    tx: Connection, recipients: Collection[str], state: State, reason: str
) -> dict[str, datetime]:
    """Return when the last mail to each of some addresses was settled in a state, and for a reason unless that is empty."""
    found: dict[str, datetime] = {}
    for batch in in_batches(recipients):
        query = (
            select(notices.c.recipient, func.max(notices.c.settled_at, type_=Instant).label("at"))
            .where(notices.c.recipient.in_(batch), notices.c.state == state.value)
            .where(notices.c.channel == Channel.MAIL.value, notices.c.settled_at.is_not(None))
            .group_by(notices.c.recipient)
        )
        query = query.where(notices.c.reason == reason, notices.c.status >= 500) if reason else query
        found |= {row.recipient: row.at for row in tx.execute(query)}
    return found


def list_notices(tx: Connection, query: NoticeQuery, page: PageQuery) -> list[Notice]:
    """List notices, newest first."""
    of_whom = {"vendor": query.vendor or None, "recipient": query.recipient or None}
    return NOTICES.newest(tx, page, **given(state=query.state, channel=query.channel, **of_whom))


def summary(tx: Connection, channel: Channel, limit: int) -> Summary:
    """Count a channel's open, unknown and dead notices, each up to a limit."""

    def count(*states: State) -> int:
        query = select(notices.c.id).where(notices.c.channel == channel.value, notices.c.state.in_(states))
        return int(tx.execute(select(func.count()).select_from(query.limit(limit).subquery())).scalar_one())

    open_ = (notices.c.channel == channel.value, notices.c.state.in_(OPEN))
    first = select(notices.c.created_at, notices.c.reason).where(*open_).order_by(notices.c.created_at)
    oldest = tx.execute(first.limit(1)).first() if (waiting := count(*OPEN)) else None
    return Summary(
        channel,
        waiting,
        count(State.UNKNOWN),
        count(State.DEAD),
        oldest=oldest.created_at if oldest else None,
        reason=oldest.reason if oldest else "",
    )


def save_mail_unknown(tx: Connection, reason: str, at: datetime) -> int:
    """Record every open mail as unknown; return how many there were."""
    values = {
        "state": State.UNKNOWN,
        "reason": reason,
        "settled_at": at,
        "sealed": "",
        "attempt": "",
        "leased_until": None,
    }
    return NOTICES.change(tx, values, notices.c.state.in_(OPEN), channel=Channel.MAIL)


def purge(tx: Connection, before: datetime) -> int:
    """Delete a batch of notices that were settled before a time; return how many."""
    return NOTICES.purge(tx, PURGE_BATCH, notices.c.settled_at < before)


def list_endpoints(tx: Connection, vendor: str, page: PageQuery) -> list[Endpoint]:
    """List endpoints by id, of one vendor or (empty) of all."""
    return ENDPOINTS.page(tx, page, **given(vendor=vendor or None))


def spend(tx: Connection, key: str, bound: int, now: datetime, window_start: datetime) -> bool:
    """Count one test event against a budget; False if ``bound`` were counted in its window."""
    return budgets_of.spend(tx, budgets, key, bound, now=now, window_start=window_start)


def delete_budgets(tx: Connection, before: datetime) -> None:
    budgets_of.delete_old(tx, budgets, before)
