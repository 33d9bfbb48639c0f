"""What waits for a second person, on the console of who may be one: what would be done, what it replaces, and agreeing or refusing."""

from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from hilum.approvals import service as approvals
from hilum.approvals.models import Agreed, Approval, ApprovalKind, ApprovalState
from hilum.console import service, words
from hilum.console.desk import Visit, address, at, to
from hilum.infra.context import Context
from hilum.kernel.errors import Invalid
from hilum.kernel.pages import PageQuery
from hilum.rollouts.policy import order_in_words
from hilum.web.forms import Form

SHOWN = 100
_KINDS = {
    "create": "Add an account",
    "reset": "A new link into an account",
    "charts": "Open a chart to a proxy",
    "tenant": "Move a hospital's data or its browsers",
    "peer": "A client of a hospital's EHR",
    "secret": "A new secret of an EHR's client",
    "policy": "Put a rule book in force",
    "rollout": "Roll a rule book out",
    "override": "Set a rule aside for an app",
    "exception": "Make an exception for a version",
    "factors": "Remove lost second factors",
    "provider": "An identity provider of a hospital",
    "provider_host": "Allow a host of identity providers",
    "provider_link": "Link an account with an identity",
    "break_glass": "Emergency access to restricted records",
    "departure": "A hospital leaves the platform",
    "webhook": "Where requests to delete data go",
    "lenses": "For which lenses a reviewer signs",
}


def kind_of(name: str) -> str:
    """Return a kind of approvals in words."""
    return _KINDS.get(name, name)


def waiting(ctx: Context, visit: Visit) -> list[tuple[str, str, str, str, Any, str]]:
    """Return what waits at the visitor's place: kind, about what, where, asked by whom, until when, and where it is decided."""
    found = approvals.list_pending(ctx, page=PageQuery(limit=SHOWN))
    names = service.names(
        ctx, [each.asked_by for each in found], tenants=[each.act.tenant or "" for each in found]
    )
    me = visit.visitor.person.id
    return [
        (
            kind_of(each.act.kind.value),
            about(each),
            names.tenant(each.act.tenant) if each.act.tenant else "platform",
            "you" if each.asked_by == me else names.person(each.asked_by),
            each.expires_at,
            address(at(visit, "approval"), each.id),
        )
        for each in found
    ]


async def show(visit: Visit) -> Response:
    """Show what waits for a second person at the visitor's place."""
    return visit.render("console/approvals.html", waiting=await visit.read(lambda ctx: waiting(ctx, visit)))


def about(found: Approval) -> str:
    """Return what an approval is about, in a word of its order."""
    order = found.act.order
    return next(
        (
            str(order[name])
            for name in ("name", "username", "client_name", "version", "url")
            if order.get(name)
        ),
        found.act.target,
    )


async def show_approval(visit: Visit) -> Response:
    """Show what would be done, what it replaces, and who asked."""
    return visit.render("console/approval.html", **await visit.read(partial(_approval, visit=visit)))


def _approval(ctx: Context, visit: Visit) -> dict[str, Any]:
    found = approvals.view(ctx, visit.param())
    act = found.act
    ids = [found.asked_by, found.decided_by or "", *service.ids_in(map(str, act.order.values()))]
    names = service.names(ctx, ids, tenants=[act.tenant or ""])
    order = dict(act.order)
    if act.kind is ApprovalKind.ROLLOUT:
        order = order_in_words(order, names.tenant)
    keys = [*order, *(each for each in act.before if each not in order)]
    return {
        "approval": found,
        "kind": kind_of(act.kind.value),
        "about": about(found),
        "place": names.tenant(act.tenant) if act.tenant else "the platform",
        "asked_by": names.person(found.asked_by),
        "decided_by": names.person(found.decided_by) if found.decided_by else "",
        "mine": found.asked_by == visit.visitor.person.id,
        "waits": found.state is ApprovalState.PENDING and found.expires_at > ctx.now,
        "rows": [
            (words.field(key), _value(act.before.get(key), names), _value(order.get(key), names))
            for key in keys
        ],
        "replaces": bool(act.before),
    }


def _value(value: object, names: service.Names) -> str:
    if value is None:
        return ""
    # Whole, however long: what is cut off would be agreed to unseen.
    return names.sentence(value if isinstance(value, str) else orjson.dumps(value, default=str).decode())


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
                about=about(agreed.approval),
                back=_list(visit),
            )
        case _:
            raise Invalid(
                "decision_missing", "Choose whether to agree or to refuse.", fields={"decision": "missing"}
            )


def _list(visit: Visit) -> str:
    return address(visit.page.parent)
