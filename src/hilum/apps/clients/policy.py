"""Client metadata: parsed and validated in one place for every way to register (C1). Pure.

Errors name fields as RFC 7591 section 2 does, and also ``launch_url``, ``origins``, ``client_type``, ``deployment``, ``backend_use`` and
``expires_at``.
"""

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlsplit

from hilum.apps.clients.admissions import (
    AUTHENTICATION,
    admission,
    certified_until,
    ends_in,
    served_by,
    served_until,
    serves_until,
    unbroken_since,
    workflows_allowed,
)
from hilum.apps.clients.certified import certification_of, is_certified_for_production, join
from hilum.apps.clients.models import (
    A_DAY_BOUND,
    BACKEND_LIFE_MAX,
    EDITABLE,
    HOURS_SLACK,
    ORIGINS_BOUND,
    REDIRECT_URIS_BOUND,
    SYSTEM_CLIENTS,
    BackendUse,
    Client,
    ClientEdit,
    ClientMetadata,
    ClientType,
    Deployment,
    Hours,
)
from hilum.apps.registry.models import (
    SCOPES_BOUND,
    TEXT_BOUND,
    App,
    Environment,
)
from hilum.apps.registry.policy import may_change, may_register, may_see_vendor
from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.limits import Bounded, too_long, too_many
from hilum.foundation.standards import redirects
from hilum.foundation.standards.keysets import jwks_fault
from hilum.foundation.standards.redirects import origin_of, validate_web_uri
from hilum.foundation.standards.registration import read_registration
from hilum.foundation.standards.smart.scopes import (
    ClinicalScope,
    Prefix,
    Scope,
    ScopeError,
    everything,
    parse_scope,
)
from hilum.identity.people.models import VendorRight
from hilum.identity.people.policy import is_loopback, name_fault, origin_fault

__all__ = [
    "AUTHENTICATION",
    "admission",
    "certification_of",
    "certified_until",
    "ends_in",
    "is_certified_for_production",
    "join",
    "served_by",
    "served_until",
    "serves_until",
    "unbroken_since",
    "workflows_allowed",
]
KEYED = frozenset({ClientType.ASYMMETRIC, ClientType.BACKEND})
# Types, not flags, decide how a client authenticates, so that no combination of flags is overlooked.
WITH_SECRET = frozenset({ClientType.SYMMETRIC, ClientType.EHR, ClientType.RESOURCE_SERVER})
DELEGATED = frozenset({ClientType.PUBLIC, ClientType.SYMMETRIC, ClientType.ASYMMETRIC})
METHODS = {
    "none": ClientType.PUBLIC,
    "client_secret_basic": ClientType.SYMMETRIC,
    "client_secret_post": ClientType.SYMMETRIC,
    "private_key_jwt": ClientType.ASYMMETRIC,
}
LAUNCH_SCOPE = "hilum/launch"
# A developer who registers without scopes may try everything that synthetic data allows.
DEFAULT_DELEGATED = " ".join(
    (
        "launch",
        "launch/patient",
        "launch/encounter",
        "openid",
        "fhirUser",
        "online_access",
        "offline_access",
        *everything(Prefix.PATIENT),
        *everything(Prefix.USER),
    )
)
DEFAULT_BACKEND = "system/*.cruds"
TRIAL_USE = BackendUse("Trial in a sandbox", "Synthetic patients", "On demand", "The sandbox")
_CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{2,63}")

Faults = dict[str, str]


def fits_id(client_id: str) -> bool:
    """Check whether a chosen client id is safe in URLs, logs and switch targets."""
    return _CLIENT_ID.fullmatch(client_id) is not None


def normalized(metadata: ClientMetadata) -> ClientMetadata:
    """Return metadata with default grant types and origins, and without unknown or repeated scopes."""
    grants = metadata.grant_types
    if not grants:
        # RFC 7591 section 2 defaults to authorization_code alone. SMART clients ask for offline_access, so
        # refresh_token is included.
        grants = ("authorization_code", "refresh_token")
        if metadata.type not in DELEGATED:
            grants = ("client_credentials",)
    origins = metadata.origins
    if not origins and metadata.deployment is Deployment.BROWSER:
        # A browser app calls the API from where it is served,
        # which is nearly always where it is redirected to.
        derived = (origin_of(uri) for uri in (*metadata.redirect_uris, metadata.launch_uri))
        origins = tuple(dict.fromkeys(origin for origin in derived if origin))
    scopes = tuple(
        # Unknown words such as `profile` are dropped as at authorize;
        # a malformed clinical scope stays, and is refused below.
        text
        for text in dict.fromkeys(metadata.scopes)
        if parse_scope(text) is not ScopeError.UNKNOWN
    )
    # Other members of the document are dropped: what nobody judged is not stored.
    jwks = None if metadata.jwks is None else {"keys": metadata.jwks.get("keys")}
    name = metadata.name.strip()
    return replace(metadata, name=name, grant_types=grants, origins=origins, scopes=scopes, jwks=jwks)


