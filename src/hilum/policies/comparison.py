"""What differs between two rule books, and what the second allows that the first does not. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from hilum.policies.document import render
from hilum.policies.models import (
    ANY,
    TIERS,
    Applicant,
    Book,
    Category,
    Cell,
    Change,
    ClientAuthentication,
    Tier,
    TrafficClass,
    Widening,
)
from hilum.policies.policy import tier_judge
from hilum.standards.fhir.definitions import resource_types
from hilum.standards.smart import scopes as smart
from hilum.standards.smart.scopes import SPECIAL, ClinicalScope, Prefix, Scope, SpecialScope, all_covered

_LETTERS = (smart.CREATE, smart.READ, smart.UPDATE, smart.DELETE, smart.SEARCH)
_CLASSES = tuple(TrafficClass)
LongerIsWider = Callable[[Cell], Any]


def changes(before: Book, after: Book) -> tuple[Change, ...]:
    """List every value that differs between two books, by its path in the document."""
    return tuple(_changes("", render(before), render(after)))


def _changes(path: str, before: object, after: object) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from _changes(f"{path}.{key}".lstrip("."), before.get(key), after.get(key))
    elif _is_named(before) and _is_named(after):
        yield from _changes(path, _by_name(before), _by_name(after))
    elif before != after:
        yield Change(path, before, after)


def _is_named(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) and "name" in each for each in value)


def _by_name(value: Any) -> dict[str, Any]:
    return {each["name"]: each for each in value}


def widenings(before: Book, after: Book) -> tuple[Widening, ...]:
    """List everything that ``after`` allows and ``before`` does not. Empty: no app can do or keep anything under it that it could not before.

    It errs on the side of listing: a tier that falls is listed even where no cell makes use of it, since its limits are looser.
    An app that loses its riskiest scopes may come under the looser limits of a lower tier; that is not listed.
    Source: C210
    """
    found: list[Widening] = [*_tiers_fallen(before, after), *_process_loosened(before, after)]
    for name, category in after.categories.items():
        found += _category_widened(before.categories.get(name), category)
    return tuple(dict.fromkeys(found))


# --- tiers ---------------------------------------------------------------------------------------------------------------------


def _tiers_fallen(before: Book, after: Book) -> Iterator[Widening]:
    """Compare the tier of each scope in each situation that a rule of either book distinguishes."""
    rules = (*before.tier_rules, *after.tier_rules)
    atoms = _atoms(before, after)
    clients = (
        tuple(ClientAuthentication) if any(rule.clients for rule in rules) else (ClientAuthentication.NONE,)
    )
    workflows = {(), *((name,) for rule in rules for name in rule.workflows)}
    placements = {(), *((name,) for rule in rules for name in rule.placements)}
    for name, category in after.categories.items():
        old = before.categories.get(name)
        if old is None or (old.floor is category.floor and before.tier_rules == after.tier_rules):
            continue
        for client, workflow, placement in product(clients, sorted(workflows), sorted(placements)):
            applicant = Applicant(name, (), client, workflow, placement)
            was, is_ = tier_judge(before, applicant), tier_judge(after, applicant)
            yield from _compared(old, category, [(a, was(a), is_(a)) for a in atoms])


def _compared(old: Category, new: Category, tiers: Iterable[tuple[Scope, Tier, Tier]]) -> Iterator[Widening]:
    for atom, was, is_ in tiers:
        if was is is_:
            continue
        text, path = smart.render(atom), f"categories.{new.name}"
        if is_.rank < was.rank:
            yield Widening(path, f"The tier of {text} falls from {was} to {is_}, whose limits are looser.")
        elif _lists(new.cells.get(is_), text) and not _lists(old.cells.get(was), text):
            yield Widening(
                path, f"{text} is of the {is_} tier now, whose cell allows it; the {was} one did not."
            )


def _lists(cell: Cell | None, text: str) -> bool:
    return cell is not None and all_covered((text,), (*cell.scopes, *cell.session_scopes))


def _atoms(*books: Book) -> list[Scope]:
    """List every scope of one letter, of each type that a book names and of one that none does, and every special scope."""
    named = {type_ for book in books for rule in book.tier_rules for type_ in rule.types} - {ANY}
    for book in books:
        for category in book.categories.values():
            for cell in category.cells.values():
                clinical = (s for s in smart.parse_stored(cell.scopes) if isinstance(s, ClinicalScope))
                named |= {scope.type for scope in clinical} - {ANY}
    types = sorted(named) + sorted(resource_types() - named)[:1]
    clinical_atoms = (ClinicalScope(*each) for each in product(Prefix, types, _LETTERS))
    return [*clinical_atoms, *map(SpecialScope, sorted(SPECIAL))]


# --- cells ---------------------------------------------------------------------------------------------------------------------


def _category_widened(old: Category | None, new: Category) -> Iterator[Widening]:
    path = f"categories.{new.name}"
    if old is None:
        yield Widening(path, f"The category {new.name} is new.")
        return
    if new.open and not old.open:
        yield Widening(f"{path}.open", "New apps may be registered in it.")
    for tier in TIERS:
        above, below = new.cells.get(tier), old.cells.get(tier)
        where = f"{path}.cells.{tier}"
        if above is not None and below is None:
            yield Widening(where, f"The category allows the {tier} tier.")
        elif above is not None and below is not None:
            yield from (
                Widening(f"{where}.{field}", sentence) for field, sentence in _cell_widened(below, above)
            )


def _cell_widened(old: Cell, new: Cell) -> Iterator[tuple[str, str]]:
    for name in ("scopes", "session_scopes"):
        before, after = getattr(old, name), getattr(new, name)
        more = [text for text in after if not all_covered((text,), before)]
        if more:
            yield name, f"Also allows {', '.join(more)}."
    for name in ("client_authentication", "workflows", "placements"):
        more = [] if ANY in getattr(old, name) else sorted(getattr(new, name) - getattr(old, name))
        if more:
            yield name, f"Also allows {', '.join(more)}."
    for name in ("lenses", "evidence", "scenarios"):
        less = sorted(getattr(old, name) - getattr(new, name))
        if less:
            yield name, f"No longer requires {', '.join(less)}."
    for name, measure in _MEASURES.items():
        if measure(new) > measure(old):
            yield name, "Is looser."


_MEASURES: dict[str, LongerIsWider] = {
    "certificate_life": lambda cell: cell.certificate_life,
    "lifetimes.access_token": lambda cell: cell.lifetimes.access_token,
    "lifetimes.backend_token": lambda cell: cell.lifetimes.backend_token,
    "lifetimes.refresh_token": lambda cell: cell.lifetimes.refresh_token,
    "lifetimes.session_refresh_token": lambda cell: cell.lifetimes.session_refresh_token,
    "lifetimes.authorization": lambda cell: cell.lifetimes.authorization,
    "quota.rate_per_s": lambda cell: cell.quota.rate_per_s,
    "quota.burst": lambda cell: cell.quota.burst,
    "alerts.refused_percent": lambda cell: cell.alerts.refused_percent,
    "alerts.failed_percent": lambda cell: cell.alerts.failed_percent,
    "alerts.latency_ms_p95": lambda cell: cell.alerts.latency_ms_p95,
    "traffic_class": lambda cell: -_CLASSES.index(cell.traffic_class),
}
"""Every limit of a cell; the greater it is, the more it allows."""


# --- the way to change books ---------------------------------------------------------------------------------------------------


def _process_loosened(before: Book, after: Book) -> Iterator[Widening]:
    if after.rollout.soak < before.rollout.soak:
        yield Widening("rollout.soak", "Changes reach everybody sooner.")
    kept = {pack.name: pack for pack in after.packs}
    for pack in before.packs:
        if kept.get(pack.name) != pack:
            yield Widening(f"packs.{pack.name}", f"The rules of {pack.jurisdiction} are removed or changed.")
