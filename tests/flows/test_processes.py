"""Processes die and come back; what the operations listener says is true (C201; security decision 26)."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hilum.foundation.web.bounds import BODY_GRACE_S
from tests.flows.outside.ground import tell
from tests.sim.processes import children, kill, name_of, operations, part, until, workers
from tests.sim.running import Running, start
from tests.sim.stranger import FORM, TOKEN, connections

ANSWERED_WITHIN_S = 10.0


@pytest.fixture(scope="module")
def running(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sandbox of this module's own: its processes are killed, which no other story should meet."""
    started = start(tmp_path_factory.mktemp("killed"), seeded=seeded, program=True)
    yield started
    started.stop()


def answers(url: str) -> bool:
    with suppress(httpx2.HTTPError):
        return httpx2.get(url, timeout=2).status_code == 200
    return False


def ready(running: Running) -> bool:
    return answers(f"{running.base}/readyz")


def state(running: Running) -> dict[str, Any]:
    answer = httpx2.get(f"{operations(running)}/readyz", timeout=ANSWERED_WITHIN_S)
    found: dict[str, Any] = answer.json()
    assert (answer.status_code == 200) == (found["status"] == "ready")
    return found


def codes(running: Running, kind: str = "reasons") -> set[str]:
    return {each["code"] for each in state(running)[kind]}


@pytest.fixture(autouse=True)
def whole_afterwards(running: Running) -> Iterator[None]:
    yield
    # A worker whose parent was killed answers for a second more. Its successor has workers only after it.
    until(lambda: workers(running))
    until(lambda: ready(running) and state(running)["status"] == "ready" and not state(running)["notices"])


def test_parts_are_forked_from_what_the_supervisor_has_loaded(running: Running) -> None:
    """ADR 33. Loading must start no thread, else nothing would be forked."""
    supervisor = running.process.pid
    until(lambda: all(part(running, name) for name in ("platform", "sandbox", "jobs")))

    commands = {Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (supervisor, *children(supervisor))}

    assert len(commands) == 1, commands


@contextmanager
def held(pid: int) -> Iterator[None]:
    """Keep a process from doing anything meanwhile, such as starting a worker in the place of a dead one."""
    # 0 would mean the whole group, and with it the test.
    assert pid > 1
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_three_deaths_of_a_worker_in_a_row_do_not_end_the_service(running: Running) -> None:
    """C201: two within seconds used to end it. While no worker lives, operations answer: the node is not ready, and says why."""
    seen = set()
    for _ in range(3):
        (worker,) = until(lambda: [pid for pid in workers(running) if pid not in seen])
        until(lambda: ready(running) and not codes(running))
        seen.add(worker)
        with held(part(running, "platform")):
            kill(worker)
            assert until(lambda: codes(running)) <= {"no_worker"}
            alive = httpx2.get(f"{operations(running)}/healthz", timeout=ANSWERED_WITHIN_S)
            assert alive.json() == {"status": "alive"}
    until(lambda: ready(running))

    assert running.process.poll() is None
    assert running.log.count('"event":"app.worker.died"') >= 3


@pytest.mark.parametrize("name", ["jobs", "platform", "sandbox"])
def test_a_part_that_is_killed_is_started_again_and_its_children_do_not_live_on(
    running: Running, name: str
) -> None:
    before = until(lambda: part(running, name))
    its = children(before)
    kill(before)
    after = until(lambda: (found := part(running, name)) != before and found)
    until(lambda: ready(running) and not codes(running, "notices"))
    until(lambda: not any(map(name_of, its)))

    assert running.process.poll() is None
    assert after != before
    assert '"event":"app.part.ended"' in running.log
    assert until(lambda: answers(f"{running.sandbox}/sandbox/card.json"))


def test_operations_answer_while_the_site_has_no_place_left(running: Running) -> None:
    """Faults 15: the probes died with the site. They are asked by address, and with any Host (faults 16)."""
    with connections(running, 1_300) as made:
        for one in made:
            one.ask("POST", TOKEN, FORM, "Content-Length: 1000")
        for path in ("/healthz", "/readyz", "/metrics"):
            answer = httpx2.get(
                operations(running) + path, headers={"host": "10.1.2.3"}, timeout=BODY_GRACE_S - 1
            )
            assert answer.status_code == 200


@contextmanager
def full_disk(running: Running) -> Iterator[None]:
    """Make every write of the worker fail as on a full disk, from outside and at once."""
    (worker,) = workers(running)
    before = resource.prlimit(worker, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_seen_without_any_request_and_ends_with_it(running: Running) -> None:
    """Faults 13: readiness follows what answers depend on, on both listeners; reasons are not for strangers."""
    grant = tell(running, lambda outside: outside.grant())
    before = running.log.count("app.readiness.lost")
    with full_disk(running):
        assert until(lambda: codes(running)) <= {"disk_full", "audit_unavailable"}
        public = httpx2.get(f"{running.base}/readyz")
        refused = [
            httpx2.get(f"{grant.client.fhir}/Patient/{grant.patient}", headers=grant.bearer).status_code
            for _ in range(20)
        ]
        registered = httpx2.post(
            f"{running.base}/t/general/oauth/register",
            json={
                "client_name": "x",
                "redirect_uris": ["http://127.0.0.1/cb"],
                "token_endpoint_auth_method": "none",
            },
        )
    until(lambda: ready(running) and not codes(running))

    assert public.status_code == 503
    assert public.json() == {"status": "not ready"}
    assert int(public.headers["retry-after"]) >= 1
    assert set(refused) == {503}
    assert registered.status_code == 503
    assert running.log.count("app.readiness.lost") - before <= 2
    assert httpx2.get(f"{grant.client.fhir}/Patient/{grant.patient}", headers=grant.bearer).status_code == 200


def test_metrics_count_requests_by_outcome_and_nothing_that_was_sent(running: Running) -> None:
    """Labels are words of ours: no patient, path or person ever stands in one."""
    httpx2.get(
        f"{running.tenant()['fhir']}/Patient/canary-patient-7",
        headers={"authorization": "Bearer hil_at_canary"},
    )
    httpx2.get(f"{running.base}/t/canary-tenant/fhir/Patient/canary-patient-8")
    httpx2.get(f"{running.base}/canary-path")

    def found() -> str:
        text = httpx2.get(f"{operations(running)}/metrics").text
        return text if 'hilum_gateway_requests_total{reason="token_invalid",status="401"}' in text else ""

    text = until(found)

    assert "canary" not in text
    for name in (
        "hilum_gateway_seconds_bucket",
        "hilum_snapshot_age_seconds",
        "hilum_job_runs_total",
        "hilum_ready 1.0",
    ):
        assert name in text


@pytest.mark.parametrize("path", ["/", "/api/v1/people", "/metrics/x", "/t/general/fhir/Patient"])
def test_operations_serve_nothing_else(running: Running, path: str) -> None:
    assert httpx2.get(operations(running) + path).status_code == 404
    assert httpx2.post(operations(running) + "/metrics").status_code == 405
