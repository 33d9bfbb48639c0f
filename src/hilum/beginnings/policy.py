"""The figure K11: how hard it is for a vendor to begin. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from statistics import median

from hilum.beginnings.models import ROWS_SHOWN, Friction, FrictionFigure


def friction_figure(vendors: Iterable[Friction]) -> FrictionFigure:
    """Return K11 for the vendors that signed up in a period."""
    found = list(vendors)
    launched = [each for each in found if each.launched_at is not None]
    read = [each for each in launched if each.read_at is not None]
    stuck = sorted(
        (each for each in found if each.read_at is None),
        key=lambda each: (each.launched_at is not None, -each.signed_up_at.timestamp(), each.vendor),
    )
    return FrictionFigure(
        len(found),
        len(launched),
        len(read),
        _median_minutes((each.signed_up_at, each.launched_at) for each in launched),
        _median_minutes((each.launched_at, each.read_at) for each in read),
        sum(each.tries for each in launched),
        int(median(each.tries for each in launched)) if launched else None,
        tuple(each.vendor for each in stuck)[:ROWS_SHOWN],
    )


def _median_minutes(spans: Iterable[tuple[datetime | None, datetime | None]]) -> int | None:
    minutes = [
        (end - begin) // timedelta(minutes=1) for begin, end in spans if begin is not None and end is not None
    ]
    return int(median(minutes)) if minutes else None
