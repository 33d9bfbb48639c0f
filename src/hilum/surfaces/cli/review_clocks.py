"""``hilum review``: clocks, published figures and appeals."""

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.output import as_json
from hilum.surfaces.cli.resources import json_option, show, show_one

submission_argument = click.argument("submission_id", metavar="SUBMISSION")


def _where(submission: str, what: str) -> str:
    return f"/submissions/{api.segment(submission)}/{what}"


@click.command("clocks")
@submission_argument
@json_option
def review_clocks(submission_id: str, *, json_: bool) -> None:
    r"""Show the clocks of a submission, in thousandths of business days: what the platform used, and what its vendor did.

    \b
    Example:
      hilum review clocks sub_01h...
    """
    columns = (
        "stage",
        "allowed_days",
        "used_milli",
        "vendor_milli",
        "waits_for",
        "due_at",
        "stopped_at",
        "missed",
    )
    show(api.call("GET", _where(submission_id, "clocks"))["clocks"], columns, json_=json_)


@click.command("figures")
@json_option
def review_figures(*, json_: bool) -> None:
    r"""Show how long reviews took within a year, and how many appeals were right.

    \b
    Example:
      hilum review figures
    """
    found = api.call("GET", "/review/figures")
    if json_:
        as_json(found)
        return
    columns = (
        "kind",
        "tier",
        "discipline",
        "count",
        "good",
        "median_milli",
        "p90_milli",
        "median_whole_milli",
        "p90_whole_milli",
    )
    show(found["figures"], columns, json_=False)


@click.command("appeal")
@submission_argument
@click.option("--text", required=True, help="Why the rejection is wrong.")
@json_option
def review_appeal(submission_id: str, *, text: str, json_: bool) -> None:
    r"""Appeal against a rejection of yours, once, within 30 days: reviewers who had no part in it judge it again.

    \b
    Example:
      hilum review appeal sub_01h... --text "section 4 states the period"
    """
    show_one(api.call("POST", _where(submission_id, "appeal"), {"text": text}), json_=json_)


COMMANDS = (
    review_clocks,
    review_figures,
    review_appeal,
)
