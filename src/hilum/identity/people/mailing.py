"""Mail the people of a tenant or vendor."""

from collections.abc import Collection, Iterable, Mapping

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.identity.people import store
from hilum.identity.people.models import RECIPIENTS_BOUND, Role
from hilum.records.notices import service as notices
from hilum.records.notices.models import Mail, MailKind


def list_recipients(
    ctx: Context, place: TenantId | None, roles: Collection[str]
) -> list[tuple[PersonId, str]]:
    """List active people of a tenant or vendor (None: staff) with one of some roles, and their mail addresses; at most RECIPIENTS_BOUND."""
    return store.list_recipients(ctx.tx, place, roles, RECIPIENTS_BOUND)


def mail_administrators(
    ctx: Context,
    tenant: TenantId,
    template: MailKind,
    cause: str,
    facts: Mapping[str, str],
    *,
    vendor: str = "",
    app: str = "",
    also: Iterable[str] = (),
) -> int:
    """Mail the administrators of a hospital who have an address, with times in its zone; return how many mails were queued.

    ``also``: other addresses to mail. ``vendor``: its members may read which mails were sent, and to whom.
    """
    zone = zone_of(ctx, tenant)
    addresses = dict.fromkeys([*(to for _, to in list_recipients(ctx, tenant, {Role.ADMINISTRATOR})), *also])
    orders = [Mail(template, to, cause, facts, vendor, app, zone=zone) for to in addresses]
    return sum(notices.put_mail(ctx, order) is not None for order in orders)


def zone_of(ctx: Context, place: TenantId | None) -> str:
    """Return the time zone of a hospital; empty for UTC, for vendors and for the platform."""
    tenant = store.TENANTS.find(ctx.tx, id=place) if place else None
    return tenant.time_zone if tenant is not None else ""
