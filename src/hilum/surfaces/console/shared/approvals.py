"""What waits for a second person, on the console of who may be one: what would be done, what it replaces, and agreeing or refusing."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.controls.approvals import service as approvals
from hilum.controls.approvals.models import Act, Agreed, Approval, ApprovalKind, ApprovalState
from hilum.controls.switches.models import RELEASE_ASK_LIFE
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.web.forms import Form
from hilum.operations.dry_runs import service as dryruns
from hilum.operations.switch_administration import service as switch_administration
from hilum.surfaces.console import service
from hilum.surfaces.console.desk import Visit, address, at, to
from hilum.surfaces.console.parts import acts, book_changes
from hilum.surfaces.console.policy import PAGES

SHOWN = 100
_PAGES: Mapping[ApprovalKind, str] = {
    ApprovalKind.POLICY: "version",
    ApprovalKind.TENANT: "settings",
    ApprovalKind.OFFBOARDING: "offboardings",
    ApprovalKind.BREAK_GLASS: "emergency_settings",
    ApprovalKind.DISCIPLINES: "reviewers",
    ApprovalKind.PROVIDER: "providers",
    ApprovalKind.PROVIDER_LINK: "providers",
}
"""Where what an act is about has its own page, at the console of who decides."""


def waiting(ctx: Context, visit: Visit) -> list[tuple[str, str, str, Any, str, bool]]:
    """Return what waits at the visitor's place: what, where, asked by whom, until when, where it is decided, and whether the visitor may."""
    found = approvals.list_waiting(ctx)[:SHOWN]
    mine = {each.id for each in approvals.list_for_actor(ctx, acts=visit.ports.acts)}
    names = acts.names_of(ctx, [each.act for each in found], *(each.asked_by for each in found))
    rows = [
        (
            acts.sentence(ctx, each.act, names),
            acts.place(each.act.tenant, names),
            "you" if each.asked_by == visit.visitor.person.id else names.person(each.asked_by),
            each.expires_at,
            address(at(visit, "approval"), each.id),
            each.id in mine,
        )
        for each in found
    ]
    return rows + (_releases(ctx) if ctx.actor.is_platform else [])


def _releases(ctx: Context) -> list[tuple[str, str, str, Any, str, bool]]:
    found = switch_administration.list_asked(ctx)
    names = service.names(
        ctx, [each.release_asked_by for each, _ in found], targets=[each.target for each, _ in found]
    )
    return [
        (
            f"Release the switch on {names.target(each.target)}.",
            "the platform",
            "you" if each.release_asked_by == str(ctx.actor) else names.actor(each.release_asked_by),
            each.release_asked_at + RELEASE_ASK_LIFE,
            address("operations.release", each.id),
            mine,
        )
        for each, mine in found
        if each.release_asked_at is not None
    ]


async def show(visit: Visit) -> Response:
    """Show what waits for a second person at the visitor's place."""
    return visit.render("console/approvals.html", waiting=await visit.read(lambda ctx: waiting(ctx, visit)))


async def show_approval(visit: Visit) -> Response:
    """Show what would be done, what it replaces, and who asked."""
    return visit.render("console/approval.html", **await visit.read(partial(_approval, visit=visit)))


def _approval(ctx: Context, visit: Visit) -> dict[str, Any]:
    found = approvals.view(ctx, visit.param())
    act, names = found.act, acts.names_of(ctx, [found.act], found.asked_by, found.decided_by or "")
    rows = acts.compared(ctx, act, names)
    return {
        "approval": found,
        "sentence": acts.sentence(ctx, act, names),
        "place": acts.place(act.tenant, names),
        "asked_by": names.person(found.asked_by),
        "decided_by": names.person(found.decided_by) if found.decided_by else "",
        "mine": found.asked_by == visit.visitor.person.id,
        "yours": found.id in {each.id for each in approvals.list_for_actor(ctx, acts=visit.ports.acts)},
        "waits": found.state is ApprovalState.PENDING and found.expires_at > ctx.now,
        "rows": rows,
        "replaces": any(before and after for _, before, after in rows),
        "link": _link(visit, act),
        "book": _book(ctx, visit, act) if act.kind is ApprovalKind.POLICY else None,
    }


def _link(visit: Visit, act: Act) -> tuple[str, str]:
    """Return title and address of the page of what an act is about; empty if the visitor has none."""
    name = _PAGES.get(act.kind, "app" if act.order.get("app") else "")
    page = PAGES.get(f"review.{name}" if act.kind is ApprovalKind.DISCIPLINES else at(visit, name))
    if page is None or not visit.may_open(page.key):
        return "", ""
    target = str(act.order["app"]) if name == "app" else act.target
    return page.title, address(page.key, target) if "{id}" in page.path else address(page.key)


def _book(ctx: Context, visit: Visit, act: Act) -> dict[str, Any]:
    """Return what the pages of a version and of its dry run show; what is newly allowed is what was agreed to, and whole."""
    version, before = int(act.order["version"]), int(act.before["everywhere"])
    allows = list(act.order["allows"])
    found = book_changes.compared(ctx, before, version) | {"wider": allows, "wider_count": len(allows)}
    run_id = act.order["dry_run"].get("id")
    run = dryruns.view(ctx, run_id) if run_id else None
    kept = run is not None and dryruns.newest_run(ctx, version) is not None
    return found | {
        "before": before,
        "after": version,
        "refusals": "" if act.order["tenants"] else book_changes.refusals(ctx, version, visit.ports.traffic),
        "run": run,
        **(book_changes.found_by(ctx, run) if run and kept else {}),
    }


async def decide(visit: Visit, form: Form) -> Response:
    """Agree as the second person, or refuse; what is shown once is shown here."""
    match form.one("decision"):
        case "refuse":
            await visit.write(partial(approvals.refuse, approval_id=visit.param()))
            return to(_list(visit))
        case "approve":
            prepare = partial(approvals.prepare, approval_id=visit.param(), acts=visit.ports.acts)
            await visit.read(prepare)
            agreed: Agreed = await visit.write(
                partial(approvals.approve, approval_id=visit.param(), acts=visit.ports.acts)
            )
            done, tenant = agreed.done, agreed.approval.act.tenant
            link = visit.kit.urls.enrol(tenant or "", done.link) if done.link else ""
            if not (link or done.secret_end or done.setup_code):
                return to(address(at(visit, "approval"), visit.param()))
            return visit.render(
                "console/agreed.html",
                link=link,
                code=done.setup_code,
                secret=done.secret_end,
                about=await visit.read(lambda ctx: _said(ctx, agreed.approval)),
                back=_list(visit),
            )
        case _:
            raise Invalid(
                "decision_missing", "Choose whether to agree or to refuse.", fields={"decision": "missing"}
            )


def _said(ctx: Context, approval: Approval) -> str:
    return acts.sentence(ctx, approval.act, acts.names_of(ctx, [approval.act]))


def _list(visit: Visit) -> str:
    return address(visit.page.parent)
