"""P1r to P5r: what enforcement costs where no read repeats, beside nginx doing nothing of the kind.

200 tokens of a backend service read 2,000 patients in random order, so that nearly no request is like one before it.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum_ehr.fhirserver.models import FhirServerSettings
from hilum_ehr.fhirserver.routes import FhirServer
from hilum_ehr.sandbox.faults import FHIR_FOLDER
from tests.bench.figures import Figure
from tests.bench.rig import LOAD_CORE, SERVER_CORE, Load, Rig, nginx, rig, wrk
from tests.bench.setup import http_tenant, lift_quotas, many_tokens
from tests.sim.postgres import free_port
from tests.unit.gateway.enforcement.facts import category, observation

TOKENS, PATIENTS, CHARTS, RESULTS = 200, 2_000, 200, 30
"""Tokens; patients that are read; those among them whose results are searched, and how many each has."""
TEXT = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">' + "x" * 1600 + "</div>"}
_LUA = """
local tokens = {%s}
math.randomseed(7)
request = function()
  return wrk.format("GET", "%s" .. math.random(0, %d) .. "%s", {["Authorization"] = "Bearer " .. tokens[math.random(#tokens)]})
end
"""


def figures() -> list[Figure]:
    """Measure with one worker on one core and the load on the other."""
    with rig() as made:
        upstream_port = free_port()
        proxied_base = http_tenant(made, f"http://127.0.0.1:{upstream_port}")
        for name in ("general", "proxied"):
            lift_quotas(made, name)
        load_charts(made)
        return embedded(made) + proxied(made, proxied_base, upstream_port)


def patient(id_: str) -> dict[str, Any]:
    name = [{"family": "Bench", "given": ["One"]}]
    return {"resourceType": "Patient", "id": id_, "active": True, "name": name, "text": TEXT}


def load_charts(made: Rig) -> None:
    """Store the patients at the embedded server, from beside it, and the results of some."""
    file = Path(made.environment["HILUM_DATA_DIR"]) / FHIR_FOLDER / "general.db"
    base = made.card["tenants"][0]["fhir"]
    server = FhirServer(FhirServerSettings(file, base), SystemClock(), SystemIds())
    try:
        server.load([patient(f"r{n}") for n in range(PATIENTS)])
        lab = category("laboratory")
        server.load(
            [
                observation(
                    f"r{n}-{k}", f"r{n}", category=lab, code={"text": "Sodium"}, valueQuantity={"value": 5.4}
                )
                for n in range(CHARTS)
                for k in range(RESULTS)
            ]
        )
    finally:
        server.close()


@contextmanager
def mixed(tokens: list[str], path: str, most: int, rest: str = "") -> Iterator[Path]:
    """Write the program that asks for a random number of ``path`` by a random token each time."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "mixed.lua"
        script.write_text(_LUA % (", ".join(f'"{token}"' for token in tokens), path, most - 1, rest))
        yield script


def embedded(made: Rig) -> list[Figure]:
    fhir, tokens = made.card["tenants"][0]["fhir"], many_tokens(made, TOKENS)
    path = fhir.removeprefix(made.base)
    body = httpx2.get(f"{fhir}/Patient/r1", headers={"authorization": f"Bearer {tokens[0]}"}).content
    with mixed(tokens, f"{path}/Patient/r", PATIENTS) as script:
        # Not measured: in the first ten seconds the jobs of a start work on the load's core and change facts that the worker decides by.
        wrk(made.base, connections=1, seconds=3, script=script)
        static = _static(body, script)
        reads = wrk(made.base, connections=64, script=script, of=made)
        alone = wrk(made.base, connections=1, script=script)
    with mixed(tokens, f"{path}/Observation?patient=r", CHARTS, "&_count=20") as script:
        searches = wrk(made.base, connections=64, script=script, of=made)
    ratio, share = reads.rate / static.rate, searches.rate / reads.rate
    return [
        Figure("P1r", "enforced reads of 2,000 Patients by 200 tokens / nginx static", ratio, f"{ratio:.3f}", ">= 0.11", ratio >= 0.11, [
            f"hilum {reads.rate:,.0f}/s, {reads.cpu_us:.0f} us of CPU a read; nginx static ({len(body)} bytes) {static.rate:,.0f}/s, errors {reads.errors}",
        ]),
        Figure("P2r", "the same, p99 at 64 connections / at 1", reads.p99_ms, f"{reads.p99_ms:.1f} / {alone.p99_ms:.2f} ms",
               "<= 15 / 3 ms", reads.p99_ms <= 15 and alone.p99_ms <= 3, [f"p50 {reads.p50_ms:.2f} / {alone.p50_ms:.2f} ms"]),
        Figure("P3r", "search of 20 Observations, another patient each time / P1r's rate; CPU", share, f"{share:.3f}; {searches.cpu_us:.0f} us", ">= 0.20; 500 us",
               share >= 0.20 and searches.cpu_us <= 500, [f"{searches.rate:,.0f}/s, p99 {searches.p99_ms:.1f} ms, errors {searches.errors}"]),
    ]  # fmt: skip


def _static(body: bytes, script: Path) -> Load:
    port, root = free_port(), Path(tempfile.mkdtemp(prefix="hilum-static-"))
    root.chmod(0o755)
    (root / "patient.json").write_bytes(body)
    serve = (
        f"server {{ listen 127.0.0.1:{port}; root {root}; location / {{ try_files /patient.json =404; }} }}"
    )
    try:
        with nginx(serve, core=SERVER_CORE):
            return wrk(f"http://127.0.0.1:{port}", connections=64, script=script)
    finally:
        shutil.rmtree(root)


def proxied(made: Rig, fhir: str, upstream_port: int) -> list[Figure]:
    """Compare the gateway before an HTTP upstream with nginx auth_request before the same."""
    body = json.dumps(patient("ID"), separators=(",", ":")).replace("\\", "\\\\").replace("ID", "$asked")
    upstream = (
        f"server {{ listen 127.0.0.1:{upstream_port}; location ~ ^(.*)/Patient/(?<asked>r[0-9]+)$ "
        f"{{ add_header ETag 'W/\"1\"'; return 200 '{body}'; }} }}"
    )
    auth, front = free_port(), free_port()
    proxy = f"""
    upstream fhir {{ server 127.0.0.1:{upstream_port}; keepalive 64; }}
    upstream auth {{ server 127.0.0.1:{auth}; keepalive 64; }}
    server {{ listen 127.0.0.1:{auth}; location / {{ return 204; }} }}
    server {{ listen 127.0.0.1:{front};
      location / {{ auth_request /auth; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://fhir; }}
      location = /auth {{ internal; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass_request_body off;
                          proxy_set_header Content-Length ""; proxy_pass http://auth; }} }}"""
    tokens = many_tokens(made, TOKENS, "proxied")
    path = fhir.removeprefix(made.base)
    with (
        nginx(upstream, core=LOAD_CORE),
        mixed(tokens, f"{path}/Patient/r", PATIENTS) as script,
    ):
        with nginx(proxy, core=SERVER_CORE):
            theirs = wrk(f"http://127.0.0.1:{front}", connections=64, script=script)
        direct = wrk(f"http://127.0.0.1:{upstream_port}", connections=1, script=script)
        ours = wrk(made.base, connections=64, script=script, of=made)
        alone = wrk(made.base, connections=1, script=script)
    ratio, added, tail = ours.rate / theirs.rate, alone.p50_ms - direct.p50_ms, alone.p99_ms - direct.p99_ms
    return [
        Figure("P4r", "P1r over an HTTP upstream / nginx auth_request", ratio, f"{ratio:.3f}", ">= 0.30", ratio >= 0.30, [
            f"hilum {ours.rate:,.0f}/s, {ours.cpu_us:.0f} us of CPU a read, p99 {ours.p99_ms:.1f} ms, nginx {theirs.rate:,.0f}/s, errors {ours.errors}",
        ]),
        Figure("P5r", "added latency at 1 connection, p50 / p99", added, f"{added:.2f} / {tail:.2f} ms", "<= 0.7 / 2.5 ms",
               added <= 0.7 and tail <= 2.5, [f"hilum {alone.p50_ms:.2f} ms, upstream alone {direct.p50_ms:.2f} ms"]),
    ]  # fmt: skip
