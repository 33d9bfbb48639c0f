"""``hilum installation precedents``, ``share`` and ``shared``: what hospitals share of their approvals of apps."""

from typing import Any

import click

from hilum.cli import api
from hilum.cli.named import APP, app_argument
from hilum.cli.output import as_json, plain
from hilum.cli.resources import json_option, show, show_one, tenant_option


@click.command("precedents")
@app_argument
@tenant_option
@click.option(
    "--scope", multiple=True, help="A scope that you would grant; by default, those you grant now, or all."
)
@click.option("--role", multiple=True, help="A role that you would give it to.")
@json_option
def installation_precedents(
    app_id: str, tenant: str, *, scope: tuple[str, ...], role: tuple[str, ...], json_: bool
) -> None:
    r"""Show what other hospitals share of their approvals of an app, and what is left for you to decide.

    \b
    Examples:
      hilum installation precedents "Chart Viewer" --tenant general
      hilum installation precedents "Chart Viewer" --tenant general --role physician
    """
    query: dict[str, str | list[str]] = {"app": app_id, "scope": list(scope), "role": list(role)}
    path = f"/tenants/{api.segment(api.require_tenant(tenant))}/precedents"
    found = api.call("GET", path, query={name: value for name, value in query.items() if value})
    if json_:
        as_json(found)
        return
    if not found["items"]:
        click.echo("No hospital shares an approval of this app.")
    for each in found["items"]:
        _print(each)
    if evidence := found["evidence"]:
        met = sum(one["outcome"] == "met" for one in evidence["scenarios"])
        click.echo(f"\nevidence: run {evidence['run']}, {met} of {len(evidence['scenarios'])} scenarios met")


def _print(found: dict[str, Any]) -> None:
    looked = f", looked at again {found['validated_at']}" if found["validated_at"] else ""
    click.echo(f"\n{plain(found['hospital'])}: approved {found['approved_at']}{looked}")
    if found["reasons"]:
        click.echo(f"  {plain(found['reasons'])}")
    for each in found["open"]:
        what = f" {plain(', '.join(each['what']))}" if each["what"] else ""
        click.echo(f"  yours to decide: {plain(each['sentence'])}{what}")
    click.echo(f"  the same: {', '.join(found['same']) or 'nothing'}")


@click.command("share")
@click.argument("app", type=APP, required=False)
@tenant_option
@click.option("--yes", "choice", flag_value="yes", help="Share it.")
@click.option("--no", "choice", flag_value="no", help="Do not share it.")
@click.option(
    "--as-hospital",
    "choice",
    flag_value="as_hospital",
    help="For an app: follow the hospital's general choice.",
)
@click.option("--reasons", default="", help="Why you approved it; other hospitals read this.")
@json_option
def installation_share(
    app: str | None, tenant: str, choice: str | None, reasons: str, *, json_: bool
) -> None:
    r"""Set whether your hospital shares its approval of an app; without an app, of every one without a choice of its own.

    Others see your hospital's name, scopes, roles, kinds of agreements and reasons. Nobody's name, no network, no facility and no figure is shared.

    \b
    Examples:
      hilum installation share "Chart Viewer" --tenant general --yes --reasons "Tried on two wards for a month."
      hilum installation share --tenant general --no
    """
    if choice is None:
        raise click.UsageError("Pass --yes, --no or --as-hospital.")
    shares = {"yes": True, "no": False, "as_hospital": None}[choice]
    body = {"app": app, "shares": shares, "reasons": reasons}
    made = api.call("PUT", f"/tenants/{api.segment(api.require_tenant(tenant))}/sharing", body)
    if made is None:
        click.echo("It follows the hospital's general choice.")
        return
    show_one(made, json_=json_)


@click.command("shared")
@tenant_option
@json_option
def installation_shared(tenant: str, *, json_: bool) -> None:
    r"""List what your hospital shares of its approvals, and what not.

    \b
    Example:
      hilum installation shared --tenant general
    """
    found = api.every(f"/tenants/{api.segment(api.require_tenant(tenant))}/sharing")
    show(found, ("app", "shares", "reasons", "changed_by", "changed_at"), json_=json_)


COMMANDS = (installation_precedents, installation_share, installation_shared)
