"""``hilum evidence``: certification runs in the sandbox."""

from typing import Any

import click

from hilum.foundation.kernel.lists import counted
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, CLIENT, TENANT
from hilum.surfaces.cli.output import REFUSED, as_json, plain, table
from hilum.surfaces.cli.resources import json_option, show

COLUMNS = ("id", "app", "label", "tenant", "state", "scenario", "opened_at", "ended_at")
ROWS = ("at", "name", "status", "outcome", "reason", "type", "asked")
run_argument = click.argument("run_id", metavar="RUN")


@click.group()
def evidence() -> None:
    r"""Open certification runs in the sandbox: what an app does in one is the evidence that review asks for.

    \b
    Examples:
      hilum evidence open "Chart Viewer sandbox" --tenant general
      hilum evidence begin run_01h... token_expired
      hilum evidence finish run_01h...
    """


@evidence.command("open")
@click.argument("client", type=CLIENT)
@click.option(
    "--tenant", type=TENANT, required=True, help="A sandbox hospital at which the app is installed."
)
@click.option(
    "--scenario", "scenarios", multiple=True, help="A scenario beyond those required; may be repeated."
)
@click.option("--all", "every", is_flag=True, help="Run every scenario of the policy.")
@json_option
def open_run(client: str, *, tenant: str, scenarios: tuple[str, ...], every: bool, json_: bool) -> None:
    r"""Open a run of a sandbox client's version, and list its scenarios: those that the policy requires, and those you choose.

    From now on, each launch of the client at the hospital belongs to the run, until it is finished, abandoned or four hours old.

    \b
    Examples:
      hilum evidence open "Chart Viewer sandbox" --tenant general
      hilum evidence open "Chart Viewer sandbox" --tenant general --scenario slow_answer
    """
    chosen = ["*"] if every else list(scenarios)
    body = {"client": client, "tenant": tenant, "scenarios": chosen}
    _show(api.call("POST", "/evidence-runs", body), json_=json_)


@evidence.command("begin")
@run_argument
@click.argument("scenario")
@json_option
def begin(run_id: str, scenario: str, *, json_: bool) -> None:
    r"""Begin a scenario: its fault is made for the app, and what to do is printed. It ends with the next one, or after three minutes.

    \b
    Example:
      hilum evidence begin run_01h... resource_unavailable
    """
    found = api.call("POST", f"{_path(run_id)}/scenarios/{api.segment(scenario)}/begin")
    if json_:
        as_json(found)
        return
    (scenario_shown,) = (each for each in found["scenarios"] if each["name"] == scenario)
    click.echo(f"{plain(scenario_shown['title'])}\n{plain(scenario_shown['how'])}")


@evidence.command("end")
@run_argument
@json_option
def end(run_id: str, *, json_: bool) -> None:
    r"""End the scenario that is in progress, and undo its fault.

    \b
    Example:
      hilum evidence end run_01h...
    """
    _show(api.call("POST", f"{_path(run_id)}/scenarios/end"), json_=json_)


@evidence.command("finish")
@run_argument
@json_option
def finish(run_id: str, *, json_: bool) -> None:
    r"""Judge a run by the audit, and sign the result. Exits 1 unless it was passed.

    \b
    Example:
      hilum evidence finish run_01h...
    """
    found = api.call("POST", f"{_path(run_id)}/finish")
    _show(found, json_=json_)
    if found["state"] != "passed":
        raise SystemExit(REFUSED)


@evidence.command("abandon")
@run_argument
@json_option
def abandon(run_id: str, *, json_: bool) -> None:
    r"""Abandon a run. Nothing of it counts.

    \b
    Example:
      hilum evidence abandon run_01h...
    """
    _show(api.call("POST", f"{_path(run_id)}/abandon"), json_=json_)


@evidence.command("list")
@click.option("--app", "app_id", type=APP, default=None, help="Of one app.")
@json_option
def list_runs(app_id: str | None, *, json_: bool) -> None:
    r"""List certification runs, newest first: your vendor's, or for the platform's staff all.

    \b
    Example:
      hilum evidence list --app "Chart Viewer"
    """
    query = {} if app_id is None else {"app": app_id}
    show(api.every("/evidence-runs", **query), COLUMNS, json_=json_)


@evidence.command("show")
@run_argument
@json_option
def show_run(run_id: str, *, json_: bool) -> None:
    r"""Show a run: its scenarios, what was concluded, and what to do. With --json the signed result, too.

    \b
    Example:
      hilum evidence show run_01h...
    """
    _show(api.call("GET", _path(run_id)), json_=json_)


@evidence.command("rows")
@run_argument
@json_option
def rows(run_id: str, *, json_: bool) -> None:
    r"""List what the audit has of a run, call by call: of an open one the last requests. The read is recorded.

    \b
    Example:
      hilum evidence rows run_01h...
    """
    found = api.call("GET", f"{_path(run_id)}/rows")["items"]
    if json_:
        as_json(found)
        return
    table(found, ROWS)


def _path(run_id: str) -> str:
    return f"/evidence-runs/{api.segment(run_id)}"


def _show(found: dict[str, Any], *, json_: bool) -> None:
    if json_:
        as_json(found)
        return
    ended = f", ended {found['ended_at']}" if found["ended_at"] else f", until {found['expires_at']}"
    click.echo(f"{found['id']}  {found['state']}, tier {found['tier']}{ended}")
    click.echo(f"made at {_ground(found['ground'])}")
    scopes = found["result"].get("scopes")
    if scopes:
        click.echo(f"used scopes: {plain(' '.join(scopes))}")
    for each in found["scenarios"]:
        under_way = "in progress" if found["scenario"] == each["name"] else ""
        click.echo(f"\n{each['name']}: {plain(each['outcome'].replace('_', ' ') or under_way or 'to do')}")
        click.echo(f"  {plain(each['title'])}")
        for line in (each["sentence"], each["fix"] or ("" if each["outcome"] else each["how"])):
            if line:
                click.echo(f"  {plain(line)}")


def _ground(found: dict[str, Any]) -> str:
    if not found["own"]:
        return (
            "a hospital whose owner is not known"
            if found["own"] is None
            else "a sandbox hospital that all vendors share"
        )
    said = ["the vendor's own snapshot"]
    if found["reset_at"]:
        said.append(f"reset {found['reset_at']}")
    for name, when in (("changed_before", "before the run"), ("changed_at_end", "by its end")):
        if found[name] is not None:
            said.append(f"{counted(found[name], 'record')} changed {when}")
    if found["reset_meanwhile"]:
        said.append("reset again while the run was open")
    return ", ".join(said)
