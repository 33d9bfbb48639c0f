"""The job that follows the registry and the kill switches, in the jobs process."""

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from hilum.foundation.infra.context import Context
from hilum.review.certificates import service
from hilum.review.certificates.models import Addresses

T = TypeVar("T")


class Lease(Protocol):
    """What the job needs of its lease."""

    def write(self, verb: Callable[[Context], T]) -> T: ...


def run(lease: Lease, at: Addresses, may_continue: Callable[[], bool]) -> None:
    """Follow everything that changed, one transaction after the other."""
    while may_continue() and lease.write(partial(service.step, at=at)):
        pass
    while may_continue() and lease.write(service.remind_due):
        pass
