"""An app that changes hands while a colleague of its former vendor changes it: nothing of theirs is left (C14)."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from sqlalchemy import select, text

from hilum.apps.clients import service as clients
from hilum.apps.clients import store
from hilum.apps.clients.models import NewClient
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewVendor
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from tests.sim.proofs import all_proved
from tests.store.registry_ground import (
    METADATA,
    RITA,
    ROOT,
    SCOPES,
    SERVER,
    Ground,
    _furnish,
    rows_of,
)

WITHIN_S = 10.0
WAITS_FOR_ME = text(
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
)


def add_client(ctx: Context, both: Ground) -> None:
    server: dict[str, Any] = dict(SERVER)
    metadata = replace(METADATA, name="Second", **server)
    clients.add_client(ctx, NewClient(both.app.id, both.version.id, metadata))


def rotate(ctx: Context, both: Ground) -> None:
    clients.rotate_secret(ctx, store.CLIENTS.page(ctx.tx, app=both.app.id)[0].id)


def certify(ctx: Context, both: Ground) -> None:
    ends = ctx.now + timedelta(days=90)
    order = CertifyOrder(both.version.id, Environment.SANDBOX, SCOPES, ends, "")
    registry.certify(ctx, order, unproved=all_proved)


@pytest.mark.parametrize("one_uow", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("actor", "verb"), [(ROOT, add_client), (ROOT, rotate), (RITA, certify)])
def test_what_is_added_while_an_app_is_taken_over_ends_with_the_rest(
    one_uow: UnitOfWork, actor: Actor, verb: Callable[[Context, Ground], None]
) -> None:
    both = Ground(one_uow)
    _furnish(both)
    both.client(**SERVER)
    order = NewVendor("Other", "help@o.example", "sec@o.example", "https://o.example")
    other = both.do(ROOT, registry.add_vendor, order)
    mine, theirs = (
        Actor(ActorKind.MEMBER, f"per_{of}", roles=frozenset({"vendor_owner"}), vendor=of)
        for of in (both.vendor.id, other.id)
    )
    both.do(mine, clients.offer_app, both.app.id, other.id)
    has_written = Event()

    def holder(ctx: Context) -> None:
        verb(ctx, both)
        has_written.set()
        end = time.monotonic() + WITHIN_S
        while not ctx.tx.execute(WAITS_FOR_ME).scalar_one():
            assert time.monotonic() < end, "nobody waited"

    def run(by: Actor, what: Any, *args: Any) -> Any:
        return both.do(by, what, *args)

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, actor, holder)
        assert has_written.wait(WITHIN_S)
        second = pool.submit(run, theirs, clients.accept_app, both.app.id)
        first.result(WITHIN_S)
        second.result(WITHIN_S)

    assert rows_of(both, select(store.secrets)) == []
    assert all(each.withdrawn_at for each in both.do(SYSTEM, registry.certifications_of, both.app.id))
