"""What is signed is locked last: of two transactions that change rows and sign them, none waits for what the other holds (ADR 151)."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from sqlalchemy import literal_column, select, text, update

from hilum.attestations import service as attestations
from hilum.clients import service as clients
from hilum.clients import store as client_store
from hilum.clients.models import ENDED_BATCH
from hilum.infra.context import Context
from hilum.infra.unit_of_work import UnitOfWork
from hilum.installations import service as installations
from hilum.installations import store
from hilum.kernel.actor import SYSTEM
from tests.sim.world import FakeClock
from tests.store.registry_ground import GENERAL, Ground, _furnish, add_another_app, ground, write_without_key

__all__ = ["ground"]
WITHIN_S = 10.0
WAITS_FOR_ME = text(
    "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"
)
TRIAL = {
    "client_name": "Trial",
    "redirect_uris": ["https://app.example/cb"],
    "scope": "openid",
    "token_endpoint_auth_method": "none",
}
CLIENTS, ROWS = client_store.clients, store.installations


@pytest.fixture
def both(one_uow: UnitOfWork) -> Ground:
    made = Ground(one_uow)
    _furnish(made)
    return made


def beside(both: Ground, held: str, verb: Callable[[Context], Any]) -> None:
    """Run a verb while another transaction, which signs last too, has the row of an installation; both must commit."""
    has_row = Event()

    def holder(ctx: Context) -> None:
        store.get_installation(ctx.tx, held, lock=True)
        has_row.set()
        end = time.monotonic() + WITHIN_S
        while not ctx.tx.execute(WAITS_FOR_ME).scalar_one():
            assert time.monotonic() < end, "nobody waited for the row"
            time.sleep(0.01)
        attestations.attest(ctx, ("thing/1", "a"))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(both.do, SYSTEM, holder)
        assert has_row.wait(WITHIN_S)
        second = pool.submit(both.do, SYSTEM, verb)
        first.result(WITHIN_S)
        second.result(WITHIN_S)


@pytest.mark.parametrize("one_uow", ["postgresql"], indirect=True)
def test_the_apps_of_a_hospital_that_leaves_are_signed_after_all_of_their_rows(both: Ground) -> None:
    both.certify()
    mine = both.install()
    other = add_another_app(both)
    rows = both.do(SYSTEM, installations.list_installations, GENERAL)
    assert {each.app for each in rows} == {mine.app, other.id}
    last = max(each.id for each in rows)

    beside(both, last, lambda ctx: installations.uninstall_all(ctx, [each.id for each in rows]))

    assert both.do(SYSTEM, installations.list_installations, GENERAL) == []
    assert dict(both.facts().installations) == {}


@pytest.mark.parametrize("one_uow", ["postgresql"], indirect=True)
def test_a_registration_that_deletes_what_has_expired_signs_after_all_rows(
    both: Ground, clock: FakeClock
) -> None:
    gone, _ = both.do(SYSTEM, installations.register_dynamically, GENERAL, TRIAL)
    clock.advance(timedelta(days=2))
    (held,) = both.do(SYSTEM, installations.list_installations, GENERAL)

    beside(both, held.id, lambda ctx: installations.register_dynamically(ctx, GENERAL, TRIAL))

    assert both.do(SYSTEM, clients.find_client, gone.id) is None
    assert [each.app for each in both.do(SYSTEM, installations.list_installations, GENERAL)] != [gone.app]


def test_however_many_clients_somebody_marks_those_that_ended_are_deleted(
    ground: Ground, clock: FakeClock
) -> None:
    """C179: more than are looked at by one registration."""
    ended, _ = ground.do(SYSTEM, installations.register_dynamically, GENERAL, TRIAL)

    def mark(ctx: Context) -> None:
        row = dict(ctx.tx.execute(select(CLIENTS).where(CLIENTS.c.id == ended.id)).mappings().one())
        ctx.tx.execute(
            CLIENTS.insert(),
            [row | {"id": f"cli_{n}", "app": ground.app.id} for n in range(ENDED_BATCH + 20)],
        )

    ground.do(SYSTEM, mark)
    clock.advance(timedelta(days=2))
    left = {ended.id}
    for _ in range(20):
        if ended.id in left:
            ground.do(SYSTEM, installations.register_dynamically, GENERAL, TRIAL)
            left = ground.do(SYSTEM, lambda ctx: set(ctx.tx.execute(select(CLIENTS.c.id)).scalars()))

    assert ended.id not in left
    assert "cli_0" in left


def test_a_client_that_somebody_marked_as_dynamic_and_ended_is_not_deleted(
    ground: Ground, clock: FakeClock
) -> None:
    """C179: what is deleted was signed as ended. The client counts for nothing, and is there when it is put back."""
    client, _ = ground.client()
    ended, _ = ground.do(SYSTEM, installations.register_dynamically, GENERAL, TRIAL)
    clock.advance(timedelta(days=2))
    mine = update(CLIENTS).where(CLIENTS.c.id == client.id)
    # A time long ago, and one before the calendar.
    for end in (1, -(2**63)):
        write_without_key(ground, mine.values(dynamic=True, expires_at=literal_column(str(end))))
        ground.do(SYSTEM, installations.register_dynamically, GENERAL, TRIAL)

        there = ground.do(SYSTEM, lambda ctx: set(ctx.tx.execute(select(CLIENTS.c.id)).scalars()))
        assert client.id in there
        assert ended.id not in there
        write_without_key(ground, mine.values(dynamic=False, expires_at=None))
        assert ground.do(SYSTEM, clients.find_client, client.id) is not None
