"""Decide on submissions: certify or reject."""

from dataclasses import replace
from datetime import datetime

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import AppState, Certification, CertifyOrder
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import SWITCHES, Subject
from hilum.controls.switches.policy import launches_stopped
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import current_facts
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Invalid
from hilum.policy.matrix import service as policies
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.review.certification_runs import service as evidence
from hilum.review.certification_runs.models import RunSummary
from hilum.review.submissions import checking, checks, disciplines, moves, news, policy, store, timekeeping
from hilum.review.submissions.content import unproved_of
from hilum.review.submissions.models import Act, DecideOrder, State, Submission, SubmissionView
from hilum.review.submissions.scorecards import shipped_scorecards

_OBSTACLES = {
    "app_changed_hands": "The app belongs to another vendor now, whose members submit it again.",
    "not_as_submitted": "The stored submission is not what was submitted. The vendor submits it again; inform the platform's security officers.",
    "checks_missing": "The submission has not been checked. Have it checked: `hilum review rerun`.",
    "checks_not_passed": "Some checks did not pass (`hilum review checks`). The vendor fixes them and has them run again.",
    "checks_old": "The checks are older than a week. Have them run again: `hilum review rerun`.",
    "checks_not_as_stored": "A replay of the checks gives another result than the stored one. Have it checked again, and inform the platform's security officers.",
    "policy_changed": "The policy in force has changed since the checks. Have it checked again: `hilum review rerun`.",
    "exception_over": "A requirement that was waived for the app when it was checked applies again. Have it checked again: `hilum review rerun`.",
    "tier_changed": "A reviewer raised its tier, or ended a raise, since it was checked. Have it checked again: `hilum review rerun`.",
    "disciplines_not_passed": "A discipline has not passed (`hilum review disciplines`). Its reviewer judges it, or the submission is rejected.",
    "findings_open": "A critical or high finding is open (`hilum review disciplines`). The vendor fixes it, and its reviewer resolves it.",
    "verdicts_not_as_recorded": "A verdict is not as the audit recorded it. Inform the platform's security officers, and have it checked again, which opens that discipline: `hilum review rerun`.",
    "signer_not_apart": "The reviewer of a passed discipline has a conflict of interest with the vendor now, or passed another discipline at the high tier. Have it checked again, which opens that discipline: `hilum review rerun`.",
    "signer_not_entitled": "The reviewer of a passed discipline is not active any more, or no longer signs for it. Have it checked again, which opens that discipline: `hilum review rerun`.",
    "acted_before": "You rejected this before, and its vendor appealed: a colleague decides.",
    "evidence_old": "The run in the sandbox is older than 90 days. The vendor makes another one, and the checks run again.",
    "evidence_expired": "A document has expired. The vendor submits again with a valid one; meanwhile the checks run again by themselves.",
    "records_changed": "Records of the app were edited since it was submitted. The vendor takes that back, or submits again.",
    "app_suspended": "The app is suspended, and certifying it does not resume it. Certify it all the same only if you mean to: `--despite app_suspended`.",
    "app_stopped": "A kill switch stops the app, and certifying it does not release it. Certify it all the same only if you mean to: `--despite app_stopped`.",
}
"""Why a submission cannot be certified, in words. A command is in backticks, and the sentence is whole without it."""


