"""Sign the state of rows, and ignore those that do not match their signed state."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from threading import Lock
from typing import TypeVar

from cachetools import LRUCache

from hilum.attestations import policy, store
from hilum.attestations.models import (
    ATTEST_ACTION,
    DEPTH,
    DIGITS,
    KEPT_BOUND,
    KIND,
    OPEN_BOUND,
    READ_AGAIN,
    SHOWN_BOUND,
    WHOLE_FROM,
    Head,
    Part,
    Proof,
    Trusted,
)
from hilum.audit import service as audit
from hilum.audit.models import Event, EventQuery, Outcome
from hilum.infra import logs
from hilum.infra.context import Context
from hilum.infra.unreadable import DAMAGED
from hilum.kernel.errors import Conflict
from hilum.kernel.lists import counted
from hilum.keys import service as keys
from hilum.keys.models import Purpose

Row = TypeVar("Row")
State = tuple[str, str]
"""The subject of a row and the digest of its state."""
Source = Callable[[Context], Iterable[State]]
NOTHING_COUNTS = "All rows that are signed one by one (clients, installations, agreements, mandates, request rules, exceptions, overrides, rollouts) are ignored until the tables are restored from a backup, or until the operator has reviewed them and signed them again on the host (`hilum keys attest`)."
NOT_SIGNED_THERE = (
    "It is ignored, and nothing is signed there, until the tables attestations_leaf and attestations_node are restored from a backup, "
    "or until the operator has reviewed all signed rows and signed them again on the host (`hilum keys attest`). `hilum doctor` names each row."
)
_TRIES = 5
"""How often rows and their signatures are read again, because others signed between the two reads."""
_TRAIL_READ = 20
"""How many of the newest heads in the audit trail are compared with the newest stored head."""
_log = logs.get("attestations")
_verified: LRUCache[str, None] = LRUCache(64)
"""Digests of heads whose signature this process has verified."""
_kept: LRUCache[str, policy.Children] = LRUCache(KEPT_BOUND)
"""The children of nodes that are not stored as they were signed, by digest of the node, so that the leaves below it are read once."""
_unproved: LRUCache[str, datetime] = LRUCache(KEPT_BOUND)
"""When the leaves below a node, by its digest, did not prove what is below it."""
_lock = Lock()


# --- what counts ---------------------------------------------------------------------------------------------------------------


def intact(
    ctx: Context, read: Callable[[Context], Collection[Row]], state: Callable[[Row], State]
) -> list[Row]:
    """Read rows, and return those that match their signed state. ``read`` may run again, since others change rows meanwhile."""
    return wholly_intact(ctx, read, lambda row: (state(row),))


def wholly_intact(
    ctx: Context, read: Callable[[Context], Collection[Row]], states: Callable[[Row], Collection[State]]
) -> list[Row]:
    """Read rows with several signed states each, and return those that match all of them; otherwise as ``intact``."""
    for _ in range(_TRIES):
        before = store.newest_number(ctx.tx)
        rows = [(row, of_row) for row in read(ctx) if (of_row := _digested(states, row)) is not None]
        if not rows:
            return []
        found = _faults(ctx, {each for _, of_row in rows for each in of_row})
        # A change that committed between two of the reads made a new head.
        if not found or store.newest_number(ctx.tx) == before:
            break
    _report(found)
    return [row for row, of_row in rows if not any(subject in found for subject, _ in of_row)]


def _digested(states: Callable[[Row], Collection[State]], row: Row) -> tuple[State, ...] | None:
    """Return the states of a row; None if it has a value that Hilum never writes, of which there is no digest."""
    try:
        return tuple(states(row))
    except DAMAGED:
        _log.error("attestations.row.undigested", row=str(getattr(row, "id", "")))
        return None


def _report(found: Mapping[str, str]) -> None:
    # If the head or much of the tree is damaged, many rows are faulty for the same reason.
    for subject, fault in sorted(found.items())[:SHOWN_BOUND]:
        _log.error("attestations.row.faulty", subject=subject, fault=fault)
    if len(found) > SHOWN_BOUND:
        _log.error("attestations.rows.faulty", rows=len(found))


def matches(ctx: Context, state: State) -> bool:
    """Check whether a row that this transaction has locked matches its signed state."""
    return not _settled_faults(ctx, state)


def is_signed(ctx: Context, subject: str) -> bool:
    """Check whether a subject has a signed state. True also if that is unknown, since it must not be signed as if for the first time."""
    return _settled_faults(ctx, (subject, policy.GONE)).get(subject) != policy.NOT_SIGNED


def signed_among(ctx: Context, subjects: Collection[str]) -> set[str]:
    """Return the subjects of which anything is signed, or for which that is unknown, while nobody else signs (``lock``)."""
    found = _faults(ctx, {(subject, policy.GONE) for subject in subjects})
    return {subject for subject in subjects if found.get(subject) != policy.NOT_SIGNED}


def can_sign(ctx: Context, subject: str) -> bool:
    """Check whether what was signed before can be continued; False where the head, or the tree there, is damaged, and then every row there is ignored."""
    return _settled_faults(ctx, (subject, policy.GONE)).get(subject, "") in {
        "",
        policy.NOT_SIGNED,
        policy.NOT_AS_SIGNED,
    }


def require(ctx: Context, state: State) -> None:
    """Check that a row matches its signed state, before a change would sign it again. Raises Conflict."""
    if found := _settled_faults(ctx, state):
        fault = found[state[0]]
        made_again = "Somebody changed the database, so it is ignored. Make a new one."
        advice = NOT_SIGNED_THERE if fault == policy.UNPROVED else made_again
        raise Conflict("not_as_signed", f"{state[0]}: {fault} {advice}")


def _settled_faults(ctx: Context, state: State) -> dict[str, str]:
    """Return why a locked row does not match its signed state. What others sign between two of the reads is no fault of the row."""
    found: dict[str, str] = {}
    for _ in range(_TRIES):
        before = store.newest_number(ctx.tx)
        found = _faults(ctx, {state})
        if not found or store.newest_number(ctx.tx) == before:
            break
    return found


def _faults(ctx: Context, states: Collection[State]) -> dict[str, str]:
    """Return why rows do not match their signed states, by subject."""
    head = trusted(ctx)
    if head.fault:
        return dict.fromkeys((subject for subject, _ in states), head.fault)
    part, _ = _proved(ctx, (subject for subject, _ in states), head)
    found = {}
    for subject, digest in states:
        bucket = part.buckets.get(policy.place_of(subject))
        fault = policy.UNPROVED if bucket is None else policy.mismatch(digest, bucket.get(subject))
        if fault:
            found[subject] = fault
    return found


def _proved(ctx: Context, subjects: Iterable[str], head: Trusted) -> tuple[Part, dict[str, str]]:
    """Return what the root of a head proves of the buckets of some subjects and of the nodes on their paths; and the nodes that are stored otherwise."""
    places = {policy.place_of(each) for each in subjects}
    part = store.read_part(ctx.tx, places)
    if policy.path_digests(part)[""] == head.root:
        return part, {}
    # While somebody else signs, nothing can be proved, and there is no need to look: the caller asks again.
    if store.newest_number(ctx.tx) != head.number:
        return Part({}, {}), {}
    if len(places) > WHOLE_FROM:
        # All leaves were read without the nodes.
        part = store.read_below(ctx.tx, "")
    proof = policy.prove(part, head.root, _children)
    if unread := _unread(ctx, proof):
        # What is stored does not say what is below these nodes; their leaves may.
        roots = unread if len(unread) <= OPEN_BOUND else {""}
        part = policy.joined(part, *(store.read_below(ctx.tx, each) for each in roots))
        proof = policy.prove(part, head.root, _children, before=proof.digests)
        _keep(ctx, proof, unread)
    found = policy.proved(part, proof)
    buckets = {place: leaves for place, leaves in found.buckets.items() if place in places}
    return Part(buckets, found.nodes), policy.differing(part, proof)


def _children(digest: str) -> policy.Children | None:
    with _lock:
        return _kept.get(digest)


def _unread(ctx: Context, proof: Proof) -> set[str]:
    """Return below which damaged nodes the leaves may prove more: not where they were read in vain a moment ago."""
    with _lock:
        tried_at = {each: _unproved.get(proof.digests[each]) for each in proof.open}
    return {each for each, at in tried_at.items() if at is None or ctx.now - at >= READ_AGAIN}


def _keep(ctx: Context, proof: Proof, parents: Iterable[str]) -> None:
    with _lock:
        for parent in parents:
            digest = proof.digests[parent]
            if parent in proof.open:
                _unproved[digest] = ctx.now
            else:
                _kept[digest] = {each: proof.digests[each] for each in policy.children_of(parent)}


def trusted(ctx: Context) -> Trusted:
    """Return the newest head, with the reason if it cannot be trusted."""
    # Read the trail before the head: a head that commits between the two reads is then missing from the trail, which is no fault.
    trail = recorded(ctx)
    head = store.newest_head(ctx.tx)
    if head is None:
        gone = "Every signed head of rows is missing, although some were signed."
        lost = bool(trail) or keys.has_keys(ctx, Purpose.ATTESTATION)
        return Trusted(fault=gone if lost else "")
    digest = policy.head_digest(head)
    fault = policy.trail_fault(head.number, digest, trail)
    if not fault and not _is_signed(ctx, head, digest):
        fault = f"Head {head.number} of the signed rows does not match what was signed."
    return Trusted(head.number, head.root, digest, fault)


def _is_signed(ctx: Context, head: Head, digest: str) -> bool:
    with _lock:
        if digest in _verified:
            return True
    if not keys.verify_bytes(ctx, Purpose.ATTESTATION, head.kid, policy.head_bytes(head), head.signature):
        return False
    with _lock:
        _verified[digest] = None
    return True


def recorded(
    ctx: Context, action: str = ATTEST_ACTION, number: str = "number", *, limit: int = _TRAIL_READ
) -> list[tuple[int, str]]:
    """Return number and digest of the newest heads in the audit trail, newest first. ``number``: which fact of the action has it."""
    query = EventQuery(action=action, outcome=Outcome.DONE, limit=limit)
    facts = [each.event.facts for each in audit.list_events(ctx, query).events]
    pairs = [(each.get(number), each.get("head")) for each in facts]
    return [(number, head) for number, head in pairs if isinstance(number, int) and isinstance(head, str)]


# --- signing -------------------------------------------------------------------------------------------------------------------


def lock(ctx: Context) -> None:
    """Let nobody else sign until this transaction ends, for a verb that first reads what it will sign. Call it late, as ``attest``."""
    store.lock(ctx.tx)


def attest(ctx: Context, *states: State) -> None:
    """Sign the state of rows as this transaction leaves them. Call it last in a verb, since others wait for it. Raises Conflict."""
    store.lock(ctx.tx)
    head = trusted(ctx)
    if head.fault:
        raise Conflict("attestations_not_as_signed", f"{head.fault} {NOTHING_COUNTS}")
    wanted = dict(states)
    if not wanted:
        return
    _sign(ctx, head, wanted)


def attest_end(ctx: Context, *states: State) -> None:
    """Sign the end of rows as ``attest`` does; where the tree is damaged, only the row records it, since an end must not wait.

    A process that read a row before the damage continues to use it until the end is announced, which a refusal would not do. Raises Conflict.
    """
    # Before it is asked: what cannot be proved because others sign at this moment is not damaged.
    store.lock(ctx.tx)
    if some := [each for each in states if can_sign(ctx, each[0])]:
        attest(ctx, *some)


def _sign(ctx: Context, head: Trusted, states: Mapping[str, str]) -> None:
    """Sign states on what the newest head proves. Raises Conflict (one of them is where the tree is damaged)."""
    part, damaged = _proved(ctx, states, head)
    for subject in sorted(states):
        if policy.place_of(subject) not in part.buckets:
            raise Conflict("attestations_not_as_signed", f"{subject}: {policy.UNPROVED} {NOT_SIGNED_THERE}")
    digests = policy.path_digests(policy.changed(part, states))
    # Damaged nodes are written back as they were signed, so that their leaves need not be read again.
    store.save(ctx.tx, states, damaged | digests)
    if damaged:
        _log.warning("attestations.nodes.mended", nodes=len(damaged))
    number = head.number + 1
    made = Head(number, digests[""], ctx.now, head.digest)
    kid, signature = keys.sign_bytes(ctx, Purpose.ATTESTATION, policy.head_bytes(made))
    made = replace(made, kid=kid, signature=signature)
    if not store.add_head(ctx.tx, made):
        raise Conflict("concurrent_change", "Another signed row was changed at the same moment. Try again.")
    some = sorted(states)[:SHOWN_BOUND]
    facts = {"number": number, "head": policy.head_digest(made), "subjects": some, "rows": len(states)}
    audit.record(ctx, Event(ATTEST_ACTION, facts=facts))


def begin_kinds(ctx: Context, sources: Mapping[str, Source], *, from_scratch: bool = False) -> int:
    """Sign the rows of kinds that were not signed before, as they are in the database; return how many. For the platform itself.

    Runs at the first start of a release that signs a kind, and never again for that kind. With ``from_scratch`` all kinds are signed again, after somebody who runs
    the host has checked everything, because the signed states cannot be trusted or are lost. Raises Conflict.
    """
    assert ctx.actor.acts_alone, "people make these rows, and each is signed then"
    store.lock(ctx.tx)
    head = trusted(ctx)
    if from_scratch:
        # The audit trail may have later heads than the table,
        # if rows of it were deleted: the new one follows both.
        trail = max((number for number, _ in recorded(ctx)), default=0)
        store.clear(ctx.tx)
        head, kinds = Trusted(max(head.number, trail)), set(sources)
    elif head.fault:
        return 0
    else:
        # A kind that was signed once has a leaf of its own,
        # so that deleting its rows does not make it look new.
        marks = {kind: f"{KIND}/{kind}" for kind in sources}
        part, _ = _proved(ctx, marks.values(), head)
        # If that is unknown, a kind is treated as signed: damage to the tree must not get anybody's rows signed.
        kinds = {
            kind
            for kind, mark in marks.items()
            if mark not in part.buckets.get(policy.place_of(mark), {mark})
        }
    if not kinds:
        return 0
    states = {subject: digest for kind in kinds for subject, digest in sources[kind](ctx)}
    rows = len(states)
    states |= {f"{KIND}/{kind}": policy.digest_of("signed") for kind in kinds}
    _sign(ctx, head, states)
    return rows


# --- verification --------------------------------------------------------------------------------------------------------------


def newest_head(ctx: Context) -> tuple[int, str] | None:
    """Return number and digest of the newest head for the anchor; None without one."""
    head = store.newest_head(ctx.tx)
    return None if head is None else (head.number, policy.head_digest(head))


def heads(ctx: Context, numbers: Collection[int]) -> dict[int, str]:
    """Return the digests of the heads with these numbers, as far as they exist."""
    return {each.number: policy.head_digest(each) for each in store.numbered_heads(ctx.tx, numbers)}


def faults(ctx: Context, sources: Mapping[str, Source]) -> tuple[str, ...]:
    """Compare every row, every leaf and the whole tree with the signed states; returns at most ``SHOWN_BOUND`` faulty rows."""
    head = trusted(ctx)
    part, damaged, nodes = store.read_stored(ctx.tx), set[str](), 0
    # Proving each of 65,536 buckets takes a fifth of a second, and nearly every tree is whole.
    if not policy.is_whole(part, head.root):
        part = store.read_below(ctx.tx, "")
        proof = policy.prove(part, head.root)
        sound = policy.proved(part, proof).buckets
        # Without a head that can be trusted rows are compared with the leaves as they are.
        damaged = set() if head.fault else part.buckets.keys() - sound.keys()
        nodes = len(policy.differing(part, proof))
    leaves = {
        subject: digest
        for place, found in part.buckets.items()
        if place not in damaged
        for subject, digest in found.items()
    }
    of_rows = sorted(f"{subject}: {fault}" for subject, fault in _row_faults(ctx, sources, leaves, damaged))
    more = len(of_rows) - SHOWN_BOUND
    return (
        *([head.fault] if head.fault else _tree_faults(head, len(damaged), nodes)),
        *of_rows[:SHOWN_BOUND],
        *([f"And {counted(more, 'more row')}."] if more > 0 else []),
    )


def _tree_faults(head: Trusted, buckets: int, nodes: int) -> Iterable[str]:
    if buckets:
        yield f"The tree of signed rows is not that of head {head.number} in {buckets} of its {len(DIGITS) ** DEPTH} parts; the rows there are ignored."
    if nodes:
        yield (
            f"Of the nodes of the tree of signed rows, {nodes} {'is' if nodes == 1 else 'are'} damaged, by which nothing is lost: "
            "each is computed from what is below it, and written again once something beside it is signed."
        )


def _row_faults(
    ctx: Context, sources: Mapping[str, Source], leaves: dict[str, str], damaged: Collection[str]
) -> Iterable[tuple[str, str]]:
    """Yield the subject and the fault of each row that does not match its leaf, and of each leaf without a row."""
    all_read = True
    for kind, source in sources.items():
        try:
            for subject, digest in source(ctx):
                if damaged and policy.place_of(subject) in damaged:
                    yield subject, policy.UNPROVED
                elif fault := policy.mismatch(digest, leaves.pop(subject, None)):
                    yield subject, fault
        # Somebody wrote a value that Hilum never writes. What else they changed is still listed.
        except DAMAGED as error:
            all_read = False
            yield kind, f"{policy.UNREADABLE} {error}"
    for subject, leaf in leaves.items() if all_read else ():
        if leaf != policy.GONE and not subject.startswith(f"{KIND}/"):
            yield subject, policy.MISSING


def record_faults(ctx: Context, found: tuple[str, ...]) -> None:
    """Record which rows do not match their signed states, when a node starts."""
    audit.record(ctx, Event("attestations.row.not_as_signed", facts={"faults": list(found)}))
