"""Sign people in and out; sessions, passwords and API tokens.

A sign-in with a password, in order:

1. ``begin_attempt``: the attempt is counted, and refused while this username from this address must wait; the stored hash is read.
2. ``live.verify_password``, between two transactions.
3. ``complete_attempt``: one refusal for an unknown name, a wrong password or one that was replaced meanwhile, and an inactive person;
   then stops, the hospital's rule about passwords, dormancy; then the session, or a pending sign-in if a second factor is missing.
4. ``enter_code`` or a passkey (``factors``), then ``finish_pending``: the session.
5. ``session``, for every page: the cookie's session if its person may use it now, from the same browser and network.
Identity providers begin sessions in ``federation``, EHRs in ``launches``; both call ``begin_session``.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import Delta, Since, keyed
from hilum.foundation.kernel.errors import Conflict, NotFound
from hilum.foundation.kernel.ids import PersonId, SessionId, TenantId
from hilum.foundation.kernel.persistent import RecentSet
from hilum.foundation.kernel.sentences import Sentence
from hilum.foundation.standards.networks import neighbourhood_of
from hilum.identity.factors import policy as factor_policy
from hilum.identity.factors import service as factors
from hilum.identity.factors.models import Step
from hilum.identity.people import service as identity
from hilum.identity.people.models import Bar, Person
from hilum.identity.people.policy import is_vendor
from hilum.identity.signin import policy, store
from hilum.identity.signin.api_tokens import (
    SESSION_ACT,
    TOKEN_USE,
    authenticate_api_token,
    confirm_token,
    create_api_token,
    is_api_token,
    list_api_tokens,
    note_token_use,
    own_token,
    record_forbidden,
    revoke_api_token,
)
from hilum.identity.signin.models import (
    API_TOKEN_LIFE,
    ATTEMPTS_FORGOTTEN,
    COOKIE_PREFIX,
    NEGATIVE_WINDOW,
    SESSIONS,
    SESSIONS_KEPT,
    SESSIONS_PER_PERSON,
    STEP_LIFE,
    STEP_PREFIX,
    ApiToken,
    Attempt,
    Dormant,
    FactorRequired,
    Method,
    Moved,
    NotAuthenticated,
    PasswordsOff,
    Pending,
    Session,
    SlowDown,
)
from hilum.identity.signin.refusing import event_of, require_unbarred, stopped
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome

_BEGIN = "signin.session.begin"

__all__ = [
    "SESSION_ACT",
    "TOKEN_USE",
    "authenticate_api_token",
    "confirm_token",
    "create_api_token",
    "is_api_token",
    "list_api_tokens",
    "note_token_use",
    "own_token",
    "record_forbidden",
    "revoke_api_token",
]

CODES, RECOVERY_CODES = "factor", "recovery"
"""The realms in which attempts at codes are counted, apart from those at passwords."""


def set_password(ctx: Context, person_id: PersonId, digest: str) -> None:
    """Set a person's password at set-up, already hashed; their sessions and API tokens end. Raises NotFound, NotPermitted.

    Only for the host and the platform itself. People set their own with the current one (``change_password``) or a one-time link
    (``enrol``), because an administrator who could set passwords could impersonate everybody.
    """
    person = identity.get_person(ctx, person_id)
    if not policy.may_set_password(ctx.actor):
        raise audit.refusal(ctx, event_of("signin.password.set", person))
    _save_password(ctx, person, digest)


def enrol(ctx: Context, person: Person, digest: str) -> None:
    """Set the password of a person who used their one-time link, which the caller has verified. Raises NotPermitted."""
    require_unbarred(ctx, person, "signin.password.set")
    _save_password(ctx.as_actor(policy.actor_of(person)), person, digest)


def has_password(ctx: Context, person: PersonId) -> bool:
    """Check whether a person has a password."""
    return password_digest(ctx, person) is not None


def password_digest(ctx: Context, person: PersonId) -> str | None:
    """Return the hash of a person's password, for comparison outside the transaction; None if they have none."""
    return store.find_password(ctx.tx, person)


def begin_change(ctx: Context, person_id: PersonId) -> Attempt:
    """Reserve an attempt to change the actor's own password. Raises NotFound, NotPermitted (another person's), SlowDown."""
    person = identity.get_person(ctx, person_id)
    if ctx.actor.id != person.id:
        raise audit.refusal(ctx, event_of("signin.password.set", person))
    return begin_attempt(ctx, person.tenant, person.username)


