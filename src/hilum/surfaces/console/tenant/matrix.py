"""Who may do what with an app at a hospital, and where: work by role, as a table that can be read aloud. Pure but for the names of facilities."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hilum.apps.installations.models import Installation
from hilum.authorization.authorize.policy import grantable
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import FacilityId
from hilum.foundation.standards.smart.scopes import all_covered, parse_stored, render
from hilum.identity.people import service as identity
from hilum.identity.people.policy import rights_of
from hilum.surfaces.console import words
from hilum.surfaces.console.tenant.forms import ROLES, Work

WHOLE, PART, NOTHING = "yes", "in part", "no"


@dataclass(frozen=True, slots=True)
class Matrix:
    """``rows``: work, and for each of ``roles`` how much of it; ``usual``: the work of a launch that names none."""

    roles: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    where: str
    usual: str = ""


def matrix(ctx: Context, installed: Installation, works: Sequence[Work]) -> Matrix:
    """Return the matrix of an app that is installed."""
    roles = [each.value for each in ROLES if each.value in installed.roles]
    scopes = [(each.title, each.scopes) for each in works] or [("What it can do", installed.scopes)]
    rows = tuple((title, tuple(how_much(of, role) for role in roles)) for title, of in scopes)
    found = (identity.find_facility(ctx, each) for each in {*(installed.facilities or ()), *installed.denied})
    named = {each.id: each.name for each in found if each is not None and each.is_open}

    def names(of: Collection[FacilityId]) -> list[str]:
        return sorted(named.get(each, "a facility that was closed") for each in of)

    only = None if installed.facilities is None else names(installed.facilities)
    titles = {each.name: each.title for each in works}
    usual = titles.get(installed.default_workflow, installed.default_workflow)
    return Matrix(tuple(map(words.role, roles)), rows, where(only, names(installed.denied)), usual)


def how_much(scopes: Sequence[str], role: str) -> str:
    """Return how much of some scopes a role's own rights leave to an app."""
    left = [render(each) for each in grantable(parse_stored(scopes), scopes, rights_of(role))]
    if not any("/" in each for each in left):
        return NOTHING
    return WHOLE if all_covered(scopes, left) else PART


def where(only: Sequence[str] | None, denied: Sequence[str]) -> str:
    """Return where an app may be opened, in words."""
    at = "everywhere in your hospital" if only is None else f"at {', '.join(only) or 'no facility'} only"
    return f"{at}, but not at {', '.join(denied)}" if denied else at
