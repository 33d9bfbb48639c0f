"""The SQL of searches: plans become statements out of constant parts, with every value as ``?``.

The most selective condition drives; all others are probed row by row through the index on (rid, param). So a search by
patient, code and date costs what the patient's rows cost, however many other rows there are.
"""

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hilum.foundation.standards.fhir.searchparams import Kind
from hilum_ehr.fhirserver.models import (
    MAX_INCLUDED,
    AnyOf,
    ChainedMatch,
    CompositeMatch,
    Condition,
    DateTest,
    IdMatch,
    Match,
    Missing,
    Page,
    Problem,
    QuantityTest,
    ReferenceTest,
    Refused,
    ReverseChainedMatch,
    SearchPlan,
    SortKey,
    Test,
    TextMode,
    TextTest,
    TokenTest,
    UpdatedMatch,
    UriTest,
    Version,
)

# Choosing must cost less than it saves: counting stops here, and a condition with at most GOOD_ENOUGH rows ends the choice.
ESTIMATE = 2_000
GOOD_ENOUGH = 200
# An IN list of all types would be parsed for each search; "any local type" is the same.
MANY_TYPES = 20
# Greater than every character that can follow, so that a prefix is a range of the index; LIKE would not use it.
LAST = "\U0010ffff"
_TABLES: dict[Kind, str] = {
    Kind.TOKEN: "ix_token",
    Kind.STRING: "ix_string",
    Kind.REFERENCE: "ix_reference",
    Kind.DATE: "ix_date",
    Kind.NUMBER: "ix_quantity",
    Kind.QUANTITY: "ix_quantity",
    Kind.URI: "ix_uri",
}
# Each prefix as SQL over the range of the stored value, with its parameters: l, h and v are the low end, the
# high end and the value asked for (FHIR R4 search.html#prefix). Property tests hold them against a written-out table.
_DATES = {
    "eq": ("{x}.lo >= ? AND {x}.hi <= ?", "lh"),
    "ne": ("NOT ({x}.lo >= ? AND {x}.hi <= ?)", "lh"),
    "gt": ("{x}.hi > ?", "h"),
    "lt": ("{x}.lo < ?", "l"),
    "ge": ("({x}.hi > ? OR ({x}.lo >= ? AND {x}.hi <= ?))", "hlh"),
    "le": ("({x}.lo < ? OR ({x}.lo >= ? AND {x}.hi <= ?))", "llh"),
    "sa": ("{x}.lo >= ?", "h"),
    "eb": ("{x}.hi <= ?", "l"),
    "ap": ("{x}.lo < ? AND {x}.hi > ?", "hl"),
}
# lastUpdated is one moment and not a range.
_UPDATED = {
    "eq": ("{r}.updated >= ? AND {r}.updated < ?", "lh"),
    "ne": ("NOT ({r}.updated >= ? AND {r}.updated < ?)", "lh"),
    "gt": ("{r}.updated >= ?", "h"),
    "lt": ("{r}.updated < ?", "l"),
    "ge": ("{r}.updated >= ?", "l"),
    "le": ("{r}.updated < ?", "h"),
    "sa": ("{r}.updated >= ?", "h"),
    "eb": ("{r}.updated < ?", "l"),
    "ap": ("{r}.updated >= ? AND {r}.updated < ?", "lh"),
}
_QUANTITIES = {
    "eq": ("{x}.lo >= ? AND {x}.lo < ? AND {x}.hi >= ? AND {x}.hi < ?", "lhlh"),
    "ne": ("NOT ({x}.lo >= ? AND {x}.lo < ? AND {x}.hi >= ? AND {x}.hi < ?)", "lhlh"),
    "gt": ("{x}.hi > ?", "v"),
    "lt": ("{x}.lo < ?", "v"),
    "ge": ("{x}.hi >= ?", "v"),
    "le": ("{x}.lo <= ?", "v"),
    "sa": ("{x}.lo > ?", "v"),
    "eb": ("{x}.hi < ?", "v"),
    "ap": ("{x}.lo <= ? AND {x}.hi >= ?", "hl"),
}
# By the smallest or greatest value of several (FHIR R4 search.html#sort).
_SORT = "(SELECT {m}(+x.{c}) FROM {T} x WHERE x.rid = r.rid AND x.param = ?)"
_SORT_COLUMNS: dict[Kind, str] = {
    Kind.TOKEN: "code",
    Kind.STRING: "norm",
    Kind.REFERENCE: "tid",
    Kind.DATE: "lo",
    Kind.NUMBER: "lo",
    Kind.QUANTITY: "lo",
    Kind.URI: "value",
}
_MATCHES = "SELECT r.rid FROM {w} ORDER BY r.rid LIMIT ?"
# Unsorted pages continue after a row number, so that a page costs the same however far behind it is.
_PAGE = "SELECT r.rid FROM {w} AND r.rid > ? ORDER BY r.rid LIMIT ?"
# The row number last, or rows with equal keys could be on two pages or on none.
_SORTED_PAGE = "SELECT r.rid FROM {w} ORDER BY {o}, r.rid LIMIT ? OFFSET ?"
_TOTAL = "SELECT count(*) FROM {w}"
_ESTIMATE = "SELECT count(*) FROM ({w} LIMIT ?)"
_BY_ID = "SELECT i.rid FROM resource i WHERE i.type = ? AND i.id IN (SELECT value FROM json_each(?))"
_BODIES = (
    "SELECT rid, type, id, version, updated, body FROM resource WHERE rid IN (SELECT value FROM json_each(?))"
)
# CROSS JOIN fixes the order of tables in SQLite: from the few matches to their references.
_INCLUDE = (
    "SELECT DISTINCT t.rid FROM ix_reference x CROSS JOIN resource t "
    "WHERE x.rid IN (SELECT value FROM json_each(?)) AND x.param = ? AND t.type = x.ttype AND t.id = x.tid "
    "AND t.deleted = 0 AND ? IN ('', x.ttype) LIMIT ?"
)
_REVINCLUDE = (
    "SELECT DISTINCT x.rid FROM resource m CROSS JOIN ix_reference x "
    "WHERE m.rid IN (SELECT value FROM json_each(?)) AND x.param = ? AND x.tid = m.id AND x.ttype = m.type LIMIT ?"
)


