"""``hilum review``: clocks and published figures, draws and appeals."""

import click

from hilum.review.submissions.clock_models import AppealState
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
        "lens",
        "count",
        "good",
        "median_milli",
        "p90_milli",
        "median_whole_milli",
        "p90_whole_milli",
    )
    show(found["figures"], columns, json_=False)


@click.command("draw")
@submission_argument
@json_option
def review_draw(submission_id: str, *, json_: bool) -> None:
    r"""Show whether a submission with clean checks was drawn to be examined by a person, and by which seed.

    \b
    Example:
      hilum review draw sub_01h...
    """
    show_one(api.call("GET", _where(submission_id, "draw")), json_=json_)


@click.command("appeal")
@submission_argument
@click.option("--text", required=True, help="Why the rejection is wrong.")
@json_option
def review_appeal(submission_id: str, *, text: str, json_: bool) -> None:
    r"""Appeal against a rejection of yours, once, within 30 days: reviewers decide who had no part in it.

    \b
    Example:
      hilum review appeal sub_01h... --text "section 4 states the period"
    """
    show_one(api.call("POST", _where(submission_id, "appeal"), {"text": text}), json_=json_)


@click.command("appeals")
@click.option(
    "--state", type=click.Choice([each.value for each in AppealState]), default="open", show_default=True
)
@json_option
def review_appeals(*, state: str, json_: bool) -> None:
    r"""List appeals against rejections (staff).

    \b
    Example:
      hilum review appeals
    """
    columns = ("submission", "state", "text", "at", "decided_at", "reason")
    show(api.every("/appeals", state=state), columns, json_=json_)


@click.command("decide-appeal")
@submission_argument
@click.argument("decision", type=click.Choice(["uphold", "overturn"]))
@click.option("--reason", required=True, help="Why; the vendor sees it.")
@json_option
def review_decide_appeal(submission_id: str, decision: str, *, reason: str, json_: bool) -> None:
    r"""Decide an appeal, as a reviewer who had no part in the rejection.

    \b
    Example:
      hilum review decide-appeal sub_01h... overturn --reason "the period is stated"
    """
    body = {"overturn": decision == "overturn", "reason": reason}
    show_one(api.call("POST", _where(submission_id, "appeal/decide"), body), json_=json_)


COMMANDS = (
    review_clocks,
    review_figures,
    review_draw,
    review_appeal,
    review_appeals,
    review_decide_appeal,
)
