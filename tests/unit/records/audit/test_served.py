"""How a call ended, and what a count of them says (C20, C228)."""

import pytest

from hilum.foundation.kernel.decision import Reason
from hilum.records.audit.models import SERVED_EDGES_MS, Ending, Served
from hilum.records.audit.policy import ending_of
from tests.flows.journal_ground import access


@pytest.mark.parametrize(
    ("status", "reason", "ending"),
    [
        (200, "", "answered"),
        (201, "", "answered"),
        (409, "", "answered"),
        (412, "", "answered"),
        (404, "", "refused"),
        (410, "", "refused"),
        (400, "", "mistaken"),
        (422, "", "mistaken"),
        (500, "", "failed"),
        (403, "scope_insufficient", "refused"),
        (403, "a reason of a later release", "refused"),
        (404, "outside_launch_context", "refused"),
        (404, "label_withheld", "refused"),
        (401, "token_revoked", None),
        (403, "person_inactive", None),
        (403, "app_not_installed", None),
        (404, "request_unsupported", "mistaken"),
        (403, "too_costly", "mistaken"),
        (413, "resource_too_large", "mistaken"),
        (429, "quota_exceeded", "throttled"),
        (429, "concurrency_exceeded", "failed"),
        (503, "traffic_shed", "failed"),
        (429, "app_concurrency_exceeded", "throttled"),
        (503, "upstream_unavailable", "failed"),
        (502, "response_unjudgeable", "failed"),
        (503, "outcome_unknown", "failed"),
        (403, "switch_engaged", None),
        (401, "tenant_mismatch", None),
    ],
)
def test_a_call_ended_in_one_way_by_whose_cause(status: int, reason: str, ending: str | None) -> None:
    """C228: what the app caused is apart from what the hospital's server did, and an absent record from no withheld one (ADR 13)."""
    assert ending_of(access(1, status=status, reason=reason)) == (None if ending is None else Ending(ending))


def test_what_people_ended_and_what_an_app_writes_at_will_says_nothing_of_its_service() -> None:
    """Every other reason counts. Whoever used an app could have mails sent about it, with a token that was revoked."""
    uncounted = {each for each in Reason if ending_of(access(1, status=403, reason=each.value)) is None}

    ended = {Reason.TOKEN_REVOKED, Reason.PERSON_INACTIVE, Reason.APP_NOT_INSTALLED}
    assert uncounted == {Reason.APP_SUSPENDED, Reason.SWITCH_ENGAGED, Reason.TENANT_MISMATCH} | ended


def test_a_new_reason_counts_only_as_somebody_decided() -> None:
    """C228: a reason of which nothing is said counts as refused, so those that are meant to are listed here."""
    refused = {each for each in Reason if ending_of(access(1, status=403, reason=each)) is Ending.REFUSED}

    assert refused == {
        Reason.TOKEN_MISSING,
        Reason.TOKEN_INVALID,
        Reason.PROOF_INVALID,
        Reason.APP_NOT_CERTIFIED,
        Reason.AGREEMENT_MISSING,
        Reason.APPROVER_MISSING,
        Reason.NETWORK_NOT_ALLOWED,
        Reason.FACILITY_NOT_ALLOWED,
        Reason.ROLE_NOT_ALLOWED,
        Reason.WORKFLOW_NOT_APPROVED,
        Reason.SCOPE_RETIRED,
        Reason.SCOPE_INSUFFICIENT,
        Reason.LAUNCH_ENDED,
        Reason.CONTEXT_MOVED,
        Reason.OUTSIDE_LAUNCH_CONTEXT,
        Reason.AUTHORIZATION_EXPIRED,
        Reason.ONE_TIME_OVER,
        Reason.STUDY_ENDED,
        Reason.FIXED_END_REACHED,
        Reason.AUTHORIZATION_IDLE,
        Reason.AUTHORIZATION_DORMANT,
        Reason.REFRESH_TOKEN_OLD,
        Reason.ABSOLUTE_LIMIT_REACHED,
        Reason.LABEL_WITHHELD,
        Reason.WRITE_REPEATED,
        Reason.WRITE_DONE_ANSWER_WITHHELD,
    }


def served(**at: int) -> Served:
    """Answers by bucket: ``up_to_50`` and so on, ``slower``."""
    names = [*(f"up_to_{edge}" for edge in SERVED_EDGES_MS), "slower"]
    return Served(answered=tuple(at.get(name, 0) for name in names))


@pytest.mark.parametrize(
    ("answers", "within"),
    [
        (served(), None),
        (served(up_to_50=1), 50),
        (served(up_to_50=95, slower=5), 50),
        (served(up_to_50=94, up_to_3000=1, slower=5), 3_000),
        (served(up_to_50=94, slower=6), None),
        (served(slower=1), None),
    ],
)
def test_what_95_of_100_answers_took_is_an_edge(answers: Served, within: int | None) -> None:
    assert answers.within_ms() == within


@pytest.mark.parametrize(
    ("limit", "slower"),
    [(40, 100), (50, 100), (51, 90), (1_500, 60), (1_999, 10), (2_000, 10), (2_001, 3), (10_001, 0)],
)
def test_only_answers_that_were_certainly_slower_than_a_limit_count(limit: int, slower: int) -> None:
    """A limit between two edges counts as the upper one."""
    answers = served(up_to_100=10, up_to_1500=30, up_to_2000=50, up_to_3000=7, slower=3)

    assert answers.slower_than(limit) == slower


def test_counts_add_up() -> None:
    one, other = (
        Served(1, 2, 3, 4, served(up_to_50=5).answered),
        Served(10, 20, 30, 40, served(slower=7).answered),
    )

    assert (one + other) == Served(11, 22, 33, 44, served(up_to_50=5, slower=7).answered)
    assert ((one + other).calls, (one + other).answers) == (122, 12)
