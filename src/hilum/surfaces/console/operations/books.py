"""Trying a version of the policy on past decisions, and putting it in force with what that means."""

from collections import Counter
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.people import service as identity
from hilum.operations.dry_runs import service as dryruns
from hilum.operations.dry_runs.models import Kind
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import TENANTS_BOUND, ApplyOrder, DryRun, DryRunState
from hilum.surfaces.console import fields, policy, service
from hilum.surfaces.console.desk import Visit, address, to, to_approval
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.surfaces.console.operations.policies import number_of
from hilum.surfaces.console.parts import book_changes

MULTI = ("tenants",)
SHOWN = 100
_STATES = {
    DryRunState.WAITING: ("waits", "info"),
    DryRunState.RUNNING: ("runs", "info"),
    DryRunState.DONE: ("done", "good"),
    DryRunState.FAILED: ("failed", "bad"),
}
_VERDICTS = {
    "allow_to_refuse": ("permitted, would be refused", "bad"),
    "allow_to_less": ("permitted, would see less", "warn"),
    "refuse_to_allow": ("refused, would be permitted", "accent"),
}
_LAPSES = {
    "certificate_ends": ("the certificate is older than its new life", "bad"),
    "grace_ends": ("its grace would be over", "bad"),
    "gap_ends": ("what was issued before an earlier gap ends", "bad"),
    "agreements_end": ("people's agreements end", "warn"),
    "refresh_tokens_end": ("apps must be opened again", "warn"),
    "agreements_missing": ("agreements with the vendor are missing", "bad"),
    "proofs_missing": ("the vendor's proofs are missing", "warn"),
    "app_stopped": ("overdue findings stop new launches", "bad"),
    "app_suspended": ("overdue findings suspend it", "bad"),
    "exception_ends": ("an exception ends", "warn"),
}
DECISION_CHANGES = List(
    columns=(
        Column("What would change"),
        Column("App"),
        Column("Hospital"),
        Column("Decisions", number=True),
        Column("Scope"),
        Column("Last", number=True),
    ),
    one="kind of decision",
    many="kinds of decisions",
    empty=Empty("None", "No decision of the last 90 days would be another one by the scopes of the version."),
    filters=(Filter("verdict", "Show", tuple(Option(name, text) for name, (text, _) in _VERDICTS.items())),),
)


async def show(visit: Visit) -> Response:
    """Show what putting a version in force means, its dry runs, and the form that asks for it; an address may say where."""
    asked = visit.query()
    at = tuple(asked.one("tenants").split())[:TENANTS_BOUND]
    where = "some" if at else asked.one("where")
    chosen = Form({"where": (where,), "tenants": at}) if where in {"some", "everywhere"} else fields.NO_FORM
    return await _page(visit, chosen, None)


async def _page(visit: Visit, given: Form, error: Invalid | Conflict | None) -> Response:
    facts = await visit.read(partial(_shown, visit=visit, number=number_of(visit.param())))
    return visit.render(
        "console/operations/apply.html",
        **fields.answered(given, error),
        **facts,
    )


def _shown(ctx: Context, visit: Visit, number: int) -> dict[str, Any]:
    """Return what putting a version in force means: what differs, its dry runs, and which version each hospital has."""
    now = policies.in_force(ctx)
    version = policies.get_signed(ctx, number)
    runs = [each for each in dryruns.list_runs(ctx, PageQuery(limit=SHOWN)) if each.version == number]
    hospitals = [each for each in identity.view_tenants(ctx, PageQuery(limit=PAGE_BOUND)) if each.active]
    repeated = {name for name, count in Counter(each.name for each in hospitals).items() if count > 1}
    return {
        "version": version,
        "now": now,
        "undo": policies.take_back(ctx),
        **book_changes.compared(ctx, now.everywhere, number),
        "first": policies.needs_hospitals_first(ctx, number),
        "refusals": book_changes.refusals(ctx, number, visit.ports.traffic),
        "runs": [_run(each) for each in runs[:5]],
        "hospitals": [
            (
                each.id,
                f"{each.name} ({each.id})" if each.name in repeated else each.name,
                now.at.get(each.id, now.everywhere),
            )
            for each in hospitals
        ],
    }


def _run(run: DryRun) -> tuple[DryRun, str, str, str]:
    return run, *_STATES[run.state], address("operations.dry_run", run.id)


async def try_out(visit: Visit, number: int) -> Response:
    """Start a dry run of a version."""
    run = await visit.write(partial(policies.ask_dry_run, version=number))
    return to(address("operations.dry_run", run.id))