def validate_client_metadata(metadata: ClientMetadata, *, now: datetime) -> Faults:
    """Return the error code of each invalid field of normalized metadata; empty if it may be registered."""
    faults: Faults = {}
    if fault := name_fault(metadata.name):
        faults["client_name"] = fault
    faults |= _authentication_faults(metadata)
    faults |= _address_faults(metadata)
    faults |= _scope_faults(metadata)
    faults |= _key_faults(metadata)
    faults |= _backend_faults(metadata, now)
    return faults


def _authentication_faults(metadata: ClientMetadata) -> Faults:
    """Check that only servers have credentials, and all of them (C15), and that backend and delegated access are separate (C16)."""
    on_server = metadata.deployment is Deployment.SERVER
    # Everybody with the app on their device has its secret too (RFC 8252 section 8.5).
    if not on_server and metadata.type is not ClientType.PUBLIC:
        return {"token_endpoint_auth_method": "confidential_on_device"}
    # A server can keep a secret, and without one anybody could redeem its codes (C15).
    if on_server and metadata.type is ClientType.PUBLIC:
        return {"token_endpoint_auth_method": "server_must_authenticate"}
    grants = set(metadata.grant_types)
    if len(grants) < len(metadata.grant_types) or grants - {
        "authorization_code",
        "refresh_token",
        "client_credentials",
    }:
        return {"grant_types": "grant_type_unsupported"}
    # A client that could do both would let a person's consent and a tenant's approval be mixed (C16).
    if metadata.type not in DELEGATED:
        return {} if grants == {"client_credentials"} else {"grant_types": "backend_and_delegated"}
    if "client_credentials" in grants:
        return {"grant_types": "backend_and_delegated"}
    return {} if "authorization_code" in grants else {"grant_types": "authorization_code_missing"}


def _address_faults(metadata: ClientMetadata) -> Faults:
    faults: Faults = {}
    sandbox = metadata.environment is Environment.SANDBOX
    # http to loopback never leaves the device; with synthetic data it is allowed for servers too, so that
    # apps can be developed.
    loopback = sandbox or metadata.deployment is Deployment.NATIVE
    if metadata.type in DELEGATED:
        if not metadata.redirect_uris:
            faults["redirect_uris"] = "redirect_missing"
        elif len(metadata.redirect_uris) > REDIRECT_URIS_BOUND:
            faults["redirect_uris"] = too_many(REDIRECT_URIS_BOUND)
        # Repeated URIs are a typing error that would hide the missing one.
        elif len(set(metadata.redirect_uris)) < len(metadata.redirect_uris):
            faults["redirect_uris"] = "redirect_repeated"
        else:
            for uri in metadata.redirect_uris:
                fault = redirects.validate_redirect_uri(
                    uri,
                    native=metadata.deployment is Deployment.NATIVE,
                    public=metadata.type is ClientType.PUBLIC,
                    sandbox=sandbox,
                )
                if fault:
                    faults["redirect_uris"] = fault
                    break
    # A backend service never redirects.
    elif metadata.redirect_uris:
        faults["redirect_uris"] = "redirect_unexpected"
    if metadata.launch_uri and metadata.type not in DELEGATED:
        faults["launch_url"] = "launch_url_unexpected"
    elif metadata.launch_uri and (fault := validate_web_uri(metadata.launch_uri, loopback=loopback)):
        faults["launch_url"] = fault
    if len(metadata.origins) > ORIGINS_BOUND:
        faults["origins"] = too_many(ORIGINS_BOUND)
    else:
        for origin in metadata.origins:
            if fault := origin_fault(origin) or _loopback_fault(origin, allowed=loopback):
                faults["origins"] = fault
    return faults


def _loopback_fault(origin: str, *, allowed: bool) -> str:
    return "" if allowed or origin.startswith("https://") else "origin_not_https"


def _scope_faults(metadata: ClientMetadata) -> Faults:
    if len(metadata.scopes) > SCOPES_BOUND:
        return {"scope": too_many(SCOPES_BOUND)}
    parsed: list[Scope] = []
    for text in metadata.scopes:
        scope = parse_scope(text)
        if isinstance(scope, ScopeError):
            return {"scope": scope.value}
        parsed.append(scope)
    fault = scope_kind_fault(parsed, metadata.type)
    return {"scope": fault} if fault else {}


