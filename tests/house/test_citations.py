"""What code cites is in the repository (house rule 16)."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NUMBERS = r"(\d+(?:(?:,| and|, and) \d+)*)"
DECISIONS = re.compile(rf"[Ss]ecurity decisions? {NUMBERS}")
RULES = re.compile(rf"[Hh]ouse rules? {NUMBERS}")
ADRS = re.compile(r"\bADR (\d+)|docs/adr/(\d{4})")
SECTIONS = re.compile(r"\b[Cc]ontract, ([A-Za-z][A-Za-z' ]*?)(?= and [A-Z]|[:;.,)\"\n]|$)")
ELSEWHERE = re.compile(
    r"\b[Hh]ouse (?:section|walk|property|\d)|\b[Rr]eview finding|\b[Ff]ault \d|\bissue S?\d|\bmilestone \d"
)
"""Ways of citing that lead to pages outside the repository."""
PROSE = re.compile(r'"""(.*?)"""|#([^\n]*)', re.DOTALL)


@cache
def sources() -> dict[str, str]:
    listed = subprocess.run(
        ["git", "ls-files", "src/*.py", "tests/*.py", "tools/*.py", "examples/*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    here = Path(__file__).relative_to(ROOT).as_posix()
    return {name: (ROOT / name).read_text() for name in listed if name != here and (ROOT / name).exists()}


def numbers(pattern: re.Pattern[str], text: str) -> list[int]:
    found = (group for match in pattern.finditer(text) for group in match.groups() if group)
    return [int(number) for group in found for number in re.findall(r"\d+", group)]


def cited(pattern: re.Pattern[str], there: set[int]) -> list[str]:
    return [
        f"{name}: {number}"
        for name, text in sources().items()
        for number in numbers(pattern, text)
        if number not in there
    ]


def numbered(page: str, pattern: str) -> set[int]:
    return {int(number) for number in re.findall(pattern, (DOCS / page).read_text(), re.MULTILINE)}


def test_every_cited_decision_rule_and_adr_is_there() -> None:
    decisions = numbered("security-decisions.md", r"^\| (\d+) \|")
    rules = numbered("house-rules.md", r"^(\d+)\. ")
    adrs = {int(path.name[:4]) for path in (DOCS / "adr").glob("*.md")}

    assert decisions == set(range(1, len(decisions) + 1))
    assert rules == set(range(1, len(rules) + 1))
    assert len({path.name[:4] for path in (DOCS / "adr").glob("*.md")}) == len(
        list((DOCS / "adr").glob("*.md"))
    )
    assert cited(DECISIONS, decisions) == []
    assert cited(RULES, rules) == []
    assert cited(ADRS, adrs) == []


def test_every_cited_section_of_the_contract_is_there() -> None:
    headings = {
        heading.lower()
        for heading in re.findall(
            r"^## (.+)$", (DOCS / "reference" / "contract.md").read_text(), re.MULTILINE
        )
    }

    missing = [
        f"{name}: {section}"
        for name, text in sources().items()
        for section in SECTIONS.findall(text)
        if not any(heading.startswith(section.lower()) for heading in headings)
    ]

    assert missing == []


def test_nothing_is_cited_that_only_its_authors_have() -> None:
    found = [
        f"{name}: {match.group()}"
        for name, text in sources().items()
        for prose in PROSE.findall(text)
        for match in ELSEWHERE.finditer("".join(prose))
    ]

    assert found == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Source: security decision 8", [8]),
        ("security decisions 7 and 27.", [7, 27]),
        ("Security decisions 24, 25; C1", [24, 25]),
        ("Security decision 5, review", [5]),
    ],
)
def test_the_lint_on_citations_reads_what_is_cited(text: str, expected: list[int]) -> None:
    assert numbers(DECISIONS, text) == expected
