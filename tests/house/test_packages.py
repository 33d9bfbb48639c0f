"""The house rules that import-linter cannot say (docs/architecture.md). A module is a folder of a package: ``hilum.apps.registry``."""

import ast
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
SOURCES = {"hilum": SOURCE, "hilum_ehr": ROOT / "ehr" / "src"}
PACKAGES = ("hilum", "hilum_ehr")
FOUNDATION = {"foundation.kernel", "foundation.standards", "foundation.infra", "foundation.web"}
FRONT_DOORS = {"models", "policy", "service", "live"}
STORES = {
    "store",
    "access_index",
    "held_store",
    "catalogue_store",
    "contract_store",
    "decision_counts",
    "decision_slots",
    "service_counts",
    "exception_store",
    "discipline_store",
    "clock_store",
    "lane_store",
    "queue_store",
    "sealed_store",
    "use_store",
    "reach_store",
}
"""What holds SQL in a module; the audit's index of accesses and its counts of decisions are stores in a file of their own."""
COMPOSES = {"server", "surfaces.cli"}
"""What wires the modules and starts processes, and the command line, which works on this host too."""
DRIVERS = {"sqlite3", "psycopg"}
EXECUTES = {"execute", "executemany", "exec_driver_sql", "text"}
RUNS_OTHER_TESTS = "tests/attack/test_gateway_mutation.py"
FROM_A_TEST_FILE = re.compile(
    r"^\s*(?:from\s+tests[\w.]*\.test_\w+\s+import|import\s+tests[\w.]*\.test_"
    r"|from\s+tests[\w.]*\s+import\s+(?:\([^)]*|[^(\n]*)\btest_)",
    re.MULTILINE,
)
MAX_FUNCTION_LINES, MAX_FILE_LINES, MAX_POSITIONAL = 70, 600, 5


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def imports() -> list[tuple[str, str]]:
    found = graph()
    return [
        (importer, imported)
        for importer in sorted(found.modules)
        for imported in sorted(found.find_modules_directly_imported_by(importer))
        if imported.split(".")[0] in PACKAGES
    ]


def part(module: str) -> str:
    """Return the module that a file belongs to, as ``apps.registry``; ``server`` is one, and those of the EHR have one name."""
    names = module.split(".")[1:]
    return ".".join(names[:1] if module.startswith(("hilum.server", "hilum_ehr")) else names[:2])


def door(module: str) -> str:
    names = module.split(".")
    at = 2 if module.startswith(("hilum.server", "hilum_ehr")) else 3
    return names[at] if len(names) > at else ""


def files() -> list[Path]:
    found = [path for source in SOURCES.values() for path in source.rglob("*.py")]
    return sorted(path for path in found if "migrations/versions" not in path.as_posix())


def inside(path: Path) -> Path:
    """Return a path relative to the folder of sources that it is in."""
    return next(path.relative_to(source) for source in SOURCES.values() if path.is_relative_to(source))


def module_of(path: Path) -> str:
    return ".".join(inside(path).with_suffix("").parts)


@dataclass(frozen=True)
class Function:
    where: str
    name: str
    lines: int
    positional: tuple[str, ...]
    returns: str


@dataclass(frozen=True)
class File:
    """What the rules look at in one file. ``imports``: top-level names; the rest are lines in it."""

    path: Path
    imports: frozenset[str]
    functions: tuple[Function, ...]
    reaches_a_server: tuple[int, ...]
    made_up_sql: tuple[int, ...]


@cache
def parsed() -> tuple[File, ...]:
    """Return every file of both packages. All of them are parsed once: it takes seconds, and their trees are not kept."""
    return tuple(_looked_at(path) for path in files())


def _looked_at(path: Path) -> File:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    return File(
        path,
        frozenset(_imported(nodes)),
        tuple(
            _function(path, node)
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ),
        tuple(getattr(node, "lineno", 0) for node in nodes if _reaches_a_server(node)),
        tuple(node.lineno for node in nodes if isinstance(node, ast.Call) and _is_made_up_sql(node)),
    )


def _imported(nodes: list[ast.AST]) -> set[str]:
    """Return the top-level names of what a file imports, inside functions too."""
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    of = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.split(".")[0] for name in plain | of}


