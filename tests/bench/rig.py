"""What a benchmark stands on: the platform on core 0, wrk on core 1, nginx where it is compared with."""

import asyncio
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.sim.browser import Client, Person
from tests.sim.postgres import Cluster, free_port

ROUNDS = 3
SECONDS = int(os.environ.get("BENCH_SECONDS", "8"))
SERVER_CORE, LOAD_CORE = "0", "1"


@dataclass
class Load:
    """One figure of wrk, the median of its rounds. ``cpu_us``: what the platform's processes spent on a request, 0 if not asked for."""

    rate: float
    p50_ms: float
    p99_ms: float
    errors: int
    requests: int = 0
    cpu_us: float = 0.0


def wrk(
    url: str,
    *,
    connections: int,
    headers: dict[str, str] | None = None,
    seconds: int = SECONDS,
    of: "Rig | None" = None,
    script: Path | None = None,
) -> Load:
    """Load ``url`` from the other core and tell the median of ROUNDS. ``of``: measure the CPU of its platform part too.

    ``script``: a program in Lua that makes each request.
    """
    given = [part for name, value in (headers or {}).items() for part in ("-H", f"{name}: {value}")]
    given += ["-s", str(script)] if script else []
    command = ["taskset", "-c", LOAD_CORE, "wrk", "-t1", f"-c{connections}", "--latency", *given]
    subprocess.run([*command, "-d1s", url], capture_output=True, check=True)
    found = [loaded([*command, f"-d{seconds}s", url], of) for _ in range(ROUNDS)]
    return Load(
        statistics.median(each.rate for each in found),
        statistics.median(each.p50_ms for each in found),
        statistics.median(each.p99_ms for each in found),
        sum(each.errors for each in found),
        sum(each.requests for each in found),
        statistics.median(each.cpu_us for each in found),
    )


def loaded(command: list[str], of: "Rig | None" = None) -> Load:
    """Run wrk once."""
    before = of.cpu_s() if of is not None else 0.0
    load = parse_wrk(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if of is not None:
        load.cpu_us = (of.cpu_s() - before) * 1e6 / max(1, load.requests)
    return load


def parse_wrk(text: str) -> Load:
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    done = re.search(r"(\d+) requests in", text)
    assert rate, text
    assert done, text
    errors = int(failed[1]) if failed else 0
    return Load(float(rate[1]), _ms(text, "50%"), _ms(text, "99%"), errors, int(done[1]))


def _ms(text: str, row: str) -> float:
    found = re.search(rf"{row}\s+([\d.]+)(us|ms|s)", text)
    assert found, text
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]]


