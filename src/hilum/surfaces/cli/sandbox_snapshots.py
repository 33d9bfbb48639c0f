"""``hilum sandbox snapshot``: synthetic hospitals of your vendor's own, through the API of a running sandbox."""

import click

from hilum.foundation.kernel.errors import NotFound
from hilum.surfaces.cli import api
from hilum.surfaces.cli.output import as_json, refuse
from hilum.surfaces.cli.resources import json_option, show, show_one

COLUMNS = ("id", "name", "template", "state", "reset_at", "used_at")
named = click.argument("snapshot")


@click.group()
def snapshot() -> None:
    r"""Make, reset and remove synthetic hospitals of your vendor's own, which no other vendor sees.

    \b
    Examples:
      hilum sandbox snapshot create mine --template general
      hilum sandbox snapshot reset mine
    """


@snapshot.command("create")
@click.argument("name")
@click.option(
    "--template",
    type=click.Choice(["general", "children", "clinic"]),
    default="general",
    show_default=True,
    help="The synthetic hospital that it begins as.",
)
@json_option
def create(name: str, *, template: str, json_: bool) -> None:
    r"""Make one, with its people, charts and EHR, and your vendor's apps installed.

    \b
    Example:
      hilum sandbox snapshot create mine --template clinic
    """
    show_one(api.call("POST", "/sandbox-snapshots", {"name": name, "template": template}), json_=json_)


@snapshot.command("list")
@json_option
def list_(*, json_: bool) -> None:
    r"""List your vendor's snapshots; the staff see those of every vendor.

    \b
    Example:
      hilum sandbox snapshot list
    """
    show(api.every("/sandbox-snapshots"), COLUMNS, json_=json_)


@snapshot.command("show")
@named
@json_option
def show_card(snapshot: str, *, json_: bool) -> None:
    r"""Show its credentials: addresses, the EHR's secret, people and their password.

    \b
    Example:
      hilum sandbox snapshot show mine
    """
    card = api.call("GET", f"{_path(snapshot)}/card")
    if json_:
        as_json(card)
        return
    people, apps = card.pop("people"), card.pop("apps")
    show_one(card, json_=False)
    show(people, ("username", "name", "role"), json_=False)
    show(apps, ("client", "name"), json_=False)


@snapshot.command("reset")
@named
@json_option
def reset(snapshot: str, *, json_: bool) -> None:
    r"""Reset it to its template's charts. Everything issued there ends, and its secrets are renewed.

    \b
    Example:
      hilum sandbox snapshot reset mine
    """
    show_one(api.call("POST", f"{_path(snapshot)}/reset"), json_=json_)


@snapshot.command("put-apps")
@named
@json_option
def put_apps(snapshot: str, *, json_: bool) -> None:
    r"""Install your vendor's apps that were certified for the sandbox since it was made.

    \b
    Example:
      hilum sandbox snapshot put-apps mine
    """
    show_one(api.call("PUT", f"{_path(snapshot)}/apps"), json_=json_)


@snapshot.command("remove")
@named
@json_option
def remove(snapshot: str, *, json_: bool) -> None:
    r"""Remove it with its charts.

    \b
    Example:
      hilum sandbox snapshot remove mine
    """
    show_one(api.call("DELETE", _path(snapshot)), json_=json_)


def _path(named_: str) -> str:
    """Return the path of a snapshot by its name or id."""
    found = [each["id"] for each in api.every("/sandbox-snapshots") if named_ in {each["id"], each["name"]}]
    if len(found) != 1:
        detail = "There is no such snapshot, or several have this name. `hilum sandbox snapshot list` lists yours with their ids."
        refuse(NotFound("snapshot_not_found", detail))
    return f"/sandbox-snapshots/{api.segment(found[0])}"
