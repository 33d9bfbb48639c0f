"""Disciplines of a submission: open them after its checks, take and judge one, answer and resolve findings (C100 to C107)."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import orjson

from hilum.apps.registry.policy import reason_fault
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted, Readers, not_shown
from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.kernel.limits import too_many
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix.models import Discipline, Tier
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, EventQuery
from hilum.review.submissions import (
    clock_store,
    conflicts,
    discipline_store,
    moves,
    news,
    policy,
    reviewers,
    store,
    timekeeping,
)
from hilum.review.submissions.clock_models import Clock
from hilum.review.submissions.models import (
    FINDINGS_OF_ONE,
    VERDICT_KEPT,
    DisciplineQuery,
    DisciplineReview,
    DisciplineState,
    DisciplineStep,
    DisciplinesView,
    Finding,
    FindingState,
    JudgeOrder,
    Route,
    State,
    Submission,
    Verdict,
)
from hilum.review.submissions.scorecards import inputs_digest, shipped_scorecards

JUDGE = "review.discipline.judge"
_DETAILS = {
    "own_submission": "You wrote or submitted this yourself, so a colleague must judge it.",
    "conflict_of_interest": "You have a conflict of interest with this vendor, so a colleague must judge its submissions (`hilum conflict-of-interest list`).",
    "discipline_not_yours": "You do not sign for this discipline. Two administrators decide who does: `hilum review rights`.",
    "acted_before": "You judged this before, and its vendor appealed: a colleague judges it.",
    "signs_another_discipline": "You have another discipline of this submission, and at its tier nobody may sign two. A colleague takes this one.",
    "not_taken_by_you": "Take this discipline first: `hilum review take`. If a colleague has it, ask them to give it back.",
}
"""Sentences for why an actor may not act on a discipline."""
_UNDONE = {
    "verdicts_not_as_recorded": "Its verdict is not as the audit recorded it, or of other inputs.",
    "signer_not_entitled": "Its reviewer is not active any more, or no longer signs for this discipline.",
    "signer_not_apart": "Its reviewer has a conflict of interest with the vendor now, or passed another discipline at the high tier.",
}
"""Why the verdict of a passed discipline is no longer valid."""
_NOT_TAKEN = {
    DisciplineState.OPEN: "This discipline is open. Take it first: `hilum review take`.",
    DisciplineState.NEEDS_CHANGES: "This discipline waits for the vendor's answer (`hilum review answer`). Then it is yours again.",
    DisciplineState.PASSED: "This discipline has passed already. `hilum review show` says what is possible now.",
    DisciplineState.FAILED: "This discipline has failed already. Reject the submission: `hilum review decide`.",
}
"""What to do about a discipline that no reviewer has."""
_NOT_GIVEN_BACK = "The reviewer who has this discipline gives it back, or an administrator does. `hilum review disciplines` lists who has which."


# --- opening -------------------------------------------------------------------------------------------------------------------


def open_disciplines(ctx: Context, found: Submission, route: Route, seen: str) -> None:
    """Open the disciplines of a route, also again those whose verdict is no longer valid. A verdict on the same inputs is kept.

    ``seen``: the digest of the certification run that the checks used, empty without one: a discipline may judge that too.
    """
    content, cards = orjson.loads(found.content), shipped_scorecards()
    there = {each.discipline: each for each in discipline_store.disciplines_of(ctx.tx, found.id, lock=True)}
    signed: set[str] = {each.reviewer for each in there.values() if each.discipline in route.disciplines}
    for discipline in route.disciplines:
        inputs = inputs_digest(content, cards.of[discipline], route.tier, seen)
        if discipline not in there:
            signed.add(
                _open(ctx, found, discipline, inputs, scorecard=cards.digest, signed=signed, tier=route.tier)
            )
        elif there[discipline].inputs != inputs:
            open_again(
                ctx,
                replace(there[discipline], inputs=inputs),
                "Its tier or its certification run has changed.",
            )
    for each in discipline_store.disciplines_of(ctx.tx, found.id):
        if undone := _undone_by(ctx, found, each, route, seen):
            open_again(ctx, each, _UNDONE[undone])


def _open(
    ctx: Context,
    found: Submission,
    discipline: Discipline,
    inputs: str,
    *,
    scorecard: str,
    signed: Collection[str],
    tier: Tier | None,
) -> str:
    """Open a discipline, or keep an earlier verdict; return who gave that. ``signed``: the reviewers of the other disciplines."""
    opened = DisciplineReview(
        ctx.ids.new("dis"), found.id, found.app, found.environment, discipline, inputs, scorecard, ctx.now
    )
    kept = discipline_store.find_verdict(ctx.tx, opened)
    apart = kept is None or tier not in {None, Tier.HIGH} or kept.reviewer not in signed
    if kept is not None and apart and _stands(ctx, kept, found, scorecard):
        opened = replace(
            opened,
            state=DisciplineState.PASSED,
            reviewer=kept.reviewer,
            judged_at=kept.judged_at,
            answers=kept.answers,
            text=kept.text,
            kept_from=kept.kept_from or kept.submission,
        )
    discipline_store.add_discipline(ctx.tx, opened)
    why = "What it judges has not changed." if opened.kept_from else ""
    discipline_store.add_discipline_step(
        ctx.tx, DisciplineStep(found.id, discipline, 1, None, opened.state, str(ctx.actor), ctx.now, why)
    )
    facts = {"submission": found.id, "discipline": discipline.value, "state": opened.state.value}
    if opened.kept_from:
        facts["kept_from"] = opened.kept_from
    audit.record(ctx, Event("review.discipline.open", app=found.app, facts=facts))
    return opened.reviewer


def open_again(ctx: Context, before: DisciplineReview, reason: str) -> None:
    """Open a judged discipline again."""
    again = replace(
        before,
        scorecard=shipped_scorecards().digest,
        reviewer="",
        taken_at=None,
        judged_at=None,
        answers={},
        flags=(),
        reasons=(),
        text="",
        kept_from="",
    )
    _move(ctx, again, DisciplineState.OPEN, "review.discipline.open", reason)


def pass_by_checks(ctx: Context, before: DisciplineReview, reason: str) -> None:
    """Pass a discipline because every check passed."""
    judged = replace(before, reviewer=str(ctx.actor), judged_at=ctx.now, text=reason)
    _move(ctx, judged, DisciplineState.PASSED, JUDGE, reason)


def _stands(ctx: Context, kept: DisciplineReview, found: Submission, scorecard: str) -> bool:
    """Check whether an earlier verdict on the same inputs is still valid: passed, recent, by the same scorecard, and by a reviewer who may still sign, without a conflict of interest."""
    if kept.state is not DisciplineState.PASSED or kept.scorecard != scorecard or kept.judged_at is None:
        return False
    if ctx.now >= kept.judged_at + VERDICT_KEPT or not is_as_recorded(ctx, kept):
        return False
    entitled = reviewers.may_sign(ctx, kept.reviewer, kept.discipline)
    return entitled and not conflicts.has_declared(ctx, kept.reviewer, found.vendor)


# --- taking and judging ----------------------------------------------------------------------------------------------------------


def take(ctx: Context, submission_id: str, discipline: Discipline, revision: int) -> DisciplineReview:
    """Take a discipline as the reviewer who judges it. Raises NotFound, NotPermitted, Conflict (taken or changed meanwhile, not in the disciplines)."""
    found, mine = _discipline(ctx, submission_id, discipline, revision)
    event = _event("review.discipline.take", found, discipline)
    _require_signer(ctx, found, mine, event)
    if mine.state is not DisciplineState.OPEN:
        raise Conflict(
            "discipline_not_open",
            f"This discipline is {mine.state.value}; only an open discipline can be taken.",
        )
    taken = replace(mine, reviewer=str(ctx.actor), taken_at=ctx.now)
    return _move(ctx, taken, DisciplineState.TAKEN, event.action)


def release(
    ctx: Context, submission_id: str, discipline: Discipline, revision: int, reason: str
) -> DisciplineReview:
    """Give a discipline back, as who took it or as an administrator, with a reason. Raises NotFound, NotPermitted, Invalid, Conflict."""
    found, mine = _discipline(ctx, submission_id, discipline, revision)
    event = _event("review.discipline.release", found, discipline)
    if not (str(ctx.actor) == mine.reviewer or reviewers.may_assign(ctx.actor)):
        raise audit.refusal(ctx, event, _NOT_GIVEN_BACK)
    if fault := reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    if mine.state not in {DisciplineState.TAKEN, DisciplineState.NEEDS_CHANGES}:
        raise Conflict("discipline_not_taken", _NOT_TAKEN[mine.state])
    given = replace(mine, reviewer="", taken_at=None)
    return _move(ctx, given, DisciplineState.OPEN, event.action, reason.strip())


def judge(ctx: Context, order: JudgeOrder) -> DisciplineReview:
    """Record the verdict on a discipline that the actor has taken, with scorecard answers, reason codes and findings.

    Raises NotFound, NotPermitted (see ``policy.signing_bar``), Invalid, Conflict.
    """
    found, mine = _discipline(ctx, order.submission, order.discipline, order.revision)
    event = _event(JUDGE, found, order.discipline)
    _require_taken(ctx, found, mine, event)
    after = policy.next_discipline_state(mine.state, order.verdict)
    if after is None:
        raise Conflict("discipline_not_taken", _NOT_TAKEN[mine.state])
    faults = policy.verdict_faults(order, shipped_scorecards())
    earlier = discipline_store.findings_of(ctx.tx, found.id)
    if order.verdict is Verdict.PASS and any(
        each.blocks for each in earlier if each.discipline is order.discipline
    ):
        faults["verdict"] = "findings_block"
    if len(earlier) + len(order.findings) > FINDINGS_OF_ONE:
        faults["findings"] = too_many(FINDINGS_OF_ONE)
    if faults:
        raise Invalid("verdict_invalid", "The verdict is invalid; see fields.", fields=faults)
    for each in order.findings:
        discipline_store.add_finding(
            ctx.tx,
            Finding(
                id=ctx.ids.new("fnd"),
                submission=found.id,
                discipline=order.discipline,
                found_by=str(ctx.actor),
                found_at=ctx.now,
                **asdict(each),
            ),
        )
    judged = replace(
        mine,
        judged_at=ctx.now,
        answers=dict(order.answers),
        flags=order.flags,
        reasons=order.reasons,
        text=order.text.strip(),
    )
    saved = _move(ctx, judged, after, JUDGE, order.text.strip())
    if order.verdict is Verdict.NEEDS_CHANGES:
        news.notify_vendor(
            ctx, found, "needs_changes", f"{saved.id}/{saved.revision}", discipline=order.discipline
        )
    return saved


def answer(
    ctx: Context, submission_id: str, discipline: Discipline, revision: int, text: str
) -> DisciplineReview:
    """Answer a discipline's findings, as the vendor; the reviewer looks again. Raises NotFound, NotPermitted, Invalid, Conflict."""
    found, mine = _discipline(ctx, submission_id, discipline, revision)
    event = _event("review.discipline.answer", found, discipline)
    if not policy.may_submit(ctx.actor, found.vendor):
        raise audit.refusal(ctx, event)
    if fault := reason_fault(text):
        raise Invalid("answer_invalid", "An answer is required; see fields.", fields={"text": fault})
    if mine.state is not DisciplineState.NEEDS_CHANGES:
        raise Conflict(
            "discipline_waits_for_nobody", "This discipline does not wait for an answer of the vendor."
        )
    for each in discipline_store.findings_of(ctx.tx, found.id):
        if each.discipline is discipline and each.state is FindingState.OPEN:
            discipline_store.save_finding(
                ctx.tx, replace(each, state=FindingState.ANSWERED), before=each.state
            )
    answered = _move(ctx, mine, DisciplineState.TAKEN, event.action, text.strip())
    return replace(answered, reviewer=policy.seen_by(ctx.actor, answered.reviewer))


