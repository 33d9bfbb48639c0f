"""What was written outside the database shows a record that was cut (ADR 11)."""

from datetime import timedelta

import pytest

from hilum.records.audit import policy
from hilum.records.audit.models import Anchored, AnchoredHead
from tests.sim.world import START

DAY = timedelta(days=1)
ANCHORS = [Anchored(1, START, "one"), Anchored(2, START, "two")]


@pytest.mark.parametrize(
    ("met", "newest", "said"),
    [
        ({1: "one", 2: "two"}, 2, []),
        ({1: "one", 2: ""}, 1, ["is gone"]),
        ({1: "one", 2: "another"}, 1, ["a different checkpoint has its number"]),
        ({1: "", 2: ""}, 0, ["is gone", "is gone"]),
        ({1: "another", 2: "two"}, 2, ["a different checkpoint has its number"]),
    ],
)
def test_a_checkpoint_that_was_anchored_is_there_as_it_was(
    met: dict[int, str], newest: int, said: list[str]
) -> None:
    faults = policy.Faults()

    assert policy.judge_anchors(ANCHORS, met, faults, last=2, now=START) == newest
    assert len(faults.sentences()) == len(said)
    assert all(word in fault for word, fault in zip(said, faults.sentences(), strict=True))


@pytest.mark.parametrize(
    ("number", "age", "last", "is_fault"),
    [
        (1_001, policy.CHECKPOINTS_KEPT + DAY, 5_000, False),
        (1_001, policy.CHECKPOINTS_KEPT - DAY, 5_000, True),
        (1_000, policy.CHECKPOINTS_KEPT + DAY, 5_000, True),
        (1, policy.CHECKPOINTS_KEPT + DAY, 5_000, True),
        (1_001, policy.CHECKPOINTS_KEPT + DAY, 1_001, True),
    ],
    ids=["thinned", "too young", "stays", "the first", "at the end"],
)
def test_only_what_is_thinned_may_lack_though_it_was_anchored(
    number: int, age: timedelta, last: int, *, is_fault: bool
) -> None:
    faults = policy.Faults()

    policy.judge_anchors([Anchored(number, START - age, "a")], {number: ""}, faults, last=last, now=START)

    assert bool(faults.sentences()) is is_fault


@pytest.mark.parametrize(
    ("stored", "said"), [({7: "seven"}, []), ({}, ["is gone"]), ({7: "another"}, ["is not the one"])]
)
def test_the_end_of_another_chain_is_there_as_it_was(stored: dict[int, str], said: list[str]) -> None:
    faults = policy.head_faults([AnchoredHead("heads", 7, START, "seven")], stored, "the signed heads")

    assert len(faults) == len(said)
    assert all(word in fault for word, fault in zip(said, faults, strict=True))
