"""``hilum app service``: how the calls of an app ended."""

from typing import Any

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import TENANT, app_argument
from hilum.surfaces.cli.output import as_json, table
from hilum.surfaces.cli.resources import json_option

_NUMBERS = ("calls", "answered", "refused", "mistaken", "throttled", "failed", "within_ms")


@click.command("service")
@app_argument
@click.option("--days", type=click.IntRange(1, 90), default=7, show_default=True, help="Over how many days.")
@click.option("--tenant", type=TENANT, default="", help="Only at this hospital.")
@json_option
def app_service(app_id: str, *, days: int, tenant: str, json_: bool) -> None:
    r"""Show how an app's calls ended, by day and hospital, with the p95 latency.

    \b
    Examples:
      hilum app service Rota
      hilum app service Rota --days 30 --tenant general
    """
    query: dict[str, Any] = {"days": days} | ({"tenant": tenant} if tenant else {})
    found = api.call("GET", f"/apps/{api.segment(app_id)}/service", query=query)
    if json_:
        as_json(found)
        return
    table([*found["by_day"], {"day": "all"} | found["total"]], ("day", *_NUMBERS))
    if not tenant and found["by_tenant"]:
        click.echo()
        table(found["by_tenant"], ("tenant", *_NUMBERS))


COMMANDS = (app_service,)
