"""A request between its decision and its answer: is it still permitted, and what of it may have reached the FHIR server."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256

import orjson

from hilum.audit import policy as audit
from hilum.audit.live import Journal
from hilum.audit.models import LEAVE_WITHIN, SETTLEMENT, Access, Claimed, Outcome, Recorded
from hilum.gateway import policy
from hilum.gateway.models import DecisionInput, Obligations, Snapshot
from hilum.gateway.snapshot import SnapshotKeeper
from hilum.gateway.transport import Effect, Refusal
from hilum.kernel.decision import Deny, Reason
from hilum.kernel.errors import Unavailable
from hilum.kernel.ports import Clock
from hilum.standards.fhir.tags import REQUEST_TAG
from hilum.standards.fhir.visibility import one_patient
from hilum.tokens.models import AccessToken

PAUSES_S = (0.02, 0.08, 0.2, 0.4, None)
"""Waits for another worker that has just answered an identical create; then the app is refused."""
JUST_ANSWERED = timedelta(seconds=60)
_CHANGED = Deny(Reason.SNAPSHOT_STALE, "Permissions changed while the request was running. Send it again.")


class Unrecorded(Exception):
    """The intent could not be made durable, so nothing was sent."""


class Repeated(Refusal):
    """An identical create is not settled yet. ``resource``: where the first one was stored, if that is known."""

    def __init__(self, deny: Deny, resource: str = "") -> None:
        super().__init__(deny)
        self.resource = resource


@dataclass(slots=True)
class UnderWay:
    """One permitted request while it is carried out. ``snapshot`` is the one by which it was last found to be permitted."""

    snapshots: SnapshotKeeper
    journal: Journal
    find: Callable[[str], Awaitable[Sequence[Access]]]
    clock: Clock
    asked: DecisionInput
    token: AccessToken
    snapshot: Snapshot
    obligations: Obligations | None
    access: Callable[[], Access]
    """Makes its record, as far as that is known before it is carried out."""
    resource: str = ""
    effect: Effect = Effect.NONE
    recorded: Recorded | None = None
    intended: bool = False
    """An intent was to be put on record, whatever came of that."""

    def confirm(self) -> None:
        """Decide again if anything that decides has changed since, or could not be confirmed in time. Raises Refusal.

        What was gathered under another grant than the present one is not used either, so such a request is refused too.
        Source: security decision 23
        """
        current = self.snapshots.current()
        if current is self.snapshot:
            return
        assert self.obligations is not None, "only what was permitted is under way"
        decision = policy.decide(self.asked, self.token, current, self.clock.now())
        if isinstance(decision, Deny):
            raise Refusal(decision)
        if current is None or not policy.is_same_grant(self.obligations, decision.obligations):
            raise Refusal(_CHANGED)
        self.snapshot, self.obligations = current, decision.obligations

    async def intend(self) -> Recorded:
        """Put on record that a write is about to leave, and see that it is still permitted. Raises Unrecorded, Repeated, Refusal.

        Source: security decision 20
        """
        assert self.recorded is None, "one intent, one write"
        assert self.obligations is not None, "only what was permitted is under way"
        request = self.obligations.request
        body = orjson.dumps(request.body, option=orjson.OPT_SORT_KEYS) if request.body is not None else b""
        self.resource = f"{request.type}/{request.id}" if request.id else ""
        intent = replace(
            self.access(),
            at=self.clock.now(),
            outcome=Outcome.INTENDED,
            rule=self.obligations.rule,
            digest=sha256(body).hexdigest() if body else "",
            resource=self.resource,
            patient=self.obligations.patient or one_patient((request.body or {},), self.obligations.bases),
            snapshot=self.snapshot.epoch,
        )
        self.intended = True
        for pause in PAUSES_S:
            try:
                self.recorded = await self.journal.intend(intent)
                break
            except Claimed as claimed:
                known = await self._known(claimed.holder)
                if undone := audit.is_undone(known):
                    self.journal.release(claimed.holder)
                if pause is None or not (undone or self._was_just_answered(known)):
                    raise _repeated(claimed.holder, known) from None
                await asyncio.sleep(pause)
            except Unavailable as error:
                raise Unrecorded from error
        assert self.recorded is not None, "the loop ends with a record or an error"
        self.recorded.is_late = lambda: self.clock.now() - intent.at >= LEAVE_WITHIN
        self.confirm()
        self.effect = Effect.UNKNOWN
        return self.recorded

    async def _known(self, holder: str) -> Sequence[Access]:
        try:
            return await self.find(holder)
        except Unavailable:
            return ()

    def _was_just_answered(self, known: Sequence[Access]) -> bool:
        """Return whether the other request has its outcome on record, so that it is about to let this one pass."""
        return any(audit.closes(each) and self.clock.now() - each.at < JUST_ANSWERED for each in known)


def _repeated(holder: str, known: Sequence[Access]) -> Repeated:
    done = next((each for each in known if each.outcome is Outcome.DONE), None)
    if done is None and any(each.rule == SETTLEMENT for each in known):
        sentence = (
            f"An identical create was sent before, under request {holder}, and it cannot be found out whether it was carried out. Nothing was "
            f"done now. Look for it by its content or by _tag={REQUEST_TAG}|{holder}. If it is not stored, send yours with an identifier of "
            "its own: what differs is a new create. The same is refused until 24 hours after the first."
        )
        return Repeated(Deny(Reason.WRITE_REPEATED, sentence))
    if done is None:
        sentence = (
            f"An identical create is under way or not settled yet, under request {holder}. "
            "Nothing was done now; send it again once that one is settled."
        )
        return Repeated(Deny(Reason.WRITE_REPEATED, sentence))
    sentence = (
        f"This was carried out already, under request {holder}, whose answer may have been lost. "
        "Nothing was done now; read what is stored."
    )
    return Repeated(Deny(Reason.WRITE_REPEATED, sentence), done.resource)
