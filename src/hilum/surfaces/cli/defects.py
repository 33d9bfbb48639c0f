"""``hilum defect``: defects of certified apps, and whether the sandbox could have shown them."""

from datetime import UTC, datetime

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, VERSION
from hilum.surfaces.cli.resources import json_option, show, show_one

COLUMNS = ("id", "app", "label", "seen_in", "severity", "reproducible", "scenario", "closed_at", "summary")
named = click.argument("defect_id")


@click.group()
def defect() -> None:
    r"""Record defects of apps, and say of those that escaped to production whether the sandbox could have shown them.

    \b
    Examples:
      hilum defect report "Chart Viewer@1.0" --seen-in production --severity high --summary "Shows the wrong dose."
      hilum defect tag def_01h... --scenario patient_switched
    """


@defect.command("report")
@click.argument("version", type=VERSION)
@click.option(
    "--seen-in",
    type=click.Choice(["sandbox", "review", "production"]),
    required=True,
    help="Where it was first seen.",
)
@click.option(
    "--severity",
    type=click.Choice(["low", "moderate", "high", "critical"]),
    required=True,
    help="How bad it is.",
)
@click.option("--summary", required=True, help="What is wrong.")
@click.option("--first-seen-at", help="When, such as 2026-11-20T09:00:00Z; now if left out.")
@json_option
def report(
    version: str, *, seen_in: str, severity: str, summary: str, first_seen_at: str | None, json_: bool
) -> None:
    r"""Record a defect of a version. Production takes one that is certified for it.

    \b
    Example:
      hilum defect report "Chart Viewer@1.0" --seen-in production --severity high --summary "Shows the wrong dose."
    """
    body = {
        "version": version,
        "seen_in": seen_in,
        "severity": severity,
        "summary": summary,
        "first_seen_at": first_seen_at or datetime.now(UTC).isoformat(),
    }
    show_one(api.call("POST", "/defects", body), json_=json_)


@defect.command("list")
@click.option("--app", "app_id", type=APP, help="Of one app.")
@json_option
def list_(*, app_id: str | None, json_: bool) -> None:
    r"""List defects, newest first.

    \b
    Example:
      hilum defect list --app "Chart Viewer"
    """
    show(api.every("/defects", **({"app": app_id} if app_id else {})), COLUMNS, json_=json_)


@defect.command("show")
@named
@json_option
def show_(defect_id: str, *, json_: bool) -> None:
    r"""Show one defect.

    \b
    Example:
      hilum defect show def_01h...
    """
    show_one(api.call("GET", f"/defects/{api.segment(defect_id)}"), json_=json_)


@defect.command("tag")
@named
@click.option(
    "--scenario",
    default="",
    help="It is reproducible: by this scenario of the policy, or one that you propose.",
)
@click.option("--gap", default="", help="It is not reproducible: what the sandbox lacks.")
@json_option
def tag(defect_id: str, *, scenario: str, gap: str, json_: bool) -> None:
    r"""State whether the sandbox could have shown a defect. One that was first seen in production cannot be closed before.

    \b
    Examples:
      hilum defect tag def_01h... --scenario patient_switched
      hilum defect tag def_01h... --gap "The sandbox has no record with two units of one dose."
    """
    if bool(scenario) == bool(gap):
        raise click.UsageError("Name a --scenario, or state the --gap.")
    body = {"reproducible": bool(scenario), "scenario": scenario, "gap": gap}
    show_one(api.call("PUT", f"/defects/{api.segment(defect_id)}/tag", body), json_=json_)


@defect.command("close")
@named
@click.option("--outcome", required=True, help="What was done.")
@json_option
def close(defect_id: str, *, outcome: str, json_: bool) -> None:
    r"""Close a defect.

    \b
    Example:
      hilum defect close def_01h... --outcome "Fixed in 1.1, which is certified."
    """
    show_one(api.call("POST", f"/defects/{api.segment(defect_id)}/close", {"outcome": outcome}), json_=json_)


@defect.command("figures")
@json_option
def figures(*, json_: bool) -> None:
    r"""Show how many defects escaped to production, and how many of those the sandbox could have shown.

    \b
    Example:
      hilum defect figures
    """
    show_one(api.call("GET", "/defect-figures"), json_=json_)
