"""A run of checks that is judged again: what it concludes counts, and not how a release words it (C110)."""

from dataclasses import replace

import pytest

from hilum.policy.matrix.models import Discipline, Tier
from hilum.review.submissions.checks import is_same_result
from hilum.review.submissions.models import Check, Judgement, Result, Route

THEN = Judgement(
    (
        Check("address.answers", "terms: https://a.example/t", Result.PASSED, "It answered 200.", "curl", "Fix it."),
        Check("contacts.proved", "owner", Result.FAILED, "It is not proved.", "hilum contact list", "Prove it."),
    ),
    Route(Tier.LOW, "fast", (Discipline.TECHNICAL,), 1, 2, automatic=True),
)  # fmt: skip


def with_check(**changed: object) -> Judgement:
    return replace(THEN, checks=(replace(THEN.checks[0], **changed), *THEN.checks[1:]))  # type: ignore[arg-type]


REWORDED = [{"evidence": "The answer was 200."}, {"fix": "Make it answer."}, {"reproduction": "curl -v"}]
OTHERWISE = [
    with_check(result=Result.UNKNOWN),
    with_check(rule="address.tls"),
    with_check(about="privacy_policy: https://a.example/t"),
    replace(THEN, checks=THEN.checks[:1]),
    replace(THEN, checks=(*THEN.checks, THEN.checks[0])),
    replace(THEN, checks=THEN.checks[::-1]),
    replace(THEN, route=replace(THEN.route, tier=Tier.HIGH)),
    replace(THEN, route=replace(THEN.route, disciplines=())),
    replace(THEN, route=Route()),
]


@pytest.mark.parametrize("changed", REWORDED, ids=["evidence", "fix", "reproduction"])
def test_another_wording_comes_to_the_same(changed: dict[str, str]) -> None:
    """C110: a release that words a check otherwise makes no stored run look like one that was tampered with."""
    assert is_same_result(THEN, with_check(**changed))


@pytest.mark.parametrize("other", OTHERWISE, ids=range(len(OTHERWISE)))
def test_another_result_rule_thing_or_route_does_not(other: Judgement) -> None:
    """C110."""
    assert not is_same_result(THEN, other)
    assert not is_same_result(other, THEN)
