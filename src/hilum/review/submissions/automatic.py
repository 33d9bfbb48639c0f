"""Certification without a person: the low tier with clean checks, except for random draws (C103)."""

from dataclasses import replace

import orjson

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotFound, Readers, not_shown
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Tier
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, EventQuery
from hilum.review.submissions import (
    checking,
    clock_store,
    decisions,
    lens_store,
    lenses,
    moves,
    news,
    policy,
    store,
)
from hilum.review.submissions.clock_models import Draw
from hilum.review.submissions.models import (
    Act,
    LensState,
    Look,
    Run,
    State,
    Submission,
)

DRAW = "review.sample.draw"
WITHOUT = "Every check passed, and it was not drawn to be examined by a person."


def finish(ctx: Context, submission_id: str, looks: tuple[Look, ...]) -> Run | None:
    """Store and judge the results of a submission's checks, and certify it if it needs no person; None if it was withdrawn meanwhile."""
    run = checking.finish(ctx, submission_id, looks)
    if run is not None:
        _pass(ctx, submission_id, run)
    return run


def _pass(ctx: Context, submission_id: str, run: Run) -> None:
    found = moves.visible(ctx, submission_id, lock=True)
    of, route = lens_store.lenses_of(ctx.tx, found.id), run.judgement.route
    clean = not (decisions.checks_obstacle(ctx, found) or decisions.stop_of(ctx, found) or _begun(ctx, found))
    if route.sample_percent is None or not policy.passes_without_a_person(route, clean, of):
        return
    if _draw(ctx, found, route.sample_percent).drawn:
        for each in of:
            if each.state is LensState.OPEN and not each.drawn:
                lenses.mark_drawn(ctx, each)
        return
    try:
        certification = _certify(ctx, found, run)
    except (Invalid, NotFound):
        # A requirement beyond the checks, such as a proof that has just lapsed: a person handles it.
        return
    for each in of:
        if each.state is LensState.OPEN:
            lenses.pass_by_checks(ctx, each, WITHOUT)
    moves.move(ctx, replace(found, certification=certification), Act.CERTIFY, WITHOUT)
    news.notify_vendor(ctx, found, "certified", "decided")


def _begun(ctx: Context, found: Submission) -> bool:
    """Check whether a person has begun with a submission, by a lens or a rejection: then only people can pass it."""
    taken = any(each.after is LensState.TAKEN for each in lens_store.lens_steps_of(ctx.tx, found.id))
    return taken or any(each.after is State.REJECTED for each in store.list_steps(ctx.tx, found.id))


def _certify(ctx: Context, found: Submission, run: Run) -> str:
    content = orjson.loads(found.content)
    book = policies.get_version(ctx, run.rule_book)[1]
    life = book.categories[content["app"]["category"]].cells[Tier.LOW].certificate_life
    made = decisions.certify_submitted(ctx, found, ctx.now + life, checking.run_seen(run))
    return str(made.id)


def _draw(ctx: Context, found: Submission, percent: int) -> Draw:
    """Draw once for each submission; ``_carried`` explains which ones are examined without a draw."""
    there = clock_store.find_draw(ctx.tx, found.id)
    if there is not None:
        # A draw that is not in the audit was written by somebody who wants to avoid a person.
        return there if _is_recorded(ctx, there) else replace(there, drawn=True)
    seed = ctx.ids.secret(16)
    number = policy.draw(seed, found.digest)
    carried = _carried(ctx, found)
    drawn = bool(carried) or policy.is_drawn(number, percent)
    made = Draw(found.id, found.app, found.environment, seed, percent, number, drawn, ctx.now, carried)
    clock_store.add_draw(ctx.tx, made)
    facts = {"submission": found.id, "seed": seed, "percent": percent, "number": number, "drawn": drawn}
    audit.record(ctx, Event(DRAW, app=found.app, facts=facts | {"carried": carried}))
    return made


def _is_recorded(ctx: Context, made: Draw) -> bool:
    query = EventQuery(action=DRAW, app=made.app, since=made.at, outcome="done", limit=20)
    facts = [each.event.facts for each in audit.list_events(ctx, query).events]
    of_it = [each for each in facts if each.get("submission") == made.submission]
    return [(each.get("seed"), each.get("drawn")) for each in of_it] == [(made.seed, made.drawn)]


def _carried(ctx: Context, found: Submission) -> str:
    """Return the earlier submission of an app that makes a person examine the next one; empty if there is none.

    That is the last drawn one, unless people certified it: withdrawing must not escape the draw. It is also the last decided one if it was rejected: submitting again
    must not escape the rejection.
    """
    last = clock_store.last_draw(ctx.tx, found.app, found.environment)
    if last is not None and last.drawn:
        drawn = store.get_submission(ctx.tx, last.submission)
        if drawn.state is not State.CERTIFIED:
            return drawn.id
    decided = store.last_decided(ctx.tx, found.app, found.environment)
    return decided.id if decided is not None and decided.state is State.REJECTED else ""


def view_draw(ctx: Context, submission_id: str) -> tuple[Draw, bool]:
    """Return the draw of a submission, and whether a repetition gives the same result (C110). Raises NotFound, NotPermitted."""
    found = moves.visible(ctx, submission_id)
    if not ctx.actor.is_platform:
        raise not_shown("what is examined at random", Readers.STAFF)
    made = clock_store.find_draw(ctx.tx, found.id)
    if made is None:
        raise NotFound("draw_not_found", "Nothing was drawn for this submission.")
    number = policy.draw(made.seed, found.digest)
    drawn = bool(made.carried) or policy.is_drawn(number, made.percent)
    return made, (number, drawn) == (made.number, made.drawn)