def change_password(ctx: Context, attempt: Attempt, digest: str, *, matched: bool) -> None:
    """Set a person's password after the current one matched; their sessions and API tokens end. Raises NotAuthenticated."""
    _save_password(ctx, _judge_attempt(ctx, attempt, matched=matched), digest)


def end_credentials(ctx: Context, person: PersonId) -> None:
    """End a person's sessions, API tokens and pending sign-ins. The caller has judged the right to, and records why."""
    # In this order: a pending sign-in that is finished at this moment has its session by then, and a session
    # that makes a token at this moment has it.
    store.PENDING.delete(ctx.tx, person=person)
    _end_sessions(ctx, person)
    store.API_TOKENS.change(ctx.tx, {"revoked_at": ctx.now}, person=person, revoked_at=None)


def _save_password(ctx: Context, person: Person, digest: str) -> None:
    store.save_password(ctx.tx, person.id, digest, ctx.now)
    # Whoever had the earlier password may hold sessions and tokens that it gave.
    end_credentials(ctx, person.id)
    audit.record(ctx, Event("signin.password.set", tenant=person.tenant or "", person=person.id))


def reserve_attempt(ctx: Context, realm: str, name: str) -> str:
    """Count an attempt at a name from this address before it is made; return its key, for ``clear_attempts`` after a success.

    It is counted first so that parallel guesses cannot all pass before the first failure counts. Raises SlowDown while the pair must wait;
    other names and addresses are not affected (C57).
    """
    key = policy.attempt_key(realm, name, ctx.trace.source)
    counted = store.reserve_attempt(ctx.tx, key, ctx.now)
    if not isinstance(counted, int):
        # At least a second: Retry-After has no fractions, and 0 would mean no wait.
        raise SlowDown(max(1, ceil((counted - ctx.now).total_seconds())))
    delay = policy.delay_after(counted)
    if delay:
        # Before the password is compared, so that parallel guesses are blocked already.
        store.save_blocked(ctx.tx, key, ctx.now + delay)
    return key


def clear_attempts(ctx: Context, key: str) -> None:
    """Delete the failures of a pair after a success."""
    store.delete_attempts(ctx.tx, key)


def begin_attempt(ctx: Context, tenant: TenantId | None, username: str) -> Attempt:
    """Reserve a sign-in attempt and return the hash to compare with ``live.verify_password``, outside the transaction.

    An unknown name, an unknown tenant and an inactive person return an attempt as well, without a hash. Raises SlowDown.
    """
    # First, for unknown names too, so that a wait does not reveal which names exist.
    key = reserve_attempt(ctx, f"signin:{tenant or ''}", username)
    at_vendor = tenant is not None and is_vendor(tenant)
    if tenant is not None and not at_vendor and identity.find_tenant(ctx, tenant) is None:
        # Without the tenant, since the record must not contain text that the caller chose.
        return Attempt(key, None, None, None)
    person = identity.find_person_by_username(ctx, tenant, username)
    if person is None and at_vendor:
        return Attempt(key, None, None, None)
    if person is None or identity.bar_on(ctx, person) is Bar.INACTIVE:
        return Attempt(key, tenant, None, None)
    return Attempt(key, tenant, person.id, store.find_password(ctx.tx, person.id))


def complete_attempt(
    ctx: Context, attempt: Attempt, *, matched: bool, production: bool, replaces: str = ""
) -> tuple[Session | Pending, str]:
    """Create the session of a person whose password matched, or their pending sign-in; return it with its cookie.

    ``replaces`` is the browser's previous cookie. Its session ends, which prevents session fixation. Raises NotAuthenticated.
    """
    person = _judge_attempt(ctx, attempt, matched=matched)
    step = step_of(ctx, person, production=production)
    if step is not Step.NONE:
        return _begin_pending(ctx, person, step)
    if replaces:
        end_session_of_cookie(ctx, replaces)
    return begin_session(ctx, person, Method.PASSWORD)


def step_of(ctx: Context, person: Person, *, production: bool) -> Step:
    """Return the step that is missing before a person whose password matched is signed in."""
    return factor_policy.step_after_password(person.role, factors.held(ctx, person.id), production=production)


