"""``hilum audit``: verify the record on this host, and read it over the API."""

import sys
from dataclasses import asdict, replace

import click

from hilum.audit.models import Event, Verdict
from hilum.cli import api, host
from hilum.cli.nouns import json_option, show
from hilum.cli.output import REFUSED, as_json
from hilum.infra.context import Context


@click.group()
def audit() -> None:
    """Verify the audit chains of this installation, and read what is on record."""


@audit.command("verify")
@json_option
def audit_verify(*, json_: bool) -> None:
    r"""Read every chain and checkpoint; report edits, removals, reorderings, and the tail that no checkpoint covers yet.

    \b
    Example:
      hilum audit verify --json
    """
    from hilum.audit import live, service

    found = host.read_settings()
    reader = live.open_reader(found.data_dir / "journal", found.database_url)
    looked = Event("audit.chain.verify")

    def verb(ctx: Context) -> tuple[Verdict, Event]:
        verdict = service.verify(ctx, reader)
        facts = {"records": verdict.records, "checkpoints": verdict.checkpoints, "intact": verdict.intact}
        return verdict, replace(looked, facts=facts)

    verdict = host.look(verb, looked)
    if json_:
        as_json({**asdict(verdict), "intact": verdict.intact})
    else:
        click.echo(
            f"{verdict.records} records under {verdict.checkpoints} checkpoints; {verdict.uncovered} not yet covered"
        )
        for fault in verdict.faults:
            click.secho(f"  {fault}", fg="red")
        click.secho(
            "intact" if verdict.intact else "NOT INTACT", fg="green" if verdict.intact else "red", bold=True
        )
    sys.exit(0 if verdict.intact else REFUSED)


@audit.command("events")
@click.option("--tenant", default="", help="Of one hospital.")
@click.option("--action", default="", help="Of one kind, such as controls.switch.engage.")
@json_option
def audit_events(tenant: str, action: str, *, json_: bool) -> None:
    r"""List the newest events of the control plane.

    \b
    Example:
      hilum audit events --action controls.switch.engage
    """
    found = api.call("GET", "/audit/events", query={"tenant": tenant, "action": action})["items"]
    show(found, ("at", "action", "outcome", "tenant", "reason", "request_id"), json_=json_)


@audit.command("accesses")
@click.option("--tenant", default="", help="Of one hospital.")
@click.option("--app", default="", help="Of one app.")
@click.option("--patient", default="", help="To one patient's data.")
@json_option
def audit_accesses(tenant: str, app: str, patient: str, *, json_: bool) -> None:
    r"""List the newest FHIR requests with their decisions.

    \b
    Example:
      hilum audit accesses --tenant general --app app_01h...
    """
    query = {"tenant": tenant, "app": app, "patient": patient}
    found = api.call("GET", "/accesses", query=query)["items"]
    show(
        found,
        ("at", "tenant", "app", "interaction", "resource_type", "status", "reason", "request_id"),
        json_=json_,
    )
