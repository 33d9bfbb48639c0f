"""Why a request was answered as it was, in sentences. Pure."""

from collections.abc import Iterable, Sequence

from hilum.audit.models import (
    EXPLAIN_EVENTS_BOUND,
    Access,
    EventQuery,
    Explanation,
    Outcome,
    RecordedEvent,
)
from hilum.kernel.decision import Reason

MEANING = {
    Reason.TOKEN_MISSING: "No access token was sent.",
    Reason.REQUEST_UNSUPPORTED: "The request is malformed, or of a kind that is not offered here.",
    Reason.SNAPSHOT_STALE: "The worker could not confirm its rules in time, so it let nothing through.",
    Reason.TOKEN_INVALID: "The access token was not issued here, or it has expired.",
    Reason.PROOF_INVALID: "The access token is bound to a key, and the request did not prove that key.",
    Reason.TOKEN_REVOKED: "The access token was revoked.",
    Reason.SWITCH_ENGAGED: "A kill switch stops this. Platform operations know why.",
    Reason.TENANT_MISMATCH: "The access token belongs to another hospital.",
    Reason.APP_NOT_CERTIFIED: "The app's version is not certified now. The platform's reviewers decide on that.",
    Reason.APP_NOT_INSTALLED: "The app is not installed at this hospital. Its administrator decides on that.",
    Reason.ROLE_NOT_ALLOWED: "The app is not installed for this role. The hospital's administrator decides on that.",
    Reason.WORKFLOW_NOT_APPROVED: "The workflow behind the scopes is not approved here.",
    Reason.SCOPE_RETIRED: "The scope has been retired.",
    Reason.SCOPE_INSUFFICIENT: "No scope that was granted permits this, or the person's own rights do not.",
    Reason.LAUNCH_ENDED: "The EHR session that opened the app has ended.",
    Reason.CONTEXT_MOVED: "The chart has moved to another patient since the app was opened.",
    Reason.OUTSIDE_LAUNCH_CONTEXT: "The resource belongs to another patient than the one in context.",
    Reason.AUTHORIZATION_EXPIRED: "The agreement behind the token has expired.",
    Reason.CONSENT_DENIED: "The agreement behind the token was withdrawn, or never given.",
    Reason.LABEL_WITHHELD: "A label on the record withholds it.",
    Reason.TOO_COSTLY: "The request would cost too much; a cheaper form is named in the answer.",
    Reason.QUOTA_EXCEEDED: "The app has used up its quota at this hospital for now.",
    Reason.CONCURRENCY_EXCEEDED: "The app has too many requests open at this hospital.",
    Reason.UPSTREAM_UNAVAILABLE: "The hospital's FHIR server did not answer.",
    Reason.RESPONSE_UNJUDGEABLE: "The hospital's FHIR server answered something that cannot be judged.",
    Reason.AUDIT_UNAVAILABLE: "The access could not be recorded, so nothing was let through.",
}
_BY_REASON = {
    Reason.SWITCH_ENGAGED: "controls.switch",
    Reason.APP_NOT_CERTIFIED: "registry",
    Reason.APP_NOT_INSTALLED: "registry.installation",
    Reason.ROLE_NOT_ALLOWED: "registry.installation",
    Reason.TOKEN_REVOKED: "tokens",
}


def queries(accesses: Sequence[Access]) -> list[EventQuery]:
    """List what to look up beside the accesses: what the app, its installation, the agreement and the launch went through."""
    if not accesses:
        return []
    first, most = accesses[0], EXPLAIN_EVENTS_BOUND
    found: list[EventQuery] = []
    if first.app:
        found += [EventQuery(app=first.app, action="registry.certification", limit=most)]
        found += [EventQuery(app=first.app, tenant=first.tenant, action="registry.installation", limit=most)]
    if first.authorization:
        found += [EventQuery(authorization=first.authorization, action="consent", limit=most)]
        found += [
            EventQuery(authorization=first.authorization, action=kind, limit=most)
            for kind in ("tokens.family", "tokens.authorization", "tokens.refresh")
        ]
    if first.launch:
        found += [EventQuery(launch=first.launch, action="launches", limit=most)]
    prefix = _BY_REASON.get(Reason(first.reason)) if first.reason in _REASONS else None
    if prefix == "controls.switch":
        found += [EventQuery(action=prefix, limit=most)]
    elif prefix is not None and first.app:
        found += [EventQuery(app=first.app, action=prefix, limit=most)]
    return found


_REASONS = frozenset(Reason)


def explain(request_id: str, accesses: Sequence[Access], events: Iterable[RecordedEvent]) -> Explanation:
    """Join accesses and events into an explanation, events in the order in which they happened."""
    unique = {(event.writer, event.seq): event for event in events}
    ordered = sorted(unique.values(), key=lambda event: (event.at, event.writer, event.seq))
    kept = tuple(ordered[-EXPLAIN_EVENTS_BOUND:])
    sentences = [sentence for access in accesses for sentence in _of_access(access)]
    decided_at = accesses[0].at if accesses else None
    for event in kept:
        later = decided_at is not None and event.at > decided_at
        sentences.append(_of_event(event, later=later))
    return Explanation(request_id, tuple(accesses), kept, tuple(sentences))


def _of_access(access: Access) -> list[str]:
    what = f"{access.interaction} {access.resource_type}".strip() or "the request"
    told = "was answered" if access.outcome is Outcome.DONE else "was refused"
    many = f" ({access.count} times)" if access.count > 1 else ""
    named = f"Decision {access.decision}: " if access.decision != access.request_id else ""
    sentences = [
        f"{named}On {access.at:%Y-%m-%d at %H:%M:%S} UTC, {what} at {access.tenant} {told} with {access.status}{many}."
    ]
    if access.reason:
        meaning = MEANING[Reason(access.reason)] if access.reason in _REASONS else ""
        sentences.append(f"Reason: {access.reason}. {meaning}".strip())
    if access.detail:
        sentences.append(access.detail)
    if access.rule:
        decided = "It was permitted by" if access.outcome is Outcome.DONE else "What decided was"
        sentences.append(f"{decided} {access.rule}.")
    if access.client:
        sentences.append(_who(access))
    if access.removed:
        sentences.append(
            f"{access.removed} resources were left out of the answer, since the grant does not reach them."
        )
    return sentences


def _who(access: Access) -> str:
    parts = [f"It was asked by app {access.app}, client {access.client}"]
    if access.person:
        role = f" ({access.role})" if access.role else ""
        parts.append(f"for person {access.person}{role}")
    if access.launch:
        parts.append(f"in launch {access.launch}")
    if access.authorization:
        parts.append(f"under authorization {access.authorization}")
    return ", ".join(parts) + "."


def _of_event(event: RecordedEvent, *, later: bool) -> str:
    told = event.event
    done = "" if told.outcome is Outcome.DONE else " was refused"
    because = f" ({told.reason})" if told.reason else ""
    after = ", after this request" if later else ""
    return f"On {event.at:%Y-%m-%d at %H:%M:%S} UTC{after}, {told.action}{done} by {event.actor}{because}."
