"""``hilum policy dry-run``: what a version of the policy would change, before it is put in force."""

import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from hilum.foundation.kernel.lists import and_more
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.operations.dry_runs.models import Kind, findings, quota_tried
from hilum.policy.matrix.models import DRY_RUN_VALID
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import APP, TENANT, app_argument
from hilum.surfaces.cli.output import REFUSED, as_json, table
from hilum.surfaces.cli.resources import json_option, show

LOOK_EVERY_S = 0.3
WAIT_S = 600
_OPEN = frozenset({"waiting", "running"})
COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    Kind.HOSPITAL: (
        "tenant",
        "apps",
        "lapsing",
        "agreements",
        "ended",
        "refused",
        "less",
        "allowed",
        "over_quota",
        "within_quota",
    ),
    Kind.CERTIFICATION: ("app", "version", "environment", "loss", "hospitals", "until", "served_until"),
    Kind.LAPSE: ("what", "app", "tenant", "which", "number", "before", "until"),
    Kind.INSTALLATION: ("tenant", "app", "loss", "lost", "gained", "agreements", "ended", "refused"),
    Kind.DECISION_CHANGE: (
        "tenant",
        "app",
        "verdict",
        "interaction",
        "resource_type",
        "scope",
        "number",
        "last",
        "example",
    ),
    Kind.APP: ("app", "category", "tier_before", "tier_after", "lost", "gained", "hospitals"),
}
SHOWN = 20
"""Rows of each list that the summary prints."""


@click.command("dry-run")
@click.argument("version", type=click.IntRange(1))
@click.option(
    "--last", "last", is_flag=True, help="Show the newest finished dry run instead of starting one."
)
@click.option("--tenant", type=TENANT, default="", help="Rows of this hospital only.")
@click.option("--app", "app", type=APP, default="", help="Rows of this app only.")
@json_option
def dry_run(version: int, *, last: bool, tenant: str, app: str, json_: bool) -> None:
    r"""List what a version of the policy would change, without putting it in force.

    The decisions of the last 90 days are judged under it: which would turn out differently, at which hospital, for which app; and which
    apps, certifications and agreements it would alter. It lists what would lapse: what is older than a shorter life allows, what is newly asked
    and missing, and what overdue findings would stop. A job of the platform does it; this command waits for it.
    A hospital's administrator sees the hospital's own part, with --last.

    \b
    Examples:
      hilum policy dry-run 4
      hilum policy dry-run 4 --last --tenant general --json
    """
    run = newest(version) if last else wait_for(api.call("POST", "/policies/dry-runs", {"version": version}))
    lists = {kind: _rows(run, kind, tenant, app) for kind in Kind}
    if json_:
        as_json(run | {kind.value: found for kind, found in lists.items() if found is not None})
        return
    summary(run)
    for kind, columns in COLUMNS.items():
        found = lists[kind]
        if not found:
            continue
        click.echo(f"\n{kind.value}: {len(found)}")
        table([_in_words(row) for row in found[:SHOWN]], columns)
        if len(found) > SHOWN:
            click.echo(f"{and_more(len(found) - SHOWN)}: --json prints all of them")
    _show_limits(lists[Kind.INSTALLATION] or lists[Kind.APP] or ())
    # Nobody but the staff has the counts.
    if not run["counts"] and not any(lists.values()):
        click.echo("It changes nothing at your hospital.")


def ensure(version: int, after: int, *, shown: bool) -> None:
    """Carry a dry run out unless one is done that compared with application ``after``; ``shown``: print what it found."""
    found = api.call("GET", "/policies/dry-runs", query={"limit": str(PAGE_BOUND)})["items"]
    serves = (version, after, "done")
    run = next((each for each in found if (each["version"], each["after"], each["state"]) == serves), None)
    if run is None or _is_old(run):
        run = wait_for(api.call("POST", "/policies/dry-runs", {"version": version}))
    if shown:
        summary(run)


def _is_old(run: Mapping[str, Any]) -> bool:
    """Check whether a dry run serves no longer, or only for an hour more: not for a request that waits for a second person."""
    finished = datetime.fromisoformat(run["finished_at"])
    return datetime.now(UTC) > finished + DRY_RUN_VALID - timedelta(hours=1)


def newest(version: int) -> dict[str, Any]:
    """Return the newest dry run of a version that is done. Exits 1 if there is none."""
    for run in api.every("/policies/dry-runs"):
        if run["version"] == version and run["state"] == "done":
            return run
    click.secho(f"refused: no dry run of version {version} has finished.", fg="red", err=True)
    click.echo(f"Next: the platform's staff run one with `hilum policy dry-run {version}`.", err=True)
    raise SystemExit(REFUSED)


