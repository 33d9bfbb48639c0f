"""Keep the clocks of submissions, enter missed ones into the public ledger, and publish how long reviews take (C106, C224, K1, K12)."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from fractions import Fraction

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.identity import service as identity
from hilum.identity.models import StaffRole
from hilum.infra.context import Context
from hilum.kernel.actor import SYSTEM
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.notices import service as notices
from hilum.notices.models import EventKind, Mail, MailKind, VendorEvent
from hilum.policies import service as policies
from hilum.policies.models import Tier
from hilum.registry import service as registry
from hilum.review import clock_store, clocks, lens_store, policy
from hilum.review.clock_models import Breach, Clock, Figure, Level, Measure, MeasureKind, Stage
from hilum.review.models import (
    FIGURES_EVERY,
    FIGURES_OVER,
    LensReview,
    LensState,
    Route,
    State,
    Submission,
)

CLOSED = frozenset({State.CERTIFIED, State.REJECTED, State.WITHDRAWN})
CLIMBS_AFTER = Fraction(1)
"""Business days after which a missed clock climbs to the platform's administrators."""
_TOLD = {
    Level.REVIEWERS: {StaffRole.REVIEWER, StaffRole.PLATFORM_ADMIN},
    Level.OWNER: {StaffRole.PLATFORM_ADMIN},
}


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
    """Stop, pause or resume the clocks of a submission by its present state and lenses."""
    of = lens_store.lenses_of(ctx.tx, found.id)
    waits = any(each.state is LensState.NEEDS_CHANGES for each in of)
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
        # After a successful appeal the decision's clock continues; the time of the rejection is the platform's.
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
    leave(ctx, clock.breach)
    if clock.stage is Stage.DECISION and found.state in {State.CERTIFIED, State.REJECTED}:
        calendar = clocks.named(clock.calendar, clocks.shipped_calendars())
        used = clocks.elapsed(calendar, clock.started_at, ctx.now, clock.pauses)
        whole = clocks.elapsed(calendar, clock.started_at, ctx.now)
        tier = "" if clock.tier is None else clock.tier.value
        _measure(ctx, MeasureKind.LEAD, (tier, ""), (used, whole), good=used <= clock.allowed_days)


def measure_lens(ctx: Context, judged: LensReview) -> None:
    """Record how long a lens took from when it was taken to its verdict, without the time in which the vendor owed an answer (K12)."""
    if judged.taken_at is None or judged.state is LensState.NEEDS_CHANGES:
        return
    found = [
        each for each in clock_store.clocks_of(ctx.tx, judged.submission) if each.stage is Stage.DECISION
    ]
    calendar = clocks.named(found[0].calendar if found else "", clocks.shipped_calendars())
    steps = lens_store.lens_steps_of(ctx.tx, judged.submission, judged.lens)
    # A pause begins when the lens waits for the vendor and ends with its next step; the last one may be open.
    pauses: list[clocks.Span] = []
    for step in steps:
        if step.after is LensState.NEEDS_CHANGES:
            pauses.append((step.at, None))
        elif step.before is LensState.NEEDS_CHANGES and pauses:
            pauses[-1] = (pauses[-1][0], step.at)
    used = clocks.elapsed(calendar, judged.taken_at, ctx.now, pauses)
    whole = clocks.elapsed(calendar, judged.taken_at, ctx.now)
    tier = found[0].tier if found else None
    good = not found or used <= found[0].allowed_days
    where = ("" if tier is None else tier.value, judged.lens.value)
    _measure(ctx, MeasureKind.TURNAROUND, where, (used, whole), good=good)


def measure_outcome(ctx: Context, kind: MeasureKind, lens: str, *, good: bool) -> None:
    """Record whether a rejection stood on appeal, or a verdict was the known one."""
    _measure(ctx, kind, ("", lens), (Fraction(0), Fraction(0)), good=good)


def _measure(
    ctx: Context, kind: MeasureKind, where: tuple[str, str], days: tuple[Fraction, Fraction], *, good: bool
) -> None:
    used, whole = map(clocks.in_milli, days)
    clock_store.add_measure(
        ctx.tx, Measure(ctx.ids.new("mea"), kind, where[0], where[1], ctx.now, used, whole, good)
    )


