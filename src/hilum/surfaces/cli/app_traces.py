"""``hilum app propose-scopes`` and ``hilum app contract``: what an app did in the sandbox, as scopes and as the contract that was certified."""

from typing import Any

import click

from hilum.foundation.kernel.lists import counted
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import CLIENT, app_argument
from hilum.surfaces.cli.output import REFUSED, as_json, plain, table
from hilum.surfaces.cli.resources import json_option, show

NOTHING_SEEN = "No call was permitted. Use the app in the sandbox, then run this again."
_DOCUMENTS = ("kind", "dated", "expires", "expired", "visibility", "url", "sha256")
_CALLS = ("interaction", "type", "scopes", "parameters", "workflow", "number")


@click.command("propose-scopes")
@app_argument
@click.option("--run", "run_id", default="", metavar="RUN", help="From a certification run that was judged.")
@click.option("--client", type=CLIENT, default="", help="From what a sandbox client did recently.")
@click.option(
    "--days",
    type=click.Choice(["1", "7", "30"]),
    default="7",
    show_default=True,
    help="With --client: how far back.",
)
@click.option("--draft", default="", metavar="SUBMISSION", help="Also put them into this draft submission.")
@json_option
def app_propose_scopes(app_id: str, *, run_id: str, client: str, days: str, draft: str, json_: bool) -> None:
    r"""Propose the least scopes that would have permitted what an app did in the sandbox, each with the calls that need it.

    Name a run or a client. In a draft, existing scopes keep their justification. Your access is recorded.

    \b
    Examples:
      hilum app propose-scopes Rota --run run_01h...
      hilum app propose-scopes Rota --client "Rota sandbox" --days 30
      hilum app propose-scopes Rota --run run_01h... --draft sub_01h...
    """
    query = {"run": run_id, "client": client} | ({"days": days} if client else {})
    path = f"/apps/{api.segment(app_id)}/proposed-scopes"
    found = api.call("GET", path, query={name: value for name, value in query.items() if value})
    if draft:
        if not found["scopes"]:
            # It would take every scope out of the draft, for a trace in which the app did nothing.
            click.secho(f"refused: {NOTHING_SEEN}", fg="red", err=True)
            raise SystemExit(REFUSED)
        _put(draft, [each["scope"] for each in found["scopes"]])
    if json_:
        as_json(found)
        return
    if not found["scopes"]:
        click.echo(NOTHING_SEEN)
        return
    for each in found["scopes"]:
        click.echo(plain(each["scope"]))
        if each["launches"]:
            click.echo(f"  {counted(each['launches'], 'launch', 'launches')}")
        for call in each["calls"]:
            by = f" by {', '.join(call['parameters'])}" if call["parameters"] else ""
            click.echo(f"  {call['number']} x {plain(call['interaction'] + ' ' + call['type'] + by)}")
    if found["left_out"]:
        click.echo(f"not needed: {plain(' '.join(found['left_out']))}")
    if not found["whole"]:
        click.echo("Only the newest requests were read.")


def _put(draft: str, scopes: list[str]) -> None:
    where = f"/submissions/{api.segment(draft)}"
    held = api.call("GET", where)
    known = {each["scope"]: each for each in held["scopes"]}
    wanted = [known.get(each, {"scope": each, "justification": ""}) for each in scopes]
    body = {"revision": held["revision"], "scopes": wanted, "documents": held["documents"]}
    api.call("PUT", where, body)


@click.command("contract")
@app_argument
@click.option(
    "--certification", default="", help="Of which certification; the newest for production if left out."
)
@json_option
def app_contract(app_id: str, *, certification: str, json_: bool) -> None:
    r"""Show an app's certified shapes of calls: those of its sandbox run.

    \b
    Example:
      hilum app contract Rota
    """
    query = {"certification": certification} if certification else {}
    found = api.call("GET", f"/apps/{api.segment(app_id)}/contract", query=query)
    if json_:
        as_json(found)
        return
    click.echo(_heading(found))
    rows = [
        each | {name: " ".join(each[name]) for name in ("scopes", "parameters")} for each in found["shapes"]
    ]
    table(rows, _CALLS)


def _heading(found: dict[str, Any]) -> str:
    return f"certification {found['certification']}, run {found['run']}"


@click.command("documents")
@app_argument
@json_option
def app_documents(app_id: str, *, json_: bool) -> None:
    r"""List the documents behind an app's certification for production that its vendor lets you read.

    \b
    Example:
      hilum app documents Rota
    """
    show(api.call("GET", f"/apps/{api.segment(app_id)}/documents")["items"], _DOCUMENTS, json_=json_)


COMMANDS = (app_propose_scopes, app_contract, app_documents)
