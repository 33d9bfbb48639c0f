"""``hilum request``: what people and vendors ask a hospital for."""

from datetime import datetime

import click

from hilum.hospitals.requests.models import REQUEST_SORTS, State
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import Named
from hilum.surfaces.cli.resources import MOMENT, json_option, show, show_one, sort_option, tenant_option

COLUMNS = ("id", "app", "person", "role", "roles", "scopes", "state", "reason", "asked_at")
APP_COLUMNS = ("name", "vendor", "purpose", "tasks", "installed", "asked")
# Their own name is the only one, and who asks may not read names.
OWN_COLUMNS = ("id", "app", "roles", "scopes", "state", "reason", "answer", "asked_at")


@click.group()
def request() -> None:
    r"""Ask a hospital for an app, and decide what is asked for.

    \b
    Examples:
      hilum request add app_01h... --role nurse --reason "for the ward round"
      hilum request list
      hilum request approve arq_01h...
    """


@request.command("add")
@click.argument("app_id", metavar="APP", type=Named("app", listed_by="hilum request apps"))
@tenant_option
@click.option("--role", multiple=True, help="A role that should have it; may be repeated.")
@click.option("--scope", multiple=True, help="A scope; without --scope and --workflow, all that it may have.")
@click.option("--workflow", multiple=True, help="A workflow, for the scopes that it needs.")
@click.option("--reason", required=True, help="What it is for. Name no patient.")
@json_option
def request_add(
    app_id: str,
    *,
    tenant: str,
    role: tuple[str, ...],
    scope: tuple[str, ...],
    workflow: tuple[str, ...],
    reason: str,
    json_: bool,
) -> None:
    r"""Ask for an app at your hospital, or (a vendor's member) for your app at one.

    \b
    Examples:
      hilum request add app_01h... --role physician --workflow chart_review --reason "for the ward round"
      hilum request add "Chart Viewer" --tenant "General Hospital" --role nurse --reason "pilot on two wards"
    """
    body = {
        "app": app_id,
        "tenant": tenant or None,
        "roles": list(role),
        "scopes": list(scope),
        "workflows": list(workflow),
        "reason": reason,
    }
    show_one(api.call("POST", "/requests", body), json_=json_)


@request.command("apps")
@json_option
def request_apps(*, json_: bool) -> None:
    r"""List the apps that you may ask your hospital for; name one of them in `hilum request add`.

    \b
    Examples:
      hilum request apps
      hilum request add "Chart Viewer" --role nurse --reason "for the ward round"
    """
    apps = api.every("/requestable-apps")
    if not json_:
        apps = [app | {"tasks": [task["name"] for task in app["tasks"]]} for app in apps]
    show(apps, APP_COLUMNS, json_=json_)


@request.command("list")
@tenant_option
@click.option(
    "--state", type=click.Choice([str(state) for state in State]), default="open", show_default=True
)
@click.option("--own", is_flag=True, help="Your own requests, in every state.")
@sort_option(REQUEST_SORTS)
@json_option
def request_list(*, tenant: str, state: str, own: bool, sort: str, json_: bool) -> None:
    r"""List what is asked for.

    \b
    Examples:
      hilum request list
      hilum request list --own
    """
    if own:
        show(api.every("/requests", tenant=tenant, sort=sort, own="true"), OWN_COLUMNS, json_=json_)
        return
    show(api.every("/requests", tenant=tenant, sort=sort, state=state), COLUMNS, json_=json_)


@request.command("show")
@click.argument("request_id", metavar="REQUEST")
@json_option
def request_show(request_id: str, *, json_: bool) -> None:
    r"""Show a request, and how it was decided.

    \b
    Example:
      hilum request show arq_01h...
    """
    show_one(api.call("GET", f"/requests/{api.segment(request_id)}"), json_=json_)


@request.command("withdraw")
@click.argument("request_id", metavar="REQUEST")
@json_option
def request_withdraw(request_id: str, *, json_: bool) -> None:
    r"""Withdraw a request of your own that nobody has decided.

    \b
    Example:
      hilum request withdraw arq_01h...
    """
    show_one(api.call("DELETE", f"/requests/{api.segment(request_id)}"), json_=json_)


@request.command("approve")
@click.argument("request_id", metavar="REQUEST")
@click.option("--role", multiple=True, help="This role and not those asked for; may be repeated.")
@click.option("--scope", multiple=True, help="This scope and not those asked for; may be repeated.")
@click.option(
    "--expires-at", type=MOMENT, default=None, help="When the installation ends, such as 2027-06-30."
)
@click.option("--reason", default="", help="Why; the person who asked sees it.")
@click.option("--anyway", is_flag=True, help="Even without what the app states that it needs.")
@json_option
def request_approve(
    request_id: str,
    *,
    role: tuple[str, ...],
    scope: tuple[str, ...],
    expires_at: datetime | None,
    reason: str,
    anyway: bool,
    json_: bool,
) -> None:
    r"""Approve a request: the app is installed, or its installation gets what is new.

    Other requests for the app that ask for no more than that are approved with it. If the app says that it does not work without what is left
    out, nothing is done before you repeat it with --anyway.

    \b
    Example:
      hilum request approve arq_01h... --role nurse --scope patient/Observation.rs
    """
    body = {
        "roles": list(role) or None,
        "scopes": list(scope) or None,
        "expires_at": expires_at.isoformat() if expires_at else None,
        "reason": reason,
        "anyway": anyway,
    }
    show_one(api.call("POST", f"/requests/{api.segment(request_id)}/approve", body), json_=json_)


@request.command("decline")
@click.argument("request_id", metavar="REQUEST")
@click.option("--reason", required=True, help="Why; those who asked see it.")
@click.option("--everybody", is_flag=True, help="Decline every open request for the app.")
@json_option
def request_decline(request_id: str, *, reason: str, everybody: bool, json_: bool) -> None:
    r"""Decline a request.

    \b
    Example:
      hilum request decline arq_01h... --reason "we have another app for this"
    """
    body = {"reason": reason, "everybody": everybody}
    show_one(api.call("POST", f"/requests/{api.segment(request_id)}/decline", body), json_=json_)
