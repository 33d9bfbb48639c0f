"""Appeals against rejections, one for each, decided by reviewers who had no part in it (C107, C222)."""

from dataclasses import replace

from hilum.apps.registry import service as registry
from hilum.apps.registry.policy import reason_fault
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.submissions import clock_store, lens_store, lenses, moves, policy, store, timekeeping
from hilum.review.submissions.clock_models import Appeal, AppealState, MeasureKind
from hilum.review.submissions.models import (
    APPEAL_WITHIN,
    Act,
    LensState,
    State,
    Submission,
)
from hilum.review.submissions.policy import appeal_bar

_WHY_NOT = {
    "not_rejected": "Only a rejection can be appealed.",
    "appeal_made": "This rejection already has an appeal. Submit the version again instead.",
    "appeal_late": "A rejection can be appealed within 30 days. Submit the version again instead.",
}


def appeal(ctx: Context, submission_id: str, text: str) -> Appeal:
    """Appeal against a rejection, once, as its vendor. Raises NotFound, NotPermitted, Invalid, Conflict."""
    found = moves.visible(ctx, submission_id, lock=True)
    event = Event("review.appeal.make", app=found.app, facts={"submission": found.id})
    if not policy.may_submit(ctx.actor, found.vendor):
        raise audit.refusal(ctx, event)
    if fault := reason_fault(text):
        raise Invalid(
            "appeal_invalid", "State why the rejection is wrong; see fields.", fields={"text": fault}
        )
    closed = found.closed_at
    if found.state is not State.REJECTED or closed is None:
        raise Conflict("not_rejected", _WHY_NOT["not_rejected"])
    if ctx.now >= closed + APPEAL_WITHIN:
        raise Conflict("appeal_late", _WHY_NOT["appeal_late"])
    made = Appeal(found.id, text.strip(), str(ctx.actor), ctx.now)
    if not clock_store.add_appeal(ctx.tx, made):
        raise Conflict("appeal_made", _WHY_NOT["appeal_made"])
    audit.record(ctx, replace(event, facts=event.facts | {"text": made.text}))
    return made


def decide_appeal(ctx: Context, submission_id: str, reason: str, *, overturn: bool) -> Appeal:
    """Decide an appeal as a reviewer who had no part in the rejection. Overturned, the lenses that failed are judged again by others.

    Raises NotFound, NotPermitted, Invalid, Conflict.
    """
    found = moves.visible(ctx, submission_id, lock=True)
    made = clock_store.find_appeal(ctx.tx, found.id)
    event = Event("review.appeal.decide", app=found.app, facts={"submission": found.id, "overturn": overturn})
    signer = lenses.signer_of(ctx, found)
    if fault := appeal_bar(signer, acted=str(ctx.actor) in lenses.who_acted(ctx, found)):
        raise lenses.refused(ctx, event, fault)
    if made is None:
        raise NotFound("appeal_not_found", "There is no appeal against a rejection of this submission.")
    if fault := reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    after = replace(
        made,
        state=AppealState.OVERTURNED if overturn else AppealState.UPHELD,
        decided_by=str(ctx.actor),
        decided_at=ctx.now,
        reason=reason.strip(),
    )
    if overturn and made.state is AppealState.OPEN:
        _require_reopenable(ctx, found)
    if not clock_store.save_appeal_decided(ctx.tx, after):
        raise Conflict("appeal_over", "This appeal has already been decided.")
    audit.record(ctx, replace(event, facts=event.facts | {"reason": after.reason}))
    timekeeping.measure_outcome(ctx, MeasureKind.APPEAL, "", good=not overturn)
    if overturn:
        moves.move(ctx, replace(found, reasons=()), Act.OVERTURN, after.reason)
        for each in lens_store.lenses_of(ctx.tx, found.id):
            if each.state is LensState.FAILED:
                lenses.open_again(ctx, each, after.reason)
    return after


def _require_reopenable(ctx: Context, found: Submission) -> None:
    if registry.get_app(ctx, found.app).vendor != found.vendor:
        raise Conflict("app_changed_hands", "The app belongs to another vendor now, whose members submit it.")
    if store.find_open(ctx.tx, found.version, found.environment) is not None:
        detail = "The version was submitted again. Its vendor must withdraw the new submission first."
        raise Conflict("submission_open", detail)


def view_appeal(ctx: Context, submission_id: str) -> Appeal:
    """Get the appeal against the rejection of a submission. Raises NotFound."""
    found = moves.visible(ctx, submission_id)
    made = clock_store.find_appeal(ctx.tx, found.id)
    if made is None:
        raise NotFound("appeal_not_found", "There is no appeal against a rejection of this submission.")
    return replace(made, decided_by=policy.seen_by(ctx.actor, made.decided_by))


def list_appeals(
    ctx: Context, page: PageQuery = FIRST_PAGE, state: AppealState | None = None
) -> list[Appeal]:
    """List appeals, for the platform's staff. Raises NotPermitted."""
    if not ctx.actor.is_platform:
        raise not_shown("appeals", Readers.STAFF)
    return clock_store.list_appeals(ctx.tx, page, state)
