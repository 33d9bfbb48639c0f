"""Decisions of the authorization endpoint. Pure.

Source: RFC 6749 section 4.1; RFC 7636; RFC 9207; RFC 9700 sections 2.1 and 4.1; SMART App Launch 2.2, app-launch#obtain-authorization-code.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients.models import Client, ClientType
from hilum.authorization.authorize.models import (
    LAUNCH_BOUND,
    NONCE_BOUND,
    REDIRECT_URI_BOUND,
    STATE_BOUND,
    Code,
    Step,
)
from hilum.authorization.consent.policy import Consenter
from hilum.foundation.kernel.errors import Refused
from hilum.foundation.standards import oauth
from hilum.foundation.standards.fhir.matching import is_testable
from hilum.foundation.standards.fhir.visibility import rule_of
from hilum.foundation.standards.oauth import AuthorizeError, Parameters
from hilum.foundation.standards.smart import launch as smart_launch
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.standards.smart.scopes import (
    SCOPE_FAULTS,
    ClinicalScope,
    Prefix,
    Scope,
    ScopeError,
    SpecialScope,
)
from hilum.identity.people.models import Person, Role
from hilum.identity.people.policy import rights_of
from hilum.policy.matrix.models import NO_BOOK, Book
from hilum.policy.matrix.policy import expand

CODE_CLIENTS = frozenset({ClientType.PUBLIC, ClientType.SYMMETRIC, ClientType.ASYMMETRIC})
PROMPTS = frozenset({"none", "login", "consent", "select_account"})
MAX_AGE_BOUND = 10**9
"""Seconds."""
_DIGITS = re.compile(r"[0-9]{1,10}")
LOGIN_HINT_BOUND = 256
NOT_FOR_PEOPLE = frozenset({"hilum/launch"})


@dataclass(frozen=True, slots=True)
class DisplayedError:
    """An error shown on a page of ours, without any redirect (RFC 6749 section 4.1.2.1)."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Redirect:
    """The validated redirect URI with the response in its query. It ends the request."""

    uri: str


@dataclass(frozen=True, slots=True)
class RefusedLaunch:
    """A launch that a rule refuses. The person sees a page of the platform, which links ``back`` to the app with the error (C216).

    ``framed_by``: the origins of the hospital's EHR, which may frame the page.
    """

    refusal: Refused
    back: Redirect
    framed_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RedirectedError:
    """An error returned to the client at its validated redirect URI."""

    redirect_uri: str
    state: str
    error: AuthorizeError
    detail: str


@dataclass(frozen=True, slots=True)
class ValidRequest:
    """The parameters of a valid authorization request.

    ``ignored``: names of launch parameters that the app sent itself. They have no effect and are recorded (C31).
    """

    redirect_uri: str
    state: str
    scopes: tuple[Scope, ...]
    code_challenge: str
    nonce: str = ""
    launch: str = ""
    prompt: frozenset[str] = frozenset()
    login_hint: str = ""
    max_age_s: int | None = None
    ignored: tuple[str, ...] = ()


def validate_request(
    parameters: Parameters, client: Client | None, *, fhir_base: str, now: datetime, book: Book = NO_BOOK
) -> DisplayedError | RedirectedError | ValidRequest:
    """Validate an authorization request: client and redirect URI first, since other errors may be redirected only if those are valid.

    ``book``: the policy at the tenant, whose workflows may be requested by name.
    """
    if shown := _client_fault(parameters, client, now):
        return shown
    assert client is not None, "a missing client is a displayed error"
    redirect_uri = parameters.get("redirect_uri")
    state = parameters.get("state")
    # First, because every redirected error repeats the state.
    if not oauth.printable(state) or len(state) > STATE_BOUND:
        return RedirectedError(
            redirect_uri,
            "",
            AuthorizeError.INVALID_REQUEST,
            f"state is longer than {STATE_BOUND} characters or has non-printable ones",
        )
    fault = _request_fault(parameters, client, fhir_base)
    if fault is not None:
        return RedirectedError(redirect_uri, state, *fault)
    scopes = _asked_scopes(parameters, book)
    if isinstance(scopes, str):
        return RedirectedError(redirect_uri, state, AuthorizeError.INVALID_SCOPE, scopes)
    max_age = parameters.get("max_age")
    return ValidRequest(
        redirect_uri=redirect_uri,
        state=state,
        scopes=scopes,
        code_challenge=parameters.get("code_challenge"),
        nonce=parameters.get("nonce"),
        launch=parameters.get("launch"),
        prompt=frozenset(parameters.get("prompt").split()),
        login_hint=parameters.get("login_hint")[:LOGIN_HINT_BOUND],
        max_age_s=int(max_age) if max_age else None,
        ignored=tuple(sorted(smart_launch.SENT_CONTEXT & (set(parameters.values) | parameters.repeated))),
    )


