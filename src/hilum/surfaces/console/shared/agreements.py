"""Agreements between a vendor and a hospital, for both: one records what was signed, the other confirms it, each ends it."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.agreements import service
from hilum.apps.agreements.models import (
    KINDS,
    SORTS,
    Agreement,
    AgreementQuery,
    AgreementState,
    NewAgreement,
    Side,
)
from hilum.apps.agreements.policy import side_of, state_of
from hilum.apps.names.models import Kind
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import AppsQuery
from hilum.foundation.actions.policy import version_of
from hilum.foundation.actions.service import declared, parse, perform
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import TenantId, VendorId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.people import service as identity
from hilum.policy.matrix import service as policies
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, at, to
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import ROWS, Asked, Cell, Column, Console, Empty, Filter, Listed, Option

SUGGESTED = 100
"""Names of the other side that a form suggests."""
_STATES = {
    AgreementState.WAITING: ("not confirmed", "accent"),
    AgreementState.AGREED: ("begins later", "info"),
    AgreementState.IN_FORCE: ("in force", "good"),
    AgreementState.LAPSED: ("run out", "bad"),
    AgreementState.ENDED: ("ended", "plain"),
}


def _list(visit: Visit) -> List:
    other = "Hospital" if visit.page.console is Console.DEVELOPER else "Vendor"
    return List(
        columns=(
            Column("Agreement"),
            Column(other),
            Column("State"),
            Column("From", number=True),
            Column("Until", "until", number=True),
        ),
        one="agreement",
        many="agreements",
        empty=Empty(
            "No agreement is recorded",
            "Record what was signed; it takes effect once the other organisation confirms it.",
            address(at(visit, "agreement_new")) if visit.may_open(at(visit, "agreement_new")) else "",
            "Record an agreement",
        ),
        filters=(Filter("show", "Show", (Option("findings", "Over, and not replaced"),)),),
    )


async def show_list(visit: Visit) -> Response:
    """List the agreements of the visitor's organisation."""
    new = at(visit, "agreement_new")
    return await visit.show_list(
        _list(visit),
        lambda ctx, asked: _listed(ctx, visit, asked),
        lead="Agreements signed between a vendor and a hospital. An app is not installed without those that it needs.",
        action=("Record an agreement", address(new)) if visit.may_open(new) else None,
    )


def _listed(ctx: Context, visit: Visit, asked: Asked) -> Listed:
    query = AgreementQuery(findings=asked["show"] == "findings")
    page = PageQuery(asked.after, ROWS, asked.order)
    found = service.list_agreements(ctx, query, page)
    known = fields.names(ctx, [each.vendor for each in found], [each.tenant for each in found])
    rows = [
        (
            Cell(_kind(each.kind), address(at(visit, "agreement"), each.id), each.entity),
            Cell(_other(visit, each, known)),
            _state(each, visit, ctx),
            Cell("", at=each.effective_at),
            Cell("", at=each.ends_at) if each.ends_at else Cell("no end"),
        )
        for each in found
    ]
    return Listed(rows, next=SORTS.next(found, page))


def _kind(kind: str) -> str:
    return KINDS.get(kind, kind.replace("_", " ")).capitalize()


def _other(visit: Visit, found: Agreement, known: dict[str, str]) -> str:
    id_ = found.tenant if visit.page.console is Console.DEVELOPER else found.vendor
    return known.get(id_, id_)


def _state(found: Agreement, visit: Visit, ctx: Context) -> Cell:
    state = state_of(found, ctx.now)
    text, tone = _STATES[state]
    if state is AgreementState.WAITING and found.recorded_for is not _own_side(visit):
        text = "waiting for you"
    note = "nothing replaces it" if found.finding_since else ""
    return Cell(text, kind="badge", tone=tone, note=note)


def _own_side(visit: Visit) -> Side:
    return Side.VENDOR if visit.page.console is Console.DEVELOPER else Side.HOSPITAL


async def show_new(visit: Visit) -> Response:
    """Show the form that records an agreement."""
    return await _form(visit)