def decide(ctx: Context, order: DecideOrder) -> SubmissionView:
    """Certify or reject a submission, with a reason; for reviewers, once its checks and disciplines have passed.

    Raises NotFound, NotPermitted (right, own submission, an obstacle), Invalid, Conflict.
    """
    found = moves.visible(ctx, order.submission, lock=True)
    event = Event(
        "review.submission.decide",
        app=found.app,
        facts={"submission": found.id, "certify": order.certify},
    )
    if fault := policy.judging_bar(disciplines.signer_of(ctx, found)):
        raise disciplines.refused(ctx, event, fault)
    steps = store.list_steps(ctx.tx, found.id)
    # After an appeal a submission is in its disciplines again, and whoever rejected it may not decide it.
    rejected_by = {each.actor for each in steps if each.after is State.REJECTED}
    if found.state is State.IN_REVIEW and str(ctx.actor) in rejected_by:
        raise audit.refusal(ctx, replace(event, reason="acted_before"), _OBSTACLES["acted_before"])
    moves.require_revision(found, order.revision)
    moves.require_possible(found, Act.CERTIFY if order.certify else Act.REJECT)
    reasons = order.reasons or (() if order.certify else disciplines.reasons_of(ctx, found))
    faults = policy.decision_faults(order, reasons, shipped_scorecards().every_reason)
    if faults:
        raise Invalid("decision_invalid", "The decision is invalid; see fields.", fields=faults)
    if not order.certify:
        moves.move(ctx, replace(found, reasons=reasons), Act.REJECT, order.reason.strip())
        timekeeping.measure_appeal(ctx, steps, upheld=True)
        news.notify_vendor(ctx, found, "rejected", "decided")
        return moves.view_of(ctx, found.id)
    stop = stop_of(ctx, found)
    if why_not := _obstacle(ctx, found) or (stop if stop != order.despite else ""):
        raise audit.refusal(ctx, replace(event, reason=why_not), _OBSTACLES[why_not])
    assert order.expires_at is not None, "judged above"
    seen = checking.run_seen(store.find_run(ctx.tx, found.id))
    certification = certify_submitted(ctx, found, order.expires_at, seen)
    certified = replace(found, certification=certification.id)
    moves.move(ctx, certified, Act.CERTIFY, order.reason.strip(), despite=stop)
    timekeeping.measure_appeal(ctx, steps, upheld=False)
    news.notify_vendor(ctx, found, "certified", "decided")
    return moves.view_of(ctx, found.id)


def certify_submitted(
    ctx: Context, found: Submission, expires_at: datetime, seen: RunSummary | None
) -> Certification:
    """Certify what was submitted, with the contract of the run that was examined. Raises as ``registry.certify``."""
    scopes = tuple(each.scope for each in found.order.scopes)
    justified = [each.scope for each in found.order.scopes if each.justification.strip()]
    order = CertifyOrder(found.version, found.environment, scopes, expires_at, found.id)
    app = registry.get_app(ctx, found.app)
    made = registry.certify(
        ctx, order, unproved=lambda *_: unproved_of(ctx, app), justified=lambda *_: justified
    )
    evidence.keep_contract(ctx, made, found.digest, seen)
    return made


def view_obstacles(ctx: Context, submission_id: str) -> tuple[str, str]:
    """Return the sentence that explains why a submission cannot be certified now, for a page, and what stops its app; empty if nothing does. Raises NotFound."""
    found = moves.visible(ctx, submission_id)
    return policy.without_command(_OBSTACLES.get(_obstacle(ctx, found), "")), stop_of(ctx, found)


def stop_of(ctx: Context, found: Submission) -> str:
    """Return whether the app of a submission is suspended, or stopped wherever it is used; empty if neither."""
    app = registry.get_app(ctx, found.app)
    if app.state is AppState.SUSPENDED:
        return "app_suspended"
    subject = Subject(app.tenant or "", app.vendor, app.id, found.version)
    stopped = launches_stopped(current_facts(ctx, SWITCHES, controls.switch_facts), subject, ctx.now)
    return "app_stopped" if stopped is not None else ""


def checks_obstacle(ctx: Context, found: Submission) -> str:
    """Return why a submission's checks block certification now; empty if they do not."""
    run = store.find_run(ctx.tx, found.id)
    why_not = checks.obstacle(
        checks.Readiness(
            run,
            replays=run is not None
            and checking.is_run_recorded(ctx, found, run)
            and checking.replay(ctx, found.id, run.number).same,
            records=checking.records_now(ctx, found),
            policy_version=policies.in_force(ctx.as_actor(SYSTEM)).everywhere,
            is_owner=registry.get_app(ctx, found.app).vendor == found.vendor,
            as_submitted=checking.is_as_submitted(ctx, found),
            evidence_at=checking.evidence_at(run),
        ),
        found.content,
        now=ctx.now,
    )
    if why_not or run is None:
        return why_not
    if not {*checking.read_inputs(run.inputs).waived} <= {*policies.waived_for(ctx, found.app)}:
        return "exception_over"
    return "" if checking.route_now(ctx, found, run) == run.judgement.route else "tier_changed"


def _obstacle(ctx: Context, found: Submission) -> str:
    """Return why a submission cannot be certified now; empty if it can."""
    why_not, run = checks_obstacle(ctx, found), store.find_run(ctx.tx, found.id)
    if why_not or run is None:
        return why_not
    return disciplines.obstacle(ctx, found, run.judgement.route, checking.digest_seen(run))
