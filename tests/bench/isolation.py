"""P10: what one app that floods costs another app's reads in the chart, at the same hospital and at the same worker.

The reader sends sixty reads a second, as people do and not as fast as it can; the flood comes from the other core over sixteen connections,
with the quota that the policy gives the app, and so at far more than ten times of it.
"""

import http.client
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.bench.figures import Figure
from tests.bench.rig import LOAD_CORE, Rig, ehr_token, rig
from tests.bench.setup import limit_service, many_tokens

SCOPE = "launch openid fhirUser patient/*.rs"
CONNECTIONS, ROUNDS, READS, PAUSE_S = 16, 3, 300, 1 / 60
FLOODS = {
    "reads at over ten times its quota": "Patient?_id=1",
    "expensive searches": "Observation?_count=200&_include=Observation:subject",
}
TARGET = 1.2


def figures() -> list[Figure]:
    """Measure the p95 of reads alone and beside each flood, in turn."""
    with rig() as made:
        limit_service(made, "general")
        answer = ehr_token(made, SCOPE)
        base = made.card["tenants"][0]["fhir"]
        url, token = f"{base}/Patient/{answer['patient']}", answer["access_token"]
        (service,) = many_tokens(made, 1)
        found = []
        for name, search in FLOODS.items():
            rounds = []
            for _ in range(ROUNDS):
                alone = p95_ms(url, token)
                with flood(made, f"{base}/{search}", service):
                    rounds.append((alone, p95_ms(url, token)))
            ratio = statistics.median(beside / alone for alone, beside in rounds)
            parts = [f"p95 alone {alone:.2f} ms, beside {beside:.2f} ms" for alone, beside in rounds]
            found.append(
                Figure("P10", f"p95 of a clinician's reads beside {name}", ratio, f"{ratio:.2f}x", f"<= {TARGET}x", ratio <= TARGET, parts)
            )  # fmt: skip
    return found


def p95_ms(url: str, token: str) -> float:
    """Read at a steady pace over one connection; return the 95th percentile of the times in milliseconds."""
    parts, took = urlsplit(url), []
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    for n in range(READS + 20):
        started = time.perf_counter()
        connection.request("GET", parts.path, headers={"authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        if n >= 20:  # the first ones warm up
            took.append(time.perf_counter() - started)
        time.sleep(PAUSE_S)
    connection.close()
    return statistics.quantiles(took, n=20)[-1] * 1_000


@contextmanager
def flood(made: Rig, url: str, token: str) -> Iterator[None]:
    """Send from the load's core for as long as the reads take, at most a minute."""
    assert made.base in url
    header = f"authorization: Bearer {token}"
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", "-d60s", "-H", header, url]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(1)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