def resolve(ctx: Context, finding_id: str, note: str) -> Finding:
    """Record that a finding is fixed, as the reviewer of its discipline. Raises NotFound, NotPermitted, Invalid, Conflict."""
    finding = discipline_store.get_finding(ctx.tx, finding_id)
    try:
        found = moves.visible(ctx, finding.submission, lock=True)
    except NotFound:
        raise discipline_store.no_such_finding() from None
    mine = _of(discipline_store.disciplines_of(ctx.tx, found.id, lock=True), finding.discipline)
    facts = {"submission": found.id, "finding": finding.id, "discipline": finding.discipline.value}
    event = Event("review.finding.resolve", app=found.app, facts=facts)
    _require_taken(ctx, found, mine, event)
    if mine.state is not DisciplineState.TAKEN:
        raise audit.refusal(ctx, replace(event, reason="not_taken_by_you"), _NOT_TAKEN[mine.state])
    if fault := reason_fault(note):
        raise Invalid("reason_invalid", "A note is required; see fields.", fields={"note": fault})
    after = replace(
        finding,
        state=FindingState.RESOLVED,
        note=note.strip(),
        resolved_by=str(ctx.actor),
        resolved_at=ctx.now,
    )
    done = finding.state is FindingState.RESOLVED
    if done or not discipline_store.save_finding(ctx.tx, after, before=finding.state):
        raise Conflict("finding_resolved", "This finding has already been resolved.")
    audit.record(ctx, replace(event, facts=facts | {"note": after.note}))
    return after