def scope_kind_fault(scopes: Iterable[Scope], client_type: ClientType) -> str:
    """Return the error code of scopes that conflict with each other or with the client's type (C16); empty if none do."""
    scopes = tuple(scopes)
    clinical = [scope for scope in scopes if isinstance(scope, ClinicalScope)]
    special = {scope.name for scope in scopes if not isinstance(scope, ClinicalScope)}
    # system/ scopes are approved by the tenant, all others by people: one token must not have both (C16).
    system = any(scope.prefix is Prefix.SYSTEM for scope in clinical)
    delegated = any(scope.prefix is not Prefix.SYSTEM for scope in clinical) or bool(special - {LAUNCH_SCOPE})
    if system and delegated:
        return "scope_mixed"
    # An EHR opens launches and reads nothing; a resource server introspects and has no scopes at all.
    if client_type in SYSTEM_CLIENTS:
        required = {LAUNCH_SCOPE} if client_type is ClientType.EHR else set()
        return "scope_reserved" if clinical or special != required else ""
    # Only a hospital's EHR opens launches: it vouches for the person (security decision 2).
    if LAUNCH_SCOPE in special:
        return "scope_reserved"
    if client_type is ClientType.BACKEND:
        return "scope_delegated_in_backend" if delegated else ""
    return "scope_system_in_delegated" if system else ""


def _key_faults(metadata: ClientMetadata) -> Faults:
    if metadata.type not in KEYED:
        faults: Faults = {}
        if metadata.jwks is not None:
            faults["jwks"] = "keys_unexpected"
        if metadata.jwks_uri:
            faults["jwks_uri"] = "keys_unexpected"
        return faults
    # RFC 7591 section 2: both at once are not allowed, since they could differ.
    if metadata.jwks is not None and metadata.jwks_uri:
        return {"jwks": "jwks_and_uri"}
    if metadata.jwks_uri:
        sandbox = metadata.environment is Environment.SANDBOX
        # The address is fetched later, by the fetcher that
        # refuses private addresses; here only its form is judged.
        fault = validate_web_uri(metadata.jwks_uri, loopback=sandbox)
        return {"jwks_uri": fault} if fault else {}
    fault = "keys_missing" if metadata.jwks is None else jwks_fault(metadata.jwks)
    return {"jwks": fault} if fault else {}


def _backend_faults(metadata: ClientMetadata, now: datetime) -> Faults:
    """Check the purpose, population, schedule and end that a backend client must state (C17)."""
    faults: Faults = {}
    end = metadata.expires_at
    if end is not None and not now < end <= now + BACKEND_LIFE_MAX:
        beyond = Bounded("too_far_away", f"at most {BACKEND_LIFE_MAX.days} days from now")
        faults["expires_at"] = "not_in_the_future" if end <= now else beyond
    if metadata.type is not ClientType.BACKEND:
        if metadata.backend_use is not None:
            faults["backend_use"] = "backend_use_unexpected"
        return faults
    # Access without a person must end by itself (C17).
    if end is None:
        faults["expires_at"] = "end_date_missing"
    use = metadata.backend_use
    parts = (use.purpose, use.population, use.schedule) if use else ()
    if not parts or not all(part.strip() for part in parts):
        faults["backend_use"] = "backend_use_missing"
    elif any(len(part) > TEXT_BOUND for part in (*parts, use.approver if use else "")):
        faults["backend_use"] = too_long(TEXT_BOUND)
    elif use is not None and (fault := _volume_fault(use)):
        faults["backend_use"] = fault
    return faults


def _volume_fault(use: BackendUse) -> str:
    """Return what is wrong with the volumes and hours that a backend service declares; empty if nothing is (C21, C17)."""
    calls, writes = use.calls_a_day, use.writes_a_day
    volumes = (calls, writes, use.patients_a_day)
    if any(not 0 <= most <= A_DAY_BOUND for most in volumes if most is not None):
        return "volume_out_of_range"
    if use.hours is not None and parse_hours(use.hours) is None:
        return "hours_malformed"
    # A write is a call, so the smaller number would be the only one that counts.
    return "writes_above_calls" if calls is not None and writes is not None and writes > calls else ""


_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_HOURS = re.compile(
    rf"(?:(?P<first>{'|'.join(_DAYS)})(?:-(?P<last>{'|'.join(_DAYS)}))? )?"
    r"(?P<begins>(?:[01]\d|2[0-3]):[0-5]\d)-(?P<ends>(?:[01]\d|2[0-3]):[0-5]\d|24:00)"
)
_DAY = timedelta(days=1)


