"""The differences between two policies, and what the second newly allows. Pure."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from hilum.foundation.kernel.lists import counted
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.standards.smart.scopes import ClinicalScope, Prefix, Scope, intersect, parse_stored
from hilum.policy.matrix.admission import listed
from hilum.policy.matrix.document import book_faults, canonical, render
from hilum.policy.matrix.fields import duration_text
from hilum.policy.matrix.in_force import observing
from hilum.policy.matrix.limits import LIMITS, SETS_THAT_ALLOW, SETS_THAT_REQUIRE, shares_widened
from hilum.policy.matrix.models import (
    ANY,
    TIERS,
    Book,
    Category,
    CellName,
    Change,
    Fault,
    LaneStep,
    PolicyEntry,
    PrivilegeIncrease,
    PrivilegeIncreaseSeverity,
    Tier,
)
from hilum.policy.matrix.observed_entries import OBSERVE_BOUND, OBSERVED_DAYS_BOUND
from hilum.policy.matrix.products import products_widened
from hilum.policy.matrix.tier_changes import TierChanges, TierFall, TierRise, index_of

PAIRS_BOUND = 64
"""How many comparisons are cached."""


def changes(before: Book, after: Book) -> tuple[Change, ...]:
    """List every value that differs between two policies, by its path in the document."""
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


def privilege_increases(before: Book, after: Book) -> tuple[PrivilegeIncrease, ...]:
    """List everything that ``after`` allows and ``before`` does not, most severe first; kept for the two digests.

    Empty: no app can do or keep anything under it that it could not before. It errs on the side of listing: a tier that falls is listed
    even where no entry makes use of it, since its limits are looser. An app that loses its riskiest scopes may come under the looser
    limits of a lower tier; that is not listed.
    Source: C210
    """
    # By digest, not by policy: the cache would keep the policies in memory.
    key = before.digest, after.digest
    found = _kept.get(key)
    if found is None:
        found = _privilege_increases(before, after)
        if all(key):
            # A copy of the keys: other threads may compare concurrently.
            for oldest in list(_kept)[: max(0, len(_kept) - PAIRS_BOUND + 1)]:
                _kept.pop(oldest, None)
            _kept[key] = found
    return found


_kept: dict[tuple[str, str], tuple[PrivilegeIncrease, ...]] = {}


def _privilege_increases(before: Book, after: Book) -> tuple[PrivilegeIncrease, ...]:
    """Compare what is enforced in the end, and what is enforced while ``after`` still observes (C209)."""
    found = _compared(before, after)
    entries = _entries_begun(before, after)
    if not entries:
        return found
    return most_severe_first((*found, *_compared(before, observing(after, entries))))


def _entries_begun(before: Book, after: Book) -> frozenset[CellName]:
    """Return the entries that ``after`` observes and ``before`` does not, or not for as long or not as loose."""
    kept = dict(before.observed_entries)
    return frozenset(
        name
        for name, each in after.observed_entries
        if (old := kept.get(name)) is None
        or each.until > old.until
        or old.earlier is None
        or each.earlier is None
        or any(_allowed(old.earlier, each.earlier, name[1]))
    )


def observe_faults(book: Book, on: date) -> Iterator[Fault]:
    """Find entries that are observed for too long, that loosen anything, or with which the policy is not sound before their day (C209)."""
    for (name, tier), each in book.observed_entries:
        path, entry = f"categories.{name}.entries.{tier}.observe", book.categories[name].entries[tier]
        if each.until > on + OBSERVE_BOUND:
            yield Fault(f"{path}.until", "observed_too_long", f"At most {OBSERVE_BOUND.days} days from now.")
        if each.earlier is not None and (fault := _loosens(each.earlier, entry, tier)) is not None:
            yield replace(fault, path=path)
    days = sorted({each.until for _, each in book.observed_entries})
    if len(days) > OBSERVED_DAYS_BOUND:
        yield Fault(
            "categories",
            "too_many_days",
            f"Entries are observed until {OBSERVED_DAYS_BOUND} different days at most.",
        )
        return
    for day in days:
        entries = frozenset(name for name, each in book.observed_entries if each.until >= day)
        for fault in book_faults(observing(book, entries)):
            yield replace(
                fault, sentence=f"{fault.sentence} This is so before {day}, while entries are observed."
            )


def tightened(book: Book, name: CellName) -> tuple[str, ...]:
    """Return the limits of an entry that are tighter from the day on until which it is observed; empty if it is not."""
    entry = book.categories[name[0]].entries[name[1]]
    if entry.observe is None or entry.observe.earlier is None:
        return ()
    return tuple(dict.fromkeys(each.path for each in _allowed(entry, entry.observe.earlier, name[1])))


def _loosens(earlier: PolicyEntry, entry: PolicyEntry, tier: Tier) -> Fault | None:
    """Return why an entry's changes cannot be observed; None if they only tighten."""
    looser, tighter = list(_allowed(earlier, entry, tier)), list(_allowed(entry, earlier, tier))
    if not looser:
        return (
            None
            if tighter
            else Fault("", "observed_nothing", "Nothing in it is tighter than it was. Remove it.")
        )
    first = f"{looser[0].path}: {looser[0].sentence}"
    if not tighter:
        return Fault(
            "", "observed_widens", f"It loosens ({first}). Only what tightens is observed: remove it."
        )
    names = ", ".join(
        dict.fromkeys(each.path for each in tighter if each.path not in {one.path for one in looser})
    )
    sentence = f"It tightens and loosens ({first}). Name in limits what is tighter ({names or 'not scopes'}), or publish both apart."
    return Fault("", "observed_mixed", sentence)


