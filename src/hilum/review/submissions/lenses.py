"""Lenses of a submission: open them after its checks, take and judge one, answer and resolve findings (C100 to C107)."""

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
from hilum.policy.matrix.models import Lens, Tier
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, EventQuery
from hilum.review.submissions import (
    clock_store,
    lens_store,
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
    Finding,
    FindingState,
    JudgeOrder,
    LensesView,
    LensQuery,
    LensReview,
    LensState,
    LensStep,
    Route,
    State,
    Submission,
    Verdict,
)
from hilum.review.submissions.scorecards import inputs_digest, shipped_scorecards

JUDGE = "review.lens.judge"
_DETAILS = {
    "own_submission": "You wrote or submitted this yourself, so a colleague must judge it.",
    "tied_to_vendor": "You have a tie to this vendor, so a colleague must judge its submissions (`hilum review ties`).",
    "lens_not_yours": "You do not sign for this lens. Two administrators decide who does: `hilum review rights`.",
    "acted_before": "You judged this before, and its vendor appealed: a colleague judges it.",
    "signs_another_lens": "You have another lens of this submission, and at its tier nobody may sign two. A colleague takes this one.",
    "not_taken_by_you": "Take this lens first: `hilum review take`. If a colleague has it, ask them to give it back.",
}
"""Sentences for why an actor may not act on a lens."""
_UNDONE = {
    "verdicts_not_as_recorded": "Its verdict is not as the audit recorded it, or of other inputs.",
    "signer_not_entitled": "Its reviewer is not active any more, or no longer signs for this lens.",
    "signer_not_apart": "Its reviewer is tied to the vendor now, or passed another lens at the high tier.",
}
"""Why the verdict of a passed lens is no longer valid."""
_NOT_TAKEN = {
    LensState.OPEN: "This lens is open. Take it first: `hilum review take`.",
    LensState.NEEDS_CHANGES: "This lens waits for the vendor's answer (`hilum review answer`). Then it is yours again.",
    LensState.PASSED: "This lens has passed already. `hilum review show` says what is possible now.",
    LensState.FAILED: "This lens has failed already. Reject the submission: `hilum review decide`.",
}
"""What to do about a lens that no reviewer has."""
_NOT_GIVEN_BACK = "The reviewer who has this lens gives it back, or an administrator does. `hilum review lenses` lists who has which."


# --- opening -------------------------------------------------------------------------------------------------------------------


def open_lenses(ctx: Context, found: Submission, route: Route, seen: str) -> None:
    """Open the lenses of a route, also again those whose verdict is no longer valid. A verdict on the same inputs is kept.

    ``seen``: the digest of the certification run that the checks used, empty without one: a lens may judge that too.
    """
    content, cards = orjson.loads(found.content), shipped_scorecards()
    there = {each.lens: each for each in lens_store.lenses_of(ctx.tx, found.id, lock=True)}
    signed: set[str] = {each.reviewer for each in there.values() if each.lens in route.lenses}
    for lens in route.lenses:
        inputs = inputs_digest(content, cards.of[lens], route.tier, seen)
        if lens not in there:
            signed.add(
                _open(ctx, found, lens, inputs, scorecard=cards.digest, signed=signed, tier=route.tier)
            )
        elif there[lens].inputs != inputs:
            open_again(
                ctx, replace(there[lens], inputs=inputs), "Its tier or its certification run has changed."
            )
    for each in lens_store.lenses_of(ctx.tx, found.id):
        if undone := _undone_by(ctx, found, each, route, seen):
            open_again(ctx, each, _UNDONE[undone])


def _open(
    ctx: Context,
    found: Submission,
    lens: Lens,
    inputs: str,
    *,
    scorecard: str,
    signed: Collection[str],
    tier: Tier | None,
) -> str:
    """Open a lens, or keep an earlier verdict; return who gave that. ``signed``: the reviewers of the other lenses."""
    opened = LensReview(
        ctx.ids.new("len"), found.id, found.app, found.environment, lens, inputs, scorecard, ctx.now
    )
    kept = lens_store.find_verdict(ctx.tx, opened)
    apart = kept is None or tier not in {None, Tier.HIGH} or kept.reviewer not in signed
    if kept is not None and apart and _stands(ctx, kept, found, scorecard):
        opened = replace(
            opened,
            state=LensState.PASSED,
            reviewer=kept.reviewer,
            judged_at=kept.judged_at,
            answers=kept.answers,
            text=kept.text,
            kept_from=kept.kept_from or kept.submission,
        )
    lens_store.add_lens(ctx.tx, opened)
    why = "What it judges has not changed." if opened.kept_from else ""
    lens_store.add_lens_step(
        ctx.tx, LensStep(found.id, lens, 1, None, opened.state, str(ctx.actor), ctx.now, why)
    )
    facts = {"submission": found.id, "lens": lens.value, "state": opened.state.value}
    if opened.kept_from:
        facts["kept_from"] = opened.kept_from
    audit.record(ctx, Event("review.lens.open", app=found.app, facts=facts))
    return opened.reviewer


