"""``hilum policy override``: an overridable rule that is set aside for one app, and its end."""

from datetime import datetime

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, TENANT
from hilum.surfaces.cli.resources import MOMENT, json_option, show, show_done

COLUMNS = ("id", "rule", "app", "tenant", "state", "ends_at", "reason", "control", "agreed_by")


@click.command("override")
@click.argument("rule")
@click.option("--app", "app", type=APP, required=True, help="The app.")
@click.option("--tenant", type=TENANT, default="", help="Only at this hospital; by default, everywhere.")
@click.option("--reason", required=True, help="Why the rule cannot be kept; it is recorded.")
@click.option("--control", required=True, help="What is done instead of the rule, until then.")
@click.option("--until", type=MOMENT, required=True, help="When it ends by itself, such as 2026-12-01.")
@json_option
def override(
    rule: str, *, app: str, tenant: str, reason: str, control: str, until: datetime, json_: bool
) -> None:
    r"""Ask a second person to set an overridable rule of the rule book aside for one app, for a time.

    RULE is the name of a tier rule, or the path of what a cell requires, as `hilum policy assess` lists it.

    \b
    Example:
      hilum policy override orders-in-chart --app app_01 --tenant general --until 2026-12-01T00:00:00Z \
        --reason "certified again by then" --control "a pharmacist checks each order"
    """
    body = {
        "rule": rule,
        "tenant": tenant or None,
        "reason": reason,
        "control": control,
        "ends_at": until.isoformat(),
    }
    show_done(api.call("POST", f"/apps/{app}/overrides", body), json_=json_)


@click.command("overrides")
@json_option
def overrides(*, json_: bool) -> None:
    r"""List overrides of rules, newest first, and why each that sets nothing aside does not.

    \b
    Example:
      hilum policy overrides --json
    """
    show(api.every("/policies/overrides"), COLUMNS, json_=json_)


@click.command("end-override")
@click.argument("override_id", metavar="OVERRIDE")
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def end_override(override_id: str, *, reason: str, json_: bool) -> None:
    r"""End an override at once. One person does it.

    \b
    Example:
      hilum policy end-override ovr_01 --reason "certified again"
    """
    show_done(api.call("POST", f"/policies/overrides/{override_id}/end", {"reason": reason}), json_=json_)
