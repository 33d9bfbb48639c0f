"""Finds tests that prove nothing: assertions that no example or case reached, and loops that had nothing to go through.

For a look at part of the suite: ``python -m pytest -p tests.unreached tests/unit``. It is no check of every run, because what random
examples reach differs from run to run. A loop may have nothing where that is the promise (``assert not [... for ...]``), so each line is a
question to the reader of the test.
"""

import ast
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, TypeVar

import pytest
from _pytest.assertion import rewrite

ROOT = Path(__file__).parent.parent
NAME = "_watch_what_is_reached"
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
Function = TypeVar("Function", ast.FunctionDef, ast.AsyncFunctionDef)
Item = TypeVar("Item")


class Watch:
    """Counts what is reached, by place. ``places`` says of each place what stands there, in the order of the files."""

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        self.entered: set[str] = set()
        self.filled: set[str] = set()

    def enter(self, place: str) -> None:
        """Note that an assertion, or a function of the tests, was reached."""
        self.entered.add(place)

    def items(self, found: Iterable[Item], place: str) -> Iterable[Item]:
        """Return what is looped over, and note whether it had anything."""
        self.entered.add(place)
        if isinstance(found, Sized):
            if len(found):
                self.filled.add(place)
            return found
        return self._counted(found, place)

    def _counted(self, found: Iterable[Item], place: str) -> Iterator[Item]:
        for each in found:
            self.filled.add(place)
            yield each

    def unreached(self) -> list[str]:
        """List the assertions that never ran, of functions that did, and the loops that never had anything."""
        found = []
        for place, what in self.places.items():
            kind, _, rest = place.partition(" ")
            where, _, function = rest.partition(" ")
            if kind == "assert" and place not in self.entered and f"def {function}" in self.entered:
                found.append(f"{where}: never ran: {what}")
            if kind == "loop" and place in self.entered - self.filled:
                found.append(f"{where}: never had anything: {what}")
        return found


class Watched(ast.NodeTransformer):
    """A module of tests in which each assertion, loop and function tells ``watch`` that it was reached."""

    def __init__(self, watch: Watch, file: str) -> None:
        self._watch, self._file, self._functions = watch, file, [""]

    def _call(self, verb: str, node: ast.expr | ast.stmt, place: str, *more: ast.expr) -> ast.Call:
        name = ast.Attribute(ast.Name(NAME, ast.Load()), verb, ast.Load())
        call = ast.Call(name, [*more, ast.Constant(place)], [])
        return ast.fix_missing_locations(ast.copy_location(call, node))

    def _place(self, kind: str, node: ast.expr | ast.stmt) -> str:
        place = f"{kind} {self._file}:{node.lineno}:{node.col_offset} {self._functions[-1]}"
        self._watch.places[place] = ast.unparse(node)[:120]
        return place

    def _function(self, node: Function) -> Function:
        self._functions.append(f"{self._file}:{node.lineno}")
        self.generic_visit(node)
        entered = ast.Expr(self._call("enter", node.body[0], f"def {self._functions.pop()}"))
        has_docstring = ast.get_docstring(node) is not None
        node.body.insert(int(has_docstring), ast.copy_location(entered, node.body[0]))
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        return self._function(node)

    def visit_Assert(self, node: ast.Assert) -> list[ast.stmt]:
        place = self._place("assert", node)
        self.generic_visit(node)
        return [ast.copy_location(ast.Expr(self._call("enter", node, place)), node), node]

    def visit_For(self, node: ast.For) -> ast.For:
        place = self._place("loop", node.iter)
        self.generic_visit(node)
        node.iter = self._call("items", node.iter, place, node.iter)
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, Comprehension):
            for each in node.generators:
                place = "" if each.is_async else self._place("loop", each.iter)
                each.iter = self._call("items", each.iter, place, each.iter) if place else each.iter
        return super().generic_visit(node)


def watched(tree: ast.Module, watch: Watch, file: str) -> ast.Module:
    """Return a module of tests that says what of it is reached, to ``watch`` under the name NAME."""
    Watched(watch, file).visit(tree)
    return tree


def pytest_configure(config: pytest.Config) -> None:
    """Have every module of tests watched as pytest rewrites its assertions; what was compiled before is neither read nor replaced."""
    import builtins

    watch = Watch()
    setattr(builtins, NAME, watch)
    original = rewrite.rewrite_asserts

    def rewrite_asserts(
        mod: ast.Module, source: bytes, module_path: str | None = None, config: pytest.Config | None = None
    ) -> None:
        if module_path is not None and (file := Path(module_path)).is_relative_to(ROOT / "tests"):
            watched(mod, watch, str(file.relative_to(ROOT)))
        original(mod, source, module_path, config)

    rewrite.rewrite_asserts = rewrite_asserts
    rewrite._read_pyc = lambda *_: None
    rewrite._write_pyc = lambda *_: False
    config.pluginmanager.register(Report(watch))


class Report:
    """Writes what was not reached at the end of a run."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("what was not reached")
        for line in self._watch.unreached():
            terminalreporter.write_line(line)
