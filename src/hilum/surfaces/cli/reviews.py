"""``hilum review``: what vendors submit of their versions."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from hilum.apps.registry.models import Environment
from hilum.policy.matrix.models import Discipline, Tier
from hilum.review.submissions.models import SUBMISSION_SORTS, State, Visibility
from hilum.surfaces.cli import api, review_clocks, review_disciplines, review_lane
from hilum.surfaces.cli.apps import read_object
from hilum.surfaces.cli.named import APP, version_argument
from hilum.surfaces.cli.output import REFUSED, as_json, plain, table
from hilum.surfaces.cli.resources import MOMENT, json_option, show, show_one, sort_option

COLUMNS = ("id", "app", "label", "environment", "state", "submitted_at", "vendor")
FINE = frozenset({"passed", "not_required"})
"""Results that keep nothing from being certified."""
FILE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
submission_argument = click.argument("submission_id", metavar="SUBMISSION")
revision_option = click.option(
    "--revision",
    type=int,
    default=None,
    help="The revision that you saw; refused if it has changed. By default, the current one.",
)


@click.group()
def review() -> None:
    r"""Submit versions of apps to review, and follow them.

    \b
    Examples:
      hilum review submit "Chart Viewer@2.0" --scope user/Slot.rs "shows free slots to the front desk"
      hilum review list --state submitted
    """


for command in (*review_disciplines.COMMANDS, *review_clocks.COMMANDS, *review_lane.COMMANDS):
    review.add_command(command)


@review.command("submit")
@version_argument
@click.option(
    "--environment",
    type=click.Choice([str(each) for each in Environment]),
    default="production",
    show_default=True,
)
@click.option(
    "--scope", type=(str, str), multiple=True, metavar="SCOPE WHY", help="A scope and what it is for."
)
@click.option(
    "--defence",
    type=(str, str),
    multiple=True,
    metavar="SCOPE WHY",
    help="Why a scope is still needed that hospitals granted for 90 days and nobody used.",
)
@click.option(
    "--document",
    type=(str, str, str, str),
    multiple=True,
    metavar="KIND URL SHA256 DAY",
    help="A document that the policy requires.",
)
@click.option(
    "--expires",
    type=(str, str),
    multiple=True,
    metavar="KIND DAY",
    help="The day until which a document is valid, at most a year from its date.",
)
@click.option(
    "--visible",
    type=(str, click.Choice([str(each) for each in Visibility])),
    multiple=True,
    metavar="KIND WHO",
    help="Who reads a document once it is certified: reviewers, hospitals too, or the public.",
)
@click.option("--file", "file", type=FILE, default=None, help="A JSON object with `scopes` and `documents`.")
@click.option(
    "--draft", is_flag=True, help="Save it without submitting it; the answer lists what is missing."
)
@json_option
def review_submit(
    version_id: str,
    *,
    environment: str,
    scope: tuple[tuple[str, str], ...],
    defence: tuple[tuple[str, str], ...],
    document: tuple[tuple[str, str, str, str], ...],
    expires: tuple[tuple[str, str], ...],
    visible: tuple[tuple[str, str], ...],
    file: Path | None,
    draft: bool,
    json_: bool,
) -> None:
    r"""Submit a version for an environment: its scopes with a reason each, and the documents that the policy requires.

    Replaces an open draft of the same version. Everything else in the submission comes from the app's records.

    \b
    Examples:
      hilum review submit "Rota@2.0" --environment sandbox --scope user/Slot.rs "shows free slots"
      hilum review submit "Rota@2.0" --file submission.json --draft
    """
    written = _written(scope, document, file)
    for name, why in defence:
        mine = [each for each in written["scopes"] if each["scope"] == name]
        if not mine:
            raise click.UsageError(f"--defence names {name}, which is not among the scopes.")
        mine[0]["defence"] = why
    for option, name, said in (("expires", "expires", expires), ("visible", "visibility", visible)):
        for kind, value in said:
            attached = [each for each in written["documents"] if each["kind"] == kind]
            if not attached:
                raise click.UsageError(f"--{option} names {kind}, which is not among the documents.")
            attached[0][name] = value
    found = _open_draft(version_id, environment)
    if found is None:
        body = {"version": version_id, "environment": environment, "draft": draft} | written
        show_submission(api.call("POST", "/submissions", body), json_=json_)
        return
    where = f"/submissions/{api.segment(found['id'])}"
    if any(written.values()):
        found = api.call("PUT", where, {"revision": found["revision"]} | written)
    if not draft:
        found = api.call("POST", f"{where}/submit", {"revision": found["revision"]})
    show_submission(found if "history" in found else api.call("GET", where), json_=json_)


def _written(
    scopes: tuple[tuple[str, str], ...], documents: tuple[tuple[str, str, str, str], ...], file: Path | None
) -> dict[str, Any]:
    read = {} if file is None else read_object(file)
    return {
        "scopes": [
            *read.get("scopes", []),
            *({"scope": scope, "justification": why} for scope, why in scopes),
        ],
        "documents": [
            *read.get("documents", []),
            *(
                {"kind": kind, "url": url, "sha256": sha256, "dated": day}
                for kind, url, sha256, day in documents
            ),
        ],
    }


def _open_draft(version: str, environment: str) -> dict[str, Any] | None:
    drafts = api.every("/submissions", state="draft")
    mine = [each for each in drafts if (each["version"], each["environment"]) == (version, environment)]
    return mine[0] if mine else None


@review.command("list")
@click.option("--app", "app", type=APP, default="", help="Only of this app.")
@click.option(
    "--state", type=click.Choice([str(each) for each in State]), default=None, help="Only in this state."
)
@click.option(
    "--tier", type=click.Choice([str(each) for each in Tier]), default=None, help="Only of this tier."
)
@click.option(
    "--discipline",
    type=click.Choice([str(each) for each in Discipline]),
    default=None,
    help="Only those with this discipline still to be judged.",
)
@click.option("--mine", is_flag=True, help="Only those with a discipline that you have, or may take.")
@sort_option(SUBMISSION_SORTS)
@json_option
def review_list(
    *,
    app: str,
    state: str | None,
    tier: str | None,
    discipline: str | None,
    mine: bool,
    sort: str,
    json_: bool,
) -> None:
    r"""List submissions, oldest first: as a vendor's member your vendor's, as staff all.

    \b
    Examples:
      hilum review list
      hilum review list --state submitted
      hilum review list --tier high --mine
    """
    asked = {"tier": tier or "", "discipline": discipline or "", "mine": "true" if mine else ""}
    show(api.every("/submissions", app=app, sort=sort, state=state or "", **asked), COLUMNS, json_=json_)


@review.command("show")
@submission_argument
@json_option
def review_show(submission_id: str, *, json_: bool) -> None:
    r"""Show a submission with its history. With --json also everything that was submitted.

    \b
    Example:
      hilum review show sub_01h...
    """
    show_submission(api.call("GET", f"/submissions/{api.segment(submission_id)}"), json_=json_)


@review.command("checks")
@submission_argument
@click.option("--run", "run", type=int, default=None, help="This run; by default, the last one.")
@click.option("--all", "all_", is_flag=True, help="What passed too.")
@click.option(
    "--replay",
    is_flag=True,
    help="Judge the run again from what was stored, and report whether the result is the same.",
)
@json_option
def review_checks(submission_id: str, *, run: int | None, all_: bool, replay: bool, json_: bool) -> None:
    r"""Show the results of the automated checks, with fixes. Exits 1 if something blocks certification.

    \b
    Examples:
      hilum review checks sub_01h...
      hilum review checks sub_01h... --run 1 --replay
    """
    path = f"/submissions/{api.segment(submission_id)}/checks{'/replay' if replay else ''}"
    found = api.call("GET", path, query={} if run is None else {"run": str(run)})
    if json_:
        as_json(found)
    else:
        checks = [each for each in found.pop("checks") if all_ or each["result"] not in FINE]
        show_one(found, json_=False)
        for each in checks:
            click.secho(f"{each['result']:12} {plain(each['rule'])}  {plain(each['about'])}", bold=True)
            for name in ("evidence", "reproduction", "fix"):
                click.echo(f"  {name:13} {plain(each[name])}")
    if not (found["passes"] and found.get("same", True)):
        raise SystemExit(REFUSED)


@review.command("rerun")
@submission_argument
@revision_option
@json_option
def review_rerun(submission_id: str, *, revision: int | None, json_: bool) -> None:
    r"""Have a submission checked again, as its vendor or a reviewer.

    \b
    Example:
      hilum review rerun sub_01h...
    """
    where = f"/submissions/{api.segment(submission_id)}"
    body = {"revision": revision or api.call("GET", where)["revision"]}
    show_submission(api.call("POST", f"{where}/rerun", body), json_=json_)


@review.command("decide")
@submission_argument
@click.argument("decision", type=click.Choice(["certify", "reject"]))
@click.option("--reason", required=True, help="Why; the vendor sees it.")
@click.option(
    "--code",
    multiple=True,
    help="A reason code of a rejection; by default, those of the disciplines that did not pass.",
)
@click.option(
    "--expires-at", type=MOMENT, default=None, help="When the certification ends, such as 2027-06-30."
)
@click.option(
    "--despite",
    type=click.Choice(["app_suspended", "app_stopped"]),
    default=None,
    help="Certify it although its app is suspended, or stopped by a kill switch.",
)
@revision_option
@json_option
def review_decide(
    submission_id: str,
    decision: str,
    *,
    reason: str,
    code: tuple[str, ...],
    expires_at: datetime | None,
    despite: str | None,
    revision: int | None,
    json_: bool,
) -> None:
    r"""Certify a submission, once its checks and disciplines have passed, or reject it (reviewers).

    \b
    Examples:
      hilum review decide sub_01h... certify --expires-at 2027-06-30 --reason "in order"
      hilum review decide sub_01h... reject --code not_as_described --reason "the terms are of another app"
    """
    where = f"/submissions/{api.segment(submission_id)}"
    body = {
        "revision": revision or api.call("GET", where)["revision"],
        "decision": decision,
        "reason": reason,
        "expires_at": expires_at.isoformat() if expires_at else None,
        "reasons": list(code),
        "despite": despite or "",
    }
    show_submission(api.call("POST", f"{where}/decide", body), json_=json_)


@review.command("withdraw")
@submission_argument
@click.option("--reason", required=True, help="Why; it is kept with the submission.")
@revision_option
@json_option
def review_withdraw(submission_id: str, *, reason: str, revision: int | None, json_: bool) -> None:
    r"""Withdraw an open submission of yours.

    \b
    Example:
      hilum review withdraw sub_01h... --reason "submitted with the wrong scopes"
    """
    where = f"/submissions/{api.segment(submission_id)}"
    body = {"revision": revision or api.call("GET", where)["revision"], "reason": reason}
    show_submission(api.call("POST", f"{where}/withdraw", body), json_=json_)


def show_submission(found: dict[str, Any], *, json_: bool) -> None:
    """Print a submission as text or as JSON: what is missing from a draft, and the history."""
    if json_:
        as_json(found)
        return
    missing, history = found.pop("missing"), found.pop("history")
    found.pop("content")
    if found["state"] == State.DRAFT:
        # Both are of what was submitted.
        found = {name: value for name, value in found.items() if name not in {"policy_version", "digest"}}
    show_one(found, json_=False)
    if missing:
        click.secho("missing before it can be submitted:", bold=True)
        rows = [{"field": name} | each for name, each in missing.items()]
        table(rows, ("field", "code", "detail"), whole="detail")
    show(history, ("at", "before", "after", "actor", "reason"), whole="reason")
