"""Rolling a version of the rule book out in rings: which hospitals have it first, for how long, and what sends it back (C218)."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from starlette.responses import Response

from hilum.approvals.models import Asked as AskedTwo
from hilum.console import fields, policy
from hilum.console.desk import Visit, address, to, to_approval
from hilum.console.fields import no_such_act
from hilum.console.operations.books import shown, try_out
from hilum.console.operations.policies import number_of
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid
from hilum.kernel.ids import TenantId
from hilum.policies import service as policies
from hilum.rollouts import service as rollouts
from hilum.rollouts.models import (
    DECISIONS_BOUND,
    LEAST_DECISIONS,
    POINTS_BOUND,
    REFUSED_POINTS,
    RINGS_BOUND,
    SLOW_POINTS,
    Limits,
    Ring,
    RolloutOrder,
)
from hilum.web.forms import Form

DWELLS: Mapping[str, tuple[str, timedelta]] = {
    "1h": ("an hour", timedelta(hours=1)),
    "6h": ("six hours", timedelta(hours=6)),
    "1d": ("a day", timedelta(days=1)),
    "3d": ("three days", timedelta(days=3)),
    "7d": ("a week", timedelta(days=7)),
    "14d": ("two weeks", timedelta(days=14)),
    "21d": ("three weeks", timedelta(days=21)),
}
USUAL = "1d"
NUMBERS = tuple(str(each) for each in range(1, RINGS_BOUND))
"""The rings before the last one, which is everywhere."""
LAST = "last"
FEW = 3
"""Rings whose times the form shows at once."""
LIMITS = (
    ("refused_points", REFUSED_POINTS, POINTS_BOUND, "Points by which refusals may rise"),
    ("slow_points", SLOW_POINTS, POINTS_BOUND, "Points by which slow answers may rise"),
    ("least_decisions", LEAST_DECISIONS, DECISIONS_BOUND, "Decisions that must be known"),
)


async def show(visit: Visit) -> Response:
    """Show the form that plans a rollout; one that continues another starts with the hospitals that the other did not reach."""
    number, before = number_of(visit.param()), policy.word(visit.query().one("rollout"), "rollout")
    planned = await visit.read(partial(_left_of, id_=before, number=number)) if before else fields.NO_FORM
    return await _page(visit, planned)


def _left_of(ctx: Context, id_: str, number: int) -> Form:
    """Return the rings of a rollout as a form, without the hospitals that have the version."""
    plan, now = rollouts.view(ctx, id_), policies.in_force(ctx)
    left = [
        (at, ring)
        for ring in plan.rings
        if (at := [each for each in ring.tenants if now.at.get(each, now.everywhere) != number])
    ]
    values = {f"in-{tenant}": str(place) for place, (at, _) in enumerate(left, 1) for tenant in at}
    dwells = [*enumerate((ring for _, ring in left), 1), (LAST, plan.rings[-1])]
    values |= {f"dwell-{place}": _word_of(ring.dwell) for place, ring in dwells}
    return Form({name: (value,) for name, value in values.items()})


def _word_of(dwell: timedelta) -> str:
    return next((word for word, (_, each) in DWELLS.items() if each >= dwell), "21d")


async def _page(visit: Visit, given: Form, error: Invalid | Conflict | None = None) -> Response:
    facts = await visit.read(partial(shown, number=number_of(visit.param())))
    used = {given.one(f"in-{id_}") for id_, _, _ in facts["hospitals"]}
    return visit.render(
        "console/operations/roll_out.html",
        **fields.answered(given, error),
        **facts,
        numbers=NUMBERS,
        more=any(each in used for each in NUMBERS[FEW:]),
        few=FEW,
        dwells=[(word, text) for word, (text, _) in DWELLS.items()],
        usual=USUAL,
        limits=LIMITS,
    )


async def start(visit: Visit, form: Form) -> Response:
    """Start a dry run, or begin the rollout; what allows something new waits for a second person."""
    number = number_of(visit.param())
    if form.one("act") == "try":
        return await try_out(visit, number)
    try:
        if form.one("act") != "start":
            raise no_such_act()
        facts = await visit.read(partial(shown, number=number))
        order = _order(form, number, [TenantId(id_) for id_, _, _ in facts["hospitals"]])
        # Two large books take a while to compare, which must not delay other writers.
        await visit.read(partial(rollouts.prepare, order=order))
        done = await visit.write(partial(rollouts.start, order=order))
    except (Invalid, Conflict) as error:
        return await _page(visit, form, error)
    if isinstance(done, AskedTwo):
        return to_approval(visit, done)
    return to(address("operations.rollout", done.id))


def _order(form: Form, number: int, hospitals: list[TenantId]) -> RolloutOrder:
    """Return the rollout that a form describes. Raises Invalid."""
    reason, after = fields.required(form, "reason"), form.one("after")
    if not after.isdecimal() or len(after) > 9:
        raise Invalid("form_invalid", "Open the page again.", fields={"after": "malformed"})
    places: dict[str, list[TenantId]] = {}
    for each in hospitals:
        if place := form.one(f"in-{each}"):
            places.setdefault(place, []).append(each)
    if not set(places) <= set(NUMBERS):
        raise Invalid("form_invalid", "Choose a ring for each hospital.", fields={"rings": "not_an_option"})
    rings = [Ring(tuple(places[each]), _dwell(form, each)) for each in NUMBERS if each in places]
    limits = {name: _number(form, name, bound) for name, _, bound, _ in LIMITS}
    return RolloutOrder(number, (*rings, Ring((), _dwell(form, LAST))), int(after), reason, Limits(**limits))


def _dwell(form: Form, place: str) -> timedelta:
    chosen = form.one(f"dwell-{place}", USUAL)
    if chosen not in DWELLS:
        raise Invalid("form_invalid", "Choose how long each ring has it.", fields={"rings": "not_an_option"})
    return DWELLS[chosen][1]


def _number(form: Form, name: str, bound: int) -> int:
    text = form.one(name)
    if not text.isdecimal() or len(text) > 7 or not 1 <= int(text) <= bound:
        raise Invalid("form_invalid", "A limit must be a number.", fields={name: "out_of_range"})
    return int(text)
