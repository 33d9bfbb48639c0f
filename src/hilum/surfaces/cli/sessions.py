"""``hilum session``: one's own sessions at browsers."""

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.output import REFUSED
from hilum.surfaces.cli.resources import json_option, show, show_one

COLUMNS = ("id", "method", "browser", "network", "created_at", "last_seen_at", "ends_at")


@click.group()
def session() -> None:
    r"""List and end your own sessions at browsers. API tokens are not among them.

    \b
    Examples:
      hilum session list
      hilum session end --all
    """


@session.command("list")
@json_option
def list_(*, json_: bool) -> None:
    r"""List your sessions that can be used now, with where they began.

    \b
    Example:
      hilum session list
    """
    show(api.call("GET", "/sessions")["items"], COLUMNS, json_=json_)


@session.command("end")
@click.argument("session_id", metavar="[SESSION]", required=False, default="")
@click.option("--all", "all_", is_flag=True, help="All of your sessions.")
@json_option
def end(session_id: str, *, all_: bool, json_: bool) -> None:
    r"""End one of your sessions, or all of them, and the access of apps that depends on them.

    \b
    Example:
      hilum session end ses_01h...
    """
    if bool(session_id) is all_:
        click.secho("refused: pass a session, or --all", fg="red", err=True)
        click.echo("Next: `hilum session list` lists them.", err=True)
        raise SystemExit(REFUSED)
    path = "/sessions" if all_ else f"/sessions/{api.segment(session_id)}"
    show_one(api.call("DELETE", path), json_=json_)
