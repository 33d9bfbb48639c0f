"""Which providers may be set up, what takes two people, and who a provider's person is here. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from urllib.parse import urlsplit

from hilum.factors.policy import must_have
from hilum.federation.assertions import signing_key
from hilum.federation.models import (
    ALGORITHMS,
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
from hilum.identity.models import URL_BOUND, NewPerson, Person, Role
from hilum.identity.policy import (
    ROLES,
    fhir_user_fault,
    has_power,
    is_loopback,
    may_administer,
    may_rule_tenants,
    name_fault,
    normal_username,
    origin_fault,
)
from hilum.kernel import sentences
from hilum.kernel.actor import Actor
from hilum.kernel.ids import TenantId
from hilum.kernel.limits import out_of_range, too_many
from hilum.kernel.sentences import pattern

_CLAIM = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")
"""RFC 6749 section 3.3"""
ANYONES_DOMAIN = "common", "organizations", "consumers"


@dataclass(frozen=True, slots=True)
class Sentence:
    """What a person reads who was not signed in: what happened, and what to do next. ``theirs``: the provider is at fault, not the person."""

    happened: str
    next: str
    theirs: bool = False


_AGAIN = "Go back to the sign-in page and try again."
_HELP = "Try again in a few minutes. If it goes on, tell the help desk of your hospital, and quote the number below."
_ADMIN = "Ask an administrator of your hospital, and quote the number below."
_WRONG = pattern(
    "Your hospital's identity provider answered, but not as it should, so its answer was not accepted: %(fault)s"
)
_ANSWERED_WRONGLY: Mapping[Fault, str] = MappingProxyType(
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
"""What was wrong with what a provider sent: one sentence each, since a person can do the same about all of them."""


def _wrong(text: str) -> sentences.Sentence:
    return sentences.Sentence(_WRONG, fault=sentences.Sentence(text))


SENTENCES: Mapping[Fault, Sentence] = MappingProxyType(
    {
        **{fault: Sentence(_wrong(text), _HELP, theirs=True) for fault, text in _ANSWERED_WRONGLY.items()},
        Fault.STATE_MALFORMED: Sentence("This sign-in was not begun here.", _AGAIN),
        Fault.STATE_OF_ANOTHER_BROWSER: Sentence(
            "This sign-in was begun in another browser, or cookies were deleted meanwhile.", _AGAIN
        ),
        Fault.STATE_EXPIRED: Sentence(
            "This sign-in took longer than ten minutes, so it is no longer valid.", _AGAIN
        ),
        Fault.PROVIDER_CHANGED: Sentence(
            "The settings of your hospital's sign-in were changed a moment ago.", _AGAIN
        ),
        Fault.STATE_USED: Sentence(
            "This sign-in was completed already. Each one works once.",
            "If you are not signed in, go back to the sign-in page and begin again.",
        ),
        Fault.ISSUER_MIXED_UP: Sentence(
            "The answer came from another identity provider than the one that you were sent to.",
            _AGAIN,
            theirs=True,
        ),
        Fault.ISSUER_NOT_STATED: Sentence(
            "The answer does not say which identity provider it is from, although yours always says so.",
            _AGAIN,
            theirs=True,
        ),
        Fault.DECLINED: Sentence(
            "The sign-in at your hospital was cancelled.", "Begin again when you are ready."
        ),
        Fault.PROVIDER_REFUSED: Sentence(
            "Your hospital's identity provider did not sign you in.",
            "Try again. If it goes on, ask the help desk of your hospital.",
            theirs=True,
        ),
        Fault.HOST_NOT_ALLOWED: Sentence(
            "This platform may not connect to the host of your hospital's identity provider.",
            "Tell an administrator of your hospital: the platform's staff keep the list of allowed hosts.",
            theirs=True,
        ),
        Fault.PROVIDER_UNREACHABLE: Sentence(
            "Your hospital's identity provider does not answer.", _HELP, theirs=True
        ),
        Fault.CLIENT_REFUSED: Sentence(
            "Your hospital's identity provider does not accept the credentials of this platform.",
            "Tell an administrator of your hospital: the client's secret may have run out.",
            theirs=True,
        ),
        Fault.CODE_REFUSED: Sentence(
            "Your hospital's identity provider did not accept its own code.", _AGAIN, theirs=True
        ),
        Fault.NONCE_WRONG: Sentence(_wrong("its token is not for this sign-in."), _AGAIN, theirs=True),
        Fault.SIGN_IN_TOO_OLD: Sentence(
            "You signed in at your hospital too long ago, and were not asked again.",
            "Sign out at your hospital, then begin again here.",
        ),
        Fault.ASSURANCE_TOO_LOW: Sentence(
            "Your hospital requires a stronger sign-in for this platform than the one that you used (acr).",
            "Begin again, and use your second factor. If you were not asked for one, ask the help desk of your hospital.",
        ),
        Fault.SESSION_OVER: Sentence("Your session at your hospital has ended.", _AGAIN),
        Fault.ROLE_MISSING: Sentence(
            "Your hospital's identity provider states no role for you that may sign in here.",
            "Ask the help desk of your hospital for the group or role that gives access to this platform.",
        ),
        Fault.PERSON_UNKNOWN: Sentence(
            "You signed in at your hospital, but no account here is linked with you.",
            "Ask an administrator of your hospital to add you, or to link your account. They need your identifier:",
        ),
        Fault.PERSON_INACTIVE: Sentence("Your account here is not active.", _ADMIN),
        Fault.ROLE_LOST: Sentence(
            "Your hospital's identity provider no longer states the role of your account here. Your sessions here have ended.",
            "If you changed your role, ask an administrator of your hospital for an account with the new one.",
        ),
        Fault.ROLES_NOT_STATED: Sentence(
            "Your hospital's identity provider does not state your roles, or states too many groups to read them all.",
            "Ask the help desk of your hospital to have it state only the groups that give access to this platform.",
            theirs=True,
        ),
        Fault.FACTOR_MISSING: Sentence(
            "Your role needs a second factor, and your hospital's identity provider does not state that you used one.",
            "Sign in with your password and second factor of this platform. Your hospital can have its own count: it must state it (amr or acr), and its administrators must name the value here.",
        ),
        Fault.LINKED_ALREADY: Sentence(
            "The account that your hospital named is linked with somebody else already.", _ADMIN
        ),
        Fault.USERNAME_UNUSABLE: Sentence(
            _wrong("it states no name or username that an account can have."), _ADMIN, theirs=True
        ),
        Fault.USERNAME_TAKEN: Sentence(
            "Another account of your hospital has your username or clinical identity already, and is not linked with you.",
            "If it is yours, ask an administrator of your hospital to link it. They need your identifier:",
        ),
        Fault.FHIR_USER_UNUSABLE: Sentence(
            _wrong("the clinical identity that it states does not fit your role."), _ADMIN, theirs=True
        ),
        Fault.NEEDS_ADMINISTRATOR: Sentence(
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


def may_keep_hosts(actor: Actor) -> bool:
    """Check whether an actor may say which hosts the platform connects to."""
    return may_rule_tenants(actor)


def host_fault(origin: str, *, loopback: bool) -> str:
    """Return what is wrong with the origin of an identity provider; empty if nothing. ``loopback``: this machine is accepted, in a sandbox."""
    if fault := origin_fault(origin):
        return fault
    host = urlsplit(origin).hostname or ""
    return "origin_not_https" if is_loopback(host) and not loopback else ""


def origin_of(address: str) -> str:
    """Return the origin of an address, in the form of the list of hosts; empty if it has none."""
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
    # Compared as a string with what the provider states, so it is kept as written.
    parts = urlsplit(issuer) if len(issuer) <= URL_BOUND and issuer.isascii() else None
    if parts is None or not issuer.isprintable() or " " in issuer or not origin_of(issuer):
        return "issuer_malformed"
    if parts.query or parts.fragment or issuer.endswith(("?", "#")):
        return "issuer_malformed"
    # At these addresses anybody's directory answers, not this hospital's.
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
"""Settings whose change is judged by its direction; with the sets below, all others always widen."""
_SETS = ("roles", "factor_amr", "factor_acr")


def secret_fault(settings: Settings, secret: str) -> str:
    """Return the error code of what shall be stored as a client's secret; empty if it can serve: any text, or a key to sign with."""
    by_key = settings.client_auth is ClientAuth.KEY
    return "private_key_malformed" if by_key and signing_key(secret) is None else ""