def _allowed(old: PolicyEntry, new: PolicyEntry, tier: Tier) -> Iterator[PrivilegeIncrease]:
    yield from _scopes_added(old, new, tier)
    yield from _loosened(old, new)


def _compared(before: Book, after: Book) -> tuple[PrivilegeIncrease, ...]:
    comparison = TierChanges(before, after)
    falls, rises = comparison.found()
    found = [
        *(_fallen(fall, comparison) for fall in falls),
        *_process_loosened(before, after),
        *shares_widened(before, after),
        *products_widened(before, after),
    ]
    for rise in rises:
        found += _risen(rise, before, after, comparison)
    for name, category in after.categories.items():
        found += _category_widened(before.categories.get(name), category)
    return most_severe_first(found)


def most_severe_first(found: Iterable[PrivilegeIncrease]) -> tuple[PrivilegeIncrease, ...]:
    """Return each privilege increase once, the most severe first."""
    return tuple(
        sorted(dict.fromkeys(found), key=lambda each: (each.severity, -each.weight, each.path, each.sentence))
    )


def digest_of(found: Iterable[PrivilegeIncrease]) -> str:
    """Return the digest of a list of privilege_increases: an approval covers exactly these."""
    return hashlib.sha256(canonical({"allows": [[each.path, each.sentence] for each in found]})).hexdigest()


# --- tiers ---------------------------------------------------------------------------------------------------------------------


def _fallen(fall: TierFall, comparison: TierChanges) -> PrivilegeIncrease:
    names = ", ".join(fall.categories)
    path = ", ".join(f"tier_rules.{rule}" for rule in fall.rules)
    sentence = (
        f"The tier of {_texts(fall.scopes, comparison)} falls from {fall.was} to {fall.now}, whose limits are"
        f" looser, in {names}."
    )
    where = path or ", ".join(f"categories.{name}.floor" for name in fall.categories)
    return PrivilegeIncrease(where, sentence, PrivilegeIncreaseSeverity.TIER, _weight(fall.scopes, fall.was))


