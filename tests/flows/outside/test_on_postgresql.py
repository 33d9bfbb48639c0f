"""The same platform over PostgreSQL, two workers: launch, read, stop, verify, and a power cut in between."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from hilum.records.audit import live as journals
from tests.effort import FULL
from tests.flows.outside.conftest import widen
from tests.flows.outside.ground import Outside, refused_grant, tell, until_all
from tests.flows.outside.power_cuts import cut_power, reads_until_cut
from tests.sim.postgres import Cluster
from tests.sim.running import Running, start

ANSWERS = 100


@pytest.fixture
def on_postgresql(postgres_cluster: Cluster, seeded: Path, tmp_path: Path) -> Iterator[Running]:
    """A sandbox whose control plane and record lie in a database of its own. It seeds itself under ``EFFORT=full``."""
    url = postgres_cluster.migrated("outside")
    running = start(tmp_path, workers=2, database_url=url, seeded=None if FULL else seeded)
    yield running
    running.stop()


def test_the_whole_story_holds_over_postgresql(on_postgresql: Running) -> None:
    """C184, C139, C152, C154: nothing depends on which database lies beneath."""
    running = on_postgresql
    url = running.environment["HILUM_DATABASE_URL"]
    assert not list((running.home / "journal").glob("*.db")), "the record is in the database"

    async def story(outside: Outside) -> dict[str, int]:
        await widen(outside)
        held, far = await asyncio.gather(outside.grant(), outside.grant(tenant="children"))
        await until_all(lambda: outside.read(held), lambda answer: answer.status_code == 200)
        app = await outside.app_of("bench-symmetric")
        switch = await outside.engage("app_tenant", f"{app['app']}/general")
        await until_all(lambda: outside.read(held), lambda answer: answer.status_code == 403)
        assert (await outside.read(far)).status_code == 200
        await outside.release(switch["id"])
        refresh = {"grant_type": "refresh_token", "refresh_token": held.token["refresh_token"]}
        assert refused_grant(await held.client.token(**refresh))
        heard = (await outside.api("GET", "/audit/events?action=gateway.switch.enforced")).json()["items"]
        mine = {each["facts"]["worker"]: each["facts"]["ms"] for each in heard}
        assert len(mine) == 2, heard
        assert max(mine.values()) < 5_000
        await until_all(
            lambda: outside.open_launch("bench-symmetric"), lambda answer: answer.status_code == 201
        )
        second = await outside.grant()
        return await reads_until_cut(outside, second, lambda: cut_power(running), after=ANSWERS)

    answers = tell(running, story)
    reader = journals.open_reader(running.home / "journal", url)
    given = [request_id for request_id, status in answers.items() if status == 200]
    assert len(given) >= ANSWERS
    assert all(reader.find(request_id) for request_id in given)

    assert verified(running)["intact"]
    with psycopg.connect(url, autocommit=True) as db:
        edited = db.execute(
            "UPDATE access_record SET request_id = 'req_other' WHERE request_id = %s", (given[0],)
        )
        assert edited.rowcount == 1
    found = verified(running)
    assert not found["intact"]
    assert found["faults"]


def verified(running: Running) -> dict[str, Any]:
    done = running.hilum("audit", "verify", "--json")
    found: dict[str, Any] = orjson.loads(done.stdout)
    assert found["intact"] == (done.returncode == 0), done.stderr
    return found
