"""A standby that lacks the newest commits takes over from two nodes: what they knew as stopped stays stopped, and it is said."""

import time
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hilum.records.audit import anchor
from tests.flows.outside.ground import PATIENCE_S, Outside, answered_within, refreshed, refused_grant
from tests.sim.nodes import Node, two_nodes
from tests.sim.postgres import Cluster, free_port
from tests.sim.tcp_proxy import TcpProxy


@pytest.fixture
def primary(migrated_postgres: Path) -> Iterator[Cluster]:
    cluster = Cluster(migrated_postgres)
    yield cluster
    cluster.stop()


def notices(node: Node) -> set[str]:
    """What the operations listener says beside that the node is ready."""
    answer = httpx2.get(f"http://{node.environment['HILUM_OPS_LISTEN']}/readyz", timeout=5)
    return {notice["code"] for notice in answer.json()["notices"]}


def engaged_at(switch: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(switch["engaged_at"])


def newest_anchored(node: Node) -> datetime:
    return anchor.read(node.home / "audit-anchor.log")[-1].at


def test_a_stop_that_a_failover_lost_is_enforced_engaged_again_and_confirmed(
    primary: Cluster, tmp_path: Path
) -> None:
    """ADR 162. Fault: 0.15 s after the promotion both nodes answered with data, and every signal was green."""
    with two_nodes(primary, tmp_path) as nodes:
        for node in nodes.both:
            node.stop()
            node.environment["HILUM_OPS_LISTEN"] = f"127.0.0.1:{free_port()}"
        nodes.heal()

        async def story(a: Outside, b: Outside, either: Outside) -> None:
            held = await either.grant()
            standby = primary.twin()
            try:
                nodes.a.wait_until_ready()
                nodes.b.wait_until_ready()
                app = await a.app_of("bench-symmetric")
                switch = await a.engage("app_tenant", f"{app['app']}/general")
                for way in (a, b):
                    await answered_within(partial(way.read, held), 403)
                # A checkpoint covers the switch within about a second; until then no anchor has it.
                ends = time.monotonic() + PATIENCE_S
                while all(engaged_at(switch) > newest_anchored(node) for node in nodes.both):
                    assert time.monotonic() < ends
                for node in nodes.both:
                    node.path.lead_to(standby.port)
                    node.path.cut()
                statuses = []
                ends = time.monotonic() + PATIENCE_S
                while any("other_copy" not in notices(node) for node in nodes.both):
                    statuses += [(await way.read(held)).status_code for way in (a, b)]
                    assert time.monotonic() < ends, statuses
                assert set(statuses) <= {403, 503}, statuses
                for way in (a, b):
                    await answered_within(partial(way.read, held), 403)

                listed = (await b.api("GET", f"/switches/{switch['id']}")).json()
                assert listed["in_force"], "the nodes engaged it again in the copy that never had it"
                assert refused_grant(await refreshed(b, held)), "so that endpoints that read rows refuse too"
                doctors = [node.hilum("doctor") for node in nodes.both]
                assert all(doctor.returncode for doctor in doctors)
                assert any("BAD  anchor  Checkpoint " in doctor.stdout for doctor in doctors)

                confirmed = nodes.a.hilum("switch", "confirm-failover", "--reason", "nothing else was lost")
                assert confirmed.returncode == 0, confirmed.stderr
                while any("other_copy" in notices(node) for node in nodes.both):
                    assert time.monotonic() < ends
                assert (await a.read(held)).status_code == (await b.read(held)).status_code == 403
            finally:
                for node in nodes.both:
                    node.stop()
                standby.stop()

        nodes.tell(story)


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_who_engages_a_switch_is_told_which_node_has_not_confirmed_it(
    primary: Cluster, tmp_path: Path
) -> None:
    with two_nodes(primary, tmp_path) as nodes:

        async def story(a: Outside, _b: Outside, _either: Outside) -> None:
            app = await a.app_of("bench-symmetric")
            token = next(each["api_token"] for each in nodes.card["staff"] if each["role"] == "security")
            nodes.b.path.freeze()
            pair = f"{app['app']}/general"
            # The command needs somebody at the platform's address: here node A.
            with TcpProxy(_port(nodes.a.listen), at=_port(nodes.base)):
                engaged = nodes.a.hilum(
                    "switch", "engage", "--target", "app_tenant", "--key", pair, "--reason", "a drill", HILUM_API_TOKEN=token
                )  # fmt: skip
            nodes.b.path.thaw()

            assert engaged.returncode == 0, engaged.stderr
            assert "not confirmed by 1 worker of" in engaged.stdout
            assert "in force at every worker" not in engaged.stdout

        nodes.tell(story)
