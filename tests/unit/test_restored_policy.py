"""What ``hilum restore`` prints about the policy: which one is in force again, and what shows that a later one was lost."""

import pytest

from hilum.policy.matrix.models import Verified
from hilum.server.backup import Manifest
from hilum.server.commands.backups import policy_lines
from hilum.server.restore import Restored

BACKED_UP = Verified(3, "d" * 64, 7, "e" * 64, (), ())
NONE = Verified(0, "", 0, "", (), ())
LOST = "had application 9 of a policy"
SINCE = "2 checkpoints were made after the backup"


def lines(book: Verified, replaced_application: int, anchored: int) -> list[str]:
    manifest = Manifest(1, "2026-11-26T10:00:00+00:00", "sqlite", "0018", "0018", "0018", 40, "c" * 64, ())
    done = Restored(manifest, False, 0, 0, 0, book, "", replaced_application, anchored)
    return policy_lines(done)


def test_version_digest_and_last_application_are_printed_beside_the_anchors_checkpoint() -> None:
    first, second = lines(BACKED_UP, 7, 40)

    for part in ("version 3", "d" * 64, "number 7", "e" * 64):
        assert part in first
    assert second == "The backup's newest checkpoint is 40, the audit anchor's 40."


@pytest.mark.parametrize(
    ("book", "replaced", "anchored", "warning"),
    [
        (BACKED_UP, 9, 40, LOST),
        (BACKED_UP, 9, 42, LOST),
        (BACKED_UP, 7, 42, SINCE),
        (BACKED_UP, 0, 42, SINCE),
        (BACKED_UP, 0, 0, ""),
        (BACKED_UP, 6, 39, ""),
        (NONE, 9, 40, LOST),
        (NONE, 0, 0, ""),
        (
            Verified(3, "d", 7, "e", ("Application 6 of the policy is missing.",), ()),
            7,
            40,
            "Application 6",
        ),
    ],
)
def test_a_later_policy_that_was_lost_is_a_warning(
    book: Verified, replaced: int, anchored: int, warning: str
) -> None:
    warnings = [line for line in lines(book, replaced, anchored) if line.startswith("WARNING: ")]

    assert len(warnings) == (1 if warning else 0)
    assert warning in "".join(warnings)