@dataclass
class Rig:
    """A running sandbox platform with its card."""

    home: Path
    base: str
    sandbox: str
    environment: dict[str, str]
    card: dict[str, Any] = field(default_factory=dict)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    started_at: float = 0.0
    """Monotonic time at which the platform was started."""

    def start(self, part: str, *, core: str = SERVER_CORE, workers: int = 1) -> subprocess.Popen[bytes]:
        command = [
            "taskset",
            "-c",
            core,
            sys.executable,
            "-m",
            "hilum.server.commands.main",
            "serve",
            "--part",
            part,
        ]
        env = self.environment | {"HILUM_WORKERS": str(workers)}
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.DEVNULL, stderr=(self.home / f"{part}.log").open("ab")
        )
        self.processes.append(process)
        return process

    def cpu_s(self) -> float:
        """Return the CPU time that the platform part has spent so far, with its workers and all of their threads."""
        spent = 0
        for pid in _family(self.processes[0].pid):
            for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                with suppress(OSError):  # a thread that has just ended
                    spent += int(thread.read_text().split()[0])
        return spent / 1e9

    def stop(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(15)
        self.processes.clear()


def _family(pid: int) -> list[int]:
    """List a process and all that it started."""
    parents: dict[int, int] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in brackets, may hold anything.
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def wait_for(url: str, seconds: float = 40) -> float:
    """Wait until ``url`` answers 200; tell how long it took."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return time.monotonic() - start
        time.sleep(0.02)
    raise RuntimeError(f"{url} did not answer within {seconds} s")


@contextmanager
def sqlite() -> Iterator[str]:
    """Yield the address of no database: a rig makes an SQLite file of its own."""
    yield ""


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the address of a PostgreSQL server that runs meanwhile."""
    cluster = Cluster()
    try:
        yield cluster.url
    finally:
        cluster.stop()


KEY = "bench-key-encryption-key-0123456789abcdef"


def seeded(home: Path, database_url: str = "") -> dict[str, str]:
    """Seed a sandbox platform in a folder; return the environment of its processes."""
    port, sandbox_port = free_port(), free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
    environment |= {
        "HILUM_MODE": "sandbox",
        "HILUM_DATA_DIR": str(home),
        "HILUM_DATABASE_URL": database_url or f"sqlite:///{home}/hilum.db",
        "HILUM_BASE_URL": f"http://127.0.0.1:{port}",
        "HILUM_SANDBOX_URL": f"http://localhost:{sandbox_port}",
        "HILUM_SECRET_KEY": KEY,
    }
    seed = [
        "hilum.server.commands.main",
        "sandbox",
        "seed",
        "--port",
        str(port),
        "--sandbox-port",
        str(sandbox_port),
    ]
    subprocess.run([sys.executable, "-m", *seed], env=environment, check=True, capture_output=True)
    return environment


@contextmanager
def rig(
    *,
    workers: int = 1,
    core: str = SERVER_CORE,
    database_url: str = "",
    fill: Callable[[str], None] = lambda _url: None,
) -> Iterator[Rig]:
    """Seed and start a platform of its own; remove it afterwards. ``fill`` may put more into its database before it starts."""
    home = Path(tempfile.mkdtemp(prefix="hilum-bench-"))
    environment = seeded(home, database_url)
    made = Rig(home, environment["HILUM_BASE_URL"], environment["HILUM_SANDBOX_URL"], environment)
    fill(environment["HILUM_DATABASE_URL"])
    try:
        made.started_at = time.monotonic()
        made.start("platform", core=core, workers=workers)
        made.start("sandbox", core=LOAD_CORE)
        made.start("jobs", core=LOAD_CORE)
        wait_for(f"{made.base}/healthz", 120)
        wait_for(f"{made.sandbox}/sandbox/card.json")
        made.card = httpx2.get(f"{made.sandbox}/sandbox/card.json").json()
        yield made
    finally:
        made.stop()
        shutil.rmtree(home, ignore_errors=True)


def ehr_token(made: Rig, scope: str) -> dict[str, Any]:
    """Launch a confidential app from a chart and tell its token response."""
    return asyncio.run(_ehr_token(made, scope))


async def _ehr_token(made: Rig, scope: str) -> dict[str, Any]:
    card = made.card
    tenant = card["tenants"][0]
    person = next(p for p in card["people"] if p["tenant"] == tenant["id"] and p["role"] == "physician")
    patient = next(p for p in card["patients"] if p["tenant"] == tenant["id"] and p["encounters"])
    registered = next(
        c
        for c in card["clients"]
        if c["type"] == "confidential-symmetric" and tenant["id"] in c["tenants"] and c["launch_url"]
    )
    async with httpx2.AsyncClient(timeout=30) as http:
        client = Client(http, registered, tenant["fhir"])
        await client.discover()
        launched = await launch(made, http, registered["client_id"], person["username"], patient)
        browser = Person(http, person["username"], person["password"])
        arrived = await browser.go(launched["open_url"], (registered["launch_url"],))
        assert isinstance(arrived, httpx2.URL), arrived
        url = client.authorize_url(scope, launch=arrived.params["launch"])
        redirected = await browser.go(url, (client.redirect_uri,))
        assert isinstance(redirected, httpx2.URL), redirected
        answer = await client.redeem(redirected, now=int(time.time()))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


async def launch(
    made: Rig, http: httpx2.AsyncClient, client_id: str, username: str, patient: dict[str, Any]
) -> dict[str, Any]:
    """Open a launch as the tenant's EHR."""
    tenant = next(t for t in made.card["tenants"] if t["id"] == patient["tenant"])
    ehr = next(e for e in made.card["ehr_clients"] if e["tenant"] == tenant["id"])
    as_client = Client(http, ehr | {"type": "confidential-symmetric"}, tenant["fhir"])
    await as_client.discover()
    token = await as_client.token(grant_type="client_credentials", scope="hilum/launch")
    assert token.status_code == 200, token.text
    order = {
        "client_id": client_id,
        "person": username,
        "patient": patient["id"],
        "encounter": patient["encounters"][0],
    }
    opened = await http.post(
        tenant["launch_api"], json=order, headers={"authorization": f"Bearer {token.json()['access_token']}"}
    )
    assert opened.status_code == 201, opened.text
    return dict(opened.json())


def _wait_for_port(port: int, seconds: float = 10) -> None:
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on {port}")


NGINX = """
worker_processes 1; daemon off; pid {home}/nginx.pid; error_log {home}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
  keepalive_requests 10000000; default_type application/fhir+json;
  {servers}
}}
"""


@contextmanager
def nginx(servers: str, *, core: str) -> Iterator[None]:
    """Run an nginx with one worker on one core."""
    home = Path(tempfile.mkdtemp(prefix="hilum-nginx-"))
    (home / "nginx.conf").write_text(NGINX.format(home=home, servers=servers))
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen(
        ["taskset", "-c", core, program, "-c", str(home / "nginx.conf"), "-p", str(home)]
    )
    try:
        for port in re.findall(r"listen 127\.0\.0\.1:(\d+)", servers):
            _wait_for_port(int(port))
        yield
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(home, ignore_errors=True)
