"""The decisions of the token endpoint: pure functions from facts and ``now`` to values.

Source: RFC 6749 sections 4.1.3, 4.4, 5 and 6; RFC 7636 section 4.6; RFC 7662; SMART App Launch 2.2, app-launch#obtain-access-token
and backend-services.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from hilum.apps.clients.models import SYSTEM_CLIENTS, Client, ClientFacts, ClientType
from hilum.apps.clients.policy import admission
from hilum.apps.installations.models import InstallationFacts
from hilum.authorization.authorize.policy import disclosed_context, grantable, is_useful
from hilum.authorization.consent.models import Authorization, End
from hilum.authorization.consent.policy import CLASS_ENDS, end_of, family_ends
from hilum.authorization.eligibility.models import EligibilityInputs
from hilum.authorization.eligibility.policy import eligibility_fault
from hilum.authorization.tokens.models import AccessToken, Grant, RefreshToken, TokenFamily
from hilum.controls.switches.models import Subject, SwitchIndex
from hilum.controls.switches.policy import stopped_by
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.standards.fhir.matching import is_testable
from hilum.foundation.standards.oauth import Parameters, TokenError
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.standards.smart.launch import SENT_CONTEXT, readable_context
from hilum.foundation.standards.smart.scopes import (
    SCOPE_FAULTS,
    ClinicalScope,
    Prefix,
    Scope,
    ScopeError,
    SpecialScope,
)
from hilum.identity.people.models import Person
from hilum.identity.people.policy import patients_openable, rights_of
from hilum.policy.matrix.models import SYSTEM_CLIENT_LIFETIMES, Book, Expiry, Lifetimes, PolicyEntry
from hilum.policy.matrix.policy import expand, first_ended, workflow_limit

ID_TOKEN_LIFE = timedelta(hours=1)
CACHE_SIZE = 4_096
"""How many results of each scope computation the process caches: most token requests repeat an earlier one."""
TEXT_BOUND = 4_096
"""The longest value that any parameter but ``scope`` and ``client_assertion`` may have."""
SCOPE_TEXT_BOUND = 32 * 1024
EHR_SCOPE = SpecialScope("hilum/launch")
_LONG = {"scope": SCOPE_TEXT_BOUND, "client_assertion": 16 * 1024}


class GrantType(StrEnum):
    CODE = "authorization_code"
    REFRESH = "refresh_token"
    CLIENT_CREDENTIALS = "client_credentials"


NAMES = frozenset(each.value for each in GrantType)
GRANTS_OF: Mapping[ClientType, frozenset[GrantType]] = {
    ClientType.PUBLIC: frozenset({GrantType.CODE, GrantType.REFRESH}),
    ClientType.SYMMETRIC: frozenset({GrantType.CODE, GrantType.REFRESH}),
    ClientType.ASYMMETRIC: frozenset({GrantType.CODE, GrantType.REFRESH}),
    ClientType.BACKEND: frozenset({GrantType.CLIENT_CREDENTIALS}),
    ClientType.EHR: frozenset({GrantType.CLIENT_CREDENTIALS}),
    ClientType.RESOURCE_SERVER: frozenset(),
}
"""Backend and delegated access never share a client (C16)."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A parsed token request. ``ignored``: names of launch parameters that the app sent itself, which have no effect (C31)."""

    grant_type: GrantType
    code: str = ""
    redirect_uri: str = ""
    verifier: str = ""
    refresh_token: str = ""
    scope: str = ""
    ignored: tuple[str, ...] = ()


def parse(form: Parameters) -> TokenRequest:
    """Parse a form as a token request. Raises Invalid(invalid_request), NotPermitted(unsupported_grant_type).

    A missing verifier or redirect URI is no error here but a failed proof, which uses up the code (RFC 7636 section 4.6).
    """
    check_form(form)
    name = form.get("grant_type")
    if not name:
        raise Invalid(TokenError.INVALID_REQUEST, "grant_type is missing.")
    if name not in NAMES:
        raise NotPermitted(
            TokenError.UNSUPPORTED_GRANT_TYPE,
            "grant_type must be authorization_code, refresh_token or client_credentials.",
        )
    grant_type = GrantType(name)
    required = {GrantType.CODE: "code", GrantType.REFRESH: "refresh_token"}.get(grant_type)
    if required and not form.get(required):
        raise Invalid(TokenError.INVALID_REQUEST, f"{required} is missing.")
    return TokenRequest(
        grant_type,
        code=form.get("code"),
        redirect_uri=form.get("redirect_uri"),
        verifier=form.get("code_verifier"),
        refresh_token=form.get("refresh_token"),
        scope=form.get("scope"),
        ignored=tuple(sorted(SENT_CONTEXT & set(form.values))),
    )


