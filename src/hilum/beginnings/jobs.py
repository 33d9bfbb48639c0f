"""The job that follows how vendors begin, in the jobs process."""

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from hilum.beginnings import service
from hilum.beginnings.service import FirstRead
from hilum.infra.context import Context

T = TypeVar("T")


class Lease(Protocol):
    """Runs verbs as the system, only while this process holds the job's lease."""

    def write(self, verb: Callable[[Context], T]) -> T: ...


def follow(lease: Lease, first_read: FirstRead, may_continue: Callable[[], bool]) -> None:
    """Follow how vendors begin, in short transactions (K11): who signed up, how far those came that are under way, and their refused tries."""
    for verb in (
        service.follow_signups,
        partial(service.follow_vendors, first_read=first_read),
        service.follow_refusals,
    ):
        while may_continue() and lease.write(verb):
            pass
