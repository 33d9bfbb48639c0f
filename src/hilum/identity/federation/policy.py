"""Which providers may be set up, which changes take two people, and which account a provider's person has here. Pure."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from urllib.parse import urlsplit

from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.limits import out_of_range, too_many
from hilum.foundation.kernel.sentences import Sentence, pattern
from hilum.foundation.standards.jws import ALGORITHMS
from hilum.identity.factors.policy import must_have
from hilum.identity.federation.assertions import signing_key
from hilum.identity.federation.models import (
    CLAIM_BOUND,
    CODE_BOUND,
    MAX_AGE_BOUND,
    ROWS_BOUND,
    SCOPES_BOUND,
    SESSION_LIFE_MAX,
    SESSION_LIFE_MIN,
    SUBJECT_BOUND,
    VALUE_BOUND,
    VALUES_BOUND,
    ClientAuth,
    Fault,
    Identity,
    LinkBy,
    Metadata,
    Passwords,
    Refusal,
    RoleRow,
    Settings,
)
from hilum.identity.people.models import URL_BOUND, NewPerson, Person, Role
from hilum.identity.people.policy import (
    ROLES,
    fhir_user_fault,
    has_power,
    is_loopback,
    may_administer,
    may_manage_tenants,
    name_fault,
    normal_username,
    origin_fault,
)

_CLAIM = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")
"""RFC 6749 section 3.3"""
ANYONES_DOMAIN = "common", "organizations", "consumers"
"""Segments of an issuer's path that stand for every directory of a provider instead of one hospital's."""


@dataclass(frozen=True, slots=True)
class FaultText:
    """The sentences for a person who was not signed in: what happened, and what to do next. ``theirs``: the provider is at fault."""

    happened: str
    next: str
    theirs: bool = False


_AGAIN = "Go back to the sign-in page and try again."
_HELP = "Try again in a few minutes. If it keeps failing, tell the help desk of your hospital, and quote the number below."
_ADMIN = "Ask an administrator of your hospital, and quote the number below."
_INVALID_ANSWER = pattern(
    "Your hospital's identity provider answered, but not as it should, so its answer was not accepted: %(fault)s"
)
INVALID_ANSWERS: Mapping[Fault, str] = MappingProxyType(
    {
        Fault.CODE_MISSING: "it has no code.",
        Fault.METADATA_WRONG: "what it publishes is incomplete.",
        Fault.ANSWER_MALFORMED: "it cannot be read.",
        Fault.TOKEN_MISSING: "it has no id_token.",
        Fault.TOKEN_MALFORMED: "its token cannot be read.",
        Fault.ALGORITHM_NOT_ALLOWED: "its token is not signed with the agreed algorithm.",
        Fault.HEADER_NOT_ALLOWED: "its token has a header that is not accepted.",
        Fault.KEYS_UNREADABLE: "its keys cannot be read.",
        Fault.KEY_UNKNOWN: "its token is signed with a key that it does not publish.",
        Fault.SIGNATURE_WRONG: "the signature of its token is not valid.",
        Fault.ISSUER_WRONG: "its token is of another issuer.",
        Fault.AUDIENCE_WRONG: "its token is for another service.",
        Fault.PARTY_WRONG: "its token was given to another service.",
        Fault.EXPIRED: "its token has expired, or the two clocks differ.",
        Fault.ISSUED_WRONG: "its token was not issued just now, or the two clocks differ.",
        Fault.NOT_YET_VALID: "its token is not valid yet, or the two clocks differ.",
        Fault.SIGN_IN_TIME_MISSING: "it does not state when you signed in (auth_time).",
        Fault.SUBJECT_MISSING: "it does not state who you are.",
        Fault.USERINFO_MISSING: "what it states about you (UserInfo) cannot be read.",
        Fault.USERINFO_OF_ANOTHER: "what it states (UserInfo) is about somebody else.",
    }
)
"""What was wrong with a provider's answer. The next step is the same for all of these."""


def _invalid_answer(text: str) -> Sentence:
    return Sentence(_INVALID_ANSWER, fault=Sentence(text))