async def apply(visit: Visit, form: Form) -> Response:
    """Start a dry run, or put the version in force; what allows something new waits for a second person."""
    number = number_of(visit.param())
    if form.one("act") == "try":
        return await try_out(visit, number)
    after = form.one("after")
    if form.one("act") != "apply" or not after.isdecimal() or len(after) > 9:
        return await _page(visit, form, fields.no_such_act())
    tenants = tuple(map(TenantId, form.many("tenants")))
    if form.one("where") not in {"everywhere", "some"} or (form.one("where") == "some") != bool(tenants):
        fault = Invalid("form_invalid", "Choose everywhere, or the hospitals.", fields={"where": "missing"})
        return await _page(visit, form, fault)
    try:
        reason = fields.required(form, "reason")
        order = ApplyOrder(number, tenants, int(after), reason, form.one("emergency") == "yes")
        # Two large policies take a while to compare, which must not delay other writers.
        await visit.read(partial(policies.prepare, order=order))
        done = await visit.write(partial(policies.apply, order=order))
    # What is missing, such as a dry run, is shown beside the form.
    except (Invalid, Conflict) as error:
        return await _page(visit, form, error)
    if isinstance(done, AskedTwo):
        return to_approval(visit, done)
    return to(address("operations.policy"))


async def show_run(visit: Visit) -> Response:
    """Show a dry run: its numbers, and the decisions that would turn out differently."""

    def look(ctx: Context) -> dict[str, Any]:
        run = dryruns.view(ctx, visit.param())
        names = service.names(ctx, [run.asked_by])
        return {
            "run": run,
            "state": _STATES[run.state],
            "asked_by": names.actor(run.asked_by),
            **book_changes.found_by(ctx, run),
            "done": run.state is DryRunState.DONE,
            "lapses": _lapses(ctx, run),
            "more": max(0, run.counts.get("lapses", 0) - SHOWN),
            "apply": address("operations.apply", str(run.version))
            if visit.may_open("operations.apply")
            else "",
        }

    return await visit.show_list(
        DECISION_CHANGES,
        lambda ctx, asked: _decision_changes(ctx, visit.param(), asked),
        "console/operations/dry_run.html",
        **await visit.read(look),
    )


def _decision_changes(ctx: Context, run: str, asked: Asked) -> Listed:
    if dryruns.view(ctx, run).state is not DryRunState.DONE:
        return Listed(())
    found = dryruns.list_rows(
        ctx, run, Kind.DECISION_CHANGE, PageQuery(policy.word(asked.after, "after"), ROWS)
    )
    bodies = [each.fields for each in found]
    known = fields.names(ctx, [each["app"] for each in bodies], [each["tenant"] for each in bodies])
    rows = [
        (
            Cell(_VERDICTS[each["verdict"]][0], kind="badge", tone=_VERDICTS[each["verdict"]][1]),
            Cell(known.get(each["app"], each["app"]), address("operations.app", each["app"])),
            Cell(known.get(each["tenant"], each["tenant"])),
            Cell(f"{each['number']:,}"),
            Cell(each["scope"], kind="code"),
            Cell(str(each["last"])[:16].replace("T", " ")),
        )
        for each in bodies
        if asked["verdict"] in {"", each["verdict"]}
    ]
    return Listed(rows, next=str(found[-1].number) if len(found) == ROWS else "")


def _lapses(ctx: Context, run: DryRun) -> list[dict[str, Any]]:
    """Return the first rows of what lapses beside scopes, with names."""
    # A run of a release before has none.
    if run.state is not DryRunState.DONE or not run.counts.get("lapses"):
        return []
    found = [each.fields for each in dryruns.list_rows(ctx, run.id, Kind.LAPSE, PageQuery(limit=SHOWN))]
    known = fields.names(ctx, [each["app"] for each in found], [each["tenant"] for each in found])
    return [
        {
            "what": _LAPSES.get(each["what"], (each["what"].replace("_", " "), "info")),
            "app": known.get(each["app"], each["app"]),
            "address": address("operations.app", each["app"]),
            "hospital": known.get(each["tenant"], each["tenant"]) or "everywhere",
            "which": each["which"],
            "number": each["number"],
            "before": str(each["before"] or "")[:16].replace("T", " "),
            "until": str(each["until"] or "")[:16].replace("T", " ") or "at once",
        }
        for each in found
    ]
