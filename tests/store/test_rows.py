"""Rows of a table as values of a dataclass: what is stored is read again as it was, on each backend."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

import pytest
from sqlalchemy import JSON, Column, Connection, Integer, MetaData, String, Table, Text

from hilum.foundation.infra.db import Instant
from hilum.foundation.infra.rows import Parts, Rows, Stored, given, member_or
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.kernel.pages import PageQuery
from tests.flows.control_site import TRACE

T = TypeVar("T")
NOW = datetime(2026, 12, 3, 4, 5, 6, 7, UTC)


class Colour(StrEnum):
    """An enum with a value that is not its name."""

    RED = "r"
    BLUE = "b"


@dataclass(frozen=True, slots=True)
class Place:
    """A value in two columns."""

    tenant: TenantId | None
    room: str


@dataclass(frozen=True, slots=True)
class Thing:
    """A value with a field of each kind."""

    id: str
    app: AppId
    colour: Colour
    at: datetime
    day: date
    place: Place
    vague: Colour | None = None
    owner: AppId | None = None
    ended_at: datetime | None = None
    second: Place | None = None
    scopes: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    few: frozenset[str] | None = None
    chosen: frozenset[str] = frozenset()
    facts: Mapping[str, int] = field(default_factory=dict)
    reversed: str = ""
    elsewhere: tuple[int, ...] = ()


THINGS = Table(
    "rows_thing",
    MetaData(),
    Column("id", String(64), primary_key=True),
    Column("app", String(64), nullable=False),
    Column("colour", String(8), nullable=False),
    Column("at", Instant, nullable=False),
    Column("day", String(10), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("place_room", String(64), nullable=False),
    Column("second_tenant", String(64)),
    Column("second_room", String(64)),
    Column("vague", String(8)),
    Column("owner", String(64)),
    Column("ended_at", Instant),
    Column("scopes", Text, nullable=False),
    Column("listed", JSON, nullable=False),
    Column("few", Text),
    Column("chosen", JSON, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("reversed", String(64), nullable=False),
    Column("uses", Integer, nullable=False, server_default="0"),
)


def rows() -> Rows[Thing]:
    return Rows(
        THINGS,
        Thing,
        "thing",
        place=Parts(Place, {"room": "place_room"}),
        second=Parts(Place, {"tenant": "second_tenant", "room": "second_room"}, unless_null="second_room"),
        reversed=Stored(lambda text: text[::-1], lambda text: text[::-1]),
        vague=member_or(Colour, Colour.BLUE, "rows_thing.vague"),
    )


PLAIN = Thing("t1", AppId("a"), Colour.RED, NOW, NOW.date(), Place(None, "1"), vague=Colour.RED)
FULL = replace(
    PLAIN,
    id="t2",
    place=Place(TenantId("general"), "2"),
    owner=AppId("b"),
    ended_at=NOW + timedelta(days=1),
    second=Place(TenantId("childrens"), "3"),
    scopes=("x", "y"),
    listed=("one two", ""),
    few=frozenset({"q", "p"}),
    chosen=frozenset({"r", "b"}),
    facts={"n": 1},
    reversed="abc",
)

Run = Callable[[Callable[[Connection], T]], T]


@pytest.fixture
def run(uow: UnitOfWork) -> Iterator[Run[Any]]:
    def run(task: Callable[[Connection], T]) -> T:
        return uow.write_now(lambda ctx: task(ctx.tx), trace=TRACE)

    run(THINGS.create)
    run(lambda tx: rows().add_new(tx, FULL))
    run(lambda tx: rows().add_new(tx, PLAIN, uses=1))
    yield run
    run(THINGS.drop)


def test_a_value_is_read_as_it_was_added(run: Run[Any]) -> None:
    things = rows()
    assert run(lambda tx: things.get(tx, "t1", lock=True)) == PLAIN
    assert run(lambda tx: things.find(tx, id="t2", ended_at=FULL.ended_at)) == FULL
    stored = run(lambda tx: tx.execute(THINGS.select().order_by(THINGS.c.id)).mappings().all())
    plain, full = stored
    assert (plain["tenant"], plain["few"], plain["uses"]) == ("", None, 1)
    assert (full["scopes"], full["few"], full["chosen"]) == ("x y", "p q", ["b", "r"])
    assert (full["colour"], full["reversed"], full["listed"]) == ("r", "cba", ["one two", ""])
    assert things.of(run(lambda tx: tx.execute(THINGS.select()).first()), elsewhere=(1,)).elsewhere == (1,)


@pytest.mark.parametrize(
    ("equal", "found"),
    [
        ({"tenant": None}, [PLAIN]),
        ({"tenant": TenantId("general")}, [FULL]),
        ({"owner": None, "colour": Colour.RED}, [PLAIN]),
        ({"colour": Colour.RED}, [PLAIN, FULL]),
        ({"colour": Colour.BLUE}, []),
        ({"few": frozenset({"p", "q"}), "day": NOW.date()}, [FULL]),
    ],
)
def test_values_are_found_by_fields_as_they_are_stored(
    run: Run[Any], equal: dict[str, Any], found: list[Thing]
) -> None:
    things = rows()
    assert sorted(run(lambda tx: things.all(tx, **equal)), key=lambda thing: thing.id) == found
    assert run(lambda tx: things.page(tx, **equal)) == found
    assert run(lambda tx: things.count(tx, **equal)) == len(found)
    assert run(lambda tx: things.any(tx, **equal)) == bool(found)


def test_conditions_without_a_value_are_left_out() -> None:
    assert given(tenant=None, vendor="", app="a") == {"vendor": "", "app": "a"}


def test_lists_are_paged_by_key_and_newest_first(run: Run[Any]) -> None:
    things = rows()
    assert run(lambda tx: things.page(tx, PageQuery("t1"))) == [FULL]
    assert run(lambda tx: things.newest(tx, PageQuery(limit=1))) == [FULL]
    assert run(lambda tx: things.newest(tx, PageQuery("t2"), THINGS.c.ended_at.is_(None))) == [PLAIN]
    assert run(lambda tx: things.among(tx, "id", ["t1", "t9"], colour=Colour.RED)) == [PLAIN]


def test_a_change_that_comes_second_changes_nothing(run: Run[Any]) -> None:
    things, after = rows(), replace(PLAIN, colour=Colour.BLUE, owner=AppId("c"))
    assert not run(lambda tx: things.add_new(tx, after))
    assert run(lambda tx: things.save(tx, after, only=("owner",), colour=Colour.RED))
    assert run(lambda tx: things.get(tx, "t1")) == replace(PLAIN, owner=AppId("c"))
    assert run(lambda tx: things.save(tx, after, colour=Colour.RED))
    assert not run(lambda tx: things.save(tx, after, colour=Colour.RED))
    assert run(lambda tx: things.find(tx, id="t2")) == FULL
    used = {"uses": THINGS.c.uses + 1, "colour": Colour.RED}
    assert run(lambda tx: things.step(tx, used, THINGS.c.uses < 2, id="t1")) == replace(
        after, colour=Colour.RED
    )
    assert run(lambda tx: things.step(tx, used, THINGS.c.uses < 2, id="t1")) is None
    assert run(lambda tx: things.change(tx, {"vague": None}, owner=None)) == 0


def test_a_row_is_taken_once(run: Run[Any]) -> None:
    things = rows()
    assert run(lambda tx: things.take(tx, id="t1")) == PLAIN
    assert run(lambda tx: things.take(tx, id="t1")) is None
    with pytest.raises(NotFound, match="There is no such thing") as refusal:
        run(lambda tx: things.get(tx, "t1"))
    assert refusal.value.code == "thing_not_found"
    assert run(lambda tx: things.purge(tx, 5, THINGS.c.at <= NOW)) == 1


def test_a_word_of_a_newer_release_is_read_as_the_default_where_there_is_one(run: Run[Any]) -> None:
    run(lambda tx: tx.execute(THINGS.update().values(vague="green")))
    assert run(lambda tx: rows().get(tx, "t1")).vague is Colour.BLUE
    run(lambda tx: tx.execute(THINGS.update().values(colour="green")))
    with pytest.raises(ValueError, match="green"):
        run(lambda tx: rows().get(tx, "t1"))


def test_a_field_without_column_or_default_and_a_nested_value_are_found_at_the_start() -> None:
    @dataclass(frozen=True)
    class Unstored(Thing):
        lost: int = field(kw_only=True)

    with pytest.raises(AssertionError, match="no column for lost"):
        Rows(
            THINGS,
            Unstored,
            place=Parts(Place, {"room": "place_room"}),
            second=Parts(Place, {"room": "second_room"}),
        )
    with pytest.raises(AssertionError, match="needs a Stored"):
        Rows(
            Table(
                "nested",
                MetaData(),
                *(Column(each.name, JSON) for each in (*THINGS.c, Column("place", JSON))),
            ),
            Thing,
        )
