"""How far a grant reaches: scopes, the person's rights, the launch context and switches, joined type by type. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, lru_cache
from types import MappingProxyType

from hilum.gateway.models import Clause, Reach
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


def reach_of(
    token: AccessToken, scopes: CompiledScopes, stopped: Callable[[str, str], bool] | None = None
) -> Reach:
    """Join a token's facts with the scopes that are in effect for it, and with what switches took out of them."""
    role = token.role if token.person else None
    reach = _reach_of(scopes, role, token.patient, token.person_patients, token.fhir_user)
    return reach if stopped is None else replace(reach, stopped=stopped)


@lru_cache(maxsize=REACHES_BOUND)
def _reach_of(
    scopes: CompiledScopes,
    role: str | None,
    patient: str,
    people: tuple[str, ...] | None,
    fhir_user: str,
) -> Reach:
    return Reach(
        scopes,
        patient=patient,
        people=None if people is None else frozenset(people),
        rights=None if role is None else rights_masks(role),
        own=fhir_user.removeprefix("Patient/") if fhir_user.startswith("Patient/") else "",
    )


def clauses(reach: Reach, type_: str, letters: int) -> tuple[Clause, ...]:
    """Name every way in which any of ``letters`` is permitted on a type. Empty: no way."""
    known = reach.found.get((type_, letters))
    if known is None:
        known = _clauses(reach, type_, letters)
        if rule_of(type_) is not None:
            reach.found[type_, letters] = known
    return known


def _clauses(reach: Reach, type_: str, letters: int) -> tuple[Clause, ...]:
    rule = rule_of(type_)
    if rule is None:
        return ()
    found: list[Clause] = []
    for grant in reach.scopes.grants(type_):
        mask = grant.mask & letters
        if grant.prefix is not Prefix.SYSTEM and reach.rights is not None:
            mask &= reach.rights.get(type_, 0)
        if not mask:
            continue
        if reach.stopped is not None and reach.stopped(grant.text, type_):
            continue
        clause = _clause(reach, grant, type_, rule.belonging)
        if clause is not None:
            found.append(clause)
    return tuple(found)


def _clause(reach: Reach, grant: CompiledScope, type_: str, belonging: Belonging) -> Clause | None:
    matchers = compile_all(type_, grant.constraints) if grant.constraints else ()
    if matchers is None:
        return None
    patients: frozenset[str] | None
    if grant.prefix is Prefix.SYSTEM:
        if reach.rights is not None:
            return None
        patients = None
    elif reach.rights is None:
        return None
    elif grant.prefix is Prefix.USER:
        if belonging is Belonging.POPULATION and reach.people is not None:
            return None
        patients = None if belonging is Belonging.SHARED else reach.people
    else:
        if belonging is Belonging.POPULATION or not _in_context(reach):
            return None
        if belonging is Belonging.SHARED:
            if grant.text.startswith("patient/*"):
                return None
            patients = None
        else:
            patients = frozenset((reach.patient,))
    return Clause(grant.text, grant.prefix, patients, grant.constraints, matchers)


def _in_context(reach: Reach) -> bool:
    """There is a patient in context, and it is one whose chart this person may open."""
    return bool(reach.patient) and (reach.people is None or reach.patient in reach.people)
