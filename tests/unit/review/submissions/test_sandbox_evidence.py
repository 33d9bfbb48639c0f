"""What a certification run in the sandbox counts for in review (C126, C232)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hilum.policy.matrix.models import Applicant, Book, Tier
from hilum.policy.matrix.shipped import shipped_book
from hilum.review.certification_runs.models import RESULT_LIFE, RunSummary
from hilum.review.submissions.checks import Inputs, evidence_of
from hilum.review.submissions.models import Result
from tests.unit.policy.matrix.books import book

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
BOOK = shipped_book()
APPLICANT = Applicant(
    "scheduling",
    ("patient/Appointment.cu",),
    None,
    ("appointments",),
    ("sidebar",),
    certified_tier=None,
)
NEEDED = tuple(sorted(BOOK.categories["scheduling"].entries[tier].scenarios) for tier in BOOK.categories["scheduling"].entries)[-1]  # fmt: skip
SEEN = RunSummary("run_1", NOW - timedelta(days=1), "passed", 1, tuple(NEEDED), "d" * 64)


def judged(
    seen: RunSummary | None,
    environment: str = "production",
    by: Book = BOOK,
    *,
    about: str = "sandbox_run",
) -> Result:
    content = {
        "environment": environment,
        "profile": {"stores_data": False},
        "documents": [],
        "clients": [{"grant_types": ["authorization_code"]}],
    }
    inputs = Inputs(NOW, (), {}, "", (), None, seen)
    (found,) = (each for each in evidence_of(content, inputs, by, APPLICANT) if each.about == about)
    assert found.evidence
    assert found.fix
    return found.result


def test_a_run_that_was_passed_is_evidence() -> None:
    assert judged(SEEN) is Result.PASSED
    assert judged(replace(SEEN, at=NOW - RESULT_LIFE + timedelta(seconds=1))) is Result.PASSED
    assert judged(replace(SEEN, scenarios=(*SEEN.scenarios, "another"))) is Result.PASSED
    assert judged(None, "sandbox") is Result.NOT_REQUIRED


@pytest.mark.parametrize(
    "seen",
    [
        None,
        replace(SEEN, state="failed"),
        replace(SEEN, state="incomplete"),
        replace(SEEN, at=NOW - RESULT_LIFE),
        replace(SEEN, scenarios=SEEN.scenarios[1:]),
        replace(SEEN, scenarios=()),
        # It showed nothing about people, whom the app serves since.
        replace(SEEN, backend=True),
    ],
)
def test_no_run_or_one_that_is_forged_failed_old_or_too_small_is_none(seen: RunSummary | None) -> None:
    """C232: a result is refused after 90 days."""
    assert judged(seen) is Result.FAILED


@pytest.mark.parametrize(
    ("seen", "result"),
    [
        (replace(SEEN, own=False), Result.PASSED),
        (replace(SEEN, own=True), Result.FAILED),
        # A run of a release that did not keep it, which is of no use for it: unknown never passes.
        (replace(SEEN, own=None), Result.UNKNOWN),
        (None, Result.FAILED),
    ],
    ids=["shared", "own", "not known", "none"],
)
def test_where_the_policy_says_so_a_run_at_a_snapshot_of_the_vendors_own_is_no_evidence(
    seen: RunSummary | None, result: Result
) -> None:
    """C126: a vendor is the EHR of its own snapshot, and changes its charts."""
    entries = {
        f"categories.scheduling.entries.{tier}.evidence": sorted(
            {*entry.evidence, "sandbox_run", "shared_sandbox"}
        )
        for tier, entry in BOOK.categories["scheduling"].entries.items()
    }
    asking = book(entries)

    assert judged(seen, by=asking, about="shared_sandbox") is result
    assert judged(seen, "sandbox", asking, about="shared_sandbox") is Result.NOT_REQUIRED
    if seen is not None:
        assert judged(seen, by=asking) is Result.PASSED, "it is a run all the same"


def test_the_shipped_book_asks_for_it_at_the_high_tier_alone() -> None:
    asking = {
        tier for each in BOOK.categories.values() for tier, entry in each.entries.items() if "shared_sandbox" in entry.evidence
    }  # fmt: skip
    assert asking == {Tier.HIGH}