@dataclass(frozen=True, slots=True)
class Sql:
    """A piece of a statement and its values, in order."""

    text: str
    values: tuple[Any, ...] = ()


def read_page(connection: sqlite3.Connection, plan: SearchPlan, numbers: Mapping[str, int]) -> Page:
    """Read one page: matches in order, what they include, and the total if it is requested or costs nothing."""
    source = _Compiler(connection, numbers).source(plan)
    if plan.counts_only:
        return Page((), (), _total(connection, source), None)
    rids = _rids(connection, plan, source, numbers)
    more = len(rids) > plan.count
    rids = rids[: plan.count]
    # A complete first page knows its total; otherwise counting costs a second search and is done on request only.
    total = None
    if plan.total or (plan.total is None and not more and not plan.after):
        total = _total(connection, source) if more or plan.after else len(rids)
    place = plan.after + plan.count if plan.sort else (rids[-1] if rids else 0)
    included = _included(connection, plan, rids, numbers)
    return Page(_versions(connection, rids), _versions(connection, included), total, place if more else None)


def find_matches(
    connection: sqlite3.Connection, plan: SearchPlan, numbers: Mapping[str, int], *, limit: int
) -> list[Version]:
    """Find the first matches, regardless of pages."""
    source = _Compiler(connection, numbers).source(plan)
    rows = connection.execute(_name(_MATCHES, w=source.text), (*source.values, limit))
    return list(_versions(connection, [rid for (rid,) in rows]))


def _total(connection: sqlite3.Connection, source: Sql) -> int:
    row = connection.execute(_name(_TOTAL, w=source.text), source.values).fetchone()
    return int(row[0])


