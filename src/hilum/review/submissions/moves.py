"""Shared by several verbs: who sees a submission, and how its state changes."""

from dataclasses import replace
from typing import Any

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.submissions import policy, store, timekeeping
from hilum.review.submissions.models import Act, State, Step, Submission, SubmissionView

ACTIONS = {
    Act.SUBMIT: "review.submission.submit",
    Act.CHECK: "review.submission.check",
    Act.PASS_ON: "review.submission.pass_on",
    Act.RERUN: "review.submission.rerun",
    Act.CERTIFY: "review.submission.certify",
    Act.REJECT: "review.submission.reject",
    Act.APPEAL: "review.submission.appeal",
    Act.WITHDRAW: "review.submission.withdraw",
}
CHANGED = "This submission has changed since you read it. Read it again, and repeat your action."


def visible(ctx: Context, submission_id: str, *, lock: bool = False) -> Submission:
    """Get a submission that the actor may see. Raises NotFound."""
    found = store.get_submission(ctx.tx, submission_id, lock=lock)
    if not policy.may_see(ctx.actor, found.vendor):
        raise store.no_such_submission()
    return found


def view_of(ctx: Context, submission_id: str) -> SubmissionView:
    """Return a submission with its history; not for drafts."""
    found = store.get_submission(ctx.tx, submission_id)
    return SubmissionView(found, steps_of(ctx, found.id), {})


def steps_of(ctx: Context, submission_id: str) -> tuple[Step, ...]:
    """Return the history of a submission, as the actor sees it."""
    steps = store.list_steps(ctx.tx, submission_id)
    return tuple(replace(each, actor=policy.seen_by(ctx.actor, each.actor)) for each in steps)


def require_revision(found: Submission, revision: int) -> None:
    """Check that a submission is at the revision that was read. Raises Conflict."""
    if found.revision != revision:
        raise Conflict("changed_since_read", CHANGED)


def require_possible(found: Submission, act: Act) -> State:
    """Return the state to which an act leads. Raises Conflict."""
    after = policy.next_state(found.state, act)
    if after is None:
        detail = f"The submission is {found.state.value}; {act.value} is not possible then."
        raise Conflict("transition_refused", detail)
    return after


def move(ctx: Context, found: Submission, act: Act, reason: str = "", *, despite: str = "") -> Submission:
    """Change the state of a submission that was read at its revision, and record who did it, why, and despite which stop. Raises Conflict."""
    state = require_possible(found, act)
    after = replace(
        found,
        state=state,
        changed_at=ctx.now,
        revision=found.revision + 1,
        closed_at=ctx.now if policy.is_final(state) else None,
    )
    if not store.save_submission(ctx.tx, after, revision=found.revision):
        raise Conflict("changed_since_read", CHANGED)
    number = len(store.list_steps(ctx.tx, found.id)) + 1
    store.add_step(ctx.tx, Step(found.id, number, found.state, state, str(ctx.actor), ctx.now, reason))
    facts: dict[str, Any] = {
        "submission": found.id,
        "version": found.version,
        "environment": found.environment.value,
        "from": found.state.value,
        "to": state.value,
        "digest": after.digest,
        "policy_version": after.policy_version,
    }
    if after.reasons:
        facts["reasons"] = list(after.reasons)
    if after.certification:
        facts["certification"] = after.certification
    if reason:
        facts["reason"] = reason
    if despite:
        facts["despite"] = despite
    audit.record(ctx, Event(ACTIONS[act], app=found.app, facts=facts))
    timekeeping.follow(ctx, after)
    return after
