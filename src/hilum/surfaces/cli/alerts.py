"""``hilum alert``: that calls of apps exceed a limit of the policy."""

from typing import Any

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, TENANT
from hilum.surfaces.cli.resources import json_option, show, show_one

COLUMNS = ("id", "app", "tenant", "kind", "limit", "calls", "hits", "opened_at", "closed_at", "why")
_HITS = {"refused": ("refused",), "failed": ("mistaken", "throttled", "failed"), "slow": ("within_ms",)}


@click.group()
def alert() -> None:
    r"""See whether calls of apps are refused, fail or are slow beyond the limits of the policy.

    \b
    Example:
      hilum alert list --state open
    """


@alert.command("list")
@click.option("--app", "app", type=APP, default="", help="Only about this app.")
@click.option("--tenant", type=TENANT, default="", help="Only at this hospital.")
@click.option("--state", type=click.Choice(["open", "closed"]), default=None)
@json_option
def alert_list(*, app: str, tenant: str, state: str | None, json_: bool) -> None:
    r"""List alerts: for a vendor's member about their apps, for an administrator at their hospital, for staff all.

    \b
    Examples:
      hilum alert list --state open
      hilum alert list --app Rota --tenant general
    """
    found = api.every("/alerts", app=app, tenant=tenant, state=state or "")
    show(found if json_ else [_flat(each) for each in found], COLUMNS, json_=json_)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    figures = row["figures"]
    hits = sum(figures.get(name, 0) for name in _HITS.get(row["kind"], ()))
    return row | {"calls": figures.get("calls"), "hits": f"{hits} ms" if row["kind"] == "slow" else hits}


@alert.command("show")
@click.argument("alert_id", metavar="ALERT")
@json_option
def alert_show(alert_id: str, *, json_: bool) -> None:
    r"""Show an alert: the limit, the calls that exceed it, and since when.

    \b
    Example:
      hilum alert show alt_01h...
    """
    show_one(api.call("GET", f"/alerts/{api.segment(alert_id)}"), json_=json_)


@alert.command("progress")
@json_option
def alert_progress(*, json_: bool) -> None:
    r"""Show when all apps were last judged, and how many could not be, by reason (staff).

    \b
    Example:
      hilum alert progress
    """
    show_one(api.call("GET", "/monitoring"), json_=json_)