def _begin_pending(ctx: Context, person: Person, step: Step) -> tuple[Pending, str]:
    cookie = STEP_PREFIX + ctx.ids.secret()
    waiting = Pending(
        policy.digest(cookie),
        person.id,
        person.tenant,
        step,
        ctx.now,
        ctx.now + STEP_LIFE,
        policy.csrf_secret(cookie),
    )
    store.add_pending(ctx.tx, waiting)
    facts = {"step": step.value}
    audit.record(ctx, Event("signin.step.begin", tenant=person.tenant or "", person=person.id, facts=facts))
    return waiting, cookie


def pending(ctx: Context, cookie: str) -> tuple[Pending, Person] | None:
    """Find the pending sign-in of a cookie, and its person; None if there is none or it has expired."""
    step = (
        store.PENDING.find(ctx.tx, digest=policy.digest(cookie)) if policy.looks_like_step(cookie) else None
    )
    if step is None or not policy.waits(step, ctx.now):
        return None
    person = identity.find_person(ctx, step.person)
    if person is None or identity.bar_on(ctx, person, issued_at=step.created_at) is not None:
        return None
    return replace(step, csrf=policy.csrf_secret(cookie)), person


def finish_pending(
    ctx: Context, found: Pending, person: Person, *, replaces: str = ""
) -> tuple[Session, str]:
    """Create the session of a person whose second factor the caller has just accepted; return it with its cookie.

    Raises Conflict if the sign-in was finished concurrently, NotPermitted if the person may not sign in now.
    """
    # First, as by whoever replaces it, so that neither waits for what the other holds.
    store.find_password(ctx.tx, person.id, lock=True)
    if not store.PENDING.delete(ctx.tx, digest=found.digest):
        raise Conflict("concurrent_change", "This sign-in was finished in another window. Sign in again.")
    if replaces:
        end_session_of_cookie(ctx, replaces)
    # A password alone can begin a session only before its person has a factor.
    _end_sessions(ctx, person.id, by_password=True)
    return begin_session(ctx, person, Method.PASSWORD, factor_at=ctx.now)


def complete_attempt_with_token(
    ctx: Context,
    attempt: Attempt,
    *,
    matched: bool,
    production: bool,
    code: str = "",
    life: timedelta = API_TOKEN_LIFE,
    name: str = "",
) -> tuple[ApiToken, str]:
    """Create an API token for a person whose password matched; return it with its secret.

    ``code`` is of their second factor, if they have or must have one. Raises NotAuthenticated, Invalid, NotPermitted (FactorRequired,
    CodeWrong, SlowDown).
    """
    person = _judge_attempt(ctx, attempt, matched=matched)
    step = step_of(ctx, person, production=production)
    if step is Step.ENROL or (step is Step.FACTOR and not code):
        raise FactorRequired(step)
    entered = None
    if step is Step.FACTOR:
        enter_code(ctx, person, code)
        entered = ctx.now
    store.save_password_used(ctx.tx, person.id, ctx.now)
    as_person = ctx.as_actor(policy.actor_of(person))
    return create_api_token(as_person, person.id, life=life, name=name, factor_at=entered)


def enter_code(ctx: Context, person: Person, code: str) -> None:
    """Accept a code of a person's second factor, once. Raises SlowDown, CodeWrong, AppLocked.

    Unlike for a password, attempts are limited for the account as well as for the address: whoever guesses here has the password already,
    so nobody else can lock the account's owner out.
    """
    # A recovery code cannot be guessed, so it is limited by address only: it admits the owner while somebody
    # guesses codes of the app.
    if factor_policy.read_recovery(code):
        keys = [reserve_attempt(ctx, RECOVERY_CODES, person.id)]
    else:
        keys = [reserve_attempt(each, CODES, person.id) for each in (ctx, _without_source(ctx))]
    factors.use_code(ctx.as_actor(policy.actor_of(person)), person, code)
    for key in keys:
        clear_attempts(ctx, key)


def confirm_with_code(ctx: Context, bearer: str, code: str) -> None:
    """Accept a code of the actor's second factor for one of their API tokens. Raises TokenInvalid, SlowDown, CodeWrong, AppLocked."""
    token = own_token(ctx, bearer)
    enter_code(ctx, identity.get_person(ctx, token.person), code)
    confirm_token(ctx, token)


def record_factor(ctx: Context, used: Session) -> None:
    """Record in a session that its person just entered a second factor."""
    store.SESSIONS.change(ctx.tx, {"factor_at": ctx.now}, id=used.id)
    _end_sessions(ctx, used.person, by_password=True)
    facts = {"session": used.id}
    event = Event("signin.session.confirm", tenant=used.tenant or "", person=used.person, facts=facts)
    audit.record(ctx.as_actor(policy.actor_of_session(used)), event)


