"""Rules of sessions, attempts and API tokens. Pure."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from hilum.identity.models import Bar, Person
from hilum.identity.policy import may_administer
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.errors import Invalid, NotPermitted
from hilum.signin.models import (
    API_TOKEN_LIFE_MAX,
    API_TOKEN_NAME_BOUND,
    API_TOKEN_PREFIX,
    ATTEMPTS_FREE,
    COOKIE_PREFIX,
    DELAY_FIRST,
    DELAY_MAX,
    PASSWORD_MAX,
    PASSWORD_MIN,
    SESSION_IDLE,
    TOUCH_EVERY,
    ApiToken,
    Barred,
    Session,
    Stopped,
    TokenInvalid,
)
from hilum.standards.networks import network_of

_COOKIE = re.compile(re.escape(COOKIE_PREFIX) + r"[A-Za-z0-9_-]{43}")
_API_TOKEN = re.compile(rf"({re.escape(API_TOKEN_PREFIX)}[A-Za-z0-9_-]{{43}})(?:_([A-Za-z0-9_-]{{8}}))?")
API_TOKEN_MAC = "api-token"
"""The purpose of the key under which the last eight characters are the MAC of those before the underscore."""


def digest(secret: str) -> str:
    """Return the form in which a secret is stored and looked up."""
    return hashlib.sha256(secret.encode()).hexdigest()


def looks_like_cookie(text: str) -> bool:
    """Return whether a text can be a session's cookie at all."""
    return _COOKIE.fullmatch(text) is not None


def api_token_parts(text: str) -> tuple[str, str] | None:
    """Split an API token into what its MAC covers and the MAC, None for what is none.

    The MAC is empty for a token of a release before there was one; those are in force until they expire.
    """
    found = _API_TOKEN.fullmatch(text)
    return None if found is None else (found[1], found[2] or "")


def csrf_secret(cookie: str) -> str:
    """Derive the secret of a session's forms from its cookie; it tells nothing about the cookie."""
    return hmac.digest(cookie.encode(), b"hilum/csrf", "sha256").hex()


def is_alive(session: Session, now: datetime) -> bool:
    """Return whether a session was neither ended nor outlived its limit."""
    return session.ended_at is None and now < session.expires_at


def is_usable(session: Session, now: datetime) -> bool:
    """Return whether a browser may use a session: alive and not left idle."""
    return is_alive(session, now) and now < session.last_seen_at + SESSION_IDLE


def wants_touch(session: Session, now: datetime) -> bool:
    """Return whether a use of the session is worth writing down."""
    return now >= session.last_seen_at + TOUCH_EVERY


def attempt_key(realm: str, name: str, source: str) -> str:
    """Return a digest of a name and an address that reveals neither. An IPv6 address counts by its /64."""
    parts = (realm, name.strip().lower()[:200], network_of(source))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def delay_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row: none at first, then doubling up to a bound."""
    beyond = failures - ATTEMPTS_FREE
    if beyond < 0:
        return timedelta(0)
    return min(DELAY_FIRST * (1 << min(beyond, 20)), DELAY_MAX)


def password_fault(password: str) -> str:
    """Return what is wrong with a password to be set."""
    if len(password) < PASSWORD_MIN:
        return "password_too_short"
    return "password_too_long" if len(password) > PASSWORD_MAX else ""


def require_password(password: str) -> None:
    """Refuse a password that cannot be set. Raises Invalid."""
    if fault := password_fault(password):
        raise Invalid("password_invalid", "This password cannot be taken.", fields={"password": fault})


def may_set_password(actor: Actor) -> bool:
    """Check whether an actor may set anybody's password: at set-up the host and the platform itself. Otherwise only its owner does."""
    return actor.kind in {ActorKind.HOST, ActorKind.SYSTEM}


def may_hold_token(actor: Actor, person: Person) -> bool:
    """Return whether an actor may make, list and see API tokens of a person: one's own; the platform itself at start-up."""
    return actor.id == person.id or actor.kind in {ActorKind.SYSTEM, ActorKind.HOST}


def may_revoke_token(actor: Actor, person: Person) -> bool:
    """Return whether an actor may revoke somebody's API token or sessions."""
    return may_hold_token(actor, person) or may_administer(actor, person.tenant)


def token_faults(person: Person, *, name: str, life: timedelta, roles: Iterable[str]) -> dict[str, str]:
    """Return what is wrong with an API token that is asked for."""
    faults: dict[str, str] = {}
    if not name.isprintable() or len(name) > API_TOKEN_NAME_BOUND:
        faults["name"] = "name_malformed"
    if not timedelta(0) < life <= API_TOKEN_LIFE_MAX:
        faults["expires_in_s"] = "out_of_range"
    if not set(roles) <= {person.role}:
        faults["roles"] = "beyond_your_own"
    return faults


def actor_of(person: Person, roles: Iterable[str] | None = None) -> Actor:
    """Return the actor that a person is; ``roles`` narrows to those of a token, never beyond the person's own."""
    held = {person.role} if roles is None else {person.role} & set(roles)
    kind = ActorKind.STAFF if person.tenant is None else ActorKind.PERSON
    return Actor(kind, person.id, person.tenant, frozenset(held))


def actor_of_session(session: Session) -> Actor:
    """Return the actor that sits behind a session."""
    kind = ActorKind.STAFF if session.tenant is None else ActorKind.PERSON
    return Actor(kind, session.person, session.tenant, frozenset({session.role}))


def token_counts(token: ApiToken, now: datetime) -> bool:
    """Return whether an API token is in force."""
    return token.revoked_at is None and now < token.expires_at


def barred(person: Person, bar: Bar) -> Barred:
    """Return what a call of somebody is refused with. Only to those whom a switch stops is their token acknowledged."""
    refusal: NotPermitted
    match bar:
        case Bar.STOPPED:
            refusal = Stopped()
        case Bar.READ_ONLY:
            refusal = NotPermitted(
                "switch_engaged", "A kill switch lets this account read but change nothing."
            )
        case _:
            return Barred(actor_of(person), TokenInvalid(), bar.value)
    return Barred(actor_of(person), refusal, refusal.code)


def not_admitted(actor: Actor, audience: Sequence[str]) -> Barred:
    """Return the refusal of a call that is for others."""
    held = ", ".join(sorted(actor.roles)) or "none"
    detail = f"This call is for {', '.join(audience)}. Your role: {held}. Ask somebody who has one of those."
    return Barred(actor, NotPermitted("not_permitted", detail), "not_permitted")


def safe_return(target: str, default: str) -> str:
    """Return where to go after sign-in: a path of this origin, or the default; never another host.

    Browsers read backslashes as slashes and drop tabs and line ends, so neither may occur.
    """
    plain = len(target) <= 4_000 and re.fullmatch(r"/[\x21-\x7e]*", target) is not None
    return target if plain and not target.startswith("//") and "\\" not in target else default