SENTENCES: Mapping[Fault, FaultText] = MappingProxyType(
    {
        **{
            fault: FaultText(_invalid_answer(text), _HELP, theirs=True)
            for fault, text in INVALID_ANSWERS.items()
        },
        Fault.STATE_MALFORMED: FaultText("This sign-in was not begun here.", _AGAIN),
        Fault.STATE_OF_ANOTHER_BROWSER: FaultText(
            "This sign-in was begun in another browser, or cookies were deleted meanwhile.", _AGAIN
        ),
        Fault.STATE_EXPIRED: FaultText(
            "This sign-in took longer than ten minutes, so it is no longer valid.", _AGAIN
        ),
        Fault.PROVIDER_CHANGED: FaultText(
            "The settings of your hospital's sign-in were changed a moment ago.", _AGAIN
        ),
        Fault.STATE_USED: FaultText(
            "This sign-in was completed already. Each one works once.",
            "If you are not signed in, go back to the sign-in page and begin again.",
        ),
        Fault.ISSUER_MIXED_UP: FaultText(
            "The answer came from another identity provider than the one that you were sent to.",
            _AGAIN,
            theirs=True,
        ),
        Fault.ISSUER_NOT_STATED: FaultText(
            "The answer does not say which identity provider it is from, although yours always says so.",
            _AGAIN,
            theirs=True,
        ),
        Fault.DECLINED: FaultText(
            "The sign-in at your hospital was cancelled.", "Begin again when you are ready."
        ),
        Fault.PROVIDER_REFUSED: FaultText(
            "Your hospital's identity provider did not sign you in.",
            "Try again. If it keeps failing, ask the help desk of your hospital.",
            theirs=True,
        ),
        Fault.HOST_NOT_ALLOWED: FaultText(
            "This platform may not connect to the host of your hospital's identity provider.",
            "Tell an administrator of your hospital: the platform's staff keep the list of allowed hosts.",
            theirs=True,
        ),
        Fault.PROVIDER_UNREACHABLE: FaultText(
            "Your hospital's identity provider does not answer.", _HELP, theirs=True
        ),
        Fault.CLIENT_REFUSED: FaultText(
            "Your hospital's identity provider does not accept the credentials of this platform.",
            "Tell an administrator of your hospital: the client's secret may have run out.",
            theirs=True,
        ),
        Fault.CODE_REFUSED: FaultText(
            "Your hospital's identity provider did not accept its own code.", _AGAIN, theirs=True
        ),
        Fault.NONCE_WRONG: FaultText(
            _invalid_answer("its token is not for this sign-in."), _AGAIN, theirs=True
        ),
        Fault.SIGN_IN_TOO_OLD: FaultText(
            "You signed in at your hospital too long ago, and were not asked again.",
            "Sign out at your hospital, then begin again here.",
        ),
        Fault.ASSURANCE_TOO_LOW: FaultText(
            "Your hospital requires a stronger sign-in for this platform than the one that you used (acr).",
            "Begin again, and use your second factor. If you were not asked for one, ask the help desk of your hospital.",
        ),
        Fault.SESSION_OVER: FaultText("Your session at your hospital has ended.", _AGAIN),
        Fault.ROLE_MISSING: FaultText(
            "Your hospital's identity provider states no role for you that may sign in here.",
            "Ask the help desk of your hospital for the group or role that gives access to this platform.",
        ),
        Fault.PERSON_UNKNOWN: FaultText(
            "You signed in at your hospital, but no account here is linked with you.",
            "Ask an administrator of your hospital to add you, or to link your account. They need your identifier:",
        ),
        Fault.PERSON_INACTIVE: FaultText("Your account here is not active.", _ADMIN),
        Fault.ROLE_LOST: FaultText(
            "Your hospital's identity provider no longer states the role of your account here. Your sessions here have ended.",
            "If you changed your role, ask an administrator of your hospital for an account with the new one.",
        ),
        Fault.ROLES_NOT_STATED: FaultText(
            "Your hospital's identity provider does not state your roles, or states too many groups to read them all.",
            "Ask the help desk of your hospital to have it state only the groups that give access to this platform.",
            theirs=True,
        ),
        Fault.FACTOR_MISSING: FaultText(
            "Your role needs a second factor, and your hospital's identity provider does not state that you used one.",
            "Sign in with your password and second factor of this platform. Your hospital's second factor can count instead: its provider must state it (amr or acr), and its administrators must set that value here.",
        ),
        Fault.LINKED_ALREADY: FaultText(
            "The account that your hospital named is linked with somebody else already.", _ADMIN
        ),
        Fault.USERNAME_UNUSABLE: FaultText(
            _invalid_answer("it states no name or username that an account can have."), _ADMIN, theirs=True
        ),
        Fault.USERNAME_TAKEN: FaultText(
            "Another account of your hospital has your username or clinical identity already, and is not linked with you.",
            "If it is yours, ask an administrator of your hospital to link it. They need your identifier:",
        ),
        Fault.FHIR_USER_UNUSABLE: FaultText(
            _invalid_answer("the clinical identity that it states does not fit your role."),
            _ADMIN,
            theirs=True,
        ),
        Fault.NEEDS_ADMINISTRATOR: FaultText(
            "An account like yours is not added by signing in, since it has power over others or opens another person's record.",
            "Ask an administrator of your hospital to add it. They need your identifier:",
        ),
    }
)


