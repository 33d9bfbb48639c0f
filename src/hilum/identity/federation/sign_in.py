"""The two transactions of a sign-in through a provider, and the end of its sessions. The map of a sign-in is in ``pages``."""

import hashlib
from collections.abc import Iterable
from typing import NoReturn

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, HilumError, Invalid, NotFound
from hilum.foundation.kernel.ids import PersonId, SessionId, TenantId
from hilum.identity.federation import policy, store
from hilum.identity.federation.id_token import refuse as refuse_unrecorded
from hilum.identity.federation.models import (
    ENDED_KEPT,
    LOGOUT_TOKEN_LIFE,
    SIGN_IN_LIFE,
    SKEW,
    BegunSignIn,
    Fault,
    FederatedSession,
    Identity,
    LinkBy,
    Logout,
    Provider,
    Refusal,
)
from hilum.identity.federation.service import SIGN_IN, EndGrants, add_link
from hilum.identity.people import service as identity
from hilum.identity.people.models import Bar, NewPerson, Person
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import Method, Session, Stopped
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome
from hilum.records.keys.live import vault

HINT = "federation-hint"


def offers(ctx: Context, tenant: TenantId) -> list[Provider]:
    """List the providers that a hospital's sign-in page offers."""
    return [each for each in store.providers_of(ctx.tx, tenant) if each.settings.active]


def shows_passwords(ctx: Context, tenant: TenantId) -> bool:
    """Check whether anybody of a hospital may sign in with a password."""
    return signin.password_roles(ctx, tenant) != frozenset()


def require_provider(
    ctx: Context, tenant: TenantId, provider_id: str, *, may_be_off: bool = False
) -> tuple[Provider, frozenset[str]]:
    """Return a provider of an active hospital, and the allowed hosts. Raises NotFound, also for one that is off unless ``may_be_off``."""
    provider = store.PROVIDERS.find(ctx.tx, id=provider_id)
    place = identity.find_tenant(ctx, tenant)
    if provider is None or provider.tenant != tenant or place is None or not place.active:
        raise NotFound("provider_not_found", "There is no such sign-in.")
    if not provider.settings.active and not may_be_off:
        raise NotFound("provider_not_found", "This sign-in is switched off.")
    return provider, store.allowed_origins(ctx.tx)


def judge_return(
    ctx: Context, tenant: TenantId, provider_id: str, state: str, begun: BegunSignIn
) -> tuple[Provider, frozenset[str]]:
    """Judge the ``state`` of an authentication response before the provider is contacted, and write nothing. Raises NotFound, Refusal."""
    provider, allowed = require_provider(ctx, tenant, provider_id)
    if ctx.now >= begun.left_at + SIGN_IN_LIFE or ctx.now < begun.left_at - SKEW:
        refuse_unrecorded(Fault.STATE_EXPIRED)
    # Each provider has its own redirect URI, and the state is sealed for one provider, so that the response
    # of one cannot be sent to the redirect URI of another.
    if begun.provider != provider.id:
        refuse_unrecorded(Fault.ISSUER_MIXED_UP)
    # A sign-in that began under other settings must not be judged by these.
    if begun.number != provider.number:
        refuse_unrecorded(Fault.PROVIDER_CHANGED)
    if store.used_until(ctx.tx, [_digest(f"state/{state}")]):
        refuse_unrecorded(Fault.STATE_USED)
    return provider, allowed


