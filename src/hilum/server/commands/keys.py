"""``hilum keys``: the platform's own signing keys, on this host."""

from typing import Any

import click

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import TenantId
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.keys.models import KEY_OVERLAP, OF_TENANTS, Purpose
from hilum.server.commands import host, preflight
from hilum.surfaces.cli.resources import json_option, show_one

KEPT = {
    Purpose.ID_TOKEN: f"The previous key stays in the key set for {KEY_OVERLAP.total_seconds() / 3600:.0f} hours.",
    Purpose.UPSTREAM: f"The previous key stays in the key set for {KEY_OVERLAP.total_seconds() / 3600:.0f} hours. A FHIR server that was given the keys themselves needs the new one.",
    Purpose.CHECKPOINT: "The public half of the previous key is kept, to verify the checkpoints that it signed.",
    Purpose.POLICY: "The public half of the previous key is kept, to verify the policies that it signed.",
    Purpose.CERTIFICATE: "The previous key stays in the published set for ever, to verify the certificates that it signed.",
    Purpose.EVIDENCE: "The public half of the previous key is kept, to verify the certification runs that it signed.",
}


@click.group()
def keys() -> None:
    r"""Rotate the keys that this platform signs with.

    \b
    Examples:
      hilum keys rotate id_token --tenant lakeside
      hilum keys rotate checkpoint
    """


@keys.command("rotate")
@click.argument("purpose", metavar="PURPOSE", type=click.Choice([each.value for each in Purpose]))
@click.option("--tenant", default="", help="The tenant of the key, for id_token and upstream.")
@json_option
def rotate(purpose: str, *, tenant: str, json_: bool) -> None:
    r"""Sign with a new key from now on. The previous key signs no more; what it signed stays verifiable.

    id_token and upstream are keys of one tenant (the latter for its FHIR server), checkpoint that of the audit record, policy that of the policy,
    certificate that of certificates, evidence that of certification runs. The platform may serve meanwhile: every node signs with
    the new key at once. HILUM_SECRET_KEY is a different key and does not change.

    \b
    Examples:
      hilum keys rotate id_token --tenant lakeside
      hilum keys rotate checkpoint --json
    """
    wanted = Purpose(purpose)
    # The new key is sealed under this process's HILUM_SECRET_KEY: if it is not the nodes', no node could open the new key.
    host.read(preflight.require_readable)
    made = host.write(lambda ctx: _rotate(ctx, wanted, tenant))
    show_one(made | {"before": KEPT[wanted]}, json_=json_)


def _rotate(ctx: Context, purpose: Purpose, tenant: str) -> dict[str, Any]:
    """Rotate a key ring and record it. Raises Invalid, NotFound (no such tenant), NotPermitted (too many keys in use), Conflict."""
    from hilum.identity.people import service as identity
    from hilum.records.keys import service

    # A tenant named for the audit's key, or none for an id_token's, would rotate a ring that nobody uses.
    if (purpose in OF_TENANTS) != bool(tenant):
        fault = (
            "Each tenant has a key of its own for this: set --tenant."
            if purpose in OF_TENANTS
            else "The record has one key for the whole platform: leave --tenant out."
        )
        raise Invalid("tenant_invalid", fault)
    if tenant:
        identity.get_tenant(ctx, TenantId(tenant))
    # Recorded in the transaction of the rotation: which key signed what, and since when, is evidence.
    key = service.rotate(ctx, purpose, tenant)
    audit.record(
        ctx, Event("keys.ring.rotate", tenant=tenant, facts={"purpose": purpose.value, "key": key.kid})
    )
    return {"purpose": purpose.value, "tenant": tenant, "key": key.kid, "algorithm": key.algorithm}
