"""Rules of sessions, attempts and API tokens. Pure."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.kernel.ids import PersonId, TenantId, VendorId
from hilum.foundation.kernel.limits import out_of_range, too_long, too_short
from hilum.foundation.standards.networks import network_of
from hilum.identity.factors.policy import MUST, is_fresh
from hilum.identity.people.models import VENDOR_ROLES, Bar, Person, Role, StaffRole, VendorRole
from hilum.identity.people.policy import STAFF_ROLES, may_administer
from hilum.identity.signin.models import (
    API_TOKEN_LIFE_MAX,
    API_TOKEN_NAME_BOUND,
    API_TOKEN_PREFIX,
    ATTEMPTS_FREE,
    COOKIE_PREFIX,
    DELAY_FIRST,
    DELAY_MAX,
    DORMANT,
    DORMANT_POWER,
    PASSWORD_MAX,
    PASSWORD_MIN,
    POWER_IDLE,
    POWER_LIFE,
    SESSION_IDLE,
    SESSION_LIFE,
    STEP_PREFIX,
    TOUCH_EVERY,
    ApiToken,
    Barred,
    Limits,
    Method,
    Moved,
    Pending,
    Session,
    Stopped,
    TokenInvalid,
)

_COOKIE = re.compile(re.escape(COOKIE_PREFIX) + r"[A-Za-z0-9_-]{43}")
_STEP = re.compile(re.escape(STEP_PREFIX) + r"[A-Za-z0-9_-]{43}")
_API_TOKEN = re.compile(rf"({re.escape(API_TOKEN_PREFIX)}[A-Za-z0-9_-]{{43}})(?:_([A-Za-z0-9_-]{{8}}))?")
API_TOKEN_MAC = "api-token"
"""The purpose of the key under which the last eight characters are the MAC of those before the underscore."""


def digest(secret: str) -> str:
    """Return the form in which a secret is stored and looked up."""
    # A fast hash suffices for 256 random bits; only passwords need a slow one.
    return hashlib.sha256(secret.encode()).hexdigest()


def looks_like_cookie(text: str) -> bool:
    """Check whether a text has the form of a session's cookie."""
    return _COOKIE.fullmatch(text) is not None


def api_token_parts(text: str) -> tuple[str, str] | None:
    """Split an API token into the part that its MAC covers and the MAC; return None if it does not have the form of a token.

    The MAC is empty for tokens from releases without one, which stay valid until they expire.
    """
    parts = _API_TOKEN.fullmatch(text)
    return None if parts is None else (parts[1], parts[2] or "")


def looks_like_step(text: str) -> bool:
    """Check whether a text has the form of the cookie of a pending sign-in."""
    return _STEP.fullmatch(text) is not None


def waits(pending: Pending, now: datetime) -> bool:
    """Check whether a sign-in still waits for its second factor."""
    return now < pending.expires_at


def csrf_secret(cookie: str) -> str:
    """Derive the CSRF secret of a session from its cookie by a MAC, so that pages do not reveal the cookie."""
    return hmac.digest(cookie.encode(), b"hilum/csrf", "sha256").hex()


def is_alive(session: Session, now: datetime) -> bool:
    """Check whether a session has neither ended nor expired."""
    return session.ended_at is None and now < session.expires_at


POWER = Limits(POWER_IDLE, POWER_LIFE, bound=True, dormant=DORMANT_POWER)
CARE = Limits(SESSION_IDLE, SESSION_LIFE, bound=False, dormant=DORMANT)
"""Not bound to a network: clinicians change between wards, wireless networks and remote access."""
OWN = Limits(SESSION_IDLE, SESSION_LIFE, bound=False, dormant=None)
"""Never dormant and not bound to a network: patients come back after years, and their telephones change networks."""
LIMITS: Mapping[str, Limits] = MappingProxyType(
    dict.fromkeys([*StaffRole, *VendorRole, Role.ADMINISTRATOR], POWER)
    | dict.fromkeys([Role.PHYSICIAN, Role.NURSE, Role.ANALYST, Role.FRONT_DESK], CARE)
    | {Role.PATIENT: OWN}
)
"""When sessions of each role end."""


def limits_of(role: str) -> Limits:
    """Return the limits of a role's sessions; the strictest for an unknown role."""
    return LIMITS.get(role, POWER)


