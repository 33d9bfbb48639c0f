"""``hilum facility``: where a hospital's apps may be opened."""

from collections.abc import Iterable

import click

from hilum.cli import api
from hilum.cli.output import REFUSED
from hilum.cli.resources import json_option, show, show_one, tenant_option

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
@click.option("--tenant", default="", help="At which hospital; leave out for all that you may see.")
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
    (found,) = ids_of([facility], tenant)
    show_one(api.call("DELETE", f"/facilities/{api.segment(found)}"), json_=json_)


def ids_of(named: Iterable[str], tenant: str) -> list[str]:
    """Return the ids of a hospital's facilities that are named by name, id or reference."""
    named = list(named)
    if all(each.startswith("fac_") for each in named):
        return named
    known = api.every("/facilities", tenant=api.require_tenant(tenant))
    by_name = {each[key]: each["id"] for each in known for key in ("name", "reference", "id")}
    for each in named:
        if each not in by_name:
            click.secho(
                f"refused: there is no facility {each!r}; see: hilum facility list", fg="red", err=True
            )
            raise SystemExit(REFUSED)
    return [by_name[each] for each in named]
