"""What a version of the policy changes, and what its dry run found: on its own pages, and on that of an approval."""

from collections.abc import Sequence
from typing import Any

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.operations.dry_runs import service as dryruns
from hilum.operations.dry_runs.models import Kind, findings, quota_tried
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Change, DryRun, DryRunState, PrivilegeIncrease
from hilum.records.audit.models import CountedTraffic
from hilum.surfaces.console import fields, service
from hilum.surfaces.console.parts import entry_words

CHANGES_SHOWN = 200
LIMITS_SHOWN = 100
WRITTEN_BOUND = 300
"""Characters of a value that a difference shows; it says how many more there are."""


def compared(ctx: Context, before: int, after: int) -> dict[str, Any]:
    """Return how a version differs from another one, and what it newly allows."""
    return differences(*policies.compare(ctx, before, after))


def differences(changes: Sequence[Change], wider: Sequence[PrivilegeIncrease]) -> dict[str, Any]:
    """Return differences and privilege_increases, the first ones as text."""
    return {
        "changes": [
            (each.path, _written(each.before), _written(each.after)) for each in changes[:CHANGES_SHOWN]
        ],
        "changed": len(changes),
        "wider": [f"{each.path}: {each.sentence}" for each in wider[:CHANGES_SHOWN]],
        "wider_count": len(wider),
    }


def _written(value: object) -> str:
    """Return a value of a policy in words."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list():
            text = ", ".join(map(_written, value))
        case dict():
            text = "; ".join(f"{name}: {_written(each)}" for name, each in value.items())
        case _:
            text = str(value)
    more = len(text) - WRITTEN_BOUND
    return text if more <= 0 else f"{text[:WRITTEN_BOUND]}… ({more:,} more characters)"


def found_by(ctx: Context, run: DryRun) -> dict[str, Any]:
    """Return what a dry run found: in sentences, and the limits that change by app and hospital."""
    if run.state is not DryRunState.DONE:
        return {"findings": [], "limits": [], "more_limits": 0}
    now = policies.in_force(ctx).everywhere
    limits = _limits(ctx, run)
    return {
        "findings": findings(run.counts),
        "now": now,
        "differs": len(policies.compare(ctx, now, run.version)[0]),
        "limits": limits[:LIMITS_SHOWN],
        "more_limits": len(limits) > LIMITS_SHOWN,
    }


def refusals(ctx: Context, number: int, traffic: CountedTraffic) -> str:
    """Return what share of decisions was refused where a version is in force first, before and since, as a sentence; empty if nowhere."""
    found = policies.view_refusals(ctx, number, traffic)
    if found is None:
        return ""
    return found.in_words(service.names(ctx, (), tenants=list(found.at)).tenant)


def _limits(ctx: Context, run: DryRun) -> list[tuple[str, str, str, str, str, str]]:
    """Return the first limits that change: app, hospital, limit, now, then, and what it did to the recorded calls."""
    page = PageQuery(limit=PAGE_BOUND)
    rows = [each.fields for each in dryruns.list_rows(ctx, run.id, Kind.INSTALLATION, page)]
    # What is installed nowhere has no row of a hospital.
    apps = dryruns.list_rows(ctx, run.id, Kind.APP, page)
    rows += [{"tenant": ""} | dict(each.fields) for each in apps if not each.fields["hospitals"]]
    names = fields.names(ctx, [each["app"] for each in rows], [each["tenant"] for each in rows])
    found = (
        (
            names.get(row["app"], row["app"]),
            names.get(row["tenant"], row["tenant"]) or "nowhere installed",
            entry_words.label(limit["path"]),
            limit["before"] or "none",
            limit["after"] or "none",
            quota_tried(row.get("quota")) if row["tenant"] and limit["path"].startswith("quota.") else "",
        )
        for row in rows
        for limit in row["limits"]
    )
    # Clients of one app may have the same limits.
    return list(dict.fromkeys(found))
