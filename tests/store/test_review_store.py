"""Submissions as the service keeps them, on each backend: two nodes at one moment."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import select

from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.ids import AppId, VendorId, VersionId
from hilum.review.submissions import service, store
from hilum.review.submissions.models import (
    AskedScope,
    Document,
    Judgement,
    Route,
    Run,
    State,
    Submission,
    SubmissionOrder,
    Visibility,
)
from tests.sim.at_once import at_once
from tests.store import registry_ground
from tests.store.registry_ground import ROOT, Ground

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


def waiting(ground: Ground, vendor: str, number: int, state: State) -> str:
    """Store a submission as it waits to be checked; return its id."""
    at = ground.uow.clock.now()
    added = Submission(
        f"sub_{vendor}_{number}",
        AppId(f"app_{vendor}"),
        VendorId(vendor),
        VersionId(f"ver_{vendor}_{number}"),
        "1",
        Environment.SANDBOX,
        WRITTEN,
        "test",
        at,
        at,
        state=state,
    )
    assert ground.do(SYSTEM, lambda ctx: store.add_submission(ctx.tx, added))
    return added.id


def checked(ground: Ground, submission: str, after: timedelta) -> None:
    at = ground.uow.clock.now() + after
    run = Run(submission, 1, at, "", "", 1, Judgement((), Route()))
    ground.do(SYSTEM, lambda ctx: store.add_run(ctx.tx, run))


def test_a_vendor_that_has_everything_checked_again_keeps_no_other_waiting(ground: Ground) -> None:
    """C99: vendors take turns, whatever each of them lets wait."""

    def turn() -> str | None:
        found: str | None = ground.do(SYSTEM, lambda ctx: store.next_to_check(ctx.tx))
        return found

    assert turn() is None
    again = [waiting(ground, "busy", number, State.CHECKING) for number in range(3)]
    assert turn() == again[0]
    checked(ground, again[0], timedelta(0))
    first, second = waiting(ground, "quiet", 1, State.SUBMITTED), waiting(ground, "quiet", 2, State.CHECKING)

    assert turn() == second, "one whose check broke off is first of its vendor"
    checked(ground, second, timedelta(seconds=1))
    assert turn() == again[0], "the other vendor was checked later"
    checked(ground, again[1], timedelta(seconds=2))
    assert turn() == second
    assert first != second


def test_a_release_before_reads_documents_that_say_until_when_they_hold(ground: Ground) -> None:
    """C104: it reads four parts of each, or its lists would end at such a row; what it puts in a document's place is nobody's to read."""
    plain = Document("dpia", "https://vendor.example/dpia", "a" * 64, date(2026, 1, 2))
    public = Document(
        "security_test",
        "https://vendor.example/test",
        "b" * 64,
        date(2026, 1, 2),
        date(2026, 6, 1),
        Visibility.PUBLIC,
    )
    table, id_ = store.submissions, waiting(ground, "dated", 1, State.DRAFT)
    found = ground.do(SYSTEM, lambda ctx: store.get_submission(ctx.tx, id_))
    written = replace(found, order=replace(WRITTEN, documents=(plain, public)))
    assert ground.do(SYSTEM, lambda ctx: store.save_submission(ctx.tx, written, revision=found.revision))

    row = ground.do(SYSTEM, lambda ctx: ctx.tx.execute(select(table).where(table.c.id == id_)).one())
    assert [len(each) for each in row.documents] == [4, 4]
    assert ground.do(SYSTEM, lambda ctx: store.get_submission(ctx.tx, id_)) == written

    other = [[kind, url, "c" * 64, dated] for kind, url, _, dated in row.documents]
    ground.do(
        SYSTEM, lambda ctx: ctx.tx.execute(table.update().where(table.c.id == id_).values(documents=other))
    )
    replaced = ground.do(SYSTEM, lambda ctx: store.get_submission(ctx.tx, id_))
    assert {(each.expires, each.visibility) for each in replaced.order.documents} == {
        (None, Visibility.REVIEWERS)
    }