def check_form(form: Parameters) -> None:
    """Refuse repeated and oversized parameters. Raises Invalid(invalid_request). Source: RFC 6749 section 3.2."""
    if form.repeated:
        raise Invalid(TokenError.INVALID_REQUEST, f"{min(form.repeated)[:40]} is sent more than once.")
    for name, value in form.values.items():
        if len(value) > _LONG.get(name, TEXT_BOUND):
            raise Invalid(TokenError.INVALID_REQUEST, f"{name[:40]} is too long.")


def judge_grant_type(client: Client, grant_type: GrantType) -> None:
    """Refuse a grant type that the client may not use. Raises NotPermitted(unauthorized_client)."""
    # A client that is registered for codes may refresh what it obtained with them: by RFC 7591 section 2
    # grant_types defaults to authorization_code alone.
    implied_by = GrantType.CODE if grant_type is GrantType.REFRESH else grant_type
    registered = client.type in SYSTEM_CLIENTS or {implied_by, grant_type} & set(client.grant_types)
    if grant_type not in GRANTS_OF[client.type] or not registered:
        raise NotPermitted(
            TokenError.UNAUTHORIZED_CLIENT, f"This client may not use the grant type {grant_type}."
        )


def refuse_grant(detail: str) -> NotPermitted:
    """Build the refusal of a code or refresh token. Its error code is the same for every reason."""
    return NotPermitted(TokenError.INVALID_GRANT, detail)


# --- scopes --------------------------------------------------------------------------------------------------------------------


def with_workflows_expanded(book: Book, text: str) -> str:
    """Replace workflows in a backend service's scope parameter by their ``system/`` scopes. Raises Invalid(invalid_scope)."""
    expansion = expand(book, text, {Prefix.SYSTEM})
    if expansion.unknown:
        raise Invalid(TokenError.INVALID_SCOPE, f"The policy has no workflow {expansion.unknown[:64]!r}.")
    return expansion.text


def requested_scopes(text: str) -> tuple[Scope, ...]:
    """Parse the scope parameter, leaving out unknown scopes. Raises Invalid(invalid_scope)."""
    parsed = smart.parse_scopes(text)
    if isinstance(parsed, ScopeError):
        raise Invalid(TokenError.INVALID_SCOPE, f"The scope is invalid: {SCOPE_FAULTS[parsed]}.")
    return parsed[0]


