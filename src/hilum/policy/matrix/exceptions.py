"""Exceptions: whether one counts, and the policy with those that do. Pure.

INVARIANT: whatever is over, changed or not known loosens nothing, and needs no job for that.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from hilum.foundation.kernel.ids import TenantId, VersionId
from hilum.policy.matrix.exception_models import ExceptionKind, PolicyException
from hilum.policy.matrix.models import PROOFS, Book, Lowering, PolicyEntry, Raise, Tier

WAIVABLE_KINDS = ("evidence", "proofs", "scenarios")
"""The lists of an entry whose entries a policy may allow to waive for an app: what review asks for. An agreement is between vendor and hospital."""
NEVER_WAIVED = frozenset({"evidence.automated_checks"})
"""Without these checks nothing else that review says could be trusted."""
BOOKS_BOUND = 1_000
"""How many policies with exceptions are cached: one for each policy and set of exceptions."""


def exception_fault(exception: PolicyException, book: Book, tenant: TenantId | None, now: datetime) -> str:
    """Return why an exception does not apply under a policy at a tenant (None: everywhere); empty if it does."""
    if exception.tenant not in {None, tenant}:
        return "elsewhere"
    if exception.ended_at is not None:
        return "ended"
    ends = exception_end(exception, book)
    if ends is not None and now >= ends:
        return "expired"
    match exception.kind:
        case ExceptionKind.RAISED_TIER:
            return ""
        case ExceptionKind.AUTONOMOUS_WRITES:
            return "" if exception.tenant is not None else "elsewhere"
        case ExceptionKind.LOWERED_TIER:
            # Two people agreed to a tier computed by this policy; nobody agreed to another policy's result.
            same = exception.tier in set(Tier) and exception.book_digest == book.digest
            return "" if same else "book_changed"
        case ExceptionKind.WAIVED_REQUIREMENT:
            entry = entry_at(book, exception.category, exception.tier)
            if entry is None or not may_waive(book, entry, exception.requirement):
                return "requirement_gone"
            # What two people waived is what they read.
            return "" if title_of(book, exception.requirement) == exception.title else "requirement_changed"


def exception_end(exception: PolicyException, book: Book) -> datetime | None:
    """Return until when an exception counts, by the shorter of its own end and the time that a policy allows; None: until somebody ends it."""
    if exception.ends_at is None:
        # INVARIANT: what loosens something has an end.
        return exception.starts_at if exception.kind.loosens else None
    return min(exception.ends_at, exception.starts_at + book.exceptions.longest)


def excepted(
    book: Book, exceptions: Iterable[PolicyException], tenant: TenantId | None, now: datetime
) -> Book:
    """Return the policy for one app at a tenant now (None: everywhere), with the exceptions that count; the same object each time.

    The same, since what it admits is cached by it.
    """
    return _excepted(
        book, tuple(each for each in exceptions if exception_fault(each, book, tenant, now) == "")
    )


@lru_cache(maxsize=BOOKS_BOUND)
def _excepted(book: Book, exceptions: tuple[PolicyException, ...]) -> Book:
    of_kind = {
        kind: [each for each in exceptions if each.kind is kind] for kind in ExceptionKind if kind.loosens
    }
    if not any(of_kind.values()):
        return book
    return replace(
        waived(book, [each.path for each in of_kind[ExceptionKind.WAIVED_REQUIREMENT]]),
        lowered={
            each.version: Lowering(Tier(each.tier), each.category, frozenset(each.rules))
            for each in of_kind[ExceptionKind.LOWERED_TIER]
            if each.version is not None
        },
        autonomous=frozenset(
            each.version for each in of_kind[ExceptionKind.AUTONOMOUS_WRITES] if each.version is not None
        ),
    )


def raises_of(exceptions: Iterable[PolicyException]) -> Mapping[VersionId, Raise]:
    """Return the versions whose tier is raised. They count under every policy, and for every app at once."""
    found: dict[VersionId, Raise] = {}
    for each in exceptions:
        if each.kind is ExceptionKind.RAISED_TIER and each.version is not None and each.ended_at is None:
            # A tier that this release does not know counts as the one that allows least.
            tier = Tier(each.tier) if each.tier in set(Tier) else Tier.HIGH
            held = found.get(each.version)
            if held is None or tier.rank > held.tier.rank:
                found[each.version] = Raise(tier, each.reason)
    return found


# --- requirements --------------------------------------------------------------------------------------------------------------


def binds(entry: PolicyEntry, requirement: str) -> bool:
    """Check whether an entry lists a requirement, such as ``evidence.security_test``."""
    kind, _, name = requirement.partition(".")
    return kind in WAIVABLE_KINDS and name in getattr(entry, kind)


def may_waive(book: Book, entry: PolicyEntry, requirement: str) -> bool:
    """Check whether a requirement of an entry may be waived for an app: the policy lists it (``exceptions.waivable``)."""
    return (
        requirement in book.exceptions.waivable
        and binds(entry, requirement)
        and requirement not in NEVER_WAIVED
    )


def requirements(evidence: Iterable[str], scenarios: Iterable[str]) -> frozenset[str]:
    """Return what a policy with these kinds of evidence and scenarios may let be waived."""
    named = (("evidence", evidence), ("proofs", PROOFS), ("scenarios", scenarios))
    return frozenset(f"{kind}.{name}" for kind, names in named for name in names) - NEVER_WAIVED


def title_of(book: Book, requirement: str) -> str:
    """Return the title of what a requirement names; empty where a policy has none for its kind."""
    kind, _, name = requirement.partition(".")
    titles = {"evidence": book.evidence, "scenarios": book.scenarios}
    return titles.get(kind, {}).get(name, "")


def entry_at(book: Book, category: str, tier: str) -> PolicyEntry | None:
    """Return an entry by the words of its category and tier; None if there is none."""
    found = book.categories.get(category)
    return None if found is None or tier not in set(Tier) else found.entries.get(Tier(tier))


def waived(book: Book, paths: Collection[str]) -> Book:
    """Return a policy for one app, without some requirements (``PolicyException.path``). What may not be waived stays, whoever asks."""
    categories = dict(book.categories)
    for path in sorted(paths):
        category, tier, requirement = path.split(".", 2)
        entry = entry_at(replace(book, categories=categories), category, tier)
        if entry is None or not may_waive(book, entry, requirement):
            continue
        kind, _, name = requirement.partition(".")
        made = replace(entry, waived=entry.waived | {requirement}, **{kind: getattr(entry, kind) - {name}})
        of = categories[category]
        categories[category] = replace(of, entries={**of.entries, Tier(tier): made})
    return book if categories == book.categories else replace(book, categories=categories)
