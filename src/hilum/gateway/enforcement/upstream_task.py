"""One permitted request while it is executed: whether it is still permitted, and what of it may have reached the FHIR server."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

import orjson

from hilum.authorization.tokens.models import AccessToken
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.standards.fhir.statements import ServerCapabilities
from hilum.foundation.standards.fhir.tags import REQUEST_TAG
from hilum.foundation.standards.fhir.traits import RecordTraits, traits_of
from hilum.foundation.standards.fhir.visibility import one_patient, patients_among
from hilum.gateway.enforcement import policy
from hilum.gateway.enforcement.attachments import Grounds, grounds_of
from hilum.gateway.enforcement.deps import GatewayDeps
from hilum.gateway.enforcement.models import GatewayRequest, Permit, Snapshot
from hilum.gateway.enforcement.records import record_of
from hilum.gateway.enforcement.rendering import Headers, RequestOutcome
from hilum.gateway.enforcement.resource_access import is_opened
from hilum.gateway.upstream.policy import destination
from hilum.identity.people.models import Quirks, TenantFacts
from hilum.identity.people.policy import quirks_of
from hilum.records.audit import policy as audit
from hilum.records.audit.models import LEAVE_WITHIN, SETTLEMENT, Access, Claimed, Outcome, Recorded

PAUSES_S = (0.02, 0.08, 0.2, 0.4, None)
"""Waits for another worker that has just answered an identical create; then the app is refused."""
JUST_ANSWERED = timedelta(seconds=60)
UNRECORDED = Deny(
    Reason.AUDIT_UNAVAILABLE, "The access could not be recorded, so the request was refused. Retry later."
)
DIGEST_INLINE_BOUND = 256 * 1024
"""A larger body is digested in a thread: the event loop has others to serve."""
_NOT_ENDED = RequestOutcome(0)
_NO_HEADERS: Headers = ()
_CHANGED = Deny(Reason.SNAPSHOT_STALE, "Permissions changed while the request was running. Send it again.")


class Refusal(Exception):
    """Ends a permitted request with a refusal. ``resource``: where an identical create was stored, if that is known."""

    def __init__(self, deny: Deny, retry_after_s: float = 1.0, *, resource: str = "") -> None:
        super().__init__(deny.reason)
        self.deny, self.retry_after_s, self.resource = deny, retry_after_s, resource


class TooLarge(Refusal):
    """The FHIR server's answer exceeds the bound; a smaller page may be within it."""


class Effect(StrEnum):
    """What a write did at the FHIR server."""

    NONE = "none"
    """Nothing has left."""
    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, eq=False)
class ServerAddresses:
    """A tenant's FHIR server as requests reach it: the addresses before and behind the gateway. One for each state of both, and equal to itself only.

    ``bases`` are those of the gateway's, each ending in a slash; ``base`` is the first and ``upstream_base`` the server's, without it.
    ``upstream_bases``: those that the server may write; the first is the one that it is sent. ``grounds``: what addresses mean here.
    """

    tenant: TenantFacts
    bases: tuple[str, ...]
    upstream_base: str
    base: str = field(init=False)
    upstream_bases: tuple[str, ...] = field(init=False)
    grounds: Grounds = field(init=False)
    in_process: bool = field(init=False)
    """Whether the FHIR server is embedded: it writes no address but the gateway's, and its totals are exact."""
    quirks: Quirks = field(init=False)
    shows_what_is_stored: bool = field(init=False)
    """Whether the bytes that the FHIR server stores may be passed on as they are: it is embedded, and no host is its own."""

    def __post_init__(self) -> None:
        server = self.tenant.upstream
        public = server.public_url.rstrip("/")
        theirs = (public, self.upstream_base) if public else (self.upstream_base,)
        object.__setattr__(self, "base", self.bases[0][:-1])
        object.__setattr__(self, "upstream_bases", theirs)
        object.__setattr__(self, "grounds", grounds_of(self.bases, theirs, server.attachment_hosts))
        # Settings with a word that is no quirk are refused.
        object.__setattr__(self, "quirks", quirks_of(server.quirks) or Quirks())
        object.__setattr__(self, "in_process", self.upstream_base == self.base)
        object.__setattr__(self, "shows_what_is_stored", self.in_process and not server.public_url)