def complete_return(
    ctx: Context,
    provider: Provider,
    found: Identity,
    id_token: str,
    *,
    state: str,
    production: bool,
    end_grants: EndGrants,
    replaces: str = "",
) -> tuple[Session, str]:
    """Use up the ``state`` and sign in the person of an accepted id_token; return their session with its cookie. Raises Refusal, Stopped.

    ``replaces`` is the browser's previous cookie, whose session ends. ``end_grants`` revokes what apps hold for a person.
    """
    # Read again, because the provider may have been changed or switched off between the two transactions. Locked, so that a
    # logout token either finds the session of this sign-in or is found below.
    current = store.PROVIDERS.find(ctx.tx, lock=True, id=provider.id)
    if current is None or current.number != provider.number or not current.settings.active:
        refuse(ctx, provider, Fault.PROVIDER_CHANGED)
    # Only here, and not before the provider accepted the code: a stranger who makes up codes must not write rows.
    if not store.use(ctx.tx, _digest(f"state/{state}"), ctx.now + SIGN_IN_LIFE):
        refuse(ctx, provider, Fault.STATE_USED)
    ended = store.used_until(ctx.tx, _ended_keys(provider, found.sub, found.sid))
    if ended is not None and policy.issued_at(found) <= ended - ENDED_KEPT:
        refuse(ctx, provider, Fault.SESSION_OVER)
    person = _person(ctx, provider, found, production=production, end_grants=end_grants)
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
    federated = FederatedSession(
        session.id,
        provider.id,
        found.issuer,
        found.subject,
        found.sid,
        hint,
        session.expires_at,
        found.sub,
    )
    store.SESSIONS.add(ctx.tx, federated)
    facts = {
        "provider": provider.id,
        "session": session.id,
        "factor": found.has_factor,
        "until": session.expires_at.isoformat(),
    }
    audit.record(ctx, Event(SIGN_IN, tenant=provider.tenant, person=person.id, facts=facts))
    return session, cookie


def _person(
    ctx: Context, provider: Provider, found: Identity, *, production: bool, end_grants: EndGrants
) -> Person:
    """Return the account of a subject: linked, recognised by a trusted claim, or added. Raises Refusal, Stopped.

    INVARIANT: a refused sign-in leaves no link and no account. A refusal commits, so everything is judged before anything is written.
    """
    linked = store.find_link(ctx.tx, provider.tenant, found.issuer, found.subject)
    if linked is None:
        return _unlinked(ctx, provider, found, production=production)
    person = identity.find_person(ctx, linked.person)
    if person is None:
        refuse(ctx, provider, Fault.PERSON_INACTIVE)
    _require_entry(ctx, provider, person, found, production=production, end_grants=end_grants)
    store.LINKS.change(ctx.tx, {"seen_at": ctx.now}, id=linked.id)
    return person


def _unlinked(ctx: Context, provider: Provider, found: Identity, *, production: bool) -> Person:
    settings, tenant = provider.settings, provider.tenant
    stated = policy.roles_stated(settings, found.claims)
    if not stated:
        refuse(ctx, provider, Fault.ROLE_MISSING)
    bases = _fhir_bases(ctx, tenant)
    recognised = _by_trusted_claim(ctx, provider, found, bases)
    if recognised is not None:
        return _link_recognised(ctx, provider, recognised, found, production=production)
    order = policy.new_person(settings, found, stated, tenant, bases)
    if isinstance(order, Fault):
        refuse(ctx, provider, order, subject=found.subject)
    return _add(ctx, provider, order, found, production=production)


def _link_recognised(
    ctx: Context, provider: Provider, person: Person, found: Identity, *, production: bool
) -> Person:
    _require_entry(ctx, provider, person, found, production=production)
    if store.LINKS.find(ctx.tx, issuer=found.issuer, person=person.id) is not None:
        refuse(ctx, provider, Fault.LINKED_ALREADY, person=person.id)
    # Once a link was removed, only two people can link the account again.
    if store.was_unlinked(ctx.tx, person.id):
        refuse(ctx, provider, Fault.PERSON_UNKNOWN, person=person.id, subject=found.subject)
    add_link(ctx.as_actor(SYSTEM), provider, found.subject, person)
    # As after a link by two people: whoever controls the claim can enter the account from now on.
    identity.restart_age(ctx, person.id, ctx.now)
    return person