def parse_hours(text: str) -> Hours | None:
    """Parse the hours of a service, such as ``22:00-05:00``, ``sun 01:00-04:00`` or ``mon-fri 00:00-24:00``; None for anything else.

    Hours that end before they begin end on the next day. Those without days are of every day.
    """
    found = _HOURS.fullmatch(text)
    if found is None or found["begins"] == found["ends"]:
        return None
    begins, ends = (
        timedelta(hours=int(found[part][:2]), minutes=int(found[part][3:])) for part in ("begins", "ends")
    )
    first = _DAYS.index(found["first"]) if found["first"] else 0
    last = _DAYS.index(found["last"] or found["first"]) if found["first"] else len(_DAYS) - 1
    # Days may go over the end of the week, such as fri-mon.
    number = (last - first) % len(_DAYS) + 1
    days = frozenset((first + n) % len(_DAYS) for n in range(number))
    return Hours(days, begins, ends if ends > begins else ends + _DAY)


def hours_on(hours: Hours, day: date) -> list[tuple[datetime, datetime]]:
    """Return when a service may call on a day of UTC by its hours, with HOURS_SLACK: the hours of that day, of the day before and of the next."""
    midnight = datetime.combine(day, time(), UTC)
    found = []
    for of in (midnight - _DAY, midnight, midnight + _DAY):
        if of.weekday() in hours.days:
            begins, ends = of + hours.begins - HOURS_SLACK, of + hours.ends + HOURS_SLACK
            if begins < midnight + _DAY and ends > midnight:
                found.append((max(begins, midnight), min(ends, midnight + _DAY)))
    return found


def new_client_faults(metadata: ClientMetadata) -> Faults:
    """Refuse an approver that a new production client states as a text: each hospital names its own. Clients of older releases may have one (C17)."""
    use = metadata.backend_use
    named = use is not None and bool(use.approver.strip())
    in_production = metadata.environment is Environment.PRODUCTION
    return {"backend_use": "approver_is_a_text"} if named and in_production else {}


def from_registration(body: Mapping[str, Any], *, expires_at: datetime) -> ClientMetadata | Faults:
    """Parse a dynamic registration request for a sandbox tenant into metadata, or the error code of each invalid field.

    Defaults: the scopes of its type, and for a backend service ``TRIAL_USE``.
    """
    request = read_registration(body)
    if isinstance(request, dict):
        return request
    texts, lists = request.texts, request.lists
    client_type = METHODS[request.method]
    # RFC 7591 has no name for a backend service: keys and client_credentials alone make one.
    if set(lists["grant_types"]) == {"client_credentials"} and client_type is ClientType.ASYMMETRIC:
        client_type = ClientType.BACKEND
    deployment = Deployment.SERVER
    if texts["application_type"] == "native":
        deployment = Deployment.NATIVE
    # A public client that does not say "native" is taken for a browser app, which gets less: no private
    # schemes, no loopback ports.
    elif client_type is ClientType.PUBLIC:
        deployment = Deployment.BROWSER
    backend = client_type is ClientType.BACKEND
    default = DEFAULT_BACKEND if backend else DEFAULT_DELEGATED
    return ClientMetadata(
        name=texts["client_name"] or "Unnamed app",
        type=client_type,
        deployment=deployment,
        # Never production, whatever the request says: nobody has reviewed it.
        environment=Environment.SANDBOX,
        redirect_uris=lists["redirect_uris"],
        launch_uri=texts["launch_url"] or texts["initiate_login_uri"],
        origins=lists["origins"],
        scopes=tuple((texts["scope"] or default).split()),
        jwks=request.jwks,
        jwks_uri=texts["jwks_uri"],
        # Empty means the default of the type.
        grant_types=() if backend else lists["grant_types"],
        expires_at=expires_at,
        backend_use=TRIAL_USE if backend else None,
    )


def validate_redirect_uri(
    uri: str, *, client_type: ClientType, deployment: Deployment, sandbox: bool
) -> str | None:
    """Return the first rule that a redirect URI breaks, or None (C2). ``sandbox``: the client works only at sandbox tenants."""
    native, public = deployment is Deployment.NATIVE, client_type is ClientType.PUBLIC
    return redirects.validate_redirect_uri(uri, native=native, public=public, sandbox=sandbox)


def redirect_matches(registered: Iterable[str], presented: str, *, deployment: Deployment) -> bool:
    """Check whether a presented redirect URI is registered: compared exactly, except for a native app's loopback port (C3)."""
    return redirects.redirect_matches(registered, presented, native=deployment is Deployment.NATIVE)


