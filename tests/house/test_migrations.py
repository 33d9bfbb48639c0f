"""Each migration says which releases work with it (docs/adr/0033)."""

import re
from itertools import pairwise
from pathlib import Path

VERSIONS = Path(__file__).parents[2] / "src" / "hilum" / "foundation" / "infra" / "migrations" / "versions"


def test_migrations_are_one_chain_and_each_declares_the_oldest_release_that_works_with_it() -> None:
    """A migration that drops or demands something names itself, or the release from which the code does without."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(VERSIONS.glob("[0-9]*.py")):
        words = dict(
            re.findall(
                r'^(revision|down_revision|compatible_from) = "([0-9]{4})"$', path.read_text(), re.MULTILINE
            )
        )
        assert words.get("revision") == path.name[:4], path.name
        assert "compatible_from" in words, f"{path.name} declares no compatible_from"
        assert words["compatible_from"] <= words["revision"], path.name
        found[path.name] = words
    assert found
    for before, after in pairwise(found.values()):
        assert after["down_revision"] == before["revision"], after
