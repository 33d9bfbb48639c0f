"""How records are chained and every edit is detected; who may read them; what one says of its patients, its scopes and its end. Pure.

hash = SHA-256(previous hash, payload digest, header); payload digest = SHA-256(salt, payload); the first ``previous`` of a chain
identifies its writer. All parts but the last have a fixed length, so two different records never hash the same bytes.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from typing import Any

import orjson

from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.lists import and_more, counted
from hilum.foundation.kernel.times import from_micros, to_micros
from hilum.foundation.standards.smart.interactions import LETTERS
from hilum.foundation.standards.smart.scopes import ANY_TYPE, ClinicalScope, Scope, parse_stored
from hilum.records.audit.models import (
    BREAK_GLASS,
    FAULTS_BOUND,
    FOUND_BOUND,
    SETTLEMENT,
    Access,
    AccessPage,
    ActivityPage,
    Anchored,
    AnchoredHead,
    Checkpoint,
    Ending,
    Event,
    EventPage,
    Explanation,
    Head,
    Outcome,
    PartRecord,
    RecordedEvent,
)

# Not a hash of anything that could be found: an empty payload has another digest, because of its salt.
NO_PAYLOAD = bytes(32)
"""Digest of a record that has no payload."""
NO_CHECKPOINT = ""
CHECKPOINT_STRIDE = 1_000
"""Of older checkpoints every so many-th stays, for good. It states all heads that moved since the one before it, so no other is needed."""
CHECKPOINTS_KEPT = timedelta(days=30)
"""How long every checkpoint is kept: within this time a copy of the anchor confirms each of its lines."""
RULES_BOUND = 50_000
"""Distinct permits whose scopes are kept in memory."""
SENT_BOUND = 200
"""Characters of what a refused caller sent that are recorded."""
OWN_RECORD = "fhirUser"
"""The rule of a permit to read the person's own ``fhirUser``, which these two scopes permit together."""
_OF_OWN_RECORD = ("openid", "fhirUser")
_LETTERS = {kind.value: letter for kind, letter in LETTERS.items()}
WRITES = frozenset({"create", "update", "patch", "delete"})
_WRITE_WORDS = tuple(f'"{word}"'.encode() for word in sorted(WRITES))
_FINAL = frozenset({Outcome.DONE, Outcome.REFUSED, Outcome.NOT_DONE})


def genesis(stream: str, writer: str, after: bytes = b"") -> bytes:
    """Return the first ``previous`` of a writer's chain; ``after`` is the last hash of the chain that it continues."""
    # Binding stream and writer keeps a whole chain from being presented as another's. A file's chains
    # continue each other, so that a chain between two others cannot be removed.
    return sha256(f"hilum chain v1\n{stream}\n{writer}\n".encode() + after).digest()


def payload_digest(salt: bytes, payload: bytes) -> bytes:
    # The salt keeps a purged payload from being guessed from its digest: patient ids are few.
    return sha256(salt + payload).digest()


def link(previous: bytes, digest: bytes, header: bytes) -> bytes:
    return sha256(previous + digest + header).digest()


def checkpoint_bytes(number: int, at_us: int, heads: dict[str, Head], previous: str) -> bytes:
    """Return the bytes of a checkpoint that are signed."""
    # Sorted, so that the signed bytes do not depend on the order in which the heads were read.
    ordered = [[name, head[0], head[1]] for name, head in sorted(heads.items())]
    return orjson.dumps(["hilum checkpoint v1", number, at_us, ordered, previous])


def checkpoint_digest(signed: bytes, signature: str) -> str:
    """Return the digest by which the next checkpoint refers to this one."""
    return sha256(signed + b"\n" + signature.encode()).hexdigest()


def may_be_thinned(numbers: range, at: datetime, now: datetime) -> bool:
    """Check whether consecutive checkpoints may have been deleted, the oldest of which was made at this time or later: nothing needs them."""
    stays = any(number == 1 or number % CHECKPOINT_STRIDE == 0 for number in numbers)
    return not stays and at < now - CHECKPOINTS_KEPT


