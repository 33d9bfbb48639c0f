"""Pages of the control stream's events. Each kind of page is prepared once, by what it is filtered by: most requests of the consoles ask for one."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import BindParameter, Connection, and_, bindparam, desc, func, or_, select

from hilum.foundation.infra.prepared_statements import PreparedStatement
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.foundation.kernel.times import from_micros, to_micros
from hilum.records.audit.models import Event, EventPage, EventQuery, Outcome, RecordedEvent
from hilum.records.audit.store import audit_event, audit_payload, with_payload

PAGES_KEPT = 256
"""Prepared pages of events, by what they are filtered by."""
_FILTERS = ("tenant", "app", "client", "person", "launch", "authorization", "request_id", "outcome", "reason")
_CURSOR = ("after_at", "after_seq", "after_writer")


def list_events(tx: Connection, query: EventQuery) -> EventPage:
    """Read a page of events, newest first."""
    values: dict[str, Any] = {name: getattr(query, name) for name in _FILTERS if getattr(query, name)}
    # The existing actions instead of LIKE 'prefix%', which uses an index only under some collations.
    if wanted := (*query.actions, *([query.action] if query.action else ())):
        values |= {f"action_{n}": each for n, each in enumerate(_actions(tx, wanted))}
    if query.without:
        values |= {f"without_{n}": each for n, each in enumerate(_actions(tx, query.without))}
    values |= {name: moment for name in ("since", "before") if (moment := getattr(query, name)) is not None}
    if query.after:
        values |= dict(zip(_CURSOR, _read_cursor(query.after), strict=True))
    limit = max(1, min(query.limit, PAGE_BOUND))
    # One row more than asked for shows whether there is a next page.
    rows = _page_of(tuple(values)).mappings(tx, values | {"rows": limit + 1})
    events = tuple(_recorded(row) for row in rows[:limit])
    more = len(rows) > limit
    return EventPage(events, _cursor(events[-1]) if more else "")


@lru_cache(maxsize=PAGES_KEPT)
def _page_of(given: tuple[str, ...]) -> PreparedStatement:
    """Prepare the page of the events that match the given values, by their names in ``list_events``."""
    table = audit_event
    wanted = [table.c[name] == bindparam(name) for name in _FILTERS if name in given]
    actions: list[BindParameter[Any]] = [bindparam(name) for name in given if name.startswith("action_")]
    if actions:
        wanted.append(table.c.action.in_(actions))
    without: list[BindParameter[Any]] = [bindparam(name) for name in given if name.startswith("without_")]
    if without:
        wanted.append(table.c.action.not_in(without))
    if "since" in given:
        wanted.append(table.c.at >= bindparam("since"))
    if "before" in given:
        wanted.append(table.c.at < bindparam("before"))
    columns = (table.c.at, table.c.seq, table.c.writer)
    if _CURSOR[0] in given:
        last: list[BindParameter[Any]] = [bindparam(name) for name in _CURSOR]
        at, seq, writer = last
        wanted.append(
            or_(
                table.c.at < at,
                and_(table.c.at == at, table.c.seq < seq),
                and_(table.c.at == at, table.c.seq == seq, table.c.writer < writer),
            )
        )
    page = with_payload().where(*wanted).order_by(*map(desc, columns)).limit(bindparam("rows"))
    return PreparedStatement(page, *table.c, audit_payload.c.salt, audit_payload.c.body)


def _actions(tx: Connection, wanted: Sequence[str]) -> list[str]:
    """List the recorded actions that are one of ``wanted`` or begin with one and a dot, and ``wanted`` itself."""
    below = tuple(each.rstrip(".") + "." for each in wanted)
    return [*wanted, *(action for (action,) in _ACTIONS.rows(tx) if action.startswith(below))]


def _loose_scan() -> PreparedStatement:
    """Prepare the list of the recorded actions, each once, by a loose index scan."""
    action = audit_event.c.action
    seen = select(func.min(action).label("action")).cte("met", recursive=True)
    following = select(func.min(action)).where(action > seen.c.action).scalar_subquery()
    seen = seen.union_all(select(following).where(seen.c.action.is_not(None)))
    return PreparedStatement(select(seen.c.action).where(seen.c.action.is_not(None)), seen.c.action)


_ACTIONS = _loose_scan()


def _cursor(last: RecordedEvent) -> str:
    return f"{to_micros(last.at)}.{last.seq}.{last.writer}"


def _read_cursor(cursor: str) -> tuple[datetime, int, str]:
    at, _, rest = cursor.partition(".")
    seq, _, writer = rest.partition(".")
    if not (at.isascii() and at.isdigit() and seq.isascii() and seq.isdigit()) or len(cursor) > 200:
        raise Invalid(
            "cursor_invalid",
            "The cursor is not valid. Pass `next` of the previous page.",
            fields={"after": "cursor_unknown"},
        )
    return from_micros(int(at[:17])), int(seq[:17]), writer


def _recorded(row: Mapping[str, Any]) -> RecordedEvent:
    patient, facts = orjson.loads(row["body"]) if row["body"] is not None else ("", {})
    event = Event(
        action=row["action"],
        outcome=Outcome(row["outcome"]),
        tenant=row["tenant"],
        app=row["app"],
        client=row["client"],
        person=row["person"],
        launch=row["launch"],
        authorization=row["authorization"],
        reason=row["reason"],
        patient=patient,
        facts=facts,
    )
    return RecordedEvent(
        writer=row["writer"],
        seq=int(row["seq"]),
        at=row["at"],
        actor=row["actor"],
        request_id=row["request_id"],
        event=event,
        source=row["source"],
        correlation_id=row["correlation_id"],
    )