@dataclass(slots=True)
class UpstreamTask:
    """One permitted request from its decision to its answer.

    ``snapshot`` and ``permit`` are those by which it was last found to be permitted; ``addresses`` are those of its first decision.
    ``capabilities``, where it matters: what the server says it can do. ``effect``, ``resource``, ``recorded`` and ``intended`` say what became of
    a write: ``intended`` is True once an intent was to be put on record, whatever came of that.
    """

    deps: GatewayDeps
    incoming: GatewayRequest
    snapshot: Snapshot
    permit: Permit
    addresses: ServerAddresses
    capabilities: ServerCapabilities | None = None
    effect: Effect = Effect.NONE
    resource: str = ""
    recorded: Recorded | None = None
    intended: bool = False

    @property
    def token(self) -> AccessToken:
        """The token by which it is permitted."""
        token = self.incoming.token
        assert isinstance(token, AccessToken), "nothing is permitted without a token"
        return token

    @property
    def shown_types(self) -> tuple[str, ...]:
        """The types of which the answer may show anything."""
        plan = self.permit.plan
        return (self.permit.request.type,) if plan is None else (plan.type, *plan.included)

    def patient_of(self, resources: Iterable[dict[str, Any]]) -> str:
        """Return the patient whose records these are, for the audit record."""
        return self.permit.patient or one_patient(resources, self.permit.bases)

    def shown(self, resources: Iterable[dict[str, Any]]) -> tuple[str, str]:
        """Return the patient whose records an answer has, and if it has those of others too, how many of each, for the audit record (C94)."""
        about, access = self.permit.patient, self.permit.access
        # The usual case, at no cost: nothing but the one patient in context is reached.
        if about and about == access.patient and self.reaches_one:
            return about, ""
        return self._whose(patients_among(resources, self.permit.bases))

    def shown_of(self, record: RecordTraits) -> tuple[str, str]:
        """Return the same of an answer with one record, whose patients were read already."""
        about, patients = self.permit.patient, record.patients
        if patients is not None and len(patients) == 1 and (about in patients or not about):
            return next(iter(patients)), ""
        return self.shown((record.resource,))

    def opened(self, resources: Iterable[dict[str, Any]]) -> int:
        """Return how many of the shown records are seen only because the glass was broken."""
        access = self.permit.access
        if access.glass is None:
            return 0
        return sum(is_opened(access, traits_of(each, self.permit.bases)) for each in resources)

    def written(self, resource: dict[str, Any]) -> tuple[str, str]:
        """Return the patient whose record is written, and if it is several patients' whose it is, for the audit record (C94).

        An update moves no record to others, so whose it is afterwards says whose it was.
        """
        # Not only the patient in context: who takes part in an appointment beside them is not withheld.
        return self._whose(patients_among((resource,), self.permit.bases))

    def _whose(self, counts: dict[str, int]) -> tuple[str, str]:
        about = self.permit.patient
        if counts.keys() <= {about}:
            return about, ""
        if len(counts) == 1 and not about:
            return next(iter(counts)), ""
        return about, audit.found_text(counts)

    @property
    def reaches_one(self) -> bool:
        """Whether every rule of the grant that an answer is judged by is about the one patient in context."""
        plan = self.permit.plan
        return (plan is None or not plan.included) and self.permit.reach.is_of_one

    def record(self, ended: RequestOutcome) -> Access:
        """Return the audit record of this request as it ended."""
        now = self.deps.clock.now()
        record = record_of(self.incoming, self.snapshot, ended, self.permit, now=now)
        if self.permit.request.is_write:
            record.outcome = self._written(ended)
            if self.effect is not Effect.NONE:
                record.resource = ended.resource or self.resource
        return record

    def _written(self, ended: RequestOutcome) -> Outcome:
        """Return how a permitted write ended, which is not always how it was answered."""
        if self.effect is Effect.DONE:
            return Outcome.DONE
        if self.effect is Effect.UNKNOWN:
            return Outcome.UNKNOWN
        return Outcome.NOT_DONE if ended.deny is None else Outcome.REFUSED

    @property
    def has_left(self) -> bool:
        """Whether a write was sent and may have been carried out."""
        return self.effect in {Effect.DONE, Effect.UNKNOWN}

    def refuse(self, ended: RequestOutcome, refusal: Refusal) -> None:
        """Make the outcome a refusal. Of a write that was carried out nothing that the FHIR server said leaves, not even its place."""
        deny, headers = refusal.deny, _NO_HEADERS
        if self.effect is Effect.DONE:
            sentence = f"The write was carried out, under request {self.incoming.request_id}. Do not send it again. Its answer is kept back: {deny.detail}"
            deny = Deny(Reason.WRITE_DONE_ANSWER_WITHHELD, sentence)
        if refusal.resource:
            headers = ((b"location", f"{self.addresses.base}/{refusal.resource}".encode()),)
        ended.refuse(deny, retry_after_s=refusal.retry_after_s, headers=headers)

    def confirm(self) -> None:
        """Decide again if anything that decides has changed since. Raises Refusal."""
        # The usual case. A snapshot is immutable, so the same one means the same decision.
        if self.deps.snapshots.current() is not self.snapshot and (fault := self.fault_now()):
            raise Refusal(fault)

    def fault_now(self) -> Deny | None:
        """Decide again; return why the request is no longer permitted, None if it still is.

        What was gathered under another grant than the present one is not used either, so such a request is refused too.
        Source: security decision 23
        """
        current = self.deps.snapshots.current()
        decision = policy.decide(self.incoming, current, self.deps.clock.now())
        if isinstance(decision, Deny):
            return decision
        # What was gathered before somebody broke the glass is permitted after it too. The request goes on by its
        # earlier permit, so that the whole answer is of one.
        if self.permit.access.glass is None and decision.access.glass is not None:
            decision = policy.without_glass(decision)
        if current is None or not policy.is_same_grant(self.permit, decision):
            return _CHANGED
        # The hospital moved: the rest must neither go to the earlier server nor be mixed from both.
        if decision.tenant.upstream != self.addresses.tenant.upstream:
            return _CHANGED
        self.snapshot, self.permit = current, decision
        return None

    async def intend(self) -> Recorded:
        """Record that a write is about to leave, and check that it is still permitted. Raises Refusal.

        Source: security decision 20
        """
        assert self.recorded is None, "one intent, one write"
        request = self.permit.request
        digest = ""
        if request.body is not None:
            large = len(request.raw) > DIGEST_INLINE_BOUND
            digest = await asyncio.to_thread(_digest, request.body) if large else _digest(request.body)
        if request.id:
            self.resource = f"{request.type}/{request.id}"
        intent = replace(
            self.record(_NOT_ENDED),
            at=self.deps.clock.now(),
            outcome=Outcome.INTENDED,
            detail=destination(self.addresses.tenant.upstream),
            digest=digest,
            resource=self.resource,
            patient=self.permit.patient or one_patient((request.body or {},), self.permit.bases),
        )
        self.intended = True
        for pause in PAUSES_S:
            try:
                self.recorded = await self.deps.journal.intend(intent)
                break
            # An identical create is not settled yet. Its holder may be about to end, so a few short
            # waits come before the 409.
            except Claimed as claimed:
                before = await self._records_of(claimed.holder)
                # Its holder ended as refused or not done, so the claim protects nothing.
                if undone := audit.is_undone(before):
                    self.deps.journal.release(claimed.holder)
                if pause is None or not (undone or self._was_just_answered(before)):
                    raise _repeated(claimed.holder, before) from None
                await asyncio.sleep(pause)
            except Unavailable as error:
                raise Refusal(UNRECORDED) from error
        assert self.recorded is not None, "the loop ends with a record or an error"
        # Judged when the write leaves, after the wait for a slot: a process may have been frozen
        # since its intent, and the write settled (ADR 26).
        self.recorded.is_late = lambda: self.deps.clock.now() - intent.at >= LEAVE_WITHIN
        self.confirm()
        # From here until the answer is understood, no failure may be reported as not done.
        self.effect = Effect.UNKNOWN
        return self.recorded

    async def _records_of(self, holder: str) -> Sequence[Access]:
        try:
            return await self.deps.intents.look_up(holder)
        except Unavailable:
            # Without its records the first create counts as in progress.
            return ()

    def _was_just_answered(self, before: Sequence[Access]) -> bool:
        """Check whether the other request has its outcome on record, so that its claim is about to end."""
        return any(audit.closes(each) and self.deps.clock.now() - each.at < JUST_ANSWERED for each in before)


