"""Deleting any one check of the decision makes a test fail.

Each early exit (an ``if`` that only returns or goes on to the next) is taken out of the source in turn, the changed function is put
in the place of the real one, and the tables of ``tests/unit/gateway/enforcement`` are run until one of them notices.
"""

import ast
import importlib
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import pytest

from hilum.foundation.standards.fhir import labels, matching, queries, traits, visibility
from hilum.foundation.standards.smart import scopes
from hilum.gateway.enforcement import (
    access_scope,
    grants,
    policy,
    query_rewrite,
    resource_access,
    response_filter,
)
from tests.unit.foundation.standards_fhir_requests import test_matching, test_visibility
from tests.unit.gateway.enforcement import (
    test_break_glass,
    test_decision,
    test_query_rewrite,
    test_response_filter,
)

MUTATED: tuple[ModuleType, ...] = (
    policy,
    grants,
    resource_access,
    response_filter,
    access_scope,
    query_rewrite,
    queries,
    matching,
    labels,
    traits,
    visibility,
)
TABLES: tuple[ModuleType, ...] = (
    test_break_glass,
    test_decision,
    test_response_filter,
    test_query_rewrite,
    test_visibility,
    test_matching,
)

EQUIVALENT = {
    ("policy", "_scope_stops", "not snapshot.earlier"),
    ("policy", "sunset_notice", "not book.notices"),
    ("policy", "size_fault", "not request.raw"),
    ("policy", "is_same_grant", "a.stopped is None and b.stopped is None"),
    ("response_filter", "without_orphans", "not plan.included"),
    ("queries", "_filter_fault", "code in REACHING_OUT"),
    ("visibility", "subjects_of", "type(text) is str and text.startswith('Patient/') and is_id(text[8:])"),
}
"""Checks that only save time, or only say better what the next line says too: nothing that can be seen hangs on them."""


def exits(tree: ast.Module) -> Iterator[tuple[str, ast.If]]:
    """Yield every early exit with the name of the top-level function it stands in."""
    for top in tree.body:
        if isinstance(top, ast.FunctionDef):
            for node in ast.walk(top):
                if isinstance(node, ast.If) and not node.orelse and leaves(node.body):
                    yield top.name, node


def leaves(body: list[ast.stmt]) -> bool:
    return len(body) == 1 and isinstance(body[0], ast.Return | ast.Continue)


@cache
def source_of(module: ModuleType) -> str:
    return inspect.getsource(module)


def mutants() -> list[tuple[ModuleType, str, int, str]]:
    found = []
    for module in MUTATED:
        for name, node in exits(ast.parse(source_of(module))):
            found.append((module, name, node.lineno, ast.unparse(node.test)))
    return found


MUTANTS = mutants()


class _Without(ast.NodeTransformer):
    def __init__(self, line: int) -> None:
        self.line, self.done = line, 0

    def visit_If(self, node: ast.If) -> ast.AST:
        if node.lineno == self.line and leaves(node.body):
            self.done += 1
            return ast.copy_location(ast.Pass(), node)
        return self.generic_visit(node)


def code_without(module: ModuleType, name: str, line: int) -> CodeType:
    transformer = _Without(line)
    tree = ast.fix_missing_locations(transformer.visit(ast.parse(source_of(module))))
    assert transformer.done == 1, "exactly one check is taken out"
    compiled = compile(tree, f"<{module.__name__} without line {line}>", "exec")
    return next(c for c in compiled.co_consts if isinstance(c, CodeType) and c.co_name == name)


def real(module: ModuleType, name: str) -> FunctionType:
    function = inspect.unwrap(getattr(module, name))
    assert isinstance(function, FunctionType)
    return function


def forget() -> None:
    """Clear every cache that may hold what the real function said."""
    grants.kept.clear()
    # Compiled scopes hold the tests that `matching` builds.
    for module in (*MUTATED, scopes):
        for value in vars(module).values():
            if hasattr(value, "cache_clear") and not isinstance(value, type):
                value.cache_clear()


@contextmanager
def replaced(module: ModuleType, name: str, line: int) -> Iterator[None]:
    function = real(module, name)
    kept = function.__code__
    function.__code__ = code_without(module, name, line)
    forget()
    try:
        yield
    finally:
        function.__code__ = kept
        forget()


def rows(function: Callable[..., Any]) -> Iterator[dict[str, Any]]:
    """Unroll the parametrize marks of a test."""
    marks = [mark for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"]
    options: list[list[dict[str, Any]]] = []
    for mark in marks:
        names = mark.args[0].split(",") if isinstance(mark.args[0], str) else list(mark.args[0])
        names = [name.strip() for name in names]
        options.append(
            [dict(zip(names, row if len(names) > 1 else (row,), strict=True)) for row in mark.args[1]]
        )
    for combined in itertools.product(*options):
        yield {key: value for each in combined for key, value in each.items()}


TESTS = [
    function
    for module in TABLES
    for name, function in vars(module).items()
    if name.startswith("test_") and function.__module__ == module.__name__
]


CASES = [(function, row) for function in TESTS for row in rows(function)]
Case = tuple[Callable[..., Any], dict[str, Any]]


def fails(cases: Iterable[Case]) -> str:
    """Run the cases; name the first test that notices, empty if none does."""
    for function, row in cases:
        try:
            function(**row)
        except Exception:
            return function.__name__
    return ""


@cache
def callers() -> dict[CodeType, list[Case]]:
    """Find the cases that call each mutated function. The others cannot notice what it does: they are most of the time."""
    code = {real(module, name).__code__: (module, name) for module, name, _, _ in MUTANTS}
    found: dict[CodeType, list[Case]] = {each: [] for each in code}
    called: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.add(frame.f_code)

    before = sys.getprofile()
    for case in CASES:
        called.clear()
        # Each case as if it were the first, or what an earlier one left in a cache would hide a call.
        forget()
        sys.setprofile(note)
        try:
            case[0](**case[1])
        finally:
            sys.setprofile(before)
        for each in called & set(code):
            found[each].append(case)
    return found


def test_the_tables_pass_while_nothing_is_taken_out() -> None:
    assert fails(CASES) == ""


@pytest.mark.parametrize(
    ("module", "name", "line", "condition"),
    MUTANTS,
    ids=[f"{m.__name__.rpartition('.')[2]}.{n}:{line}" for m, n, line, _ in MUTANTS],
)
def test_without_this_check_a_test_fails(module: ModuleType, name: str, line: int, condition: str) -> None:
    """C71."""
    if (module.__name__.rpartition(".")[2], name, condition) in EQUIVALENT:
        return

    cases = callers()[real(module, name).__code__]
    with replaced(module, name, line):
        noticed = fails(cases)

    assert noticed, f"nothing notices that {module.__name__}.{name} no longer asks: if {condition}"


def test_the_list_of_equivalent_ones_names_only_checks_that_are_there() -> None:
    there = {(m.__name__.rpartition(".")[2], n, c) for m, n, _, c in MUTANTS}

    assert set(EQUIVALENT) <= there
    assert importlib.util.find_spec("hilum.gateway.enforcement.policy") is not None
