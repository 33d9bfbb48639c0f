"""The job that sends the requests of certification runs, in the jobs process: at least once, with no transaction open, and recorded once."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol, TypeVar

from hilum.evidence import service
from hilum.evidence.models import PROBES_BATCH, Probe
from hilum.infra.context import Context
from hilum.infra.fetch import FetchRefused, SafeFetcher
from hilum.kernel.errors import Unavailable
from hilum.kernel.ports import Clock
from hilum.notices.policy import headers_of

T = TypeVar("T")
PROBE_EVERY = timedelta(seconds=2)
PROBE_WITHIN = timedelta(seconds=5)
"""The time limit for an answer of a webhook. Two of them fit into the job's lease, or another node would send the same again."""


class Lease(Protocol):
    """Runs verbs as the system, only while this process holds the job's lease."""

    def write(self, verb: Callable[[Context], T]) -> T: ...


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends a request with one of two signatures. ``fetcher`` builds a safe fetcher for each, since each has its own event loop."""

    clock: Clock
    fetcher: Callable[[], SafeFetcher]

    def __call__(self, probe: Probe, secrets: tuple[str, ...]) -> int:
        """Return the status of the answer; 0 if there was none, or the address may not be called."""
        headers = headers_of(probe.id, int(self.clock.now().timestamp()), probe.body, secrets)
        try:
            return asyncio.run(self.fetcher().post(probe.url, probe.body, headers)).status
        except (FetchRefused, Unavailable):
            return 0


def run(
    lease: Lease,
    send: Callable[[Probe, tuple[str, ...]], int],
    issuer: str,
    may_continue: Callable[[], bool],
) -> None:
    """Send the requests that runs wait for, and record the answers."""
    probes = lease.write(partial(service.next_probes, issuer=issuer))
    if not probes or not may_continue():
        return
    # Concurrently, and each is recorded as soon as it answers: a hanging webhook or a slow name server delays no other vendor.
    with ThreadPoolExecutor(PROBES_BATCH, thread_name_prefix="probes") as pool:
        sent = {pool.submit(_answers, send, probe): probe for probe in probes}
        for done in as_completed(sent):
            probe = sent[done]
            lease.write(partial(service.note_probe, run_id=probe.run, probe=probe.id, answers=done.result()))


def _answers(send: Callable[[Probe, tuple[str, ...]], int], probe: Probe) -> dict[str, int]:
    # The wrong signature first: a receiver that remembers ids would accept a repetition of the right one unchecked.
    wrong = send(probe, (probe.wrong,))
    return {"wrong": wrong, "right": send(probe, probe.secrets)}