def needs_secret(before: Settings, after: Settings) -> bool:
    """Check whether the secret that is stored cannot serve after a change: it is for another issuer, or a key in place of a secret."""
    keys = [each.client_auth is ClientAuth.KEY for each in (before, after)]
    return before.issuer != after.issuer or keys[0] is not keys[1]


def widens(before: Settings, after: Settings) -> bool:
    """Check whether a change lets anybody in, or gives anybody more, than before; then it takes two people. Source: security decision 25.

    Closing is quick: switching a provider off, taking a role away, asking for a stronger or a fresher sign-in, shorter sessions.
    """
    if (after.active and not before.active) or (after.adds_people and not before.adds_people):
        return True
    if _PASSWORDS.index(after.passwords) > _PASSWORDS.index(before.passwords):
        return True
    if after.session_life_s > before.session_life_s:
        return True
    if any(not set(getattr(after, name)) <= set(getattr(before, name)) for name in _SETS):
        return True
    if not _is_part(after.role_table, before.role_table):
        return True
    # 0 accepts any age.
    if (after.max_age_s or 10**9) > (before.max_age_s or 10**9):
        return True
    # No value is required at all while the list is empty.
    acr, was = set(after.acr_values), set(before.acr_values)
    if was and not (acr and acr <= was):
        return True
    link = after.link_by if after.link_by is not LinkBy.NOTHING else before.link_by
    same = {name: getattr(before, name) for name in (*_FREE, *_SETS, "role_table", "acr_values")}
    return replace(after, link_by=link, **same) != before