def _rids(
    connection: sqlite3.Connection, plan: SearchPlan, source: Sql, numbers: Mapping[str, int]
) -> list[int]:
    if not plan.sort:
        rows = connection.execute(_name(_PAGE, w=source.text), (*source.values, plan.after, plan.count + 1))
        return [rid for (rid,) in rows]
    order = [_order(key, numbers) for key in plan.sort]
    text = _name(_SORTED_PAGE, w=source.text, o=", ".join([o.text for o in order]))
    values = [v for o in order for v in o.values]
    rows = connection.execute(text, (*source.values, *values, plan.count + 1, plan.after))
    return [rid for (rid,) in rows]


def _order(key: SortKey, numbers: Mapping[str, int]) -> Sql:
    direction = " DESC NULLS LAST" if key.descending else " ASC NULLS LAST"
    if key.key == "_id":
        return Sql("r.id" + direction)
    if key.key == "_lastUpdated":
        return Sql("r.updated" + direction)
    function = "max" if key.descending else "min"
    value = _name(_SORT, m=function, c=_SORT_COLUMNS[key.kind], T=_TABLES[key.kind])
    return Sql(value + direction, (numbers[key.key],))


def _included(
    connection: sqlite3.Connection, plan: SearchPlan, rids: list[int], numbers: Mapping[str, int]
) -> list[int]:
    included: dict[int, None] = {}
    matched = json.dumps(rids)
    for include in plan.includes if rids else ():
        number = numbers[include.key]
        if include.backward:
            rows = connection.execute(_REVINCLUDE, (matched, number, MAX_INCLUDED + 1))
        else:
            rows = connection.execute(_INCLUDE, (matched, number, include.target, MAX_INCLUDED + 1))
        included.update((rid, None) for (rid,) in rows)
    # A resource that matches is not included a second time (FHIR R4 bundle.html#searchset).
    for rid in rids:
        included.pop(rid, None)
    if len(included) > MAX_INCLUDED:
        raise Refused(
            Problem.TOO_COSTLY,
            f"A page includes at most {MAX_INCLUDED} resources; ask for fewer with _count.",
        )
    return list(included)


def _versions(connection: sqlite3.Connection, rids: list[int]) -> tuple[Version, ...]:
    if not rids:
        return ()
    # SQL returns the rows in any order, not in that of the page.
    by_rid = {row[0]: Version(*row[1:]) for row in connection.execute(_BODIES, (json.dumps(rids),))}
    return tuple(by_rid[rid] for rid in rids)


