"""Checks before a node serves: the schema, the key, the tenants and the other nodes. Each refusal is one sentence."""

import time
from datetime import datetime

from sqlalchemy import Connection

from hilum.foundation.infra import logs, nodes, schema_gate
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.nodes import LIVE_FOR, Node
from hilum.foundation.infra.schema_gate import Gate, SchemaState
from hilum.foundation.infra.settings import Settings
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict, HilumError, Invalid, NotPermitted
from hilum.foundation.kernel.lists import listed
from hilum.identity.federation import service as federation
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant, UpstreamKind
from hilum.policy.matrix import service as policies
from hilum.records.keys import service as keys
from hilum.records.keys.live import vault
from hilum.records.keys.models import OF_TENANTS, Purpose
from hilum.server import anchoring
from hilum.server.bootstrap import node_of
from hilum.server.commands import host
from hilum.surfaces.cli.output import refuse

LISTED_BOUND = 5
"""How many of the items that a key does not open are listed."""
LOOK_EVERY_S = 0.5
KEY_ADVICE = "set the key that this data was sealed with; a restored backup needs the key of its time"
_log = logs.get("policies")
_GATE_CODES = {SchemaState.CLOSED: "database_newer"}


def require_fit(found: Settings) -> None:
    """Check that this node can serve, and add it to the list of nodes. Exits 1 with the reason if it cannot."""
    uow = host.open_uow(found)
    try:
        _require_fit(uow, found)
    except HilumError as error:
        refuse(error)
    finally:
        uow.close()


def _require_fit(uow: UnitOfWork, found: Settings) -> None:
    actor, trace = host.actor(), Trace(uow.ids.new("req"), source="host")
    # The schema comes first, because every later check reads tables. The node is added to the list last, when
    # only other nodes can still refuse it.
    uow.read_now(lambda ctx: _require_data(ctx, found), actor=actor, trace=trace)
    require_unpublished(uow, found)
    uow.write_now(store_key_check, actor=actor, trace=trace)
    # Read after the write: of two nodes that start on an empty
    # database with different keys, one finds the other's value.
    uow.read_now(_require_key, actor=actor, trace=trace)
    _adopt_policy(uow, actor, trace)
    _report_anchor(uow, found, actor, trace)
    me = node_of(found, uow.ids)
    uow.write_now(lambda ctx: nodes.report(ctx.tx, me), actor=actor, trace=trace)
    if embedded := uow.read_now(embedded_tenants, actor=actor, trace=trace):
        _require_alone(uow.db, me, embedded)


def _adopt_policy(uow: UnitOfWork, actor: Actor, trace: Trace) -> None:
    """Put the shipped policy in force, unless one is, or another node does so at this moment."""
    try:
        uow.write_now(policies.adopt_shipped, actor=actor, trace=trace)
    except Conflict:
        uow.write_now(policies.adopt_shipped, actor=actor, trace=trace)
    # The node starts nevertheless: it refuses what the policy decides, and only over its API can the policy be fixed.
    for fault in uow.read_now(policies.verify, actor=actor, trace=trace).faults:
        _log.error("policies.book.faulty", fault=fault)


def _report_anchor(uow: UnitOfWork, found: Settings, actor: Actor, trace: Trace) -> None:
    """Log where the policy differs from what this node's anchor has of it."""
    heads = anchoring.read(found)
    for fault in uow.read_now(lambda ctx: anchoring.faults(ctx, heads), actor=actor, trace=trace)[
        :LISTED_BOUND
    ]:
        _log.error("policies.anchor.faulty", fault=fault)


def require_unpublished(uow: UnitOfWork, found: Settings) -> None:
    """Raise NotPermitted if a sandbox is open to strangers while published passwords still work."""
    # A seeded sandbox that is opened to the internet later
    # keeps its published passwords (security decision 28).
    if found.is_sandbox and found.sandbox_public:
        from hilum.server import seed

        trace = Trace(uow.ids.new("req"), source="host")
        seed.require_unpublished(uow.read_now(lambda ctx: seed.stored_digests(ctx, found), trace=trace))


def require_schema(found: Gate) -> None:
    """Raise NotPermitted if this release does not work with the database."""
    if not found.opens:
        raise NotPermitted(_GATE_CODES.get(found.state, "migrations_missing"), found.fault)


def require_schema_of(ctx: Context) -> None:
    """Raise NotPermitted if this release does not work with the present database."""
    from hilum.foundation.infra.migrations.run import release

    require_schema(schema_gate.read(ctx.tx, release()))


