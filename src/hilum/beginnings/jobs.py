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
    """Update the progress of new vendors, in short transactions (K11): new sign-ups, first tokens and answers, and refused attempts."""
    for verb in (
        service.follow_signups,
        partial(service.follow_vendors, first_read=first_read),
        service.follow_refusals,
    ):
        while may_continue() and lease.write(verb):
            pass