async def _form(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    def look(ctx: Context) -> dict[str, Any]:
        return {"suggested": _suggested(ctx, visit), "kinds": _kinds(ctx)}

    return visit.render(
        "console/agreements/new.html",
        **fields.answered(given, error),
        other="Hospital" if visit.page.console is Console.DEVELOPER else "Vendor",
        back=address(at(visit, "agreements")),
        **await visit.read(look),
    )


def _suggested(ctx: Context, visit: Visit) -> list[str]:
    """Return names of organisations with which there may be an agreement."""
    if visit.page.console is Console.DEVELOPER:
        return sorted(each.name for each in identity.list_shared(ctx) if each.active)[:SUGGESTED]
    return sorted(set(registry.browse_apps(ctx, AppsQuery(limit=SUGGESTED)).vendors.values()))


def _kinds(ctx: Context) -> list[tuple[str, str]]:
    """Return the kinds of agreements that are known here, in words."""
    tenant = TenantId(ctx.actor.tenant) if ctx.actor.tenant and not ctx.actor.vendor else None
    book = policies.current(ctx).book_at(tenant, ctx.now) if tenant else None
    entries = [entry for each in book.categories.values() for entry in each.entries.values()] if book else []
    more = {kind for entry in entries for kind in entry.agreements} - set(KINDS)
    return [(kind, _kind(kind)) for kind in (*KINDS, *sorted(more))]


async def add(visit: Visit, form: Form) -> Response:
    """Record an agreement for the visitor's organisation."""

    def verb(ctx: Context) -> Agreement:
        here = visit.page.console is Console.DEVELOPER
        other = fields.named(ctx, Kind.TENANT if here else Kind.VENDOR, form.one("other"), "other")
        order = NewAgreement(
            vendor=VendorId(ctx.actor.vendor or "") if here else VendorId(other),
            tenant=TenantId(other) if here else TenantId(ctx.actor.tenant or ""),
            kind=form.one("kind"),
            parties=fields.lines(form, "parties"),
            document=form.one("document").strip().lower(),
            effective_at=fields.day(form, "effective_at") or ctx.now,
            ends_at=fields.day(form, "ends_at"),
            entity=form.one("entity").strip(),
        )
        return service.add(ctx, order)

    try:
        found = await visit.write(verb)
    except Invalid as error:
        return await _form(visit, form, error)
    return to(address(at(visit, "agreement"), found.id))


async def show(visit: Visit) -> Response:
    """Show one agreement, and what the visitor's organisation may do with it."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    facts = await visit.read(partial(_shown, visit=visit))
    return visit.render(
        "console/agreements/agreement.html",
        **fields.answered(given, error),
        **facts,
    )


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    found = service.get_agreement(ctx, visit.param())
    actors = (found.recorded_by, found.confirmed_by, found.ended_by)
    known = fields.names(ctx, [found.vendor, *actors], [found.tenant])
    vendor, hospital = known.get(found.vendor, found.vendor), known.get(found.tenant, found.tenant)
    theirs = vendor if found.recorded_for is Side.VENDOR else hospital
    others = hospital if found.recorded_for is Side.VENDOR else vendor
    state, signs = state_of(found, ctx.now), side_of(ctx.actor, found.vendor, found.tenant)
    waits = state is AgreementState.WAITING
    return {
        "found": found,
        "version": version_of(found),
        "kind": _kind(found.kind),
        "vendor": vendor,
        "hospital": hospital,
        "state": _state(found, visit, ctx),
        "recorded": (fields.who(known, found.recorded_by, "somebody"), theirs),
        "confirmed": (fields.who(known, found.confirmed_by, "somebody"), others),
        "ended_by": fields.who(known, found.ended_by, "one of the two") if found.ended_by else "",
        "confirms": waits and signs is not None and signs is not found.recorded_for,
        "others": others,
        "waits": waits,
        "ends": signs is not None and state not in {AgreementState.ENDED, AgreementState.LAPSED},
    }


async def act(visit: Visit, form: Form) -> Response:
    """Confirm an agreement with the digest of one's own document, or end it."""
    id_ = visit.param()

    def verb(ctx: Context) -> object:
        typed: dict[str, Any]
        match form.one("act"):
            case "confirm":
                action, typed = declared(service.confirm), {"document": form.one("document").strip().lower()}
            case "end":
                action, typed = (
                    declared(service.end),
                    {"reason": form.one("reason"), "at": fields.day(form, "at")},
                )
            case _:
                raise fields.no_such_act()
        return perform(ctx, action, parse(action, typed), target=id_, version=form.one("version"))

    try:
        await visit.write(verb)
    except Invalid as error:
        return await _page(visit, form, error)
    return to(address(at(visit, "agreement"), id_))
