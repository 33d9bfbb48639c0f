"""Who may do what to apps, what may be certified and installed, and what enforcement must know of a client. Pure.

The rules of redirect URIs stand in ``standards.redirects``, those of client metadata in ``clients.policy``.
"""

import hmac
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from hilum.clients.models import SCOPES_BOUND, TEXT_BOUND, ClientType, Deployment, Environment
from hilum.controls.policy import administers
from hilum.identity.models import Role, StaffRole
from hilum.identity.policy import name_fault
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.ids import TenantId
from hilum.registry.models import (
    CERTIFICATION_LIFE_MAX,
    LABEL_BOUND,
    LISTED_BOUND,
    App,
    AppState,
    Certification,
    CertifyOrder,
    Client,
    ClientFacts,
    NewApp,
    NewVendor,
)
from hilum.standards import redirects
from hilum.standards.smart.scopes import ScopeError, all_covered, parse_scope


def validate_redirect_uri(
    uri: str, *, client_type: ClientType, deployment: Deployment, sandbox: bool
) -> str | None:
    """Name the first rule that a redirect URI breaks, or None (C2). ``sandbox``: the client works at sandbox tenants only."""
    native, public = deployment is Deployment.NATIVE, client_type is ClientType.PUBLIC
    return redirects.validate_redirect_uri(uri, native=native, public=public, sandbox=sandbox)


def redirect_matches(registered: Iterable[str], presented: str, *, deployment: Deployment) -> bool:
    """Tell whether a presented redirect URI is one of the registered: exact, but for a native app's loopback port (C3)."""
    return redirects.redirect_matches(registered, presented, native=deployment is Deployment.NATIVE)


def _is_platform_itself(actor: Actor) -> bool:
    return actor.kind in {ActorKind.HOST, ActorKind.SYSTEM}


def _is_staff(actor: Actor, *roles: StaffRole) -> bool:
    return actor.kind is ActorKind.STAFF and not actor.roles.isdisjoint(roles)


def may_register(actor: Actor) -> bool:
    """Tell whether an actor may add vendors, apps, versions and clients."""
    return _is_platform_itself(actor) or _is_staff(actor, StaffRole.PLATFORM_ADMIN)


def may_certify(actor: Actor) -> bool:
    """Tell whether an actor may record and withdraw certifications; who installs or registers does not certify."""
    return _is_platform_itself(actor) or _is_staff(actor, StaffRole.REVIEWER)


def may_suspend(actor: Actor) -> bool:
    """Tell whether an actor may suspend and resume apps."""
    return _is_platform_itself(actor) or _is_staff(actor, StaffRole.PLATFORM_ADMIN, StaffRole.SECURITY)


def may_keep_peers(actor: Actor, tenant: TenantId) -> bool:
    """Tell whether an actor may add a tenant's EHR and resource servers and rotate their secrets."""
    return may_register(actor) or administers(actor, tenant)


def may_read_catalogue(actor: Actor) -> bool:
    """Tell whether an actor may read vendors, apps and versions."""
    return actor.is_platform or (actor.kind is ActorKind.PERSON and Role.ADMINISTRATOR in actor.roles)


def may_see_app(actor: Actor, app: App) -> bool:
    """Tell whether an actor may read an app; one that lives at a single tenant is seen there only."""
    if actor.is_platform:
        return True
    return may_read_catalogue(actor) and app.tenant in {None, actor.tenant}


def may_rotate(actor: Actor, app: App) -> bool:
    """Tell whether an actor may rotate a client's secret."""
    return may_register(actor) or administers(actor, app.tenant or "")


def may_see_clients(actor: Actor, app: App) -> bool:
    """Tell whether an actor may read an app's client metadata."""
    return actor.is_platform or administers(actor, app.tenant or "")


def vendor_faults(order: NewVendor) -> dict[str, str]:
    """Name what is wrong with a vendor, field by field."""
    fields = {
        "name": order.name,
        "support_contact": order.support_contact,
        "security_contact": order.security_contact,
    }
    faults = {field: fault for field, text in fields.items() if (fault := name_fault(text))}
    if order.website and (not order.website.startswith("https://") or name_fault(order.website)):
        faults["website"] = "website_not_https"
    return faults


def app_faults(order: NewApp) -> dict[str, str]:
    """Name what is wrong with an app, field by field."""
    faults = {"name": fault} if (fault := name_fault(order.name)) else {}
    for field, text in (("description", order.description), ("purpose", order.purpose)):
        if not text.strip():
            faults[field] = f"{field}_missing"
        elif len(text) > TEXT_BOUND:
            faults[field] = "too_long"
    return faults


def label_fault(label: str) -> str:
    """Name what is wrong with a version's label."""
    return name_fault(label) or ("name_too_long" if len(label) > LABEL_BOUND else "")