def may_set_up(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may set up a hospital's sign-in: its administrators and the platform's."""
    return may_administer(actor, tenant)


def may_see(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may read a hospital's settings of sign-in."""
    return actor.is_platform or may_administer(actor, tenant)


def may_manage_hosts(actor: Actor) -> bool:
    """Check whether an actor may change the list of hosts that the platform connects to."""
    return may_manage_tenants(actor)


def host_fault(origin: str, *, loopback: bool) -> str:
    """Return what is wrong with the origin of an identity provider; empty if nothing. ``loopback``: this machine is permitted, in a sandbox."""
    if fault := origin_fault(origin):
        return fault
    host = urlsplit(origin).hostname or ""
    return "origin_not_https" if is_loopback(host) and not loopback else ""


def origin_of(address: str) -> str:
    """Return the origin of a URL, as the list of hosts stores it; empty if it has none."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in {None, default} else "")


def settings_faults(settings: Settings) -> dict[str, str]:
    """Return what is wrong with a provider's settings, by field."""
    faults: dict[str, str] = {}
    if fault := name_fault(settings.name):
        faults["name"] = fault
    if fault := _issuer_fault(settings.issuer):
        faults["issuer"] = fault
    client = settings.client_id
    if not client or len(client) > VALUE_BOUND or not client.isascii() or not client.isprintable():
        faults["client_id"] = "client_id_malformed"
    if settings.algorithm not in ALGORITHMS:
        faults["algorithm"] = "algorithm_unknown"
    scopes = settings.scopes
    if len(scopes) > SCOPES_BOUND or not all(_SCOPE.fullmatch(each) for each in scopes):
        faults["scopes"] = "scope_malformed"
    elif "openid" not in scopes:
        faults["scopes"] = "openid_missing"
    for name in ("subject_claim", "username_claim", "name_claim", "fhir_user_claim", "role_claim"):
        value = getattr(settings, name)
        # Only the claim of the fhirUser may be left out.
        if (value or name != "fhir_user_claim") and not _CLAIM.fullmatch(value):
            faults[name] = "claim_malformed"
    faults |= _role_faults(settings) | _number_faults(settings)
    if settings.link_by is LinkBy.FHIR_USER and not settings.fhir_user_claim:
        faults["link_by"] = "fhir_user_claim_missing"
    for name in ("acr_values", "factor_amr", "factor_acr"):
        values = getattr(settings, name)
        if len(values) > SCOPES_BOUND or not all(0 < len(each) <= CLAIM_BOUND for each in values):
            faults[name] = "values_malformed"
    return faults


def _issuer_fault(issuer: str) -> str:
    # Kept as written, because it is compared as a string with the provider's own.
    parts = urlsplit(issuer) if len(issuer) <= URL_BOUND and issuer.isascii() else None
    if parts is None or not issuer.isprintable() or " " in issuer or not origin_of(issuer):
        return "issuer_malformed"
    if parts.query or parts.fragment or issuer.endswith(("?", "#")):
        return "issuer_malformed"
    if any(each in parts.path.split("/") for each in ANYONES_DOMAIN):
        return "issuer_of_everybody"
    secure = parts.scheme == "https" or is_loopback(parts.hostname or "")
    return "" if secure else "issuer_not_https"


def _role_faults(settings: Settings) -> dict[str, str]:
    faults: dict[str, str] = {}
    rows = settings.role_table
    if not settings.roles or not ROLES.issuperset(settings.roles):
        faults["roles"] = "role_unknown" if settings.roles else "missing"
    if len(rows) > ROWS_BOUND:
        faults["role_table"] = too_many(ROWS_BOUND)
    elif not rows:
        faults["role_table"] = "missing"
    elif not all(0 < len(row.value) <= VALUE_BOUND and row.role in ROLES for row in rows):
        faults["role_table"] = "role_unknown"
    elif len({(row.value, row.role) for row in rows}) < len(rows):
        faults["role_table"] = "named_twice"
    elif not {row.role for row in rows} <= set(settings.roles):
        faults["role_table"] = "role_not_listed"
    return faults


def _number_faults(settings: Settings) -> dict[str, str]:
    faults: dict[str, str] = {}
    if not 0 <= settings.max_age_s <= MAX_AGE_BOUND.total_seconds():
        faults["max_age_s"] = out_of_range(0, int(MAX_AGE_BOUND.total_seconds()), "seconds")
    life = settings.session_life_s
    least, most = int(SESSION_LIFE_MIN.total_seconds()), int(SESSION_LIFE_MAX.total_seconds())
    if not least <= life <= most:
        faults["session_life_s"] = out_of_range(least, most, "seconds")
    return faults


_PASSWORDS = (Passwords.NOBODY, Passwords.ADMINISTRATORS, Passwords.EVERYONE)
_FREE = ("name", "active", "adds_people", "passwords", "session_life_s", "max_age_s")
"""Settings that widen only in one direction, or never. A change of any setting but these and those below always widens."""
_SETS = ("roles", "factor_amr", "factor_acr")
"""Settings that widen if they get a value that they did not have."""


def secret_fault(settings: Settings, secret: str) -> str:
    """Return the error code of a client's secret that cannot be stored; empty if it can: any text, or for KEY a private JWK."""
    by_key = settings.client_auth is ClientAuth.KEY
    return "private_key_malformed" if by_key and signing_key(secret) is None else ""


def needs_secret(before: Settings, after: Settings) -> bool:
    """Check whether a change needs a new secret: the stored one is for another issuer, or is a key in place of a secret or the reverse."""
    had_key, has_key = (each.client_auth is ClientAuth.KEY for each in (before, after))
    return before.issuer != after.issuer or had_key is not has_key


def widens(before: Settings, after: Settings) -> bool:
    """Check whether a change lets in more people, or gives them more, so that it takes two people. Source: security decision 25.

    One person may narrow: switch a provider off, remove a role, require a stronger or fresher sign-in, shorten sessions.
    """
    if (after.active and not before.active) or (after.adds_people and not before.adds_people):
        return True
    if _PASSWORDS.index(after.passwords) > _PASSWORDS.index(before.passwords):
        return True
    if after.session_life_s > before.session_life_s:
        return True
    if any(not set(getattr(after, name)) <= set(getattr(before, name)) for name in _SETS):
        return True
    if not _is_subsequence(after.role_table, before.role_table):
        return True
    # 0 accepts any age, so it is the widest.
    if (after.max_age_s or math.inf) > (before.max_age_s or math.inf):
        return True
    # An empty list requires no value at all.
    acr, was = set(after.acr_values), set(before.acr_values)
    if was and not (acr and acr <= was):
        return True
    link = after.link_by if after.link_by is not LinkBy.NOTHING else before.link_by
    same = {name: getattr(before, name) for name in (*_FREE, *_SETS, "role_table", "acr_values")}
    return replace(after, link_by=link, **same) != before


def _is_subsequence(rows: Sequence[RoleRow], of: Sequence[RoleRow]) -> bool:
    """Check whether rows are a subsequence of others: their order decides which role a new person gets."""
    rest = iter(of)
    return all(row in rest for row in rows)


def code_of(values: Mapping[str, tuple[str, ...]], metadata: Metadata) -> str:
    """Return the code of a provider's answer to the browser. Raises Refusal.

    Source: RFC 9207 section 2.4 (mix-up); RFC 6749 sections 4.1.2 and 4.1.2.1
    """
    response = {name: several[0] for name, several in values.items()}
    # Before the rest of the response: an error may come from another server, too.
    if "iss" not in response and metadata.sends_iss:
        raise refusal(Fault.ISSUER_NOT_STATED)
    if response.get("iss", metadata.issuer) != metadata.issuer:
        raise refusal(Fault.ISSUER_MIXED_UP)
    if error := response.get("error"):
        raise refusal(Fault.DECLINED if error == "access_denied" else Fault.PROVIDER_REFUSED)
    code = response.get("code", "")
    if not 0 < len(code) <= CODE_BOUND:
        raise refusal(Fault.CODE_MISSING)
    return code


def refusal(fault: Fault) -> Refusal:
    """Build the refusal of a fault, with its sentence."""
    return Refusal(fault, SENTENCES[fault].happened)


def roles_stated(settings: Settings, claims: Mapping[str, object]) -> tuple[str, ...]:
    """Return the roles that a provider states for a person, in the order of the table.

    INVARIANT: each of them is in ``settings.roles``.
    """
    stated = _claim(claims, settings.role_claim)
    values = stated if isinstance(stated, list) else [stated]
    held = {each for each in values[:VALUES_BOUND] if isinstance(each, str)}
    allowed = set(settings.roles) & ROLES
    return tuple(
        dict.fromkeys(row.role for row in settings.role_table if row.value in held and row.role in allowed)
    )


def states_all_roles(settings: Settings, claims: Mapping[str, object]) -> bool:
    """Check whether a provider stated all roles of a person. Some omit the claim for people in too many groups."""
    stated = _claim(claims, settings.role_claim)
    return isinstance(stated, str) or (isinstance(stated, list) and len(stated) <= VALUES_BOUND)


def _claim(claims: Mapping[str, object], name: str) -> object:
    """Return a claim by its name, or by a path with dots such as ``realm_access.roles``."""
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def text_claim(claims: Mapping[str, object], name: str) -> str:
    """Return a claim that is a text; empty if it is missing, of another type, or too long."""
    value = _claim(claims, name) if name else ""
    return value.strip() if isinstance(value, str) and len(value) <= URL_BOUND else ""


def username_stated(settings: Settings, identity: Identity) -> str:
    """Return the username that a provider states, in the stored form; empty if it is not valid."""
    return normal_username(text_claim(identity.claims, settings.username_claim))


def linking_username(settings: Settings, identity: Identity) -> str:
    """Return the username by which an account may be recognised; empty if it is a mail address that the provider calls unverified.

    Source: OpenID Connect Core 1.0 section 5.1
    """
    unverified = identity.claims.get("email_verified", True) is not True
    return "" if settings.username_claim == "email" and unverified else username_stated(settings, identity)


def issued_at(identity: Identity) -> datetime:
    """Return when the id_token of an accepted sign-in was issued."""
    issued = identity.claims["iat"]
    assert isinstance(issued, int | float)
    return datetime.fromtimestamp(issued, UTC)


def fhir_user_stated(settings: Settings, identity: Identity, bases: Iterable[str]) -> str:
    """Return the ``fhirUser`` that a provider states, as a relative reference if it is on one of the hospital's own ``bases``.

    INVARIANT: ``Patient/1`` of another server is no reference here.
    """
    stated = text_claim(identity.claims, settings.fhir_user_claim)
    for base in bases:
        root = base.rstrip("/") + "/"
        if base and stated.startswith(root):
            return stated.removeprefix(root)
    return stated


def person_fault(
    settings: Settings, person: Person, stated: tuple[str, ...], tenant: TenantId, *, whole: bool = True
) -> Fault | None:
    """Return why an account may not be entered through a provider; None if it may. ``whole``: whether it stated all of the person's roles.

    INVARIANT: a role is lost only by a whole statement without it (``states_all_roles``).
    INVARIANT: the platform's staff, members of vendors and people of other hospitals never enter, whatever is linked.
    """
    if person.tenant != tenant or person.vendor is not None or not person.active:
        return Fault.PERSON_INACTIVE
    if person.role in settings.roles and person.role in stated:
        return None
    return Fault.ROLE_LOST if whole else Fault.ROLES_NOT_STATED


def factor_at(identity: Identity, now: datetime) -> datetime | None:
    """Return when a person used a second factor at a provider; None if it does not state one that the hospital accepts."""
    return signed_in_at(identity, now) if identity.has_factor else None


def lacks_factor(role: str, identity: Identity, *, production: bool) -> bool:
    """Check whether a role needs a second factor that the provider does not state. Source: C8."""
    return must_have(role, production=production) and not identity.has_factor


def new_person(
    settings: Settings,
    identity: Identity,
    stated: tuple[str, ...],
    tenant: TenantId,
    bases: Iterable[str] = (),
) -> NewPerson | Fault:
    """Return the account to add for an unknown person, or why none is added. ``bases``: see ``fhir_user_stated``."""
    if not settings.adds_people:
        return Fault.PERSON_UNKNOWN
    role = stated[0]
    # An account with power takes two people.
    if has_power(tenant, role):
        return Fault.NEEDS_ADMINISTRATOR
    username = username_stated(settings, identity)
    name = text_claim(identity.claims, settings.name_claim) or username
    if not username or name_fault(name):
        return Fault.USERNAME_UNUSABLE
    fhir_user = fhir_user_stated(settings, identity, bases)
    if fhir_user_fault(fhir_user, role) or (role == Role.PATIENT and not fhir_user.startswith("Patient/")):
        return Fault.FHIR_USER_UNUSABLE
    charts = (fhir_user.removeprefix("Patient/"),) if role == Role.PATIENT else ()
    return NewPerson(tenant, username, name, role, fhir_user=fhir_user, patients=charts)


def session_end(settings: Settings, identity: Identity, now: datetime) -> datetime:
    """Return when a session that a provider began ends at the latest; never after the provider's own."""
    longest = now + timedelta(seconds=settings.session_life_s)
    return longest if identity.ends_at is None else min(longest, identity.ends_at)


def signed_in_at(identity: Identity, now: datetime) -> datetime:
    """Return when a person signed in at a provider; if it does not state that, as long ago as a session can last.

    So an app that requires a fresh sign-in does not accept a provider's old session as one.
    """
    return identity.authenticated_at or now - SESSION_LIFE_MAX


def passwords_of(providers: tuple[Settings, ...]) -> Passwords:
    """Return which people of a hospital may use a password: by the strictest of its providers; everyone without a provider.

    INVARIANT: one person who switches a provider off does not permit passwords again, so inactive providers count too.
    """
    return min((each.passwords for each in providers), key=_PASSWORDS.index, default=Passwords.EVERYONE)


def subject_fault(subject: str) -> str:
    """Return what is wrong with the text of a subject; empty if nothing."""
    plain = subject.isascii() and subject.isprintable() and subject == subject.strip()
    return "" if subject and plain and len(subject) <= SUBJECT_BOUND else "subject_malformed"


def foreign_origins(metadata: Metadata, allowed: frozenset[str], *, userinfo: bool) -> list[str]:
    """Return the origins in a provider's metadata that are not allowed. ``userinfo``: whether its UserInfo endpoint is used.

    Many providers have that endpoint on another host, which need not be allowed unless it is used.
    """
    addresses = (
        metadata.issuer,
        metadata.authorization_endpoint,
        metadata.token_endpoint,
        metadata.jwks_uri,
        metadata.end_session_endpoint,
        metadata.userinfo_endpoint if userinfo else "",
    )
    return sorted({origin_of(each) or each for each in addresses if each} - allowed)
