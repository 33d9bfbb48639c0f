"""The decisions about a target around a stop, read from the access index, and what is missing from them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Event

from hilum.foundation.kernel.batches import batched
from hilum.records.audit import access_index, policy
from hilum.records.audit.access_index import AccessIndex
from hilum.records.audit.journal_records import JournalReader, Positions, RecordPosition
from hilum.records.audit.models import (
    SETTLEMENT,
    UNDELIVERED,
    WINDOW_COUNT_BOUND,
    WINDOW_FOLLOWED_BOUND,
    WINDOW_READ_BOUND,
    WINDOW_TENANTS_BOUND,
    Access,
    PermittedRequest,
    TenantWindow,
    Window,
    WindowFault,
    WindowQuery,
)

INDEX_WAITS = 30
"""How often a report looks whether the index has caught up; ``WAIT_S`` passes between two looks."""
WAIT_S = 0.1
READ_AT_ONCE = 5_000
"""Records that are read in one query."""
_COMPARED = ("tenant", "app", "person", "vendor")
"""The fields by which a query selects records."""


def read(journals: JournalReader, index: AccessIndex | None, query: WindowQuery) -> Window:
    """Read a window. With a fault, what it holds may be incomplete."""
    # The ends first: whatever was answered before this moment is durable, and so at or before them.
    ends = journals.ends()
    if index is None:
        # Also if the journals are empty: it was there once the jobs had run, so index and journals may be gone together.
        return Window(journals=ends, faults=(WindowFault.INDEX_BEHIND,))
    faults: list[WindowFault] = []
    reached = _wait_for(index, ends)
    # The index keeps its positions when a journal's file is deleted or cut. Compared with the present ends, since
    # it may have gone on past the earlier ones.
    present = journals.ends()
    if any(present.get(journal, 0) < number for journal, number in reached.items()):
        faults.append(WindowFault.JOURNAL_MISSING)
    if _behind(reached, ends):
        faults.append(WindowFault.INDEX_BEHIND)
    counts = index.read(partial(access_index.window_counts, query=query, most=WINDOW_COUNT_BOUND))
    places = index.read(partial(access_index.permitted_places, query=query, most=WINDOW_READ_BOUND + 1))
    followed = _followed(_read(journals, places[:WINDOW_READ_BOUND]), query)
    if counts is None or len(places) > WINDOW_READ_BOUND or len(followed) > WINDOW_FOLLOWED_BOUND:
        faults.append(WindowFault.TOO_MANY_RECORDS)
    permitted = tuple(_permitted(journals, each) for each in followed[:WINDOW_FOLLOWED_BOUND])
    found = Window(permitted, journals=ends, faults=tuple(faults))
    if counts is None:
        return found
    tenants = _tenants(journals, index, query, counts.refused)
    if len(counts.refused) > WINDOW_TENANTS_BOUND:
        found = replace(found, faults=(*found.faults, WindowFault.TOO_MANY_RECORDS))
    return replace(
        found,
        tenants=tenants,
        launches=counts.launches,
        authorizations=counts.authorizations,
        people=counts.people,
    )


def is_indexed(journals: JournalReader, index: AccessIndex | None) -> bool:
    """Check whether everything that was recorded until now is in the index; waits for that as long as a report may wait."""
    ends = journals.ends()
    return not ends if index is None else not _behind(_wait_for(index, ends), ends)


def _wait_for(index: AccessIndex, ends: Positions) -> Positions:
    """Wait until the index has reached these ends, or for as long as a report may wait; return what it has reached."""
    reached = index.positions()
    for _ in range(INDEX_WAITS):
        if not _behind(reached, ends):
            break
        Event().wait(WAIT_S)
        reached = index.positions()
    return reached


def _behind(reached: Positions, ends: Positions) -> bool:
    return any(reached.get(journal, 0) < end for journal, end in ends.items())


def _read(journals: JournalReader, places: Sequence[RecordPosition]) -> Iterable[Access]:
    for some in batched(places, READ_AT_ONCE):
        for _, access in journals.at(some):
            yield access


def _as_request(access: Access) -> PermittedRequest:
    return PermittedRequest(
        access.request_id,
        access.tenant,
        access.app,
        access.interaction,
        access.at,
        access.at + timedelta(microseconds=access.latency_us),
    )


def _followed(found: Iterable[Access], query: WindowQuery) -> list[Access]:
    """Return the permitted requests whose answers were prepared after the stop began, oldest first."""
    # A settlement states how an earlier write ended. Its time is that of the job that found out, not that of a request.
    # Digests may collide, so each field is compared again.
    mine = [
        access
        for access in found
        if access.rule != SETTLEMENT
        and all(getattr(query, word) in {"", getattr(access, word)} for word in _COMPARED)
        and (not query.writes_only or access.interaction in policy.WRITES)
        and _as_request(access).ended >= query.since
    ]
    return sorted(mine, key=lambda each: (each.at, each.decision))


def _permitted(journals: JournalReader, access: Access) -> PermittedRequest:
    """Return a permitted request, and why its answer was withheld if it was."""
    found = _as_request(access)
    # A write that was sent, and whose answer was withheld because it could not be recorded.
    if access.reason:
        return replace(found, kept_back=access.reason)
    for later in journals.find(access.request_id):
        if later.rule == UNDELIVERED and later.decision == access.decision:
            return replace(found, kept_back=later.reason)
    return found


def _tenants(
    journals: JournalReader, index: AccessIndex, query: WindowQuery, refused: dict[int, int]
) -> tuple[TenantWindow, ...]:
    found: list[TenantWindow] = []
    for tenant, number in list(refused.items())[:WINDOW_TENANTS_BOUND]:
        examples = index.read(partial(access_index.example_of, query=query, tenant=tenant))
        for _, access in journals.at(examples):
            found.append(_tenant(journals, index, replace(query, tenant=access.tenant), number))
    # Nobody may have tried since: then the last permitted decision is all there is to show.
    if not found:
        last = index.read(partial(access_index.last_permitted, query=query))
        found = [TenantWindow(access.tenant, 0, _as_request(access)) for _, access in journals.at(last)]
    return tuple(sorted(found, key=lambda each: each.tenant))


def _tenant(journals: JournalReader, index: AccessIndex, query: WindowQuery, refused: int) -> TenantWindow:
    last = index.read(partial(access_index.last_permitted, query=query))
    ended = [_as_request(access) for _, access in journals.at(last)]
    return TenantWindow(query.tenant, refused, ended[0] if ended else None)