def _client_fault(parameters: Parameters, client: Client | None, now: datetime) -> DisplayedError | None:
    if client is None or (client.expires_at is not None and now >= client.expires_at):
        return DisplayedError("client_unknown", "The app that sent you here is not registered with us.")
    presented = parameters.get("redirect_uri")
    if not presented:
        return DisplayedError(
            "redirect_uri_missing",
            "The app did not say (once) where to send you back to; redirect_uri is missing.",
        )
    # Compared as strings (RFC 9700 section 4.1.3): looser comparisons have sent codes to attackers.
    if len(presented) > REDIRECT_URI_BOUND or not clients_policy.redirect_matches(
        client.redirect_uris, presented, deployment=client.deployment
    ):
        return DisplayedError(
            "redirect_uri_unknown", "The app asked to send you to an address that is not registered for it."
        )
    return None


def _request_fault(
    parameters: Parameters, client: Client, fhir_base: str
) -> tuple[AuthorizeError, str] | None:
    # RFC 6749 section 3.1: no parameter occurs twice. A
    # proxy and this server could each read a different one.
    if parameters.repeated:
        return AuthorizeError.INVALID_REQUEST, f"{min(parameters.repeated)[:40]} is sent more than once"
    # PostgreSQL stores no null character in text, so the insert would fail later with a 500.
    if any("\0" in value for value in parameters.values.values()):
        return AuthorizeError.INVALID_REQUEST, "a parameter contains a null character"
    # A request object (RFC 9101) could hold parameters other than those validated here.
    if parameters.get("request"):
        return AuthorizeError.REQUEST_NOT_SUPPORTED, "request objects are not supported"
    if parameters.get("request_uri"):
        return AuthorizeError.REQUEST_URI_NOT_SUPPORTED, "request_uri is not supported"
    response_type = parameters.get("response_type")
    if not response_type:
        return AuthorizeError.INVALID_REQUEST, "response_type is missing"
    if response_type != oauth.RESPONSE_TYPE_CODE:
        return AuthorizeError.UNSUPPORTED_RESPONSE_TYPE, "response_type must be code"
    if parameters.get("response_mode") not in {"", "query"}:
        return AuthorizeError.INVALID_REQUEST, "response_mode must be query"
    if client.type not in CODE_CLIENTS or "authorization_code" not in client.grant_types:
        return AuthorizeError.UNAUTHORIZED_CLIENT, "this client is not registered for authorization codes"
    # SMART requires state, which protects the app from a forged response (RFC 6749 section 10.12).
    if not parameters.get("state"):
        return AuthorizeError.INVALID_REQUEST, "state is missing"
    aud = parameters.get("aud")
    if not aud:
        return AuthorizeError.INVALID_REQUEST, "aud is missing; it must be the FHIR base URL"
    # SMART's aud: an app that was directed to a counterfeit FHIR server names that server here, before
    # it has a token to send there.
    if aud.removesuffix("/") != fhir_base:
        return AuthorizeError.INVALID_REQUEST, "aud is not the FHIR base URL of this server"
    launch = parameters.get("launch")
    if len(launch) > LAUNCH_BOUND or not oauth.printable(launch):
        return AuthorizeError.INVALID_REQUEST, "launch is not a value issued by the EHR"
    return _proof_fault(parameters)


def _proof_fault(parameters: Parameters) -> tuple[AuthorizeError, str] | None:
    if not parameters.get("code_challenge"):
        return AuthorizeError.INVALID_REQUEST, "code_challenge is missing; PKCE is required"
    # SMART requires S256 and forbids plain, which reveals the verifier to whoever sees the request.
    if parameters.get("code_challenge_method") != oauth.S256:
        return AuthorizeError.INVALID_REQUEST, "code_challenge_method must be S256"
    if not oauth.challenge_well_formed(parameters.get("code_challenge")):
        return AuthorizeError.INVALID_REQUEST, "code_challenge is not an S256 challenge"
    if len(parameters.get("nonce")) > NONCE_BOUND:
        return AuthorizeError.INVALID_REQUEST, f"nonce is longer than {NONCE_BOUND} characters"
    prompt = set(parameters.get("prompt").split())
    if not prompt <= PROMPTS or ("none" in prompt and len(prompt) > 1):
        return AuthorizeError.INVALID_REQUEST, "prompt has an unknown value, or combines none with others"
    max_age = parameters.get("max_age")
    # Not int() alone: it accepts the digits of other scripts and thousands of zeros.
    if max_age and not (_DIGITS.fullmatch(max_age) and int(max_age) <= MAX_AGE_BOUND):
        return AuthorizeError.INVALID_REQUEST, f"max_age must be a number of seconds up to {MAX_AGE_BOUND}"
    return None


