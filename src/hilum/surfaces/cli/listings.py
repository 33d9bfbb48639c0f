"""``hilum listing``: which certified apps hospitals see."""

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import app_argument
from hilum.surfaces.cli.resources import json_option, show, show_one

COLUMNS = ("app", "label", "published", "visible", "certificate_status", "certified_until", "vendor")


@click.group()
def listing() -> None:
    r"""Publish certified apps, and list what hospitals see.

    \b
    Examples:
      hilum listing list
      hilum listing publish Rota --reason "certified, and its support answers"
    """


@listing.command("list")
@json_option
def listing_list(*, json_: bool) -> None:
    r"""List listings: as a hospital's administrator what is visible, as staff all, as a vendor's member your vendor's.

    \b
    Example:
      hilum listing list
    """
    show(api.every("/listings"), COLUMNS, json_=json_)


@listing.command("show")
@app_argument
@json_option
def listing_show(app_id: str, *, json_: bool) -> None:
    r"""Show the listing of an app: who published it, why, and whether its certificate is valid.

    \b
    Example:
      hilum listing show Rota
    """
    show_one(api.call("GET", f"/listings/{api.segment(app_id)}"), json_=json_)


@listing.command("statements")
@app_argument
@json_option
def listing_statements(app_id: str, *, json_: bool) -> None:
    r"""Show what of a listed app is verified, with version and date, and what its vendor only says (attested).

    \b
    Example:
      hilum listing statements Rota
    """
    found = api.call("GET", f"/listings/{api.segment(app_id)}/statements")
    show(found["statements"], ("basis", "what", "version", "at", "text"), json_=json_)


@listing.command("publish")
@app_argument
@click.option("--reason", required=True, help="Why; it stays on record.")
@json_option
def listing_publish(app_id: str, *, reason: str, json_: bool) -> None:
    r"""Publish an app of yours: hospitals see it while it is validly certified for production and its category is open (owners and developers).

    \b
    Example:
      hilum listing publish Rota --reason "certified, and its support answers"
    """
    show_one(api.call("POST", f"/listings/{api.segment(app_id)}/publish", {"reason": reason}), json_=json_)


@listing.command("unpublish")
@app_argument
@click.option("--reason", required=True, help="Why; it stays on record.")
@json_option
def listing_unpublish(app_id: str, *, reason: str, json_: bool) -> None:
    r"""End the listing of an app. It keeps working where it is installed.

    \b
    Example:
      hilum listing unpublish Rota --reason "a successor is listed"
    """
    show_one(api.call("POST", f"/listings/{api.segment(app_id)}/unpublish", {"reason": reason}), json_=json_)