def _without_source(ctx: Context) -> Context:
    return replace(ctx, trace=replace(ctx.trace, source=""))


def begin_session(
    ctx: Context,
    person: Person,
    method: Method | str,
    *,
    factor_at: datetime | None = None,
    until: datetime | None = None,
    authenticated_at: datetime | None = None,
) -> tuple[Session, str]:
    """Create a session for an authenticated person; return it with its cookie, which is stored only as a digest. Raises NotPermitted.

    Set by an identity provider: ``until``, when it ends at the latest, and ``authenticated_at``, when the person was authenticated there.
    """
    require_unbarred(ctx, person, "signin.session.begin")
    cookie = COOKIE_PREFIX + ctx.ids.secret()
    longest = ctx.now + policy.limits_of(person.role).life
    session = Session(
        id=SessionId(ctx.ids.new("ses")),
        person=person.id,
        tenant=person.tenant,
        role=person.role,
        method=Method(method),
        created_at=ctx.now,
        last_seen_at=ctx.now,
        expires_at=min(longest, until or longest),
        csrf=policy.csrf_secret(cookie),
        factor_at=factor_at,
        authenticated_at=authenticated_at,
        network=neighbourhood_of(ctx.trace.source),
        browser=ctx.trace.browser,
    )
    # An EHR's session counts as use of the account, so that its password does not become dormant.
    store.save_password_used(ctx.tx, person.id, ctx.now)
    # The oldest end: refusing the newest would let an attacker who fills the list lock the owner out.
    _end_sessions(ctx, person.id, keep=SESSIONS_PER_PERSON - 1)
    store.SESSIONS.add(ctx.tx, session, digest=policy.digest(cookie))
    factor = "yes" if factor_at else "no"
    facts = {"method": session.method.value, "session": session.id, "second_factor": factor}
    audit.record(
        ctx, Event("signin.session.begin", tenant=person.tenant or "", person=person.id, facts=facts)
    )
    return session, cookie


def set_password_roles(ctx: Context, tenant: TenantId, roles: Collection[str] | None) -> None:
    """Set which roles of a tenant may sign in with a password; None for all. The caller has judged the right to do so."""
    store.save_password_roles(ctx.tx, tenant, roles)


def password_roles(ctx: Context, tenant: TenantId) -> frozenset[str] | None:
    """Return which roles of a tenant may sign in with a password; None for all."""
    return store.find_password_roles(ctx.tx, tenant)


def session(ctx: Context, cookie: str, *, production: bool | None = None) -> Session | None:
    """Find the session of a browser's cookie; None if there is none or it may not be used now.

    ``production``: set by callers with acts that widen. Without it, ``confirmed`` is True only for a fresh second factor.
    """
    active, bar = _session_and_bar(ctx, cookie)
    if active is None or bar is not None or _moved(ctx, active) is not None:
        return None
    reads_factors = production is not None and active.factor_at is None
    confirmed = policy.session_confirmed(
        active,
        has_factor=not reads_factors or factors.held(ctx, active.person).any,
        must_have=production is None or factor_policy.must_have(active.role, production=production),
        now=ctx.now,
    )
    return replace(active, csrf=policy.csrf_secret(cookie), confirmed=confirmed)


def _moved(ctx: Context, found: Session) -> Moved | None:
    return policy.moved(found, network=neighbourhood_of(ctx.trace.source), browser=ctx.trace.browser)


def end_moved(ctx: Context, cookie: str) -> Moved | None:
    """End the session of a cookie whose network or browser differs from those of its sign-in; return which, None if neither.

    Its owner must sign in again anyway; and if the cookie was stolen, it stops working for the thief too.
    """
    active, _ = _session_and_bar(ctx, cookie)
    why = None if active is None else _moved(ctx, active)
    if active is None or why is None:
        return None
    end_session(ctx, active.id)
    event = Event("signin.session.use", tenant=active.tenant or "", person=active.person, reason=why.value)
    audit.record(ctx, replace(event, outcome=Outcome.REFUSED, facts={"session": active.id}))
    return why


def has_moved(ctx: Context, cookie: str) -> bool:
    """Check whether the network or browser of a cookie's session differs from those of its sign-in."""
    active, _ = _session_and_bar(ctx, cookie)
    return active is not None and _moved(ctx, active) is not None