class _Compiler:
    """Turns conditions into SQL. A condition has two forms: a set of rows, and a probe of one row.

    A ``+`` before a column keeps SQLite from taking the index on values where only the row's own values are meant.
    """

    def __init__(self, connection: sqlite3.Connection, numbers: Mapping[str, int]) -> None:
        self._connection = connection
        self._numbers = numbers

    def source(self, plan: SearchPlan) -> Sql:
        """Build what follows ``FROM``: rows with the alias ``r`` and their condition."""
        driver = self._driver(plan)
        others = sorted((c for c in plan.conditions if c is not driver), key=_cost)
        rest = [self._probe(c, "r", 1) for c in others]
        # Nothing narrows the search but its type: the partial index on type delivers the rows in order.
        if driver is None:
            where = _all([Sql("r.type = ?", (plan.resource_type,)), Sql("r.deleted = 0"), *rest])
            return Sql(_name("resource r WHERE {w}", w=where.text), where.values)
        if isinstance(driver, IdMatch):
            rows = Sql(_BY_ID, (plan.resource_type, json.dumps(driver.ids)))
        else:
            rows = self._set(driver, 1)
        # _id and _lastUpdated are columns of the resource itself.
        whole = isinstance(driver, IdMatch) or any(k.key.startswith("_") for k in plan.sort)
        if not whole and not any(map(_reads_the_row, others)):
            # Deleted resources have no index rows, so the resource's own row, a large one, need not be read.
            where = _all([Sql("1"), *rest])
            text = _name("(SELECT DISTINCT rid FROM ({s})) r WHERE {w}", s=rows.text, w=where.text)
            return Sql(text, (*rows.values, *where.values))
        where = _all([Sql(_name("r.rid IN ({s})", s=rows.text), rows.values), Sql("r.deleted = 0"), *rest])
        return Sql(_name("resource r WHERE {w}", w=where.text), where.values)

    def _driver(self, plan: SearchPlan) -> Condition | None:
        """Choose the condition with the fewest rows, counting at most ESTIMATE of each."""
        ranked = sorted((c for c in plan.conditions if _rank(c) is not None), key=lambda c: _rank(c) or 0)
        if not ranked or len(ranked) == 1 or isinstance(ranked[0], IdMatch):
            return ranked[0] if ranked else None
        # Without an estimate below the bound, the rank decides: references before dates.
        best: Condition = ranked[0]
        fewest = ESTIMATE + 1
        for condition in ranked:
            rows = self._estimate(condition)
            if rows < fewest:
                best, fewest = condition, rows
            if fewest <= GOOD_ENOUGH:
                break
        return best

    def _estimate(self, condition: Condition) -> int:
        inner = self._set(condition, 1)
        row = self._connection.execute(_name(_ESTIMATE, w=inner.text), (*inner.values, ESTIMATE)).fetchone()
        return int(row[0])

    def _set(self, condition: Condition, depth: int) -> Sql:
        """Build a SELECT of the rows that meet a condition. Only conditions with a rank have one."""
        match condition:
            case Match(key, kind, tests, negated=False):
                test = _any([_test(t) for t in tests])
                text = _name(
                    "SELECT x.rid FROM {T} x WHERE x.param = ? AND {w}", T=_TABLES[kind], w=test.text, x="x"
                )
                return Sql(text, (self._numbers[key], *test.values))
            case CompositeMatch(parts):
                return self._composite(parts)
            case ChainedMatch(key, target, inner):
                t, f = f"t{depth}", f"f{depth}"
                where = self._within(inner, target, t, depth)
                text = (
                    "SELECT {f}.rid FROM resource {t} CROSS JOIN ix_reference {f} WHERE {w} AND {f}.param = ? "
                    "AND {f}.tid = {t}.id AND {f}.ttype = {t}.type"
                )
                return Sql(_name(text, t=t, f=f, w=where.text), (*where.values, self._numbers[key]))
            case ReverseChainedMatch(key, source, inner):
                t, f, s = f"t{depth}", f"f{depth}", f"s{depth}"
                where = self._within(inner, source, s, depth)
                text = (
                    "SELECT {t}.rid FROM resource {s} CROSS JOIN ix_reference {f} CROSS JOIN resource {t} WHERE {w} "
                    "AND {f}.rid = {s}.rid AND {f}.param = ? AND {t}.type = {f}.ttype AND {t}.id = {f}.tid"
                )
                return Sql(_name(text, t=t, f=f, s=s, w=where.text), (*where.values, self._numbers[key]))
            case AnyOf(conditions):
                sets = [self._set(c, depth) for c in conditions]
                return Sql(" UNION ".join([s.text for s in sets]), tuple(v for s in sets for v in s.values))
            case _:
                raise AssertionError(condition)

    def _within(self, inner: Condition, resource_type: str, alias: str, depth: int) -> Sql:
        """Build the condition that a resource of a type meets an inner condition, by its set if it has one."""
        if _rank(inner) is None or isinstance(inner, IdMatch):
            where = self._probe(inner, alias, depth + 1)
        else:
            rows = self._set(inner, depth + 1)
            where = Sql(alias + ".rid IN (" + rows.text + ")", rows.values)
        head = Sql(_name("{t}.type = ? AND {t}.deleted = 0", t=alias), (resource_type,))
        return _all([head, where])

    def _probe(self, condition: Condition, row: str, depth: int) -> Sql:
        """Build an expression that tests whether the resource with the alias ``row`` meets a condition."""
        match condition:
            case Match(key, kind, tests, negated):
                test = _any([_test(t) for t in tests])
                column = "x" if kind is Kind.REFERENCE else "+x"
                text = " (SELECT 1 FROM {T} x WHERE x.rid = {r}.rid AND x.param = ? AND {w})"
                text = ("NOT EXISTS" if negated else "EXISTS") + _name(
                    text, T=_TABLES[kind], r=row, w=test.text, x=column
                )
                return Sql(text, (self._numbers[key], *test.values))
            case Missing(key, kind, missing):
                text = " (SELECT 1 FROM {T} x WHERE x.rid = {r}.rid AND x.param = ?)"
                text = ("NOT EXISTS" if missing else "EXISTS") + _name(text, T=_TABLES[kind], r=row)
                return Sql(text, (self._numbers[key],))
            case CompositeMatch(parts):
                where = self._composite(parts, plus="+")
                return Sql(_name("EXISTS ({w} AND x0.rid = {r}.rid)", w=where.text, r=row), where.values)
            case IdMatch(ids):
                return Sql(_name("{r}.id IN (SELECT value FROM json_each(?))", r=row), (json.dumps(ids),))
            case UpdatedMatch(tests):
                test = _any([_pick(_UPDATED[t.prefix], lo=t.low, hi=t.high) for t in tests])
                return Sql(test.text.replace("{r}", row), test.values)
            case ChainedMatch(key, target, inner):
                t, f = f"t{depth}", f"f{depth}"
                where = self._probe(inner, t, depth + 1)
                text = (
                    "EXISTS (SELECT 1 FROM ix_reference {f} CROSS JOIN resource {t} WHERE {f}.rid = {r}.rid AND {f}.param = ? "
                    "AND {f}.ttype = ? AND {t}.type = {f}.ttype AND {t}.id = {f}.tid AND {t}.deleted = 0 AND {w})"
                )
                return Sql(
                    _name(text, t=t, f=f, r=row, w=where.text), (self._numbers[key], target, *where.values)
                )
            case ReverseChainedMatch(key, _, inner):
                s, f = f"s{depth}", f"f{depth}"
                where = self._probe(inner, s, depth + 1)
                text = (
                    "EXISTS (SELECT 1 FROM ix_reference {f} CROSS JOIN resource {s} WHERE {f}.param = ? "
                    "AND {f}.tid = {r}.id AND {f}.ttype = {r}.type AND {s}.rid = {f}.rid AND {w})"
                )
                return Sql(_name(text, s=s, f=f, r=row, w=where.text), (self._numbers[key], *where.values))
            case AnyOf(conditions):
                return _any([self._probe(c, row, depth) for c in conditions])

    def _composite(self, parts: tuple[Match, ...], plus: str = "") -> Sql:
        tables, wheres = [], []
        for index, part in enumerate(parts):
            alias = f"x{index}"
            tables.append(_TABLES[part.kind] + " " + alias)
            test = _any([_test(t) for t in part.tests])
            text = _name("{y}.param = ? AND {w}", w=test.text, x=plus + alias, y=alias)
            wheres.append(Sql(text, (self._numbers[part.key], *test.values)))
            # Parts of a composite must be in one element: the same group of the same resource.
            if index:
                wheres.append(Sql(_name("{x}.rid = x0.rid AND {x}.grp = x0.grp", x=alias)))
        where = _all(wheres)
        text = _name("SELECT x0.rid FROM {T} WHERE {w}", T=" CROSS JOIN ".join(tables), w=where.text)
        return Sql(text, where.values)


