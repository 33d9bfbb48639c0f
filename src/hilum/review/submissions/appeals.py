"""Appeals against rejections: one for each, after which reviewers who had no part in it judge what failed (C107, C222)."""

from dataclasses import replace

from hilum.apps.registry import service as registry
from hilum.apps.registry.policy import reason_fault
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.submissions import discipline_store, disciplines, moves, policy, store
from hilum.review.submissions.models import Act, DisciplineState, Submission, SubmissionView

_WHY_NOT = {
    "not_rejected": "Only a rejection can be appealed.",
    "appeal_made": "This rejection was appealed before. Submit the version again instead.",
    "appeal_late": "A rejection can be appealed within 30 days. Submit the version again instead.",
    "app_changed_hands": "The app belongs to another vendor now, whose members submit it.",
    "submission_open": "The version was submitted again. Withdraw the new submission first.",
}


def appeal(ctx: Context, submission_id: str, text: str) -> SubmissionView:
    """Appeal against a rejection, once, as its vendor: the disciplines that failed are open again, for others than those who rejected it.

    Raises NotFound, NotPermitted, Invalid, Conflict.
    """
    found = moves.visible(ctx, submission_id, lock=True)
    event = Event(moves.ACTIONS[Act.APPEAL], app=found.app, facts={"submission": found.id})
    if not policy.may_submit(ctx.actor, found.vendor):
        raise audit.refusal(ctx, event)
    if fault := reason_fault(text):
        raise Invalid(
            "appeal_invalid", "State why the rejection is wrong; see fields.", fields={"text": fault}
        )
    if code := policy.appeal_bar(found, store.list_steps(ctx.tx, found.id), ctx.now) or _overtaken(
        ctx, found
    ):
        raise Conflict(code, _WHY_NOT[code])
    moves.move(ctx, replace(found, reasons=()), Act.APPEAL, text.strip())
    for each in discipline_store.disciplines_of(ctx.tx, found.id):
        if each.state is DisciplineState.FAILED:
            disciplines.open_again(ctx, each, text.strip())
    return moves.view_of(ctx, found.id)


def _overtaken(ctx: Context, found: Submission) -> str:
    """Return what happened since a rejection that leaves nothing to judge again; empty if nothing did."""
    if registry.get_app(ctx, found.app).vendor != found.vendor:
        return "app_changed_hands"
    return "" if store.find_open(ctx.tx, found.version, found.environment) is None else "submission_open"
