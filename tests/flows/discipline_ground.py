"""Submissions of an app of the high tier, with a reviewer for each discipline, and of one of the low tier."""

from collections.abc import Callable
from threading import Event
from typing import Any

import pytest

from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.policy.matrix import service as policies
from hilum.review.submissions import service
from hilum.review.submissions.jobs import run_next
from hilum.review.submissions.models import VERDICT_KEPT, Look
from hilum.server.schedule import JobLease
from tests.flows.control_site import TRACE, build
from tests.flows.review_ground import Ground, add_reviewer, furnish, signs
from tests.flows.vendor_ground import made
from tests.sim.world import FakeClock

WRITES = [
    {"scope": "launch", "justification": "Opens from the chart."},
    {"scope": "user/DocumentReference.cu", "justification": "Saves the note that the physician signed."},
]
FOUND = {
    "rule": "legal.retention",
    "severity": "high",
    "evidence": "The policy states no period.",
    "reproduction": "Read its section 4.",
    "fix": "State a period.",
}


@pytest.fixture
def ground(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    """A note writer of the high tier at the sandbox, and a reviewer for each discipline."""
    site = build(sqlite_uow, clock)
    site.system(policies.adopt_shipped)
    signs(site, "rita", "technical", "clinical")
    add_reviewer(site, "lena", "legal")
    add_reviewer(site, "cleo", "clinical")
    return furnish(
        site,
        category="documentation_assistance",
        workflows=["documentation"],
        environment="sandbox",
        scope="launch user/DocumentReference.cu",
    )


def answers(targets: Any) -> list[Look]:
    return [Look(each.kind, each.url, status=200, sha256="0" * 64, size=9) for each in targets]


def check(ground: Ground, looks: Callable[[Any], list[Look]] = answers) -> None:
    """Check what waits, as if every address answered."""
    lease = JobLease(ground.site.uow, "review_checks", "one", Event())
    assert run_next(lease, looks)


def submitted(ground: Ground, **change: Any) -> str:
    sent = ground.submit(**{"environment": "sandbox", "scopes": WRITES} | change)
    identity = str(made(sent)["id"])
    check(ground)
    return identity


def decide(ground: Ground, sent: str, decision: str = "certify", who: str = "rita", **change: Any) -> Any:
    ends = (ground.site.clock.now() + VERDICT_KEPT).isoformat()
    body = {"decision": decision, "reason": "Decided.", "expires_at": ends}
    revision = ground.site.system(service.view, submission_id=sent).submission.revision
    return ground.site.api(who).post(
        f"/submissions/{sent}/decide", json=body | {"revision": revision} | change
    )


def states(ground: Ground, sent: str) -> dict[str, str]:
    view = ground.site.system(service.view_disciplines, submission_id=sent)
    return {each.discipline.value: each.state.value for each in view.disciplines}


@pytest.fixture
def low(sqlite_uow: UnitOfWork, clock: FakeClock) -> Ground:
    """An app of the low tier, of which nothing is examined by a person."""
    site = build(sqlite_uow, clock)
    site.system(policies.adopt_shipped)
    signs(site, "rita", "technical")
    return furnish(site)


def sent_low(low: Ground) -> str:
    sent = str(made(low.submit())["id"])
    check(low)
    return sent


class Keeper:
    """Stands for the lease under which the job of the clocks runs: its verbs run as the system."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground

    def read(self, verb: Any) -> Any:
        return self.ground.site.uow.read_now(verb, actor=SYSTEM, trace=TRACE)

    def write(self, verb: Any) -> Any:
        return self.ground.site.uow.write_now(verb, actor=SYSTEM, trace=TRACE)
