"""``hilum review``: the regulated lane."""

import click

from hilum.review.submissions.models import LANE_SORTS
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import version_argument
from hilum.surfaces.cli.resources import json_option, show, show_one, sort_option


@click.command("ask-access")
@version_argument
@click.option("--scope", multiple=True, required=True, help="A scope on one patient's own record.")
@json_option
def review_ask_access(version_id: str, scope: tuple[str, ...], *, json_: bool) -> None:
    r"""Ask for access that regulation protects: answered in fixed business days, whatever else is reviewed.

    \b
    Example:
      hilum review ask-access "My Record@1.0" --scope launch/patient --scope patient/Observation.rs
    """
    body = {"version": version_id, "scopes": list(scope)}
    show_one(api.call("POST", "/regulated-access", body), json_=json_)


@click.command("lane")
@click.argument("request_id", metavar="[REQUEST]", required=False)
@sort_option(LANE_SORTS)
@json_option
def review_lane(request_id: str | None, *, sort: str, json_: bool) -> None:
    r"""List requests for protected access, or show one with what it lacks.

    \b
    Examples:
      hilum review lane
      hilum review lane lan_01h...
    """
    if request_id:
        show_one(api.call("GET", f"/regulated-access/{api.segment(request_id)}"), json_=json_)
        return
    columns = ("id", "app", "state", "scopes", "asked_at", "due_at", "enabled_at")
    show(api.every("/regulated-access", sort=sort), columns, json_=json_)


@click.command("verify")
@click.argument("request_id", metavar="REQUEST")
@click.argument("verdict", type=click.Choice(["authentic", "not-authentic"]))
@click.option("--reason", required=True, help="How you verified it; the vendor sees it.")
@json_option
def review_verify(request_id: str, verdict: str, *, reason: str, json_: bool) -> None:
    r"""Record whether who asks for protected access is who they say they are (reviewers). The app is enabled at once if nothing else is lacking.

    \b
    Example:
      hilum review verify lan_01h... authentic --reason "the company register has them"
    """
    body = {"authentic": verdict == "authentic", "reason": reason}
    show_one(api.call("POST", f"/regulated-access/{api.segment(request_id)}/verify", body), json_=json_)


COMMANDS = (review_ask_access, review_lane, review_verify)
