"""``hilum app edit``: what a vendor says of its app, and the edits of apps and clients that wait for a reviewer."""

import base64
from typing import BinaryIO

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import app_argument
from hilum.surfaces.cli.resources import json_option, picture_in_base64, show, show_one


@click.command("edit")
@app_argument
@click.option("--revision", required=True, help="The revision that `hilum app show` prints.")
@click.option("--name", default=None, help="A new name.")
@click.option("--description", default=None, help="A new description.")
@click.option("--purpose", default=None, help="A new purpose; people are asked to agree again.")
@click.option("--logo", type=click.File("rb"), default=None, help="A new logo: a PNG or JPEG file.")
@click.option("--no-logo", is_flag=True, help="Remove the logo.")
@json_option
def app_edit(
    app_id: str,
    *,
    revision: str,
    name: str | None,
    description: str | None,
    purpose: str | None,
    logo: BinaryIO | None,
    no_logo: bool,
    json_: bool,
) -> None:
    r"""Edit the name, description, purpose or logo of an app. If it is certified, all but the description waits for a reviewer.

    \b
    Example:
      hilum app edit app_01h... --revision 5b0f... --description "Writes notes."
    """
    body: dict[str, str | None] = {
        "revision": revision,
        "name": name,
        "description": description,
        "purpose": purpose,
    }
    body["logo"] = picture_in_base64(logo, none=no_logo)
    show_one(api.call("PATCH", f"/apps/{api.segment(app_id)}", body), json_=json_)


@click.command("edits")
@json_option
def app_edits(*, json_: bool) -> None:
    r"""List edits of apps and clients that wait for a reviewer; as a vendor's member all of your vendor.

    \b
    Example:
      hilum app edits
    """
    columns = ("id", "app", "client", "state", "order", "before", "asked_by", "reason")
    show([*api.every("/app-edits"), *api.every("/client-changes")], columns, json_=json_)


@click.command("edit-logo")
@click.argument("edit_id")
@click.argument("file", type=click.File("wb"))
def app_edit_logo(edit_id: str, file: BinaryIO) -> None:
    r"""Write an edit's logo to FILE, to look at it before the decision.

    \b
    Example:
      hilum app edit-logo aed_01h... logo.png
    """
    found = api.call("GET", f"/app-edits/{api.segment(edit_id)}/logo")
    file.write(base64.b64decode(found["png"]))


@click.command("approve-edit")
@click.argument("edit_id")
@click.option(
    "--reason",
    default="",
    help="Why, for example why nobody will mistake the logo for another; the vendor sees it.",
)
@json_option
def app_approve_edit(edit_id: str, reason: str, *, json_: bool) -> None:
    r"""Approve an edit of an app or a client (reviewers); it takes effect now, exactly as requested.

    \b
    Examples:
      hilum app approve-edit aed_01h...
      hilum app approve-edit chg_01h...
    """
    body = {"reason": reason} if reason else None
    show_one(api.call("POST", _path(edit_id, "approve"), body), json_=json_)


@click.command("refuse-edit")
@click.argument("edit_id")
@click.option("--reason", required=True, help="Why; it is recorded, and shown to the vendor.")
@json_option
def app_refuse_edit(edit_id: str, reason: str, *, json_: bool) -> None:
    r"""Refuse an edit of an app or a client (reviewers), or withdraw one of your vendor.

    \b
    Examples:
      hilum app refuse-edit aed_01h... --reason "the purpose is broader than the workflows"
      hilum app refuse-edit chg_01h... --reason "the new address is not the vendor's"
    """
    show_one(api.call("POST", _path(edit_id, "refuse"), {"reason": reason}), json_=json_)


def _path(edit_id: str, verb: str) -> str:
    """Return the address of an edit, which is that of its kind."""
    kind = "client-changes" if edit_id.startswith("chg_") else "app-edits"
    return f"/{kind}/{api.segment(edit_id)}/{verb}"
