"""Events of the control plane: what was done or refused. Whoever did it builds the event, and the audit records it."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    DONE = "done"
    REFUSED = "refused"
    INTENDED = "intended"
    """A write is about to be sent to a FHIR server."""
    NOT_DONE = "not_done"
    """A write that was sent, and is proven not to have been carried out."""
    UNKNOWN = "unknown"
    """A write that was sent, and may or may not have been carried out."""


# Not frozen, since each token has one and a frozen dataclass costs five times as much to build.
@dataclass(slots=True)
class Event:
    """A control-plane event. ``action`` is ``module.noun.verb`` and has its page in docs/reference.

    ``facts`` are chained by digest and may be purged by class; they hold ids, never secrets. ``patient`` is PHI
    and is stored in the payload too.
    """

    action: str
    outcome: Outcome = Outcome.DONE
    tenant: str = ""
    app: str = ""
    client: str = ""
    person: str = ""
    launch: str = ""
    authorization: str = ""
    reason: str = ""
    patient: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
