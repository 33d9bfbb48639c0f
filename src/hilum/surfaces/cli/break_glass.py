"""``hilum break-glass``: what no action declares: opening restricted records, and what a hospital allows."""

from typing import Any

import click

from hilum.authorization.breakglass.models import OPENABLE
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import TENANT
from hilum.surfaces.cli.resources import json_option, show, show_done, show_one


@click.group("break-glass")
def break_glass() -> None:
    r"""Open restricted records in an emergency, for a few minutes; review what colleagues opened.

    \b
    Examples:
      hilum break-glass launches
      hilum break-glass open lch_01h... --reason "unconscious after a fall, allergies and medication unknown"
      hilum break-glass list --findings
    """


@break_glass.command("launches")
@json_option
def launches(*, json_: bool) -> None:
    r"""List your open launches in which you could open restricted records.

    \b
    Example:
      hilum break-glass launches
    """
    columns = ("id", "app", "patient_name", "birth_date", "record_number", "patient", "created_at")
    show(api.call("GET", "/break-glass/launches"), columns, json_=json_)


@break_glass.command("open")
@click.argument("launch")
@click.option("--reason", required=True, help="What the emergency is; the hospital's administrators read it.")
@json_option
def open_(launch: str, *, reason: str, json_: bool) -> None:
    r"""Open the restricted records of a launch's patient, for a few minutes.

    \b
    Example:
      hilum break-glass open lch_01h... --reason "unconscious after a fall, medication unknown"
    """
    show_one(api.call("POST", "/break-glass", {"launch": launch, "reason": reason}), json_=json_)


@break_glass.command("settings")
@click.argument("tenant", type=TENANT)
@json_option
def settings(tenant: str, *, json_: bool) -> None:
    r"""Show what a hospital allows.

    \b
    Example:
      hilum break-glass settings general
    """
    show_one(api.call("GET", f"/tenants/{api.segment(tenant)}/break-glass"), json_=json_)


@break_glass.command("set")
@click.argument("tenant", type=TENANT)
@click.option("--on/--off", "enabled", default=None, help="Whether clinicians may break the glass at all.")
@click.option(
    "--category",
    "categories",
    multiple=True,
    help=f"A kind of restricted record that it opens; may be repeated: {', '.join(sorted(OPENABLE))}.",
)
@click.option("--minutes", type=int, default=None, help="For how many minutes, at most 60.")
@click.option("--per-day", type=int, default=None, help="How often a person may use it within 24 hours.")
@click.option("--review-hours", type=int, default=None, help="After how many hours a review is overdue.")
@json_option
def set_(tenant: str, *, categories: tuple[str, ...], json_: bool, **numbers: Any) -> None:
    r"""Change what your hospital allows; a wider setting waits for a second administrator.

    \b
    Example:
      hilum break-glass set general --on --category confidential --category substance_use --minutes 15
    """
    body = {name: value for name, value in numbers.items() if value is not None}
    if categories:
        body["categories"] = list(categories)
    show_done(api.call("PATCH", f"/tenants/{api.segment(tenant)}/break-glass", body), json_=json_)