def _cost(condition: Condition) -> int:
    """Return the order of a probe: those that exclude most rows at the least cost come first."""
    rank = _rank(condition)
    return 20 if rank is None else rank


def _reads_the_row(condition: Condition) -> bool:
    """Return whether the probe of a condition needs the resource's own columns, not only its number."""
    match condition:
        case IdMatch() | UpdatedMatch() | ReverseChainedMatch():
            return True
        case AnyOf(conditions):
            return any(map(_reads_the_row, conditions))
        case _:
            return False


def _rank(condition: Condition) -> int | None:
    """Return the rank of a condition that may drive a search, likely smallest first; None if it can only be probed."""
    match condition:
        case IdMatch():
            return 0
        case Match(kind=kind, negated=False):
            order = (Kind.REFERENCE, Kind.URI, Kind.STRING, Kind.TOKEN, Kind.DATE, Kind.QUANTITY, Kind.NUMBER)
            return 1 + order.index(kind)
        case CompositeMatch():
            return 10
        case ReverseChainedMatch() | ChainedMatch():
            return 11
        case AnyOf(conditions):
            ranks = [_rank(c) for c in conditions]
            return None if None in ranks else 12
        case _:
            return None


def _test(test: Test) -> Sql:
    match test:
        case TokenTest(code, None):
            return Sql("{x}.code = ?", (code,))
        case TokenTest(None, system):
            return Sql("({x}.system = ? AND {x}.code <> '')", (system,))
        case TokenTest(code, system):
            return Sql("({x}.code = ? AND {x}.system = ?)", (code, system))
        case TextTest(folded, raw, TextMode.EXACT):
            return Sql("({x}.norm = ? AND {x}.raw = ?)", (folded, raw))
        case TextTest(folded, _, TextMode.CONTAINS):
            return Sql("instr({x}.norm, ?) > 0", (folded,))
        case TextTest(folded):
            return Sql("({x}.norm >= ? AND {x}.norm < ?)", (folded, folded + LAST))
        case ReferenceTest(target, types):
            return _reference(target, types)
        case DateTest(prefix, low, high):
            return _pick(_DATES[prefix], lo=low, hi=high)
        case QuantityTest():
            return _quantity(test)
        case UriTest(value, below=True):
            return Sql("({x}.value >= ? AND {x}.value < ?)", (value, value + LAST))
        case UriTest(value):
            return Sql("{x}.value = ?", (value,))