def _asked_scopes(parameters: Parameters, book: Book) -> tuple[Scope, ...] | str:
    expanded = expand(book, parameters.get("scope"), {Prefix.PATIENT, Prefix.USER})
    # Refused rather than ignored like other unknown scopes: the app would get none of its scopes.
    if expanded.unknown:
        return f"the policy has no workflow {expanded.unknown[:64]!r}"
    parsed = smart.parse_scopes(expanded.text)
    if isinstance(parsed, ScopeError):
        return SCOPE_FAULTS[parsed]
    # RFC 6749 section 3.3: unknown scopes are left out, and the response lists what was granted.
    scopes, _foreign = parsed
    if not scopes:
        return "scope is missing or has no scope that is supported here"
    for scope in scopes:
        # C16: backend and delegated access never share a grant. System scopes would ignore which charts
        # the person may open.
        if isinstance(scope, ClinicalScope) and scope.prefix is Prefix.SYSTEM:
            return "system scopes are for backend services and cannot be requested for a person (C16)"
        if isinstance(scope, SpecialScope) and scope.name in NOT_FOR_PEOPLE:
            return f"{scope.name} is for EHR clients"
    return _without_idle_launch(scopes, launched=bool(parameters.get("launch")))


def _without_idle_launch(scopes: tuple[Scope, ...], *, launched: bool) -> tuple[Scope, ...] | str:
    """Remove ``launch`` from a request without a launch; return an error unless the app can also start standalone (``launch/patient``)."""
    launch = SpecialScope("launch")
    if launched or launch not in scopes:
        return scopes
    if not smart_launch.requested_context(scopes)[0]:
        return "scope launch needs the launch parameter issued by the EHR"
    return tuple(scope for scope in scopes if scope != launch)


# --- what may be granted -------------------------------------------------------------------------------------------------------


def grantable(asked: Iterable[Scope], allowed: Iterable[str], rights: Mapping[str, str]) -> tuple[Scope, ...]:
    """Return the scopes that may be granted: requested, allowed to the client at the tenant, and within the person's rights (C68).

    ``allowed``: registered and certified and installed. ``rights``: resource type -> letters. A wildcard under ``user/`` becomes the types
    of the role; under ``patient/`` it stays a wildcard, with the letters that the role has on any type, because the gateway checks each
    request against the role again. Granular scopes that no resource can be tested against are left out, and so are types without a
    visibility rule: the gateway permits neither, so the app would be promised, and the person asked for, too much.
    """
    kept: dict[Scope, None] = {}
    for scope in smart.intersect(asked, smart.parse_stored(allowed)):
        if isinstance(scope, SpecialScope):
            kept.setdefault(scope)
        elif is_testable(scope.type, scope.constraints):
            kept.update(dict.fromkeys(filter(_opens, smart.intersect((scope,), _limits(scope, rights)))))
    return tuple(kept)


def _opens(scope: Scope) -> bool:
    return isinstance(scope, SpecialScope) or scope.type == smart.ANY_TYPE or rule_of(scope.type) is not None


def _limits(scope: ClinicalScope, rights: Mapping[str, str]) -> tuple[ClinicalScope, ...]:
    if scope.prefix is not Prefix.PATIENT or scope.type != smart.ANY_TYPE:
        return smart.of_rights(rights, scope.prefix)
    anywhere = 0
    for letters in rights.values():
        anywhere |= smart.mask_of(letters) or 0
    return (ClinicalScope(Prefix.PATIENT, smart.ANY_TYPE, anywhere),)


def is_useful(scopes: Iterable[Scope]) -> bool:
    """Check whether a grant of these scopes permits anything: access to a resource, or the person's identity."""
    return any(isinstance(scope, ClinicalScope) or scope.name == "openid" for scope in scopes)


def offline_of(scopes: Iterable[Scope]) -> bool | None:
    """Return which refresh token the scopes request: True to outlive the session, False to end with it, None for none."""
    names = {scope.name for scope in scopes if isinstance(scope, SpecialScope)}
    if "offline_access" in names:
        return True
    return False if "online_access" in names else None


