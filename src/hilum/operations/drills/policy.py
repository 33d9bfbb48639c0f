"""Which client may be a canary, and whether a drill passed. Pure."""

from collections.abc import Iterable

from hilum.apps.clients.models import ClientFacts, ClientType
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.fhir.visibility import Belonging, rule_of
from hilum.foundation.standards.smart.scopes import ClinicalScope, Prefix, letters_of, parse_scope
from hilum.operations.drills.models import CEILING_S, ENDPOINTS, TRIES_LEAST, Drill
from hilum.operations.switch_administration.models import Containment

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


def faults(drill: Drill) -> tuple[str, ...]:
    """Return why a drill failed; nothing if it passed. An endpoint that was not tried counts as open."""
    found = []
    seen = {each.endpoint: each for each in drill.measured}
    for name in ENDPOINTS:
        measured = seen.get(name)
        if measured is None or measured.refused < TRIES_LEAST:
            found.append(f"{name}_not_tried")
        elif not 0 <= measured.last_open_ms <= CEILING_S * 1_000:
            found.append(f"{name}_open_too_long")
    if drill.containment != Containment.CONTAINED.value:
        found.append("not_contained")
    if drill.slowest_ms is None or not 0 <= drill.slowest_ms <= CEILING_S * 1_000:
        found.append("worker_too_slow")
    return tuple(found)
