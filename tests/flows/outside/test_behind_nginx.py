"""The operations guide's nginx in front of two nodes, word for word but for names, ports and certificates."""

import asyncio
import os
import pwd
import re
import shutil
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest

from tests.flows.outside.ground import Outside, outside_of
from tests.sim.nodes import Nodes, Through
from tests.sim.postgres import free_port

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "operations.md"
MISSING = "nginx is needed by this test: run `tools/ensure nginx`"
STARTS_WITHIN_S = 10


@contextmanager
def guides_proxy(a: str, b: str, home: Path) -> Iterator[str]:
    """Run the guide's nginx in front of two addresses; yield its own."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    assert Path(program).exists(), MISSING
    found = re.search(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found, "the guide has an nginx configuration"
    port = free_port()
    site = found[1].replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    site = re.sub(r" *ssl_certificate(_key)? .*\n", "", site)
    site = site.replace("node-a:8000", a).replace("node-b:8000", b)
    folders = "".join(
        f"{name}_temp_path {home}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # Its workers write large bodies into files beside ours; as root they would be another user, who may not.
    as_us = f"user {pwd.getpwuid(0).pw_name};\n" if os.geteuid() == 0 else ""
    config = home / "nginx.conf"
    config.write_text(
        f"{as_us}daemon off;\nworker_processes 1;\npid {home}/pid;\nerror_log {home}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{folders}{site}}}\n"
    )
    started = subprocess.Popen([program, "-c", str(config), "-p", str(home)])
    try:
        begun = time.monotonic()
        while time.monotonic() - begun < STARTS_WITHIN_S:
            assert started.poll() is None, (home / "error.log").read_text()
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
        yield f"127.0.0.1:{port}"
    finally:
        started.terminate()
        started.wait(STARTS_WITHIN_S)


@pytest.fixture
def proxied(nodes: Nodes, tmp_path: Path) -> Iterator[str]:
    """The guide's nginx in front of both nodes."""
    with guides_proxy(nodes.a.listen, nodes.b.listen, tmp_path) as address:
        yield address


@contextmanager
def breaking(received: list[str]) -> Iterator[str]:
    """Serve as a node that takes a whole request and breaks off without an answer."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            method = self.rfile.readline().partition(b" ")[0].decode()
            length = 0
            while (line := self.rfile.readline().lower()) not in {b"\r\n", b""}:
                if line.startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            received.append(f"{method} {self.rfile.read(length).decode()}".strip())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH", "OPTIONS", "GET"])
def test_only_a_read_is_repeated_on_the_other_node_when_one_breaks_off(method: str, tmp_path: Path) -> None:
    """An order that a node may have carried out is sent to nobody else."""
    received: list[str] = []
    body = "{}" if method in {"PUT", "POST", "PATCH"} else ""
    with breaking(received) as a, breaking(received) as b, guides_proxy(a, b, tmp_path) as address:
        url = f"http://{address}/t/general/fhir/Observation/o1"
        answer = httpx2.request(method, url, content=body.encode(), headers={"host": "apps.hospital.example"})

    assert answer.status_code == 502
    assert received == [f"{method} {body}".strip()] * (2 if method == "GET" else 1)


def test_the_guides_proxy_serves_two_nodes_and_continues_with_one(nodes: Nodes, proxied: str) -> None:
    """C184: a launch through the proxy, reads on both nodes; when one dies, reads go on without an error."""

    async def story(outside: Outside) -> None:
        grant = await outside.grant()
        for _ in range(10):
            assert (await outside.read(grant)).status_code == 200
        large = await outside.http.post(
            f"{nodes.base}/t/general/fhir/Observation", content=b"x" * 3_000_000, headers=grant.bearer
        )
        assert large.status_code == 413
        assert (await outside.api("GET", "/switches")).status_code == 200
        nodes.a.kill()
        assert [(await outside.read(grant)).status_code for _ in range(10)] == [200] * 10

    async def told() -> None:
        async with outside_of(nodes, Through([proxied])) as outside:
            await story(outside)

    asyncio.run(told())
