"""``hilum contact``: the mail addresses of vendors, and their proofs."""

import click

from hilum.cli import api
from hilum.cli.named import VENDOR
from hilum.cli.resources import json_option, show, show_one
from hilum.contacts.models import ContactKind

COLUMNS = ("id", "vendor", "kind", "address", "state", "proof_ends_at")


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
@click.argument("contact_id")
@json_option
def link(contact_id: str, *, json_: bool) -> None:
    r"""Send a contact a new link; the one before stops working.

    \b
    Example:
      hilum contact link con_01h...
    """
    show_one(api.call("POST", f"/contacts/{api.segment(contact_id)}/link"), json_=json_)


@contact.command("remove")
@click.argument("contact_id")
@json_option
def remove(contact_id: str, *, json_: bool) -> None:
    r"""Remove a contact; its link and its proof end.

    \b
    Example:
      hilum contact remove con_01h...
    """
    show_one(api.call("DELETE", f"/contacts/{api.segment(contact_id)}"), json_=json_)
