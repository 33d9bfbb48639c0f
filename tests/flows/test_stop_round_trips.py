"""How often a stop by switch waits for PostgreSQL before it is acknowledged (ADR 32; security decision 27)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewApp, NewVendor
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from tests.flows.control_site import ControlSite, build
from tests.sim.tcp_proxy import TcpProxy
from tests.sim.world import FakeClock, SeededIds

DELAY_S = 0.01
MOST = 8
"""Round trips to the database between a stop's arrival and its acknowledgement."""


@dataclass
class Far:
    """A control plane whose database is reached through ``path``."""

    site: ControlSite
    path: TcpProxy

    def stop(self, username: str, kind: str, key: str) -> int:
        """Engage a switch; return how many round trips that took."""
        caller, before = self.api(username), self.path.round_trips
        body = {"kind": kind, "key": key, "mode": "full_stop", "reason": "A test"}
        answer = caller.post("/switches", json=body)
        assert answer.status_code == 201, answer.text
        return self.path.round_trips - before

    def api(self, username: str) -> Any:
        # Without the hooks, which read the records before and after each call.
        caller = self.site.api(username)
        caller.event_hooks = {}
        return caller


@pytest.fixture
def far(postgres_url: str, clock: FakeClock, ids: SeededIds) -> Iterator[Far]:
    port = int(psycopg.conninfo.conninfo_to_dict(postgres_url)["port"] or 0)
    with TcpProxy(port) as path:
        uow = UnitOfWork.create(Database(path.url(postgres_url)), clock, ids, "node-a")
        yield Far(build(uow, clock, mode=Mode.PRODUCTION), path)
        uow.close()


def test_a_stop_is_acknowledged_after_at_most_eight_round_trips(far: Far) -> None:
    """C82; security decision 27: for whoever engages it and whatever it is on, with connections open and a token in use."""
    do = far.site.system
    vendor = do(registry.add_vendor, order=NewVendor("Vendor", "help@v.example", "sec@v.example"))
    app = do(registry.add_app, order=NewApp(vendor.id, "Charts", "Shows", "Review", "unclassified")).id
    person = far.site.people["ann"].id
    # Until the driver has prepared what it repeats: that costs each connection a round trip for each statement, once.
    for _ in range(6):
        for username in ("sam", "gina"):
            far.stop(username, "app_person", f"{app}/{person}")
    far.path.delay(DELAY_S)

    taken = {
        (username, kind): far.stop(username, kind, key)
        for username, kind, key in (
            ("sam", "app_tenant", f"{app}/general"),
            ("sam", "app", app),
            ("sam", "vendor", vendor.id),
            ("sam", "tenant", "mercy"),
            ("sam", "resource_type", "Observation"),
            ("sam", "person", person),
            ("sam", "app_person", f"{app}/{person}"),
            ("gina", "app_tenant", f"{app}/general"),
            ("gina", "person", person),
            ("gina", "app_person", f"{app}/{person}"),
        )
    }

    assert {each: n for each, n in taken.items() if n > MOST} == {}
