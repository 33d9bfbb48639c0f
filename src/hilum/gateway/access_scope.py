"""How far a scope reaches: scopes, the person's rights, the launch context and switches, joined type by type. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache, lru_cache
from types import MappingProxyType

from hilum.clients.policy import admission
from hilum.controls import policy as controls
from hilum.controls.models import Subject, SwitchIndex, TargetKind
from hilum.gateway.models import DecisionInput, EffectiveAccess, GrantRule
from hilum.identity.policy import rights_of
from hilum.installations.models import InstallationFacts
from hilum.policies.models import Admission
from hilum.policies.policy import workflow_limit
from hilum.standards.fhir.attachments import referrer_types
from hilum.standards.fhir.matching import compile_all
from hilum.standards.fhir.queries import SearchQuery
from hilum.standards.fhir.requests import FhirRequest, Interaction
from hilum.standards.fhir.visibility import Belonging, rule_of
from hilum.standards.smart.interactions import LETTERS
from hilum.standards.smart.scopes import (
    CREATE,
    UPDATE,
    CompiledScope,
    CompiledScopes,
    Prefix,
    compile_scopes,
    mask_of,
    narrow,
)
from hilum.standing.models import Standing
from hilum.tokens.models import AccessToken

Stops = Callable[[str, str], bool]
"""(scope, resource type) -> whether a switch took it out of the grant."""
EFFECTIVE_BOUND = 20_000
REACHES_BOUND = 20_000


class _Reached(
    dict[bytes, tuple[AccessToken, Admission, InstallationFacts, tuple[str, ...] | None, EffectiveAccess]]
):
    """What each token reached when it was used last, with the facts that this follows from, by the token's hash."""

    def cache_clear(self) -> None:
        self.clear()


_reached = _Reached()


@lru_cache(maxsize=EFFECTIVE_BOUND)
def effective_scopes(granted: tuple[str, ...], *allowed: tuple[str, ...]) -> CompiledScopes:
    """Return the granted scopes, narrowed to what each of the others still allows: admitted by the rule book, approved by the tenant."""
    for each in allowed:
        granted = narrow(granted, each)
    return compile_scopes(granted)


@cache
def rights_masks(role: str) -> Mapping[str, int]:
    """Return a role's rights as masks of scope letters, by type. An unknown role has none."""
    return MappingProxyType({type_: mask_of(letters) or 0 for type_, letters in rights_of(role).items()})


@dataclass(slots=True)
class ScopedRequest:
    """A request with everything that its token reaches of its type. ``exempt``: the person's own ``fhirUser``, read by its owner."""

    token: AccessToken
    request: FhirRequest
    query: SearchQuery | None
    access: EffectiveAccess
    letter: int
    grants: tuple[GrantRule, ...]
    exempt: bool
    bases: tuple[str, ...]
    purpose: str


def scope_request(
    asked: DecisionInput, token: AccessToken, query: SearchQuery | None, access: EffectiveAccess
) -> ScopedRequest:
    """Gather what a request needs to be judged by what its token reaches of its type."""
    request = asked.request
    assert isinstance(request, FhirRequest), "an unsupported request reaches nothing"
    letter = LETTERS[request.interaction]
    # openid fhirUser permits reading exactly this one resource, whatever the clinical scopes
    # (security decision 11).
    exempt = (
        request.interaction is Interaction.READ
        and token.fhir_user == f"{request.type}/{request.id}"
        and holds(access, request.type, "openid", "fhirUser")
    )
    if request.type == "Binary" and letter == CREATE:
        grants = attaching_rules(access)
    else:
        grants = grant_rules(access, request.type, letter)
    return ScopedRequest(token, request, query, access, letter, grants, exempt, asked.bases, asked.purpose)


def access_of(
    asked: DecisionInput, token: AccessToken, standing: Standing, stopped: Stops | None, now: datetime
) -> EffectiveAccess:
    """Return what a token of an app in good standing reaches."""
    # A read of the platform's own has the scopes of its purpose. An app with patient/ scopes only has a picker
    # too, and its scopes say nothing about choosing a patient (ADR 30).
    if asked.purpose:
        return effective_access(token, effective_scopes(token.scopes), stopped)
    client, installation = standing.client, standing.installation
    assert client is not None, "standing refuses a client that is not there"
    assert installation is not None, "standing refuses what is not installed"
    limit = workflow_limit(standing.book, token.workflow)
    access = _access_at(token, admission(standing.book, client, now), installation, limit)
    return access if stopped is None else replace(access, stopped=stopped)


def _access_at(
    token: AccessToken, admitted: Admission, installation: InstallationFacts, limit: tuple[str, ...] | None
) -> EffectiveAccess:
    """Return what a token reaches by these facts, which was kept at its last use if each of them is the same object still."""
    kept = _reached.get(token.hash)
    # By identity, since nothing of them ever changes: a cache by value would hash hundreds of scopes at each request.
    if (
        kept is not None
        and kept[0] is token
        and kept[1] is admitted
        and kept[2] is installation
        and kept[3] is limit
    ):
        return kept[4]
    allowed = [admitted.scopes, installation.scopes]
    if limit is not None:
        allowed.append(limit)
    access = effective_access(token, effective_scopes(token.scopes, *allowed))
    if len(_reached) >= REACHES_BOUND:
        _reached.cache_clear()
    _reached[token.hash] = (token, admitted, installation, limit, access)
    return access