def _function(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Function:
    names = [each.arg for each in node.args.posonlyargs + node.args.args]
    where = f"{inside(path)}:{node.lineno} {node.name}"
    lines = (node.end_lineno or 0) - node.lineno + 1
    positional = tuple(each for each in names if each not in {"self", "cls"})
    return Function(where, node.name, lines, positional, ast.unparse(node.returns) if node.returns else "")


def test_from_outside_a_module_is_entered_by_its_front_doors_only() -> None:
    """House rule 9."""
    broken = [
        f"{importer} -> {imported}"
        for importer, imported in imports()
        if part(importer) != part(imported)
        and part(importer) not in COMPOSES
        and part(imported) not in FOUNDATION | {"", "server"}
        and door(imported) not in FRONT_DOORS
        and not (part(imported) in {"fhirserver", "synthesis"} and part(importer) == "sandbox")
    ]

    assert broken == []


def test_only_stores_infra_and_the_composition_root_reach_the_database() -> None:
    """House rule 4."""
    broken = [
        f"{importer} -> {imported}"
        for importer, imported in imports()
        if imported == "hilum.foundation.infra.db"
        and part(importer) not in COMPOSES | {"foundation.infra"}
        and door(importer) not in STORES
    ]

    assert broken == []


def test_the_database_driver_is_used_only_where_there_is_no_unit_of_work() -> None:
    """House rule 4."""
    journal = {"files", "journal_health", "postgres", "store"}
    broken = [
        module
        for file in parsed()
        if (module := module_of(file.path))
        and DRIVERS & file.imports
        and part(module) not in {"foundation.infra", "server", "fhirserver"}
        and not (part(module) == "records.audit" and door(module) in journal)
    ]

    assert broken == []


def test_raw_asgi_is_for_fhir_requests_and_what_wraps_an_application() -> None:
    """House rule 17."""
    found = {
        module_of(file.path)
        for file in parsed()
        for each in file.functions
        if each.positional == ("scope", "receive", "send")
    }

    assert {each for each in found if part(each) != "server"} == {
        "hilum.records.audit.stream",
        "hilum.gateway.enforcement.routes",
        "hilum.foundation.web.json_routes",
        "hilum_ehr.fhirserver.routes",
        "hilum_ehr.sandbox.faults",
    }


def test_the_clock_and_randomness_are_handed_over_not_fetched() -> None:
    """House rule 5."""
    broken = [
        importer
        for importer, imported in imports()
        if imported == "hilum.foundation.infra.system" and part(importer) not in COMPOSES
    ]

    assert broken == []


def test_the_sandbox_is_an_ehr_and_reaches_the_platform_by_http() -> None:
    """House rule 6: sandbox and fhirserver import the foundation; the sandbox also the FHIR server."""
    allowed = {
        "fhirserver": FOUNDATION | {"fhirserver", ""},
        "synthesis": FOUNDATION | {"synthesis", ""},
        "sandbox": FOUNDATION | {"sandbox", "fhirserver", "synthesis", ""},
    }

    broken = [
        f"{importer} -> {imported}"
        for importer, imported in imports()
        if part(importer) in allowed and part(imported) not in allowed[part(importer)]
    ]

    assert broken == []


KNOW_THE_EHR = {
    "hilum.server.embedded_servers",
    "hilum.server.fault_injection",
    "hilum.server.furnishing",
    "hilum.server.own_data",
    "hilum.server.sandbox_site",
    "hilum.server.seed",
    "hilum.server.commands.sandbox",
}
"""What a sandbox has beside a platform; ``server.ehr`` loads the first three, and the commands of a sandbox the others."""


def test_the_platform_does_not_know_the_ehr_beside_it() -> None:
    """House rule 6: it runs where the EHR is not installed."""
    knowing = {
        importer
        for importer, imported in imports()
        if imported.startswith("hilum_ehr.") and importer.startswith("hilum.")
    }

    assert knowing == KNOW_THE_EHR


WITHOUT_THE_EHR = """
import asyncio, importlib, pkgutil, sys
sys.path = [path for path in sys.path if not path.endswith("/ehr/src")]
import hilum
from hilum.server import ehr
assert not ehr.is_installed()
for module in pkgutil.walk_packages(hilum.__path__, "hilum."):
    if module.name not in %r and "migrations." not in module.name and module.name != "hilum.server.sandbox_factory":
        importlib.import_module(module.name)
from hilum.server import platform
from hilum.foundation.infra import settings
from hilum.foundation.infra.migrations.run import migrate
from hilum.foundation.infra.system import SystemClock, SystemIds
import httpx2
found = settings.read({"HILUM_MODE": "production", "HILUM_BASE_URL": "https://hilum.example", "HILUM_SECRET_KEY": "k" * 40,
    "HILUM_DATA_DIR": sys.argv[1], "HILUM_DATABASE_URL": "sqlite:///" + sys.argv[1] + "/hilum.db"})
migrate(found.database_url)
built = platform.build(found, SystemClock(), SystemIds())
async def alive():
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(built.dispatcher), base_url="https://hilum.example") as client:
        return (await client.get("/healthz")).status_code
assert built.servers.find("general") is None
assert asyncio.run(alive()) == 200
print("served")
"""


def test_the_platform_is_served_where_the_ehr_is_not_installed(tmp_path: Path) -> None:
    """House rule 6."""
    code = WITHOUT_THE_EHR % (KNOW_THE_EHR,)
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)

    assert done.stdout == "served\n", done.stderr


