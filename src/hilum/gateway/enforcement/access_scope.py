"""How far a scope reaches: scopes, the person's rights, the launch context and switches, joined type by type. Pure."""

from functools import cache, lru_cache

from hilum.foundation.standards.fhir.attachments import referrer_types
from hilum.foundation.standards.fhir.visibility import Belonging, rule_of
from hilum.foundation.standards.smart.scopes import (
    CREATE,
    UPDATE,
    CompiledScope,
    CompiledScopes,
    Prefix,
)
from hilum.gateway.enforcement.models import EffectiveAccess, GrantRule, Reach
from hilum.identity.people.models import RoleRights

EFFECTIVE_BOUND = 20_000


# Shared by all tokens that differ in nothing of this, and by all types of one token.
@lru_cache(maxsize=EFFECTIVE_BOUND)
def effective_access(
    scopes: CompiledScopes,
    rights: RoleRights | None,
    patient: str,
    person_patients: tuple[str, ...] | None,
    fhir_user: str,
) -> EffectiveAccess:
    """Join the scopes that are in force with the rights of the person's role (None without a person) and the context of a token."""
    return EffectiveAccess(
        scopes,
        patient=patient,
        people=None if person_patients is None else frozenset(person_patients),
        rights=rights,
        own=fhir_user.removeprefix("Patient/") if fhir_user.startswith("Patient/") else "",
    )


def holds(access: EffectiveAccess, type_: str, *special: str) -> bool:
    """Check whether the grant has all of these scopes without a type (``openid``, ``fhirUser``, ``offline_access``), none of them stopped."""
    stopped = access.stopped
    return access.scopes.special >= {*special} and not (stopped and any(stopped(s, type_) for s in special))


def grant_rules(access: EffectiveAccess, type_: str, letters: int) -> tuple[GrantRule, ...]:
    """Return every rule by which any of ``letters`` is permitted on a type."""
    return reach_of(access, type_, letters).grants


def reach_of(access: EffectiveAccess, type_: str, letters: int) -> Reach:
    """Return how far an access reaches with any of ``letters`` on a type."""
    reach = access.reaches.get((type_, letters))
    if reach is None:
        grants = _grant_rules(access, type_, letters)
        # A Binary is stored for a record that will refer to it, so such a record decides.
        if type_ == "Binary" and letters == CREATE:
            grants = attaching_rules(access)
        only = frozenset((access.patient,))
        reach = Reach(
            grants,
            ", ".join(grant.text for grant in grants),
            all(grant.patients == only for grant in grants),
        )
        # Only types of the table: the caller chooses the type, and must not fill the cache.
        if rule_of(type_) is not None:
            access.reaches[type_, letters] = reach
    return reach


def attaching_rules(access: EffectiveAccess) -> tuple[GrantRule, ...]:
    """Return every rule by which a record that can hold an attachment of a patient's may be written: so far a grant may store one."""
    return tuple(
        grant for type_ in _attaching_types() for grant in grant_rules(access, type_, CREATE | UPDATE)
    )


@cache
def _attaching_types() -> tuple[str, ...]:
    """List the types of patients' own records that may refer to a Binary."""
    own = {Belonging.SUBJECT, Belonging.SELF}
    return tuple(
        type_ for type_ in referrer_types() if (visibility := rule_of(type_)) and visibility.belonging in own
    )


def _grant_rules(access: EffectiveAccess, type_: str, letters: int) -> tuple[GrantRule, ...]:
    visibility = rule_of(type_)
    if visibility is None:
        return ()
    grants: list[GrantRule] = []
    for scope in access.scopes.grants(type_):
        mask = scope.mask & letters
        if scope.prefix is not Prefix.SYSTEM and access.rights is not None:
            mask &= access.rights.mask(type_)
        if not mask:
            continue
        # Per scope and type: a switch on patient/Observation leaves the rest of a wildcard in force.
        if access.stopped is not None and access.stopped(scope.text, type_):
            continue
        grant = _grant_rule(access, scope, visibility.belonging)
        if grant is not None:
            grants.append(grant)
    return tuple(grants)


def _grant_rule(access: EffectiveAccess, scope: CompiledScope, belonging: Belonging) -> GrantRule | None:
    # A constraint that cannot be held against a resource permits nothing.
    if scope.matchers is None:
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
    return GrantRule(scope.text, scope.prefix, patients, scope.constraints, scope.matchers)


def _has_patient(access: EffectiveAccess) -> bool:
    """Check whether there is a patient in context whose chart this person may open."""
    return bool(access.patient) and (access.people is None or access.patient in access.people)