def _reference(target: str, types: tuple[str, ...]) -> Sql:
    if not types:
        return Sql("0")
    if len(types) == 1:
        return Sql("({x}.tid = ? AND {x}.ttype = ?)", (target, types[0]))
    if len(types) >= MANY_TYPES:
        return Sql("({x}.tid = ? AND {x}.ttype <> '')", (target,))
    return Sql("({x}.tid = ? AND {x}.ttype IN (" + ", ".join(["?"] * len(types)) + "))", (target, *types))


def _quantity(test: QuantityTest) -> Sql:
    pieces = [_pick(_QUANTITIES[test.prefix], lo=test.low, hi=test.high, value=test.value)]
    if test.system is not None:
        pieces.append(Sql("{x}.system = ?", (test.system,)))
        if test.code is not None:
            pieces.append(Sql("{x}.code = ?", (test.code,)))
    elif test.code is not None:
        pieces.append(Sql("({x}.code = ? OR {x}.unit = ?)", (test.code, test.code)))
    return _all(pieces)


def _pick(row: tuple[str, str], *, lo: float, hi: float, value: float = 0) -> Sql:
    chosen = {"l": lo, "h": hi, "v": value}
    return Sql("(" + row[0] + ")", tuple(chosen[letter] for letter in row[1]))


def _name(text: str, **names: str) -> str:
    """Insert aliases and finished pieces into a constant text, never a value."""
    for name, alias in names.items():
        text = text.replace("{" + name + "}", alias)
    return text


def _all(pieces: list[Sql]) -> Sql:
    return Sql(" AND ".join([p.text for p in pieces]), tuple(v for p in pieces for v in p.values))


def _any(pieces: list[Sql]) -> Sql:
    return Sql("(" + " OR ".join([p.text for p in pieces]) + ")", tuple(v for p in pieces for v in p.values))
