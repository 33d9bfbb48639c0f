"""Snapshots and what they are made of."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.foundation.kernel.ids import ClientId, TenantId, VendorId

PLACES = 3
"""How many snapshots a vendor may have."""
SNAPSHOTS_BOUND = 60
"""How many snapshots a platform may have: each is a file of records."""
APPS_BOUND = 100
"""The most apps of the vendor in a snapshot."""
NAME_BOUND = 40
UNUSED_BATCH = 20
CLAIMED_FOR = timedelta(minutes=5)
"""How long a place stays reserved while a snapshot is made in it; then it is free again."""


class State(StrEnum):
    MAKING = "making"
    """Its place is taken, but it has no content: it is being made, or that was interrupted."""
    READY = "ready"
    RESETTING = "resetting"
    """Closed: a reset is running, or was interrupted."""
    REMOVED = "removed"
    """Closed and empty. The vendor's next snapshot takes its place and its address."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A vendor's own hospital.

    ``slot``: its place. ``client``: its EHR; empty until it was first made. ``claim``: the operation that makes or resets it now; one
    with another claim has lost the place to a colleague.
    """

    id: TenantId
    vendor: VendorId
    slot: int
    name: str
    template: str
    client: ClientId
    state: State
    made_by: str
    made_at: datetime
    reset_at: datetime
    used_at: datetime
    claim: str = ""

    @property
    def is_there(self) -> bool:
        """Return whether its vendor can find it."""
        return self.state in {State.READY, State.RESETTING}


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    name: str
    template: str


@dataclass(frozen=True, slots=True)
class CastMember:
    """A member of staff or a patient of the template's hospital."""

    username: str
    name: str
    role: str
    fhir_user: str
    patients: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A hospital from which snapshots are made. ``origin``: that of the EHR that may frame its pages."""

    name: str
    cast: tuple[CastMember, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class SnapshotApp:
    """An app of the vendor as the simulator lists it, by its client."""

    client: str
    name: str
    description: str


@dataclass(frozen=True, slots=True)
class Card:
    """The credentials of a snapshot, for its vendor's members and the simulator; new with each reset.

    ``door`` lets a browser into the simulator; ``password`` is that of its people.
    """

    tenant: TenantId
    vendor: VendorId
    name: str
    template: str
    password: str
    door: str
    client_id: str
    client_secret: str
    apps: tuple[SnapshotApp, ...]


@dataclass(frozen=True, slots=True)
class Furnisher:
    """The records of snapshots, on the machine that has the sandbox's.

    ``fill`` replaces all records of a hospital by those of a template, ``clear`` removes them with the card; every process sees both at once.
    Only one of them runs for a hospital at a time. Their last argument is called before they begin; if it returns False they do nothing and
    return False. ``keep`` stores a card before the commit that makes it true.
    """

    templates: Callable[[], Mapping[str, Template]]
    fill: Callable[[TenantId, str, Callable[[], bool]], bool]
    clear: Callable[[TenantId, Callable[[], bool]], bool]
    keep: Callable[[Card], None]
    find: Callable[[TenantId], Card | None]
    kept: Callable[[], Collection[TenantId]]
    """The hospitals that have a card or records."""
    address: Callable[[Card], str]
    """The simulator's address for holders of the card."""
    count_changed: Callable[[TenantId, str, datetime], int | None] = lambda *_: None
    """How many records of a snapshot differ from its template since a reset; None if that cannot be read."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A snapshot with its card, and where its people, patients and endpoints are."""

    snapshot: Snapshot
    card: Card
    people: tuple[CastMember, ...]
    simulator: str
