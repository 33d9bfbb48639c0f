"""Print the size and the shape of the house: lines by package, arrows between packages, what is written by hand, tests, papers.

Usage: python -m tools.figures
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
HILUM = ROOT / "src" / "hilum"
NOT_CODE = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)
ROUTES = re.compile(r"^\s*@router\.(?:get|post|put|patch|delete)\(", re.MULTILINE)
COMMANDS = re.compile(r"^@(?:click|\w+)\.command\(", re.MULTILINE)


def code_lines(source: str) -> int:
    """Return the lines that have a token which is neither a comment nor part of a docstring."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            docstrings.update(range(body[0].lineno, (body[0].end_lineno or 0) + 1))
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def sources(folder: Path) -> list[str]:
    """Return the text of each Python file in a folder, at any depth."""
    return [path.read_text() for path in folder.rglob("*.py") if "node_modules" not in path.parts]


def lines_of(texts: Iterable[str]) -> int:
    """Return how many lines some texts have together."""
    return sum(len(text.splitlines()) for text in texts)


def arrows() -> set[tuple[str, str]]:
    """Return which package imports which."""
    graph = grimp.build_graph("hilum", cache_dir=None)
    pairs = (
        (importer.split(".")[1], imported.split(".")[1])
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
        if "." in importer and "." in imported
    )
    return {(above, below) for above, below in pairs if above != below}


def floors(edges: set[tuple[str, str]]) -> int:
    """Return the length of the longest way down; packages that import each other stand on one floor."""
    level: Counter[str] = Counter()
    boxes = {name for edge in edges for name in edge}
    for _ in boxes:
        for above, below in edges:
            if (below, above) not in edges:
                level[above] = max(level[above], level[below] + 1)
    return len({level[box] for box in boxes})


def main() -> None:
    """Print the figures."""
    print(f"{'package':<16}{'lines':>9}{'code':>9}")
    total_lines = total_code = 0
    for folder in sorted(path for path in HILUM.iterdir() if (path / "__init__.py").exists()):
        texts = sources(folder)
        lines, code = lines_of(texts), sum(map(code_lines, texts))
        total_lines, total_code = total_lines + lines, total_code + code
        print(f"{folder.name:<16}{lines:>9,}{code:>9,}")
    print(f"{'src/hilum':<16}{total_lines:>9,}{total_code:>9,}")
    print(f"{'hilum_ehr':<16}{lines_of(sources(ROOT / 'ehr' / 'src')):>9,}")
    edges = arrows()
    circles = sum((below, above) in edges for above, below in edges) // 2
    boxes = {name for edge in edges for name in edge}
    print(
        f"\npackages {len(boxes)}, floors {floors(edges)}, arrows {len(edges)}, pairs that import each other {circles}"
    )
    every = sources(HILUM)
    routes, commands = (sum(len(pattern.findall(text)) for text in every) for pattern in (ROUTES, COMMANDS))
    print(f"written by hand: {routes} routes of the API, {commands} commands")
    print("\ntests, lines:")
    tests = 0
    for folder in sorted(
        path for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name != "__pycache__"
    ):
        lines = lines_of(sources(folder))
        tests += lines
        print(f"{folder.name:<16}{lines:>9,}")
    print(f"{'all':<16}{tests:>9,}")
    decisions = len(list((ROOT / "docs" / "adr").glob("[0-9]*.md")))
    glossary = len(re.findall(r"^\| \*\*", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE))
    roadmap = (ROOT / "docs" / "roadmap.md").read_text()
    limits = len(
        re.findall(r"^- ", re.split(r"^## Known .*$", roadmap, flags=re.MULTILINE)[-1], re.MULTILINE)
    )
    print(f"\ndecisions (ADR) {decisions}, known limits {limits}, words in the glossary {glossary}")


if __name__ == "__main__":
    main()
