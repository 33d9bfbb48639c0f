"""Changes that wait for a reviewer, and changing a client: what differs is shown first, with whether it waits."""

from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client, ClientEdit, ClientType
from hilum.apps.installations.models import ScopeComparison
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, EditState, HeldEdit
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound
from hilum.foundation.kernel.ids import ClientId
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.web.branding import app_logo
from hilum.foundation.web.forms import Form
from hilum.identity.people.models import VendorRight
from hilum.surfaces.console import fields, words
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.developer.clients import keys_of
from hilum.surfaces.console.developer.narrowing import Narrowed, narrowed
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import Asked, Cell, Column, Empty, Filter, Listed, Option
from hilum.surfaces.console.parts import held_changes as parts

LIST = List(
    columns=(
        Column("Of"),
        Column("What"),
        Column("State"),
        Column("Asked", number=True),
        Column("Decided", number=True),
    ),
    one="change",
    many="changes",
    empty=Empty(
        "Nothing waits",
        "When an app or client is certified for production, a change to anything that review examined waits for a reviewer.",
    ),
    filters=(Filter("kind", "Of", (Option("apps", "Names, purposes and logos"),), unset="Clients"),),
)
EDITED = ("redirect_uris", "launch_uri", "origins", "scopes", "jwks_uri")
_LISTS = ("redirect_uris", "origins", "scopes")
REFRESH = "refresh_token"
WITH_KEYS = frozenset({ClientType.ASYMMETRIC, ClientType.BACKEND})


async def show_list(visit: Visit) -> Response:
    """List the vendor's changes that were held for review, decided or not."""
    return await visit.show_list(
        LIST,
        lambda ctx, asked: _listed(ctx, visit, asked),
        lead="Changes that wait for a reviewer, and how earlier ones were decided. Nothing changes before the decision.",
    )


def _listed(ctx: Context, visit: Visit, asked: Asked) -> Listed:
    found, known, following = parts.page(ctx, visit, asked, of_apps=asked["kind"] == "apps")
    rows = [
        (
            Cell(parts.of_what(each, known), address("developer.change", each.id)),
            Cell(parts.what(each)),
            Cell(
                parts.STATES[each.state][0], kind="badge", tone=parts.STATES[each.state][1], note=each.reason
            ),
            Cell("", at=each.asked_at),
            Cell("", at=each.decided_at) if each.decided_at else Cell(""),
        )
        for each in found
    ]
    return Listed(rows, next=following)


async def show(visit: Visit) -> Response:
    """Show one change: what it replaces, and who decided."""

    def look(ctx: Context) -> dict[str, Any]:
        found = parts.held(ctx, visit)
        known = fields.names(ctx, [found.app, found.client or "", found.asked_by, found.decided_by])
        waits = found.state is EditState.PENDING
        return {
            "found": found,
            "of": parts.of_what(found, known),
            "app": known.get(found.app, "an app"),
            "state": parts.STATES[found.state],
            "rows": parts.rows_of(found),
            "logo": _logos(visit, found) if "logo" in found.order else (),
            "asked_by": fields.who(known, found.asked_by, "a former colleague"),
            "decided_by": fields.who(known, found.decided_by, "a reviewer") if found.decided_by else "",
            "withdraws": waits and frame.may(visit, VendorRight.APPS),
            "waits": waits,
        }

    return visit.render("console/developer/change.html", **await visit.read(look))


def _logos(visit: Visit, held: HeldEdit) -> tuple[tuple[str, str], tuple[str, str]]:
    """Return a word for the logo before and for the one after, each with the address of what can still be seen of it."""
    before, after = str(held.before.get("logo", "")), str(held.order["logo"])
    waits, urls = held.state is EditState.PENDING, visit.kit.urls
    wanted = address("developer.change_logo", held.id) if waits and after else ""
    was = app_logo(urls, held.app, before) if waits else ""
    return ("a picture" if before else "none", was), ("a picture" if after else "none", wanted)


async def withdraw(visit: Visit, form: Form) -> Response:
    """Withdraw a change that waits."""
    reason = form.one("reason").strip()
    await visit.write(lambda ctx: parts.edits_of(visit).refuse(ctx, visit.param(), reason))
    return to(address("developer.change", visit.param()))


def _own_client(ctx: Context, id_: str) -> tuple[Client, App, Any]:
    client = clients.get_client(ctx, ClientId(id_))
    app = frame.own_app(ctx, client.app)
    return client, app, frame.app_status_of(ctx, app)


async def show_edit(visit: Visit) -> Response:
    """Show the metadata of a client as a form."""
    return await _form(visit, fields.NO_FORM, {})


async def _form(visit: Visit, given: Form, wrong: dict[str, str]) -> Response:
    client, app, app_status = await visit.read(lambda ctx: _own_client(ctx, visit.param()))
    sent = "revision" in given
    shown = {
        name: given.one(name) if sent else "\n".join(value) if name in _LISTS else value
        for name in EDITED
        for value in (getattr(client, name),)
    }
    offline = given.one("offline") == "yes" if sent else REFRESH in client.grant_types
    return frame.show(
        visit,
        "console/developer/client_edit.html",
        app,
        app_status,
        status=422 if wrong else 200,
        client=client,
        shown=shown,
        delegated=client.type is not ClientType.BACKEND,
        offline=offline,
        keys=given.one("jwks") if sent else _written(client.jwks),
        takes_keys=client.type in WITH_KEYS,
        revision=given.one("revision") if sent else client.revision,
        faults=fields.sentences(
            {("scopes" if name == "scope" else name): code for name, code in wrong.items()}
        ),
        back=address("developer.clients", app.id),
    )