def reason_fault(reason: str) -> str:
    """Name what is wrong with a stated reason."""
    if not reason.strip():
        return "reason_missing"
    return "too_long" if len(reason) > TEXT_BOUND else ""


def scope_faults(scopes: Iterable[str]) -> dict[str, str]:
    """Name what is wrong with a list of scopes to certify or to install."""
    scopes = tuple(scopes)
    if not scopes:
        return {"scopes": "scopes_missing"}
    if len(scopes) > SCOPES_BOUND:
        return {"scopes": "too_many"}
    for text in scopes:
        parsed = parse_scope(text)
        if isinstance(parsed, ScopeError):
            return {"scopes": parsed.value}
    return {}


def certify_faults(order: CertifyOrder, *, now: datetime) -> dict[str, str]:
    """Name what is wrong with a certification."""
    faults = scope_faults(order.scopes)
    if order.expires_at <= now:
        faults["expires_at"] = "not_in_the_future"
    elif order.expires_at > now + CERTIFICATION_LIFE_MAX:
        faults["expires_at"] = "too_far_away"
    return faults


def stands(certification: Certification, environment: Environment, now: datetime) -> bool:
    """Tell whether a certification counts now; one for production counts in a sandbox too."""
    fits = certification.environment in {environment, Environment.PRODUCTION}
    return fits and certification.withdrawn_at is None and now < certification.expires_at


def beyond(asked: Iterable[str] | None, allowed: Iterable[str], *, allowed_as: str) -> str:
    """Return a sentence that lists the asked scopes that are not within the allowed ones, and the allowed ones; empty: all are.

    ``allowed_as``: what the allowed ones are, such as "certified".
    """
    within = tuple(dict.fromkeys(allowed))
    outside = [text for text in asked or () if not all_covered((text,), within)]
    if not outside:
        return ""
    return f"Not {allowed_as}: {_listed(outside)}. {allowed_as.capitalize()}: {_listed(within)}."


def _listed(scopes: Sequence[str]) -> str:
    more = f" and {len(scopes) - LISTED_BOUND} more" if len(scopes) > LISTED_BOUND else ""
    return f"{', '.join(scopes[:LISTED_BOUND])}{more}"


def join(client: Client, app: App, certifications: Iterable[Certification]) -> ClientFacts:
    """Join a client with its app and with what ``certification_of`` finds among certifications, withdrawn ones included."""
    found = certification_of(client, certifications)
    last, certified_since = found or (None, None)
    return ClientFacts(
        id=client.id,
        app=app.id,
        version=client.version,
        vendor=app.vendor,
        type=client.type,
        environment=client.environment,
        active=app.state is AppState.ACTIVE,
        expires_at=client.expires_at,
        certified_scopes=last.scopes if last else (),
        certified_until=last.expires_at if last else None,
        origins=client.origins,
        scopes=client.scopes,
        tenant=app.tenant,
        since=max(filter(None, (app.active_since, certified_since)), default=None),
    )


def certification_of(
    client: Client, certifications: Iterable[Certification]
) -> tuple[Certification, datetime] | None:
    """Find the certification of a client's version that lasts longest, and since when there was one without a break.

    One follows another without a break if it was given before the other ended. Adopting a version keeps an unbroken standing.
    """
    environments = {client.environment, Environment.PRODUCTION}
    of_version = [each for each in certifications if each.version == client.version]
    counting = [each for each in of_version if each.environment in environments]
    standing = (each for each in counting if each.withdrawn_at is None)
    last = max(standing, key=lambda each: each.expires_at, default=None)
    if last is None:
        return None
    since = last.certified_at
    for each in sorted(counting, key=lambda each: each.certified_at, reverse=True):
        withdrawn = each.withdrawn_at is not None and each.withdrawn_at <= since
        if each.certified_at <= since <= each.expires_at and not withdrawn:
            since = each.certified_at
    if client.adopted_at is not None and client.certified_before is not None and since <= client.adopted_at:
        since = client.certified_before
    return last, since


def secret_matches(client: Client, presented_digest: str, now: datetime) -> bool:
    """Compare the SHA-256 (hex) of a presented secret with the client's secrets in force, in constant time (C9)."""
    matched = False
    for secret in client.secrets:
        in_force = secret.expires_at is None or now < secret.expires_at
        matched |= hmac.compare_digest(secret.digest, presented_digest) and in_force
    return matched


def registration_answer(client: Client, secret: str) -> dict[str, Any]:
    """Write a registered client in the words of RFC 7591 section 3.2.1."""
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
        answer |= {"client_secret": secret, "client_secret_expires_at": int(end.timestamp()) if end else 0}
    optional = {
        "launch_url": client.launch_uri,
        "origins": list(client.origins),
        "jwks": client.jwks,
        "jwks_uri": client.jwks_uri,
    }
    return answer | {name: value for name, value in optional.items() if value}