def scopes_of_refresh(requested: str, held: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes that a refresh requests: ``held`` if ``requested`` is empty, and never more than ``held``.

    Raises Invalid(invalid_scope). Source: RFC 6749 section 6.
    """
    if not requested:
        return held
    scopes = requested_scopes(requested)
    texts = tuple(smart.render(scope) for scope in scopes)
    # Compared by what they cover: patient/Observation.r is fewer than patient/Observation.rs.
    if not scopes or not smart.all_covered(texts, held):
        raise Invalid(
            TokenError.INVALID_SCOPE, "A refresh may request fewer scopes than were granted, but not more."
        )
    return texts


def require_not_ended(book: Book, scopes: tuple[Scope, ...]) -> None:
    """Refuse requested scopes that the policy has retired, naming their successor (C62). Raises Invalid(invalid_scope)."""
    if sentence := first_ended(book, scopes):
        raise Invalid(TokenError.INVALID_SCOPE, sentence)


def backend_scopes(requested: str, client: Client, allowed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes to grant for client credentials: ``system/`` for a backend service, ``hilum/launch`` for an EHR.

    ``allowed``: registered and certified and installed. Raises Invalid(invalid_scope), also if no scope would be granted (C16).
    Source: SMART App Launch 2.2, backend-services#scopes.
    """
    scopes = requested_scopes(requested)
    if not scopes:
        raise Invalid(TokenError.INVALID_SCOPE, "scope is missing, or contains no supported scope.")
    if client.type is ClientType.EHR:
        # An EHR launches apps and does not read through the gateway, so it never gets clinical scopes.
        granted: tuple[Scope, ...] = tuple(scope for scope in scopes if scope == EHR_SCOPE)
    else:
        if any(isinstance(scope, ClinicalScope) and scope.prefix is not Prefix.SYSTEM for scope in scopes):
            raise Invalid(TokenError.INVALID_SCOPE, "A backend service may request only system scopes.")
        # Scopes that the gateway would refuse at every request are not granted, so that the response lists
        # only what works (RFC 6749 section 3.3).
        types = {smart.ANY_TYPE, *smart.types_of(Prefix.SYSTEM)}
        reachable = (scope for scope in scopes if isinstance(scope, ClinicalScope) and scope.type in types)
        granted = tuple(
            scope
            for scope in smart.intersect(reachable, smart.parse_stored(allowed))
            if isinstance(scope, ClinicalScope) and is_testable(scope.type, scope.constraints)
        )
    if not granted:
        raise Invalid(TokenError.INVALID_SCOPE, "None of the requested scopes may be granted to this client.")
    return tuple(smart.render(scope) for scope in granted)


# --- current state of a grant -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GrantState:
    """The current state of everything that may end or narrow a grant.

    ``authorization`` is None for a grant without one (a backend service). ``session_over``: the EHR or browser session that the grant
    depends on has ended.
    """

    eligibility: EligibilityInputs
    person: Person | None
    authorization: Authorization | None
    session_over: bool


def grant_fault(state: GrantState, grant: Grant | AccessToken, *, now: datetime) -> Reason | None:
    """Return the reason why a grant is no longer valid, checking its eligibility first; None if it is valid."""
    if reason := eligibility_fault(state.eligibility, now):
        return Reason.STUDY_ENDED if _is_study_over(state, reason, now) else reason
    person = state.person
    if person is not None and person.role != grant.role:
        return Reason.ROLE_NOT_ALLOWED
    # An access token has the charts of its issue, so losing one ends it. A grant is narrowed instead, when
    # it is refreshed (``service._charts_now``).
    if isinstance(grant, AccessToken) and charts_kept(grant, person) != grant.person_patients:
        return Reason.TOKEN_REVOKED
    return _authorization_fault(state, grant, now)


def _is_study_over(state: GrantState, reason: Reason, now: datetime) -> bool:
    """Check whether an app is no longer installed because the study that it was installed for has ended."""
    policy_entry, installation, agreed = (
        _entry(state, now),
        state.eligibility.installation,
        state.authorization,
    )
    if (
        reason is not Reason.APP_NOT_INSTALLED
        or policy_entry is None
        or policy_entry.lifetimes.expiry is not Expiry.STUDY
    ):
        return False
    ends = None if installation is None else installation.expires_at
    return (ends is not None and now >= ends) or (
        agreed is not None and now >= end_of(agreed, policy_entry).at
    )


def _authorization_fault(state: GrantState, grant: Grant | AccessToken, now: datetime) -> Reason | None:
    if grant.authorization and (state.authorization is None or state.authorization.revoked_at is not None):
        return Reason.TOKEN_REVOKED
    ends = agreement_ends(state, grant, now)
    if ends is not None and now >= ends.at:
        return ends.why
    return Reason.LAUNCH_ENDED if state.session_over else None


def agreement_ends(state: GrantState, grant: Grant | AccessToken, now: datetime) -> End | None:
    """Return when the agreement behind a grant ends, also by the policy in force, and by which limit; None without an agreement."""
    fixed = grant.authorization_expires_at
    if state.authorization is None:
        return None if fixed is None else End(fixed, Reason.AUTHORIZATION_EXPIRED)
    ends = end_of(state.authorization, _entry(state, now))
    if fixed is None or ends.at <= fixed:
        return ends
    # The agreement was renewed since: earlier tokens keep the end with which they were issued.
    return End(fixed, ends.why if ends.why in CLASS_ENDS else Reason.AUTHORIZATION_EXPIRED)


def refresh_end(token: RefreshToken, state: GrantState, now: datetime) -> End | None:
    """Return when a refresh token ends by the policy in force, and by which limit; None if no entry admits the client.

    Its own expiry was fixed when it was issued and is checked elsewhere.
    """
    began = token.family_started_at or token.issued_at
    family = TokenFamily(
        token.family, token.grant.authorization, token.offline, began, token.issued_at, token.expires_at
    )
    return min(family_ends(family, _entry(state, now)), key=lambda end: end.at, default=None)


def _entry(state: GrantState, now: datetime) -> PolicyEntry | None:
    client = state.eligibility.client
    return None if client is None else admission(state.eligibility.book, client, now).entry


def charts_kept(grant: Grant | AccessToken, person: Person | None) -> tuple[str, ...] | None:
    """Return the charts of a grant that the person may still open; None if the person's role may open every chart."""
    openable = None if person is None else patients_openable(person)
    if grant.person_patients is None or openable is None:
        return grant.person_patients
    return tuple(patient for patient in grant.person_patients if patient in openable)


def charts_end(charts: tuple[str, ...] | None, person: Person | None) -> datetime | None:
    """Return when the person's access to the first of these charts ends; None if none has an end."""
    if not charts or person is None:
        return None
    return min((until for patient, until in person.chart_ends if patient in charts), default=None)


def scopes_now(scopes: tuple[str, ...], state: GrantState, role: str, now: datetime) -> tuple[str, ...]:
    """Narrow granted scopes to those that may still be granted, since any of the limits may have been narrowed. Raises Invalid(invalid_scope).

    The limits are registration, certification, installation, workflow, the role's rights and the authorization.
    """
    client, installation = state.eligibility.client, state.eligibility.installation
    assert client is not None, "grant_fault was checked before"
    assert installation is not None, "grant_fault was checked before"
    authorized = None if state.authorization is None else state.authorization.scopes
    if (limit := workflow_limit(state.eligibility.book, state.eligibility.acting.workflow)) is not None:
        scopes = smart.narrow(scopes, limit)
    left = _left(
        scopes, grantable_at_most(client, installation, state.eligibility.book, now), role, authorized
    )
    if not left:
        raise Invalid(TokenError.INVALID_SCOPE, "None of the granted scopes may be granted any longer.")
    return left


def grantable_at_most(
    facts: ClientFacts, installation: InstallationFacts, book: Book, now: datetime
) -> tuple[str, ...]:
    """Return the scopes that a client may be granted at a tenant at most, cached by admission and installation."""
    return _at_most(admission(book, facts, now).scopes, installation.scopes)


@lru_cache(maxsize=CACHE_SIZE)
def _at_most(admitted: tuple[str, ...], installed: tuple[str, ...]) -> tuple[str, ...]:
    return smart.narrow(admitted, installed)


@lru_cache(maxsize=CACHE_SIZE)
def _left(
    scopes: tuple[str, ...], allowed: tuple[str, ...], role: str, authorized: tuple[str, ...] | None
) -> tuple[str, ...]:
    left = grantable(smart.parse_stored(scopes), allowed, rights_of(role))
    if authorized is not None:
        left = smart.intersect(left, smart.parse_stored(authorized))
    return tuple(smart.render(scope) for scope in left) if is_useful(left) else ()


# --- answers -------------------------------------------------------------------------------------------------------------------


def lifetimes_of(facts: ClientFacts, book: Book, now: datetime) -> Lifetimes:
    """Return the lifetimes of a client's tokens, by its entry in the policy. A client without an entry gets no tokens."""
    if facts.type in SYSTEM_CLIENTS:
        return SYSTEM_CLIENT_LIFETIMES
    policy_entry = admission(book, facts, now).entry
    return SYSTEM_CLIENT_LIFETIMES if policy_entry is None else policy_entry.lifetimes


def token_life(client: Client, lifetimes: Lifetimes, *limits: datetime | None, now: datetime) -> timedelta:
    """Return the life of an access token by the policy, cut to what it depends on: ``limits``, and the client's own end (C47)."""
    has_person = GrantType.CODE in GRANTS_OF[client.type]
    longest = lifetimes.access_token if has_person else lifetimes.backend_token
    ends = [end - now for end in (*limits, client.expires_at) if end is not None]
    return min([longest, *ends])


def id_token_claims(
    grant: Grant, scopes: tuple[str, ...], *, issuer: str, fhir_base: str, auth_time: datetime, now: datetime
) -> dict[str, Any]:
    """Build the claims of an id_token. Source: OpenID Connect Core 1.0 section 2; SMART App Launch 2.2, #scopes-for-requesting-identity-data."""
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": grant.person,
        "aud": grant.client,
        "iat": int(now.timestamp()),
        "exp": int((now + ID_TOKEN_LIFE).timestamp()),
        "auth_time": int(auth_time.timestamp()),
    }
    if grant.nonce:
        claims["nonce"] = grant.nonce
    # SMART 2.2: the claim fhirUser is present only if the scope was granted.
    if "fhirUser" in scopes and grant.fhir_user:
        claims["fhirUser"] = f"{fhir_base}/{grant.fhir_user}"
    return claims


