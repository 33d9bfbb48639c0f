"""Certification without a person: the low tier with clean checks, where the policy says so (C103)."""

from dataclasses import replace

import orjson

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotFound
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Tier
from hilum.review.submissions import (
    checking,
    decisions,
    discipline_store,
    disciplines,
    moves,
    news,
    policy,
    store,
)
from hilum.review.submissions.models import (
    Act,
    DisciplineState,
    Look,
    Run,
    State,
    Submission,
)

WITHOUT = "Every check passed, and the policy asks for no person."


def finish(ctx: Context, submission_id: str, looks: tuple[Look, ...]) -> Run | None:
    """Store and judge the results of a submission's checks, and certify it if it needs no person; None if it was withdrawn meanwhile."""
    run = checking.finish(ctx, submission_id, looks)
    if run is not None:
        _pass(ctx, submission_id, run)
    return run


def _pass(ctx: Context, submission_id: str, run: Run) -> None:
    found = moves.visible(ctx, submission_id, lock=True)
    of, route = discipline_store.disciplines_of(ctx.tx, found.id), run.judgement.route
    people = _begun(ctx, found) or _was_rejected(ctx, found)
    clean = not (decisions.checks_obstacle(ctx, found) or decisions.stop_of(ctx, found) or people)
    if not policy.passes_without_a_person(route, clean, of):
        return
    try:
        certification = _certify(ctx, found, run)
    except (Invalid, NotFound):
        # A requirement beyond the checks, such as a proof that has just lapsed: a person handles it.
        return
    for each in of:
        if each.state is DisciplineState.OPEN:
            disciplines.pass_by_checks(ctx, each, WITHOUT)
    moves.move(ctx, replace(found, certification=certification), Act.CERTIFY, WITHOUT)
    news.notify_vendor(ctx, found, "certified", "decided")


def _begun(ctx: Context, found: Submission) -> bool:
    """Check whether a person has begun with a submission, by a discipline or a rejection: then only people can pass it."""
    taken = any(
        each.after is DisciplineState.TAKEN for each in discipline_store.discipline_steps_of(ctx.tx, found.id)
    )
    return taken or any(each.after is State.REJECTED for each in store.list_steps(ctx.tx, found.id))


def _certify(ctx: Context, found: Submission, run: Run) -> str:
    content = orjson.loads(found.content)
    book = policies.get_version(ctx, run.policy_version)[1]
    life = book.categories[content["app"]["category"]].entries[Tier.LOW].certificate_life
    made = decisions.certify_submitted(ctx, found, ctx.now + life, checking.run_seen(run))
    return str(made.id)


def _was_rejected(ctx: Context, found: Submission) -> bool:
    """Check whether the app's last decided submission was rejected: submitting again must not escape that."""
    decided = store.last_decided(ctx.tx, found.app, found.environment)
    return decided is not None and decided.state is State.REJECTED