def hosts_of(client: Client) -> frozenset[str]:
    """Return the hosts of a client's keys and redirects; this machine itself says nothing about who runs it."""
    hosts = (urlsplit(each).hostname or "" for each in (client.jwks_uri, *client.redirect_uris))
    return frozenset(host for host in hosts if host and not is_loopback(host))


def may_manage_system_clients(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may add a tenant's EHR and resource servers and rotate their secrets."""
    return may_register(actor) or administers(actor, tenant)


def may_rotate(actor: Actor, app: App) -> bool:
    """Check whether an actor may rotate a client's secret."""
    # An empty tenant administers nothing, so apps of several tenants are the platform's and their vendor's.
    return may_change_client(actor, app, VendorRight.SECRETS) or administers(actor, app.tenant or "")


def may_change_client(actor: Actor, app: App, right: VendorRight = VendorRight.APPS) -> bool:
    """Check whether an actor may change a client of an app: the platform, and members of its vendor with that right."""
    # A system client and a dynamic client have a vendor too, whose members would speak for the hospital.
    return may_register(actor) or (app.tenant is None and may_change(actor, app.vendor, right))


def may_see_clients(actor: Actor, app: App) -> bool:
    """Check whether an actor may read an app's client metadata."""
    own = app.tenant is None and may_see_vendor(actor, app.vendor)
    return own or actor.is_platform or administers(actor, app.tenant or "")


def edited(client: Client, edit: ClientEdit) -> ClientMetadata:
    """Return a client's metadata after an edit, normalized as at registration."""
    changes = {name: value for name in EDITABLE if (value := getattr(edit, name)) is not None}
    # One of the two: the other would stay as a second way to authenticate.
    if edit.jwks is not None:
        changes |= {"jwks_uri": edit.jwks_uri or ""}
    elif edit.jwks_uri:
        changes |= {"jwks": None}
    metadata = ClientMetadata(
        name=client.name,
        type=client.type,
        deployment=client.deployment,
        environment=client.environment,
        redirect_uris=client.redirect_uris,
        launch_uri=client.launch_uri,
        origins=client.origins,
        scopes=client.scopes,
        jwks=client.jwks,
        jwks_uri=client.jwks_uri,
        grant_types=client.grant_types,
        expires_at=client.expires_at,
        backend_use=client.backend_use,
    )
    return normalized(replace(metadata, **changes))


def changed_fields(client: Client, metadata: ClientMetadata) -> tuple[str, ...]:
    """List the editable fields in which metadata differs from a client."""
    return tuple(name for name in EDITABLE if getattr(client, name) != getattr(metadata, name))


def secret_matches(client: Client, presented_digest: str, now: datetime) -> bool:
    """Check in constant time whether the SHA-256 (hex) of a presented secret is that of a valid secret of the client (C9)."""
    # Every secret is compared, without leaving early, so that time does not disclose which of them is near.
    matched = False
    for secret in client.secrets:
        in_force = secret.expires_at is None or now < secret.expires_at
        matched |= hmac.compare_digest(secret.digest, presented_digest) and in_force
    return matched


def registration_answer(client: Client, secret: str) -> dict[str, Any]:
    """Build the response to a registration. Source: RFC 7591 section 3.2.1."""
    method = {
        ClientType.PUBLIC: "none",
        ClientType.ASYMMETRIC: "private_key_jwt",
        ClientType.BACKEND: "private_key_jwt",
    }.get(client.type, "client_secret_basic")
    answer: dict[str, Any] = {
        "client_id": client.id,
        "client_name": client.name,
        "token_endpoint_auth_method": method,
        "grant_types": list(client.grant_types),
        "response_types": ["code"] if "authorization_code" in client.grant_types else [],
        "redirect_uris": list(client.redirect_uris),
        "scope": " ".join(client.scopes),
        "application_type": "native" if client.deployment == "native" else "web",
    }
    if client.created_at is not None:
        answer["client_id_issued_at"] = int(client.created_at.timestamp())
    if secret:
        end = client.expires_at
        # 0 means "does not expire" (RFC 7591 section 3.2.1).
        answer |= {"client_secret": secret, "client_secret_expires_at": int(end.timestamp()) if end else 0}
    # Absent members are omitted, not sent as null.
    optional = {
        "launch_url": client.launch_uri,
        "origins": list(client.origins),
        "jwks": client.jwks,
        "jwks_uri": client.jwks_uri,
    }
    return answer | {name: value for name, value in optional.items() if value}
