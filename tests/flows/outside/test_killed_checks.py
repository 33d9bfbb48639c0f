"""Two nodes over PostgreSQL check submissions and certified apps; one is killed in the middle: nothing is lost, nothing happens twice (C115)."""

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewApp, NewVersion
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.system import SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.ids import VendorId
from hilum.records.audit import service as audit
from hilum.records.audit.models import EventQuery
from hilum.records.keys import live as keys
from hilum.review.certificates.service import step
from hilum.review.recertification import jobs as rounds
from hilum.review.recertification import service as revalidation
from hilum.review.submissions import jobs as checks
from hilum.review.submissions.models import Look, Target
from hilum.server.schedule import JobLease
from tests.conftest import SECRET_KEY
from tests.flows.certificate_ground import AT
from tests.flows.certified_app import DAY, Certified
from tests.flows.review_ground import Ground, signs
from tests.flows.review_world import World, checks_of, decide, in_order, submitted
from tests.flows.vendor_ground import certified as record_certification
from tests.flows.vendor_ground import made
from tests.sim.tls_host import Authority
from tests.sim.world import FakeClock

WITHIN_S = 60
ROUND, CHECKS = "revalidation", "review_checks"
OTHERS = 3
"""Certified apps beside the one that was submitted."""


def gone(targets: Sequence[Target]) -> list[Look]:
    """Nothing is at any address any more."""
    return [Look(each.kind, each.url, status=404) for each in targets]


def work(job: str, lease: JobLease) -> None:
    """What the jobs process of a node does."""
    if job == CHECKS:
        checks.run_next(lease, gone)
    else:
        rounds.run(lease, gone, revalidation.Use(lambda *_: ()), lambda: True)


@dataclass(slots=True)
class Halting(JobLease):
    """Says so once it has committed ``after`` transactions, and never goes on."""

    after: int = 0
    says: Connection | None = None

    def write(self, verb: Callable[[Context], Any]) -> Any:
        done = JobLease.write(self, verb)
        self.after -= 1
        if not self.after and self.says is not None:
            self.says.send("halted")
            threading.Event().wait()
        return done


def node(url: str, now: datetime, job: str, after: int, says: Connection) -> None:
    """A node of its own: a process, with connections and keys of its own."""
    keys.install(keys.Vault(SECRET_KEY))
    uow = UnitOfWork.create(Database(url), FakeClock(now), SystemIds(), "doomed")
    work(job, Halting(uow, job, "doomed", threading.Event(), after=after, says=says))


@contextmanager
def killed(url: str, now: datetime, job: str, after: int) -> Iterator[None]:
    """Run a job on a node that is killed (kill -9) right after it has committed so many transactions."""
    here, there = multiprocessing.Pipe()
    # Forked from a process of its own that has loaded this file: loading it for each was most of what it took.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    doomed = context.Process(target=node, args=(url, now, job, after, there))
    doomed.start()
    try:
        assert here.poll(WITHIN_S), "the node did not come so far"
        assert here.recv() == "halted"
    finally:
        doomed.kill()
        doomed.join(WITHIN_S)
    yield


def add_certified(ground: Ground, name: str) -> None:
    """Add an app of the same vendor that was certified without a submission."""
    order = NewApp(VendorId(ground.vendor), name, "Shows.", "Planning.", "scheduling")
    app = ground.site.system(registry.add_app, order=order)
    version = ground.site.system(registry.add_version, app_id=app.id, order=NewVersion("1"))
    record_certification(ground.site, version.id, ["launch", "user/Slot.rs"], days=120)


def progress(ground: Ground) -> tuple[int, int, Any]:
    found = made(ground.site.api("otto").get("/revalidation"), 200)
    return found["done"], found["total"], found["ended_at"]


def events(ground: Ground, action: str) -> list[Any]:
    return list(ground.site.system(audit.list_events, query=EventQuery(action=action, limit=100)).events)


@pytest.mark.parametrize("one_uow", ["postgresql"], indirect=True)
def test_a_node_that_is_killed_in_the_middle_loses_nothing_and_repeats_nothing(
    one_uow: UnitOfWork, clock: FakeClock, postgres_url: str, tmp_path: Path
) -> None:
    """While it checks a submission, and between two apps of the nightly round: its successor waits for the lease and ends both."""
    with ExitStack() as stack:
        world = World(stack, Authority(tmp_path), one_uow, clock)
        ground = in_order(world)
        signs(ground.site, "rita", "technical")
        sent = submitted(ground, world)
        made(decide(ground, sent, expires_at=(clock.now() + 120 * DAY).isoformat()), 200)
        certified = Certified(world, ground, "")
        for n in range(OTHERS):
            add_certified(ground, f"Other {n}")
        while ground.site.system(step, at=AT):
            pass

        clock.advance(DAY)
        with killed(postgres_url, clock.now(), ROUND, after=2):
            assert progress(ground) == (1, 1 + OTHERS, None)
            with pytest.raises(Conflict):
                work(ROUND, certified.lease("two"))
        world.expire_leases()
        work(ROUND, certified.lease("two"))

        done, total, ended = progress(ground)
        assert (done, total, ended is not None) == (1 + OTHERS, 1 + OTHERS, True)
        opened = Counter(each.event.facts["finding"] for each in events(ground, "revalidation.finding.open"))
        found = certified.findings()
        assert found, "every address of an app is gone"
        assert opened == Counter(each["id"] for each in found), "each was found, and found once"
        assert (
            len(events(ground, "revalidation.round.begin"))
            == len(events(ground, "revalidation.round.end"))
            == 1
        )

        again = made(ground.submit())["id"]
        with killed(postgres_url, clock.now(), CHECKS, after=1):
            assert ground.see(again)["state"] == "checking"
        world.expire_leases()
        work(CHECKS, world.lease("two"))

        assert checks_of(ground, again)["number"] == 1
        states = [each["after"] for each in ground.see(again)["history"]]
        assert states == ["draft", "submitted", "checking", "in_review"]
