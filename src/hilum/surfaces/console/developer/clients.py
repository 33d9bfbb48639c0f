"""The clients of an app and their credentials: adding one, and replacing a secret with an overlap."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import Response

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import (
    BackendUse,
    Client,
    ClientMetadata,
    ClientType,
    CredentialKind,
    Deployment,
    NewClient,
)
from hilum.apps.clients.policy import WITH_SECRET
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid
from hilum.foundation.kernel.ids import ClientId, VersionId
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.web.forms import Form
from hilum.identity.people.models import VendorRight
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address
from hilum.surfaces.console.developer import frame

KINDS: Mapping[str, tuple[str, str, ClientType, Deployment]] = {
    "browser": (
        "Runs in the browser",
        "A page with scripts only. It keeps no secret.",
        ClientType.PUBLIC,
        Deployment.BROWSER,
    ),
    "native": (
        "Runs on a device",
        "A phone or desktop app. It keeps no secret.",
        ClientType.PUBLIC,
        Deployment.NATIVE,
    ),
    "secret": (
        "Runs on a server, with a secret",
        "You get the secret once, after registering.",
        ClientType.SYMMETRIC,
        Deployment.SERVER,
    ),
    "keys": (
        "Runs on a server, with keys",
        "It signs with a private key that never leaves you.",
        ClientType.ASYMMETRIC,
        Deployment.SERVER,
    ),
    "backend": (
        "A backend service",
        "It acts for nobody, with system scopes. Each hospital names a person who answers for it.",
        ClientType.BACKEND,
        Deployment.SERVER,
    ),
}
OVERLAPS: Mapping[str, tuple[str, timedelta]] = {
    "1d": ("In one day", timedelta(days=1)),
    "1h": ("In one hour", timedelta(hours=1)),
    "7d": ("In seven days", timedelta(days=7)),
    "30d": ("In thirty days", timedelta(days=30)),
    "0": ("At once: it leaked", timedelta(0)),
}


async def show_list(visit: Visit) -> Response:
    """Show the clients of an app with when each credential was last used and ends."""
    app, app_status, rows = await visit.read(lambda ctx: _listed(ctx, visit))
    return frame.show(
        visit,
        "console/developer/clients.html",
        app,
        app_status,
        rows=rows,
        add=address("developer.client_new", app.id) if visit.may_open("developer.client_new") else "",
    )


def _listed(ctx: Context, visit: Visit) -> tuple[App, Any, list[dict[str, Any]]]:
    app = frame.own_app(ctx, visit.param())
    versions = registry.read_versions(ctx, [app.id])
    rotates = frame.may(visit, VendorRight.SECRETS)
    rows = []
    for client in clients.list_clients(ctx, app.id, PageQuery(limit=PAGE_BOUND)):
        version = versions.get(client.version)
        rows.append(
            {
                "client": client,
                "kind": _kind(client),
                "version": version.label if version else "",
                "credentials": [
                    {"kind": "Keys" if each.kind is CredentialKind.KEYS else "Secret", "credential": each}
                    for each in _credentials(ctx, client.id)
                ],
                "edit": address("developer.client_edit", client.id)
                if visit.may_open("developer.client_edit")
                else "",
                "rotate": address("developer.secret", client.id)
                if rotates and client.type in WITH_SECRET
                else "",
            }
        )
    return app, frame.app_status_of(ctx, app), rows


def _credentials(ctx: Context, client: ClientId) -> list[Any]:
    """List the secrets and keys of a client that have not ended."""
    found = clients.list_credentials(ctx, client)
    return [each for each in found if each.ends_at is None or each.ends_at > ctx.now]


def _kind(client: Client) -> str:
    for text, _, type_, deployment in KINDS.values():
        if (client.type, client.deployment) == (type_, deployment):
            return text
    return client.type.value.replace("-", " ")


async def show_new(visit: Visit) -> Response:
    """Show the form that registers a client."""
    return await _form(visit)


async def _form(visit: Visit, given: Form = fields.NO_FORM, error: Invalid | None = None) -> Response:
    def look(ctx: Context) -> Any:
        app = frame.own_app(ctx, visit.param())
        versions = registry.list_versions(ctx, app.id, PageQuery(limit=PAGE_BOUND))
        return app, frame.app_status_of(ctx, app), versions, _count(ctx, app)

    app, app_status, versions, count = await visit.read(look)
    shown = fields.answered(given, error)
    return frame.show(
        visit,
        "console/developer/client_new.html",
        app,
        app_status,
        versions=[(each.id, each.label) for each in versions],
        environments=[("sandbox", "The sandbox"), ("production", "Production")],
        kinds=[(name, text, note) for name, (text, note, _, _) in KINDS.items()],
        **shown,
        # A fault of a field that the form does not have is said at its head.
        others=[text for name, text in shown["faults"].items() if name not in SHOWN],
        seen=count,
        path=visit.path,
    )


SHOWN = frozenset(
    {
        "client_name",
        "version",
        "redirect_uris",
        "launch_url",
        "scope",
        "jwks_uri",
        "jwks",
        "backend_use",
        "expires_at",
    }
)


def _count(ctx: Context, app: App) -> int:
    return len(clients.list_clients(ctx, app.id, PageQuery(limit=PAGE_BOUND)))


async def add(visit: Visit, form: Form) -> Response:
    """Register a client and show its secret, once."""

    def verb(ctx: Context) -> Any:
        app = frame.own_app(ctx, visit.param())
        # Reloading the page that shows the secret sends the form again; so does pressing its button twice.
        if form.one("seen") != str(_count(ctx, app)):
            raise Conflict(
                "changed_since_read",
                "This client was registered already, or a colleague registered one meanwhile. Look at the list first.",
            )
        order = NewClient(app.id, VersionId(form.one("version")), _metadata(form))
        return app, frame.app_status_of(ctx, app), *clients.add_client(ctx, order)

    try:
        app, app_status, client, secret = await visit.write(verb)
    except Invalid as error:
        return await _form(visit, form, error)
    return _made(visit, app, app_status, client, secret=secret)


def _made(visit: Visit, app: App, app_status: Any, client: Client, **facts: Any) -> Response:
    return frame.show(
        visit,
        "console/developer/made.html",
        app,
        app_status,
        client=client,
        back=address("developer.clients", app.id),
        **facts,
    )


def _metadata(form: Form) -> ClientMetadata:
    if form.one("kind") not in KINDS:
        raise Invalid("client_invalid", "Choose where the client runs.", fields={"kind": "not_an_option"})
    _, _, type_, deployment = KINDS[form.one("kind")]
    backend = type_ is ClientType.BACKEND
    return ClientMetadata(
        name=" ".join(form.one("client_name").split()),
        type=type_,
        deployment=deployment,
        environment=Environment.PRODUCTION
        if form.one("environment") == "production"
        else Environment.SANDBOX,
        redirect_uris=tuple(form.one("redirect_uris").split()),
        launch_uri=form.one("launch_url").strip(),
        scopes=tuple(form.one("scope").split()),
        jwks=keys_of(form.one("jwks")),
        jwks_uri=form.one("jwks_uri").strip(),
        expires_at=_day(form.one("expires_at")) if backend else None,
        backend_use=_use(form) if backend else None,
    )


def _use(form: Form) -> BackendUse:
    purpose, population, schedule = (form.one(name).strip() for name in ("purpose", "population", "schedule"))
    calls, writes, patients = (_number(form.one(f"{name}_a_day")) for name in ("calls", "writes", "patients"))
    hours = " ".join(form.one("hours").lower().split())
    return BackendUse(
        purpose,
        population,
        schedule,
        calls_a_day=calls,
        writes_a_day=writes,
        patients_a_day=patients,
        hours=hours or None,
    )


def _number(text: str) -> int | None:
    text = text.strip()
    if not text:
        return None
    # An invalid number is out of every range, and refused as such.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1


def keys_of(text: str) -> dict[str, Any] | None:
    """Return the key set that was pasted; None for nothing. Raises Invalid."""
    if not text.strip():
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Invalid("client_invalid", "This is not a JWK set.", fields={"jwks": "jwks_malformed"})
    return found


def _day(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise Invalid(
            "client_invalid", "This is not a date.", fields={"expires_at": "date_malformed"}
        ) from error


async def show_secret(visit: Visit) -> Response:
    """Show what a new secret means for the one in use."""

    def look(ctx: Context) -> Any:
        client = clients.view_client(ctx, ClientId(visit.param()))
        app = frame.own_app(ctx, client.app)
        return app, frame.app_status_of(ctx, app), client, _credentials(ctx, client.id)

    app, app_status, client, held = await visit.read(look)
    return frame.show(
        visit,
        "console/developer/secret.html",
        app,
        app_status,
        client=client,
        held=[each for each in held if each.kind is CredentialKind.SECRET],
        seen=_newest(held),
        overlaps=[(key, text) for key, (text, _) in OVERLAPS.items()],
        back=address("developer.clients", app.id),
        path=visit.path,
        has_secret=client.type in WITH_SECRET,
    )


def _newest(held: list[Any]) -> str:
    return max((each.created_at.isoformat() for each in held if each.created_at), default="")


async def rotate(visit: Visit, form: Form) -> Response:
    """Create a new secret, and show it once with the end of the one before."""
    if form.one("overlap") not in OVERLAPS:
        raise Invalid(
            "secret_invalid",
            "Choose until when the previous secret works.",
            fields={"overlap_s": "not_an_option"},
        )
    overlap = OVERLAPS[form.one("overlap")][1]

    def verb(ctx: Context) -> Any:
        client = clients.view_client(ctx, ClientId(visit.param()))
        app = frame.own_app(ctx, client.app)
        if form.one("seen") != _newest(_credentials(ctx, client.id)):
            raise Conflict(
                "changed_since_read",
                "This client got a new secret since you opened the page. If it was not you, ask your colleagues before you replace it.",
            )
        return (
            app,
            frame.app_status_of(ctx, app),
            *clients.rotate_secret(ctx, client.id, overlap=overlap),
        )

    app, app_status, client, secret = await visit.write(verb)
    ends = sorted(each.expires_at for each in client.secrets if each.expires_at is not None)
    now = visit.kit.clock.now()
    return _made(
        visit,
        app,
        app_status,
        client,
        secret=secret,
        ends=ends[-1] if ends and ends[-1] > now else None,
        rotated=True,
    )
