"""Defects of a vendor's own apps: what was reported, what became of it, and reporting one (C127)."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import AppsQuery
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import VersionId
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.foundation.web.forms import Form
from hilum.review.defects import service as defects
from hilum.review.defects.models import Defect, NewDefect, Seen, Severity
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import Empty
from hilum.surfaces.console.parts import defects as parts

VERSIONS_SHOWN = 500
_NONE = Empty(
    "No defect is recorded",
    "Report what is wrong with a version that is in use, so that review learns from it.",
)
LIST = List(columns=parts.COLUMNS, one="defect", many="defects", empty=_NONE)
SEEN = tuple(zip((each.value for each in Seen), ("In a sandbox", "In review", "At a hospital"), strict=True))


async def show_list(visit: Visit) -> Response:
    """List the defects of the vendor's apps, newest first."""
    new = address("developer.defect_new") if visit.may_open("developer.defect_new") else ""
    lead = "What is wrong with versions of your apps, where it was first seen, and whether the sandbox could have shown it."
    return await visit.show_list(
        LIST,
        partial(parts.listed, page="developer.defect"),
        lead=lead,
        action=("Report a defect", new) if new else None,
    )


async def show(visit: Visit) -> Response:
    """Show a defect, and what the staff said of it."""
    facts = await visit.read(partial(parts.shown, id_=visit.param(), app_page="developer.app"))
    return visit.render("console/defect.html", **fields.answered(), **facts)


async def show_new(visit: Visit) -> Response:
    """Show the form that reports a defect."""
    return await _form(visit)


async def _form(visit: Visit, given: Form = fields.NO_FORM, error: fields.Refused | None = None) -> Response:
    return visit.render(
        "console/developer/defect_new.html",
        **fields.answered(given, error),
        versions=await visit.read(_versions),
        seen=SEEN,
        severities=[(each.value, each.value.capitalize()) for each in Severity],
        now=f"{visit.kit.clock.now():%Y-%m-%dT%H:%M}",
    )


def _versions(ctx: Context) -> list[tuple[str, str]]:
    """Return the versions of the vendor's apps to choose from, those added last first."""
    vendor = frame.own_vendor(ctx)
    apps = {
        each.id: each
        for each in registry.browse_apps(ctx, AppsQuery(vendor=vendor, limit=PAGE_BOUND)).apps
        if each.tenant is None
    }
    found = registry.read_versions(ctx, list(apps)).values() if apps else ()
    newest = sorted(found, key=lambda each: each.id, reverse=True)
    return [(each.id, f"{apps[each.app].name}, version {each.label}") for each in newest[:VERSIONS_SHOWN]]


async def report(visit: Visit, form: Form) -> Response:
    """Record a defect, with where and when it was first seen."""

    def verb(ctx: Context) -> Defect:
        return defects.report(ctx, _order(form))

    try:
        found = await visit.write(verb)
    except (Invalid, NotPermitted, Unavailable) as error:
        return await _form(visit, form, error)
    return to(address("developer.defect", found.id))


def _order(form: Form) -> NewDefect:
    values: dict[str, Any] = {}
    for name, kind in (("seen_in", Seen), ("severity", Severity)):
        if form.one(name) not in {each.value for each in kind}:
            raise Invalid("defect_invalid", "Choose one.", fields={name: "not_an_option"})
        values[name] = kind(form.one(name))
    try:
        at = datetime.strptime(form.one("first_seen_at"), "%Y-%m-%dT%H:%M").replace(tzinfo=UTC)
    except ValueError as error:
        fault = {"first_seen_at": "malformed"}
        raise Invalid("defect_invalid", "Say when it was first seen.", fields=fault) from error
    return NewDefect(
        VersionId(form.one("version")), values["seen_in"], values["severity"], form.one("summary"), at
    )
