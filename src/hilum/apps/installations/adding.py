"""Add an installation with the record of its approval."""

from typing import Any

from hilum.apps.installations import store
from hilum.apps.installations.models import ApprovalRecord, Installation, InstallOrder
from hilum.apps.registry.models import Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

_INSTALLED = (
    "The app is installed here already. Narrow it; to give it more, remove it first and install it again."
)


def audited(made: Installation) -> dict[str, Any]:
    """Return the facts of an installation for the audit; what limits nothing is left out."""
    facts: dict[str, Any] = {
        "installation": made.id,
        "scopes": list(made.scopes),
        "roles": sorted(made.roles),
    }
    if made.default_workflow:
        facts["default_workflow"] = made.default_workflow
    if made.networks:
        facts["networks"] = list(made.networks)
    if made.facilities is not None:
        facts["facilities"] = sorted(made.facilities)
    if made.denied:
        facts["denied"] = sorted(made.denied)
    return facts


def add(
    ctx: Context,
    order: InstallOrder,
    scopes: tuple[str, ...],
    environment: Environment,
    *,
    asked: tuple[str, ...],
    without: tuple[str, ...] = (),
) -> Installation:
    """Add an installation whose order was validated. Raises Conflict if the app is already installed at the tenant."""
    installation = Installation(
        id=ctx.ids.new("ins"),
        tenant=order.tenant,
        app=order.app,
        scopes=scopes,
        roles=order.roles,
        approved_by=str(ctx.actor),
        approved_at=ctx.now,
        expires_at=order.expires_at,
        environment=environment,
        facilities=order.facilities,
        denied=order.denied,
        default_workflow=order.default_workflow,
        networks=order.networks,
        record=ApprovalRecord(
            asked,
            scopes,
            tuple(sorted(order.roles)),
            None if order.facilities is None else tuple(sorted(order.facilities)),
            tuple(sorted(order.denied)),
            order.expires_at,
            without,
        ),
        validated_at=ctx.now,
        validated_by=str(ctx.actor),
    )
    if not store.INSTALLATIONS.add_new(ctx.tx, installation):
        raise Conflict("already_installed", _INSTALLED)
    facts = audited(installation) | ({"without": list(without)} if without else {})
    audit.record(ctx, Event("registry.installation.add", tenant=order.tenant, app=order.app, facts=facts))
    return installation