def _discipline(
    ctx: Context, submission_id: str, discipline: Discipline, revision: int
) -> tuple[Submission, DisciplineReview]:
    """Return a submission that is in its disciplines, locked, with one of them at a revision. Raises NotFound, Conflict."""
    found = moves.visible(ctx, submission_id, lock=True)
    mine = _of(discipline_store.disciplines_of(ctx.tx, found.id, lock=True), discipline)
    if found.state is not State.IN_REVIEW:
        checked = found.state in {State.SUBMITTED, State.CHECKING}
        then = " Its checks take about a minute; try again then." if checked else ""
        said = f"The submission is {found.state.value}, and not in its disciplines.{then}"
        raise Conflict("transition_refused", said)
    if mine.revision != revision:
        raise Conflict("changed_since_read", moves.CHANGED)
    return found, mine


def _of(disciplines: list[DisciplineReview], discipline: Discipline) -> DisciplineReview:
    for each in disciplines:
        if each.discipline is discipline:
            return each
    raise NotFound(
        "discipline_not_found",
        "This submission has no such discipline; `hilum review disciplines` lists those it has.",
    )


def _event(action: str, found: Submission, discipline: Discipline) -> Event:
    return Event(action, app=found.app, facts={"submission": found.id, "discipline": discipline.value})


