"""The checks of ``hilum doctor`` on a platform that is set up: nodes, leases, clocks, the audit record, the disk."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from hilum.foundation.infra import nodes
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.database_clock import measure_skew
from hilum.foundation.infra.database_faults import DatabaseUnavailable, fault_of
from hilum.foundation.infra.nodes import Node
from hilum.foundation.infra.settings import Settings
from hilum.foundation.infra.system import SystemClock
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.lists import counted, listed
from hilum.foundation.kernel.times import EPOCH
from hilum.policy.matrix import service as policies
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.records.audit.journal_records import AccessReader
from hilum.records.audit.models import AccessQuery, Anchored, AnchoredHead
from hilum.records.notices import service as notices
from hilum.records.notices.models import Channel
from hilum.server import anchoring
from hilum.server.commands import preflight

SKEW_BOUND = timedelta(seconds=2)
# Checkpoints follow within about a second; a minute means that nobody makes them.
CHECKPOINT_BOUND = timedelta(seconds=60)
"""How much younger the newest record may be than the newest checkpoint."""
LEASE_BOUND = timedelta(minutes=2)
NOTICE_BOUND = timedelta(minutes=15)
"""How long mail may wait before that is a fault."""
FREE_BOUND = 1024**3
LISTED_BOUND = 5
ANCHOR_ADVICE = (
    "After a failover or a restore, these are changes that it lost: make them again, run `hilum switch confirm-failover`, and move the anchor "
    "aside. Otherwise, the newest records were deleted from the database."
)
ROUND_TRIP_BOUND = timedelta(milliseconds=5)
"""The longest round trip to the database that is supported: engaging a switch takes several of them."""
WORKER_CONNECTIONS, NODE_CONNECTIONS = 49, 16
"""The most connections that a worker opens, and beside its workers a node: its jobs process and one host command."""
SEND_MAIL = "send_mail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``next``: what to do about a fault; if there is none, what was found."""

    check: str
    ok: bool
    next: str = ""


def platform_findings(
    ctx: Context, found: Settings, anchored: Sequence[AnchoredHead], ends: Sequence[Anchored]
) -> list[Finding]:
    """Check nodes, leases, embedded tenants and the audit record, in one transaction."""
    # One transaction, so that nodes, leases and records are of one moment.
    there = nodes.list_nodes(ctx.tx)
    live = [each for each in there if each.live]
    reader = journals.open_reader(found.journal_dir, found.database_url)
    return [
        *_nodes(live),
        *_connections(ctx, live, found),
        _leases(ctx, live, sends_mail=bool(found.smtp.host)),
        _embedded(ctx, live),
        *_notices(ctx, found),
        *_record(ctx, reader, live),
        _policy(ctx),
        _anchor(ctx, anchored, ends),
    ]


def reason_of(error: HilumError) -> str:
    """Return what failed, with the class of the database's fault and what to do about it."""
    fault = error.fault if isinstance(error, DatabaseUnavailable) else fault_of(error.__cause__)
    return error.detail if fault is None else f"{fault.what} {fault.next}"


def machine_findings(found: Settings) -> Iterator[Finding]:
    """Check this machine's clock and disk."""
    skew = measure_skew(found.database_url, SystemClock())
    if skew is not None:
        ahead = skew.ahead.total_seconds()
        seen = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the database's"
        # Measured over the network: half of the round trip is uncertain and must not raise an alarm.
        ok = abs(skew.ahead) <= SKEW_BOUND + skew.uncertainty
        yield Finding("clock", ok=ok, next=seen if ok else f"{seen}: set this machine's clock by NTP")
        trip = 2 * skew.uncertainty
        ok = trip <= ROUND_TRIP_BOUND
        seen = f"{trip / timedelta(milliseconds=1):.1f} ms"
        advice = f"{seen}; more than {ROUND_TRIP_BOUND / timedelta(milliseconds=1):.0f} is not supported: switches take long to engage. Place this node nearer to the database"
        yield Finding("round trip to the database", ok=ok, next=seen if ok else advice)
    if found.data_dir.is_dir():
        free = shutil.disk_usage(found.data_dir).free
        ok = free >= FREE_BOUND
        seen = f"{free / 1e9:.1f} GB free in {found.data_dir}"
        yield Finding(
            "disk",
            ok=ok,
            next=seen if ok else f"{seen}: free some space; every request is refused once it is full",
        )


def _nodes(live: list[Node]) -> Iterator[Finding]:
    workers = sum(each.workers for each in live)
    seen = ", ".join(f"{each.name} ({counted(each.workers, 'worker')})" for each in live) or "none serves now"
    shares = f"; each worker has 1/{workers} of a quota" if workers > 1 else ""
    yield Finding("nodes", ok=True, next=seen + shares)
    # A node whose release is older than the schema gate reports itself, but serves nobody.
    closed = [f"{each.name} ({each.release})" for each in live if each.closed]
    advice = (
        f"install a newer release on {', '.join(closed)}: their release no longer works with the database"
    )
    yield Finding("releases", ok=not closed, next=advice if closed else "")
    apart = [
        f"{each.name} by {each.skew.total_seconds():+.1f} s" for each in live if abs(each.skew) > SKEW_BOUND
    ]
    advice = f"set the clocks by NTP of {', '.join(apart)}"
    yield Finding("clocks of the nodes", ok=not apart, next=advice if apart else "")