READS_RECORDS = {"Upstreams", "CapabilityCache"}
WIRES_THEM = {"hilum/server/platform.py", "hilum/server/settling.py"}


def test_records_are_read_through_the_decision_only() -> None:
    """Security decision 21: what can fetch from a FHIR server is for gateway and upstream; app only hands it over."""
    broken = [
        f"{name}:{line}"
        for file in parsed()
        if (name := inside(file.path)).parts[1] != "gateway" and name.as_posix() not in WIRES_THEM
        for line in file.reaches_a_server
    ]

    assert broken == []


def _reaches_a_server(node: ast.AST) -> bool:
    """Return whether a node takes what sends requests out of ``upstream.live``, or fetches through it under another name."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "hilum.gateway.upstream.live" and any(
            each.name in READS_RECORDS for each in node.names
        )
    names_request = isinstance(node, ast.Name) and node.id == "UpstreamRequest"
    return names_request or (isinstance(node, ast.Attribute) and node.attr in READS_RECORDS)


@pytest.mark.parametrize(
    "source",
    [
        "from hilum.gateway.upstream.live import Upstreams",
        "from hilum.gateway.upstream.live import Embedded, CapabilityCache",
        "from hilum.gateway.upstream import live\nlive.Upstreams(vault, find)",
        "sender.send(tenant, UpstreamRequest('GET', 'Patient'))",
    ],
)
def test_the_lint_on_records_finds_what_it_looks_for(source: str) -> None:
    assert any(_reaches_a_server(node) for node in ast.walk(ast.parse(source)))


def test_approval_never_sees_revenue() -> None:
    """House rule 7, security decision 18: imports go down only, and the package of revenue stands above those that approve."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(each for each in contracts if each["name"] == "1 packages")["layers"]
    layer = {name: at for at, layer in enumerate(layers) for name in re.findall(r"\w+", layer)}

    assert min(layer[name] for name in ("review", "apps", "policy")) > layer["marketplace"]


def test_no_module_imports_a_module_that_imports_it() -> None:
    """House rule 8, function-local imports included."""
    edges = {(part(a), part(b)) for a, b in imports() if part(a) != part(b) and part(a) and part(b)}

    assert len(edges) > 100, "the imports were not found"
    assert [pair for pair in sorted(edges) if (pair[1], pair[0]) in edges] == []


def test_files_and_functions_stay_short() -> None:
    """House rule 10."""
    every = [each for file in parsed() for each in file.functions]
    too_large = [str(inside(path)) for path in files() if len(path.read_text().splitlines()) > MAX_FILE_LINES]

    assert len(every) > len(files())
    assert [each.where for each in every if each.lines > MAX_FUNCTION_LINES] == []
    assert [each.where for each in every if len(each.positional) > MAX_POSITIONAL] == []
    assert too_large == []


