"""Who sees and answers deletion requests, and which certification ended last. Pure."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.apps.deletion_requests.models import (
    REASON_BOUND,
    Answer,
    DeletionRequest,
    DeletionRequestQuery,
    State,
)
from hilum.apps.registry.models import Certification, Environment
from hilum.apps.registry.policy import last_use
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.limits import too_long
from hilum.identity.people.models import VendorRight
from hilum.identity.people.policy import is_member, may_administer, may_as_member

_READERS = frozenset({"platform_admin", "security", "auditor", "reviewer"})


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


def answer_faults(answer: Answer, reason: str) -> dict[str, str]:
    """Return the faults of an answer, by field. What is kept is kept for a reason."""
    if answer is State.DELETED:
        return {"reason": "field_unknown"} if reason else {}
    if not reason:
        return {"reason": "missing"}
    return {"reason": too_long(REASON_BOUND)} if len(reason) > REASON_BOUND else {}


def may_read(actor: Actor, deletion_request: DeletionRequest) -> bool:
    """Check whether an actor may see a request: the staff, the hospital that it is about, and members of the vendor."""
    if is_member(actor, deletion_request.vendor) or _reads_all(actor):
        return True
    return bool(deletion_request.tenant) and _administers(actor, deletion_request.tenant)


def query_for(actor: Actor, query: DeletionRequestQuery) -> DeletionRequestQuery | None:
    """Return the query narrowed to what the actor may see; None if they may see nothing of it."""
    if _reads_all(actor):
        return query
    if actor.kind is ActorKind.MEMBER and actor.vendor is not None and is_member(actor, actor.vendor):
        if query.vendor not in {None, actor.vendor}:
            return None
        return replace(query, vendor=actor.vendor)
    own = actor.tenant
    if own is None or not _administers(actor, own) or query.tenant not in {None, own}:
        return None
    return replace(query, tenant=own)


def _reads_all(actor: Actor) -> bool:
    return actor.acts_alone or (actor.kind is ActorKind.STAFF and not _READERS.isdisjoint(actor.roles))


def _administers(actor: Actor, tenant: TenantId) -> bool:
    return actor.kind is ActorKind.PERSON and may_administer(actor, tenant)


def may_answer(actor: Actor, deletion_request: DeletionRequest) -> bool:
    """Check whether an actor may answer: a member of the vendor who signs for it. Neither the hospital nor the staff answers in its place."""
    return may_as_member(actor, deletion_request.vendor, VendorRight.PROFILE)
