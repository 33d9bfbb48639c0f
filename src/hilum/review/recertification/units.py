"""Granted units of scopes (a type and a letter, at a hospital) and which of them nobody used (K5). Pure."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.smart.scopes import (
    ANY_TYPE,
    CREATE,
    DELETE,
    READ,
    SEARCH,
    UPDATE,
    ClinicalScope,
    parse_stored,
    types_of,
)
from hilum.records.audit.policy import letter_of
from hilum.review.recertification.figure_models import Units

Unit = tuple[str, int]
_LETTERS = (CREATE, READ, UPDATE, DELETE, SEARCH)


def units_of(scopes: tuple[str, ...]) -> frozenset[Unit]:
    """Return the types and letters of scopes, each once, whatever their prefix and constraints."""
    return frozenset(
        (type_, letter)
        for scope in parse_stored(scopes)
        if isinstance(scope, ClinicalScope)
        for type_ in (types_of(scope.prefix) if scope.type == ANY_TYPE else (scope.type,))
        for letter in _LETTERS
        if scope.letters & letter
    )


def count(
    places: Iterable[tuple[TenantId, InstallationFacts]],
    used: Iterable[tuple[str, str, str]],
    since: datetime,
    now: datetime,
) -> Units:
    """Count the units that hospitals where people are treated grant an app, and those that nobody used since a moment.

    ``used``: interaction, type and tenant of what was permitted since then. What was granted later was not there for long enough to be unused.
    """
    at: dict[str, set[Unit]] = {}
    for interaction, type_, tenant in used:
        if letter := letter_of(interaction):
            at.setdefault(tenant, set()).add((type_, letter))
    granted = unused = 0
    for tenant, installed in places:
        ended = installed.expires_at is not None and installed.expires_at <= now
        if ended or installed.environment is not Environment.PRODUCTION:
            continue
        units = units_of(installed.scopes)
        granted += len(units)
        if installed.since is not None and installed.since <= since:
            unused += len(units - at.get(tenant, set()))
    return Units(granted, unused)


def together(of_apps: Mapping[str, Units]) -> Units:
    """Return the sum of some apps' units."""
    return Units(
        sum(each.granted for each in of_apps.values()), sum(each.unused for each in of_apps.values())
    )
