"""``hilum doctor``: checks everything that a node needs, and says what to do about each fault."""

import sys
from collections.abc import Iterator
from dataclasses import asdict

import click

from hilum.foundation.infra import schema_gate
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.errors import HilumError
from hilum.identity.people import service as identity
from hilum.server import anchoring
from hilum.server.commands import host, preflight
from hilum.server.commands.fhir_servers import fhir_server_findings
from hilum.server.commands.findings import Finding, machine_findings, platform_findings, reason_of
from hilum.surfaces.cli.output import REFUSED, as_json

NEEDED = frozenset({"database", "migrations", "secret key"})
"""Without these it is not known which FHIR servers there are, or not with which credentials."""
SHARED_BOUND = 5
"""How many shared identities are listed."""


@click.command()
@click.option("--fhir-servers", is_flag=True, help="Also check every hospital's FHIR server.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def doctor(*, fhir_servers: bool, json_: bool) -> None:
    r"""Check what a node needs, and say what to do about each fault. Exit code 1 where there is one.

    Settings, database, migrations, key, nodes, jobs, clocks, record, writes without an outcome, disk. With --fhir-servers also
    whether each hospital's FHIR server over HTTP answers as one of R4 and accepts Hilum's credentials; no record is read.

    \b
    Examples:
      hilum doctor --json
      hilum doctor --fhir-servers
    """
    settings = host.read_settings()
    findings = [
        Finding("settings", ok=True),
        *_database_findings(settings),
        *_directory_findings(settings),
        *machine_findings(settings),
    ]
    if fhir_servers and all(finding.ok for finding in findings if finding.check in NEEDED):
        findings += fhir_server_findings()
    if json_:
        as_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'BAD '} {finding.check}  {finding.next}".rstrip())
    # Every check runs, whatever failed before it, so that one run shows all that is to be done.
    sys.exit(0 if all(finding.ok for finding in findings) else REFUSED)


def _database_findings(settings: Settings) -> Iterator[Finding]:
    from hilum.foundation.infra.migrations.run import release

    file = settings.sqlite_file
    # Looking must not create: SQLite would make an empty database here.
    if file is not None and not file.is_file():
        inside = settings.data_dir / "hilum.db"
        other = (
            f", or set HILUM_DATABASE_URL=sqlite:///{inside}, where there is one" if inside.is_file() else ""
        )
        yield Finding("database", ok=False, next=f"{file} is not there yet: run `hilum migrate`{other}")
        return
    uow = host.open_uow(settings)
    trace = Trace(uow.ids.new("req"), source="host")
    try:
        schema = uow.read_now(
            lambda ctx: schema_gate.read(ctx.tx, release()), actor=host.actor(), trace=trace
        )
        current = schema.opens
        yield Finding("database", ok=True)
        yield Finding("migrations", ok=current, next=schema.fault)
        # The queries below need this release's tables.
        if current:
            yield uow.read_now(_secret_key_finding, actor=host.actor(), trace=trace)
            yield uow.read_now(_fhir_user_finding, actor=host.actor(), trace=trace)
            yield _writes_finding(settings)
            # Before the database: what is anchored meanwhile would not be in the transaction.
            anchored, ends = anchoring.read(settings), anchoring.read_ends(settings)
            yield from uow.read_now(
                lambda ctx: platform_findings(ctx, settings, anchored, ends), actor=host.actor(), trace=trace
            )
        # Production refuses to serve synthetic hospitals, whose passwords are published.
        if current and not settings.is_sandbox:
            synthetic = uow.read_now(preflight.sandbox_tenants, actor=host.actor(), trace=trace)
            advice = f"production does not serve them: {', '.join(synthetic)}" if synthetic else ""
            yield Finding("no synthetic hospitals", ok=not synthetic, next=advice)
    except HilumError as error:
        yield Finding("database", ok=False, next=reason_of(error))
    finally:
        uow.close()


def _fhir_user_finding(ctx: Context) -> Finding:
    """Find active people who share a ``fhirUser``, added by a release that did not refuse that."""
    shared = [
        f"{fhir_user} at {tenant}"
        for tenant, fhir_user in identity.list_shared_fhir_users(ctx, limit=SHARED_BOUND)
    ]
    advice = (
        f"several active people share {', '.join(shared)}: deactivate all but the right one" if shared else ""
    )
    return Finding("fhirUser", ok=not shared, next=advice)


def _writes_finding(settings: Settings) -> Finding:
    """Report writes without an outcome on record. Recent ones are still in progress; the jobs process settles older ones."""
    from hilum.records.audit import live
    from hilum.records.audit.models import SETTLE_AFTER, Unsettled
    from hilum.server.commands.records import unsettled_lines

    now = host.now()
    reader = live.open_reader(settings.journal_dir, settings.database_url)
    opened = [Unsettled(each.intent.request_id, each.intent.at) for each in reader.open_intents()]
    advice = "; ".join(unsettled_lines(opened, now))
    # A younger write may still be in flight, which is no fault.
    waits = any(now - each.since >= SETTLE_AFTER for each in opened)
    if waits:
        advice += ". The jobs process settles them once their FHIR servers answer; `hilum explain` shows what is on record of each"
    return Finding("writes have outcomes", ok=not waits, next=advice)


def _secret_key_finding(ctx: Context) -> Finding:
    """Check that the key opens everything sealed in the database."""
    fault = preflight.key_fault(ctx)
    return Finding("secret key", ok=not fault, next=fault)


def _directory_findings(settings: Settings) -> Iterator[Finding]:
    """Check the data directory and the access journal by writing, as a worker does: neither permissions nor reading show a full disk."""
    from hilum.foundation.infra.system import SystemClock
    from hilum.records.audit.journal_health import is_writable, probe_fault
    from hilum.server.readiness import DISK_FULL, Directory

    where = settings.data_dir
    if not where.is_dir():
        yield Finding("data directory", ok=False, next=f"create {where}")
        return
    # Root may write where the mode forbids it, and a full disk has all permissions.
    fault = Directory(where, SystemClock()).fault()
    advice = f"free some space at {where}" if fault == DISK_FULL else f"let the platform write to {where}"
    yield Finding("data directory", ok=fault is None, next=advice if fault else "")
    if settings.sqlite_file is None:
        unwritable = probe_fault(settings.database_url)
        advice = f"it cannot be written. {unwritable.what} {unwritable.next}" if unwritable else ""
        yield Finding("access journal", ok=not unwritable, next=advice)
    shut = [path.name for path in sorted(settings.journal_dir.glob("access-*.db")) if not is_writable(path)]
    if shut:
        advice = f"{', '.join(shut)} cannot be written: check its permissions, and whether another process holds it"
        yield Finding("access journal", ok=False, next=advice)
