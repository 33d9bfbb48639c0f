"""What passes without a person: the low tier with clean checks, but for those that are drawn at random (C103)."""

from dataclasses import replace

import orjson

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.contacts import service as contacts
from hilum.infra.context import Context
from hilum.kernel.errors import Invalid, NotFound, NotPermitted
from hilum.policies import service as policies
from hilum.policies.models import Tier
from hilum.registry import service as registry
from hilum.registry.models import CertifyOrder
from hilum.review import checking, clock_store, decisions, lens_store, lenses, moves, news, policy
from hilum.review.clock_models import Draw
from hilum.review.models import (
    Act,
    LensState,
    Look,
    Run,
    Submission,
)

WITHOUT = "Every check passed, and it was not drawn to be examined by a person."


def finish(ctx: Context, submission_id: str, looks: tuple[Look, ...]) -> Run | None:
    """Store and judge what was seen of a submission, and certify it if it passes without a person; None if it was withdrawn meanwhile."""
    run = checking.finish(ctx, submission_id, looks)
    if run is not None:
        _pass(ctx, submission_id, run)
    return run


def _pass(ctx: Context, submission_id: str, run: Run) -> None:
    found = moves.visible(ctx, submission_id, lock=True)
    of, route = lens_store.lenses_of(ctx.tx, found.id), run.judgement.route
    clean = not (decisions.checks_obstacle(ctx, found) or clock_store.known_of(ctx.tx, found.id))
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
        # What review requires beyond its checks, such as a proof that has just lapsed: a person sees to it.
        return
    for each in of:
        if each.state is LensState.OPEN:
            lenses.pass_by_checks(ctx, each, WITHOUT)
    moves.move(ctx, replace(found, certification=certification), Act.CERTIFY, WITHOUT)
    news.tell_vendor(ctx, found, "certified", "decided")


def _certify(ctx: Context, found: Submission, run: Run) -> str:
    content = orjson.loads(found.content)
    book = policies.get_version(ctx, run.rule_book)[1]
    life = book.categories[content["app"]["category"]].cells[Tier.LOW].certificate_life
    scopes = tuple(each.scope for each in found.order.scopes)
    justified = [each.scope for each in found.order.scopes if each.justification.strip()]
    order = CertifyOrder(found.version, found.environment, scopes, ctx.now + life, found.id)
    made = registry.certify(ctx, order, unproved=contacts.unproved, justified=lambda *_: justified)
    return str(made.id)


def _draw(ctx: Context, found: Submission, percent: int) -> Draw:
    """Draw once for each submission; one of an app whose last drawn one nobody has examined is examined, or withdrawing would escape it."""
    there = clock_store.find_draw(ctx.tx, found.id)
    if there is not None:
        return there
    seed = ctx.ids.secret(16)
    number = policy.draw(seed, found.digest)
    last = clock_store.last_draw(ctx.tx, found.app, found.environment)
    carried = "" if last is None or not last.drawn or _examined(ctx, last) else last.submission
    drawn = bool(carried) or policy.is_drawn(number, percent)
    made = Draw(found.id, found.app, found.environment, seed, percent, number, drawn, ctx.now, carried)
    clock_store.add_draw(ctx.tx, made)
    facts = {"submission": found.id, "seed": seed, "percent": percent, "number": number, "drawn": drawn}
    audit.record(ctx, Event("review.sample.draw", app=found.app, facts=facts | {"carried": carried}))
    return made


def _examined(ctx: Context, last: Draw) -> bool:
    return any(
        each.judged_at is not None and each.state is not LensState.NEEDS_CHANGES
        for each in lens_store.lenses_of(ctx.tx, last.submission)
    )


def view_draw(ctx: Context, submission_id: str) -> tuple[Draw, bool]:
    """Return how a submission was drawn, and whether it comes to the same when it is drawn again (C110). Raises NotFound, NotPermitted."""
    found = moves.visible(ctx, submission_id)
    if not ctx.actor.is_platform:
        raise NotPermitted("not_permitted", "What is examined at random is shown to the platform's staff.")
    made = clock_store.find_draw(ctx.tx, found.id)
    if made is None:
        raise NotFound("draw_not_found", "Nothing was drawn for this submission.")
    number = policy.draw(made.seed, found.digest)
    drawn = bool(made.carried) or policy.is_drawn(number, made.percent)
    return made, (number, drawn) == (made.number, made.drawn)
