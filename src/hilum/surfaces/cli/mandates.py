"""``hilum mandate``: who of a hospital answers for a backend service there."""

from datetime import datetime

import click

from hilum.apps.service_owners.models import SORTS
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import TENANT, Named, id_of
from hilum.surfaces.cli.resources import MOMENT, json_option, show, show_one, sort_option, tenant_option

COLUMNS = ("id", "tenant", "client", "approver", "state", "ends_at", "lost_at")


@click.group()
def mandate() -> None:
    r"""Manage who of a hospital answers for a backend service; without a mandate it gets no tokens at a production hospital.

    \b
    Examples:
      hilum mandate ask "Risk Reports" --tenant mercy --approver m.berg
      hilum mandate agree mnd_01h...
      hilum mandate list --findings
    """


@mandate.command("ask")
@click.argument("client", metavar="SERVICE", type=Named("client", "hilum mandate unanswered"))
@tenant_option
@click.option("--approver", required=True, help="The person at the hospital who will answer for it.")
@click.option(
    "--until", "ends_at", type=MOMENT, default=None, help="When it ends; by default, when the client does."
)
@json_option
def ask(client: str, *, tenant: str, approver: str, ends_at: datetime | None, json_: bool) -> None:
    r"""Ask a colleague to answer for a backend service; they agree with their own account.

    `hilum mandate unanswered` lists the services of a hospital that nobody answers for.

    \b
    Example:
      hilum mandate ask "Risk Reports" --tenant mercy --approver m.berg --until 2027-06-30
    """
    tenant = api.require_tenant(tenant)
    body = {
        "client": client,
        "tenant": tenant,
        "approver": id_of("person", approver, tenant=tenant),
        "ends_at": ends_at.isoformat() if ends_at else None,
    }
    show_one(api.call("POST", "/mandates", body), json_=json_)


@mandate.command("agree")
@click.argument("mandate_id", metavar="MANDATE")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation: you have read the mandate.")
@json_option
def agree(mandate_id: str, *, yes: bool, json_: bool) -> None:
    r"""Read what a backend service is for, and agree to answer for it.

    \b
    Example:
      hilum mandate agree mnd_01h...
    """
    path = f"/mandates/{api.segment(mandate_id)}"
    if not yes:
        found = api.call("GET", path)
        for name in ("client", "purpose", "population", "schedule", "ends_at"):
            click.echo(f"{name:18} {found[name]}", err=True)
        click.confirm("Do you agree to answer for this at your hospital?", abort=True, err=True)
    show_one(api.call("POST", f"{path}/agree"), json_=json_)


@mandate.command("end")
@click.argument("mandate_id", metavar="MANDATE")
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def end(mandate_id: str, *, reason: str, json_: bool) -> None:
    r"""End or decline a mandate; the service gets no new tokens from then on.

    \b
    Example:
      hilum mandate end mnd_01h... --reason "the programme is over"
    """
    show_one(api.call("POST", f"/mandates/{api.segment(mandate_id)}/end", {"reason": reason}), json_=json_)


@mandate.command("list")
@click.option("--tenant", type=TENANT, default="", help="Only those of one hospital.")
@click.option("--findings", is_flag=True, help="Only those that have lost their approver.")
@sort_option(SORTS)
@json_option
def list_(*, tenant: str, findings: bool, sort: str, json_: bool) -> None:
    r"""List mandates: those of your organisation, or those that name you.

    \b
    Example:
      hilum mandate list --findings
    """
    query = {"tenant": tenant, "findings": "true" if findings else ""}
    show(api.every("/mandates", sort=sort, **query), COLUMNS, json_=json_)


@mandate.command("unanswered")
@tenant_option
@json_option
def unanswered(*, tenant: str, json_: bool) -> None:
    r"""List the backend services at a hospital for which nobody of it answers.

    Those with a text keep working until their end, since their vendor entered a name before there were mandates; the others get no tokens.
    At a synthetic hospital a service needs nobody, and none is listed.

    \b
    Example:
      hilum mandate unanswered --tenant mercy
    """
    path = f"/tenants/{api.segment(api.require_tenant(tenant))}/unanswered-services"
    show(api.every(path), ("client", "name", "app", "text", "ends_at"), json_=json_)


@mandate.command("show")
@click.argument("mandate_id", metavar="MANDATE")
@json_option
def show_(mandate_id: str, *, json_: bool) -> None:
    r"""Show one mandate: what its approver was asked, and what they answered.

    \b
    Example:
      hilum mandate show mnd_01h...
    """
    show_one(api.call("GET", f"/mandates/{api.segment(mandate_id)}"), json_=json_)
