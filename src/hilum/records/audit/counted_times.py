"""How counts number the time: days, and slots of ten minutes, since 1970-01-01."""

from datetime import date, datetime, timedelta

from hilum.foundation.kernel.times import EPOCH
from hilum.records.audit.models import SLOT

_DAY = timedelta(days=1)
_SLOTS_A_DAY = _DAY // SLOT


def day_of(at: datetime) -> int:
    """Return the number of the day that a moment is in."""
    return (at - EPOCH) // _DAY


def date_of(day: int) -> date:
    """Return the date of a day by its number."""
    return (EPOCH + day * _DAY).date()


def slot_of(at: datetime) -> int:
    """Return the number of the ten minutes that a moment is in."""
    return (at - EPOCH) // SLOT


def day_of_slot(slot: int) -> int:
    """Return the number of the day that ten minutes are in."""
    return slot // _SLOTS_A_DAY
