"""``hilum facility``: where a hospital's apps may be opened."""

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import TENANT, id_of
from hilum.surfaces.cli.resources import json_option, show, show_one, tenant_option

COLUMNS = ("id", "tenant", "name", "legal_entity", "reference")


@click.group()
def facility() -> None:
    r"""Manage a hospital's facilities, for which apps can be installed.

    \b
    Examples:
      hilum facility add "East Clinic" --legal-entity "General Hospital Ltd" --reference Location/east
      hilum app install app_01h... --role physician --facility "East Clinic"
    """


@facility.command("add")
@click.argument("name")
@tenant_option
@click.option("--legal-entity", required=True, help="The legal entity that runs it.")
@click.option(
    "--reference", required=True, help="Location/<id> or Organization/<id> at the hospital's FHIR server."
)
@json_option
def add(name: str, *, tenant: str, legal_entity: str, reference: str, json_: bool) -> None:
    r"""Add a facility. Apps that are installed for all facilities may be opened there at once.

    \b
    Example:
      hilum facility add "East Clinic" --legal-entity "General Hospital Ltd" --reference Location/east
    """
    body = {
        "tenant": api.require_tenant(tenant),
        "name": name,
        "legal_entity": legal_entity,
        "reference": reference,
    }
    show_one(api.call("POST", "/facilities", body), json_=json_)


@facility.command("list")
@click.option("--tenant", type=TENANT, default="", help="The hospital; by default, all that you may see.")
@json_option
def list_(*, tenant: str, json_: bool) -> None:
    r"""List facilities in use.

    \b
    Example:
      hilum facility list --tenant general
    """
    show(api.every("/facilities", tenant=tenant), COLUMNS, json_=json_)


@facility.command("remove")
@click.argument("facility", metavar="FACILITY")
@tenant_option
@json_option
def remove(facility: str, *, tenant: str, json_: bool) -> None:
    r"""Remove a facility, by name or id. What was opened there stops at once, and nothing is opened there again.

    \b
    Example:
      hilum facility remove "East Clinic" --tenant general
    """
    found = id_of("facility", facility, tenant=api.require_tenant(tenant))
    show_one(api.call("DELETE", f"/facilities/{api.segment(found)}"), json_=json_)
