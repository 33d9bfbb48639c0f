"""``hilum review``: the disciplines of a submission, their verdicts and findings; who signs for what."""

from pathlib import Path
from typing import Any

import click

from hilum.policy.matrix.models import Discipline
from hilum.review.submissions.models import (
    Answer,
    DisciplineState,
    Severity,
    Verdict,
)
from hilum.surfaces.cli import api
from hilum.surfaces.cli.apps import read_object
from hilum.surfaces.cli.named import id_of, person_argument
from hilum.surfaces.cli.output import as_json, plain, table
from hilum.surfaces.cli.resources import json_option, show, show_done, show_one

DISCIPLINE = click.Choice([each.value for each in Discipline])
FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
COLUMNS = ("submission", "discipline", "state", "reviewer", "opened_at", "judged_at", "score", "reasons")
FOUND = ("id", "discipline", "rule", "severity", "state", "due_at")
submission_argument = click.argument("submission_id", metavar="SUBMISSION")
discipline_argument = click.argument("discipline", type=DISCIPLINE)
revision_option = click.option(
    "--revision",
    type=int,
    default=None,
    help="The revision of the discipline that you saw; refused if it has changed. By default, the current one.",
)


def _where(submission: str, discipline: str, act: str) -> str:
    return f"/submissions/{api.segment(submission)}/disciplines/{discipline}/{act}"


def _read(submission: str) -> dict[str, Any]:
    found: dict[str, Any] = api.call("GET", f"/submissions/{api.segment(submission)}/disciplines")
    return found


def _revision(submission: str, discipline: str, revision: int | None) -> int:
    if revision is not None:
        return revision
    mine = [each for each in _read(submission)["disciplines"] if each["discipline"] == discipline]
    # The platform says what is wrong with a discipline that is not there.
    return int(mine[0]["revision"]) if mine else 1


@click.command("disciplines")
@submission_argument
@json_option
def review_disciplines(submission_id: str, *, json_: bool) -> None:
    r"""Show the disciplines of a submission: reviewers, verdicts, and findings with reproduction and fix.

    \b
    Example:
      hilum review disciplines sub_01h...
    """
    found = _read(submission_id)
    if json_:
        as_json(found)
        return
    show(found["disciplines"], COLUMNS)
    for each in found["disciplines"]:
        if each["text"]:
            click.echo(f"{plain(each['discipline'])}: {plain(each['text'])}")
    for each in found["findings"]:
        click.secho("  ".join(plain(each[name]) for name in FOUND), bold=True)
        for name in ("evidence", "reproduction", "fix", "note"):
            if each[name]:
                click.echo(f"  {name:13} {plain(each[name])}")
    show(found["history"], ("discipline", "at", "before", "after", "actor", "reason"), whole="reason")


@click.command("queue")
@click.option("--discipline", type=DISCIPLINE, default=None, help="Only this discipline.")
@click.option(
    "--state",
    type=click.Choice([each.value for each in DisciplineState]),
    default="open",
    show_default=True,
    help="Only in this state.",
)
@click.option("--reviewer", default="", help="Only those that this reviewer took, as staff:per_01h...")
@json_option
def review_queue(*, discipline: str | None, state: str, reviewer: str, json_: bool) -> None:
    r"""List the disciplines that wait for a reviewer, oldest first.

    \b
    Examples:
      hilum review queue
      hilum review queue --discipline legal --state taken
    """
    rows = api.every("/disciplines", discipline=discipline or "", state=state, reviewer=reviewer)
    show(
        rows,
        ("submission", "discipline", "state", "environment", "app", "reviewer", "opened_at"),
        json_=json_,
    )


@click.command("take")
@submission_argument
@discipline_argument
@revision_option
@json_option
def review_take(submission_id: str, discipline: str, *, revision: int | None, json_: bool) -> None:
    r"""Take a discipline of a submission, to judge it.

    \b
    Example:
      hilum review take sub_01h... technical
    """
    body = {"revision": _revision(submission_id, discipline, revision)}
    show_one(api.call("POST", _where(submission_id, discipline, "take"), body), json_=json_)


@click.command("release")
@submission_argument
@discipline_argument
@click.option("--reason", required=True, help="Why.")
@revision_option
@json_option
def review_release(
    submission_id: str, discipline: str, *, reason: str, revision: int | None, json_: bool
) -> None:
    r"""Give a discipline back that you took, or that a colleague who is away took (administrators).

    \b
    Example:
      hilum review release sub_01h... technical --reason "on leave"
    """
    body = {"revision": _revision(submission_id, discipline, revision), "reason": reason}
    show_one(api.call("POST", _where(submission_id, discipline, "release"), body), json_=json_)