def is_usable(session: Session, now: datetime) -> bool:
    """Check whether a browser may use a session: alive and not idle for too long."""
    limits = limits_of(session.role)
    # By the row and by the present limits, so that a shortened limit applies to existing sessions too.
    over = now >= session.created_at + limits.life or now >= session.last_seen_at + limits.idle
    return is_alive(session, now) and not over


def ends_at(session: Session) -> datetime:
    """Return when a session ends if it is not used again, at the latest by its age."""
    limits = limits_of(session.role)
    return min(session.expires_at, session.created_at + limits.life, session.last_seen_at + limits.idle)


def moved(session: Session, *, network: str, browser: str) -> Moved | None:
    """Return why a session is not accepted on a network and in a browser; None if it is.

    Source: docs/adr/0065-a-second-factor.md
    INVARIANT: a session that began in a known browser is not accepted in another, nor one of a role with power on another network.
    """
    if session.browser and browser != session.browser:
        return Moved.BROWSER
    if limits_of(session.role).bound and session.network and network != session.network:
        return Moved.NETWORK
    return None


def is_dormant(role: str, used_at: datetime | None, now: datetime) -> bool:
    """Check whether a password was unused for so long that it is closed."""
    dormant = limits_of(role).dormant
    return dormant is not None and used_at is not None and now >= used_at + dormant


def session_confirmed(session: Session, *, has_factor: bool, must_have: bool, now: datetime) -> bool:
    """Check whether acts that widen are permitted in a session now: a second factor was entered lately, or its person has and needs none.

    An EHR's session is no sign-in of its person, so one of a role with power is never confirmed.
    """
    if session.factor_at is not None or has_factor or must_have:
        return is_fresh(session.factor_at, now)
    return session.method is not Method.EHR or not MUST.get(session.role, True)


def lacks_factor(token: ApiToken, *, must_have: bool) -> bool:
    """Check whether a token was created without the second factor that its person must have now."""
    return must_have and token.factor_at is None


def token_confirmed(token: ApiToken, *, has_factor: bool, must_have: bool, now: datetime) -> bool:
    """Check whether acts that widen are permitted with an API token now."""
    if token.factor_at is None and not (has_factor or must_have):
        return True
    return is_fresh(token.factor_at, now)


def wants_touch(session: Session, now: datetime) -> bool:
    """Check whether ``last_seen_at`` is old enough to be updated."""
    return now >= session.last_seen_at + TOUCH_EVERY


def attempt_key(realm: str, name: str, source: str) -> str:
    """Return the key of a name and an address in the table of attempts, which stores no names. IPv6 addresses count by their /64."""
    # By the pair rather than the name alone, or anybody could lock anybody out (C57).
    parts = (realm, name.strip().lower()[:200], network_of(source))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def delay_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row: not at all up to ATTEMPTS_FREE, then doubling up to DELAY_MAX."""
    beyond = failures - ATTEMPTS_FREE
    if beyond < 0:
        return timedelta(0)
    # The exponent is bounded too, since after thousands of failures the number would be huge.
    return min(DELAY_FIRST * (1 << min(beyond, 20)), DELAY_MAX)


def password_fault(password: str) -> str:
    """Return the error code of a new password; empty if it is valid."""
    if len(password) < PASSWORD_MIN:
        return too_short(PASSWORD_MIN, "password_too_short")
    return too_long(PASSWORD_MAX, "password_too_long") if len(password) > PASSWORD_MAX else ""


def may_use_password(person: Person, roles: frozenset[str] | None) -> bool:
    """Check whether a person may sign in with a password. ``roles``: those that may at their hospital; None for all.

    The platform's staff and members of vendors always may, because no hospital's identity provider has them.
    """
    if person.tenant is None or person.vendor is not None:
        return True
    return roles is None or person.role in roles


def require_password(password: str) -> None:
    """Refuse a password that cannot be set. Raises Invalid."""
    if fault := password_fault(password):
        detail = f"The password must have {PASSWORD_MIN} to {PASSWORD_MAX} characters."
        raise Invalid("password_invalid", detail, fields={"password": fault})


def console_of(role: str) -> str:
    """Return the path of a role's console; empty for a role without one."""
    if role in STAFF_ROLES:
        return "/operations"
    return "/tenant" if role == Role.ADMINISTRATOR else ""


