"""A listing tells what the vendor says from what was verified, with version and date (C229)."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import AppId
from hilum.policy.matrix.models import Discipline
from hilum.review.listings import policy
from hilum.review.listings.models import Basis, Statement
from hilum.review.submissions.models import (
    Check,
    DisciplineReview,
    DisciplineState,
    Judgement,
    Result,
    Route,
    Run,
)

AT = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
LOOKED, JUDGED = AT + timedelta(hours=1), AT + timedelta(days=2)


def run(*checks: tuple[str, Result]) -> Run:
    made = tuple(Check(rule, "it", result, "Seen.", "curl", "Fix it.") for rule, result in checks)
    return Run("sub_1", 1, LOOKED, "", "", 1, Judgement(made, Route()))


def discipline(
    state: DisciplineState, reviewer: str = "staff:per_1", judged_at: datetime | None = JUDGED
) -> DisciplineReview:
    return DisciplineReview(
        "dis_1", "sub_1", AppId("app_1"), Environment.PRODUCTION, Discipline.LEGAL, "", "", AT, state,
        reviewer=reviewer, judged_at=judged_at,
    )  # fmt: skip


def stated(
    content: dict[str, Any], run_: Run | None = None, *disciplines: DisciplineReview
) -> tuple[Statement, ...]:
    return policy.statements_of(content, run_, disciplines, version="2.0", at=AT)


def test_what_passed_is_verified_with_version_and_date() -> None:
    found = stated({}, run(("address.tls", Result.PASSED)), discipline(DisciplineState.PASSED))

    assert [(each.basis, each.version, each.at) for each in found] == [
        (Basis.VERIFIED, "2.0", LOOKED),
        (Basis.VERIFIED, "2.0", JUDGED),
    ]
    assert "legal" in found[1].what


@pytest.mark.parametrize(
    "results",
    [
        [Result.FAILED],
        [Result.UNKNOWN],
        [Result.NOT_REQUIRED],
        [Result.PASSED, Result.FAILED],
        [Result.PASSED, Result.UNKNOWN],
    ],
)
def test_what_did_not_pass_everywhere_is_not_verified(results: list[Result]) -> None:
    assert stated({}, run(*(("address.tls", each) for each in results))) == ()


@pytest.mark.parametrize(
    "judged",
    [
        discipline(DisciplineState.FAILED),
        discipline(DisciplineState.TAKEN, judged_at=None),
        discipline(DisciplineState.PASSED, judged_at=None),
        discipline(DisciplineState.PASSED, str(SYSTEM)),
    ],
)
def test_a_discipline_that_no_person_passed_verifies_nothing(judged: DisciplineReview) -> None:
    assert stated({}, None, judged) == ()


def test_what_the_vendor_says_is_attested_and_nothing_else_of_what_was_submitted_is_shown() -> None:
    content = {
        "app": {"description": "Shows.", "purpose": "", "id": "app_1"},
        "profile": {"stores_data": False, "hosting_regions": ["DE", "FR"], "retention": None},
        "version": {"ai_use": {"model": "M", "autonomy": "informs"}},
        "scopes": [{"scope": "user/Slot.rs", "justification": "Secret plans."}],
    }

    found = stated(content)

    assert {each.basis for each in found} == {Basis.ATTESTED}
    assert [(each.text, each.at) for each in found] == [
        ("Shows.", AT),
        ("no", AT),
        ("DE; FR", AT),
        ("model: M, autonomy: informs", AT),
    ]
