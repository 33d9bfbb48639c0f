"""Which rows can be read (ADR 150): a value that Hilum never writes costs its own row."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import BigInteger, Boolean, Column, MetaData, String, Table
from sqlalchemy.dialects import postgresql, sqlite

from hilum.infra.unreadable import UNREADABLE, Document, Moment, RowCheck, UnreadableRow, noting

THINGS = Table(
    "thing",
    MetaData(),
    Column("id", String(10), primary_key=True),
    Column("app", String(10), nullable=False),
    Column("at", Moment, nullable=False),
    Column("ends", Moment),
    Column("words", Document(list), nullable=False),
    Column("more", Document(dict)),
    Column("on", Boolean, nullable=False),
    Column("number", BigInteger),
)
AT = datetime(2026, 11, 28, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "id": "t1", "app": "app_1", "at": AT, "ends": None, "words": ["a"], "more": None, "on": True, "number": 1,
}  # fmt: skip


@pytest.mark.parametrize("change", [{}, {"ends": AT}, {"more": {}}, {"number": None}, {"words": []}])
def test_what_hilum_writes_can_be_read(change: dict[str, Any]) -> None:
    assert RowCheck(THINGS).fits(tuple((GOOD | change).values()))


ODD = [
    {"id": b"t1"}, {"id": None}, {"app": 5}, {"at": UNREADABLE}, {"at": None}, {"at": "soon"}, {"ends": UNREADABLE},
    {"words": {}}, {"words": UNREADABLE}, {"words": None}, {"more": []}, {"on": "yes"}, {"number": "1"}, {"number": 1.5},
]  # fmt: skip


@pytest.mark.parametrize("change", ODD, ids=str)
def test_what_hilum_never_writes_cannot_be_read_whatever_was_read_before(change: dict[str, Any]) -> None:
    whole = RowCheck(THINGS)
    assert whole.fits(tuple(GOOD.values()))
    assert not whole.fits(tuple((GOOD | change).values()))


@pytest.mark.parametrize("kind", [sqlite, postgresql], ids=["sqlite", "postgresql"])
def test_a_column_never_raises_for_all_rows(kind: Any) -> None:
    dialect = kind.dialect()

    def read(name: str, value: object) -> object:
        found = THINGS.c[name].type.dialect_impl(dialect).result_processor(dialect, None)
        assert found is not None
        return found(value)

    assert [read("at", each) for each in (2**63 - 1, -(2**63), "soon", float("nan"), b"")] == [UNREADABLE] * 5
    assert read("at", 0) == UNREADABLE
    assert read("at", 0) is not UNREADABLE
    assert read("ends", None) is None
    if dialect.name == "sqlite":  # PostgreSQL checks its JSON, and its driver reads it
        assert [read("more", each) for each in ("{", "", b"\xff")] == [UNREADABLE] * 3
        assert not isinstance(read("more", 5), dict)
        assert read("more", '{"a": 1}') == {"a": 1}


def test_each_is_left_out_by_itself_and_noted_without_what_is_in_it() -> None:
    rows = [GOOD | {"id": "t1"}, GOOD | {"id": "t2", "at": UNREADABLE}, GOOD | {"id": "t3", "words": [None]}]

    def make(row: tuple[Any, ...]) -> str:
        return str(row[0]) + "".join(row[4])

    with noting() as outer, noting() as found:
        made = list(RowCheck(THINGS).made([tuple(each.values()) for each in rows], make))

    assert made == ["t1a"]
    assert found == outer == [UnreadableRow("thing", "t2"), UnreadableRow("thing", "t3")]