def require_readable(ctx: Context) -> None:
    """Raise NotPermitted if this release does not work with the database, or the key is not the one that it was set up with."""
    require_schema_of(ctx)
    if fault := key_fault(ctx):
        raise NotPermitted("secret_key_wrong", f"{fault}.")


def sandbox_tenants(ctx: Context) -> list[str]:
    """List the ids of synthetic hospitals."""
    return [each.id for each in identity.list_tenants(ctx) if each.sandbox]


def embedded_tenants(ctx: Context) -> list[str]:
    """List the ids of active tenants whose FHIR server lives in a node's data directory."""
    return [
        each.id
        for each in identity.list_tenants(ctx)
        if each.active and each.upstream.kind is UpstreamKind.EMBEDDED
    ]


def key_fault(ctx: Context) -> str:
    """Return what this process's key does not open: the check value, signing keys, credentials of FHIR servers; empty if it opens all."""
    tenants = identity.list_tenants(ctx)
    # Every kind of sealed value is tried, since a database
    # may hold values from before the check value existed.
    rings = [
        (Purpose.CHECKPOINT, "", "the audit"),
        (Purpose.POLICY, "", "the policy"),
        (Purpose.CERTIFICATE, "", "certificates"),
        (Purpose.EVIDENCE, "", "certification runs"),
        *((purpose, each.id, each.id) for each in tenants for purpose in OF_TENANTS),
    ]
    shut = [
        f"the signing key of {owner}" for purpose, ring, owner in rings if not keys.opens(ctx, purpose, ring)
    ]
    shut += [
        f"the FHIR server's credentials of {each.id}" for each in tenants if not _opens_credentials(each)
    ]
    shut += [f"the identity provider's secret of {tenant}" for tenant in federation.unopened(ctx)]
    # None: the database has no check value yet.
    if keys.is_same_key(ctx) is False and not shut:
        shut = ["the value that was sealed when this database was set up"]
    if not shut:
        return ""
    return f"HILUM_SECRET_KEY does not open {listed(shut, LISTED_BOUND)}: {KEY_ADVICE}"


def store_key_check(ctx: Context) -> None:
    """Record the key's check value in a database without one. Raises NotPermitted if the key does not open what is sealed there."""
    if keys.is_same_key(ctx):
        return
    # Before the first value is stored, it must open what is there:
    # a wrong key would otherwise become the database's own.
    if fault := key_fault(ctx):
        raise NotPermitted("secret_key_wrong", f"{fault}.")
    keys.store_key_check(ctx)


def _require_key(ctx: Context) -> None:
    """Check the key's value again: another node may have recorded its own first. Raises NotPermitted."""
    if not keys.is_same_key(ctx):
        raise NotPermitted("secret_key_wrong", f"This database was set up with another key: {KEY_ADVICE}.")


def _require_data(ctx: Context, found: Settings) -> None:
    require_schema_of(ctx)
    if not found.is_sandbox and (synthetic := sandbox_tenants(ctx)):
        raise NotPermitted(
            "sandbox_tenants", f"Production does not serve synthetic hospitals: {', '.join(synthetic)}."
        )


def _require_alone(database: Database, me: Node, embedded: list[str]) -> None:
    """Raise NotPermitted if another node serves too, since the data of embedded tenants is in one node's directory.

    A listed node that does not report again has ended; this waits until its entry expires.
    """
    begun = time.monotonic()
    first: dict[str, datetime] = {}
    while others := database.read(lambda tx: _others(tx, me)):
        # An entry whose time moves is alive. One whose time does
        # not move belongs to a node that was killed, and expires.
        reported = [each.name for each in others if each.seen_at > first.setdefault(each.name, each.seen_at)]
        if reported or time.monotonic() - begun > 2 * LIVE_FOR.total_seconds():
            # Our own entry is removed, or the other node would refuse to start again because of it.
            database.write(lambda tx: nodes.leave(tx, me.name, me.boot))
            raise NotPermitted(
                "embedded_needs_one_node",
                f"The FHIR data of {listed(embedded, LISTED_BOUND)} is in the data directory of one node, and "
                f"{', '.join(reported)} serves this database already. Serve it from that node alone, or connect these "
                "tenants to a FHIR server over HTTP first.",
            )
        time.sleep(LOOK_EVERY_S)


def _others(tx: Connection, me: Node) -> list[Node]:
    return [each for each in nodes.list_nodes(tx) if each.live and each.name != me.name]


def _opens_credentials(tenant: Tenant) -> bool:
    from hilum.gateway.upstream.access import open_secrets

    try:
        open_secrets(vault(), tenant.upstream)
    except Invalid:
        return False
    return True
