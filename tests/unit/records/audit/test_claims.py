"""Which unanswered creates are one and the same (C196)."""

from dataclasses import replace

import pytest

from hilum.records.audit.models import Access, Outcome
from hilum.records.audit.policy import claim_key
from tests.sim.world import START

CREATE = Access(
    "req_1",
    "req_1",
    START,
    "general",
    "create",
    "Observation",
    0,
    Outcome.INTENDED,
    client="cli_1",
    person="per_1",
    digest="d1",
)


def test_the_same_write_of_the_same_asker_is_one() -> None:
    assert claim_key(CREATE) is not None
    assert claim_key(replace(CREATE, request_id="req_2")) == claim_key(CREATE)


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "children"},
        {"client": "cli_2"},
        {"person": "per_2"},
        {"person": ""},
        {"resource_type": "Condition"},
        {"digest": "d2"},
    ],
)
def test_another_hospital_app_person_type_or_content_is_another_one(change: dict[str, str]) -> None:
    """Nobody is kept out by somebody else's lost answer, and nobody learns of it."""
    assert claim_key(replace(CREATE, **change)) != claim_key(CREATE)  # type: ignore[arg-type]


@pytest.mark.parametrize("interaction", ["read", "update", "delete", "search-type"])
def test_what_may_be_repeated_has_none(interaction: str) -> None:
    assert claim_key(replace(CREATE, interaction=interaction)) is None
