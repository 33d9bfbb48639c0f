"""The two transactions of a sign-in through a provider, and the ends of its sessions."""

import hashlib
from collections.abc import Iterable
from typing import NoReturn

from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.federation import policy, store
from hilum.federation.models import (
    LOGOUT_TOKEN_LIFE,
    SIGN_IN_LIFE,
    SKEW,
    Departure,
    Fault,
    FederatedSession,
    Identity,
    LinkBy,
    Logout,
    Provider,
    Refusal,
)
from hilum.federation.service import SIGN_IN, add_link
from hilum.identity import service as identity
from hilum.identity.models import Person
from hilum.infra.context import Context
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict, HilumError, Invalid, NotFound
from hilum.kernel.ids import SessionId, TenantId
from hilum.keys.live import vault
from hilum.signin import service as signin
from hilum.signin.models import Method, Session

HINT = "federation-hint"


def offers(ctx: Context, tenant: TenantId) -> list[Provider]:
    """List the providers that a hospital's sign-in page offers."""
    return [each for each in store.providers_of(ctx.tx, tenant) if each.settings.active]


def shows_passwords(ctx: Context, tenant: TenantId) -> bool:
    """Check whether anybody of a hospital may sign in with a password."""
    return signin.password_roles(ctx, tenant) != frozenset()


def leave(
    ctx: Context, tenant: TenantId, provider_id: str, *, may_be_off: bool = False
) -> tuple[Provider, frozenset[str]]:
    """Return a provider that a browser may be sent to, and the allowed hosts. Raises NotFound."""
    provider = store.find_provider(ctx.tx, provider_id)
    place = identity.find_tenant(ctx, tenant)
    if provider is None or provider.tenant != tenant or place is None or not place.active:
        raise NotFound("provider_not_found", "There is no such sign-in.")
    if not provider.settings.active and not may_be_off:
        raise NotFound("provider_not_found", "This sign-in is switched off.")
    return provider, store.allowed_origins(ctx.tx)


def begin_return(
    ctx: Context, tenant: TenantId, provider_id: str, state: str, departure: Departure
) -> tuple[Provider, frozenset[str]]:
    """Use up the ``state`` of a browser that came back, before anything is asked of the provider. Raises NotFound, Refusal."""
    provider, allowed = leave(ctx, tenant, provider_id)
    if ctx.now >= departure.left_at + SIGN_IN_LIFE or ctx.now < departure.left_at - SKEW:
        refuse(ctx, provider, Fault.STATE_EXPIRED)
    # The redirect URI is each provider's own, and the state is sealed for one: the answer of one cannot be sent to another's.
    if departure.provider != provider.id:
        refuse(ctx, provider, Fault.ISSUER_MIXED_UP)
    # Whoever came back for the settings of before would be judged by those of now.
    if departure.number != provider.number:
        refuse(ctx, provider, Fault.PROVIDER_CHANGED)
    if not store.use(ctx.tx, _digest(f"state/{state}"), departure.left_at + SIGN_IN_LIFE):
        refuse(ctx, provider, Fault.STATE_USED)
    return provider, allowed


def complete_return(
    ctx: Context,
    provider: Provider,
    found: Identity,
    id_token: str,
    *,
    production: bool,
    replaces: str = "",
) -> tuple[Session, str]:
    """Sign in the person whom a provider stated; return their session with its cookie. Raises Refusal, Stopped.

    ``replaces`` is the browser's previous cookie, whose session ends.
    """
    # Read again: between the two transactions the provider may have been changed or switched off.
    current = store.find_provider(ctx.tx, provider.id)
    if current is None or current.number != provider.number or not current.settings.active:
        refuse(ctx, provider, Fault.PROVIDER_CHANGED)
    person = _person(ctx, provider, found)
    if policy.lacks_factor(person, found, production=production):
        refuse(ctx, provider, Fault.FACTOR_MISSING, person=person.id)
    if replaces:
        signin.end_session_of_cookie(ctx, replaces)
    until = policy.session_end(provider.settings, found, ctx.now)
    session, cookie = signin.begin_session(
        ctx,
        person,
        Method.FEDERATED,
        factor_at=policy.factor_at(found, ctx.now),
        until=until,
        authenticated_at=policy.signed_in_at(found, ctx.now),
    )
    hint = vault().seal(HINT, id_token.encode(), nonce=ctx.ids, bound_to=session.id)
    kept = FederatedSession(
        session.id, provider.id, found.issuer, found.subject, found.sid, hint, session.expires_at
    )
    store.add_session(ctx.tx, kept)
    facts = {
        "provider": provider.id,
        "session": session.id,
        "factor": found.has_factor,
        "until": session.expires_at.isoformat(),
    }
    audit.record(ctx, Event(SIGN_IN, tenant=provider.tenant, person=person.id, facts=facts))
    return session, cookie


def _person(ctx: Context, provider: Provider, found: Identity) -> Person:
    """Return the account of a subject: linked, recognised by a trusted claim, or added. Raises Refusal, Stopped."""
    settings, tenant = provider.settings, provider.tenant
    stated = policy.roles_stated(settings, found.claims)
    linked = store.find_link(ctx.tx, tenant, found.issuer, found.subject)
    person = None if linked is None else identity.find_person(ctx, linked.person)
    if linked is None:
        if not stated:
            refuse(ctx, provider, Fault.ROLE_MISSING)
        person = _recognised(ctx, provider, found, stated)
    if person is None:
        refuse(ctx, provider, Fault.PERSON_INACTIVE)
    if fault := policy.person_fault(settings, person, stated, tenant):
        # Whoever lost the role at the hospital keeps nothing that it gave them here.
        if fault is Fault.ROLE_LOST:
            signin.end_access(ctx, person.id)
        refuse(ctx, provider, fault, person=person.id)
    if linked is not None:
        store.save_seen(ctx.tx, linked.id, ctx.now)
    return person