def next_stride(number: int) -> int:
    """Return the number of the checkpoint that stays for good and states what this one does."""
    return -(-number // CHECKPOINT_STRIDE) * CHECKPOINT_STRIDE


def is_needed(checkpoint: Checkpoint, latest: Mapping[str, Head], now: datetime) -> bool:
    """Check whether a checkpoint is kept. ``latest``: the newest heads of chains that no checkpoint states that stays for good."""
    number = checkpoint.number
    states_last = any(latest.get(name) == head for name, head in checkpoint.heads.items())
    return states_last or not may_be_thinned(range(number, number + 1), checkpoint.at, now)


def changed(heads: dict[str, Head], covered: dict[str, Head]) -> dict[str, Head]:
    """List the heads that no checkpoint states yet."""
    return {name: head for name, head in heads.items() if head[0] > 0 and covered.get(name) != head}


def closes(access: Access) -> bool:
    """Check whether a record states the final outcome of a write; true also for a write that was never sent."""
    # An intent without outcome counts as open, so what closes one is defined in one place for both journals
    # and for verification.
    if access.interaction not in WRITES:
        return False
    return access.outcome in _FINAL or access.rule == SETTLEMENT


def is_undone(records: Iterable[Access]) -> bool:
    """Check whether the records of a request prove that its write was not carried out."""
    final = [each.outcome for each in records if closes(each)]
    return bool(final) and all(each in {Outcome.REFUSED, Outcome.NOT_DONE} for each in final)


def may_be_write(header: bytes) -> bool:
    """Check without decoding whether a record's header may be that of a write. False positives are possible, false negatives are not."""
    # Verification reads millions of headers; decoding each would dominate it.
    return any(word in header for word in _WRITE_WORDS)


def claim_key(intent: Access) -> bytes | None:
    """Return the key that no two unsettled creates may share: client, tenant, person, type and content. None for what may be repeated."""
    # An update or a deletion repeated is the same update or
    # deletion. A repeated create is a second order (ADR 26).
    if intent.interaction != "create":
        return None
    # The content is a digest of the bytes: comparing resources would have to decide which differences matter,
    # and servers rewrite what they store.
    parts = (intent.tenant, intent.client, intent.person, intent.resource_type, intent.digest)
    return sha256("\n".join(parts).encode()).digest()


class Faults:
    """Faults found by verification, as sentences; those beyond ``FAULTS_BOUND`` are only counted."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.more = 0

    def add(self, text: str) -> None:
        # A wiped table would otherwise produce one sentence for each missing record.
        if len(self.found) < FAULTS_BOUND:
            self.found.append(text)
        else:
            self.more += 1

    def sentences(self) -> tuple[str, ...]:
        return (*self.found, and_more(self.more)) if self.more else tuple(self.found)


def fold_checkpoints(
    checkpoints: Iterable[tuple[Checkpoint, bytes]],
    faults: Faults,
    *,
    now: datetime,
    is_signed: Callable[[Checkpoint, bytes], bool],
) -> tuple[int, dict[str, Head]]:
    """Verify the sequence of checkpoints, oldest first, each with its signed bytes; return the last number and the latest head of every chain.

    Only the last signature before each gap needs checking: it covers all earlier checkpoints, because each contains its predecessor's digest.
    """

    def end(last: tuple[Checkpoint, bytes] | None) -> None:
        if last is not None and not is_signed(*last):
            faults.add(f"checkpoint {last[0].number} is not signed by a key of this platform")

    heads: dict[str, Head] = {}
    expected, previous, last = 1, NO_CHECKPOINT, None
    for checkpoint, signed in checkpoints:
        # Judged before the predecessor: after a gap the digest
        # cannot match either, and one cause should be one fault.
        gap = range(expected, checkpoint.number)
        if last is not None and gap and may_be_thinned(gap, last[0].at, now):
            end(last)
        elif checkpoint.number != expected:
            faults.add(f"checkpoint {expected} is missing: found {checkpoint.number} in its place")
        elif checkpoint.previous != previous:
            faults.add(f"checkpoint {checkpoint.number} does not follow its predecessor")
        for name, head in checkpoint.heads.items():
            # A chain that was cut and continued has a lower head under a newer checkpoint.
            if name in heads and head[0] < heads[name][0]:
                faults.add(f"checkpoint {checkpoint.number} puts chain {name} back")
            heads[name] = head
        expected = checkpoint.number + 1
        previous = checkpoint_digest(signed, checkpoint.signature)
        last = checkpoint, signed
    end(last)
    return expected - 1, heads


def judge_anchors(
    anchors: Iterable[Anchored], met: Mapping[int, str], faults: Faults, *, last: int, now: datetime
) -> int:
    """Compare stored checkpoints with the anchors; return the newest number that an anchor confirms, or 0.

    ``met`` maps each anchored number to the digest of the stored checkpoint, "" if there is none. ``last``: the newest number that is stored.
    """
    newest = 0
    for each in anchors:
        anchored = f"checkpoint {each.number} was anchored at {each.at:%Y-%m-%d %H:%M:%S} UTC"
        # An attacker who cuts the database at its end leaves a consistent rest. Only what was written
        # elsewhere shows the cut (ADR 11).
        if not met[each.number]:
            number = each.number
            if number < last and may_be_thinned(range(number, number + 1), each.at, now):
                continue
            faults.add(f"{anchored} and is gone: the record was cut at its end")
        elif met[each.number] != each.digest:
            faults.add(
                f"{anchored}, and a different checkpoint has its number: the record was cut and continued"
            )
        else:
            newest = max(newest, each.number)
    return newest


def head_faults(heads: Iterable[AnchoredHead], stored: Mapping[int, str], names: str) -> list[str]:
    """Compare the anchored ends of a chain with what is stored under their numbers; ``names`` says what its records are, in the plural."""
    faults = []
    for each in heads:
        anchored = f"Number {each.number} of {names} was anchored at {each.at:%Y-%m-%d %H:%M:%S} UTC"
        if each.number not in stored:
            faults.append(f"{anchored} and is gone.")
        elif stored[each.number] != each.digest:
            faults.append(f"{anchored}, and is not the one that is stored.")
    return faults


Row = tuple[int, bytes, bytes, bytes, bytes | None, bytes | None]
"""seq, header, payload digest, hash, salt, payload."""


@dataclass(frozen=True, slots=True)
class ChainCounts:
    """Counts of one verified chain. ``uncovered``: records after the last checkpointed one."""

    records: int
    purged: int
    uncovered: int


def verify_chain(
    name: str,
    first: bytes,
    rows: Iterable[Row],
    *,
    required: dict[int, set[bytes]],
    covered: int,
    may_lack: Callable[[bytes], bool],
    faults: Faults,
) -> ChainCounts:
    """Verify one chain. ``required`` maps a seq to the hashes it must have: checkpointed heads, and the stored head of the chain.

    ``covered`` is the last checkpointed seq; ``may_lack`` returns for a header whether its payload may have been purged.
    A plain loop, because it must verify hundreds of thousands of records a second.
    """
    previous, expected = first, 1
    count = purged = 0
    # Local names: attribute look-ups in this loop cost a measurable part of it.
    hasher, no_payload, met = sha256, NO_PAYLOAD, set()
    for seq, header, digest, stored, salt, payload in rows:
        count += 1
        # Reported and passed over, so that one gap does not hide faults after it.
        if seq != expected:
            faults.add(_gap(name, expected, seq))
        if payload is not None and salt is not None:
            if hasher(salt + payload).digest() != digest:
                faults.add(f"chain {name}: the payload of record {seq} was edited")
        # A missing payload is legitimate only before a recorded purge;
        # otherwise deleting payloads would be an unnoticed edit.
        elif digest != no_payload:
            purged += 1
            if not may_lack(header):
                faults.add(f"chain {name}: the payload of record {seq} was removed without a purge")
        if hasher(previous + digest + header).digest() != stored:
            faults.add(f"chain {name}: record {seq} was edited, or does not follow the one before it")
        if seq in required:
            met.add(seq)
            if required[seq] != {bytes(stored)}:
                faults.add(f"chain {name}: record {seq} is not the one that was signed for")
        # Continue from the stored hash: an edited record is one fault and not one for each record behind it.
        previous, expected = stored, seq + 1
    # A head beyond the end of the chain: the chain was cut.
    for seq in sorted(set(required) - met):
        faults.add(
            f"chain {name}: record {seq} was signed for, but the chain holds {counted(count, 'record')}"
        )
    return ChainCounts(count, purged, max(0, expected - 1 - covered))


def _gap(name: str, expected: int, seq: int) -> str:
    if seq < expected:
        return f"chain {name}: record {seq} comes after record {expected - 1}"
    if seq == expected + 1:
        return f"chain {name}: record {expected} is missing"
    return f"chain {name}: records {expected} to {seq - 1} are missing"


# Roles by their stored names, since this room must not import identity.
READERS = frozenset({"platform_admin", "security", "auditor"})
KEEPERS = frozenset({"platform_admin", "security"})
"""Staff who place and release holds on evidence."""
TENANT_ADMINISTRATOR = "administrator"


def may_hold(actor: Actor) -> bool:
    """Check whether an actor may place and release holds on evidence."""
    return actor.kind in {ActorKind.HOST, ActorKind.SYSTEM} or (
        actor.kind is ActorKind.STAFF and not KEEPERS.isdisjoint(actor.roles)
    )


def may_see_holds(actor: Actor) -> bool:
    """Check whether an actor may list holds."""
    return may_hold(actor) or (actor.kind is ActorKind.STAFF and not READERS.isdisjoint(actor.roles))


def may_read(actor: Actor, tenant: str) -> bool:
    """Check whether an actor may read the record of a tenant; "" means that of all tenants."""
    if actor.kind in {ActorKind.HOST, ActorKind.SYSTEM}:
        return True
    if actor.kind is ActorKind.STAFF:
        return not READERS.isdisjoint(actor.roles)
    return (
        actor.kind is ActorKind.PERSON
        and TENANT_ADMINISTRATOR in actor.roles
        # An administrator must name the tenant: an empty filter would mean everybody's record.
        and bool(tenant)
        and actor.tenant == tenant
    )


_EMERGENCIES = "breakglass.break_glass."
_NOT_CLINICAL = frozenset({"use", "categories", "ends_at", "verdict"})
"""What the events of an emergency access say to everybody who may read them; the rest is about a patient, or in somebody's own words."""


def as_shown_to(actor: Actor, recorded: RecordedEvent) -> RecordedEvent:
    """Return an event as an actor may see it: the patient, the reason and the note of an emergency access are its hospital's own (ADR 77)."""
    event = recorded.event
    if not event.action.startswith(_EMERGENCIES) or (event.tenant and actor.tenant == event.tenant):
        return recorded
    facts = {name: value for name, value in event.facts.items() if name in _NOT_CLINICAL}
    return replace(recorded, event=replace(event, patient="", facts=facts))


def emergency_detail(use: str, opened: int) -> str:
    """Return the detail of an access that was permitted while its person had broken the glass. ``opened``: records shown only for that."""
    return f"{BREAK_GLASS}{use}, opened {opened}"


def emergency_of(access: Access) -> tuple[str, int | None] | None:
    """Return the use of break-glass that an access was made under, and how many records it opened, which records of earlier releases do not say."""
    if access.reason or not access.detail.startswith(BREAK_GLASS):
        return None
    use, _, opened = access.detail.removeprefix(BREAK_GLASS).partition(", opened ")
    return use, int(opened) if opened.isdecimal() else None


_TENANT = re.compile(r"[a-z0-9-]{1,32}")


def reading(read_event: Event, filters: Mapping[str, str], *, given: int = 0) -> Event:
    """Build the event of a read of the audit, with the number of records it returned.

    The header has the tenant and the names of the filters. Their values may be PHI, so they are in the payload only.
    """
    tenant = filters.get("tenant", "")
    names = ", ".join(sorted(filters))
    # The patient has a place of its own in the payload; every other filter may hold PHI as well (a launch, a
    # reason typed by hand).
    others = {name: value for name, value in filters.items() if name != "patient"}
    return replace(
        read_event,
        # The header is never purged, so nothing that a caller typed freely goes into it.
        tenant=tenant if _TENANT.fullmatch(tenant) else "",
        reason=f"by {names}" if names else "",
        patient=filters.get("patient", ""),
        facts=read_event.facts | {"filters": others, "given": given},
    )


def explaining(read_event: Event, request_id: str, found: Explanation) -> Event:
    """Build the event of an explained request. It has a tenant and a patient if the explanation is about exactly one."""
    # The event has one tenant field; with several, whose administrator sees the read would be arbitrary.
    tenants = tenants_of(found)
    shown = found.accesses or [each.event for each in found.events]
    patients = {each.patient for each in shown}
    event = reading(read_event, {"request_id": request_id}, given=len(found.accesses) + len(found.events))
    return replace(
        event,
        tenant=tenants.pop() if len(tenants) == 1 else "",
        patient=patients.pop() if len(patients) == 1 else "",
    )


def tenants_of(found: Explanation) -> set[str]:
    """Return the tenants whose record an explanation shows; "" is the platform itself."""
    return {access.tenant for access in found.accesses} or {each.event.tenant for each in found.events}


def activity(accesses: AccessPage, events: EventPage) -> ActivityPage:
    """Merge a page of accesses and one of events, up to where both are known. Its ``next`` is for ``activity_from``."""
    pages: tuple[tuple[Sequence[Access | RecordedEvent], str], ...] = (
        (accesses.accesses, accesses.next),
        (events.events, events.next),
    )
    until = max((found[-1].at for found, after in pages if after), default=None)
    shown = [each for found, _ in pages for each in found if until is None or each.at >= until]
    records = tuple(sorted(shown, key=lambda each: each.at, reverse=True))
    if until is None:
        return ActivityPage(records)
    # A list that was shown whole goes on after its last record; of the other one everything since ``until`` was shown.
    parts = [
        after if after and found[-1].at == until else f"before{to_micros(until)}" for found, after in pages
    ]
    return ActivityPage(records, "~".join(parts))


def activity_from(after: str) -> list[dict[str, Any]]:
    """Return where a page of activity continues, as filters of its accesses and of its events. Raises Invalid."""
    found: list[dict[str, Any]] = []
    for part in after.split("~", 1) if "~" in after else (after, after):
        moment = part.removeprefix("before")
        if moment == part:
            found.append({"after": part})
        elif moment.isascii() and moment.isdigit() and len(moment) < 18:
            found.append({"before": from_micros(int(moment))})
        else:
            raise Invalid("cursor_invalid", "The cursor is not valid.", fields={"after": "cursor_unknown"})
    return found


def as_sent(text: str) -> str:
    """Return a text that a stranger chose, as a record may hold it: bounded, and without what would act on a terminal or reorder a line."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:SENT_BOUND])


def refused(event: Event, code: str) -> Event:
    """Build the event of what was refused, from the event of what was asked for."""
    return replace(event, outcome=Outcome.REFUSED, reason=code)


# --- whose records an answer showed -------------------------------------------------------------------------------------------


def found_text(counts: Mapping[str, int]) -> str:
    """Return the patients of an answer as its record lists them: ``id:records`` of each, and ``+n`` for those beyond FOUND_BOUND."""
    listed = [f"{patient}:{number}" for patient, number in islice(counts.items(), FOUND_BOUND)]
    more = len(counts) - len(listed)
    return " ".join([*listed, f"+{more}"] if more else listed)


def found_in(access: Access) -> dict[str, int]:
    """Return how many records of each patient an answer showed; empty if it showed those of one patient at most."""
    # Any value is possible: a record that somebody edited must not stop the index.
    pairs = (word.rpartition(":") for word in access.found.split())
    return {patient: int(number) for patient, _, number in pairs if patient and number.isdecimal()}


def is_about(access: Access, patient: str) -> bool:
    """Check whether a record is about a patient: of a request for their record, or of an answer that showed some of it."""
    return access.patient == patient or (patient in access.found and patient in found_in(access))


# --- permits as scopes ---------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=RULES_BOUND)
def permitting_scopes(rule: str, type_: str, interaction: str) -> tuple[Scope, ...]:
    """Return the scopes that permitted a decision by its ``rule``, each cut to the decision's type and letter."""
    if rule == OWN_RECORD:
        return parse_stored(_OF_OWN_RECORD)
    letter = letter_of(interaction)
    return tuple(
        replace(scope, type=type_, letters=letter)
        for scope in parse_stored(rule.split(", "))
        if isinstance(scope, ClinicalScope) and reaches(scope, type_, letter)
    )


def reaches(scope: ClinicalScope, type_: str, letter: int) -> bool:
    """Check whether a scope permits a letter on a type, which may be empty."""
    return bool(type_) and scope.type in {type_, ANY_TYPE} and bool(scope.letters & letter)


def letter_of(interaction: str) -> int:
    """Return the letter of an interaction as it is on record; 0 for what no scope permits."""
    return _LETTERS.get(interaction, 0)


def part_line(record: PartRecord) -> dict[str, object]:
    """Return a record as one line of NDJSON."""
    payload = None if record.payload is None else bytes(record.payload).decode(errors="replace")
    header = record.header.decode(errors="replace")
    return {"chain": record.chain, "seq": record.seq, "header": header, "payload": payload}


# --- how calls ended -----------------------------------------------------------------------------------------------------------

_ENDINGS: Mapping[str, Ending] = {
    Reason.REQUEST_UNSUPPORTED: Ending.MISTAKEN,
    Reason.TOO_COSTLY: Ending.MISTAKEN,
    Reason.RESOURCE_TOO_LARGE: Ending.MISTAKEN,
    Reason.QUOTA_EXCEEDED: Ending.THROTTLED,
    Reason.APP_CONCURRENCY_EXCEEDED: Ending.THROTTLED,
    # What all apps of a hospital together have in progress is not this one's doing.
    Reason.CONCURRENCY_EXCEEDED: Ending.FAILED,
    Reason.TRAFFIC_SHED: Ending.FAILED,
    Reason.SNAPSHOT_STALE: Ending.FAILED,
    Reason.UPSTREAM_UNAVAILABLE: Ending.FAILED,
    Reason.RESPONSE_UNJUDGEABLE: Ending.FAILED,
    Reason.AUDIT_UNAVAILABLE: Ending.FAILED,
    Reason.OUTCOME_UNKNOWN: Ending.FAILED,
}
_NO_SERVICE = frozenset(
    {
        # What people stopped or ended says nothing of how an app works: whoever used it could have its hospital and its vendor mailed.
        Reason.APP_SUSPENDED,
        Reason.SWITCH_ENGAGED,
        Reason.TOKEN_REVOKED,
        Reason.PERSON_INACTIVE,
        Reason.APP_NOT_INSTALLED,
        # The tenant is the one of the address, where an app may write anything.
        Reason.TENANT_MISMATCH,
    }
)
_ABSENT = frozenset({404, 410})
_CONFLICTS = frozenset({409, 412})


def ending_of(access: Access) -> Ending | None:
    """Return how a call ended; None for what says nothing of an app's service."""
    if access.reason in _NO_SERVICE:
        return None
    if access.reason:
        return _ENDINGS.get(access.reason, Ending.REFUSED)
    # As a record that is out of reach is refused: a count must not say which of the two it was (ADR 13).
    if access.status in _ABSENT:
        return Ending.REFUSED
    if access.status >= 500:
        return Ending.FAILED
    # That a record was changed meanwhile is an answer that the app asked for.
    return Ending.MISTAKEN if access.status >= 400 and access.status not in _CONFLICTS else Ending.ANSWERED