def list_own_sessions(ctx: Context) -> list[Session]:
    """List the actor's sessions that can be used now, newest first."""
    sessions = store.list_sessions(ctx.tx, PersonId(ctx.actor.id), ctx.now)
    return [each for each in sessions if policy.is_usable(each, ctx.now)]


def end_own_session(ctx: Context, session_id: SessionId) -> None:
    """End a session of the actor. Raises NotFound."""
    stored = store.SESSIONS.find(ctx.tx, id=session_id)
    if stored is None or stored.person != ctx.actor.id or not end_session(ctx, session_id):
        raise NotFound("session_not_found", "You have no such session. It may have ended already.")


def end_other_sessions(ctx: Context, own: Session) -> int:
    """End all sessions of the actor but the one at this browser; return how many."""
    others = [each.id for each in store.list_sessions(ctx.tx, own.person, ctx.now) if each.id != own.id]
    return sum(end_session(ctx, each) for each in others)


def person_stopped(ctx: Context, cookie: str, tenant: TenantId) -> Person | None:
    """Find the person whose session at a tenant is refused only because of a kill switch; None otherwise."""
    active, bar = _session_and_bar(ctx, cookie)
    if active is None or active.tenant != tenant or bar is not Bar.STOPPED:
        return None
    return identity.find_person(ctx, active.person)


def _session_and_bar(ctx: Context, cookie: str) -> tuple[Session | None, Bar | None]:
    if not policy.looks_like_cookie(cookie):
        return None, None
    stored = store.SESSIONS.find(ctx.tx, digest=policy.digest(cookie))
    if stored is None or not policy.is_usable(stored, ctx.now):
        return None, None
    person = identity.find_person(ctx, stored.person)
    # A role never changes (ADR 29), so a session with another role is not accepted.
    if person is None or person.role != stored.role:
        return None, None
    # By the time at which the session began: one from before a full stop stays invalid after its release.
    return stored, identity.bar_on(ctx, person, issued_at=stored.created_at)


def touch(ctx: Context, used: Session) -> None:
    """Record that a session is in use; it writes at most once in TOUCH_EVERY, so every page may call it."""
    if policy.wants_touch(used, ctx.now):
        store.SESSIONS.change(ctx.tx, {"last_seen_at": ctx.now}, id=used.id)


def hold_session(ctx: Context, session_id: SessionId) -> None:
    """Keep a session from ending before this transaction does. Raises Conflict if it has ended meanwhile."""
    found = store.SESSIONS.find(ctx.tx, lock=True, id=session_id)
    if found is None or found.ended_at is not None:
        raise Conflict("concurrent_change", "This session has just ended. Sign in again.")


def end_session(ctx: Context, session_id: SessionId) -> bool:
    """End a session, and with it tokens with ``online_access``. Return False if it had ended already."""
    stored = store.SESSIONS.find(ctx.tx, id=session_id)
    if stored is None or not store.save_session_ended(ctx.tx, session_id, ctx.now):
        return False
    ctx.advance_epoch(SESSIONS, session_id)
    facts = {"session": session_id}
    audit.record(
        ctx, Event("signin.session.end", tenant=stored.tenant or "", person=stored.person, facts=facts)
    )
    return True


def end_session_of_cookie(ctx: Context, cookie: str) -> bool:
    """End the session of a cookie, idle or not. Return False if there is none."""
    if not policy.looks_like_cookie(cookie):
        return False
    stored = store.SESSIONS.find(ctx.tx, digest=policy.digest(cookie))
    return stored is not None and end_session(ctx, stored.id)


def end_sessions_of(ctx: Context, person_id: PersonId) -> int:
    """End every session of a person, and of another one all credentials; return how many sessions. Raises NotFound, NotPermitted."""
    person = identity.get_person(ctx, person_id)
    if not policy.may_revoke_token(ctx.actor, person):
        raise audit.refusal(ctx, event_of("signin.session.end_all", person))
    ended = _end_sessions(ctx, person.id)
    facts = {"sessions": ended}
    if ctx.actor.id != person.id:
        end_credentials(ctx, person.id)
    audit.record(
        ctx, Event("signin.session.end_all", tenant=person.tenant or "", person=person.id, facts=facts)
    )
    return ended


