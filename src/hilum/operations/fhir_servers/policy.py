"""Who may see and check a FHIR server, and what a check changes. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from hashlib import sha256

from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import TenantId
from hilum.gateway.upstream.models import CheckLine, CheckOutcome
from hilum.identity.people.models import UpstreamRef
from hilum.operations.fhir_servers.models import FhirServer, ServerState

_STATES = {CheckOutcome.FAILS: ServerState.FAILS, CheckOutcome.LIMITED: ServerState.LIMITED}
"""The worst first."""


def may_see(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may see how a hospital's FHIR server works: staff and the hospital's administrators."""
    return actor.is_platform or administers(actor, tenant)


def settings_of(upstream: UpstreamRef) -> str:
    """Return a digest of the settings of a FHIR server, by which a change of them is seen."""
    return sha256(repr(sorted(asdict(upstream).items())).encode()).hexdigest()[:16]


def is_waiting(server: FhirServer) -> bool:
    """Check whether a check was asked for that has not ended."""
    return server.checked_at is None or server.checked_at < server.asked_at


def checked(server: FhirServer, lines: Sequence[CheckLine], settings: str, now: datetime) -> FhirServer:
    """Return a server with what a check found."""
    found = {each.outcome for each in lines}
    state = next((state for outcome, state in _STATES.items() if outcome in found), ServerState.WORKS)
    since = (server.failing_since or now) if state is ServerState.FAILS else None
    return replace(
        server, state=state, settings=settings, checked_at=now, failing_since=since, lines=tuple(lines)
    )


def begins_to_fail(before: FhirServer, after: FhirServer) -> bool:
    """Check whether somebody is told: it fails now, and did not before."""
    return after.failing_since is not None and before.failing_since is None


def summary(server: FhirServer, _now: datetime) -> str:
    """Return in a sentence what was found."""
    if server.checked_at is None:
        return "Not checked yet"
    failing = [each.name for each in server.lines if each.outcome is CheckOutcome.FAILS]
    if failing:
        return f"Fails: {', '.join(failing)}"
    limited = sum(each.outcome is CheckOutcome.LIMITED for each in server.lines)
    return f"{limited} of {len(server.lines)} parts limited" if limited else "Everything works"
