"""Lists: filters, orders and pages that stand in the address, and their export. Pure."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from hilum.foundation.standards.csv_cells import csv_cell
from hilum.foundation.web.urls import with_query
from hilum.surfaces.console import policy
from hilum.surfaces.console.models import EXPORT_BOUND, Asked, Cell, Column, Empty, Filter, Listed


@dataclass(frozen=True, slots=True)
class List:
    """What a list is: its columns, filters, what it counts, and what it says when it is empty.

    ``searched``: what its text is looked for in. ``own``: its order where nobody asked for one; empty: that of its first column that has one.
    """

    columns: tuple[Column, ...]
    one: str
    many: str
    empty: Empty
    filters: tuple[Filter, ...] = ()
    searched: str = ""
    exported: bool = True
    own: str = ""

    @property
    def orders(self) -> tuple[str, ...]:
        """Every order that the list has; the first is its own."""
        found = [each.order for each in self.columns if each.order]
        every = (*found, *(turned(each) for each in found))
        return (self.own, *(each for each in every if each != self.own)) if self.own else every


def turned(order: str) -> str:
    """Return the opposite order."""
    return order[1:] if order.startswith("-") else f"-{order}"


def view(shown: List, asked: Asked, listed: Listed, path: str) -> dict[str, Any]:
    """Return what the template of a list shows."""
    kept = address_of(asked)
    return {
        "path": path,
        "kept": kept,
        "text": asked.text,
        "searched": shown.searched,
        "columns": [_column(each, asked, path) for each in shown.columns],
        "filters": [_filter(each, asked, path) for each in shown.filters],
        "narrowed": bool(asked.text or asked.within or any(asked.filters.values())),
        "all": path,
        "rows": listed.rows,
        "count": policy.counted(listed.total, listed.counted, shown.one, shown.many),
        "first": with_query(path, **kept) if asked.after else "",
        "next": with_query(path, **kept, after=listed.next) if listed.next else "",
        "exports": _exports(path, kept) if shown.exported and listed.rows else (),
        "empty": shown.empty,
        "many": shown.many,
    }


def address_of(asked: Asked, **changed: str) -> dict[str, str]:
    """Return the parameters of a list's address, without its page."""
    kept = {"q": asked.text, **asked.within, **asked.filters, "sort": asked.order} | changed
    return {name: value for name, value in kept.items() if value}


def _column(column: Column, asked: Asked, path: str) -> dict[str, Any]:
    sorted_ = {column.order: "ascending", turned(column.order): "descending"} if column.order else {}
    direction = sorted_.get(asked.order, "")
    order = turned(asked.order) if direction else column.order
    if column.order.startswith("-"):
        direction = {"ascending": "descending", "descending": "ascending"}.get(direction, "")
    href = with_query(path, **address_of(asked, sort=order)) if column.order else ""
    return {"title": column.title, "href": href, "direction": direction, "number": column.number}


def _filter(each: Filter, asked: Asked, path: str) -> dict[str, Any]:
    chosen = asked[each.name]
    options = [("", each.unset), *((option.value, option.text) for option in each.options)]
    return {
        "title": each.title,
        "chosen": next((option.text for option in each.options if chosen and option.value == chosen), ""),
        "options": [
            {"text": text, "active": value == chosen, "href": _with(asked, path, each.name, value)}
            for value, text in options
        ],
    }


def _with(asked: Asked, path: str, name: str, value: str) -> str:
    return with_query(path, **address_of(asked, **{name: value}))


def _exports(path: str, kept: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return (
        ("CSV", with_query(path, **kept, format="csv")),
        ("JSON", with_query(path, **kept, format="json")),
    )


def records_of(shown: List, rows: Sequence[Sequence[Cell]]) -> list[Mapping[str, Any]]:
    """Return the rows of a list as a file has them, by the titles of its columns."""
    titles = [each.title or "Link" for each in shown.columns]
    return [dict(zip(titles, map(_plain, row), strict=True)) for row in rows]


def exported(records: Sequence[Mapping[str, Any]], wanted: str, *, cut: bool) -> tuple[bytes, str]:
    """Return records as a file, and its media type. ``cut``: there are more than EXPORT_BOUND."""
    if wanted == "json":
        items = {"items": records, "complete": not cut}
        return orjson.dumps(items, option=orjson.OPT_UTC_Z), "application/json"
    text = io.StringIO()
    writer = csv.writer(text)
    titles = list(dict.fromkeys(name for each in records for name in each))
    writer.writerow(titles)
    writer.writerows([csv_cell(_as_text(each.get(name, ""))) for name in titles] for each in records)
    if cut:
        writer.writerow([f"Only the first {EXPORT_BOUND:,} rows are listed. Filter the list for the rest."])
    return text.getvalue().encode(), "text/csv; charset=utf-8"


def _as_text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return orjson.dumps(value, default=str).decode() if isinstance(value, Mapping | list) else str(value)


def _plain(cell: Cell) -> str:
    return cell.at.isoformat() if cell.at is not None else cell.text