def context_members(grant: Grant, scopes: tuple[str, ...]) -> dict[str, Any]:
    """Return the launch context for a token response, as far as the scopes disclose it (C32, C33)."""
    parsed = smart.parse_stored(scopes)
    patient, encounter = disclosed_context(parsed, grant.patient, grant.encounter)
    disclosed: dict[str, Any] = {"patient": patient} if patient else {}
    if encounter:
        disclosed["encounter"] = encounter
    if "launch" not in scopes:
        return disclosed
    extras = dict(grant.extras)
    entries = extras.pop("fhirContext", None)
    # C33: only entries of fhirContext that the granted scopes can read.
    readable = readable_context(entries, parsed) if isinstance(entries, list | tuple) else ()
    if readable:
        disclosed["fhirContext"] = list(readable)
    return extras | disclosed


def active_answer(
    token: AccessToken, *, issuer: str, fhir_base: str, intent: str, scopes: tuple[str, ...]
) -> dict[str, Any]:
    """Build the introspection response for an active access token (C53). Source: RFC 7662 section 2.2; SMART App Launch 2.2, token-introspection."""
    answer: dict[str, Any] = {
        "active": True,
        "token_type": "Bearer",
        "scope": " ".join(scopes),
        "client_id": token.client,
        "exp": int(token.expires_at.timestamp()),
        "iat": int(token.issued_at.timestamp()),
        "iss": issuer,
        "aud": fhir_base,
        "sub": token.person or token.client,
    }
    patient, encounter = disclosed_context(smart.parse_stored(scopes), token.patient, token.encounter)
    optional = {"patient": patient, "encounter": encounter, "intent": intent}
    if "openid" in scopes and "fhirUser" in scopes and token.fhir_user:
        optional["fhirUser"] = f"{fhir_base}/{token.fhir_user}"
    return answer | {name: value for name, value in optional.items() if value}


def without_stopped(
    scopes: tuple[str, ...], stops: SwitchIndex, *, now: datetime, issued_at: datetime | None
) -> tuple[str, ...]:
    """Remove the scopes that full stops on scopes and resource types cover. A wildcard that loses a type becomes the remaining types."""
    # The usual case: there is no switch on a scope or a type.
    if not stops.kinds:
        return scopes
    kept: list[str] = []
    for text in scopes:
        scope = smart.parse_scope(text)
        types = _types_of(scope) if isinstance(scope, ClinicalScope) else ("",)
        subjects = {each: Subject(resource_type=each, scopes=(text,)) for each in types}
        remain = [
            each
            for each, subject in subjects.items()
            if stopped_by(stops, subject, now=now, issued_at=issued_at) is None
        ]
        if len(remain) == len(types):
            kept.append(text)
        elif isinstance(scope, ClinicalScope):
            kept += [smart.render(replace(scope, type=each)) for each in remain]
    return tuple(dict.fromkeys(kept))


def _types_of(scope: ClinicalScope) -> tuple[str, ...]:
    return smart.types_of(scope.prefix) if scope.type == smart.ANY_TYPE else (scope.type,)
