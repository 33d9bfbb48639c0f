"""List the tenants that every vendor may use, and the sandboxes of one vendor (ADR 48)."""

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import VendorId
from hilum.identity.people import store
from hilum.identity.people.models import Tenant
from hilum.identity.people.policy import is_open_to


def list_shared(ctx: Context) -> list[Tenant]:
    """List the tenants that no vendor owns and that have not left, by id, without a permission check."""
    return [each for each in store.list_tenants(ctx.tx) if each.left_at is None and each.vendor is None]


def list_sandboxes(ctx: Context, vendor: VendorId) -> list[Tenant]:
    """List the active sandboxes that a vendor may use, its own last."""
    sandboxes = [each for each in store.list_tenants(ctx.tx) if each.active and each.sandbox]
    return sorted(
        (each for each in sandboxes if is_open_to(each, vendor)), key=lambda each: each.vendor is None
    )
