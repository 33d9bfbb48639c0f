"""Keep the clocks of submissions, notify of missed ones, and publish how long reviews take (C106, K1, K12)."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.identity.people import service as identity
from hilum.identity.people.models import StaffRole
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Tier
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent
from hilum.review.submissions import clock_store, clocks, discipline_store, policy
from hilum.review.submissions.clock_models import Clock, Figure, Measure, MeasureKind, Stage
from hilum.review.submissions.models import (
    FIGURES_EVERY,
    FIGURES_OVER,
    DisciplineReview,
    DisciplineState,
    Route,
    State,
    Step,
    Submission,
)

CLOSED = frozenset({State.CERTIFIED, State.REJECTED, State.WITHDRAWN})
_NOTIFIED = frozenset({StaffRole.REVIEWER, StaffRole.PLATFORM_ADMIN})


# --- clocks of one submission ----------------------------------------------------------------------------------------------------


def start(ctx: Context, found: Submission, route: Route) -> None:
    """Start the clocks of a submission from when it was submitted, or run them by another route."""
    if route.tier is None or found.submitted_at is None:
        return
    book = policies.current(ctx.as_actor(SYSTEM)).everywhere
    calendar = clocks.calendar_of(book, clocks.shipped_calendars())
    there = {each.stage: each for each in clock_store.clocks_of(ctx.tx, found.id, lock=True)}
    for stage, days in ((Stage.FIRST_ANSWER, route.first_answer_days), (Stage.DECISION, route.decision_days)):
        fresh = Clock(found.id, stage, found.app, route.tier, calendar.name, days, found.submitted_at, None)
        clock = replace(there.get(stage, fresh), tier=route.tier, allowed_days=days)
        clock_store.put_clock(ctx.tx, clock)
    follow(ctx, found)


def follow(ctx: Context, found: Submission) -> None:
    """Stop, pause or resume the clocks of a submission by its present state and disciplines."""
    of = discipline_store.disciplines_of(ctx.tx, found.id)
    waits = any(each.state is DisciplineState.NEEDS_CHANGES for each in of)
    answered = any(each.judged_at is not None and not each.kept_from for each in of)
    for clock in clock_store.clocks_of(ctx.tx, found.id, lock=True):
        over = found.state in CLOSED or (clock.stage is Stage.FIRST_ANSWER and answered)
        after = _moved(ctx, clock, over=over, waits=waits)
        if after == clock:
            continue
        clock_store.put_clock(ctx.tx, after)
        if over and clock.stopped_at is None:
            _stopped(ctx, after, found)


def _moved(ctx: Context, clock: Clock, *, over: bool, waits: bool) -> Clock:
    if clock.stopped_at is not None:
        # After an appeal the decision's clock continues; the time of the rejection is the platform's.
        return (
            clock if over or clock.stage is Stage.FIRST_ANSWER else _due(replace(clock, stopped_at=None), ctx)
        )
    paused = bool(clock.pauses) and clock.pauses[-1][1] is None
    if paused and (over or not waits):
        clock = replace(clock, pauses=(*clock.pauses[:-1], (clock.pauses[-1][0], ctx.now)))
    if over:
        return replace(clock, stopped_at=ctx.now, due_at=None)
    if waits:
        pauses = clock.pauses if paused else (*clock.pauses, (ctx.now, None))
        return replace(clock, pauses=pauses, due_at=None)
    return _due(clock, ctx)


def _due(clock: Clock, ctx: Context) -> Clock:
    calendar = clocks.named(clock.calendar, clocks.shipped_calendars())
    used = clocks.elapsed(calendar, clock.started_at, ctx.now, clock.pauses)
    left = clock.allowed_days - used
    if left <= 0 and clock.due_at is not None:
        return clock
    return replace(clock, due_at=clocks.due(calendar, ctx.now, left))


def _stopped(ctx: Context, clock: Clock, found: Submission) -> None:
    if clock.stage is Stage.DECISION and found.state in {State.CERTIFIED, State.REJECTED}:
        calendar = clocks.named(clock.calendar, clocks.shipped_calendars())
        used = clocks.elapsed(calendar, clock.started_at, ctx.now, clock.pauses)
        whole = clocks.elapsed(calendar, clock.started_at, ctx.now)
        tier = "" if clock.tier is None else clock.tier.value
        _measure(ctx, MeasureKind.LEAD, (tier, ""), (used, whole), good=used <= clock.allowed_days)


def measure_discipline(ctx: Context, judged: DisciplineReview) -> None:
    """Record how long a discipline took from when it was taken to its verdict, without the time in which the vendor owed an answer (K12)."""
    if judged.taken_at is None or judged.state is DisciplineState.NEEDS_CHANGES:
        return
    found = [
        each for each in clock_store.clocks_of(ctx.tx, judged.submission) if each.stage is Stage.DECISION
    ]
    calendar = clocks.named(found[0].calendar if found else "", clocks.shipped_calendars())
    steps = discipline_store.discipline_steps_of(ctx.tx, judged.submission, judged.discipline)
    # A pause begins when the discipline waits for the vendor and ends with its next step; the last one may be open.
    pauses: list[clocks.Span] = []
    for step in steps:
        if step.after is DisciplineState.NEEDS_CHANGES:
            pauses.append((step.at, None))
        elif step.before is DisciplineState.NEEDS_CHANGES and pauses:
            pauses[-1] = (pauses[-1][0], step.at)
    used = clocks.elapsed(calendar, judged.taken_at, ctx.now, pauses)
    whole = clocks.elapsed(calendar, judged.taken_at, ctx.now)
    tier = found[0].tier if found else None
    good = not found or used <= found[0].allowed_days
    where = ("" if tier is None else tier.value, judged.discipline.value)
    _measure(ctx, MeasureKind.TURNAROUND, where, (used, whole), good=good)


def measure_appeal(ctx: Context, steps: Sequence[Step], *, upheld: bool) -> None:
    """Record whether a rejection stood, if the submission is decided after an appeal. ``steps``: those before the decision."""
    if policy.is_reopened(steps):
        _measure(ctx, MeasureKind.APPEAL, ("", ""), (Fraction(0), Fraction(0)), good=upheld)


def _measure(
    ctx: Context, kind: MeasureKind, where: tuple[str, str], days: tuple[Fraction, Fraction], *, good: bool
) -> None:
    used, whole = map(clocks.in_milli, days)
    clock_store.add_measure(
        ctx.tx, Measure(ctx.ids.new("mea"), kind, where[0], where[1], ctx.now, used, whole, good)
    )


# --- missed clocks ---------------------------------------------------------------------------------------------------------------


def note_missed(ctx: Context) -> int:
    """Mark clocks that were missed, and notify those who can act; at most a batch. Return how many."""
    missed = clock_store.missed(ctx.tx, ctx.now)
    for clock in missed:
        assert clock.due_at is not None, "read by it"
        clock_store.put_clock(ctx.tx, replace(clock, missed=True))
        due = clock.due_at.isoformat()
        facts = {"submission": clock.submission, "stage": clock.stage.value, "due_at": due}
        audit.record(ctx, Event("review.clock.miss", app=clock.app, facts=facts))
        notify_missed(
            ctx, clock.submission, clock.stage, clock.tier, days=clock.allowed_days, due_at=clock.due_at
        )
        app = registry.get_app(ctx, clock.app)
        late = {"submission_id": clock.submission, "app_id": app.id, "vendor_id": app.vendor, "due_at": due}
        stage = {"stage": clock.stage.value}
        notices.put_event(
            ctx,
            VendorEvent(
                EventKind.REVIEW_LATE,
                app.vendor,
                f"late/{clock.submission}/{clock.stage}",
                late | stage,
                app.id,
            ),
        )
    return len(missed)


def notify_missed(
    ctx: Context, late: str, stage: Stage, tier: Tier | None, *, days: int, due_at: datetime
) -> None:
    """Send mail about a missed clock to those who can act. ``late``: the id of the submission or request."""
    facts = {
        "stage": stage.value,
        "tier": "unknown" if tier is None else tier.value,
        "days": str(days),
        "due": due_at.isoformat(),
        "entry": late,
    }
    for _, address in identity.list_recipients(ctx, None, _NOTIFIED):
        notices.put_mail(ctx, Mail(MailKind.REVIEW_LATE, address, f"review-late/{late}/{stage}", facts))


def clocks_by_submission(ctx: Context, found: Iterable[Submission]) -> dict[str, list[Clock]]:
    """Return the clocks of each submission that the actor may see."""
    ids = [each.id for each in found if policy.may_see(ctx.actor, each.vendor)]
    clocks_of: dict[str, list[Clock]] = {}
    for each in clock_store.clocks_of_some(ctx.tx, ids) if ids else ():
        clocks_of.setdefault(each.submission, []).append(each)
    return clocks_of


def times_of(clock: Clock, now: datetime) -> tuple[int, int]:
    """Return thousandths of business days that the platform has used of a clock, and that the vendor took to answer. Pure."""
    calendar, end = clocks.named(clock.calendar, clocks.shipped_calendars()), clock.stopped_at or now
    used = clocks.elapsed(calendar, clock.started_at, end, clock.pauses)
    whole = clocks.elapsed(calendar, clock.started_at, end)
    return clocks.in_milli(used), clocks.in_milli(whole - used)


# --- figures ---------------------------------------------------------------------------------------------------------------------


def figures_of(found: Iterable[Measure]) -> list[Figure]:
    """Return the published figures of measurements, by kind, tier and discipline. Pure."""
    groups: defaultdict[tuple[MeasureKind, str, str], list[Measure]] = defaultdict(list)
    for each in found:
        groups[each.kind, each.tier, each.discipline].append(each)
    made = []
    for (kind, tier, discipline), of in sorted(groups.items()):
        used, whole = [each.milli for each in of], [each.milli_whole for each in of]
        made.append(
            Figure(
                kind,
                tier,
                discipline,
                len(of),
                sum(each.good for each in of),
                *(clocks.percentile(values, percent) for values in (used, whole) for percent in (50, 90)),
            )
        )
    return made


def publish(ctx: Context) -> None:
    """Publish the figures once an hour."""
    made_at, _ = clock_store.find_figures(ctx.tx)
    if made_at is not None and ctx.now < made_at + FIGURES_EVERY:
        return
    found = clock_store.read_measures(ctx.tx, ctx.now - FIGURES_OVER)
    clock_store.put_figures(ctx.tx, figures_of(found), ctx.now)


def view_figures(ctx: Context) -> tuple[datetime | None, list[Figure]]:
    """Return when the published figures were made, and the figures. Anybody may see them."""
    return clock_store.find_figures(ctx.tx)
