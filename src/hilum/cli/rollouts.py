"""``hilum policy rollout``: a version of the rule book reaches hospitals ring by ring, and goes back by itself on a regression."""

import re
from typing import Any

import click

from hilum.cli import api, dry_runs
from hilum.cli.output import MISUSED
from hilum.cli.resources import json_option, show, show_done, show_one
from hilum.rollouts.models import LEAST_DECISIONS, POINTS_BOUND, REFUSED_POINTS, SLOW_POINTS

COLUMNS = ("id", "version", "state", "why", "began_at", "ended_at", "asked_by", "agreed_by")
_RING = re.compile(r"(?:(?P<tenants>[^=]+)=)?(?P<number>[0-9]{1,6})(?P<unit>min|h|d)")
_SECONDS = {"min": 60, "h": 3_600, "d": 86_400}


@click.command("rollout")
@click.argument("version", type=click.IntRange(1))
@click.option(
    "--ring",
    "rings",
    multiple=True,
    required=True,
    help="Hospitals, and how long they have it before the next ring: general,mercy=24h. May be repeated, in order.",
)
@click.option("--everywhere", default="24h", help="How long it is watched once it is everywhere, such as 3d.")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option(
    "--refused-points",
    type=click.IntRange(1, POINTS_BOUND),
    default=REFUSED_POINTS,
    help="By how many points of a hundred the share of refused decisions may rise.",
)
@click.option(
    "--slow-points",
    type=click.IntRange(1, POINTS_BOUND),
    default=SLOW_POINTS,
    help="By how many points the share of slow answers may rise.",
)
@click.option(
    "--least-decisions",
    type=click.IntRange(1),
    default=LEAST_DECISIONS,
    help="A ring with fewer decisions is not judged, and waits.",
)
@json_option
def rollout(
    version: int, *, rings: tuple[str, ...], everywhere: str, reason: str, json_: bool, **limits: int
) -> None:
    r"""Put a version in force ring by ring, and finally everywhere.

    A job compares refusals and latency with those before and at other hospitals. It advances when a ring's time is over without a regression; on a regression it goes back to the versions before.

    \b
    Example:
      hilum policy rollout 4 --ring general=24h --ring mercy,lakeside=3d --everywhere 7d --reason "order entry"
    """
    plan = [_ring(each) for each in (*rings, everywhere)]
    current = api.call("GET", "/policies")
    dry_runs.ensure(version, current["last"], shown=not json_)
    body = {"version": version, "rings": plan, "after": current["last"], "reason": reason, "limits": limits}
    show_done(api.call("POST", "/policies/rollouts", body), json_=json_)


def _ring(text: str) -> dict[str, Any]:
    found = _RING.fullmatch(text)
    if found is None:
        click.secho(
            f"{text!r} is not a ring: write hospitals=time, such as general,mercy=24h.", fg="red", err=True
        )
        raise SystemExit(MISUSED)
    tenants = [each.strip() for each in (found["tenants"] or "").split(",") if each.strip()]
    return {"tenants": tenants, "dwell_s": int(found["number"]) * _SECONDS[found["unit"]]}


@click.command("rollouts")
@click.argument("rollout_id", metavar="[ROLLOUT]", default="")
@json_option
def rollouts(rollout_id: str, *, json_: bool) -> None:
    r"""List rollouts of the rule book, newest first, or show one with what was measured.

    \b
    Examples:
      hilum policy rollouts
      hilum policy rollouts rol_01 --json
    """
    if rollout_id:
        show_one(api.call("GET", f"/policies/rollouts/{api.segment(rollout_id)}"), json_=json_)
        return
    show(api.every("/policies/rollouts"), COLUMNS, json_=json_)


@click.command("stop-rollout")
@click.argument("rollout_id", metavar="ROLLOUT")
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def stop_rollout(rollout_id: str, *, reason: str, json_: bool) -> None:
    r"""Stop a rollout where it is: it no longer advances or goes back. This takes one person.

    \b
    Example:
      hilum policy stop-rollout rol_01 --reason "we look at it first"
    """
    path = f"/policies/rollouts/{api.segment(rollout_id)}/stop"
    show_done(api.call("POST", path, {"reason": reason}), json_=json_)
