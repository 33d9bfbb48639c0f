"""Power cuts in the middle of reads."""

import asyncio
import time
from typing import Any

import httpx2

from tests.flows.outside.ground import Grant, Outside
from tests.sim.running import Running, family_of, kill_all

READERS = 12
HEALED_WITHIN_S = 90
"""What holds it up is bounded by some 30 seconds; a busy machine takes as long again to start a worker."""


def cut_power(running: Running) -> None:
    """End every process of a sandbox as a power cut would."""
    kill_all(family_of(running.process.pid))
    running.process.wait()


async def reads_until_cut(
    outside: Outside, grant: Grant, cut: Any, *, after: int, heals: bool = False
) -> dict[str, int]:
    """Read with many callers at once; call ``cut`` in full flight; return the status of every answer by its request id."""
    answers: dict[str, int] = {}
    cut_at, answered_then = 0.0, 0

    async def caller(http: httpx2.AsyncClient, number: int) -> None:
        while True:
            path = "Observation?_count=2" if number % 3 == 0 else f"Patient/{grant.patient}"
            bearer = grant.bearer if number % 4 else {"authorization": "Bearer hil_at_forged"}
            try:
                answer = await http.get(f"{grant.client.fhir}/{path}", headers=bearer)
            except httpx2.TransportError:
                if not heals:
                    return
                await asyncio.sleep(0.05)
            else:
                answers[answer.headers["x-request-id"]] = answer.status_code
            # So many more answers show that calls went on over the cut; how long they take is the machine's.
            waited = bool(cut_at) and time.monotonic() - cut_at > HEALED_WITHIN_S
            if heals and cut_at and (waited or len(answers) >= answered_then + after):
                return

    async with httpx2.AsyncClient(timeout=30) as http:
        calling = [asyncio.create_task(caller(http, number)) for number in range(READERS)]
        begun = time.monotonic()
        while list(answers.values()).count(200) < after:
            await asyncio.sleep(0.005)
            assert time.monotonic() - begun < 120, answers
        answered_then = len(answers)
        cut()
        cut_at = time.monotonic()
        await asyncio.gather(*calling)
    return answers
