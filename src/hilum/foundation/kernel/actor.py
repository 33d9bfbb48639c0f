"""The actor: on whose behalf a verb runs."""

from dataclasses import dataclass, field
from enum import StrEnum

from hilum.foundation.kernel.errors import Readers, not_shown
from hilum.foundation.kernel.ids import TenantId, VendorId


class ActorKind(StrEnum):
    PERSON = "person"
    """A signed-in person of a tenant."""
    MEMBER = "member"
    """A member of a vendor. Never staff, and of no tenant."""
    STAFF = "staff"
    """A member of the platform's staff."""
    CLIENT = "client"
    """An OAuth client: an app, an EHR, a resource server."""
    HOST = "host"
    """A user of the machine's shell, as ``host:<user>``; never counts as a second person."""
    SYSTEM = "system"
    """The platform itself: a scheduled job, start-up."""
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf a verb runs. ``tenant`` is None for actors of the platform and for members of a vendor, who have ``vendor``."""

    kind: ActorKind
    id: str
    tenant: TenantId | None = None
    roles: frozenset[str] = field(default_factory=frozenset)
    vendor: VendorId | None = None
    unconfirmed: bool = False
    """Whether the actor has, or must have, a second factor that was not entered recently: acts that widen access are refused."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @property
    def is_platform(self) -> bool:
        """Whether the actor is staff, host or system, which act across tenants as their roles permit."""
        return self.kind in {ActorKind.STAFF, ActorKind.HOST, ActorKind.SYSTEM}

    @property
    def acts_alone(self) -> bool:
        """Whether no second person is needed: host and system, at set-up and recovery. Neither ever counts as one of two people."""
        return self.kind in {ActorKind.HOST, ActorKind.SYSTEM}


ANONYMOUS = Actor(ActorKind.ANONYMOUS, "anonymous")
SYSTEM = Actor(ActorKind.SYSTEM, "system", roles=frozenset({"platform_admin"}))


def require_platform(actor: Actor) -> None:
    """Check that an actor acts for the platform and may therefore read across tenants. Raises NotPermitted."""
    if not actor.is_platform:
        raise not_shown("this", Readers.STAFF)
