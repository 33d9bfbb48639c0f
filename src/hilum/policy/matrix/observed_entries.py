"""Entries whose tightening is observed until a day: fill in the earlier entry from the version in force (C209). Pure."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from hilum.policy.matrix.limits import LIMITS, SETS_THAT_ALLOW, SETS_THAT_REQUIRE, with_limits
from hilum.policy.matrix.models import ANY, Book, Fault, Observation, PolicyEntry

ENTRY_LIMITS = ("scopes", "session_scopes", *SETS_THAT_ALLOW, *SETS_THAT_REQUIRE, *LIMITS)
"""What can be tighter in an entry."""
OBSERVE_BOUND = timedelta(days=90)
"""How long an entry may be observed before it is enforced: as long as a dry run looks back (C209)."""
CurrentBook = Callable[[], Book]
"""Returns the policy that is in force."""
OBSERVED_DAYS_BOUND = 3
"""How many different days a policy may have on which entries are enforced: before each the policy must be sound."""


def completed(book: Book, in_force: CurrentBook, faults: list[Fault]) -> Book:
    """Return a policy in which each observed entry has its earlier state from the version in force. Appends to ``faults``."""
    if all(each.earlier is not None for _, each in book.observed_entries):
        return book
    against = in_force()
    categories = dict(book.categories)
    for (name, tier), each in book.observed_entries:
        if each.earlier is not None:
            continue
        category = categories[name]
        of = against.categories.get(name)
        was = None if of is None else of.entries.get(tier)
        if was is None:
            sentence = "The version in force has no such entry, so nothing in this one is tighter. Remove it."
            faults.append(Fault(f"categories.{name}.entries.{tier}.observe", "observed_new", sentence))
            continue
        entry = category.entries[tier]
        earlier = _known(with_limits(replace(entry, observe=None), was, each.limits or ENTRY_LIMITS), book)
        made = replace(entry, observe=Observation(each.until, (), earlier))
        categories[name] = replace(category, entries={**category.entries, tier: made})
    return replace(book, categories=categories)


def _known(entry: PolicyEntry, book: Book) -> PolicyEntry:
    """Return an entry without names that a policy no longer has, since they have no effect."""
    return replace(
        entry,
        workflows=entry.workflows & {*book.workflows, ANY},
        placements=entry.placements & {*book.placements, ANY},
        scenarios=entry.scenarios & {*book.scenarios},
        evidence=entry.evidence & {*book.evidence},
    )