def test_the_architecture_shows_every_package_and_its_modules_in_order() -> None:
    """A newcomer reads it first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    # In parentheses: what is planned.
    (packages,) = (each["layers"] for each in contracts if each["name"] == "1 packages")
    tree = (ROOT / "docs" / "architecture.md").read_text().split("```")[1]
    shown = dict(re.findall(r"^(\w+)/? +(.+)$", tree, re.MULTILINE))

    assert list(shown) == [package for package in packages if not package.startswith("(")]
    for package in shown:
        modules = [path.name for path in (SOURCE / "hilum" / package).iterdir() if is_module(path)]
        text = re.split(r"^\w", tree.split(f"\n{package}", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
        assert sorted(name for name in modules if not re.search(rf"\b{name}\b", text)) == [], package


def is_module(path: Path) -> bool:
    return (path / "__init__.py").exists() and path.parent.name != "server"


def modules() -> list[str]:
    """Return the folders of packages and their modules, which each have a card."""
    folders = [path for package in PACKAGES for path in (SOURCES[package] / package).iterdir()]
    folders += [path for path in (SOURCE / "hilum").glob("*/*") if path.parent.name != "server"]
    return sorted(inside(path).as_posix() for path in folders if (path / "__init__.py").exists())


def folder_of(module: str) -> Path:
    return SOURCES[module.partition("/")[0]] / module


@pytest.mark.parametrize("folder", modules())
def test_a_module_has_a_card_and_nothing_else_at_its_door(folder: str) -> None:
    tree = ast.parse((folder_of(folder) / "__init__.py").read_text())

    card = ast.get_docstring(tree)

    assert card is not None, "the card is missing"
    assert len(card) > 150, "a card says what the module owns, must not know, its verbs and invariants"
    assert len(tree.body) == 1, "only the card"


@pytest.mark.parametrize("folder", modules())
def test_what_a_card_names_is_in_its_module(folder: str) -> None:
    card = ast.get_docstring(ast.parse((folder_of(folder) / "__init__.py").read_text())) or ""
    verbs = re.search(r"^Public[^:]*:(.*?)(?=^Invariant|^Must not|\Z)", card, re.MULTILINE | re.DOTALL)
    named = {
        word.split(".")[-1]
        for word in re.findall(r"[A-Za-z][A-Za-z_.]*\w", verbs[1] if verbs else "")
        if "_" in word or "." in word
    }

    text = "\n".join(
        path.read_text() for path in folder_of(folder).rglob("*.py") if path.name != "__init__.py"
    )

    assert sorted(name for name in named if not re.search(rf"\b{name}\b", text)) == []


def test_what_a_store_gets_is_there_and_what_it_finds_may_not_be() -> None:
    """House rule 4."""
    every = [each for file in parsed() if file.path.stem.endswith("store") for each in file.functions]
    found = [each for each in every if each.name.startswith("find_")]
    got = [each for each in every if each.name.startswith("get_")]

    assert len(found) > 30
    assert len(got) > 10
    # A list, set or mapping may be empty.
    assert [each.where for each in found if not re.search(r"None|list|set|dict|tuple", each.returns)] == []
    assert [each.where for each in got if "None" in each.returns] == []


def test_no_sql_is_put_together_from_strings() -> None:
    broken = [f"{inside(file.path)}:{line}" for file in parsed() for line in file.made_up_sql]

    assert broken == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('tx.execute(f"DELETE FROM {name}")', True),
        ('text(f"{one} = {OTHER}")', True),
        ('tx.execute(f"DELETE FROM {TABLE}")', False),
        ('tx.execute("DELETE FROM t")', False),
        ('print(f"{name}")', False),
    ],
)
def test_the_lint_on_sql_finds_what_it_looks_for(source: str, *, found: bool) -> None:
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]

    assert any(map(_is_made_up_sql, calls)) is found


def _is_made_up_sql(call: ast.Call) -> bool:
    """Return whether a statement is run that is put together from anything but constants."""
    if not isinstance(call.func, ast.Attribute | ast.Name) or not call.args:
        return False
    name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id
    statement = call.args[0]
    return name in EXECUTES and isinstance(statement, ast.JoinedStr) and not _only_constants(statement)


def _only_constants(text: ast.JoinedStr) -> bool:
    names = [part.value for part in text.values if isinstance(part, ast.FormattedValue)]
    return all(isinstance(name, ast.Name) and (name.id.isupper() or name.id == "pragma") for name in names)


def test_nothing_is_left_for_later_and_errors_are_caught_at_edges_only() -> None:
    markers, swallowed = [], []
    for path in files():
        text, name = path.read_text(), inside(path)
        markers += [
            f"{name}: {each}" for each in re.findall(r"\b(?:TODO|FIXME|XXX|HACK|NotImplementedError)\b", text)
        ]
        swallowed += [
            f"{name}: {each}"
            for each in re.findall(r"except(?: BaseException)?:\s*(?:pass)?\s*$", text, re.MULTILINE)
        ]

    assert markers == []
    assert swallowed == []


def test_no_lock_file_names_an_address() -> None:
    root = ROOT
    locks = [*root.glob("*.lock"), *root.glob("tests/browser/package-lock.json")]

    assert len(locks) >= 2
    assert [lock.name for lock in locks if "://" in lock.read_text() and lock.suffix == ".lock"] == []
    assert [
        lock.name for lock in locks if lock.suffix == ".json" and '"resolved": "http' in lock.read_text()
    ] == []


def test_no_file_of_tests_is_imported() -> None:
    """CONTRIBUTING, Tests: what test files share is in modules without tests."""
    root = ROOT
    importers = [
        path.relative_to(root).as_posix()
        for path in sorted(root.glob("tests/**/*.py"))
        if "node_modules" not in path.parts and FROM_A_TEST_FILE.search(path.read_text())
    ]

    assert importers == [RUNS_OTHER_TESTS]
