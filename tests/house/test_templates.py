"""Rules of templates that a rendered page shows only in some of its states (house rule 13)."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted(
    path for source in ("src", "ehr") for path in (ROOT / source).glob("**/templates/**/*.html")
)
CARD = re.compile(r"\bui\.card\(\s*(?:_\()?\"([^\"]+)\"\)?[^)]*\bid=")
REGION = re.compile(r"<[^>]*\brole=\"region\"[^>]*\baria-label=\"([^\"{]+)\"")


def landmarks(template: str) -> list[str]:
    """Return the names of the regions in a template: a card with an id is one, named by its title."""
    return CARD.findall(template) + REGION.findall(template)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_region_of_a_page_has_a_name_of_its_own(path: Path) -> None:
    """A screen reader lists regions by name, also those that appear only once a list has rows (axe: landmark-unique)."""
    twice = [name for name, times in Counter(landmarks(path.read_text())).items() if times > 1]
    assert twice == []


def test_a_name_that_is_given_twice_is_found() -> None:
    found = landmarks(
        '{% call ui.card("Calls", id="calls") %}{% call ui.card(_("Calls"), id="more") %}<div role="region" aria-label="Calls">'
    )
    assert found == ["Calls"] * 3
