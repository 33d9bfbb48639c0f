"""No bound drops a stop (security decision 27): what enforcement stands on is read whole, or by name, and never up to a limit.

Whatever a module's ``facts`` reads, and whatever is read to judge whether something is stopped, goes through functions of its store that
have no ``limit``. A limit there would leave out of what forbids whatever lies past it.
"""

import ast
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "hilum"
JUDGES = {
    "controls/switches": {"judge", "stops_on", "switch_index", "switch_facts", "quota_facts"},
    "apps/clients": {"certified_facts"},
    "apps/installations": {"current", "installation", "installed_at"},
    "apps/registry": {"read_certified"},
    "policy/matrix": {"applied", "book_in_force"},
}
"""What else decides whether something is forbidden, by module."""


def functions(path: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def of_store(node: ast.AST) -> set[str]:
    """Return the functions of the store that are used."""
    return {
        each.attr
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "store"
    }


def reached(start: set[str], known: dict[str, ast.FunctionDef]) -> set[str]:
    """Return the functions of a module that are used from ``start``, at any depth."""
    found: set[str] = set()
    waiting = [name for name in start if name in known]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [each for each in names(known[name]) if each in known]
    return found


def is_facts(node: ast.FunctionDef) -> bool:
    return any(
        isinstance(arg.annotation, ast.Name) and arg.annotation.id == "Since" for arg in node.args.args
    )


def limited(node: ast.FunctionDef) -> bool:
    return any(isinstance(each, ast.Attribute) and each.attr in {"limit", "fetch"} for each in ast.walk(node))


@cache
def readers() -> dict[str, set[str]]:
    """Name, by module, every function of its store that facts and judgements of stops reach."""
    found: dict[str, set[str]] = {}
    for path in sorted(SOURCE.glob("*/*/*.py")):
        known, module = functions(path), path.parent.relative_to(SOURCE).as_posix()
        start = {name for name, node in known.items() if is_facts(node)}
        if path.stem in {"service", "held", "certified", "loading"}:
            start |= JUDGES.get(module, set()) & known.keys()
        if start and (path.parent / "store.py").exists():
            used = {name for each in reached(start, known) for name in of_store(known[each])}
            found[module] = found.get(module, set()) | reached(used, functions(path.parent / "store.py"))
    return found


def test_every_room_with_facts_is_looked_at() -> None:
    found = readers()

    assert found.keys() >= {
        "controls/switches",
        "identity/people",
        "identity/signin",
        "authorization/tokens",
        "authorization/consent",
        "authorization/launches",
        "apps/registry",
        "apps/installations",
        "policy/matrix",
    }
    assert {"list_applications_in_force", "get_version", "has_versions"} <= found["policy/matrix"]
    assert {"list_stops", "list_stops_on", "_stops", "read_quotas"} <= found["controls/switches"]
    assert all(found.values())


def test_nothing_that_forbids_is_read_up_to_a_limit() -> None:
    broken = [
        f"{module}.store.{name}"
        for module, used in readers().items()
        for store in (functions(SOURCE / module / "store.py"),)
        for name in sorted(used)
        if limited(store[name])
    ]

    assert broken == []


def test_the_check_sees_a_limit() -> None:
    bad = ast.parse("def f(tx):\n    return tx.execute(select(t).limit(9))").body[0]

    assert isinstance(bad, ast.FunctionDef)
    assert limited(bad)