def wait_for(run: dict[str, Any]) -> dict[str, Any]:
    """Wait until a dry run is done, with a progress bar, and return it. Exits 1 if it fails or takes too long."""
    until = time.monotonic() + WAIT_S
    with click.progressbar(length=100, label=f"dry run of version {run['version']}", file=sys.stderr) as bar:
        while run["state"] in _OPEN and time.monotonic() < until:
            bar.update(max(0, run["progress"] - bar.pos))
            time.sleep(LOOK_EVERY_S)
            run = api.call("GET", f"/policies/dry-runs/{api.segment(run['id'])}")
        bar.update(100 - bar.pos)
    if run["state"] == "done":
        return run
    why = (
        run["fault"]
        or "the jobs process did not run it; `hilum doctor` shows whether that process is running"
    )
    click.secho(f"refused: the dry run {run['id']} is {run['state']}: {why}.", fg="red", err=True)
    raise SystemExit(REFUSED)


def summary(run: Mapping[str, Any]) -> None:
    """Print a dry run in a few sentences."""
    counts = run["counts"]
    click.echo(
        f"dry run {run['id']} of version {run['version']}, compared with what was in force after application {run['after']}"
    )
    if not counts:
        return
    click.echo(f"{run['decisions']} decisions since {run['since'][:10]}:")
    for each in findings(counts) or ["It affects no app, no hospital and no decision."]:
        click.echo(f"  {each}")
    click.echo(f"digest {run['digest']}")


def _show_limits(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print which limits change, by app and hospital, and what other quotas did to the recorded calls."""
    found = [
        {"app": row["app"], "tenant": row.get("tenant", ""), "limit": limit["path"]}
        | {"now": limit["before"] or "none", "then": limit["after"] or "none"}
        | {"tried": quota_tried(row.get("quota")) if limit["path"].startswith("quota.") else ""}
        for row in rows
        for limit in row["limits"]
    ]
    if found:
        click.echo("\nlimits that change:")
        table(found[:SHOWN], ("app", "tenant", "limit", "now", "then", "tried"))
    if len(found) > SHOWN:
        click.echo(f"{and_more(len(found) - SHOWN)}: --json prints all of them")


def _rows(run: Mapping[str, Any], kind: Kind, tenant: str, app: str) -> list[dict[str, Any]] | None:
    """Return the rows of a kind; None if the caller may not see them."""
    path = f"/policies/dry-runs/{api.segment(run['id'])}/{kind.value.replace('_', '-')}"
    if api.readable(f"{path}?limit=1") is None:
        return None
    return api.every(path, tenant=tenant, app=app)


def _in_words(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _entry(value) for name, value in row.items()}


def _entry(value: Any) -> Any:
    """Return a list as one text: of words, of limits that differ, or of what would be refused by reason."""
    if not isinstance(value, list):
        return value
    return ", ".join(
        each
        if isinstance(each, str)
        else f"{each['path']} {each['before'] or 'none'} -> {each['after'] or 'none'}"
        if "path" in each
        else f"{each['number']} {each['of']}: {each['reason']}"
        for each in value
    )


@click.command("observed")
@click.option("--tenant", type=TENANT, default="", help="What is observed at this hospital.")
@click.option("--app", "app", type=APP, default="", help="Rows of this app only.")
@json_option
def observed(*, tenant: str, app: str, json_: bool) -> None:
    r"""List what the policy in force only observes, and what it would have refused, by app, hospital and reason.

    Nothing of it is refused before its day. It is counted once a day, over the last 90 days.

    \b
    Examples:
      hilum policy observed
      hilum policy observed --tenant general
    """
    found = api.every("/policies/observed", tenant=tenant, app=app)
    if json_:
        as_json(found)
        return
    show(
        [_in_words(each) for each in found],
        ("tenant", "app", "until", "lost", "limits", "refused", "counted_at"),
        json_=False,
    )
    if not found:
        click.echo("`hilum policy show` says what is observed, and until when. It is counted within a day.")


@click.command("observed")
@app_argument
@json_option
def app_observed(app_id: str, *, json_: bool) -> None:
    r"""List what the policy will refuse to an app of your own vendor and refuses nothing of yet, by hospital.

    From which day on, and what it would have refused already; it is counted once a day.

    \b
    Example:
      hilum app observed app_01h...
    """
    found = api.every(f"/apps/{api.segment(app_id)}/observed")
    if json_:
        as_json(found)
        return
    show(
        [_in_words(each) for each in found],
        ("tenant", "until", "lost", "limits", "refused", "counted_at"),
        json_=False,
    )


@click.command("dry-runs")
@json_option
def dry_runs(*, json_: bool) -> None:
    r"""List dry runs of the policy, newest first.

    \b
    Example:
      hilum policy dry-runs
    """
    columns = (
        "id",
        "version",
        "state",
        "progress",
        "after",
        "decisions",
        "finished_at",
        "asked_by",
        "digest",
    )
    show(api.every("/policies/dry-runs"), columns, json_=json_)
