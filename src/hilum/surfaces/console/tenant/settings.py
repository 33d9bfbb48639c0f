"""A hospital's settings: its FHIR server, how people sign in, its facilities."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.controls.approvals.models import Asked
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid
from hilum.foundation.kernel.ids import FacilityId
from hilum.foundation.pictures import live as pictures
from hilum.foundation.pictures.models import NO_PICTURE
from hilum.foundation.standards.languages import NAMES, Language
from hilum.foundation.web.branding import brand_of
from hilum.foundation.web.forms import Form
from hilum.identity.federation import service as federation
from hilum.identity.people import service as identity
from hilum.identity.people.models import (
    Branding,
    MovedReads,
    NewFacility,
    Tenant,
    TenantChange,
    TokenAuth,
    UpstreamKind,
    UpstreamRef,
)
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.tenant.apps import own


async def show(visit: Visit) -> Response:
    """Show the settings of the hospital, and who may change which."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    facts = await visit.read(lambda ctx: _shown(ctx, visit))
    return visit.render("console/tenant/settings.html", **facts, **fields.answered(given, error))


def _shown(ctx: Context, visit: Visit) -> dict[str, Any]:
    tenant = own(ctx)
    urls, upstream = visit.kit.urls, tenant.upstream
    return {
        "tenant": tenant,
        "has_server": upstream.kind is UpstreamKind.HTTP,
        "revision": revision_of(tenant),
        "facts": [
            ("Name", tenant.name),
            ("FHIR base of apps (iss)", urls.fhir_base(tenant.id)),
            (
                "FHIR server",
                "embedded in this platform" if upstream.kind is UpstreamKind.EMBEDDED else upstream.url,
            ),
            *((("Credentials there", _credentials(upstream)),) if upstream.kind is UpstreamKind.HTTP else ()),
            *(
                (("Public keys to register there", urls.upstream_jwks(tenant.id)),)
                if upstream.token_auth is TokenAuth.KEY
                else ()
            ),
            ("Kind", "sandbox: everybody is synthetic" if tenant.sandbox else "production"),
        ],
        "providers": [each.settings.name for each in federation.list_providers(ctx, tenant.id)],
        "signin": urls.signin(tenant.id),
        "discovery": urls.smart_configuration(tenant.id),
        "facilities": identity.list_facilities(ctx, tenant.id),
        "moved": tenant.moved_reads.value,
        "languages": [
            ("", "English"),
            *((each.value, NAMES[each]) for each in Language if each is not Language.ENGLISH),
        ],
        # Above this page too, so that whoever sets it sees what the others will.
        "brand": brand_of(urls, tenant.id, name=tenant.name, colour=tenant.colour, logo=tenant.logo),
    }


def _credentials(upstream: UpstreamRef) -> str:
    """Return in words how this platform authenticates at a FHIR server."""
    if upstream.token_auth is not None:
        found = f"access tokens of {upstream.token_url} for {upstream.client_id} ({upstream.token_auth})"
    else:
        found = "fixed" if upstream.credentials_sealed else "none"
    return f"{found}, with a client certificate" if upstream.certificate else found


def revision_of(tenant: Tenant) -> str:
    """Return what a change of settings must have seen."""
    return f"{tenant.moved_reads.value}:{tenant.name}:{tenant.language}:{tenant.time_zone}"


async def act(visit: Visit, form: Form) -> Response:
    """Change what a token may read after the chart moved, the hospital's colour or logo, or add or remove a facility."""
    match form.one("act"):
        case "moved" | "locale":
            try:
                await visit.write(partial(_change, form=form))
            except Invalid as error:
                return await _page(visit, form, error)
        case "brand":
            logo = await pictures.read(form.files["logo"], "logo") if "logo" in form.files else None
            look = Branding(form.one("colour").strip().lower(), logo)
            await visit.write(lambda ctx: identity.set_branding(ctx, own(ctx).id, look))
        case "no_logo":
            none = Branding(logo=NO_PICTURE)
            await visit.write(lambda ctx: identity.set_branding(ctx, own(ctx).id, none))
        case "add":
            await visit.write(partial(_add, form=form))
        case "remove":
            fields.require_tick(
                form,
                "Tick the box to confirm that the facility should be closed: apps that are open there stop.",
            )
            await visit.write(partial(identity.remove_facility, facility_id=FacilityId(form.one("facility"))))
        case _:
            raise fields.no_such_act("Choose what to change.")
    return to(address("tenant.settings"))


def _change(ctx: Context, form: Form) -> Tenant | Asked:
    tenant = own(ctx)
    if form.one("revision") != revision_of(tenant):
        detail = f"A colleague changed the settings meanwhile: it says {tenant.moved_reads.value} now. Open the page again."
        raise Conflict("changed_since_read", detail)
    if form.one("act") == "locale":
        change = TenantChange(language=form.one("language"), time_zone=form.one("time_zone").strip())
        return identity.update_tenant(ctx, tenant.id, change)
    try:
        moved = MovedReads(form.one("moved"))
    except ValueError as error:
        raise Invalid("form_invalid", "Choose one of the two.", fields={"moved": "not_an_option"}) from error
    return identity.update_tenant(ctx, tenant.id, TenantChange(moved_reads=moved))


def _add(ctx: Context, form: Form) -> object:
    order = NewFacility(
        own(ctx).id, form.one("name").strip(), form.one("legal_entity").strip(), form.one("reference").strip()
    )
    return identity.add_facility(ctx, order)
