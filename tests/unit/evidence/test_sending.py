"""Requests to delete that runs send do not wait for each other, and are sent within the lease of their job (C227)."""

from threading import Event
from typing import Any

from hilum.app.schedule import LEASE_FOR, RENEWED_AFTER
from hilum.evidence import service
from hilum.evidence.jobs import PROBE_EVERY, PROBE_WITHIN, run
from hilum.evidence.models import PROBES_BATCH, Probe


class Lease:
    """The lease of the job, with what waits to be sent."""

    def __init__(self, probes: list[Probe]) -> None:
        self.probes = probes
        self.noted: list[dict[str, Any]] = []
        self.others = Event()
        """Set once all but one are noted."""

    def write(self, verb: Any) -> Any:
        if verb.func is service.next_probes:
            return self.probes
        self.noted.append(verb.keywords)
        if len(self.noted) == len(self.probes) - 1:
            self.others.set()
        return True


def test_a_webhook_that_hangs_holds_up_no_other() -> None:
    """C227: what the others answered is noted before it has answered."""
    probes = [
        Probe(f"prb_{n}", f"run_{n}", "https://hooks.example", b"{}", ("right",), "wrong")
        for n in range(PROBES_BATCH)
    ]
    lease = Lease(probes)

    def send(probe: Probe, _: tuple[str, ...]) -> int:
        if probe == probes[0]:
            assert lease.others.wait(30)
        return 204

    run(lease, send, "https://hilum.example", lambda: True)

    assert {each["run_id"] for each in lease.noted} == {each.run for each in probes}
    assert lease.noted[-1]["run_id"] == "run_0"


def test_nothing_is_sent_while_the_process_stops() -> None:
    """C227."""
    probe = Probe("prb_1", "run_1", "https://hooks.example", b"{}", ("right",), "wrong")
    lease, sent = Lease([probe]), list[Probe]()

    def send(asked: Probe, _: tuple[str, ...]) -> int:
        sent.append(asked)
        return 204

    run(lease, send, "https://hilum.example", lambda: False)

    assert sent == []
    assert lease.noted == []


def test_both_answers_come_while_the_lease_is_held() -> None:
    """C227: otherwise the answer could not be noted, and another node would send the same again."""
    assert 2 * PROBE_WITHIN < PROBE_EVERY + LEASE_FOR - RENEWED_AFTER