def _risen(rise: TierRise, before: Book, after: Book, comparison: TierChanges) -> Iterator[PrivilegeIncrease]:
    """Yield what an entry opens to scopes that rise into it: scopes that theirs did not list, and limits that are looser than below."""
    path = f"categories.{rise.category}"
    old, above = before.categories[rise.category], after.categories[rise.category].entries[rise.now]
    if rise.gained:
        sentence = f"{_texts(rise.gained, comparison)}: of the {rise.now} tier now, whose entry allows it; the {rise.was} one did not."
        yield PrivilegeIncrease(
            path, sentence, PrivilegeIncreaseSeverity.ACCESS, _weight(rise.gained, rise.now)
        )
    # An app that acts at any tier between comes along if one of its scopes rises.
    for tier in TIERS[rise.was.rank : rise.now.rank]:
        below = old.entries.get(tier)
        for each in () if below is None else _loosened(below, above):
            sentence = f"{each.sentence} For apps that rise from {tier} to {rise.now}."
            yield PrivilegeIncrease(
                f"{path}.entries.{rise.now}.{each.path}", sentence, each.severity, each.weight
            )


def _texts(scopes: Iterable[Scope], comparison: TierChanges) -> str:
    """Return the shortest list of scopes that covers all of these; ``(others)`` means the types that neither policy names."""
    joined: dict[tuple[Prefix, str, tuple[tuple[str, str], ...]], int] = {}
    words: dict[str, None] = {}
    for scope in scopes:
        if isinstance(scope, ClinicalScope):
            key = scope.prefix, scope.type, scope.constraints
            joined[key] = joined.get(key, 0) | scope.letters
        else:
            words[scope.name] = None
    types: dict[tuple[Prefix, int], list[str]] = {}
    for (prefix, type_, constraints), mask in joined.items():
        if constraints:
            words[smart.render(ClinicalScope(prefix, type_, mask, constraints))] = None
        else:
            types.setdefault((prefix, mask), []).append(type_)
    for (prefix, mask), named in types.items():
        every = set(named) >= set(comparison.types)
        for type_ in ("*",) if every else named:
            shown = "(others)" if type_ == comparison.stand_in else type_
            words[f"{prefix}/{shown}.{smart.letters_of(mask)}"] = None
    return ", ".join(words)


def _weight(scopes: Iterable[Scope], tier: Tier) -> int:
    """Return the severity of allowing scopes: by tier, then use without a person, then writing."""
    clinical = [scope for scope in scopes if isinstance(scope, ClinicalScope)]
    alone = any(scope.prefix is Prefix.SYSTEM for scope in clinical)
    writes = any(scope.letters & smart.WRITES for scope in clinical)
    return tier.rank * 4 + alone * 2 + writes


# --- entries ---------------------------------------------------------------------------------------------------------------------


def _category_widened(old: Category | None, new: Category) -> Iterator[PrivilegeIncrease]:
    path = f"categories.{new.name}"
    if old is None:
        yield PrivilegeIncrease(path, f"The category {new.name} is new.", PrivilegeIncreaseSeverity.ACCESS)
    elif new.open and not old.open:
        yield PrivilegeIncrease(
            f"{path}.open", "New apps may be registered in it.", PrivilegeIncreaseSeverity.ACCESS
        )
    for tier in TIERS:
        above, below = new.entries.get(tier), None if old is None else old.entries.get(tier)
        where = f"{path}.entries.{tier}"
        if above is None:
            continue
        if below is None:
            yield PrivilegeIncrease(
                where, _new_entry(tier, above), PrivilegeIncreaseSeverity.ACCESS, _weight(listed(above), tier)
            )
            continue
        for each in (*_scopes_added(below, above, tier), *_loosened(below, above)):
            yield PrivilegeIncrease(f"{where}.{each.path}", each.sentence, each.severity, each.weight)


def _new_entry(tier: Tier, entry: PolicyEntry) -> str:
    limits = ", ".join(f"{name} {limit.text(entry)}" for name, limit in LIMITS.items())
    return (
        f"The category allows the {tier} tier: {', '.join((*entry.scopes, *entry.session_scopes)) or 'no scopes'};"
        f" to clients with {', '.join(sorted(entry.client_authentication))}; within {limits}."
    )