@keyed(r"ses_[^/]+")
def facts(ctx: Context, since: Since) -> Delta[RecentSet[SessionId]]:
    """Return the sessions ended within the life of an access token: tokens with ``online_access`` ended with them (C36)."""
    forget_before = ctx.now - NEGATIVE_WINDOW
    if since.changes is None:
        return Delta(RecentSet(store.read_ended(ctx.tx, forget_before)))
    ended = [(SessionId(change.key), change.at) for change in since.changes]
    return Delta(change=lambda before: before.changed(ended, forget_before=forget_before))


def session_alive(ctx: Context, session_id: SessionId | str) -> bool:
    """Check whether tokens with ``online_access`` may be refreshed: the session is alive, its person neither inactive nor stopped.

    Idleness at the browser does not count, since a working app is use.
    """
    stored = store.SESSIONS.find(ctx.tx, id=session_id)
    if stored is None or not policy.is_alive(stored, ctx.now):
        return False
    person = identity.find_person(ctx, stored.person)
    return person is not None and identity.bar_on(ctx, person, issued_at=stored.created_at) is None


def _judge_attempt(ctx: Context, attempt: Attempt, *, matched: bool) -> Person:
    """Return the person of a successful attempt, or record the failure. Raises NotAuthenticated, Stopped, PasswordsOff, Dormant.

    The answer is the same for an unknown name, a wrong password and an inactive person. All other reasons are disclosed only after the
    password matched.
    """
    person = identity.find_person(ctx, attempt.person) if matched and attempt.person else None
    # Compared between two transactions, in which time it may have been replaced. Locked, so that whoever
    # replaces it at this moment finds the session that begins here, and ends it.
    if person is not None and store.find_password(ctx.tx, person.id, lock=True) != attempt.digest:
        person = None
    bar = None if person is None else identity.bar_on(ctx, person)
    if person is not None and bar is Bar.STOPPED:
        raise stopped(ctx, "signin.session.begin", person)
    if person is None or bar is not None:
        event = Event(
            "signin.session.begin",
            Outcome.REFUSED,
            tenant=attempt.tenant or "",
            person=attempt.person or "",
            reason="wrong_credentials",
        )
        # Beyond the first ones of a network the caller counts them, or a flood would fill the journal.
        if attempt.recorded:
            audit.record(ctx, event)
        raise NotAuthenticated("wrong_credentials", Sentence("The username or the password is wrong."))
    if not policy.may_use_password(person, _password_roles_at(ctx, person.tenant)):
        raise _passwords_off(ctx, person)
    clear_attempts(ctx, attempt.key)
    if policy.is_dormant(person.role, store.password_used_at(ctx.tx, person.id), ctx.now):
        audit.refusal(ctx, event_of("signin.session.begin", person, reason="account_dormant"))
        raise Dormant
    return person


def _password_roles_at(ctx: Context, place: TenantId | None) -> frozenset[str] | None:
    return None if place is None else store.find_password_roles(ctx.tx, place)


def _passwords_off(ctx: Context, person: Person) -> PasswordsOff:
    audit.refusal(ctx, event_of("signin.session.begin", person, reason="passwords_off"))
    return PasswordsOff()


def record_counts(ctx: Context, counts: Iterable[tuple[str, str, int]], action: str = _BEGIN) -> None:
    """Record counts of refusals that got no record of their own, each with its tenant and address."""
    for tenant, source, count in counts:
        event = Event(action, Outcome.REFUSED, tenant=tenant, reason="folded", facts={"count": count})
        audit.record(replace(ctx, trace=replace(ctx.trace, source=source)), event)


def end_all(ctx: Context) -> tuple[int, int]:
    """End every session and revoke every API token, after a restore; return how many of each."""
    return store.end_all(ctx.tx, ctx.now)


def purge(ctx: Context) -> int:
    """Delete old sessions and failed attempts that no longer count; return how many. Call again until it returns 0."""
    sessions, attempts = ctx.now - SESSIONS_KEPT, ctx.now - ATTEMPTS_FORGOTTEN
    return store.purge(ctx.tx, sessions_before=sessions, attempts_before=attempts)


def _end_sessions(ctx: Context, person: PersonId, *, keep: int = 0, by_password: bool = False) -> int:
    ended = store.save_sessions_ended(ctx.tx, person, ctx.now, keep=keep, by_password=by_password)
    if ended:
        ctx.advance_epoch(SESSIONS, *ended)
    return len(ended)
