"""Report, tag, close and count defects."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppVersion, Environment
from hilum.foundation.actions.models import ID, PROSE, Arg, Denied, Effect, Noun, Shows
from hilum.foundation.actions.service import action
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM, Actor
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, Unavailable, not_shown
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.limits import too_long
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.web.api import MEMBER, STAFF
from hilum.policy.matrix import service as policies
from hilum.records.audit.models import Event
from hilum.review.defects import policy, store
from hilum.review.defects.models import OPEN_BOUND, TEXT_BOUND, Defect, Leakage, NewDefect, State, Tag

JUDGES = ("platform_admin", "security", "reviewer")
REPORTERS = (*JUDGES, "vendor_owner", "vendor_developer")
READERS = (STAFF, MEMBER)
OpenDefect = Annotated[str, ID, Arg("The defect.", "def_01h...", target=True)]
Outcome = Annotated[
    str,
    PROSE,
    Arg(
        "What was done; its vendor reads it.",
        '"Fixed in 1.1, which is certified."',
        label="What was done",
        area=True,
    ),
]
OneApp = Annotated[AppId | None, ID, Arg("Only those of one app.", names="app")]
_TONES = {State.TO_TAG: "bad", State.OPEN: "warn", State.CLOSED: "plain"}


def _visible(ctx: Context, defect_id: str, *, lock: bool = False) -> Defect:
    defect = store.DEFECTS.get(ctx.tx, defect_id, lock=lock)
    if not policy.may_see(ctx.actor, defect.vendor):
        raise store.DEFECTS.missing()
    return defect


def _event(code: str, subject: Defect | App) -> Event:
    if isinstance(subject, App):
        return Event(code, app=subject.id)
    facts: dict[str, object] = {"defect": subject.id, "version": subject.version}
    facts |= {"seen_in": subject.seen_in.value, "severity": subject.severity.value}
    if subject.reproducible is not None:
        facts |= {
            "reproducible": subject.reproducible,
            "scenario": subject.scenario,
            "proposed": subject.proposed,
        }
    return Event(code, app=subject.app, facts=facts)


def _notices(defect: Defect, _now: datetime) -> Sequence[tuple[str, str]]:
    return [("A new scenario", "The policy has no scenario {scenario} yet.")] if defect.proposed else []


def _may_act(actor: Actor, defect: Defect, _now: datetime) -> bool:
    return policy.may_judge(actor) and defect.closed_at is None


DEFECT = Noun(
    "defect",
    "defects",
    Defect,
    load=_visible,
    about=_event,
    title="Defect of {app}, version {label}",
    help="Record defects of apps, and say of those that escaped to production whether the sandbox could have shown them.",
    columns=(
        Shows("summary", "Defect"),
        Shows("app", "App", note="label"),
        Shows("seen_in", "First seen in"),
        Shows("severity", "Severity"),
        Shows("scenario", "Scenario"),
        Shows("state", "State"),
    ),
    facts=(
        Shows("summary", "What is wrong", wide=True),
        Shows("app", "App", note="label"),
        Shows("severity", "Severity"),
        Shows("seen_in", "First seen in"),
        Shows("first_seen_at", "When"),
        Shows("went_live_at", "Certified for production"),
        Shows("scenario", "The sandbox shows it in"),
        Shows("gap", "What the sandbox lacks", wide=True),
        Shows("closed_at", "Closed"),
        Shows("outcome", "What was done", wide=True),
    ),
    derived={"state": policy.state_of},
    badge=lambda _actor, defect, now: (
        policy.state_of(defect, now).replace("_", " "),
        _TONES[policy.state_of(defect, now)],
    ),
    notices=_notices,
)


@action(
    DEFECT,
    "report",
    who=REPORTERS,
    creates=True,
    past="recorded a defect",
    button="Report it",
)
def report(ctx: Context, order: NewDefect) -> Defect:
    """Record a defect of a version, and where it was first seen.

    Raises NotFound, NotPermitted, Invalid, Unavailable (too many are open).
    """
    version = registry.get_version(ctx, order.version)
    app = registry.get_app(ctx, version.app)
    if not policy.may_report(ctx.actor, app.vendor):
        if not policy.may_see(ctx.actor, app.vendor):
            raise NotFound("version_not_found", "There is no such version.")
        raise Denied(app)
    if (
        not policy.may_judge(ctx.actor)
        and store.DEFECTS.count(ctx.tx, app=app.id, closed_at=None) >= OPEN_BOUND
    ):
        detail = f"{OPEN_BOUND} defects of this app are open. Ask the platform's staff to close those that are fixed."
        raise Unavailable("too_many_defects", detail)
    live = _live_since(ctx, version)
    if faults := policy.report_faults(order, live, ctx.now):
        raise Invalid(
            "defect_invalid", "The defect cannot be recorded as described; see fields.", fields=faults
        )
    reported = Defect(
        id=ctx.ids.new("def"),
        app=app.id,
        vendor=app.vendor,
        version=version.id,
        label=version.label,
        seen_in=order.seen_in,
        severity=order.severity,
        summary=order.summary.strip(),
        first_seen_at=order.first_seen_at or ctx.now,
        went_live_at=live,
        reported_by=str(ctx.actor),
        reported_at=ctx.now,
    )
    store.DEFECTS.add(ctx.tx, reported)
    return reported


@action(
    DEFECT,
    "tag",
    who=JUDGES,
    past="said whether the sandbox could have shown a defect",
    button="Record it",
    asks="Could the sandbox have shown it?",
    consequence="Needed before one that was first seen in production is closed. It can be corrected until then.",
    when=_may_act,
)
def tag(ctx: Context, defect_id: OpenDefect, order: Tag) -> Defect:
    """State whether the sandbox could have shown a defect: in which scenario, or what it lacks.

    Raises NotFound, NotPermitted, Invalid, Conflict (closed).
    """
    before = _judged(ctx, defect_id)
    if faults := policy.tag_faults(order):
        raise Invalid("tag_invalid", "Name a scenario, or say what the sandbox lacks.", fields=faults)
    scenario = order.scenario.strip()
    book = policies.current(ctx.as_actor(SYSTEM)).everywhere
    tagged = replace(
        before,
        reproducible=bool(scenario),
        scenario=scenario,
        proposed=bool(scenario) and scenario not in book.scenarios,
        gap=order.gap.strip(),
        tagged_by=str(ctx.actor),
        tagged_at=ctx.now,
    )
    store.DEFECTS.save(ctx.tx, tagged)
    return tagged


@action(DEFECT, "close", who=JUDGES, past="closed a defect", button="Close it", when=_may_act)
def close(ctx: Context, defect_id: OpenDefect, outcome: Outcome) -> Defect:
    """Close a defect, with what was done.

    Raises NotFound, NotPermitted, Invalid, Conflict (closed; seen in production and not tagged).
    """
    before = _judged(ctx, defect_id)
    if not outcome.strip() or len(outcome) > TEXT_BOUND:
        fields = {"outcome": too_long(TEXT_BOUND) if outcome.strip() else "missing"}
        raise Invalid("defect_invalid", "Say what was done.", fields=fields)
    if policy.state_of(before, ctx.now) is State.TO_TAG:
        detail = (
            "This defect was first seen in production. Say first whether the sandbox could have shown it."
        )
        raise Conflict("defect_untagged", detail)
    closed = replace(before, closed_by=str(ctx.actor), closed_at=ctx.now, outcome=outcome.strip())
    store.DEFECTS.save(ctx.tx, closed)
    return closed


@action(DEFECT, "show", who=READERS, effect=Effect.READS)
def view(ctx: Context, defect_id: OpenDefect) -> Defect:
    """Show one defect.

    Raises NotFound, also for another vendor's.
    """
    return _visible(ctx, defect_id)


@action(DEFECT, "list", who=READERS, effect=Effect.READS)
def list_defects(ctx: Context, app: OneApp = None, page: PageQuery = FIRST_PAGE) -> list[Defect]:
    """List defects, newest first: staff get those of every app, a member those of their vendor's apps.

    Raises NotPermitted.
    """
    vendor = None if ctx.actor.is_platform else ctx.actor.vendor
    if not ctx.actor.is_platform and (vendor is None or not policy.may_see(ctx.actor, vendor)):
        raise not_shown("defects", Readers.VENDOR)
    return store.list_defects(ctx.tx, page, vendor=vendor, app=app)


def view_figures(ctx: Context) -> Leakage:
    """Return how many of the newest defects escaped to production (K2). Names no app; ``live`` caches it for the public."""
    found = store.read_newest(ctx.tx)
    certified = registry.read_certified(ctx, {each.app for each in found}) if found else None
    by_app = {} if certified is None else certified.certifications
    live = {
        each.version
        for all_ in by_app.values()
        for each in all_
        if each.environment is Environment.PRODUCTION
    }
    return policy.leakage(found, live)


def _live_since(ctx: Context, version: AppVersion) -> datetime | None:
    """Return when a version was first certified for production."""
    found = registry.certifications_of(ctx, version.app)
    moments = [
        each.certified_at
        for each in found
        if each.version == version.id and each.environment is Environment.PRODUCTION
    ]
    return min(moments, default=None)


def _judged(ctx: Context, defect_id: str) -> Defect:
    defect = _visible(ctx, defect_id, lock=True)
    if not policy.may_judge(ctx.actor):
        raise Denied(defect, detail="The platform's staff tags and closes defects.")
    if defect.closed_at is not None:
        raise Conflict("defect_closed", "This defect is closed.")
    return defect
