"""``hilum app edit``: what a vendor says of its app, and the edits that wait for a reviewer."""

import click

from hilum.cli import api
from hilum.cli.named import app_argument
from hilum.cli.resources import json_option, show, show_one


@click.command("edit")
@app_argument
@click.option("--revision", required=True, help="The revision that `hilum app show` prints.")
@click.option("--name", default=None, help="A new name.")
@click.option("--description", default=None, help="A new description.")
@click.option("--purpose", default=None, help="A new purpose; people are asked again.")
@json_option
def app_edit(
    app_id: str,
    *,
    revision: str,
    name: str | None,
    description: str | None,
    purpose: str | None,
    json_: bool,
) -> None:
    r"""Edit the name, description or purpose of an app. If it is certified, name and purpose wait for a reviewer.

    \b
    Example:
      hilum app edit app_01h... --revision 5b0f... --description "Writes notes."
    """
    body = {"revision": revision, "name": name, "description": description, "purpose": purpose}
    show_one(api.call("PATCH", f"/apps/{api.segment(app_id)}", body), json_=json_)


@click.command("edits")
@json_option
def app_edits(*, json_: bool) -> None:
    r"""List edits of names and purposes that wait for a reviewer; as a vendor's member all of your vendor.

    \b
    Example:
      hilum app edits
    """
    columns = ("id", "app", "state", "order", "before", "asked_by", "reason")
    show(api.every("/app-edits"), columns, json_=json_)


@click.command("approve-edit")
@click.argument("edit_id")
@json_option
def app_approve_edit(edit_id: str, *, json_: bool) -> None:
    r"""Agree, as a reviewer, to an edit of a name or purpose; it takes effect now.

    \b
    Example:
      hilum app approve-edit aed_01h...
    """
    show_one(api.call("POST", f"/app-edits/{api.segment(edit_id)}/approve"), json_=json_)


@click.command("refuse-edit")
@click.argument("edit_id")
@click.option("--reason", required=True, help="Why.")
@json_option
def app_refuse_edit(edit_id: str, reason: str, *, json_: bool) -> None:
    r"""Refuse an edit of a name or purpose, or withdraw it.

    \b
    Example:
      hilum app refuse-edit aed_01h... --reason "the purpose is broader than the workflows"
    """
    path = f"/app-edits/{api.segment(edit_id)}/refuse"
    show_one(api.call("POST", path, {"reason": reason}), json_=json_)
