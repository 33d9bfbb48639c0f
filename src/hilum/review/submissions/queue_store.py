"""Lists of submissions as people look through them: filtered, by pages, in the order of their arrival or of what is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Select, exists, func, literal, not_, select, tuple_

from hilum.foundation.infra.db import Instant
from hilum.foundation.infra.sorting import moment_of
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix.models import Discipline
from hilum.review.submissions import clock_store, discipline_store
from hilum.review.submissions.clock_store import RUNNING, clocks
from hilum.review.submissions.models import (
    COUNTED_BOUND,
    SUBMISSION_SORTS,
    BrowsedPage,
    BrowseQuery,
    Submission,
)
from hilum.review.submissions.store import submission_of, submissions

_BRIEF: list[Any] = [each for each in submissions.c if each.name != "content"]


@dataclass(frozen=True, slots=True)
class _Placed:
    """A submission with its place in an order: when its decision is due, if that is known."""

    submission: Submission
    due_at: datetime | None = None

    @property
    def id(self) -> str:
        return self.submission.id


def browse(
    tx: Connection, asked: BrowseQuery, *, vendor: str, reviewer: str = "", signs: Sequence[Discipline] = ()
) -> BrowsedPage:
    """Read a page of a list of submissions, of a vendor if it is given. ``reviewer``, who signs for some disciplines, is whose it is. Raises Invalid."""
    query = _fitting(asked, vendor)
    if asked.discipline is not None:
        query = query.where(discipline_store.waits_in(submissions.c.id, asked.discipline))
    if asked.tier is not None:
        query = query.where(clock_store.is_of_tier(submissions.c.id, asked.tier))
    if asked.mine:
        query = query.where(discipline_store.waits_for(submissions.c.id, reviewer, signs))
    # A query for each state reads an index in order, which one over several states could not.
    by_state = [query.where(submissions.c.state == each.value) for each in asked.states] or [query]
    if asked.sort.removeprefix("-") == "due":
        placed = _by_due(tx, asked, query, by_state)
    else:
        down = asked.newest or asked.sort == "-submitted"
        placed = [_Placed(each) for each in _by_id(tx, by_state, asked.after, asked.limit + 1, down=down)]
    shown, cursor = placed[: asked.limit], SUBMISSION_SORTS.cursor(asked.sort if "due" in asked.sort else "")
    more = cursor(shown[-1]) if len(placed) > asked.limit else ""
    return BrowsedPage(tuple(each.submission for each in shown), more, _count(tx, by_state))


def _fitting(asked: BrowseQuery, vendor: str) -> Select[Any]:
    query = select(*_BRIEF, literal("").label("content"))
    for column, value in (
        (submissions.c.vendor, vendor),
        (submissions.c.app, asked.app),
        (submissions.c.environment, "" if asked.environment is None else asked.environment.value),
    ):
        if value:
            query = query.where(column == value)
    return query


def _by_id(
    tx: Connection, queries: list[Select[Any]], after: str, limit: int, *, down: bool
) -> list[Submission]:
    pages = []
    for each in queries:
        # Each state by itself: an index has its submissions in their order, and one over several would have to sort them all.
        if down:
            query = each.order_by(submissions.c.id.desc())
            query = query.where(submissions.c.id < after) if after else query
        else:
            query = each.where(submissions.c.id > after).order_by(submissions.c.id)
        pages.append([submission_of(row) for row in tx.execute(query.limit(limit))])
    return list(islice(merge(*pages, key=lambda each: each.id, reverse=down), limit))


def _by_due(
    tx: Connection, asked: BrowseQuery, query: Select[Any], by_state: list[Select[Any]]
) -> list[_Placed]:
    """Read by when the decision is due. Where no clock runs, nothing is due: they come last, and downwards first."""
    place = SUBMISSION_SORTS.place(PageQuery(asked.after, sort=asked.sort))
    down, wanted = asked.sort.startswith("-"), asked.limit + 1
    parts = [False, True] if down else [True, False]
    if place is not None:
        parts = parts[parts.index(place[0] is not None) :]
    found: list[_Placed] = []
    for clocked in parts:
        rest = wanted - len(found)
        if clocked:
            found += _clocked(tx, asked, query, place, rest, down=down)
        else:
            unclocked = [each.where(not_(_runs())) for each in by_state]
            after = "" if place is None else place[1]
            found += [_Placed(each) for each in _by_id(tx, unclocked, after, rest, down=down)]
        if len(found) >= wanted:
            break
        # The page began in the part before: this one begins at its first.
        place = None
    return found


def _runs() -> Any:
    return exists(select(clocks.c.submission).where(clocks.c.submission == submissions.c.id, RUNNING))


def _clocked(
    tx: Connection,
    asked: BrowseQuery,
    query: Select[Any],
    place: tuple[str | None, str] | None,
    limit: int,
    *,
    down: bool,
) -> list[_Placed]:
    due = (clocks.c.due_at, clocks.c.submission)
    query = query.add_columns(clocks.c.due_at.label("due_at"))
    query = query.join(clocks, clocks.c.submission == submissions.c.id).where(RUNNING)
    if asked.states:
        query = query.where(submissions.c.state.in_([each.value for each in asked.states]))
    if place is not None:
        start = tuple_(literal(moment_of(place[0] or ""), Instant), literal(place[1]))
        query = query.where(tuple_(*due) < start if down else tuple_(*due) > start)
    ordered = query.order_by(*(each.desc() if down else each for each in due))
    return [_Placed(submission_of(row), row.due_at) for row in tx.execute(ordered.limit(limit))]


def _count(tx: Connection, queries: list[Select[Any]]) -> int:
    total = 0
    for each in queries:
        some = each.with_only_columns(submissions.c.id).limit(COUNTED_BOUND + 1 - total).subquery()
        total += tx.execute(select(func.count()).select_from(some)).scalar_one()
        if total > COUNTED_BOUND:
            break
    return total
