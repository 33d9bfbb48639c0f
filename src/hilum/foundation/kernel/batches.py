"""Long lists in batches: what takes a statement, a request or a transaction for each."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batched(values: Iterable[T], size: int) -> Iterator[list[T]]:
    """Split values into lists of at most ``size``; none is empty."""
    # `itertools.batched` needs Python 3.12.
    left = iter(values)
    while batch := list(islice(left, size)):
        yield batch
