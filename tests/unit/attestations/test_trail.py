"""What a signed head of rows covers, and that the newest one is the one in the audit trail (C179)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.attestations.models import Head
from hilum.attestations.policy import head_bytes, head_digest, trail_fault
from tests.sim.world import START

HEAD = Head(7, "root", START, "six", "kid", "signature")


@pytest.mark.parametrize(
    "change",
    [{"number": 8}, {"root": "another"}, {"made_at": START + timedelta(seconds=1)}, {"previous": "five"}],
)
def test_each_part_of_a_head_is_signed(change: dict[str, Any]) -> None:
    """The head before it too: of two that follow one head, only one can have been signed."""
    assert head_bytes(replace(HEAD, **change)) != head_bytes(HEAD)
    assert head_digest(replace(HEAD, **change)) != head_digest(HEAD)


@pytest.mark.parametrize("change", [{"kid": "another"}, {"signature": "another"}])
def test_the_next_head_names_who_signed_this_one_and_how(change: dict[str, Any]) -> None:
    assert head_digest(replace(HEAD, **change)) != head_digest(HEAD)


@pytest.mark.parametrize(
    ("number", "digest", "trail", "says"),
    [
        (7, "seven", [(6, "six"), (7, "seven")], ""),
        (7, "seven", [(7, "seven"), (6, "six")], ""),
        (7, "seven", [], ""),
        # A head whose record is still to come: both are one transaction, read at two moments.
        (7, "seven", [(6, "six")], ""),
        (6, "six", [(6, "six"), (7, "seven")], "number 6, but the audit trail has number 7"),
        (7, "another", [(6, "six"), (7, "seven")], "is not the one in the audit trail"),
    ],
)
def test_a_head_that_was_put_back_or_replaced_is_found(
    number: int, digest: str, trail: list[tuple[int, str]], says: str
) -> None:
    found = trail_fault(number, digest, trail)

    assert (says in found) if says else (found == "")
