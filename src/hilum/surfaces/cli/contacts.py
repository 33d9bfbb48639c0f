"""``hilum contact``: the mail addresses of vendors, and their proofs."""

import click

from hilum.apps.contacts.models import ContactKind
from hilum.foundation.kernel.lists import counted
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import VENDOR
from hilum.surfaces.cli.output import REFUSED, plain
from hilum.surfaces.cli.resources import json_option, show, show_one

COLUMNS = ("id", "vendor", "kind", "address", "state", "proof_ends_at")
contact_argument = click.argument("contact_id", metavar="CONTACT")
"""A contact's id or address; the command resolves it with ``_id_of``."""


@click.group()
def contact() -> None:
    r"""Manage vendors' contacts, each of which proves its address by a one-time link.

    \b
    Examples:
      hilum contact add security@vendor.example --vendor ven_01h... --kind security
      hilum contact list --vendor ven_01h...
    """


@contact.command("add")
@click.argument("address")
@click.option("--vendor", type=VENDOR, required=True, help="The vendor.")
@click.option(
    "--kind",
    type=click.Choice([str(each) for each in ContactKind]),
    required=True,
    help="What kind of contact.",
)
@json_option
def add(address: str, *, vendor: str, kind: str, json_: bool) -> None:
    r"""Add a contact; it gets a mail with a one-time link.

    \b
    Example:
      hilum contact add security@vendor.example --vendor ven_01h... --kind security
    """
    body = {"address": address, "vendor": vendor, "kind": kind}
    show_one(api.call("POST", "/contacts", body), json_=json_)


@contact.command("list")
@click.option("--vendor", type=VENDOR, default="", help="Only those of one vendor.")
@json_option
def list_(*, vendor: str, json_: bool) -> None:
    r"""List contacts: waiting, proved until when, lapsed or declined.

    \b
    Example:
      hilum contact list --json
    """
    show(api.every("/contacts", vendor=vendor), COLUMNS, json_=json_)


@contact.command("link")
@contact_argument
@json_option
def link(contact_id: str, *, json_: bool) -> None:
    r"""Send a contact a new link; the one before stops working.

    \b
    Example:
      hilum contact link security@vendor.example
    """
    show_one(api.call("POST", f"/contacts/{api.segment(_id_of(contact_id))}/link"), json_=json_)


@contact.command("remove")
@contact_argument
@json_option
def remove(contact_id: str, *, json_: bool) -> None:
    r"""Remove a contact; its link and its proof end.

    \b
    Example:
      hilum contact remove security@vendor.example
    """
    show_one(api.call("DELETE", f"/contacts/{api.segment(_id_of(contact_id))}"), json_=json_)


def _id_of(named: str) -> str:
    """Return the id of a contact that is named by it, or by its address. Exits 1 if several, or none, have the address."""
    if "@" not in named:
        return named
    found = [each for each in api.every("/contacts") if each["address"].casefold() == named.casefold()]
    if len(found) == 1:
        return str(found[0]["id"])
    many = counted(len(found), "contact has", "contacts have") if found else "no contact has"
    click.secho(f"refused: {many} the address {plain(named)}", fg="red", err=True)
    for each in found:
        click.echo(f"  {each['id']}  {each['kind']}", err=True)
    click.echo("Use its id." if found else "Next: `hilum contact list` lists them.", err=True)
    raise SystemExit(REFUSED)