def stops_of(token: AccessToken, index: SwitchIndex, now: datetime, *, writes: bool) -> Stops | None:
    """Return the function that says whether a switch took a scope on a type out of a grant; None if no switch is on a scope or a type."""
    if index.kinds.isdisjoint({TargetKind.SCOPE, TargetKind.RESOURCE_TYPE}):
        return None

    def stopped(text: str, type_: str) -> bool:
        subject = Subject(resource_type=type_, scopes=(text,))
        # Also what was issued before such a stop ended: the end of a full stop revives nothing (ADR
        # 6).
        if controls.stopped_by(index, subject, now=now, issued_at=token.issued_at) is not None:
            return True
        return writes and controls.read_only(index, subject, now) is not None

    return stopped


def effective_access(
    token: AccessToken, scopes: CompiledScopes, stopped: Stops | None = None
) -> EffectiveAccess:
    """Join a token's facts with the scopes that are in effect for it, and with what switches took out of them."""
    role = token.role if token.person else None
    access = _effective_access(scopes, role, token.patient, token.person_patients, token.fhir_user)
    return access if stopped is None else replace(access, stopped=stopped)


def holds(access: EffectiveAccess, type_: str, *special: str) -> bool:
    """Check whether the grant has all of these scopes without a type (``openid``, ``fhirUser``, ``offline_access``), none of them stopped."""
    stopped = access.stopped
    return access.scopes.special >= {*special} and not (stopped and any(stopped(s, type_) for s in special))


@lru_cache(maxsize=REACHES_BOUND)
def _effective_access(
    scopes: CompiledScopes,
    role: str | None,
    patient: str,
    people: tuple[str, ...] | None,
    fhir_user: str,
) -> EffectiveAccess:
    return EffectiveAccess(
        scopes,
        patient=patient,
        people=None if people is None else frozenset(people),
        rights=None if role is None else rights_masks(role),
        own=fhir_user.removeprefix("Patient/") if fhir_user.startswith("Patient/") else "",
    )


def grant_rules(access: EffectiveAccess, type_: str, letters: int) -> tuple[GrantRule, ...]:
    """Return every rule by which any of ``letters`` is permitted on a type."""
    cached = access.found.get((type_, letters))
    if cached is None:
        cached = _grant_rules(access, type_, letters)
        # Only types of the table: the caller chooses the type, and must not fill the cache.
        if rule_of(type_) is not None:
            access.found[type_, letters] = cached
    return cached


def attaching_rules(access: EffectiveAccess) -> tuple[GrantRule, ...]:
    """Return every rule by which a record that can hold an attachment of a patient's may be written: so far a grant may store one."""
    return tuple(rule for type_ in _attaching_types() for rule in grant_rules(access, type_, CREATE | UPDATE))


@cache
def _attaching_types() -> tuple[str, ...]:
    """List the types of patients' own records that may refer to a Binary."""
    own = {Belonging.SUBJECT, Belonging.SELF}
    return tuple(type_ for type_ in referrer_types() if (rule := rule_of(type_)) and rule.belonging in own)


def _grant_rules(access: EffectiveAccess, type_: str, letters: int) -> tuple[GrantRule, ...]:
    visibility = rule_of(type_)
    if visibility is None:
        return ()
    found: list[GrantRule] = []
    for scope in access.scopes.grants(type_):
        mask = scope.mask & letters
        if scope.prefix is not Prefix.SYSTEM and access.rights is not None:
            mask &= access.rights.get(type_, 0)
        if not mask:
            continue
        # Per scope and type: a switch on patient/Observation leaves the rest of a wildcard in
        # force.
        if access.stopped is not None and access.stopped(scope.text, type_):
            continue
        rule = _grant_rule(access, scope, type_, visibility.belonging)
        if rule is not None:
            found.append(rule)
    return tuple(found)


def _grant_rule(
    access: EffectiveAccess, scope: CompiledScope, type_: str, belonging: Belonging
) -> GrantRule | None:
    matchers = compile_all(type_, scope.constraints) if scope.constraints else ()
    # A constraint that cannot be held against a resource permits nothing.
    if matchers is None:
        return None
    patients: frozenset[str] | None
    # System scopes are for services, user and patient scopes for persons. A token that mixes them
    # was not issued by these rules.
    if scope.prefix is Prefix.SYSTEM:
        if access.rights is not None:
            return None
        patients = None
    elif access.rights is None:
        return None
    elif scope.prefix is Prefix.USER:
        # A Group lists many patients, so a person who may open only some charts must not see it.
        if belonging is Belonging.POPULATION and access.people is not None:
            return None
        patients = None if belonging is Belonging.SHARED else access.people
    else:
        if belonging is Belonging.POPULATION or not _has_patient(access):
            return None
        if belonging is Belonging.SHARED:
            # patient/*.rs is about the patient. Shared types need a scope that names them (ADR 12).
            if scope.text.startswith("patient/*"):
                return None
            patients = None
        else:
            patients = frozenset((access.patient,))
    return GrantRule(scope.text, scope.prefix, patients, scope.constraints, matchers)


def _has_patient(access: EffectiveAccess) -> bool:
    """Check whether there is a patient in context whose chart this person may open."""
    return bool(access.patient) and (access.people is None or access.patient in access.people)