def code_fault(code: Code, *, redirect_uri: str, verifier: str, now: datetime) -> str:
    """Return why a redeemed code is refused; empty if it is valid. Source: RFC 6749 section 4.1.3; RFC 7636."""
    # The code is used up before this is checked: whichever proof fails, there is no second attempt.
    if now >= code.expires_at:
        return "The code has expired."
    if redirect_uri != code.redirect_uri:
        return "redirect_uri is not the one the code was issued for."
    if not oauth.verifier_matches(verifier, code.code_challenge):
        return "code_verifier does not match the code_challenge."
    return ""


# --- the steps -----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepFacts:
    """The facts that decide the next step of a request of a signed-in person.

    ``chosen_at``: when the launch or the person set the context. ``covered``: the scopes of an authorization in force for this client
    and version, None without one. ``client_proved``: only the client's owner can receive responses at the redirect URI.
    ``synthetic``: the hospital is a sandbox.
    """

    prompt: frozenset[str]
    ehr_launch: bool
    scopes: tuple[Scope, ...]
    chosen_at: datetime | None
    role: str
    covered: tuple[Scope, ...] | None
    client_proved: bool
    synthetic: bool = False


def next_step(facts: StepFacts) -> Step:
    """Return what a request needs next: context, consent, a notice, or nothing more."""
    if not facts.ehr_launch and facts.chosen_at is None and smart_launch.requested_context(facts.scopes)[0]:
        return Step.CHOOSE_CONTEXT
    # A patient decides each time; for staff the hospital has decided, by installing the app (ADR 17).
    if facts.role == Role.PATIENT:
        return Step.CONSENT
    return Step.NOTICE if _needs_notice(facts) else Step.ISSUE


def _needs_notice(facts: StepFacts) -> bool:
    # Any program on a device can claim a loopback or private-scheme address, so such a client never gets a
    # code without a page (RFC 8252 section 8.6). In a sandbox it would only gain synthetic records, and
    # developers would learn to click the notice away (ADR 17).
    proved = facts.client_proved or facts.synthetic
    if facts.covered is None or not proved or "consent" in facts.prompt:
        return True
    return set(smart.intersect(facts.scopes, facts.covered)) != set(facts.scopes)


def login_is_stale(
    auth_time: datetime,
    *,
    requested_at: datetime,
    now: datetime,
    prompt: frozenset[str],
    max_age_s: int | None,
) -> bool:
    """Check whether the client requires a newer sign-in than this. Source: OpenID Connect Core 1.0 section 3.1.2.1."""
    # A sign-in after the request satisfies prompt=login; without this, it would be asked for again and again.
    if auth_time >= requested_at:
        return False
    return "login" in prompt or (max_age_s is not None and now - auth_time > timedelta(seconds=max_age_s))


PROMPT_NONE = {
    Step.LOGIN: AuthorizeError.LOGIN_REQUIRED,
    Step.CHOOSE_CONTEXT: AuthorizeError.INTERACTION_REQUIRED,
    Step.CONSENT: AuthorizeError.CONSENT_REQUIRED,
    Step.NOTICE: AuthorizeError.CONSENT_REQUIRED,
}
"""The error for ``prompt=none`` if a page would be needed. Source: OpenID Connect Core 1.0 section 3.1.2.6."""


# --- context ---------------------------------------------------------------------------------------------------------------------


def context_refusal(scopes: Iterable[Scope], *, patient: str, launched: bool = False) -> str:
    """Return why the context does not suffice for the scopes; empty if it does (C34). ``launched``: an EHR opened the app on a patient."""
    scopes = tuple(scopes)
    if smart_launch.needs_patient(scopes) and not patient:
        if launched:
            return "patient scopes need the scope launch in an EHR launch: register the client for it, and request it"
        return "patient scopes need a patient, but none was launched or chosen; request launch/patient"
    return ""


def disclosed_context(scopes: Iterable[Scope], patient: str, encounter: str) -> tuple[str, str]:
    """Return the patient and encounter that the scopes disclose to the app (C32)."""
    names = {scope.name for scope in scopes if isinstance(scope, SpecialScope)}
    has_launch = "launch" in names
    if not patient or not (has_launch or names & {"launch/patient", "launch/encounter"}):
        return "", ""
    return patient, encounter if has_launch or "launch/encounter" in names else ""


def consenter_of(person: Person) -> Consenter:
    """Return the facts about a person that limit what their consent can grant."""
    return Consenter(rights_of(person.role), person.fhir_user.partition("/")[0])