def signer_of(ctx: Context, found: Submission) -> policy.Signer:
    """Return the inputs that decide whether the actor may judge a submission."""
    decides = policy.may_decide(ctx.actor)
    mine = reviewers.disciplines_of(ctx, PersonId(ctx.actor.id)) if decides else ()
    steps = store.list_steps(ctx.tx, found.id)
    written = {State.DRAFT, State.SUBMITTED}
    writers = {found.created_by, *(each.actor for each in steps if each.after in written)}
    return policy.Signer(
        str(ctx.actor),
        decides,
        mine,
        conflicts.conflicts_to(ctx, found.vendor) if decides else (),
        str(ctx.actor) in writers,
    )


def _who_rejected(ctx: Context, found: Submission, discipline: Discipline) -> set[str]:
    """Return who let a discipline fail, or rejected the submission."""
    steps = discipline_store.discipline_steps_of(ctx.tx, found.id, discipline)
    failed = {each.actor for each in steps if each.after is DisciplineState.FAILED}
    return failed | {
        each.actor for each in store.list_steps(ctx.tx, found.id) if each.after is State.REJECTED
    }


def _bar(ctx: Context, found: Submission, mine: DisciplineReview) -> str:
    """Return why the actor may not judge a discipline; empty if they may."""
    run = store.find_run(ctx.tx, found.id)
    tier = None if run is None else run.judgement.route.tier
    others = [
        each
        for each in discipline_store.disciplines_of(ctx.tx, found.id)
        if each.discipline is not mine.discipline
    ]
    signer = signer_of(ctx, found)
    reopened = policy.is_reopened(store.list_steps(ctx.tx, found.id))
    acted = reopened and signer.reviewer in _who_rejected(ctx, found, mine.discipline)
    return policy.signing_bar(replace(signer, acted=acted), mine.discipline, others, tier)


