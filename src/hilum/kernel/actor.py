"""Who does this, now."""

from dataclasses import dataclass, field
from enum import StrEnum

from hilum.kernel.ids import TenantId


class ActorKind(StrEnum):
    PERSON = "person"
    """Somebody of a tenant, signed in."""
    STAFF = "staff"
    """Somebody of the platform's own staff."""
    CLIENT = "client"
    """An OAuth client: an app, an EHR, a resource server."""
    HOST = "host"
    """Whoever has the machine's shell; named ``host:<user>``, never a second person."""
    SYSTEM = "system"
    """The platform by itself: a schedule, a start-up plan."""
    ANONYMOUS = "anonymous"


@dataclass(frozen=True, slots=True)
class Actor:
    """The one on whose behalf a verb runs. ``tenant`` is None for those who belong to the platform."""

    kind: ActorKind
    id: str
    tenant: TenantId | None = None
    roles: frozenset[str] = field(default_factory=frozenset)

    def __str__(self) -> str:
        return f"{self.kind}:{self.id}"

    @property
    def is_platform(self) -> bool:
        """Staff, host or system: acts over tenants. What exactly it may do, its roles say."""
        return self.kind in {ActorKind.STAFF, ActorKind.HOST, ActorKind.SYSTEM}

    @property
    def acts_alone(self) -> bool:
        """Host or system: at set-up and in recovery no second person is asked for. Neither is ever one of two people."""
        return self.kind in {ActorKind.HOST, ActorKind.SYSTEM}


ANONYMOUS = Actor(ActorKind.ANONYMOUS, "anonymous")
SYSTEM = Actor(ActorKind.SYSTEM, "system", roles=frozenset({"platform_admin"}))
