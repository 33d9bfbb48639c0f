"""Dry runs of the policy, carried out as the jobs process does it, at once."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import orjson

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import HilumError
from hilum.operations.dry_runs import jobs
from hilum.operations.dry_runs.models import (
    AppChange,
    CertificationChange,
    DecisionChange,
    HospitalChange,
    InstallationChange,
    Kind,
    Lapse,
    LimitChange,
    Loss,
    Pack,
    Row,
    Verdict,
    What,
)
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import DryRun
from hilum.records.audit import live as journals
from tests.sim.journals import journal_of
from tests.sim.world import START

T = TypeVar("T")
TRACE = Trace("req_dry_run", "jobs")


@dataclass(frozen=True)
class Jobs:
    """The jobs process of a world: one node, which holds every lease."""

    uow: UnitOfWork
    journal: Path

    def read(self, verb: Callable[[Context], T]) -> T:
        return self.uow.read_now(verb, actor=SYSTEM, trace=TRACE)

    def write(self, verb: Callable[[Context], T]) -> T:
        return self.uow.write_now(verb, actor=SYSTEM, trace=TRACE)

    def run_next(
        self, may_continue: Callable[[], bool] = lambda: True, *, indexed: bool = True
    ) -> DryRun | None:
        count = partial(journals.count_decisions, self.journal, self.uow.db.url, self.uow.clock.now())
        journals.index_accesses(self.journal, self.uow.db.url)
        calls = partial(journals.read_calls, self.journal, self.uow.db.url) if indexed else None
        return jobs.run_next(self, count, lambda: calls, may_continue)


def dry_run(uow: UnitOfWork, version: int, journal: Path | None = None) -> DryRun:
    """Ask for a dry run of a version as the platform, and carry it out."""
    folder = journal or journal_of(uow)
    at_work = Jobs(uow, folder)
    asked = at_work.write(partial(policies.ask_dry_run, version=version))
    done = at_work.run_next()
    assert done is not None, "the run was stopped"
    assert done.id == asked.id, "another run waited"
    return done


def rehearse(uow: UnitOfWork, version: int) -> None:
    """Do what anybody does before they put a version in force, where it can be done: a dry run of it."""
    at_work = Jobs(uow, journal_of(uow))
    with suppress(HilumError):
        at_work.write(partial(policies.ask_dry_run, version=version))
        at_work.run_next()


def row_of(kind: Kind, tenant: str = "general", app: str = "app_1") -> Row:
    """Return a row of a kind about a hospital or an app."""
    lost, limits = ("patient/*.rs",), (LimitChange("quota.burst", "100", "99"),)
    match kind:
        case Kind.DECISION_CHANGE:
            seen = START, START + timedelta(hours=1)
            return DecisionChange(
                tenant, app, "cli_1", Verdict.REFUSED, lost[0], "Patient", "read", 3, *seen, "req_1"
            )
        case Kind.APP:
            return AppChange("", app, "cli_1", "scheduling", "low", "", lost, (), limits, 1)
        case Kind.CERTIFICATION:
            return CertificationChange(
                "", app, "cli_1", "ver_1", "production", Loss.LAPSES, lost, START, 1, START
            )
        case Kind.LAPSE:
            return Lapse(tenant, app, "cli_1", What.AGREEMENTS, ("authorization_idle",), 3)
        case Kind.INSTALLATION:
            return InstallationChange(tenant, app, "cli_1", Loss.LAPSES, lost, (), limits, 2, 1)
        case Kind.HOSPITAL:
            return HospitalChange(tenant, 1, apps=1)


def packs_of(kind: Kind, count: int, tenant: str = "general", *, together: int = 3) -> list[Pack]:
    """Return rows as they are stored, some together, with numbers that no other kind has."""
    begin = 1_000 * (list(Kind).index(kind) + 1)
    made = [row_of(kind, tenant, f"app_{n}") for n in range(count)]
    packs = [(at, made[at : at + together]) for at in range(0, count, together)]
    return [
        Pack(begin + at + len(some), kind, some[0].tenant, "", orjson.dumps(some).decode())
        for at, some in packs
    ]