def _digest(body: dict[str, Any]) -> str:
    """Return the digest of a resource, with its members sorted: one resource in two spellings is one create."""
    try:
        written = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # An integer of more than 64 bits, which JSON may have and orjson does not write.
        written = json.dumps(body, sort_keys=True).encode()
    return sha256(written).hexdigest()


def _repeated(holder: str, before: Sequence[Access]) -> Refusal:
    done = next((each for each in before if each.outcome is Outcome.DONE), None)
    if done is None and any(each.rule == SETTLEMENT for each in before):
        sentence = (
            f"An identical create was sent before, under request {holder}, and it cannot be found out whether it was carried out. Nothing was "
            f"done now. Look for it by its content or by _tag={REQUEST_TAG}|{holder}. If it is not stored, send yours with an identifier of "
            "its own: what differs is a new create. The same is refused until 24 hours after the first."
        )
        return Refusal(Deny(Reason.WRITE_REPEATED, sentence))
    if done is None:
        sentence = (
            f"An identical create is in progress or not settled yet, under request {holder}. "
            "Nothing was done now; send it again once that one is settled."
        )
        return Refusal(Deny(Reason.WRITE_REPEATED, sentence))
    sentence = (
        f"This was carried out already, under request {holder}, whose answer may have been lost. "
        "Nothing was done now; read what is stored."
    )
    return Refusal(Deny(Reason.WRITE_REPEATED, sentence), resource=done.resource)
