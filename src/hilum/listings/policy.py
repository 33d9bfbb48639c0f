"""Who publishes, and what hospitals see. Pure."""

from hilum.certificates.models import Certificate, Status
from hilum.identity.models import StaffRole, VendorRight
from hilum.identity.policy import may_as_member
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.ids import VendorId
from hilum.listings.models import Listed


def may_publish(actor: Actor) -> bool:
    """Check whether an actor may publish apps: platform administrators, who certify nothing."""
    return actor.kind is ActorKind.STAFF and StaffRole.PLATFORM_ADMIN in actor.roles


def may_unpublish(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may end a listing: who publishes, security, and its vendor's owners and developers."""
    if actor.kind is ActorKind.STAFF and StaffRole.SECURITY in actor.roles:
        return True
    return may_publish(actor) or may_as_member(actor, vendor, VendorRight.APPS)


def is_valid(certificate: Certificate | None) -> bool:
    return certificate is not None and certificate.status is Status.VALID


def is_visible(found: Listed) -> bool:
    """Check whether hospitals see a listing."""
    return found.listing.published and not found.listing.hidden and is_valid(found.certificate)
