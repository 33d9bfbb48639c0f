"""``hilum deletion-request``: what apps are asked to delete after a withdrawal, and what their vendors answered."""

import click

from hilum.apps.deletion_requests.models import State
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, TENANT, VENDOR
from hilum.surfaces.cli.resources import all_option, json_option, limit_option, read_list, show, show_one

COLUMNS = ("id", "state", "cause", "app", "tenant", "vendor", "due_at", "reason")


@click.group()
def deletion_request() -> None:
    r"""List and answer requests to delete what an app has. Members of a vendor see their own, a hospital's administrator those about it.

    \b
    Examples:
      hilum deletion-request list --state open
      hilum deletion-request answer dlr_01h... deleted
    """


@deletion_request.command("list")
@click.option("--state", type=click.Choice([str(each) for each in State]), help="Only those in this state.")
@click.option("--vendor", type=VENDOR, default="", help="Only those of one vendor.")
@click.option("--tenant", type=TENANT, default="", help="Only those about one hospital.")
@click.option("--app", type=APP, default="", help="Only those about one app.")
@limit_option
@all_option
@json_option
def list_(
    *, state: str | None, vendor: str, tenant: str, app: str, limit: int, all_: bool, json_: bool
) -> None:
    r"""List deletion requests, oldest first.

    \b
    Examples:
      hilum deletion-request list --state open
      hilum deletion-request list --app app_01h... --all --json
    """
    query = {"state": state or "", "vendor": vendor, "tenant": tenant, "app": app}
    show(read_list("/deletion-requests", limit, all_=all_, **query), COLUMNS, json_=json_)


@deletion_request.command("show")
@click.argument("deletion_request_id")
@json_option
def show_(deletion_request_id: str, *, json_: bool) -> None:
    r"""Show a deletion request with its answer; to owners of the vendor also its patient.

    \b
    Example:
      hilum deletion-request show dlr_01h...
    """
    show_one(api.call("GET", f"/deletion-requests/{api.segment(deletion_request_id)}"), json_=json_)


@deletion_request.command("answer")
@click.argument("deletion_request_id")
@click.argument("answer", type=click.Choice([State.DELETED, State.KEPT]))
@click.option("--reason", default="", help="Why something is kept; only with kept.")
@json_option
def answer_(deletion_request_id: str, answer: str, *, reason: str, json_: bool) -> None:
    r"""Answer a deletion request, as an owner of the vendor.

    \b
    Examples:
      hilum deletion-request answer dlr_01h... deleted
      hilum deletion-request answer dlr_01h... kept --reason "Medical device file, 10 years"
    """
    body = {"answer": answer, "reason": reason}
    show_one(
        api.call("POST", f"/deletion-requests/{api.segment(deletion_request_id)}/answer", body), json_=json_
    )