def _add(ctx: Context, provider: Provider, order: NewPerson, found: Identity, *, production: bool) -> Person:
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
        # An equal username links nobody, because usernames are reused.
        refuse(ctx, provider, Fault.USERNAME_TAKEN, subject=found.subject)
    added = identity.add_person(as_system, order)
    # The platform added it on the provider's statement alone, so it is not of age.
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
    end_grants: EndGrants | None = None,
) -> None:
    """Refuse a person who may not enter an account. Raises Refusal, Stopped.

    ``end_grants``: a lost role ends the account's credentials and what apps hold for it, offline too. An account has one role, so all
    of it rested on that role.
    """
    settings = provider.settings
    stated = policy.roles_stated(settings, found.claims)
    whole = policy.states_all_roles(settings, found.claims)
    if fault := policy.person_fault(settings, person, stated, provider.tenant, whole=whole):
        # A role that was lost at the hospital ends everything that it gave here.
        if fault is Fault.ROLE_LOST and end_grants is not None:
            signin.end_credentials(ctx, person.id)
            end_grants(ctx, person.id, "role_lost")
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
            name = policy.linking_username(settings, found)
            return identity.find_person_by_username(ctx, tenant, name) if name else None
        case LinkBy.FHIR_USER:
            named = policy.fhir_user_stated(settings, found, bases)
            return identity.find_active_by_fhir_user(ctx, tenant, named) if named else None
        case _:
            return None


def refuse(
    ctx: Context, provider: Provider, fault: Fault, *, person: str = "", subject: str = ""
) -> NoReturn:
    """Record a refused sign-in. Raises Refusal."""
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
    """Record counts of refusals that got no record of their own, each with its tenant and address."""
    signin.record_counts(ctx, counts, SIGN_IN)


def record_fault(ctx: Context, provider: Provider, error: HilumError) -> None:
    """Record a sign-in that failed outside a transaction: a provider that did not answer, or whose token was refused."""
    facts = {"provider": provider.id}
    event = Event(SIGN_IN, Outcome.REFUSED, tenant=provider.tenant, reason=error.code, facts=facts)
    audit.record(ctx, event)


# --- sign-out -------------------------------------------------------------------------------------------------------------------


def begin_logout(ctx: Context, session: SessionId) -> tuple[Provider, str, frozenset[str]] | None:
    """Return the provider that began a session, the id_token as its hint, and the allowed hosts; None for other sessions."""
    federated = store.SESSIONS.take(ctx.tx, session=session)
    provider = None if federated is None else store.PROVIDERS.find(ctx.tx, id=federated.provider)
    if federated is None or provider is None:
        return None
    try:
        hint = vault().open(HINT, federated.hint_sealed, session).decode()
    except Invalid:
        hint = ""
    return provider, hint, store.allowed_origins(ctx.tx)


def provider_of(ctx: Context, session: SessionId) -> tuple[Provider, frozenset[str]] | None:
    """Return the provider that began a session, and the allowed hosts; None for other sessions."""
    federated = store.SESSIONS.find(ctx.tx, session=session)
    provider = None if federated is None else store.PROVIDERS.find(ctx.tx, id=federated.provider)
    return None if provider is None else (provider, store.allowed_origins(ctx.tx))


def end_by_provider(ctx: Context, provider: Provider, logout: Logout) -> int:
    """End the sessions of a provider's logout token; return how many. Raises Refusal if the token was used already.

    The token is kept for the life of a sign-in, because it may overtake the sign-in whose session it ends.
    """
    store.PROVIDERS.find(ctx.tx, lock=True, id=provider.id)
    key = _digest(f"logout/{provider.id}/{logout.jti}")
    if not store.use(ctx.tx, key, logout.issued_at + LOGOUT_TOKEN_LIFE + 2 * SKEW):
        refuse(ctx, provider, Fault.STATE_USED)
    store.keep(ctx.tx, _ended_key(provider, logout.subject, logout.sid), logout.issued_at + ENDED_KEPT)
    ended = 0
    while batch := store.take_sessions(ctx.tx, provider.id, sub=logout.subject, sid=logout.sid):
        ended += sum(signin.end_session(ctx, each) for each in batch)
    facts = {"provider": provider.id, "sessions": ended}
    audit.record(ctx, Event("federation.session.end", tenant=provider.tenant, facts=facts))
    return ended


def _ended_key(provider: Provider, sub: str, sid: str) -> str:
    return _digest(f"ended/{provider.id}/{_digest(sub)}/{_digest(sid)}")


def _ended_keys(provider: Provider, sub: str, sid: str) -> list[str]:
    """Return the keys of the logout tokens that end a session: of its ``sub``, of its ``sid``, or of both."""
    pairs = {(sub, ""), ("", sid), (sub, sid)} - {("", "")}
    return [_ended_key(provider, *pair) for pair in pairs]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
