"""One list of roles: the API's audiences, the code and the glossary use the same words."""

import re
from pathlib import Path

from tools import reference

from hilum.console.deeds import DEEDS
from hilum.identity.models import Role, StaffRole, VendorRole
from hilum.identity.policy import RIGHTS
from hilum.infra.unit_of_work import UnitOfWork
from hilum.web.api import ANYONE, MEMBER, ONESELF, STAFF
from tests.flows.control_site import ORIGIN, build
from tests.sim.site_client import SiteClient
from tests.sim.world import FakeClock

GLOSSARY = Path(__file__).parents[2] / "docs" / "glossary.md"
ROLES = {each.value for kind in (Role, StaffRole, VendorRole) for each in kind}
GROUPS = {ANYONE, MEMBER, ONESELF, STAFF}


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
    """A line of a timeline is a sentence. A new action gets its words in ``hilum.console.deeds``."""
    assert sorted(DEEDS) == sorted(reference.recorded_actions())