def may_set_password(actor: Actor) -> bool:
    """Check whether an actor may set any person's password: only the host and the platform itself, at set-up."""
    return actor.kind in {ActorKind.HOST, ActorKind.SYSTEM}


def may_hold_token(actor: Actor, person: Person) -> bool:
    """Check whether an actor may create and list a person's API tokens: the person, and the platform itself at start-up."""
    return actor.id == person.id or actor.kind in {ActorKind.SYSTEM, ActorKind.HOST}


def may_revoke_token(actor: Actor, person: Person) -> bool:
    """Check whether an actor may revoke a person's API tokens and sessions."""
    return may_hold_token(actor, person) or may_administer(actor, person.tenant)


def token_faults(person: Person, *, name: str, life: timedelta, roles: Iterable[str]) -> dict[str, str]:
    """Return what is wrong with a requested API token, by field."""
    faults: dict[str, str] = {}
    if not name.isprintable() or len(name) > API_TOKEN_NAME_BOUND:
        faults["name"] = "name_malformed"
    if not timedelta(0) < life <= API_TOKEN_LIFE_MAX:
        faults["expires_in_s"] = out_of_range(1, int(API_TOKEN_LIFE_MAX.total_seconds()), "seconds")
    # A token may omit its person's role but never add one.
    if not set(roles) <= {person.role}:
        faults["roles"] = "beyond_your_own"
    return faults


def actor_of(person: Person, roles: Iterable[str] | None = None, *, unconfirmed: bool = False) -> Actor:
    """Return a person as an actor. ``roles`` are those of a token; they can only narrow the person's own role."""
    held = {person.role} if roles is None else {person.role} & set(roles)
    actor = _actor(person.id, person.tenant, person.role, frozenset(held))
    return replace(actor, unconfirmed=unconfirmed)


def actor_of_session(session: Session) -> Actor:
    """Return the person of a session as an actor."""
    actor = _actor(session.person, session.tenant, session.role, frozenset({session.role}))
    return replace(actor, unconfirmed=not session.confirmed)


def _actor(id_: PersonId, place: TenantId | None, role: str, held: frozenset[str]) -> Actor:
    # By role rather than by place, so that an account with a vendor's role is never staff.
    if role in VENDOR_ROLES:
        return Actor(ActorKind.MEMBER, id_, None, held, VendorId(place) if place else None)
    return Actor(ActorKind.STAFF if place is None else ActorKind.PERSON, id_, place, held)


def token_counts(token: ApiToken, now: datetime) -> bool:
    """Check whether an API token is valid now."""
    return token.revoked_at is None and now < token.expires_at


def barred(person: Person, bar: Bar) -> Barred:
    """Build the refusal of a call by a barred person.

    Only a switch is disclosed as the reason; otherwise the token is answered as invalid.
    """
    refusal: NotPermitted
    match bar:
        case Bar.STOPPED:
            refusal = Stopped()
        case Bar.READ_ONLY:
            refusal = NotPermitted(
                "switch_engaged",
                "A kill switch limits this account to reading. Ask your administrator when it will be lifted.",
            )
        case _:
            return Barred(actor_of(person), TokenInvalid(), bar.value)
    return Barred(actor_of(person), refusal, refusal.code)


def not_admitted(actor: Actor, audience: Sequence[str]) -> Barred:
    """Build the refusal of a call that is not for the actor's roles."""
    held = ", ".join(sorted(actor.roles)) or "none"
    detail = (
        f"This call is for {', '.join(audience)}. Your role: {held}. Ask a person with one of those roles."
    )
    return Barred(actor, NotPermitted("not_permitted", detail), "not_permitted")


def safe_return(target: str, default: str) -> str:
    r"""Return where to redirect after sign-in: ``target`` if it is a path of this origin, else the default.

    Prevents open redirects. Browsers read backslashes as slashes and drop tabs and line ends, so ``/\host`` would leave this origin.
    """
    plain = len(target) <= 4_000 and re.fullmatch(r"/[\x21-\x7e]*", target) is not None
    return target if plain and not target.startswith("//") and "\\" not in target else default