def _connections(ctx: Context, live: list[Node], found: Settings) -> Iterator[Finding]:
    """Check that PostgreSQL lets the live nodes, or else this one, open all the connections that they may need."""
    if found.sqlite_file is not None:
        return
    most = int(ctx.tx.exec_driver_sql("SHOW max_connections").scalar_one())
    workers = [node.workers for node in live] or [found.workers]
    needed = sum(WORKER_CONNECTIONS * count + NODE_CONNECTIONS for count in workers)
    seen = f"{counted(len(workers), 'node')} may need {needed}, and the server's max_connections is {most}"
    yield Finding("connections", ok=needed <= most, next=seen if needed <= most else f"{seen}: raise it")


def _leases(ctx: Context, live: list[Node], *, sends_mail: bool) -> Finding:
    """Check that every job runs on some node, if any node serves."""
    now = nodes.database_now(ctx.tx)
    idle = [
        f"{lease.name} since {'it was released' if lease.expires_at == EPOCH else lease.expires_at.isoformat(timespec='seconds')}"
        for lease in nodes.list_leases(ctx.tx)
        # A lease that has just expired is taken over within seconds. Without a mail server nobody sends mail.
        if now - lease.expires_at > LEASE_BOUND and (sends_mail or lease.name != SEND_MAIL)
    ]
    if live and idle:
        advice = f"no node runs {', '.join(idle)}: look at the log of the jobs process of each node"
        return Finding("jobs", ok=False, next=advice)
    held = {each.name: each.holder.rpartition("/")[0] for each in nodes.list_leases(ctx.tx)}
    return Finding(
        "jobs", ok=True, next=", ".join(f"{job} on {node}" for job, node in held.items()) if live else ""
    )


def _embedded(ctx: Context, live: list[Node]) -> Finding:
    embedded = preflight.embedded_tenants(ctx)
    # An embedded FHIR server is one file on one node: a second node would answer from an empty one.
    if len(live) < 2 or not embedded:
        return Finding("embedded FHIR servers", ok=True)
    advice = (
        f"the data of {listed(embedded, LISTED_BOUND)} is on one node, but {len(live)} nodes serve, so their requests get 503: "
        "serve from one node, or connect these tenants to a FHIR server over HTTP"
    )
    return Finding("embedded FHIR servers", ok=False, next=advice)


def _policy(ctx: Context) -> Finding:
    """Check the policy: versions and applications against signatures and the audit trail. What is only unsound today is no fault."""
    verified = policies.verify(ctx)
    if verified.faults:
        return Finding("policy", ok=False, next=" ".join(dict.fromkeys(verified.faults)))
    # Before the first start there is none.
    seen = f"version {verified.everywhere}, application {verified.last}" if verified.last else "none yet"
    return Finding("policy", ok=True, next="; ".join((seen, *verified.warnings)))


def _anchor(ctx: Context, anchored: Sequence[AnchoredHead], ends: Sequence[Anchored]) -> Finding:
    """Compare the last checkpoints and the policy with what was anchored outside the database."""
    faults = [*audit.anchor_faults(ctx, ends), *anchoring.faults(ctx, anchored)]
    advice = " ".join((*faults[:LISTED_BOUND], ANCHOR_ADVICE)) if faults else ""
    return Finding("anchor", ok=not faults, next=advice)


def _notices(ctx: Context, found: Settings) -> Iterator[Finding]:
    """Check that mail and webhooks leave, and list what a person must look at."""
    for each in notices.summary(ctx):
        seen = f"{each.open} waiting, {each.unknown} unknown, {each.dead} dead"
        late = each.oldest is not None and ctx.now - each.oldest > NOTICE_BOUND
        is_mail, fault, hint = each.channel is Channel.MAIL, "", ""
        if is_mail and each.open and not found.smtp.host:
            fault = "no mail server is set: set HILUM_SMTP_HOST and HILUM_SMTP_FROM"
        elif is_mail and late:
            why = f" ({each.reason})" if each.reason else ""
            fault = f"the oldest waits since {each.oldest:%Y-%m-%d %H:%M} UTC{why}: look at the mail server"
        # Neither is a fault of this node: a person looks at what became of them.
        if each.unknown or each.dead:
            state = "unknown" if each.unknown else "dead"
            hint = f"look at `hilum notices list --channel {each.channel} --state {state}`"
        texts = (seen, fault, hint)
        yield Finding(f"{each.channel} leaves", ok=not fault, next="; ".join(filter(None, texts)))


def _record(ctx: Context, reader: AccessReader, live: list[Node]) -> Iterator[Finding]:
    """Check that the journal can be read, and that checkpoints cover its records."""
    try:
        newest = reader.newest(AccessQuery(limit=1))
    # An unreadable journal is a finding. The other checks must still run.
    except HilumError as error:
        yield Finding("journal", ok=False, next=f"it cannot be read. {reason_of(error)}")
        return
    yield Finding("journal", ok=True)
    last = audit.newest_checkpoint(ctx)
    covered = last.at if last else None
    behind = bool(newest) and (covered is None or newest[0].at - covered > CHECKPOINT_BOUND)
    age = nodes.database_now(ctx.tx) - newest[0].at if newest else timedelta(0)
    # Without a live node nobody makes checkpoints, and that is no fault.
    if behind and live and age > CHECKPOINT_BOUND:
        since = f"since {covered.isoformat(timespec='seconds')}" if covered else "yet"
        advice = f"no checkpoint was made {since}: look at the log of the jobs process, and at the directory of the anchor"
        yield Finding("checkpoints", ok=False, next=advice)
    else:
        yield Finding("checkpoints", ok=True, next=f"the newest is {last.number}" if last else "")