def _is_part(rows: Sequence[RoleRow], of: Sequence[RoleRow]) -> bool:
    """Check whether rows are some of others in the same order, which decides what role a new person gets."""
    rest = iter(of)
    return all(row in rest for row in rows)


def code_of(values: Mapping[str, tuple[str, ...]], metadata: Metadata) -> str:
    """Return the code of a provider's answer to the browser. Raises Refusal.

    Source: RFC 9207 section 2.4 (mix-up); RFC 6749 sections 4.1.2 and 4.1.2.1
    """
    one = {name: found[0] for name, found in values.items()}
    # Before anything else of the answer: an error may be another server's too.
    if "iss" not in one and metadata.sends_iss:
        raise refusal(Fault.ISSUER_NOT_STATED)
    if one.get("iss", metadata.issuer) != metadata.issuer:
        raise refusal(Fault.ISSUER_MIXED_UP)
    if error := one.get("error"):
        raise refusal(Fault.DECLINED if error == "access_denied" else Fault.PROVIDER_REFUSED)
    code = one.get("code", "")
    if not 0 < len(code) <= CODE_BOUND:
        raise refusal(Fault.CODE_MISSING)
    return code


def refusal(fault: Fault) -> Refusal:
    """Return the refusal of a fault, with its sentence."""
    return Refusal(fault, SENTENCES[fault].happened)


def roles_stated(settings: Settings, claims: Mapping[str, object]) -> tuple[str, ...]:
    """Return the roles that a provider states for a person, in the order of the table, never one that may not come in so.

    INVARIANT: each of them is in ``settings.roles``.
    """
    found = _claim(claims, settings.role_claim)
    values = found if isinstance(found, list) else [found]
    held = {each for each in values[:VALUES_BOUND] if isinstance(each, str)}
    allowed = set(settings.roles) & ROLES
    return tuple(
        dict.fromkeys(row.role for row in settings.role_table if row.value in held and row.role in allowed)
    )


def roles_whole(settings: Settings, claims: Mapping[str, object]) -> bool:
    """Check whether a provider stated all roles of a person: some leave the claim out where there are too many groups for it."""
    found = _claim(claims, settings.role_claim)
    return isinstance(found, str) or (isinstance(found, list) and len(found) <= VALUES_BOUND)


