"""What the workers of a run would each derive from every source file: each derives a share, and finds the others' when it imports.

In a fresh clone that was ten seconds of work for each of them.
"""

import os
import py_compile
from collections.abc import Iterator
from importlib.util import cache_from_source
from pathlib import Path
from types import ModuleType

import pytest
from _pytest.assertion.rewrite import PYC_TAIL, _rewrite_test, _write_pyc, assertstate_key, get_cache_dir
from hypothesis.internal.constants_ast import constants_from_module

SOURCES = ("src", "ehr", "tests")
GENERATED = {"__pycache__", "node_modules"}


def derive_share(config: pytest.Config) -> None:
    """Compile this worker's share of the files that were not compiled yet, and collect the constants from which Hypothesis draws."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
    for file in sorted(_files(config.rootpath))[number :: int(os.environ["PYTEST_XDIST_WORKER_COUNT"])]:
        # What pytest rewrites is judged as it judges it: by name.
        rewritten = file.name.startswith("test_") or file.name == "conftest.py"
        compiled = (
            get_cache_dir(file) / (file.stem + PYC_TAIL) if rewritten else Path(cache_from_source(str(file)))
        )
        if compiled.exists() and compiled.stat().st_mtime_ns >= file.stat().st_mtime_ns:
            continue
        compiled.parent.mkdir(exist_ok=True)
        if rewritten:
            source_hash, code = _rewrite_test(file, config)
            _write_pyc(config.stash[assertstate_key], code, source_hash, compiled)
        else:
            py_compile.compile(str(file))
        module = ModuleType(file.stem)
        module.__file__ = str(file)
        constants_from_module(module)


def _files(root: Path) -> Iterator[Path]:
    for source in SOURCES:
        for folder, folders, names in os.walk(root / source):
            folders[:] = [each for each in folders if each not in GENERATED]
            yield from (Path(folder) / each for each in names if each.endswith(".py"))
