"""``hilum sandbox fault``: what the FHIR server of a sandbox hospital does wrong for one of your clients."""

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import CLIENT, TENANT
from hilum.surfaces.cli.output import as_json
from hilum.surfaces.cli.resources import json_option, show

COLUMNS = ("client", "tenant", "fault", "until")
KIND = click.argument(
    "kind", type=click.Choice(["unavailable", "slow", "short_pages", "conflict", "lost_answer"])
)
client_option = click.option("--client", type=CLIENT, required=True, help="Whose requests fail.")
tenant_option = click.option("--tenant", type=TENANT, required=True, help="A sandbox hospital.")


@click.group()
def fault() -> None:
    r"""Make the FHIR server of a sandbox hospital fail for one of your clients, through the API of a running platform.

    \b
    Examples:
      hilum sandbox fault make slow --client "Lumen Chart" --tenant general
      hilum sandbox fault end slow --client "Lumen Chart" --tenant general
    """


@fault.command("make")
@KIND
@client_option
@tenant_option
@json_option
def make(kind: str, *, client: str, tenant: str, json_: bool) -> None:
    r"""Make it fail for what the client asks. It ends by itself after three minutes; nobody else meets it.

    \b
    Example:
      hilum sandbox fault make unavailable --client "Lumen Chart" --tenant general
    """
    show([api.call("PUT", _path(client, tenant, kind))], COLUMNS, json_=json_)


@fault.command("list")
@client_option
@json_option
def list_(*, client: str, json_: bool) -> None:
    r"""List what fails for a client now.

    \b
    Example:
      hilum sandbox fault list --client "Lumen Chart"
    """
    found = api.call("GET", f"/clients/{api.segment(client)}/sandbox-faults")["items"]
    show(found, COLUMNS, json_=json_)


@fault.command("end")
@KIND
@client_option
@tenant_option
@json_option
def end(kind: str, *, client: str, tenant: str, json_: bool) -> None:
    r"""End a fault before its time.

    \b
    Example:
      hilum sandbox fault end unavailable --client "Lumen Chart" --tenant general
    """
    api.call("DELETE", _path(client, tenant, kind))
    if json_:
        as_json({"client": client, "tenant": tenant, "fault": kind})
        return
    click.echo("ended")


def _path(client: str, tenant: str, kind: str) -> str:
    return f"/clients/{api.segment(client)}/sandbox-faults/{api.segment(tenant)}/{kind}"
