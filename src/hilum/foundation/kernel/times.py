"""Moments as numbers: microseconds since 1970-01-01, as tables and signed bytes hold them."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Return a moment as microseconds since 1970-01-01."""
    return (moment - EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Return the moment of so many microseconds since 1970-01-01."""
    return EPOCH + timedelta(microseconds=micros)
