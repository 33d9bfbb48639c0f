"""How people of a hospital sign in: its identity providers, what their claims mean here, a trial, and switching one off."""

from dataclasses import fields as fields_of
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.controls.approvals.models import Asked
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid
from hilum.foundation.standards.jws import ALGORITHMS
from hilum.foundation.web.forms import Form
from hilum.identity.federation import policy
from hilum.identity.federation import service as federation
from hilum.identity.federation.models import (
    PROVIDERS_BOUND,
    ROWS_BOUND,
    SESSION_LIFE_MAX,
    ClientAuth,
    LinkBy,
    Passwords,
    Provider,
    RoleRow,
    Settings,
    Trial,
)
from hilum.identity.federation.service import Change
from hilum.surfaces.console import fields, words
from hilum.surfaces.console.desk import Visit, address, to, to_approval
from hilum.surfaces.console.tenant.apps import own
from hilum.surfaces.console.tenant.forms import ROLES

MULTI = ("adds_people",)
SPARE_ROWS = 4
"""Empty rows of the table of roles in a form; saved, there are as many again."""
_PASSWORDS = {
    Passwords.EVERYONE: ("Everybody", "The provider is one more way in."),
    Passwords.ADMINISTRATORS: ("Administrators only", "So that you get in while the provider is down."),
    Passwords.NOBODY: ("Nobody", "While the provider is down, nobody gets in."),
}
_LINK_BY = {
    LinkBy.NOTHING: ("Nobody: each account is linked by two of you", "The safe choice."),
    LinkBy.USERNAME: ("By the username that it states", "If nobody can choose it themselves there."),
    LinkBy.FHIR_USER: ("By the fhirUser that it states", "Needs the claim that holds it."),
}
_TEXTS = (
    "name",
    "client_id",
    "username_claim",
    "name_claim",
    "fhir_user_claim",
    "role_claim",
    "subject_claim",
)
_LISTS = ("scopes", "acr_values", "factor_amr", "factor_acr")
_NAMES = {
    "client_auth": "Authentication of the client",
    "role_table": "What its values mean here",
    "roles": "Roles that may come in so",
    "adds_people": "Unknown people get an account",
    "link_by": "How an account is recognised",
    "passwords": "Who may also use a password",
    "acr_values": "Accepted strength (acr)",
    "factor_amr": "A second factor shows in amr as",
    "factor_acr": "A second factor shows in acr as",
    "max_age_s": "Oldest sign-in there (seconds)",
    "session_life_s": "Longest session here (seconds)",
    "fhir_user_claim": "Claim of the fhirUser",
    "role_claim": "Claim of the roles",
    "username_claim": "Claim of the username",
    "name_claim": "Claim of the name",
    "subject_claim": "Claim of the subject",
    "active": "Switched on",
}


async def show_list(visit: Visit) -> Response:
    """Show the identity providers of the hospital, and who may use a password."""

    def look(ctx: Context) -> dict[str, Any]:
        tenant = own(ctx)
        found = federation.list_providers(ctx, tenant.id)
        chosen = policy.passwords_of(tuple(each.settings for each in found))
        return {
            "providers": [
                (each, address("tenant.provider", each.id), _roles(each.settings)) for each in found
            ],
            "passwords": _PASSWORDS[chosen][0],
            "hosts": [each.origin for each in federation.list_hosts(ctx)],
            "signin": visit.kit.urls.signin(tenant.id),
            "room": len(found) < PROVIDERS_BOUND,
        }

    return visit.render("console/tenant/providers.html", **await visit.read(look))


def _roles(settings: Settings) -> str:
    return ", ".join(map(words.role, settings.roles))


async def show(visit: Visit) -> Response:
    """Show one provider."""
    return await _page(visit)


async def _page(
    visit: Visit, *, trial: Trial | None = None, error: Invalid | None = None, waits: bool = False
) -> Response:
    found = await visit.read(_found(visit))
    urls = visit.kit.urls
    return visit.render(
        "console/tenant/provider.html",
        provider=found,
        settings=found.settings,
        rows=_written(found.settings, but=("active", "name", "role_table", "client_id", "issuer")),
        table=[(row.value, words.role(row.role)) for row in found.settings.role_table],
        register=[
            ("Redirect URI", urls.returns_to(found.tenant, found.id)),
            ("After signing out", urls.signout(found.tenant)),
            ("Back-channel logout", urls.provider_logout(found.tenant, found.id)),
        ],
        passwords=_PASSWORDS[found.settings.passwords][0],
        trial=trial,
        **fields.answered(error=error),
        waits=waits,
        edit=address("tenant.provider_edit", found.id),
    )


def _found(visit: Visit) -> Any:
    return partial(federation.view_provider, provider_id=visit.param())


