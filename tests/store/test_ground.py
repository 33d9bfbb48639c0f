"""The ground of every store: transactions, instants and the epoch, on each backend."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import Column, Table, select

from hilum.infra import epoch
from hilum.infra.context import Context, Trace
from hilum.infra.db import Instant, metadata
from hilum.infra.edge import Edge
from hilum.infra.epoch import Part
from hilum.kernel.errors import Conflict, Invalid, NotFound, NotPermitted, Unavailable

TRACE = Trace("req_test")


def total(edge: Edge) -> int:
    return edge.read_now(lambda ctx: epoch.read(ctx.tx)[0], trace=TRACE)


@pytest.mark.parametrize("refusal", [NotPermitted, NotFound, Invalid])
def test_a_decided_refusal_commits_what_was_written_before_it(
    edge: Edge, refusal: type[NotPermitted]
) -> None:
    """Security decision 3."""

    def verb(ctx: Context) -> None:
        ctx.advance_epoch(Part.TOKENS)
        raise refusal("no", "Because.")

    with pytest.raises(refusal):
        edge.write_now(verb, trace=TRACE)

    assert total(edge) == 1


@pytest.mark.parametrize("failure", [Conflict("late"), Unavailable("away"), ValueError("a bug")])
def test_any_other_error_leaves_nothing_behind(edge: Edge, failure: Exception) -> None:
    def verb(ctx: Context) -> None:
        ctx.advance_epoch(Part.TOKENS)
        raise failure

    with pytest.raises(type(failure)):
        edge.write_now(verb, trace=TRACE)

    assert total(edge) == 0


def test_every_change_of_facts_advances_the_epoch_and_its_part_by_one(edge: Edge) -> None:
    """Security decision 7: one row, advanced in the same transaction."""
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda _: edge.write_now(lambda ctx: ctx.advance_epoch(Part.CONSENT), trace=TRACE), range(20)
            )
        )

    counted = edge.read_now(lambda ctx: epoch.read(ctx.tx), trace=TRACE)

    assert counted == (20, {part: 20 if part is Part.CONSENT else 0 for part in Part})


def test_an_instant_comes_back_to_the_microsecond_and_in_utc(edge: Edge) -> None:
    moment = datetime(2026, 2, 3, 4, 5, 6, 789_012, tzinfo=UTC)
    clock = Table("probe_instant", metadata, Column("at", Instant), extend_existing=True)

    def verb(ctx: Context) -> datetime:
        clock.create(ctx.tx, checkfirst=True)
        ctx.tx.execute(clock.insert().values(at=moment))
        found = ctx.tx.execute(select(clock.c.at).where(clock.c.at >= moment)).scalar_one()
        clock.drop(ctx.tx)
        return found

    try:
        assert edge.write_now(verb, trace=TRACE) == moment
    finally:
        metadata.remove(clock)