@click.command("judge")
@submission_argument
@discipline_argument
@click.argument("verdict", type=click.Choice([each.value for each in Verdict]))
@click.option("--text", required=True, help="Why; the vendor sees it.")
@click.option(
    "--point",
    type=(str, click.Choice([each.value for each in Answer])),
    multiple=True,
    metavar="POINT ANSWER",
    help="The answer to a point of the scorecard: met, partly, not_met or not_applicable.",
)
@click.option("--all-met", is_flag=True, help="Answer every other point of the scorecard with met.")
@click.option("--flag", multiple=True, help="A red flag of the scorecard that is raised.")
@click.option("--code", multiple=True, help="A reason code; `hilum review scorecards` lists them.")
@click.option(
    "--finding",
    type=(str, click.Choice([each.value for each in Severity]), str, str, str),
    multiple=True,
    metavar="CODE SEVERITY EVIDENCE REPRODUCTION FIX",
    help="What was found.",
)
@click.option("--file", "file", type=FILE, default=None, help="A JSON object with `findings` and `answers`.")
@revision_option
@json_option
def review_judge(
    submission_id: str,
    discipline: str,
    verdict: str,
    *,
    text: str,
    point: tuple[tuple[str, str], ...],
    all_met: bool,
    flag: tuple[str, ...],
    code: tuple[str, ...],
    finding: tuple[tuple[str, str, str, str, str], ...],
    file: Path | None,
    revision: int | None,
    json_: bool,
) -> None:
    r"""Give the verdict on a discipline that you took.

    \b
    Examples:
      hilum review judge sub_01h... technical pass --all-met --text "in order"
      hilum review judge sub_01h... legal fail --code legal.retention --text "no period is stated"
    """
    read = {} if file is None else read_object(file)
    answers = dict(read.get("answers", {})) | dict(point)
    if all_met:
        points = api.call("GET", "/scorecards")["disciplines"][discipline]["points"]
        answers = {each["name"]: Answer.MET.value for each in points} | answers
    names = ("rule", "severity", "evidence", "reproduction", "fix")
    body = {
        "revision": _revision(submission_id, discipline, revision),
        "verdict": verdict,
        "text": text,
        "answers": answers,
        "flags": list(flag),
        "reasons": list(code),
        "findings": [*read.get("findings", []), *(dict(zip(names, each, strict=True)) for each in finding)],
    }
    show_one(api.call("POST", _where(submission_id, discipline, "judge"), body), json_=json_)


@click.command("answer")
@submission_argument
@discipline_argument
@click.option("--text", required=True, help="What you changed, or why nothing needs to change.")
@revision_option
@json_option
def review_answer(
    submission_id: str, discipline: str, *, text: str, revision: int | None, json_: bool
) -> None:
    r"""Answer a discipline's findings, as the vendor; the reviewer looks again.

    \b
    Example:
      hilum review answer sub_01h... legal --text "section 4 of the policy states the period now"
    """
    body = {"revision": _revision(submission_id, discipline, revision), "text": text}
    show_one(api.call("POST", _where(submission_id, discipline, "answer"), body), json_=json_)


@click.command("resolve")
@click.argument("finding_id", metavar="FINDING")
@click.option("--note", required=True, help="How it was fixed, or why it is not a fault.")
@json_option
def review_resolve(finding_id: str, *, note: str, json_: bool) -> None:
    r"""Record that your finding is fixed.

    \b
    Example:
      hilum review resolve fnd_01h... --note "the policy states it now"
    """
    show_one(api.call("POST", f"/findings/{api.segment(finding_id)}/resolve", {"note": note}), json_=json_)


@click.command("scorecards")
@click.argument("discipline", type=DISCIPLINE, required=False)
@json_option
def review_scorecards(discipline: str | None, *, json_: bool) -> None:
    r"""Show each discipline's points, red flags and reason codes.

    \b
    Example:
      hilum review scorecards technical
    """
    found = api.call("GET", "/scorecards")
    if json_:
        as_json(found)
        return
    for name, card in found["disciplines"].items():
        if discipline in {None, name}:
            click.secho(plain(card["title"]), bold=True)
            for each in card["points"]:
                click.secho(plain(each["name"]), bold=True)
                click.echo(f"  {plain(each['question'])}")
                click.echo(f"  look at: {plain(each['look_at'])}")
            click.secho("red flags", bold=True)
            table(card["flags"], ("name", "says"), whole="says")
            reasons = [{"code": code, "means": said} for code, said in card["reasons"].items()]
            click.secho("reason codes", bold=True)
            table(reasons, ("code", "means"), whole="means")


# --- reviewers -----------------------------------------------------------------------------------------------------------------


@click.command("rights")
@json_option
def review_rights(*, json_: bool) -> None:
    r"""List who signs for which disciplines.

    \b
    Example:
      hilum review rights
    """
    show(api.every("/reviewers"), ("person", "disciplines", "changed_at", "changed_by"), json_=json_)


@click.command("allow")
@person_argument
@click.option(
    "--discipline",
    "disciplines",
    type=DISCIPLINE,
    multiple=True,
    help="A discipline that they sign for; by default, none.",
)
@json_option
def review_allow(person_id: str, *, disciplines: tuple[str, ...], json_: bool) -> None:
    r"""Set for which disciplines a reviewer signs (administrators). One that is added waits for a second person.

    \b
    Example:
      hilum review allow reviewer.mensah --discipline technical
    """
    where = f"/reviewers/{api.segment(id_of('person', person_id))}"
    made = api.call("PUT", where, {"disciplines": list(disciplines)})
    show_done(made, json_=json_)


COMMANDS = (
    review_disciplines,
    review_queue,
    review_take,
    review_release,
    review_judge,
    review_answer,
    review_resolve,
    review_scorecards,
    review_rights,
    review_allow,
)
