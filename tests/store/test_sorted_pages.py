"""A list in the order that somebody asks for: names of either case, moments that are not set, and rows that are alike, on each backend."""

from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Column, MetaData, String, Table, select

from hilum.apps.registry.models import Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.db import Instant
from hilum.foundation.infra.sorting import paged
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.pages import PageQuery, Sorts
from hilum.policy.matrix.models import Tier
from hilum.review.submissions import clock_store, queue_store
from hilum.review.submissions.clock_models import Clock, Stage
from hilum.review.submissions.models import BrowsedPage, BrowseQuery, State
from hilum.review.submissions.store import submissions
from tests.flows.control_site import TRACE

SORTS = Sorts({"name": "name", "ends": "ends_at", "added": "id"})
THINGS = Table(
    "sorted_thing",
    MetaData(),
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("ends_at", Instant),
)


def read(uow: UnitOfWork, page: PageQuery) -> list[Any]:
    def verb(ctx: Context) -> list[Any]:
        return list(ctx.tx.execute(paged(select(THINGS), THINGS, SORTS, page)).all())

    return uow.write_now(verb, trace=TRACE)


def walked(uow: UnitOfWork, sort: str) -> list[Any]:
    """Read the whole list, two rows at a time."""
    found: list[Any] = []
    page = PageQuery(limit=2, sort=sort)
    while True:
        rows = read(uow, page)
        found += rows
        following = SORTS.next(rows, page)
        if not following:
            return found
        page = PageQuery(following, 2, sort)


def test_a_list_is_read_whole_in_each_order_and_what_has_no_end_comes_last_upwards(uow: UnitOfWork) -> None:
    """C183."""
    now = uow.clock.now()
    names = ("Zoe", "anna", "Anna", "ANNA", "émile", "bert", "bert", "a" * 200, "=1", "Ω")
    ends = (now, None, now + timedelta(days=1), None, now, now, None, now, now, now)
    rows = [
        {"id": f"t{n}", "name": name, "ends_at": at}
        for n, (name, at) in enumerate(zip(names, ends, strict=True))
    ]
    uow.write_now(lambda ctx: THINGS.create(ctx.tx), trace=TRACE)
    uow.write_now(lambda ctx: ctx.tx.execute(THINGS.insert(), rows), trace=TRACE)

    found = {word: walked(uow, word) for word in ("", *SORTS.words)}
    uow.write_now(lambda ctx: THINGS.drop(ctx.tx), trace=TRACE)

    for word, listed in found.items():
        assert sorted(row.id for row in listed) == [f"t{n}" for n in range(10)], word
        if word.startswith("-"):
            assert listed == found[word[1:]][::-1]
    assert [row.id for row in found["name"] if row.name.lower() == "anna"] == ["t1", "t2", "t3"]
    # The length decides nothing: only letters, without regard to their case.
    by_name = [row.name.lower() for row in found["name"] if row.name.isascii() and row.name.isalpha()]
    assert all(before <= after for before, after in pairwise(by_name))
    assert [row.ends_at is None for row in found["ends"]] == [False] * 7 + [True] * 3
    dated = [row.ends_at for row in found["ends"] if row.ends_at]
    assert dated == sorted(dated)


def test_a_row_that_is_renamed_or_deleted_between_two_pages_moves_no_other(sqlite_uow: UnitOfWork) -> None:
    """C183."""
    uow = sqlite_uow
    rows = [{"id": f"t{n}", "name": f"n{n}", "ends_at": None} for n in range(6)]
    uow.write_now(lambda ctx: THINGS.create(ctx.tx), trace=TRACE)
    uow.write_now(lambda ctx: ctx.tx.execute(THINGS.insert(), rows), trace=TRACE)

    first = read(uow, PageQuery(limit=2, sort="name"))
    after = SORTS.next(first, PageQuery(limit=2, sort="name"))
    uow.write_now(lambda ctx: ctx.tx.execute(THINGS.delete().where(THINGS.c.id == "t1")), trace=TRACE)

    assert [row.id for row in read(uow, PageQuery(after, 2, "name"))] == ["t2", "t3"]
    for sort, cursor in (("-name", after), ("name", "t1"), ("name", "e30")):
        with pytest.raises(Invalid, match="first page"):
            read(uow, PageQuery(cursor, 2, sort))


def test_the_queue_by_what_is_due_has_what_no_clock_runs_for_last(uow: UnitOfWork) -> None:
    """C183: a submission whose decision waits for its vendor has no day on which it is due."""
    now = uow.clock.now()
    common = {
        "vendor": "ven_1",
        "label": "1",
        "environment": Environment.SANDBOX.value,
        "scopes": [],
        "documents": [],
        "created_by": "system:",
        "created_at": now,
        "changed_at": now,
        "revision": 1,
        "content": "{}",
        "digest": "",
        "policy_version": 1,
        "certification": "",
        "submitted_at": now,
        "reasons": [],
    }
    states = [
        State.IN_REVIEW,
        State.SUBMITTED,
        State.IN_REVIEW,
        State.IN_REVIEW,
        State.CHECKING,
        State.CERTIFIED,
    ]
    rows = [
        {"id": f"sub_{n}", "app": f"app_{n}", "version": f"ver_{n}", "state": state.value} | common
        for n, state in enumerate(states)
    ]
    days = {0: 3, 2: None, 3: 1, 5: 2}

    def add(ctx: Context) -> None:
        ctx.tx.execute(submissions.insert(), rows)
        for n, due in days.items():
            at = None if due is None else now + timedelta(days=due)
            clock_store.put_clock(
                ctx.tx, Clock(f"sub_{n}", Stage.DECISION, AppId(f"app_{n}"), Tier.LOW, "calendar", 5, now, at)
            )

    uow.write_now(add, trace=TRACE)
    everything = (State.SUBMITTED, State.CHECKING, State.IN_REVIEW)

    def browse(ctx: Context, asked: BrowseQuery) -> BrowsedPage:
        return queue_store.browse(ctx.tx, asked, vendor="")

    def walk(sort: str, states: tuple[State, ...]) -> list[str]:
        found: list[str] = []
        after = ""
        for _ in range(20):
            asked = BrowseQuery(states, sort=sort, after=after, limit=2)
            page = uow.write_now(partial(browse, asked=asked), trace=TRACE)
            found += [each.id for each in page.submissions]
            after = page.next
            if not after:
                return found
        raise AssertionError("no end")

    for wanted, more in ((everything, []), ((), ["sub_5"])):
        upwards = walk("due", wanted)
        assert upwards == ["sub_3", *more, "sub_0", "sub_1", "sub_2", "sub_4"], wanted
        assert walk("-due", wanted) == upwards[::-1]
        assert walk("submitted", wanted) == walk("-submitted", wanted)[::-1] == sorted(upwards)
