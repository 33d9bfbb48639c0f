"""Submissions as the service keeps them, on each backend: two nodes at one moment."""

from typing import Any

from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict
from hilum.registry.models import Environment
from hilum.review import service
from hilum.review.models import AskedScope, State, SubmissionOrder
from tests.store import registry_ground
from tests.store.registry_ground import ROOT, Ground
from tests.store.test_requests_store import at_once

ground = registry_ground.ground
WRITTEN = SubmissionOrder((AskedScope("patient/Observation.rs", "Shows results."),))


def draft(ground: Ground) -> Any:
    return ground.do(ROOT, service.create, ground.version.id, Environment.SANDBOX, WRITTEN, draft=True)


def test_of_two_who_submit_one_version_at_one_moment_one_does(ground: Ground) -> None:
    """C98."""
    found = at_once(*(lambda: draft(ground) for _ in range(4)))

    made = [each for each in found if not isinstance(each, Conflict)]
    assert len(made) == 1
    assert {each.code for each in found if isinstance(each, Conflict)} == {"submission_open"}
    (only,) = ground.do(SYSTEM, service.list_submissions)
    assert only == made[0].submission
    assert only.order == WRITTEN


def test_of_two_acts_on_one_revision_at_one_moment_one_counts(ground: Ground) -> None:
    """C98."""
    found = draft(ground).submission

    ends = at_once(
        *(lambda n=n: ground.do(ROOT, service.withdraw, found.id, found.revision, f"{n}") for n in range(4))
    )

    done = [each for each in ends if not isinstance(each, Conflict)]
    assert len(done) == 1
    view = ground.do(ROOT, service.view, found.id)
    assert [step.after for step in view.steps] == [State.DRAFT, State.WITHDRAWN]
    assert view.submission.revision == 2
