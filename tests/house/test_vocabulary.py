"""One list of roles, the same in the API, the code and the glossary; and no word that has a plainer one."""

import re
from pathlib import Path

from tools import reference

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.web.api import ANYONE, MEMBER, ONESELF, STAFF
from hilum.identity.people.models import Role, StaffRole, VendorRole
from hilum.identity.people.policy import RIGHTS
from hilum.surfaces.console.action_words import ACTION_WORDS
from tests.flows.control_site import ORIGIN, build
from tests.sim.site_client import SiteClient
from tests.sim.world import FakeClock

ROOT = Path(__file__).parents[2]
GLOSSARY = ROOT / "docs" / "glossary.md"
ROLES = {each.value for kind in (Role, StaffRole, VendorRole) for each in kind}
GROUPS = {ANYONE, MEMBER, ONESELF, STAFF}
PLAINER = {
    "anew": "again",
    "doorway": "entry point",
    "errand": "task",
    "mend": "fix",
    "mended": "fixed",
    "mending": "fixing",
    "mends": "fixes",
    "of before": "older",
    "whence": "from where",
    "whither": "where to",
}
"""Words that a reader translates, each with the one to use."""


def words_of(entry: str) -> set[str]:
    (meaning,) = re.findall(rf"^\| \*\*{entry}\*\* \| (.*) \|$", GLOSSARY.read_text(), re.MULTILINE)
    return set(re.findall(r"`([a-z_]+)`", meaning))


def test_the_apis_audiences_are_roles_or_groups_of_the_glossary(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    client = SiteClient(build(sqlite_uow, clock).app, base_url=ORIGIN)
    paths = client.get("/api/openapi.json").json()["paths"].values()

    used = {word for path in paths for operation in path.values() for word in operation["x-audience"]}

    assert used - ROLES - GROUPS == set()
    assert used >= GROUPS


def test_the_glossary_lists_every_role_and_group() -> None:
    assert words_of("role") == ROLES
    assert words_of("audience") == GROUPS
    assert {each.value for each in Role} <= set(RIGHTS)


def test_the_consoles_have_words_for_each_action_that_the_audit_records() -> None:
    """A line of a timeline is a sentence. A new action gets its words in ``hilum.surfaces.console.action_words``."""
    assert sorted(ACTION_WORDS) == sorted(reference.recorded_actions())


def test_no_text_uses_a_word_that_has_a_plainer_one() -> None:
    unplain = re.compile(rf"(?<![\w\"])({'|'.join(PLAINER)})(?![\w\"])", re.IGNORECASE)
    docs = [path for path in (ROOT / "docs").rglob("*.md") if path.parent.name not in {"adr", "reference"}]
    texts = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *docs]
    texts += [
        path
        for path in (*(ROOT / "src").rglob("*"), *(ROOT / "ehr").rglob("*"))
        if path.suffix in {".py", ".html"}
    ]

    used = [
        f"{path.relative_to(ROOT)}:{number}: {hit[1]}, better {PLAINER[hit[1].lower()]}"
        for path in texts
        if path != GLOSSARY and "versions" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for hit in unplain.finditer(line)
    ]

    assert used == []
