"""``hilum audit``: verify the record on this host, and read it over the API."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path

import click

from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.lists import listed
from hilum.records.audit import anchor
from hilum.records.audit.models import SETTLE_AFTER, Anchored, Event, Unsettled, Verdict
from hilum.server.commands import host
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, TENANT
from hilum.surfaces.cli.output import REFUSED, as_json, refuse
from hilum.surfaces.cli.resources import (
    all_option,
    before_option,
    json_option,
    limit_option,
    read_list,
    show,
    since_option,
)

NAMED_BOUND = 20
"""How many writes without an outcome are listed."""


@click.group()
def audit() -> None:
    r"""Verify the audit chains of this installation, and list events and accesses.

    \b
    Examples:
      hilum audit verify
      hilum audit accesses --tenant general
    """


@audit.command("verify")
@click.option(
    "--anchor",
    "copy",
    default=None,
    type=click.Path(path_type=Path),
    help="A copy of the anchor that was kept elsewhere.",
)
@json_option
def audit_verify(copy: Path | None, *, json_: bool) -> None:
    r"""Read every chain, checkpoint and anchor; report edits, removals, reorderings, and the tail that no checkpoint covers yet.

    Versions and applications of the policy are verified too, and compared with their records and the anchor.

    \b
    Examples:
      hilum audit verify --json
      hilum audit verify --anchor /mnt/elsewhere/audit-anchor.log
    """
    from hilum.policy.matrix import service as policies
    from hilum.records.audit import live, service
    from hilum.server import anchoring

    found = host.read_settings()
    anchors, heads = _anchors(found, copy), anchoring.read(found, copy)
    reader = live.open_reader(found.journal_dir, found.database_url)
    read_event = Event("audit.chain.verify")

    def verb(ctx: Context) -> tuple[Verdict, Event]:
        verdict = service.verify(ctx, reader, anchors)
        # Each application of a policy is in the record with its digest, so what is missing there is found here.
        signed = (*policies.verify(ctx).faults, *anchoring.faults(ctx, heads))
        verdict = replace(verdict, faults=(*verdict.faults, *signed))
        facts = {"records": verdict.records, "checkpoints": verdict.checkpoints, "intact": verdict.intact}
        return verdict, replace(read_event, facts=facts)

    # Verification reads every record; the lane's statement timeout allows for that.
    with lanes.using(Lane.LONG):
        verdict = host.read_audited(verb, read_event)
    if json_:
        as_json({**asdict(verdict), "intact": verdict.intact})
    else:
        click.echo(
            f"records: {verdict.records}, checkpoints: {verdict.checkpoints}, records not yet covered: {verdict.uncovered}"
        )
        click.echo(_anchor_line(verdict, found))
        for line in unsettled_lines(verdict.unsettled, host.now()):
            click.echo(line)
        for fault in verdict.faults:
            click.secho(f"  {fault}", fg="red")
        click.secho(
            "intact" if verdict.intact else "NOT INTACT", fg="green" if verdict.intact else "red", bold=True
        )
    sys.exit(0 if verdict.intact else REFUSED)


def unsettled_lines(unsettled: Sequence[Unsettled], now: datetime) -> list[str]:
    """Format for a person which writes have no outcome on record, and since when."""
    # Younger ones may still be in flight.
    old = [each for each in unsettled if now - each.since >= SETTLE_AFTER]
    young = len(unsettled) - len(old)
    lines = [f"writes in progress: {young}"] if young else []
    if old:
        named = listed([f"{each.request_id} ({_age(now - each.since)})" for each in old], NAMED_BOUND)
        lines.append(
            f"writes without an outcome on record, waiting to be settled: {len(old)}, namely {named}"
        )
    return lines


def _age(age: timedelta) -> str:
    minutes = int(age.total_seconds() // 60)
    return f"{minutes} min" if minutes else f"{int(age.total_seconds())} s"


def _anchors(found: Settings, copy: Path | None) -> list[Anchored]:
    """Read the copy that was named, which must exist, and the installation's own anchor."""
    try:
        # Read before the database: a checkpoint anchored during verification would not be in the transaction,
        # and would be reported as missing.
        anchors = anchor.read(copy) if copy is not None else []
        # The default anchor may not exist yet. One that was
        # configured must, or a deleted anchor would go unnoticed.
        if found.anchor.is_file() or (found.audit_anchor is not None and copy is None):
            anchors += anchor.read(found.anchor)
    except HilumError as error:
        refuse(error)
    return anchors


def _anchor_line(verdict: Verdict, found: Settings) -> str:
    if verdict.anchored:
        return f"checkpoint {verdict.anchored} is the newest that an anchor outside the database confirms"
    return f"no anchor confirms a checkpoint (looked at {found.anchor}): records deleted at the end would not be noticed"


@audit.command("events")
@click.option(
    "--tenant", type=TENANT, default="", help="Of one hospital; by default your own, or for staff, all."
)
@click.option("--action", default="", help="Of one kind, such as controls.switch.engage.")
@since_option
@before_option
@limit_option
@all_option
@json_option
def audit_events(
    tenant: str,
    action: str,
    since: datetime | None,
    before: datetime | None,
    limit: int,
    *,
    all_: bool,
    json_: bool,
) -> None:
    r"""List the newest events of the control plane.

    \b
    Examples:
      hilum audit events --action controls.switch.engage
      hilum audit events --tenant general --since 2h --all --json
    """
    query = {"tenant": tenant or api.own_tenant(), "action": action} | _span(since, before)
    found = read_list("/audit/events", limit, all_=all_, **query)
    show(found, ("at", "action", "outcome", "actor", "tenant", "reason", "request_id"), json_=json_)


@audit.command("accesses")
@click.option(
    "--tenant", type=TENANT, default="", help="Of one hospital; by default your own, or for staff, all."
)
@click.option("--app", type=APP, default="", help="Of one app.")
@click.option("--patient", default="", help="To one patient's data.")
@click.option(
    "--outcome",
    default=None,
    type=click.Choice(["done", "refused", "not_done", "unknown"]),
    help="Only those that ended like this.",
)
@click.option("--reason", default="", help="Refused for one reason, such as switch_engaged.")
@since_option
@before_option
@limit_option
@all_option
@json_option
def audit_accesses(
    limit: int,
    outcome: str | None,
    since: datetime | None,
    before: datetime | None,
    *,
    all_: bool,
    json_: bool,
    **query: str,
) -> None:
    r"""List the newest FHIR requests with their decisions. Patients and paths are clinical content: keep the output accordingly.

    \b
    Examples:
      hilum audit accesses --tenant general --app app_01h...
      hilum audit accesses --tenant general --since 2h --reason switch_engaged --all
    """
    # An administrator without --tenant would be refused; staff without it read all.
    query |= {"tenant": query["tenant"] or api.own_tenant(), "outcome": outcome or ""} | _span(since, before)
    found = read_list("/accesses", limit, all_=all_, **query)
    show(
        found,
        ("at", "tenant", "app", "person", "patient", "interaction", "path", "status", "reason", "request_id"),
        json_=json_,
    )


def _span(since: datetime | None, before: datetime | None) -> dict[str, str]:
    """Return the API's filters for a span of time; an empty one is not sent."""
    return {
        name: moment.isoformat() if moment else "" for name, moment in (("since", since), ("before", before))
    }
