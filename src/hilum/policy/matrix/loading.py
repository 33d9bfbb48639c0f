"""Stored versions and applications, verified, and the policies of stored versions.

Everything in force is verified at each read. Soundness is not checked again: a policy that was valid when it was added stays in force under a release that
would refuse it today.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from weakref import WeakValueDictionary

import orjson

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound, Unavailable
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.policy.matrix import chain, rollout, store
from hilum.policy.matrix.document import read_stored
from hilum.policy.matrix.models import (
    APPLY_ACTION,
    SHIPPED,
    Application,
    Book,
    CurrentVersions,
    Fault,
    Recorded,
    TakeBack,
    Version,
)
from hilum.policy.matrix.shipped import shipped_book
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery, Outcome, RecordedEvent
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose

_TRAIL_READ = 20
"""How many of the newest records of applications are compared; several, since two nodes' clocks may order them differently."""
NOT_AS_SIGNED, NEWER, UNREADABLE = "policy_not_as_signed", "policy_newer", "policy_unreadable"
NOTHING_DECIDED = "The policy decides nothing until a platform administrator puts an intact version in force everywhere, which takes two people (`hilum policy apply`), or until the database is restored from an earlier backup. `hilum doctor` lists what is wrong."
_books: WeakValueDictionary[str, Book] = WeakValueDictionary()
"""Books by the digest of their document, for as long as anything, such as the snapshot, uses them."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The applications in the database that decide what is in force. ``fault``: why they cannot be trusted; empty if they can."""

    applications: tuple[Application, ...]
    current: CurrentVersions
    head: str
    """The digest of the last one."""
    recorded: int
    """The highest number in the audit trail."""
    fault: str

    @property
    def next_number(self) -> int:
        return max(self.current.last, self.recorded) + 1


def applied(ctx: Context) -> Applied:
    """Read the applications that decide what is in force, and whether they can be trusted."""
    # The trail first: an application that commits between the two reads must be missing from the trail, not from the
    # applications, where it would count as deleted.
    recorded = recorded_applications(ctx, limit=_TRAIL_READ)
    found = store.list_applications_in_force(ctx.tx)
    last = found[-1] if found else None
    fault = _applications_fault(ctx, found) or chain.trail_fault(last, recorded)
    current = replace(rollout.in_force(found), fault=fault)
    head = "" if last is None else chain.application_digest(last)
    return Applied(tuple(found), current, head, max((each.number for each in recorded), default=0), fault)


def trusted(ctx: Context) -> Applied:
    """Read the applications that decide what is in force. Raises Unavailable if they cannot be trusted."""
    found = applied(ctx)
    if found.fault:
        raise not_as_signed(found.fault)
    return found


def take_back(ctx: Context) -> TakeBack | None:
    """Return how the actor may undo the newest application alone; None if they may not."""
    newest = store.list_applications(ctx.tx, PageQuery(limit=PAGE_BOUND))[::-1]
    return None if chain.links_fault(newest) else rollout.take_back(newest, ctx.actor, ctx.now)


def _applications_fault(ctx: Context, found: list[Application]) -> str:
    if not found:
        return _deleted_fault(ctx)
    last = found[-1]
    signed = chain.application_bytes(last)
    # One signature: each application contains the digest of the one before it.
    if not keys.verify_bytes(ctx, Purpose.POLICY, last.kid, signed, last.signature):
        return f"Application {last.number} of the policy does not match what was signed."
    return chain.links_fault(found) or chain.start_fault(found)


def _deleted_fault(ctx: Context) -> str:
    """Return the fault that applications were deleted, if a version or a signing key shows that one existed."""
    if store.has_versions(ctx.tx) or keys.public_jwks(ctx, Purpose.POLICY, "")["keys"]:
        return "Every application of the policy is missing, although one was in force."
    return ""


def recorded_applications(ctx: Context, *, limit: int) -> list[Recorded]:
    """Return the newest applications in the audit trail, newest first. Records whose content was purged are left out."""
    query = EventQuery(action=APPLY_ACTION, outcome=Outcome.DONE, limit=limit)
    return list(_recorded(audit.list_events(ctx, query).events))


def all_recorded_applications(ctx: Context) -> Iterator[Recorded]:
    """Return every application in the audit trail, newest first."""
    query = EventQuery(action=APPLY_ACTION, outcome=Outcome.DONE)
    while True:
        page = audit.list_events(ctx, query)
        yield from _recorded(page.events)
        if not page.next:
            return
        query = replace(query, after=page.next)


def _recorded(events: tuple[RecordedEvent, ...]) -> Iterator[Recorded]:
    for each in events:
        number, head = each.event.facts.get("application"), each.event.facts.get("head")
        if isinstance(number, int) and isinstance(head, str):
            yield Recorded(number, head)


# --- versions ------------------------------------------------------------------------------------------------------------------


def version(ctx: Context, number: int) -> Version:
    """Get a version, if its signature matches. Raises NotFound, Unavailable."""
    found = store.get_version(ctx.tx, number)
    if fault := version_fault(ctx, found):
        raise not_as_signed(fault)
    return found


def version_fault(ctx: Context, found: Version) -> str:
    """Return why a version's signature does not match; empty if it does."""
    signed = chain.version_bytes(found)
    intact = chain.document_digest(found.document) == found.digest
    if intact and keys.verify_bytes(ctx, Purpose.POLICY, found.kid, signed, found.signature):
        return ""
    return f"Version {found.number} of the policy does not match what was signed."


def book(ctx: Context, number: int) -> Book:
    """Return the policy of a version; that of this release for SHIPPED. Raises NotFound, Unavailable."""
    return shipped_book() if number == SHIPPED else book_of(version(ctx, number))


def book_in_force(ctx: Context, number: int, found: Applied) -> Book:
    """Return the policy of a version that is in force. Raises Unavailable if it is not the one that was applied, or cannot be read."""
    if number == SHIPPED:
        return shipped_book()
    try:
        of = version(ctx, number)
    except NotFound as error:
        raise not_as_signed(f"Version {number} of the policy, which is in force, is missing.") from error
    if any(each.digest != of.digest for each in found.applications if each.version == number):
        raise not_as_signed(f"Version {number} of the policy is not the one that was put in force.")
    return book_of(of)


def book_of(of: Version) -> Book:
    """Return the policy of an intact version. Raises Unavailable if this release cannot read it."""
    cached = _books.get(of.digest)
    if cached is not None:
        return cached
    found, faults = parse(of)
    if found is None:
        first = f"{faults[0].path}: {faults[0].sentence}"
        if any(fault.code in {"format_newer", "unknown"} for fault in faults):
            detail = f"Version {of.number} of the policy was written by a newer release. {first} Install that release here."
            raise Unavailable(NEWER, detail)
        detail = (
            f"Version {of.number} of the policy cannot be read by this release. {first} {NOTHING_DECIDED}"
        )
        raise Unavailable(UNREADABLE, detail)
    # If two threads parse it at once, the first policy stays, so that caches by policy have one entry.
    return _books.setdefault(of.digest, found)


def parse(of: Version) -> tuple[Book | None, tuple[Fault, ...]]:
    """Parse the document of a version: the policy, or None if this release cannot read it; and its faults, which are warnings with a book."""
    try:
        return read_stored(orjson.loads(of.document), of.digest)
    except orjson.JSONDecodeError:
        return None, (Fault("the document", "not_json", "It is not JSON."),)


def not_as_signed(sentence: str) -> Unavailable:
    """Return the error for a missing item, or one whose signature does not match."""
    return Unavailable(NOT_AS_SIGNED, f"{sentence} {NOTHING_DECIDED}")