def _require_signer(ctx: Context, found: Submission, mine: DisciplineReview, event: Event) -> None:
    if fault := _bar(ctx, found, mine):
        raise refused(ctx, event, fault)


def _require_taken(ctx: Context, found: Submission, mine: DisciplineReview, event: Event) -> None:
    """Check that the actor may judge a discipline and has taken it. Raises NotPermitted."""
    _require_signer(ctx, found, mine, event)
    if mine.reviewer != str(ctx.actor):
        raise audit.refusal(ctx, replace(event, reason="not_taken_by_you"), _DETAILS["not_taken_by_you"])


def refused(ctx: Context, event: Event, fault: str) -> NotPermitted:
    """Record and return the refusal of somebody who may not judge."""
    if fault == "not_permitted":
        return audit.refusal(ctx, event)
    return audit.refusal(ctx, replace(event, reason=fault), _DETAILS[fault])


def _move(
    ctx: Context, after: DisciplineReview, state: DisciplineState, action: str, reason: str = ""
) -> DisciplineReview:
    """Save a discipline that was read at its revision in another state, with the step and the event. Raises Conflict."""
    before = _of(discipline_store.disciplines_of(ctx.tx, after.submission), after.discipline)
    saved = replace(after, state=state, revision=after.revision + 1)
    if not discipline_store.save_discipline(ctx.tx, saved, revision=after.revision):
        raise Conflict("changed_since_read", moves.CHANGED)
    number = len(discipline_store.discipline_steps_of(ctx.tx, saved.submission, saved.discipline)) + 1
    step = DisciplineStep(
        saved.submission, saved.discipline, number, before.state, state, str(ctx.actor), ctx.now, reason
    )
    discipline_store.add_discipline_step(ctx.tx, step)
    facts: dict[str, Any] = {
        "submission": saved.submission,
        "discipline": saved.discipline.value,
        "from": before.state.value,
        "to": state.value,
    }
    if action == JUDGE:
        facts |= {"digest": verdict_digest(saved), "reasons": list(saved.reasons)}
    if reason:
        facts["reason"] = reason
    audit.record(ctx, Event(action, app=saved.app, facts=facts))
    found = store.get_submission(ctx.tx, saved.submission)
    timekeeping.follow(ctx, found)
    if action == JUDGE:
        timekeeping.measure_discipline(ctx, saved)
    return saved


# --- what is recorded, and what is left ------------------------------------------------------------------------------------------


def verdict_digest(given: DisciplineReview) -> str:
    """Return the digest of a verdict, as in the audit."""
    kept: Mapping[str, Any] = {
        "submission": given.kept_from or given.submission,
        "discipline": given.discipline,
        "state": given.state,
        "reviewer": given.reviewer,
        "inputs": given.inputs,
        "scorecard": given.scorecard,
        "answers": dict(given.answers),
        "flags": list(given.flags),
        "text": given.text,
    }
    return policy.digest_of(policy.canonical(kept))


def is_as_recorded(ctx: Context, given: DisciplineReview) -> bool:
    """Check whether this is the last verdict on the discipline that the audit recorded."""
    query = EventQuery(action=JUDGE, app=given.app, since=given.judged_at, outcome="done", limit=50)
    of = (given.kept_from or given.submission, given.discipline.value)
    facts = [each.event.facts for each in audit.list_events(ctx, query).events]
    mine = [each for each in facts if (each.get("submission"), each.get("discipline")) == of]
    return bool(mine) and mine[0].get("digest") == verdict_digest(given)


def obstacle(ctx: Context, found: Submission, route: Route, seen: str) -> str:
    """Return why disciplines block certification; empty if they do not. ``seen``: as in ``open_disciplines``."""
    disciplines = discipline_store.disciplines_of(ctx.tx, found.id)
    if reason := policy.disciplines_obstacle(
        route.disciplines, disciplines, discipline_store.findings_of(ctx.tx, found.id)
    ):
        return reason
    return next(filter(None, (_undone_by(ctx, found, each, route, seen) for each in disciplines)), "")


