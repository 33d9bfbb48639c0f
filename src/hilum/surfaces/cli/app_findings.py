"""``hilum finding``: what was found about certified apps since they were certified."""

import click

from hilum.review.recertification.models import SORTS
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, TENANT, app_argument
from hilum.surfaces.cli.resources import json_option, show, show_one, sort_option

COLUMNS = ("id", "app", "severity", "rule", "about", "state", "due_at")


@click.group()
def finding() -> None:
    r"""See where certified apps differ from their review, and request a check.

    \b
    Examples:
      hilum finding list --overdue
      hilum finding recheck Rota
    """


@finding.command("list")
@click.option("--app", "app", type=APP, default="", help="Only about this app.")
@click.option("--state", type=click.Choice(["open", "closed", "suspected"]), default=None)
@click.option("--overdue", is_flag=True, help="Only those past their deadline.")
@click.option(
    "--tenant",
    type=TENANT,
    default="",
    help="Only open ones about calls that were seen at this hospital; for its administrators.",
)
@sort_option(SORTS)
@json_option
def finding_list(*, app: str, state: str | None, overdue: bool, tenant: str, sort: str, json_: bool) -> None:
    r"""List findings: for a vendor's member about their apps, for staff all, for an administrator those about calls at their hospital.

    \b
    Examples:
      hilum finding list --state open
      hilum finding list --app Rota --overdue
      hilum finding list --tenant general
    """
    if tenant:
        if app or state or overdue:
            raise click.UsageError("--tenant lists all open findings of a hospital; leave out the others.")
        show(api.every(f"/tenants/{api.segment(tenant)}/findings"), COLUMNS, json_=json_)
        return
    found = api.every("/findings", app=app, sort=sort, state=state or "", overdue="true" if overdue else "")
    show(found, COLUMNS, json_=json_)


@finding.command("show")
@click.argument("finding_id", metavar="FINDING")
@json_option
def finding_show(finding_id: str, *, json_: bool) -> None:
    r"""Show a finding: its rule, evidence, reproduction, fix and deadline.

    \b
    Example:
      hilum finding show fnd_01h...
    """
    show_one(api.call("GET", f"/findings/{api.segment(finding_id)}"), json_=json_)


@finding.command("recheck")
@app_argument
@json_option
def finding_recheck(app_id: str, *, json_: bool) -> None:
    r"""Request a check of an app within a minute or two, for example after a fix. At most once in ten minutes.

    \b
    Example:
      hilum finding recheck Rota
    """
    show_one(api.call("POST", f"/revalidation/apps/{api.segment(app_id)}"), json_=json_)


@finding.command("escalation")
@click.argument("app", metavar="[APP]", type=APP, required=False, default="")
@json_option
def finding_escalation(app: str, *, json_: bool) -> None:
    r"""Show how far an app has was escalated, or list all that climbed. A level beyond waits for a person.

    \b
    Examples:
      hilum finding escalation
      hilum finding escalation Rota
    """
    if app:
        show_one(api.call("GET", f"/revalidation/apps/{api.segment(app)}"), json_=json_)
    else:
        show(api.every("/revalidation/apps"), ("app", "level", "due", "looked_at"), json_=json_)


@finding.command("service")
@app_argument
@json_option
def finding_service(app_id: str, *, json_: bool) -> None:
    r"""Show whether a certified app meets the policy's criteria for its service, over four weeks.

    \b
    Example:
      hilum finding service Rota
    """
    found = api.call("GET", f"/revalidation/apps/{api.segment(app_id)}/service")
    if json_:
        show_one(found, json_=True)
        return
    show(found["criteria"], ("criterion", "exceeded", "percent", "hits", "of", "limit"))


@finding.command("figures")
@click.option(
    "--days", type=click.IntRange(1, 366), default=90, show_default=True, help="Over how many days."
)
@json_option
def finding_figures(*, days: int, json_: bool) -> None:
    r"""Show how many published apps are current, open exceptions and over-request of scopes, with the rows behind them (staff).

    \b
    Example:
      hilum finding figures --days 30
    """
    show_one(api.call("GET", f"/revalidation/figures?days={days}"), json_=json_)


@finding.command("progress")
@json_option
def finding_progress(*, json_: bool) -> None:
    r"""Show the progress of this night's round over all certified apps.

    \b
    Example:
      hilum finding progress
    """
    show_one(api.call("GET", "/revalidation"), json_=json_)