def _scopes_added(old: PolicyEntry, new: PolicyEntry, tier: Tier) -> Iterator[PrivilegeIncrease]:
    for name in ("scopes", "session_scopes"):
        before = index_of(parse_stored(getattr(old, name)))
        more = [
            scope
            for scope in parse_stored(getattr(new, name))
            if intersect((scope,), before(scope)) != (scope,)
        ]
        if more:
            sentence = f"Also allows {', '.join(map(smart.render, more))}."
            yield PrivilegeIncrease(name, sentence, PrivilegeIncreaseSeverity.ACCESS, _weight(more, tier))


def _loosened(old: PolicyEntry, new: PolicyEntry) -> Iterator[PrivilegeIncrease]:
    """Yield the requirements and limits, except scopes, that are looser in an entry than in another one."""
    for name in SETS_THAT_ALLOW:
        more = [] if ANY in getattr(old, name) else sorted(getattr(new, name) - getattr(old, name))
        if more:
            yield PrivilegeIncrease(name, f"Also allows {', '.join(more)}.", PrivilegeIncreaseSeverity.PROOF)
    for name in SETS_THAT_REQUIRE:
        less = sorted(getattr(old, name) - getattr(new, name))
        if less:
            yield PrivilegeIncrease(
                name, f"No longer requires {', '.join(less)}.", PrivilegeIncreaseSeverity.PROOF
            )
    if new.review.automatic and not old.review.automatic:
        sentence = "What passes every check is certified without a person."
        yield PrivilegeIncrease("review.automatic", sentence, PrivilegeIncreaseSeverity.PROOF)
    for name, limit in LIMITS.items():
        if limit.measure(new) > limit.measure(old):
            yield PrivilegeIncrease(
                name,
                f"Is looser: {limit.text(new)} instead of {limit.text(old)}.",
                PrivilegeIncreaseSeverity.LIMIT,
            )


# --- the way to change policies, and what regulation protects -------------------------------------------------------------------------


def _process_loosened(before: Book, after: Book) -> Iterator[PrivilegeIncrease]:
    if after.exceptions.longest > before.exceptions.longest:
        sentence = f"Exceptions may last {duration_text(after.exceptions.longest)}."
        yield PrivilegeIncrease("exceptions.longest", sentence, PrivilegeIncreaseSeverity.TIER)
    for requirement in sorted(after.exceptions.waivable - before.exceptions.waivable):
        sentence = f"{requirement} may be waived for an app."
        yield PrivilegeIncrease("exceptions.waivable", sentence, PrivilegeIncreaseSeverity.PROOF)
    kept = {pack.name: pack for pack in after.packs}
    for pack in before.packs:
        if kept.get(pack.name) != pack:
            sentence = f"The rules of {pack.jurisdiction} are removed or changed."
            yield PrivilegeIncrease(f"packs.{pack.name}", sentence, PrivilegeIncreaseSeverity.PROOF)
    steps = {step.name: step for step in after.regulated_lane}
    for step in before.regulated_lane:
        for sentence in _lane_loosened(step, steps.get(step.name)):
            yield PrivilegeIncrease(f"regulated_lane.{step.name}", sentence, PrivilegeIncreaseSeverity.PROOF)


def _lane_loosened(old: LaneStep, new: LaneStep | None) -> Iterator[str]:
    """Yield how a step of the regulated lane becomes slower, or waits for more."""
    if new is None:
        yield "The step is removed."
        return
    if new.within_business_days > old.within_business_days:
        yield f"May take {counted(new.within_business_days, 'business day')} instead of {old.within_business_days}."
    if more := sorted(new.requires - old.requires):
        yield f"Also waits for {', '.join(more)}."
    if less := sorted(old.requires - new.requires):
        yield f"No longer requires {', '.join(less)}."