def open_again(ctx: Context, before: LensReview, reason: str) -> None:
    """Open a judged lens again."""
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
    _move(ctx, again, LensState.OPEN, "review.lens.open", reason)


def pass_by_checks(ctx: Context, before: LensReview, reason: str) -> None:
    """Pass a lens because every check passed."""
    judged = replace(before, reviewer=str(ctx.actor), judged_at=ctx.now, text=reason)
    _move(ctx, judged, LensState.PASSED, JUDGE, reason)


def _stands(ctx: Context, kept: LensReview, found: Submission, scorecard: str) -> bool:
    """Check whether an earlier verdict on the same inputs is still valid: passed, recent, by the same scorecard, and by a reviewer who may still sign, without a tie."""
    if kept.state is not LensState.PASSED or kept.scorecard != scorecard or kept.judged_at is None:
        return False
    if ctx.now >= kept.judged_at + VERDICT_KEPT or not is_as_recorded(ctx, kept):
        return False
    entitled = reviewers.may_sign(ctx, kept.reviewer, kept.lens)
    return entitled and not reviewers.is_tied(ctx, kept.reviewer, found.vendor)


# --- taking and judging ----------------------------------------------------------------------------------------------------------


def take(ctx: Context, submission_id: str, lens: Lens, revision: int) -> LensReview:
    """Take a lens as the reviewer who judges it. Raises NotFound, NotPermitted, Conflict (taken or changed meanwhile, not in the lenses)."""
    found, mine = _lens(ctx, submission_id, lens, revision)
    event = _event("review.lens.take", found, lens)
    _require_signer(ctx, found, mine, event)
    if mine.state is not LensState.OPEN:
        raise Conflict("lens_not_open", f"This lens is {mine.state.value}; only an open lens can be taken.")
    taken = replace(mine, reviewer=str(ctx.actor), taken_at=ctx.now)
    return _move(ctx, taken, LensState.TAKEN, event.action)


def release(ctx: Context, submission_id: str, lens: Lens, revision: int, reason: str) -> LensReview:
    """Give a lens back, as who took it or as an administrator, with a reason. Raises NotFound, NotPermitted, Invalid, Conflict."""
    found, mine = _lens(ctx, submission_id, lens, revision)
    event = _event("review.lens.release", found, lens)
    if not (str(ctx.actor) == mine.reviewer or reviewers.may_assign(ctx.actor)):
        raise audit.refusal(ctx, event, _NOT_GIVEN_BACK)
    if fault := reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    if mine.state not in {LensState.TAKEN, LensState.NEEDS_CHANGES}:
        raise Conflict("lens_not_taken", _NOT_TAKEN[mine.state])
    given = replace(mine, reviewer="", taken_at=None)
    return _move(ctx, given, LensState.OPEN, event.action, reason.strip())


