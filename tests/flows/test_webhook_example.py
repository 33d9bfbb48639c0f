"""The example receiver verifies what Hilum sends, and answers 401 to everything else (C227)."""

import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hilum.foundation.infra.system import SystemClock
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.notices import policy, service
from hilum.records.notices.models import State
from tests.sim.notice_ground import NoticeGround
from tests.sim.world import FakeClock, SeededIds

EXAMPLE = Path(__file__).parents[2] / "examples" / "webhook_receiver.py"
SECRET = "whsec_" + "A" * 43 + "="
OTHER = "whsec_" + "B" * 43 + "="
BODY = b'{"id":"ntc_1","type":"webhook.ping","timestamp":"2026-03-02T09:00:00+00:00","data":{"webhook_id":"whk_1"}}'


class Example:
    def __init__(self, *secrets: str) -> None:
        command = [sys.executable, str(EXAMPLE), "0"]
        environment = os.environ | {"WEBHOOK_SECRET": ",".join(secrets)}
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", self.process.stdout.readline())
        assert found is not None
        self.port = int(found[1])
        self.events: list[str] | None = None

    def post(self, headers: dict[str, str], body: bytes = BODY) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("POST", "/hooks", body, headers)
        status = connection.getresponse().status
        connection.close()
        return status

    def stop(self) -> list[str]:
        """Stop it; return the events that it took in."""
        if self.events is None:
            self.process.terminate()
            self.events = self.process.communicate()[0].splitlines()
        return self.events


@pytest.fixture
def example() -> Iterator[Example]:
    made = Example(SECRET)
    yield made
    made.stop()


def signed(*secrets: str, at: int = 0, body: bytes = BODY) -> dict[str, str]:
    return policy.headers_of("ntc_1", int(time.time()) + at, body, secrets)


def test_the_example_takes_what_hilum_sends(sqlite_url: str, clock: FakeClock) -> None:
    from hilum.foundation.infra.db import Database

    uow = UnitOfWork.create(Database(sqlite_url), SystemClock(), SeededIds(), "test-writer")
    ground = NoticeGround(uow)
    endpoint = ground.endpoint("http://127.0.0.1:1/")
    example = Example(endpoint.secret)
    other = ground.endpoint(f"http://127.0.0.1:{example.port}/hooks")
    wrong = ground.do(service.ping, other.endpoint.id)
    ground.hooks().run()
    mismatch = ground.only()
    example.stop()
    right = Example(other.secret)
    moved = ground.do(lambda ctx: service.get_notice(ctx, wrong.id))

    answer = right.post(policy.headers_of(moved.id, int(time.time()), BODY, (other.secret,)))

    assert (mismatch.state, mismatch.status) == (State.WAITING, 401), (
        "another endpoint's secret does not verify"
    )
    assert answer == 204
    assert right.stop() == ['webhook.ping {"webhook_id": "whk_1"}']
    uow.close()


def test_a_repetition_is_accepted_and_handled_once(example: Example) -> None:
    answers = [example.post(signed(SECRET)), example.post(signed(SECRET, at=-1))]

    assert answers == [204, 204]
    assert len(example.stop()) == 1


def test_an_event_whose_handling_failed_is_handled_when_it_is_sent_again(example: Example) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        example.post(signed(SECRET, body=b"{"), b"{")

    assert example.post(signed(SECRET)) == 204
    assert len(example.stop()) == 1


def test_a_secret_that_is_malformed_is_named_at_the_start() -> None:
    command = [sys.executable, str(EXAMPLE), "0"]
    environment = os.environ | {"WEBHOOK_SECRET": "whsec_not-base64"}

    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30, check=False)

    assert run.returncode == 1
    assert "WEBHOOK_SECRET is not a secret" in run.stderr


def test_either_secret_is_accepted_while_they_overlap(example: Example) -> None:
    assert example.post(signed(OTHER, SECRET)) == 204
    assert example.post(signed(SECRET, OTHER)) == 204


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1," + "A" * 43 + "="},
        {"webhook-signature": "v1a,x"},
        {"webhook-signature": "é"},
        {"webhook-id": "ntc_2"},
        {"webhook-id": ""},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 30},
        {"webhook-timestamp": "²"},
    ],
)
def test_what_is_not_signed_is_answered_401(example: Example, change: dict[str, str]) -> None:
    """C227."""
    headers = signed(SECRET) | change

    assert example.post(headers) == 401
    assert example.stop() == []


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed(OTHER), BODY),
        (signed(SECRET), BODY + b" "),
        (signed(SECRET), b""),
        ({}, BODY),
    ],
    ids=["another secret", "changed body", "no body", "no headers"],
)
def test_what_was_changed_or_signed_by_another_is_answered_401(
    example: Example, headers: dict[str, str], body: bytes
) -> None:
    """C227."""
    assert example.post(headers, body) == 401


@pytest.mark.parametrize("at", [-301, -86_400, 400])
def test_what_was_recorded_and_is_sent_again_later_is_answered_401(example: Example, at: int) -> None:
    """The replay window: five minutes."""
    assert example.post(signed(SECRET, at=at)) == 401
