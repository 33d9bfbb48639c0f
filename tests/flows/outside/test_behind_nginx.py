"""The operations guide's nginx in front of two nodes, word for word but for names, ports and certificates."""

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from tests.flows.outside.ground import Outside, outside_of
from tests.sim.nodes import Nodes, Through
from tests.sim.postgres import free_port

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "operations.md"
MISSING = "nginx is needed by this test: run `tools/ensure nginx`"
STARTS_WITHIN_S = 10


@pytest.fixture
def proxied(nodes: Nodes, tmp_path: Path) -> Iterator[str]:
    """Run the guide's nginx; give its address."""
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    assert Path(program).exists(), MISSING
    found = re.search(r"```nginx\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found, "the guide has an nginx configuration"
    port = free_port()
    site = found[1].replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    site = re.sub(r" *ssl_certificate(_key)? .*\n", "", site)
    site = site.replace("node-a:8000", nodes.a.listen).replace("node-b:8000", nodes.b.listen)
    folders = "".join(
        f"{name}_temp_path {tmp_path}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off;\nworker_processes 1;\npid {tmp_path}/pid;\nerror_log {tmp_path}/error.log;\n"
        f"events {{}}\nhttp {{\naccess_log off;\n{folders}{site}}}\n"
    )
    started = subprocess.Popen([program, "-c", str(config), "-p", str(tmp_path)])
    begun = time.monotonic()
    while time.monotonic() - begun < STARTS_WITHIN_S:
        assert started.poll() is None, (tmp_path / "error.log").read_text()
        with suppress(httpx2.TransportError):
            httpx2.get(f"http://127.0.0.1:{port}/", headers={"host": "none"})
            break
    yield f"127.0.0.1:{port}"
    started.terminate()
    started.wait(STARTS_WITHIN_S)


def test_the_guides_proxy_serves_two_nodes_and_goes_on_with_one(nodes: Nodes, proxied: str) -> None:
    """C184: a launch through the proxy, reads on both nodes; when one dies, reads go on and nobody is told."""

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
