"""P18: what strangers who send nothing, or garbage, cost everybody else."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from tests.bench.figures import Figure
from tests.bench.rig import LOAD_CORE, Rig, ehr_token, rig, wrk
from tests.bench.setup import lift_quotas
from tests.sim.stranger import Connection

SCOPE = "launch openid fhirUser patient/*.rs"
SILENT, GARBAGE = 1_300, 16
BODY = b'{"resourceType":"Observation","note":[' + b'{"text":"x"},' * 160_000 + b"{}]}"
TOKEN = "Authorization: Bearer hil_at_" + "A" * 43 + "_" + "B" * 8
CONNECTIONS = 2
TARGET = 1.5


def figures() -> list[Figure]:
    """Measure reads at two connections, which leave the worker room: alone, beside silent connections, beside garbage, beside both."""
    with rig() as made:
        lift_quotas(made, "general")
        answer = ehr_token(made, SCOPE)
        url = f"{made.card['tenants'][0]['fhir']}/Patient/{answer['patient']}"
        headers = {"authorization": f"Bearer {answer['access_token']}"}
        found = {}
        for name, kinds in (("alone", ""), ("silent", "s"), ("garbage", "g"), ("both", "sg")):
            with strangers(made, kinds):
                found[name] = wrk(url, connections=CONNECTIONS, headers=headers, seconds=4)
    quiet = found["alone"].p50_ms
    ratio = found["both"].p50_ms / quiet
    parts = [
        f"{name}: p50 {load.p50_ms:.2f} ms ({load.p50_ms / quiet:.2f}x), p99 {load.p99_ms:.1f} ms, "
        f"{load.rate:,.0f}/s, errors {load.errors}"
        for name, load in found.items()
    ]
    what = f"{SILENT:,} silent connections, {GARBAGE} garbage tokens with 2 MB: p50 of reads"
    return [Figure("P18", what, ratio, f"{ratio:.2f}x", f"<= {TARGET}x", ratio <= TARGET, parts)]


@contextmanager
def strangers(made: Rig, kinds: str) -> Iterator[None]:
    """Let them knock from the load's core, in a process of their own."""
    if not kinds:
        yield
        return
    command = ["taskset", "-c", LOAD_CORE, sys.executable, "-m", "tests.bench.strangers", made.base, kinds]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _silent(base: str) -> None:
    """Hold so many connections, half without headers and half without a body, and open again what was closed."""
    held: list[Connection] = []
    while True:
        while len(held) < SILENT:
            with suppress(OSError):
                one = Connection(base)
                if len(held) % 2:
                    one.ask(
                        "POST",
                        "/t/general/oauth/token",
                        "Content-Type: application/x-www-form-urlencoded",
                        "Content-Length: 100",
                    )
                held.append(one)
        time.sleep(1)
        gone = [one for one in held if one.has_answer()]
        for one in gone:
            one.close()
        held = [one for one in held if one not in gone]


def _garbage(base: str) -> None:
    while True:
        with suppress(OSError):
            one = Connection(base)
            one.ask(
                "POST",
                "/t/general/fhir/Observation",
                TOKEN,
                "Content-Type: application/fhir+json",
                f"Content-Length: {len(BODY)}",
            )
            one.send(BODY)
            one.receive(5)
            one.close()


def _knock(base: str, kinds: str) -> None:
    if "s" in kinds:
        Thread(target=_silent, args=(base,), daemon=True).start()
        time.sleep(2)
    for _ in range(GARBAGE if "g" in kinds else 0):
        Thread(target=_garbage, args=(base,), daemon=True).start()
    time.sleep(1)
    print("knocking", flush=True)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    _knock(sys.argv[1], sys.argv[2])
