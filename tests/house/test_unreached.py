"""The watch that finds tests that prove nothing finds them, and nothing else."""

import ast
import builtins

import pytest

from tests import unreached
from tests.unreached import Watch, watched

TESTS = '''
def helper(items):
    for each in items:
        assert each, "none"

def test_of_a_branch():
    """A docstring stays one."""
    if not {1}:
        assert False
    assert all(each > 0 for each in ())
    assert [each for each in range(2)] == [0, 1]
    assert {each: 1 for each in iter([])} == {}
    return test_of_a_branch.__doc__

def test_of_loops():
    helper([])
    helper(iter(()))
    for each in "ab":
        assert each

def test_that_was_not_chosen():
    assert helper([1])
'''


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr(builtins, unreached.NAME, made, raising=False)
    return made


def test_assertions_that_never_ran_and_loops_that_had_nothing_are_listed(watch: Watch) -> None:
    module: dict[str, object] = {}
    exec(compile(watched(ast.parse(TESTS), watch, "test_x.py"), "test_x.py", "exec"), module)  # noqa: S102 - the text above

    assert module["test_of_a_branch"]() == "A docstring stays one."  # type: ignore[operator]
    module["test_of_loops"]()  # type: ignore[operator]

    assert watch.unreached() == [
        "test_x.py:3:16: never had anything: items",
        "test_x.py:4:8: never ran: assert each, 'none'",
        "test_x.py:9:8: never ran: assert False",
        "test_x.py:10:36: never had anything: ()",
        "test_x.py:12:32: never had anything: iter([])",
    ]
