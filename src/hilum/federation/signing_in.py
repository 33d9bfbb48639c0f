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
from hilum.identity.models import Bar, NewPerson, Person
from hilum.infra.context import Context
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict, HilumError, Invalid, NotFound
from hilum.kernel.ids import PersonId, SessionId, TenantId
from hilum.keys.live import vault
from hilum.signin import service as signin
from hilum.signin.models import Method, Session, Stopped

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
    # A return for the old settings would be judged by the new ones.
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
    person = _person(ctx, provider, found, production=production)
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
        session.id,
        provider.id,
        found.issuer,
        found.subject,
        found.sid,
        hint,
        session.expires_at,
        found.sub,
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


def _person(ctx: Context, provider: Provider, found: Identity, *, production: bool) -> Person:
    """Return the account of a subject: linked, recognised by a trusted claim, or added. Raises Refusal, Stopped.

    INVARIANT: whoever is refused leaves no link and no account behind. A refusal is committed, so all is judged before anything is written.
    """
    linked = store.find_link(ctx.tx, provider.tenant, found.issuer, found.subject)
    if linked is None:
        return _newcomer(ctx, provider, found, production=production)
    person = identity.find_person(ctx, linked.person)
    if person is None:
        refuse(ctx, provider, Fault.PERSON_INACTIVE)
    _require_entry(ctx, provider, person, found, production=production, ends=True)
    store.save_seen(ctx.tx, linked.id, ctx.now)
    return person


def _newcomer(ctx: Context, provider: Provider, found: Identity, *, production: bool) -> Person:
    settings, tenant = provider.settings, provider.tenant
    stated = policy.roles_stated(settings, found.claims)
    if not stated:
        refuse(ctx, provider, Fault.ROLE_MISSING)
    bases = _fhir_bases(ctx, tenant)
    known = _by_trusted_claim(ctx, provider, found, bases)
    if known is not None:
        return _recognised(ctx, provider, known, found, production=production)
    order = policy.new_person(settings, found, stated, tenant, bases)
    if isinstance(order, Fault):
        refuse(ctx, provider, order, subject=found.subject)
    return _added(ctx, provider, order, found, production=production)


def _recognised(
    ctx: Context, provider: Provider, known: Person, found: Identity, *, production: bool
) -> Person:
    _require_entry(ctx, provider, known, found, production=production)
    if store.find_link_of(ctx.tx, found.issuer, known.id) is not None:
        refuse(ctx, provider, Fault.LINKED_ALREADY, person=known.id)
    # Whoever removed the link meant it: from then on only two people link this account.
    if store.was_unlinked(ctx.tx, known.id):
        refuse(ctx, provider, Fault.PERSON_UNKNOWN, person=known.id, subject=found.subject)
    add_link(ctx.as_actor(SYSTEM), provider, found.subject, known)
    # As a link by two people: whoever holds the claim may enter from now on.
    identity.restart_age(ctx, known.id, ctx.now)
    return known


def _added(
    ctx: Context, provider: Provider, order: NewPerson, found: Identity, *, production: bool
) -> Person:
    as_system = ctx.as_actor(SYSTEM)
    if policy.lacks_factor(order.role, found, production=production):
        refuse(ctx, provider, Fault.FACTOR_MISSING, subject=found.subject)
    nobody = Person(PersonId(""), order.tenant, order.username, order.name, order.role)
    _require_unbarred(ctx, provider, nobody)
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


def _require_entry(
    ctx: Context,
    provider: Provider,
    person: Person,
    found: Identity,
    *,
    production: bool,
    ends: bool = False,
) -> None:
    """Refuse whoever may not enter an account. ``ends``: a role that is lost ends what it gave. Raises Refusal, Stopped."""
    settings = provider.settings
    stated = policy.roles_stated(settings, found.claims)
    whole = policy.roles_whole(settings, found.claims)
    if fault := policy.person_fault(settings, person, stated, provider.tenant, whole=whole):
        # Whoever lost the role at the hospital keeps nothing that it gave them here.
        if fault is Fault.ROLE_LOST and ends:
            signin.end_access(ctx, person.id)
        refuse(ctx, provider, fault, person=person.id)
    _require_unbarred(ctx, provider, person)
    if policy.lacks_factor(person.role, found, production=production):
        refuse(ctx, provider, Fault.FACTOR_MISSING, person=person.id)


def _require_unbarred(ctx: Context, provider: Provider, person: Person) -> None:
    bar = identity.bar_on(ctx, person)
    if bar is Bar.INACTIVE:
        refuse(ctx, provider, Fault.PERSON_INACTIVE, person=person.id)
    if bar is not None:
        facts = {"provider": provider.id}
        event = Event(SIGN_IN, tenant=provider.tenant, person=person.id, reason="switch_engaged", facts=facts)
        audit.refusal(ctx, event)
        raise Stopped


def _fhir_bases(ctx: Context, tenant: TenantId) -> tuple[str, ...]:
    place = identity.find_tenant(ctx, tenant)
    return () if place is None else tuple(filter(None, (place.upstream.url, place.upstream.public_url)))


def _by_trusted_claim(
    ctx: Context, provider: Provider, found: Identity, bases: tuple[str, ...]
) -> Person | None:
    settings, tenant = provider.settings, provider.tenant
    match settings.link_by:
        case LinkBy.USERNAME:
            name = policy.username_stated(settings, found)
            return identity.find_person_by_username(ctx, tenant, name) if name else None
        case LinkBy.FHIR_USER:
            named = policy.fhir_user_stated(settings, found, bases)
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
    while found := store.take_sessions(ctx.tx, provider.id, sub=logout.subject, sid=logout.sid):
        ended += sum(signin.end_session(ctx, each) for each in found)
    facts = {"provider": provider.id, "sessions": ended}
    audit.record(ctx, Event("federation.session.end", tenant=provider.tenant, facts=facts))
    return ended


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
