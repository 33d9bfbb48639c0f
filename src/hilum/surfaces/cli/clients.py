"""``hilum client``: clients, when their secrets and keys were last used, and which of those nobody uses."""

from typing import Any

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import app_argument, client_argument
from hilum.surfaces.cli.resources import json_option, show, show_one


@click.group()
def client() -> None:
    r"""Look at clients, and at the use of their secrets and keys.

    \b
    Examples:
      hilum client list "Chart Viewer"
      hilum client unused
    """


@client.command("list")
@app_argument
@json_option
def client_list(app_id: str, *, json_: bool) -> None:
    r"""List the clients of an app.

    \b
    Example:
      hilum client list "Chart Viewer"
    """
    found = api.every(f"/apps/{api.segment(app_id)}/clients")
    show(found, ("id", "name", "version", "environment", "type", "expires_at"), json_=json_)


@client.command("show")
@client_argument
@json_option
def client_show(client_id: str, *, json_: bool) -> None:
    r"""Show a client; `revision` is what an edit must name.

    \b
    Example:
      hilum client show "Chart Viewer, web"
    """
    show_client(api.call("GET", f"/clients/{api.segment(client_id)}"), json_=json_)


def show_client(found: dict[str, Any], *, json_: bool) -> None:
    """Print a client as text or as JSON; of each secret, when it ends."""
    if not json_ and "secrets" in found:
        ends = [each["expires_at"] for each in found["secrets"]]
        found = found | {"secrets": "; ".join(f"until {end}" if end else "without an end" for end in ends)}
    show_one(found, json_=json_)


@client.command("unused")
@json_option
def unused(*, json_: bool) -> None:
    r"""List clients with secrets or keys that nobody used for 90 days; as a vendor's member those of your vendor.

    Nothing is removed by itself: `hilum app secret` replaces a secret, with --overlap-s 0 at once.

    \b
    Example:
      hilum client unused --json
    """
    rows = [
        {name: each[name] for name in ("client", "app", "name")} | credential
        for each in api.every("/unused-credentials")
        for credential in each["credentials"]
    ]
    show(rows, ("client", "app", "name", "kind", "created_at", "last_used_at", "ends_at"), json_=json_)


@client.command("credentials")
@client_argument
@json_option
def credentials(client_id: str, *, json_: bool) -> None:
    r"""List the secrets and keys of a client, with their last use and end.

    \b
    Example:
      hilum client credentials cli_01h...
    """
    found = api.call("GET", f"/clients/{api.segment(client_id)}/credentials")["items"]
    show(found, ("kind", "kid", "created_at", "last_used_at", "ends_at", "unused"), json_=json_)
