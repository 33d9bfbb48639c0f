"""The policy: its versions, where each is in force, and what one changes."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.web.static import download
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Application, TakeBack
from hilum.surfaces.console import service
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.operations import entries
from hilum.surfaces.console.parts import book_changes
from hilum.surfaces.console.words import pack_shown

SHOWN = 20
MADE_FROM = "made_from"
"""The table of a document that says which version it was made from, and after which application. It is not part of the policy."""


async def show(visit: Visit) -> Response:
    """Show which version is in force where, and every version."""
    return visit.render("console/operations/policy.html", **await visit.read(partial(_shown, visit=visit)))


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    current, page = policies.in_force(ctx), PageQuery(limit=SHOWN)
    versions, applied = policies.list_versions(ctx, page), policies.list_applications(ctx, page)
    ids = [each.added_by for each in versions]
    ids += [who for each in applied for who in (each.applied_by, each.agreed_by) if who]
    at = [tenant for each in applied for tenant in each.tenants]
    names = service.names(ctx, ids, tenants=[*at, *current.at])
    return {
        "everywhere": current.everywhere,
        "elsewhere": [
            (names.tenant(tenant), number)
            for tenant, number in current.at.items()
            if number != current.everywhere
        ],
        "back": _rollback_address(current.everywhere, applied) if visit.may_open("operations.apply") else "",
        "undo": _undo(policies.take_back(ctx)),
        "new": address("operations.book_new") if visit.may_open("operations.book_new") else "",
        "fault": current.fault,
        "entries": [] if current.fault else entries.table(policies.get_version(ctx, current.everywhere)[1]),
        "versions": [
            (
                each.number,
                each.note,
                names.actor(each.added_by),
                each.added_at,
                address("operations.version", str(each.number)),
            )
            for each in versions
        ],
        "applied": [
            (
                each.version,
                ", ".join(map(names.tenant, each.tenants)) or "everywhere",
                names.actor(each.applied_by),
                names.actor(each.agreed_by) if each.agreed_by else "",
                each.applied_at,
                each.reason,
            )
            for each in applied
        ],
    }


def _undo(found: TakeBack | None) -> tuple[datetime, str] | None:
    """Return until when and where the visitor takes back alone what they put in force last; None if they may not."""
    if found is None:
        return None
    where = {"tenants": " ".join(found.tenants)} if found.tenants else {"where": "everywhere"}
    return found.until, address("operations.apply", str(found.version), **where)


def _rollback_address(everywhere: int, applied: Sequence[Application]) -> str:
    """Return where the version is put in force again that was everywhere before; empty if the newest applications name none."""
    # The oldest application of a version says what it replaced, so that going back twice goes further back.
    since = [each.version for each in reversed(applied) if not each.tenants]
    at = since.index(everywhere) if everywhere in since else 0
    return address("operations.apply", str(since[at - 1]), where="everywhere") if at else ""


async def show_version(visit: Visit) -> Response:
    """Show what a version changes, compared with the one in force everywhere or another; or send it as a file, to be changed."""
    number, before = number_of(visit.param()), visit.query().one("before")
    if visit.query().one("format") == "json":
        return await visit.read(partial(_download, number=number))

    def verb(ctx: Context) -> dict[str, Any]:
        current = policies.in_force(ctx).everywhere
        version, _ = policies.get_version(ctx, number)
        other = number_of(before) if before else current
        return book_changes.compared(ctx, other, number) | {
            "version": version,
            "added_by": service.names(ctx, [version.added_by]).actor(version.added_by),
            "other": other,
            "current": current,
            "apply": address("operations.apply", str(number)) if visit.may_open("operations.apply") else "",
        }

    return visit.render("console/operations/version.html", **await visit.read(verb))


def _download(ctx: Context, number: int) -> Response:
    """Return a version as a file to be changed and added again: it says what it was made from."""
    document = orjson.loads(policies.get_signed(ctx, number).document)
    made_from = {"version": number, "after": policies.in_force(ctx).last}
    body = orjson.dumps({MADE_FROM: made_from} | document, option=orjson.OPT_INDENT_2)
    return download(body, f"policy-{number}.json", "application/json")


async def show_jurisdictions(visit: Visit) -> Response:
    """Show the dated rules of jurisdictions that a version must keep, and whether it keeps each; without a number the one in force."""
    asked = visit.query().one("version")

    def verb(ctx: Context) -> dict[str, Any]:
        current = policies.in_force(ctx)
        number = number_of(asked) if asked else current.everywhere
        return {
            "number": number,
            "everywhere": current.everywhere,
            "packs": [pack_shown(each) for each in policies.view_packs(ctx, number)],
        }

    return visit.render("console/operations/jurisdictions.html", **await visit.read(verb))


def number_of(text: str) -> int:
    """Return the number of a version. Raises NotFound for an invalid text."""
    if not text.isdecimal() or len(text) > 9:
        raise NotFound("version_not_found", "There is no such version of the policy.")
    return int(text)
