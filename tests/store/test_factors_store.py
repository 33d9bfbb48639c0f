"""Second factors when two do something at one moment, on each backend (RFC 6238 section 5.2, security decision 9)."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from hilum.factors import policy, service, store
from hilum.factors.models import LOCKED_AFTER, RECOVERY_CODES, Passkey, Totp
from hilum.identity import service as identity
from hilum.identity.models import NewPerson, Person, StaffRole
from hilum.infra.context import Context, Trace
from hilum.infra.db import Database
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict
from tests.sim.world import START, FakeClock, SeededIds

TRACE = Trace("req_test")
ROOT = NewPerson(None, "root", "Root", StaffRole.PLATFORM_ADMIN)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
"""What the database says of transactions that wait for another's row."""


@pytest.fixture
def root(uow: UnitOfWork) -> Person:
    return uow.write_now(lambda ctx: identity.add_person(ctx, ROOT), actor=SYSTEM, trace=TRACE)


@pytest.fixture
def postgres(postgres_url: str, clock: FakeClock, ids: SeededIds) -> Iterator[UnitOfWork]:
    made = UnitOfWork.create(Database(postgres_url), clock, ids, "test-writer")
    yield made
    made.close()


def test_an_app_that_was_locked_or_replaced_meanwhile_accepts_no_code(uow: UnitOfWork, root: Person) -> None:
    """A worker that compared the code before the lock does not get it through after."""
    app = Totp(root.id, "sealed", START, 1)

    def use(ctx: Context) -> list[bool]:
        store.add_totp(ctx.tx, app)
        found = [store.use_step(ctx.tx, replace(app, sealed="another"), 2)]
        for _ in range(LOCKED_AFTER):
            store.count_failure(ctx.tx, root.id)
        found.append(store.use_step(ctx.tx, app, 2))
        store.clear_failures(ctx.tx, root.id)
        return [*found, *(store.use_step(ctx.tx, app, step) for step in (2, 2, 1))]

    assert uow.write_now(use, trace=TRACE) == [False, False, True, False, False]


def test_a_first_app_is_none_where_there_is_another_factor(uow: UnitOfWork, root: Person) -> None:
    """A password alone sets nothing up beside a passkey."""
    key = Passkey("credential", root.id, "public", 0, "Key", START)

    def second(ctx: Context) -> None:
        assert store.add_passkey(ctx.tx, key)
        offer = service.offer_totp(ctx, root, site="Hilum")
        seed = policy.from_base32(offer.secret)
        code = policy.code_at(seed, policy.step_of(ctx.now))
        with pytest.raises(Conflict):
            service.confirm_totp(ctx, root, offer.sealed, code, first=True)
        assert store.find_totp(ctx.tx, root.id) is None

    uow.write_now(second, trace=TRACE)


def test_of_two_renewals_at_one_moment_one_set_of_recovery_codes_counts(
    postgres: UnitOfWork,
) -> None:
    """Codes that the owner believes to be replaced must not sign anybody in."""
    uow = postgres
    root = uow.write_now(lambda ctx: identity.add_person(ctx, ROOT), actor=SYSTEM, trace=TRACE)

    def renew(ctx: Context) -> object:
        return service.renew_recovery_codes(ctx, root)

    uow.write_now(renew, trace=TRACE)
    with ThreadPoolExecutor(1) as pool:

        def first(ctx: Context) -> Future[Any]:
            renew(ctx)
            second = pool.submit(uow.write_now, renew, trace=TRACE)
            while not second.done() and not uow.db.read(lambda tx: tx.execute(text(WAITING)).scalar()):
                pass
            return second

        uow.write_now(first, trace=TRACE).result(20)

    assert (
        uow.read_now(lambda ctx: store.count_recovery_codes(ctx.tx, root.id), trace=TRACE) == RECOVERY_CODES
    )