# --- missed clocks ---------------------------------------------------------------------------------------------------------------


def note_missed(ctx: Context) -> int:
    """Enter clocks that were missed into the ledger, and tell who can do something about it; at most a batch. Return how many."""
    found = clock_store.missed(ctx.tx, ctx.now)
    for clock in found:
        assert clock.due_at is not None, "read by it"
        calendar = clocks.named(clock.calendar, clocks.shipped_calendars())
        breach = enter(
            ctx, clock.stage, clock.tier, clock.allowed_days, due_at=clock.due_at, calendar=calendar
        )
        clock_store.put_clock(ctx.tx, replace(clock, breach=breach.id))
        facts = {"submission": clock.submission, "stage": clock.stage.value, "breach": breach.id}
        due = clock.due_at.isoformat()
        audit.record(ctx, Event("review.clock.miss", app=clock.app, facts=facts | {"due_at": due}))
        app = registry.get_app(ctx, clock.app)
        late = {"submission_id": clock.submission, "app_id": app.id, "vendor_id": app.vendor, "due_at": due}
        stage = {"stage": clock.stage.value}
        notices.put_event(
            ctx, VendorEvent(EventKind.REVIEW_LATE, app.vendor, f"late/{breach.id}", late | stage, app.id)
        )
    return len(found)


def enter(
    ctx: Context,
    stage: Stage,
    tier: Tier | None,
    days: int,
    *,
    due_at: datetime,
    calendar: clocks.Calendar,
) -> Breach:
    """Enter a missed clock into the ledger, and tell who can do something about it."""
    climbs = clocks.due(calendar, due_at, CLIMBS_AFTER)
    breach = Breach(ctx.ids.new("brc"), stage, tier, days, due_at, ctx.now, Level.REVIEWERS, climbs)
    clock_store.put_breach(ctx.tx, breach)
    _notify(ctx, breach)
    return breach


def leave(ctx: Context, breach: str) -> None:
    """Record in the ledger that what was late is done; nothing if it was not late."""
    if breach:
        ended = replace(clock_store.get_breach(ctx.tx, breach), ended_at=ctx.now, climbs_at=None)
        clock_store.put_breach(ctx.tx, ended)


def climb(ctx: Context) -> int:
    """Take missed clocks that still run to the platform's administrators; at most a batch. Return how many."""
    found = clock_store.climbing(ctx.tx, ctx.now)
    for breach in found:
        after = replace(breach, level=Level.OWNER, climbs_at=None)
        clock_store.put_breach(ctx.tx, after)
        audit.record(
            ctx, Event("review.clock.climb", facts={"breach": breach.id, "stage": breach.stage.value})
        )
        _notify(ctx, after)
    return len(found)


def _notify(ctx: Context, breach: Breach) -> None:
    facts = {
        "stage": breach.stage.value,
        "tier": "unknown" if breach.tier is None else breach.tier.value,
        "days": str(breach.allowed_days),
        "due": breach.due_at.isoformat(),
        "entry": breach.id,
    }
    for _, address in identity.list_recipients(ctx, None, _TOLD[breach.level]):
        cause = f"review-late/{breach.id}/{breach.level}"
        notices.put_mail(ctx, Mail(MailKind.REVIEW_LATE, address, cause, facts))


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


def list_breaches(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Breach]:
    """List the public ledger of missed clocks, which names no app and no vendor."""
    return clock_store.list_breaches(ctx.tx, page)


def newest_breaches(ctx: Context, limit: int) -> list[Breach]:
    """List the newest entries of the ledger, the newest first."""
    return clock_store.newest_breaches(ctx.tx, limit)


# --- figures ---------------------------------------------------------------------------------------------------------------------


def figures_of(found: Iterable[Measure]) -> list[Figure]:
    """Return the published figures of measurements, by kind, tier and lens. Pure."""
    groups: defaultdict[tuple[MeasureKind, str, str], list[Measure]] = defaultdict(list)
    for each in found:
        groups[each.kind, each.tier, each.lens].append(each)
    made = []
    for (kind, tier, lens), of in sorted(groups.items()):
        used, whole = [each.milli for each in of], [each.milli_whole for each in of]
        made.append(
            Figure(
                kind,
                tier,
                lens,
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
