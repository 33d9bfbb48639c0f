"""Who sees and answers disposal requests, their states, deadlines and signed text. Pure."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from hilum.disposals.models import (
    EVENT_URI,
    LEGAL_REASON_BOUND,
    Answer,
    AnswerOrder,
    Disposal,
    DisposalQuery,
    State,
)
from hilum.identity.models import VendorRight
from hilum.identity.policy import is_member, may_administer, may_as_member
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.ids import TenantId
from hilum.kernel.limits import too_long
from hilum.policies.models import DISPOSAL_DAYS, Cell
from hilum.registry.models import Certification, Environment
from hilum.registry.policy import last_use

_READERS = frozenset({"platform_admin", "security", "auditor", "reviewer"})
FOLLOWS: Mapping[Answer | None, frozenset[Answer]] = MappingProxyType(
    {
        None: frozenset(Answer),
        # Once the legal reason has ended, what was kept can be deleted.
        Answer.RETAINED: frozenset({Answer.PARTLY, Answer.DISPOSED}),
        Answer.PARTLY: frozenset({Answer.DISPOSED}),
        Answer.DISPOSED: frozenset(),
    }
)
"""Which answer may follow which. Deleted data cannot become retained."""


def state_of(disposal: Disposal, now: datetime) -> State:
    """Return the state of a request: its answer, or whether one is still in time."""
    if disposal.answer is not None:
        return State(disposal.answer.value)
    return State.OPEN if now < disposal.due_at else State.OVERDUE


def due_at(now: datetime, cells: Iterable[Cell | None]) -> datetime:
    """Return the deadline of a request made now: the shortest of the cells in which the app's clients act, or the default if none admits it."""
    days = [each.disposal_days for each in cells if each is not None]
    return now + timedelta(days=min(days, default=DISPOSAL_DAYS))


def ended_last(
    certifications: Collection[Certification], now: datetime, grace: timedelta
) -> Certification | None:
    """Return which of an app's certifications ended last; None while one is in force or in its grace, or if none was ever for production.

    An app that was certified for sandboxes alone has no data of people.
    """
    ends = {each.id: last_use(each, certifications, grace) for each in certifications}
    if any(now < end for end in ends.values()):
        return None
    if not any(each.environment is Environment.PRODUCTION for each in certifications):
        return None
    return max(certifications, key=lambda each: (ends[each.id], each.id))


def answer_faults(order: AnswerOrder) -> dict[str, str]:
    """Return the faults of an answer, by field. Retaining data requires the legal reason."""
    reason = order.legal_reason.strip()
    if order.answer is Answer.DISPOSED:
        return {"legal_reason": "field_unknown"} if reason else {}
    if not reason:
        return {"legal_reason": "missing"}
    return {"legal_reason": too_long(LEGAL_REASON_BOUND)} if len(reason) > LEGAL_REASON_BOUND else {}


def may_read(actor: Actor, disposal: Disposal) -> bool:
    """Check whether an actor may see a request: the staff, the hospital that it is about, and members of the vendor."""
    if is_member(actor, disposal.vendor) or _reads_all(actor):
        return True
    return bool(disposal.tenant) and _administers(actor, disposal.tenant)


def query_for(actor: Actor, query: DisposalQuery) -> DisposalQuery | None:
    """Return the query narrowed to what the actor may see; None if they may see nothing of it."""
    if _reads_all(actor):
        return query
    if actor.kind is ActorKind.MEMBER and actor.vendor is not None and is_member(actor, actor.vendor):
        if query.vendor not in {None, actor.vendor}:
            return None
        return DisposalQuery(actor.vendor, query.tenant, query.app, query.state)
    own = actor.tenant
    if own is None or not _administers(actor, own) or query.tenant not in {None, own}:
        return None
    return DisposalQuery(query.vendor, own, query.app, query.state)


def _reads_all(actor: Actor) -> bool:
    return actor.acts_alone or (actor.kind is ActorKind.STAFF and not _READERS.isdisjoint(actor.roles))


def _administers(actor: Actor, tenant: TenantId) -> bool:
    return actor.kind is ActorKind.PERSON and may_administer(actor, tenant)


def may_answer(actor: Actor, disposal: Disposal) -> bool:
    """Check whether an actor may answer: a member of the vendor who signs for it. Neither the hospital nor the staff answers in its place."""
    return may_as_member(actor, disposal.vendor, VendorRight.PROFILE)


def claims_of(disposal: Disposal, *, issuer: str, audience: Collection[str]) -> dict[str, Any]:
    """Return the claims of a request's signed text, the same each time it is made. Source: RFC 8417 section 2.2."""
    named = {
        "disposal": disposal.id,
        "cause": disposal.cause.value,
        "app": disposal.app,
        "hospital": disposal.tenant,
        "client_id": disposal.client,
        "authorization": disposal.authorization,
        "patient": disposal.patient,
        "due_at": disposal.due_at.isoformat(),
    }
    return {
        "iss": issuer,
        "aud": sorted(audience),
        "iat": int(disposal.requested_at.timestamp()),
        "jti": disposal.id,
        "events": {EVENT_URI: {name: value for name, value in named.items() if value}},
    }
