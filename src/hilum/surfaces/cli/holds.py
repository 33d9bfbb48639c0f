"""``hilum hold``: evidence that no retention period may purge."""

from datetime import datetime
from typing import Any

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, TENANT
from hilum.surfaces.cli.resources import MOMENT, json_option, show, show_one

COLUMNS = ("id", "since", "tenant", "app", "reason", "placed_by", "placed_at")


@click.group()
def hold() -> None:
    r"""Keep evidence: while a hold is in force, no record from its moment on is purged.

    \b
    Examples:
      hilum hold list
      hilum hold place --since 2026-01-01 --tenant general --reason "case 4711"
    """


@hold.command("place")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option(
    "--since",
    type=MOMENT,
    default=None,
    help="Hold records from this day (UTC) or moment on; by default, all of them.",
)
@click.option("--tenant", type=TENANT, default="", help="Which hospital it concerns.")
@click.option("--app", type=APP, default="", help="Which app it concerns.")
@click.option("--patient", default="", help="Whose record it concerns.")
@json_option
def place(*, reason: str, since: datetime | None, tenant: str, app: str, patient: str, json_: bool) -> None:
    r"""Place a hold. It keeps the payloads of everybody's records from its moment on, whomever it concerns.

    \b
    Example:
      hilum hold place --reason "case 4711" --tenant general
    """
    body: dict[str, Any] = {"reason": reason, "tenant": tenant, "app": app, "patient": patient}
    # The moment is sent with its zone; the API refuses one without.
    body["since"] = since.isoformat() if since else None
    show_one(api.call("POST", "/holds", body), json_=json_)


@hold.command("list")
@json_option
def list_(*, json_: bool) -> None:
    r"""List the holds in force.

    \b
    Example:
      hilum hold list --json
    """
    show(api.every("/holds"), COLUMNS, json_=json_)


@hold.command("release")
@click.argument("hold_id")
@json_option
def release(hold_id: str, *, json_: bool) -> None:
    r"""Release a hold. Whoever placed it cannot.

    \b
    Example:
      hilum hold release hld_01h...
    """
    show_one(api.call("POST", f"/holds/{api.segment(hold_id)}/release"), json_=json_)