def _undone_by(ctx: Context, found: Submission, mine: DisciplineReview, route: Route, seen: str) -> str:
    """Return why the verdict of a passed discipline is no longer valid; empty if it is, or the discipline has not passed."""
    if mine.discipline not in route.disciplines or mine.state is not DisciplineState.PASSED:
        return ""
    # Also compared with the present submission: a verdict may have been copied from another one.
    card = shipped_scorecards().of[mine.discipline]
    judged = inputs_digest(orjson.loads(found.content), card, route.tier, seen)
    if mine.inputs != judged or not is_as_recorded(ctx, mine):
        return "verdicts_not_as_recorded"
    if not reviewers.may_sign(ctx, mine.reviewer, mine.discipline):
        return "signer_not_entitled"
    if conflicts.has_declared(ctx, mine.reviewer, found.vendor):
        return "signer_not_apart"
    if route.tier not in {None, Tier.HIGH}:
        return ""
    # The later of two is treated as not passed.
    others = [
        each
        for each in discipline_store.disciplines_of(ctx.tx, found.id)
        if each.discipline in route.disciplines
    ]
    earlier = (each for each in others if each.id < mine.id and each.state is DisciplineState.PASSED)
    return "signer_not_apart" if any(each.reviewer == mine.reviewer for each in earlier) else ""


def reasons_of(ctx: Context, found: Submission) -> tuple[str, ...]:
    """Return the reason codes of the disciplines that did not pass."""
    disciplines = discipline_store.disciplines_of(ctx.tx, found.id)
    return tuple(dict.fromkeys(code for each in disciplines for code in each.reasons))


def view_disciplines(ctx: Context, submission_id: str) -> DisciplinesView:
    """Get the disciplines of a submission, with their history and findings. Raises NotFound."""
    found = moves.visible(ctx, submission_id)
    seen = partial(policy.seen_by, ctx.actor)
    return DisciplinesView(
        tuple(
            replace(each, reviewer=seen(each.reviewer))
            for each in discipline_store.disciplines_of(ctx.tx, found.id)
        ),
        tuple(
            replace(each, actor=seen(each.actor))
            for each in discipline_store.discipline_steps_of(ctx.tx, found.id)
        ),
        tuple(
            replace(each, found_by=seen(each.found_by), resolved_by=seen(each.resolved_by))
            for each in discipline_store.findings_of(ctx.tx, found.id)
        ),
    )


def disciplines_by_submission(ctx: Context, found: Iterable[Submission]) -> dict[str, list[DisciplineReview]]:
    """Return the disciplines of each submission that the actor may see."""
    ids = [each.id for each in found if policy.may_see(ctx.actor, each.vendor)]
    disciplines: dict[str, list[DisciplineReview]] = {}
    for each in discipline_store.disciplines_of_some(ctx.tx, ids) if ids else ():
        shown = replace(each, reviewer=policy.seen_by(ctx.actor, each.reviewer))
        disciplines.setdefault(each.submission, []).append(shown)
    return disciplines


def bars(ctx: Context, submission_id: str) -> dict[Discipline, str]:
    """Return sentences, for a page, for why the actor may not judge each discipline of a submission; empty where they may. Raises NotFound."""
    found = moves.visible(ctx, submission_id)
    faults = {
        mine.discipline: _bar(ctx, found, mine) for mine in discipline_store.disciplines_of(ctx.tx, found.id)
    }
    return {
        discipline: policy.without_command(_DETAILS.get(fault, "Only reviewers judge.")) if fault else ""
        for discipline, fault in faults.items()
    }


def view_clocks(ctx: Context, submission_id: str) -> list[Clock]:
    """List the clocks of a submission. Raises NotFound."""
    return clock_store.clocks_of(ctx.tx, moves.visible(ctx, submission_id).id)


def list_disciplines(
    ctx: Context, page: PageQuery = FIRST_PAGE, query: DisciplineQuery | None = None
) -> list[DisciplineReview]:
    """List disciplines in the order in which they were opened, for the platform's staff. Raises NotPermitted."""
    if not ctx.actor.is_platform:
        raise not_shown("what waits for reviewers", Readers.STAFF)
    return discipline_store.list_disciplines(ctx.tx, query or DisciplineQuery(), page)