def _order(form: Form, client: Client) -> ClientEdit:
    """Return the edit that a form asks for: what differs, and nothing else."""
    wanted: dict[str, Any] = {
        name: tuple(form.one(name).split()) if name in _LISTS else form.one(name).strip() for name in EDITED
    }
    changed = {name: value for name, value in wanted.items() if value != getattr(client, name)}
    keys = keys_of(form.one("jwks"))
    if keys is not None and keys != client.jwks:
        changed["jwks"] = keys
        # Those that are pasted replace those at an address that stayed in its field.
        changed["jwks_uri"] = wanted["jwks_uri"] if wanted["jwks_uri"] != client.jwks_uri else ""
    if keys is None and client.jwks is not None and not wanted["jwks_uri"]:
        raise Invalid("client_invalid", "A client of this kind has keys.", fields={"jwks": "keys_missing"})
    # A backend service has one grant type, and who acts for people always asks for codes (C16).
    grants = ("authorization_code", REFRESH) if form.one("offline") == "yes" else ("authorization_code",)
    if client.type is not ClientType.BACKEND and set(grants) != set(client.grant_types):
        changed["grant_types"] = grants
    return ClientEdit(form.one("revision"), **changed)


def _written(keys: object) -> str:
    return "" if keys is None else orjson.dumps(keys, option=orjson.OPT_INDENT_2).decode()


async def edit(visit: Visit, form: Form) -> Response:
    """Show what a change of a client would change, and whether it waits for a reviewer; then ask for it."""
    client, app, app_status = await visit.read(lambda ctx: _own_client(ctx, visit.param()))
    try:
        order = _order(form, client)
        if form.one("sure") != "yes" or form.one("revision") != client.revision:
            metadata = clients_policy.edited(client, order)
            now = visit.kit.clock.now()
            if faults := clients_policy.validate_client_metadata(metadata, now=now):
                raise Invalid("client_invalid", "The client metadata is invalid; see fields.", fields=faults)
            names = clients_policy.changed_fields(client, metadata)
            rows = [
                (
                    words.field(each),
                    parts.text_of(getattr(client, each)),
                    parts.text_of(getattr(metadata, each)),
                )
                for each in names
            ]
            stale = form.one("revision") != client.revision
            return await _sure(visit, form, (client, app, app_status), rows, stale=stale)
        done = await visit.write(partial(clients.edit, client_id=client.id, order=order))
    except Invalid as error:
        return await _form(visit, form, error.fields or {"form": "invalid"})
    return to(
        address("developer.change", done.id)
        if isinstance(done, HeldEdit)
        else address("developer.clients", app.id)
    )


async def _sure(
    visit: Visit, form: Form, own: tuple[Client, App, Any], rows: list[tuple[str, str, str]], *, stale: bool
) -> Response:
    client, app, app_status = own
    certified = await visit.read(partial(_is_certified, client=client))
    return frame.show(
        visit,
        "console/developer/client_sure.html",
        app,
        app_status,
        status=409 if stale else 200,
        client=client,
        rows=rows,
        stale=stale,
        waits=certified,
        kept=[(name, form.one(name)) for name in (*EDITED, "jwks", "offline")],
        back=address("developer.clients", app.id),
    )


def _is_certified(ctx: Context, client: Client) -> bool:
    certifications = registry.certifications_of(ctx, client.app)
    grace = registry.grace_of(ctx, registry.get_app(ctx, client.app).category)
    return clients_policy.is_certified_for_production(client, certifications, ctx.now, grace)


async def show_narrow(visit: Visit) -> Response:
    """Show what each client would be left with, who is affected, and the button that asks for it."""
    asked = visit.query()
    days = 90 if asked.one("days") == "90" else 30
    app, app_status, compared, found = await visit.read_records(lambda ctx: _narrowing(ctx, visit, days))
    return frame.show(
        visit,
        "console/developer/narrow.html",
        app,
        app_status,
        days=days,
        clients=[each for each in found if each["plan"].gone],
        hospitals=max((row.granted for row in compared.rows), default=0),
        since=compared.since,
        whole=compared.whole,
        back=address("developer.scopes", app.id, days=str(days)),
    )


def _narrowing(
    ctx: Context, visit: Visit, days: int
) -> tuple[App, Any, ScopeComparison, list[dict[str, Any]]]:
    app = frame.own_app(ctx, visit.param())
    compared = visit.ports.compare_scopes(ctx, app.id, days)
    found = []
    for client in clients.list_clients(ctx, app.id, PageQuery(limit=PAGE_BOUND)):
        plan: Narrowed = narrowed(client.scopes, compared.rows)
        young = client.created_at is not None and client.created_at > compared.since
        found.append({"client": client, "plan": plan, "waits": _is_certified(ctx, client), "young": young})
    return app, frame.app_status_of(ctx, app), compared, found


async def narrow(visit: Visit, form: Form) -> Response:
    """Ask that a client asks for what was used only, as the page showed it."""
    days = 90 if form.one("days") == "90" else 30
    *_, found = await visit.read_records(lambda ctx: _narrowing(ctx, visit, days))
    chosen = next((each for each in found if each["client"].id == form.one("client")), None)
    if chosen is None:
        raise NotFound("client_not_found", "There is no such client.")
    plan: Narrowed = chosen["plan"]
    if not plan.gone or " ".join(plan.left) != form.one("left"):
        raise Conflict(
            "changed_since_read", "What is used, or what the client asks for, changed since you looked."
        )
    order = ClientEdit(form.one("revision"), scopes=plan.left)
    done = await visit.write(partial(clients.edit, client_id=chosen["client"].id, order=order))
    if isinstance(done, HeldEdit):
        return to(address("developer.change", done.id))
    return to(address("developer.scopes", visit.param(), days=str(days)))
