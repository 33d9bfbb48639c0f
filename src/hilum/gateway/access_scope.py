"""How far a scope reaches: scopes, the person's rights, the launch context and switches, joined type by type. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from types import MappingProxyType

from hilum.gateway.models import EffectiveAccess, GrantRule
from hilum.identity.policy import rights_of
from hilum.standards.fhir.matching import compile_all
from hilum.standards.fhir.requests import Interaction
from hilum.standards.fhir.visibility import Belonging, rule_of
from hilum.standards.smart.scopes import (
    CREATE,
    DELETE,
    READ,
    SEARCH,
    UPDATE,
    CompiledScope,
    CompiledScopes,
    Prefix,
    compile_scopes,
    mask_of,
    narrow,
)
from hilum.tokens.models import AccessToken

EFFECTIVE_BOUND = 20_000
REACHES_BOUND = 20_000

LETTERS: Mapping[Interaction, int] = MappingProxyType(
    {
        Interaction.READ: READ,
        Interaction.VREAD: READ,
        Interaction.SEARCH_TYPE: SEARCH,
        Interaction.CREATE: CREATE,
        Interaction.UPDATE: UPDATE,
        Interaction.DELETE: DELETE,
    }
)
"""The interactions that can be judged, and the scope letter of each. Whatever is not here is refused whole.

Source: SMART App Launch 2.2, scopes-and-launch-context#scopes-for-requesting-fhir-resources
"""


@lru_cache(maxsize=EFFECTIVE_BOUND)
def effective_scopes(granted: tuple[str, ...], *allowed: tuple[str, ...]) -> CompiledScopes:
    """Granted, as far as each of the others still allows: registered, certified, approved by the tenant."""
    for each in allowed:
        granted = narrow(granted, each)
    return compile_scopes(granted)


@cache
def rights_masks(role: str) -> Mapping[str, int]:
    """Read a role's rights as masks of scope letters, by type. An unknown role has none."""
    return MappingProxyType({type_: mask_of(letters) or 0 for type_, letters in rights_of(role).items()})


def effective_access(
    token: AccessToken, scopes: CompiledScopes, stopped: Callable[[str, str], bool] | None = None
) -> EffectiveAccess:
    """Join a token's facts with the scopes that are in effect for it, and with what switches took out of them."""
    role = token.role if token.person else None
    access = _effective_access(scopes, role, token.patient, token.person_patients, token.fhir_user)
    return access if stopped is None else replace(access, stopped=stopped)


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
    """Name every way in which any of ``letters`` is permitted on a type. Empty: no way."""
    known = access.found.get((type_, letters))
    if known is None:
        known = _grant_rules(access, type_, letters)
        if rule_of(type_) is not None:
            access.found[type_, letters] = known
    return known


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
    if matchers is None:
        return None
    patients: frozenset[str] | None
    if scope.prefix is Prefix.SYSTEM:
        if access.rights is not None:
            return None
        patients = None
    elif access.rights is None:
        return None
    elif scope.prefix is Prefix.USER:
        if belonging is Belonging.POPULATION and access.people is not None:
            return None
        patients = None if belonging is Belonging.SHARED else access.people
    else:
        if belonging is Belonging.POPULATION or not _has_patient(access):
            return None
        if belonging is Belonging.SHARED:
            if scope.text.startswith("patient/*"):
                return None
            patients = None
        else:
            patients = frozenset((access.patient,))
    return GrantRule(scope.text, scope.prefix, patients, scope.constraints, matchers)


def _has_patient(access: EffectiveAccess) -> bool:
    """There is a patient in context, and it is one whose chart this person may open."""
    return bool(access.patient) and (access.people is None or access.patient in access.people)