def _recognised(ctx: Context, provider: Provider, found: Identity, stated: tuple[str, ...]) -> Person:
    settings, tenant = provider.settings, provider.tenant
    as_system = ctx.as_actor(SYSTEM)
    known = _by_trusted_claim(ctx, provider, found)
    if known is not None:
        if fault := policy.person_fault(settings, known, stated, tenant):
            refuse(ctx, provider, fault, person=known.id)
        if store.find_link_of(ctx.tx, found.issuer, known.id) is not None:
            refuse(ctx, provider, Fault.LINKED_ALREADY, person=known.id)
        add_link(as_system, provider, found.subject, known)
        return known
    order = policy.new_person(settings, found, stated, tenant)
    if isinstance(order, Fault):
        refuse(ctx, provider, order, subject=found.subject)
    if identity.adding_takes_two(ctx, order):
        refuse(ctx, provider, Fault.NEEDS_ADMINISTRATOR, subject=found.subject)
    try:
        identity.require_addable(as_system, order)
    except (Conflict, Invalid):
        # A name that is taken links nobody: names pass from one person to another.
        refuse(ctx, provider, Fault.USERNAME_TAKEN, subject=found.subject)
    added = identity.add_person(as_system, order)
    # The platform added it at the word of a hospital: that makes it no second person.
    identity.restart_age(ctx, added.id, ctx.now)
    add_link(as_system, provider, found.subject, added)
    return added


def _by_trusted_claim(ctx: Context, provider: Provider, found: Identity) -> Person | None:
    settings, tenant = provider.settings, provider.tenant
    match settings.link_by:
        case LinkBy.USERNAME:
            name = policy.username_stated(settings, found)
            return identity.find_person_by_username(ctx, tenant, name) if name else None
        case LinkBy.FHIR_USER:
            named = policy.fhir_user_stated(settings, found)
            return identity.find_active_by_fhir_user(ctx, tenant, named) if named else None
        case _:
            return None


def refuse(
    ctx: Context, provider: Provider, fault: Fault, *, person: str = "", subject: str = ""
) -> NoReturn:
    """Record that nobody was signed in. Raises Refusal."""
    event = Event(
        SIGN_IN,
        Outcome.REFUSED,
        tenant=provider.tenant,
        person=person,
        reason=f"federation_{fault}",
        facts={"provider": provider.id},
    )
    audit.record(ctx, event)
    raise Refusal(fault, policy.SENTENCES[fault].happened, subject=subject, recorded=True)


def record_counts(ctx: Context, counts: Iterable[tuple[str, str, int]]) -> None:
    """Record aggregated refusals, beyond those recorded one by one: tenant, address and count."""
    signin.record_counts(ctx, counts, SIGN_IN)


def record_fault(ctx: Context, provider: Provider, error: HilumError) -> None:
    """Record a sign-in that failed outside a transaction: a provider that did not answer, or whose token was refused."""
    facts = {"provider": provider.id}
    event = Event(SIGN_IN, Outcome.REFUSED, tenant=provider.tenant, reason=error.code, facts=facts)
    audit.record(ctx, event)


# --- sign-out -------------------------------------------------------------------------------------------------------------------


def begin_logout(ctx: Context, session: SessionId) -> tuple[Provider, str, frozenset[str]] | None:
    """Return the provider that began a session, with the id_token by which it knows whom to sign out; None for other sessions."""
    kept = store.take_session(ctx.tx, session)
    provider = None if kept is None else store.find_provider(ctx.tx, kept.provider)
    if kept is None or provider is None:
        return None
    try:
        hint = vault().open(HINT, kept.hint_sealed, session).decode()
    except Invalid:
        hint = ""
    return provider, hint, store.allowed_origins(ctx.tx)


def provider_of(ctx: Context, session: SessionId) -> tuple[Provider, frozenset[str]] | None:
    """Return the provider that began a session, and the allowed hosts; None for other sessions."""
    kept = store.find_session(ctx.tx, session)
    provider = None if kept is None else store.find_provider(ctx.tx, kept.provider)
    return None if provider is None else (provider, store.allowed_origins(ctx.tx))


def end_by_provider(ctx: Context, provider: Provider, logout: Logout) -> int:
    """End the sessions that a provider's logout token is about; return how many. Raises Refusal if the token was used already."""
    key = _digest(f"logout/{provider.id}/{logout.jti}")
    if not store.use(ctx.tx, key, logout.issued_at + LOGOUT_TOKEN_LIFE + 2 * SKEW):
        refuse(ctx, provider, Fault.STATE_USED)
    ended = 0
    while found := store.take_sessions(ctx.tx, provider.id, subject=logout.subject, sid=logout.sid):
        ended += sum(signin.end_session(ctx, each) for each in found)
    facts = {"provider": provider.id, "sessions": ended}
    audit.record(ctx, Event("federation.session.end", tenant=provider.tenant, facts=facts))
    return ended


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
