"""Emergency accesses of a hospital: the list that somebody reviews, one of them with its verdict, and what is allowed."""

from datetime import datetime
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.authorization.breakglass import policy, service
from hilum.authorization.breakglass.models import (
    MINUTES_MAX,
    OPENABLE,
    PER_DAY_MAX,
    PROTECTED_BY_LAW,
    REVIEW_HOURS_MAX,
    SORTS,
    Opened,
    SettingsChange,
    Use,
    UseQuery,
    UseState,
)
from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.foundation.actions.service import declared, parse
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.audit.policy import emergency_of
from hilum.surfaces.console import fields, words
from hilum.surfaces.console import service as names_of
from hilum.surfaces.console.desk import Visit, address, to, to_approval
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.surfaces.console.tenant.apps import own

LIST = List(
    columns=(
        Column("Person"),
        Column("App"),
        Column("State"),
        Column("Began", "-began", number=True),
        Column("Review before", "review", number=True),
        Column("Verdict"),
    ),
    one="emergency access",
    many="emergency accesses",
    empty=Empty("None", "No clinician opened restricted records in an emergency that waits for a review."),
    filters=(
        Filter("which", "Show", (Option("findings", "Overdue"), Option("all", "All")), unset="To review"),
    ),
    own="review",
)
_TONES = {
    UseState.OPEN: "warn",
    UseState.OVERDUE: "bad",
    UseState.WAITING: "accent",
    UseState.REVIEWED: "good",
}


async def show_list(visit: Visit) -> Response:
    """List emergency accesses, those that wait for a review first."""
    action = ("What is allowed", address("tenant.emergency_settings"))
    lead = "Clinicians who opened restricted records. Nobody reviews their own."
    return await visit.show_list(LIST, _listed, lead=lead, action=action)


def _listed(ctx: Context, asked: Asked) -> Listed:
    query = UseQuery(
        tenant=own(ctx).id, waiting=asked["which"] != "all", findings=asked["which"] == "findings"
    )
    page = PageQuery(asked.after, ROWS, asked.order)
    found = service.list_uses(ctx, query, page)
    names = names_of.names(ctx, [each for use in found for each in (use.person, use.app)])
    rows = [_row(use, policy.state_of(use, ctx.now), names) for use in found]
    return Listed(rows, None, next=SORTS.next(found, page))


def _row(use: Use, state: UseState, names: names_of.Names) -> tuple[Cell, ...]:
    return (
        Cell(names.person(use.person), address("tenant.emergency", use.id)),
        Cell(names.app(use.app)),
        Cell(state.value, kind="badge", tone=_TONES[state]),
        Cell("", at=use.opened_at),
        Cell("", at=use.review_by),
        Cell(use.verdict),
    )


async def show(visit: Visit) -> Response:
    """Show one emergency access, with the form that ends or reviews it."""
    facts = await visit.read(lambda ctx: _shown(ctx, visit))
    use = facts["use"]

    def verb(ctx: Context) -> tuple[Opened, Event]:
        seen = service.read_opened(ctx, use, visit.ports.accesses)
        return seen, audit.reading_of(service.answers_of(use), len(seen.accesses))

    seen = await visit.audited(audit.reading_of(service.answers_of(use)), verb)
    return visit.render("console/tenant/emergency.html", seen=seen, answers=_answers(visit, seen), **facts)


def _answers(visit: Visit, seen: Opened) -> list[tuple[datetime, str, int, str]]:
    """Return the newest answers of the use: when, what was asked, how many records it opened, and where it is explained."""
    return [
        (
            access.at,
            f"{access.interaction} {access.resource_type}".strip(),
            (emergency_of(access) or ("", 0))[1] or 0,
            visit.link("request", access.request_id),
        )
        for access in seen.accesses[:ROWS]
    ]


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    use = service.view_use(ctx, visit.param())
    names = names_of.names(ctx, [use.person, use.app, use.reviewed_by, use.ended_by])
    state = policy.state_of(use, ctx.now)
    return {
        "use": use,
        "state": state.value,
        "tone": _TONES[state],
        "person": names.person(use.person),
        "role": words.role(use.role),
        "app": names.app(use.app),
        "reviewer": names.actor(use.reviewed_by) if use.reviewed_by else "",
        "ender": names.actor(use.ended_by) if use.ended_by else "",
        "categories": [policy.kind(each) for each in use.categories],
        "reviewable": state in {UseState.WAITING, UseState.OVERDUE} and not policy.is_own(ctx.actor, use),
        "running": state is UseState.OPEN,
        "activity": address("tenant.activity", person=use.person),
    }


async def act(visit: Visit, form: Form) -> Response:
    """End an emergency access, or close it with a verdict."""
    match form.one("act"):
        case "end":
            await visit.write(partial(service.end_use, use_id=visit.param()))
        case "review":
            typed = {name: form.one(name) for name in ("verdict", "note")}
            given = parse(declared(service.review), typed)
            await visit.write(partial(service.review, use_id=visit.param(), **given))
        case _:
            raise fields.no_such_act()
    return to(address("tenant.emergency", visit.param()))


async def show_settings(visit: Visit) -> Response:
    """Show what the hospital allows its clinicians in an emergency."""
    return visit.render("console/tenant/emergency_settings.html", **await visit.read(_settings))


def _settings(ctx: Context) -> dict[str, Any]:
    found = service.view_settings(ctx, own(ctx).id)
    return {
        "settings": found,
        "categories": [
            (each, policy.kind(each), each in found.categories, each in PROTECTED_BY_LAW)
            for each in sorted(OPENABLE)
        ],
        "bounds": (MINUTES_MAX, PER_DAY_MAX, REVIEW_HOURS_MAX),
    }


async def change_settings(visit: Visit, form: Form) -> Response:
    """Change what is allowed, or ask a second administrator for what gives more."""
    numbers = {name: form.one(name) for name in ("minutes", "per_day", "review_hours")}
    if bad := {name: "wrong_type" for name, text in numbers.items() if not _is_number(text)}:
        raise Invalid("form_invalid", "Enter whole numbers.", fields=bad)
    change = SettingsChange(
        enabled=form.one("enabled") == "yes",
        categories=form.many("category"),
        **{name: int(text) for name, text in numbers.items()},
    )
    done = await visit.write(lambda ctx: service.change_settings(ctx, own(ctx).id, change))
    if isinstance(done, AskedTwo):
        return to_approval(visit, done)
    return to(address("tenant.emergency_settings"))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 5