def _claim(claims: Mapping[str, object], name: str) -> object:
    """Return a claim by its name, or by a path with dots such as ``realm_access.roles``."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def text_claim(claims: Mapping[str, object], name: str) -> str:
    """Return a claim that is a text; empty if it is not."""
    found = _claim(claims, name) if name else ""
    return found.strip() if isinstance(found, str) and len(found) <= URL_BOUND else ""


def username_stated(settings: Settings, identity: Identity) -> str:
    """Return the username that a provider states, in the stored form; empty if it is not valid."""
    return normal_username(text_claim(identity.claims, settings.username_claim))


def fhir_user_stated(settings: Settings, identity: Identity, bases: Iterable[str]) -> str:
    """Return the ``fhirUser`` that a provider states, relative if it is of the hospital's own FHIR server; any other as it is stated.

    INVARIANT: what another server calls ``Patient/1`` is nobody's reference here. ``bases``: the addresses of the hospital's own.
    """
    found = text_claim(identity.claims, settings.fhir_user_claim)
    for base in bases:
        root = base.rstrip("/") + "/"
        if base and found.startswith(root):
            return found.removeprefix(root)
    return found


def person_fault(
    settings: Settings, person: Person, stated: tuple[str, ...], tenant: TenantId, *, whole: bool = True
) -> Fault | None:
    """Return why an account may not be entered through a provider; None if it may. ``whole``: see ``roles_whole``.

    INVARIANT: a role is lost only by a claim that was there and whole.
    INVARIANT: the platform's staff, members of vendors and people of other hospitals never come in so, whatever is linked.
    """
    if person.tenant != tenant or person.vendor is not None or not person.active:
        return Fault.PERSON_INACTIVE
    if person.role in settings.roles and person.role in stated:
        return None
    return Fault.ROLE_LOST if whole else Fault.ROLES_NOT_STATED


def factor_at(identity: Identity, now: datetime) -> datetime | None:
    """Return when a person used a second factor at a provider; None if it does not state one that the hospital counts."""
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
    """Return the account of an unknown person as it is to be added, or why none is added. ``bases``: see ``fhir_user_stated``."""
    if not settings.adds_people:
        return Fault.PERSON_UNKNOWN
    role = stated[0]
    # An account with power takes two people, who are not here.
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


def moment_of(text: str) -> datetime:
    """Return the time that was written into a sealed state."""
    return datetime.fromisoformat(text)


def session_end(settings: Settings, identity: Identity, now: datetime) -> datetime:
    """Return when a session that a provider began ends at the latest: never after what the provider states."""
    own = now + timedelta(seconds=settings.session_life_s)
    return own if identity.ends_at is None else min(own, identity.ends_at)


def signed_in_at(identity: Identity, now: datetime) -> datetime:
    """Return when a person signed in at a provider; if it does not state that, as long ago as a session can be.

    An app that asks for a fresh sign-in must not take a provider's old session for one.
    """
    return identity.authenticated_at or now - SESSION_LIFE_MAX


def passwords_of(providers: tuple[Settings, ...]) -> Passwords:
    """Return who of a hospital may use a password: the strictest of its providers; everyone without one.

    INVARIANT: switching a provider off opens nothing. One person may do that, so it counts further, until two open passwords again.
    """
    found = [each.passwords for each in providers]
    return min(found, key=_PASSWORDS.index) if found else Passwords.EVERYONE


def subject_fault(subject: str) -> str:
    """Return what is wrong with the text of a subject; empty if nothing."""
    plain = subject.isascii() and subject.isprintable() and subject == subject.strip()
    return "" if subject and plain and len(subject) <= SUBJECT_BOUND else "subject_malformed"


def foreign_origins(metadata: Metadata, allowed: frozenset[str], *, userinfo: bool) -> list[str]:
    """Return the origins that a provider's metadata leads to and that are not allowed.

    ``userinfo``: whether its UserInfo endpoint is asked. Many providers have it on a host of its own, to which nothing leads otherwise.
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
