"""Dry runs of a changed policy over what the gateway decided."""

from typing import Any

from hilum.operations.dry_runs import service
from hilum.operations.dry_runs.models import Kind
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import DryRun
from tests.flows.gateway_ground import Ground
from tests.sim.dry_runs import Jobs
from tests.sim.journals import journal_of
from tests.unit.policy.matrix.books import document

ENTRIES = "categories.unclassified.entries"


def add(made: Ground, changes: dict[str, Any]) -> int:
    made.run(policies.adopt_shipped)
    return made.run(lambda ctx: policies.add_version(ctx, document(changes), base=1, note="")).number


def jobs_at(made: Ground) -> Jobs:
    return Jobs(made.uow, journal_of(made.uow))


def dry_run(made: Ground, changes: dict[str, Any]) -> DryRun:
    version = add(made, changes)
    made.run(lambda ctx: policies.ask_dry_run(ctx, version))
    done = jobs_at(made).run_next()
    assert done is not None
    return done


def rows(made: Ground, run: DryRun, kind: Kind) -> list[dict[str, Any]]:
    found = made.run(lambda ctx: service.list_rows(ctx, run.id, kind))
    return [dict(each.fields) for each in found]
