"""The newest signed head of rows is the one in the audit trail (C179)."""

import pytest

from hilum.attestations.policy import trail_fault


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
