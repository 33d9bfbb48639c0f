"""The figure of how vendors begin (K11)."""

from datetime import UTC, datetime, timedelta

from hilum.beginnings.models import Friction, FrictionFigure
from hilum.beginnings.policy import friction_figure
from hilum.kernel.ids import VendorId

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


def begun(name: str, *steps: int | None, tries: int = 0) -> Friction:
    """Signed up, had a token and read after so many minutes."""
    signed, launched, read = (None if each is None else NOW + each * timedelta(minutes=1) for each in steps)
    assert signed is not None
    return Friction(VendorId(name), signed, launched, read, tries)


def test_friction_is_counted_step_by_step() -> None:
    """K11: the exact medians, tries before the first success, and who was lost at which step."""
    found = friction_figure(
        [
            begun("a", 0, 10, 15, tries=4),
            begun("b", 5, 35, 36, tries=1),
            begun("c", 7, 107, None, tries=0),
            begun("d", 9, None, None, tries=9),
            begun("e", 8, None, None),
        ]
    )

    assert found == FrictionFigure(
        signed_up=5,
        launched=3,
        read=2,
        minutes_to_launch=30,
        minutes_to_read=3,
        tries=5,
        median_tries=1,
        rows=("d", "e", "c"),
    )
    assert (found.lost_before_launch, found.lost_before_read) == (2, 1)
    assert friction_figure([]) == FrictionFigure(0, 0, 0, None, None, 0, None, ())