def _written(settings: Settings, but: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Return settings in words, without those that are empty."""
    found = [
        (each.name, getattr(settings, each.name)) for each in fields_of(settings) if each.name not in but
    ]
    return [(_label(name), _text(value)) for name, value in found if value not in {"", ()}]


def _label(name: str) -> str:
    return _NAMES.get(name, words.field(name))


def _text(value: Any) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case LinkBy():
            return _LINK_BY[value][0]
        case Passwords():
            return _PASSWORDS[value][0]
        case tuple() if value and isinstance(value[0], RoleRow):
            return "; ".join(f"{row.value}: {words.role(row.role)}" for row in value)
        case tuple():
            return ", ".join(words.role(str(each)) if each in set(ROLES) else str(each) for each in value)
        case _:
            return str(value)


async def act(visit: Visit, form: Form) -> Response:
    """Try a provider, replace its secret, or switch it off or on."""
    if form.one("act") == "try":
        found, allowed = await visit.write(partial(federation.trial, provider_id=visit.param()))
        returns_to = visit.kit.urls.returns_to(found.tenant, found.id)
        return await _page(visit, trial=await visit.ports.providers.try_out(found, allowed, returns_to))
    provider: Provider = await visit.read(_found(visit))
    try:
        changed = _act(visit, form, provider)
        number = _number(form)
        verb = partial(federation.change_provider, provider_id=provider.id, change=changed, number=number)
        done = await visit.write(verb)
    except Invalid as error:
        return await _page(visit, error=error)
    return await _page(visit, waits=True) if isinstance(done, Asked) else to(visit.path)


def _act(visit: Visit, form: Form, provider: Provider) -> Change:
    match form.one("act"):
        case "secret":
            return Change(provider.settings, _sealed(visit, form, provider.settings))
        case "on":
            return Change(replace(provider.settings, active=True))
        case "off":
            fields.require_tick(form, "Tick the box to confirm that it should be switched off.")
            return Change(replace(provider.settings, active=False))
        case _:
            raise fields.no_such_act()


def _sealed(visit: Visit, form: Form, settings: Settings) -> str:
    """Return the client's secret, or its private key, sealed for the issuer. Raises Invalid if there is none."""
    secret = form.one("client_secret")
    if not secret or len(secret) > SECRET_LENGTH or not (secret.isascii() and secret.isprintable()):
        raise Invalid(
            "provider_invalid",
            "The secret is missing, or is not printable ASCII text.",
            fields={"client_secret": "malformed" if secret else "missing"},
        )
    if not settings.issuer:
        raise Invalid("provider_invalid", "The issuer is missing.", fields={"issuer": "missing"})
    if fault := policy.secret_fault(settings, secret):
        raise Invalid(
            "provider_invalid",
            "This is not a private key. Make one with hilum idp key.",
            fields={"client_secret": fault},
        )
    return visit.ports.providers.seal(secret, settings.issuer)


SECRET_LENGTH = 8_000


def _number(form: Form) -> int:
    text = form.one("number")
    if not text.isdecimal() or len(text) > 9:
        raise Invalid("form_invalid", "Open the page again.", fields={"number": "malformed"})
    return int(text)


async def show_new(visit: Visit) -> Response:
    """Show the form that adds a provider."""
    return _form(visit, fields.NO_FORM, Settings("", "", ""))


async def show_edit(visit: Visit) -> Response:
    """Show the settings of a provider as a form."""
    found = await visit.read(_found(visit))
    return _form(visit, fields.NO_FORM, found.settings, found)


def _form(
    visit: Visit,
    given: Form,
    settings: Settings,
    provider: Provider | None = None,
    error: Invalid | None = None,
) -> Response:
    sent = "name" in given
    rows = _rows(given) if sent else settings.role_table
    shown = {name: given.one(name) if sent else getattr(settings, name) for name in (*_TEXTS, "algorithm")}
    shown |= {name: given.one(name) if sent else " ".join(getattr(settings, name)) for name in _LISTS}
    for name in ("client_auth", "link_by", "passwords"):
        shown[name] = given.one(name) if sent else getattr(settings, name).value
    shown |= {
        "issuer": given.one("issuer") if sent and provider is None else settings.issuer,
        "adds_people": bool(given.many("adds_people")) if sent else settings.adds_people,
        "max_age_m": given.one("max_age_m") if sent else str(settings.max_age_s // 60 or ""),
        "session_life_m": given.one("session_life_m") if sent else str(settings.session_life_s // 60),
    }
    return visit.render(
        "console/tenant/provider_form.html",
        shown=shown,
        **fields.answered(given, error),
        provider=provider,
        number=given.one("number") if sent else str(provider.number if provider else 0),
        rows=[(row.value, row.role) for row in rows] + [("", "")] * SPARE_ROWS,
        roles=[("", "nothing"), *((each.value, words.role(each.value)) for each in ROLES)],
        passwords=[(each.value, *_PASSWORDS[each]) for each in Passwords],
        link_by=[(each.value, *_LINK_BY[each]) for each in LinkBy],
        auths=[
            (ClientAuth.BASIC.value, "In the header (client_secret_basic)"),
            (ClientAuth.POST.value, "In the form (client_secret_post)"),
            (ClientAuth.KEY.value, "By a key (private_key_jwt): the secret is the private JWK"),
        ],
        algorithms=[(each, each) for each in ALGORITHMS],
        longest=int(SESSION_LIFE_MAX.total_seconds() // 60),
        back=address("tenant.provider", provider.id) if provider else address("tenant.providers"),
    )


def _rows(form: Form) -> tuple[RoleRow, ...]:
    found = [(form.one(f"value_{n}").strip(), form.one(f"role_{n}")) for n in range(ROWS_BOUND + SPARE_ROWS)]
    return tuple(RoleRow(value, role) for value, role in found if value or role)


def _settings(form: Form, before: Settings) -> Settings:
    """Return the settings that a form describes. Raises Invalid."""
    table = _rows(form)
    chosen: dict[str, Any] = {name: form.one(name).strip() for name in (*_TEXTS, "algorithm")}
    chosen |= {name: tuple(form.one(name).split()) for name in _LISTS}
    try:
        minutes = [int(form.one(name).strip() or "0") for name in ("max_age_m", "session_life_m")]
        chosen |= {
            "client_auth": ClientAuth(form.one("client_auth")),
            "link_by": LinkBy(form.one("link_by")),
            "passwords": Passwords(form.one("passwords")),
        }
    except ValueError as error:
        detail = "Choose one option in each list; minutes must be a number."
        raise Invalid("provider_invalid", detail, fields={"session_life_m": "malformed"}) from error
    # Whoever has no row here has no role here.
    roles = tuple(each.value for each in ROLES if each.value in {row.role for row in table})
    chosen |= {"adds_people": bool(form.many("adds_people")), "role_table": table, "roles": roles}
    return replace(before, **chosen, max_age_s=minutes[0] * 60, session_life_s=minutes[1] * 60)


async def add(visit: Visit, form: Form) -> Response:
    """Ask a colleague to agree to a new provider."""
    before = Settings("", form.one("issuer").strip(), "")
    try:
        settings = _settings(form, before)
        change = Change(settings, _sealed(visit, form, settings))
        done = await visit.write(lambda ctx: federation.add_provider(ctx, own(ctx).id, change))
    except Invalid as error:
        return _form(visit, form, before, error=error)
    if isinstance(done, Asked):
        return to_approval(visit, done)
    return to(address("tenant.provider", done.id))


async def edit(visit: Visit, form: Form) -> Response:
    """Show what a change of a provider would change, and whether it waits; then do it."""
    provider: Provider = await visit.read(_found(visit))
    try:
        wanted = _settings(form, provider.settings)
        number = _number(form)
        if form.one("sure") != "yes" or number != provider.number:
            if faults := policy.settings_faults(wanted):
                raise Invalid(
                    "provider_invalid",
                    "The provider cannot be set up as described; see below.",
                    fields=faults,
                )
            return _sure(visit, form, provider, wanted, stale=number != provider.number)
        verb = partial(
            federation.change_provider, provider_id=provider.id, change=Change(wanted), number=number
        )
        done = await visit.write(verb)
    except Invalid as error:
        return _form(visit, form, provider.settings, provider, error)
    except Conflict as error:
        if error.code != "stale_edit":
            raise
        now: Provider = await visit.read(_found(visit))
        return _sure(visit, form, now, wanted, stale=True)
    if isinstance(done, Asked):
        return to_approval(visit, done)
    return to(address("tenant.provider", provider.id))


def _sure(visit: Visit, form: Form, provider: Provider, wanted: Settings, *, stale: bool) -> Response:
    """Show how a provider is set up and how it would be. ``stale``: a colleague changed it since the form was opened."""
    before = provider.settings
    names = [each.name for each in fields_of(before)]
    kept = [(name, value) for name, values in form.values.items() for value in values if name not in _OWN]
    return visit.render(
        "console/tenant/provider_sure.html",
        status=409 if stale else 200,
        provider=provider,
        rows=[
            (_label(name), _text(getattr(before, name)), _text(getattr(wanted, name)))
            for name in names
            if getattr(before, name) != getattr(wanted, name)
        ],
        stale=stale,
        waits=policy.widens(before, wanted),
        kept=kept,
        back=address("tenant.provider", provider.id),
    )


_OWN = {"csrf", "number", "sure"}
