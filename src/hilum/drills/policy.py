"""Which client may be a canary, and whether a drill passed. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import orjson

from hilum.clients.models import ClientFacts, ClientType
from hilum.drills.models import CEILING_S, DOORS, TRIES_LEAST, Drill, Figures
from hilum.kernel.ids import TenantId
from hilum.standards.fhir.visibility import Belonging, rule_of
from hilum.standards.smart.scopes import ClinicalScope, Prefix, letters_of, parse_scope

_READS = frozenset("rs")


def canary_fault(client: ClientFacts, of_the_app: int, tenants: Iterable[TenantId], tenant: TenantId) -> str:
    """Return why a drill may not stop a client; empty if it may. A drill must not take anything from anybody.

    ``of_the_app``: how many clients its app has; ``tenants``: where that app is installed.
    """
    if client.type is not ClientType.BACKEND:
        return "canary_acts_for_people"
    if not client.scopes or not all(map(_reaches_no_patient, client.scopes)):
        return "canary_reaches_patients"
    if of_the_app != 1:
        return "canary_has_other_clients"
    return "" if list(tenants) == [tenant] else "canary_installed_elsewhere"


def _reaches_no_patient(text: str) -> bool:
    """Check whether a scope only reads records without a patient: directories, catalogues, forms."""
    scope = parse_scope(text)
    if not isinstance(scope, ClinicalScope) or scope.prefix is not Prefix.SYSTEM:
        return False
    rule = rule_of(scope.type)
    return (
        rule is not None and rule.belonging is Belonging.SHARED and set(letters_of(scope.letters)) <= _READS
    )


def faults(figures: Figures, containment: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why a drill failed; nothing if it passed. An endpoint that was not tried counts as open."""
    found = []
    seen = {door.name: door for door in figures.doors}
    for name in DOORS:
        door = seen.get(name)
        if door is None or door.closed < TRIES_LEAST:
            found.append(f"{name}_not_tried")
        elif not 0 <= door.last_open_ms <= CEILING_S * 1_000:
            found.append(f"{name}_open_too_long")
    if containment.get("verdict") != "contained":
        found.append("not_contained")
    slowest = containment.get("longest_ms")
    if not isinstance(slowest, int | float) or not 0 <= slowest <= CEILING_S * 1_000:
        found.append("worker_too_slow")
    if figures.revived:
        found.append("revived_by_release")
    if not figures.works_again:
        found.append("stopped_after_release")
    return tuple(found)


def record(drill: Drill, figures: Figures, found: tuple[str, ...], ended_at: str) -> dict[str, Any]:
    """Return the record of a drill that is signed, as JSON-serializable values."""
    return {
        "drill": drill.id,
        "client": drill.client,
        "app": drill.app,
        "tenant": drill.tenant,
        "switch": drill.switch,
        "began_by": drill.began_by,
        "began_at": drill.began_at.isoformat(),
        "ended_at": ended_at,
        "ceiling_ms": CEILING_S * 1_000,
        "doors": [asdict(door) for door in figures.doors],
        "revived": figures.revived,
        "works_again": figures.works_again,
        "containment": dict(drill.containment),
        "faults": list(found),
        "passed": not found,
    }


def signed_bytes(found: Mapping[str, Any]) -> bytes:
    """Return the signed bytes of a drill's record."""
    # The key signs checkpoints and containment reports too: the first line tells them apart.
    return b"hilum drill v1\n" + orjson.dumps(dict(found), option=orjson.OPT_SORT_KEYS)
