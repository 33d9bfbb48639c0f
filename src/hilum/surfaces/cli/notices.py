"""``hilum notices`` and ``hilum webhook``: what was sent to whom, and where vendors receive webhooks."""

from typing import Any

import click

from hilum.records.notices.models import OVERLAP, OVERLAP_MAX, Channel, State
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, VENDOR
from hilum.surfaces.cli.resources import all_option, json_option, limit_option, read_list, show, show_one

COLUMNS = ("id", "channel", "kind", "recipient", "state", "reason", "attempts", "created_at")
HOURS = int(OVERLAP.total_seconds() // 3_600)
HOURS_MAX = int(OVERLAP_MAX.total_seconds() // 3_600)
SECRET_HINT = "keep the secret for whoever runs the receiver; it is shown only here"


@click.group()
def notices() -> None:
    r"""Look at mail and webhooks: what was sent, what waits, and what needs a person.

    \b
    Examples:
      hilum notices list --state unknown
      hilum notices show ntc_01h...
    """


@notices.command("list")
@click.option("--state", type=click.Choice([str(each) for each in State]), default=None, help="Only these.")
@click.option(
    "--channel",
    type=click.Choice([str(each) for each in Channel]),
    default=None,
    help="Only mail or webhooks.",
)
@click.option("--vendor", type=VENDOR, default="", help="Only those about one vendor.")
@click.option("--recipient", default="", help="Only those to a mail address or an endpoint's id.")
@limit_option
@all_option
@json_option
def list_(
    *,
    state: str | None,
    channel: str | None,
    vendor: str,
    recipient: str,
    limit: int,
    all_: bool,
    json_: bool,
) -> None:
    r"""List notices, newest first. Unknown: a mail that may have been accepted. Dead: given up.

    \b
    Examples:
      hilum notices list --state dead --channel mail
      hilum notices list --recipient security@vendor.example --json
    """
    query = {"state": state or "", "channel": channel or "", "vendor": vendor, "recipient": recipient}
    show(read_list("/notices", limit, all_=all_, **query), COLUMNS, json_=json_)


@notices.command("show")
@click.argument("notice_id")
@json_option
def show_notice(notice_id: str, *, json_: bool) -> None:
    r"""Show a notice, with the reason and reply code of its last attempt.

    \b
    Example:
      hilum notices show ntc_01h...
    """
    show_one(api.call("GET", f"/notices/{api.segment(notice_id)}"), json_=json_)


@notices.command("resend")
@click.argument("notice_id")
@json_option
def resend(notice_id: str, *, json_: bool) -> None:
    r"""Send a notice again that is unknown or dead; its recipient may get it twice.

    \b
    Example:
      hilum notices resend ntc_01h...
    """
    show_one(api.call("POST", f"/notices/{api.segment(notice_id)}/resend"), json_=json_)


@click.group()
def webhook() -> None:
    r"""Manage where vendors receive webhooks.

    \b
    Examples:
      hilum webhook add https://hooks.vendor.example/hilum --vendor ven_01h...
      hilum webhook ping whk_01h...
    """


@webhook.command("add")
@click.argument("url")
@click.option("--vendor", type=VENDOR, required=True, help="The vendor.")
@click.option("--app", type=APP, default="", help="Only events about this app.")
@click.option("--event", "events", multiple=True, help="Only this kind of event; may be repeated.")
@json_option
def add(url: str, *, vendor: str, app: str, events: tuple[str, ...], json_: bool) -> None:
    r"""Register an endpoint. Its secret is shown only here.

    \b
    Example:
      hilum webhook add https://hooks.vendor.example/hilum --vendor ven_01h... --event contact.lapsed
    """
    body: dict[str, Any] = {"url": url, "vendor": vendor, "app": app or None, "events": events}
    _show_secret(api.call("POST", "/webhooks", body), json_=json_)


def _show_secret(found: dict[str, Any], *, json_: bool) -> None:
    show_one(found, json_=json_)
    click.secho(SECRET_HINT, fg="yellow", err=True)


@webhook.command("list")
@click.option("--vendor", type=VENDOR, default="", help="Only those of one vendor.")
@json_option
def list_webhooks(*, vendor: str, json_: bool) -> None:
    r"""List endpoints, with the answer to the last call.

    \b
    Example:
      hilum webhook list --json
    """
    columns = (
        "id",
        "vendor",
        "url",
        "disabled",
        "failures",
        "last_status",
        "last_reason",
        "last_at",
    )
    show(api.every("/webhooks", vendor=vendor), columns, json_=json_)


@webhook.command("rotate")
@click.argument("webhook_id")
@click.option(
    "--overlap-hours",
    type=click.IntRange(0, HOURS_MAX),
    default=HOURS,
    show_default=True,
    help="How long the old secret keeps signing, too; 0 ends it now.",
)
@json_option
def rotate(webhook_id: str, *, overlap_hours: int, json_: bool) -> None:
    r"""Create a new secret for an endpoint. It is shown only here.

    \b
    Examples:
      hilum webhook rotate whk_01h...
      hilum webhook rotate whk_01h... --overlap-hours 0
    """
    path = f"/webhooks/{api.segment(webhook_id)}/rotate"
    _show_secret(api.call("POST", path, {"overlap_hours": overlap_hours}), json_=json_)


@webhook.command("ping")
@click.argument("webhook_id")
@json_option
def ping(webhook_id: str, *, json_: bool) -> None:
    r"""Send a test event; `hilum webhook list` shows how it was answered.

    \b
    Example:
      hilum webhook ping whk_01h...
    """
    show_one(api.call("POST", f"/webhooks/{api.segment(webhook_id)}/ping"), json_=json_)


@webhook.command("resume")
@click.argument("webhook_id")
@json_option
def resume(webhook_id: str, *, json_: bool) -> None:
    r"""Call an endpoint again that is disabled or paused.

    \b
    Example:
      hilum webhook resume whk_01h...
    """
    show_one(api.call("POST", f"/webhooks/{api.segment(webhook_id)}/resume"), json_=json_)


@webhook.command("remove")
@click.argument("webhook_id")
@json_option
def remove(webhook_id: str, *, json_: bool) -> None:
    r"""Remove an endpoint; what still waits for it is given up.

    \b
    Example:
      hilum webhook remove whk_01h...
    """
    show_one(api.call("DELETE", f"/webhooks/{api.segment(webhook_id)}"), json_=json_)