def judge(ctx: Context, order: JudgeOrder) -> LensReview:
    """Record the verdict on a lens that the actor has taken, with scorecard answers, reason codes and findings.

    Raises NotFound, NotPermitted (see ``policy.signing_bar``), Invalid, Conflict.
    """
    found, mine = _lens(ctx, order.submission, order.lens, order.revision)
    event = _event(JUDGE, found, order.lens)
    _require_taken(ctx, found, mine, event)
    after = policy.next_lens_state(mine.state, order.verdict)
    if after is None:
        raise Conflict("lens_not_taken", _NOT_TAKEN[mine.state])
    faults = policy.verdict_faults(order, shipped_scorecards())
    earlier = lens_store.findings_of(ctx.tx, found.id)
    if order.verdict is Verdict.PASS and any(each.blocks for each in earlier if each.lens is order.lens):
        faults["verdict"] = "findings_block"
    if len(earlier) + len(order.findings) > FINDINGS_OF_ONE:
        faults["findings"] = too_many(FINDINGS_OF_ONE)
    if faults:
        raise Invalid("verdict_invalid", "The verdict is invalid; see fields.", fields=faults)
    for each in order.findings:
        lens_store.add_finding(
            ctx.tx,
            Finding(
                id=ctx.ids.new("fnd"),
                submission=found.id,
                lens=order.lens,
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
        news.notify_vendor(ctx, found, "needs_changes", f"{saved.id}/{saved.revision}", lens=order.lens)
    return saved


def answer(ctx: Context, submission_id: str, lens: Lens, revision: int, text: str) -> LensReview:
    """Answer a lens's findings, as the vendor; the reviewer looks again. Raises NotFound, NotPermitted, Invalid, Conflict."""
    found, mine = _lens(ctx, submission_id, lens, revision)
    event = _event("review.lens.answer", found, lens)
    if not policy.may_submit(ctx.actor, found.vendor):
        raise audit.refusal(ctx, event)
    if fault := reason_fault(text):
        raise Invalid("answer_invalid", "An answer is required; see fields.", fields={"text": fault})
    if mine.state is not LensState.NEEDS_CHANGES:
        raise Conflict("lens_waits_for_nobody", "This lens does not wait for an answer of the vendor.")
    for each in lens_store.findings_of(ctx.tx, found.id):
        if each.lens is lens and each.state is FindingState.OPEN:
            lens_store.save_finding(ctx.tx, replace(each, state=FindingState.ANSWERED), before=each.state)
    answered = _move(ctx, mine, LensState.TAKEN, event.action, text.strip())
    return replace(answered, reviewer=policy.seen_by(ctx.actor, answered.reviewer))


def resolve(ctx: Context, finding_id: str, note: str) -> Finding:
    """Record that a finding is fixed, as the reviewer of its lens. Raises NotFound, NotPermitted, Invalid, Conflict."""
    finding = lens_store.get_finding(ctx.tx, finding_id)
    try:
        found = moves.visible(ctx, finding.submission, lock=True)
    except NotFound:
        raise lens_store.no_such_finding() from None
    mine = _of(lens_store.lenses_of(ctx.tx, found.id, lock=True), finding.lens)
    facts = {"submission": found.id, "finding": finding.id, "lens": finding.lens.value}
    event = Event("review.finding.resolve", app=found.app, facts=facts)
    _require_taken(ctx, found, mine, event)
    if mine.state is not LensState.TAKEN:
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
    if done or not lens_store.save_finding(ctx.tx, after, before=finding.state):
        raise Conflict("finding_resolved", "This finding has already been resolved.")
    audit.record(ctx, replace(event, facts=facts | {"note": after.note}))
    return after


def _lens(ctx: Context, submission_id: str, lens: Lens, revision: int) -> tuple[Submission, LensReview]:
    """Return a submission that is in its lenses, locked, with one of them at a revision. Raises NotFound, Conflict."""
    found = moves.visible(ctx, submission_id, lock=True)
    mine = _of(lens_store.lenses_of(ctx.tx, found.id, lock=True), lens)
    if found.state is not State.IN_LENSES:
        checked = found.state in {State.SUBMITTED, State.CHECKING}
        then = " Its checks take about a minute; try again then." if checked else ""
        said = f"The submission is {found.state.value}, and not in its lenses.{then}"
        raise Conflict("transition_refused", said)
    if mine.revision != revision:
        raise Conflict("changed_since_read", moves.CHANGED)
    return found, mine


def _of(lenses: list[LensReview], lens: Lens) -> LensReview:
    for each in lenses:
        if each.lens is lens:
            return each
    raise NotFound(
        "lens_not_found", "This submission has no such lens; `hilum review lenses` lists those it has."
    )


def _event(action: str, found: Submission, lens: Lens) -> Event:
    return Event(action, app=found.app, facts={"submission": found.id, "lens": lens.value})


def signer_of(ctx: Context, found: Submission) -> policy.Signer:
    """Return the inputs that decide whether the actor may judge a submission."""
    decides = policy.may_decide(ctx.actor)
    mine = reviewers.lenses_of(ctx, PersonId(ctx.actor.id)) if decides else ()
    steps = store.list_steps(ctx.tx, found.id)
    written = {State.DRAFT, State.SUBMITTED}
    writers = {found.created_by, *(each.actor for each in steps if each.after in written)}
    return policy.Signer(
        str(ctx.actor),
        decides,
        mine,
        reviewers.ties_to(ctx, found.vendor) if decides else (),
        str(ctx.actor) in writers,
    )


def _who_rejected(ctx: Context, found: Submission, lens: Lens) -> set[str]:
    """Return who let a lens fail, or rejected the submission."""
    steps = lens_store.lens_steps_of(ctx.tx, found.id, lens)
    failed = {each.actor for each in steps if each.after is LensState.FAILED}
    return failed | {
        each.actor for each in store.list_steps(ctx.tx, found.id) if each.after is State.REJECTED
    }


def _bar(ctx: Context, found: Submission, mine: LensReview) -> str:
    """Return why the actor may not judge a lens; empty if they may."""
    run = store.find_run(ctx.tx, found.id)
    tier = None if run is None else run.judgement.route.tier
    others = [each for each in lens_store.lenses_of(ctx.tx, found.id) if each.lens is not mine.lens]
    signer = signer_of(ctx, found)
    reopened = policy.is_reopened(store.list_steps(ctx.tx, found.id))
    acted = reopened and signer.reviewer in _who_rejected(ctx, found, mine.lens)
    return policy.signing_bar(replace(signer, acted=acted), mine.lens, others, tier)


def _require_signer(ctx: Context, found: Submission, mine: LensReview, event: Event) -> None:
    if fault := _bar(ctx, found, mine):
        raise refused(ctx, event, fault)


def _require_taken(ctx: Context, found: Submission, mine: LensReview, event: Event) -> None:
    """Check that the actor may judge a lens and has taken it. Raises NotPermitted."""
    _require_signer(ctx, found, mine, event)
    if mine.reviewer != str(ctx.actor):
        raise audit.refusal(ctx, replace(event, reason="not_taken_by_you"), _DETAILS["not_taken_by_you"])


def refused(ctx: Context, event: Event, fault: str) -> NotPermitted:
    """Record and return the refusal of somebody who may not judge."""
    if fault == "not_permitted":
        return audit.refusal(ctx, event)
    return audit.refusal(ctx, replace(event, reason=fault), _DETAILS[fault])


def _move(ctx: Context, after: LensReview, state: LensState, action: str, reason: str = "") -> LensReview:
    """Save a lens that was read at its revision in another state, with the step and the event. Raises Conflict."""
    before = _of(lens_store.lenses_of(ctx.tx, after.submission), after.lens)
    saved = replace(after, state=state, revision=after.revision + 1)
    if not lens_store.save_lens(ctx.tx, saved, revision=after.revision):
        raise Conflict("changed_since_read", moves.CHANGED)
    number = len(lens_store.lens_steps_of(ctx.tx, saved.submission, saved.lens)) + 1
    step = LensStep(
        saved.submission, saved.lens, number, before.state, state, str(ctx.actor), ctx.now, reason
    )
    lens_store.add_lens_step(ctx.tx, step)
    facts: dict[str, Any] = {
        "submission": saved.submission,
        "lens": saved.lens.value,
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
        timekeeping.measure_lens(ctx, saved)
    return saved


# --- what is recorded, and what is left ------------------------------------------------------------------------------------------


def verdict_digest(given: LensReview) -> str:
    """Return the digest of a verdict, as in the audit."""
    kept: Mapping[str, Any] = {
        "submission": given.kept_from or given.submission,
        "lens": given.lens,
        "state": given.state,
        "reviewer": given.reviewer,
        "inputs": given.inputs,
        "scorecard": given.scorecard,
        "answers": dict(given.answers),
        "flags": list(given.flags),
        "text": given.text,
    }
    return policy.digest_of(policy.canonical(kept))


def is_as_recorded(ctx: Context, given: LensReview) -> bool:
    """Check whether this is the last verdict on the lens that the audit recorded."""
    query = EventQuery(action=JUDGE, app=given.app, since=given.judged_at, outcome="done", limit=50)
    of = (given.kept_from or given.submission, given.lens.value)
    facts = [each.event.facts for each in audit.list_events(ctx, query).events]
    mine = [each for each in facts if (each.get("submission"), each.get("lens")) == of]
    return bool(mine) and mine[0].get("digest") == verdict_digest(given)


def obstacle(ctx: Context, found: Submission, route: Route, seen: str) -> str:
    """Return why lenses block certification; empty if they do not. ``seen``: as in ``open_lenses``."""
    lenses = lens_store.lenses_of(ctx.tx, found.id)
    if reason := policy.lenses_obstacle(route.lenses, lenses, lens_store.findings_of(ctx.tx, found.id)):
        return reason
    return next(filter(None, (_undone_by(ctx, found, each, route, seen) for each in lenses)), "")


def _undone_by(ctx: Context, found: Submission, mine: LensReview, route: Route, seen: str) -> str:
    """Return why the verdict of a passed lens is no longer valid; empty if it is, or the lens has not passed."""
    if mine.lens not in route.lenses or mine.state is not LensState.PASSED:
        return ""
    # Also compared with the present submission: a verdict may have been copied from another one.
    card = shipped_scorecards().of[mine.lens]
    judged = inputs_digest(orjson.loads(found.content), card, route.tier, seen)
    if mine.inputs != judged or not is_as_recorded(ctx, mine):
        return "verdicts_not_as_recorded"
    if not reviewers.may_sign(ctx, mine.reviewer, mine.lens):
        return "signer_not_entitled"
    if reviewers.is_tied(ctx, mine.reviewer, found.vendor):
        return "signer_not_apart"
    if route.tier not in {None, Tier.HIGH}:
        return ""
    # The later of two is treated as not passed.
    others = [each for each in lens_store.lenses_of(ctx.tx, found.id) if each.lens in route.lenses]
    earlier = (each for each in others if each.id < mine.id and each.state is LensState.PASSED)
    return "signer_not_apart" if any(each.reviewer == mine.reviewer for each in earlier) else ""


def reasons_of(ctx: Context, found: Submission) -> tuple[str, ...]:
    """Return the reason codes of the lenses that did not pass."""
    lenses = lens_store.lenses_of(ctx.tx, found.id)
    return tuple(dict.fromkeys(code for each in lenses for code in each.reasons))


def view_lenses(ctx: Context, submission_id: str) -> LensesView:
    """Get the lenses of a submission, with their history and findings. Raises NotFound."""
    found = moves.visible(ctx, submission_id)
    seen = partial(policy.seen_by, ctx.actor)
    return LensesView(
        tuple(replace(each, reviewer=seen(each.reviewer)) for each in lens_store.lenses_of(ctx.tx, found.id)),
        tuple(replace(each, actor=seen(each.actor)) for each in lens_store.lens_steps_of(ctx.tx, found.id)),
        tuple(
            replace(each, found_by=seen(each.found_by), resolved_by=seen(each.resolved_by))
            for each in lens_store.findings_of(ctx.tx, found.id)
        ),
    )


def lenses_by_submission(ctx: Context, found: Iterable[Submission]) -> dict[str, list[LensReview]]:
    """Return the lenses of each submission that the actor may see."""
    ids = [each.id for each in found if policy.may_see(ctx.actor, each.vendor)]
    lenses: dict[str, list[LensReview]] = {}
    for each in lens_store.lenses_of_some(ctx.tx, ids) if ids else ():
        shown = replace(each, reviewer=policy.seen_by(ctx.actor, each.reviewer))
        lenses.setdefault(each.submission, []).append(shown)
    return lenses


def bars(ctx: Context, submission_id: str) -> dict[Lens, str]:
    """Return sentences, for a page, for why the actor may not judge each lens of a submission; empty where they may. Raises NotFound."""
    found = moves.visible(ctx, submission_id)
    faults = {mine.lens: _bar(ctx, found, mine) for mine in lens_store.lenses_of(ctx.tx, found.id)}
    return {
        lens: policy.without_command(_DETAILS.get(fault, "Only reviewers judge.")) if fault else ""
        for lens, fault in faults.items()
    }


def view_clocks(ctx: Context, submission_id: str) -> list[Clock]:
    """List the clocks of a submission. Raises NotFound."""
    return clock_store.clocks_of(ctx.tx, moves.visible(ctx, submission_id).id)


def list_lenses(
    ctx: Context, page: PageQuery = FIRST_PAGE, query: LensQuery | None = None
) -> list[LensReview]:
    """List lenses in the order in which they were opened, for the platform's staff. Raises NotPermitted."""
    if not ctx.actor.is_platform:
        raise not_shown("what waits for reviewers", Readers.STAFF)
    return lens_store.list_lenses(ctx.tx, query or LensQuery(), page)
