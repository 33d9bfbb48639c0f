"""Second factors when two do something at one moment, on each backend (RFC 6238 section 5.2, security decision 9)."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict, NotPermitted
from hilum.foundation.kernel.ids import SessionId
from hilum.identity.account import service as account
from hilum.identity.account.models import Own
from hilum.identity.factors import policy, service, store
from hilum.identity.factors.models import LOCKED_AFTER, RECOVERY_CODES, Passkey, Totp
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Person, StaffRole
from hilum.identity.signin.models import Method, Session
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
        store.TOTPS.add_new(ctx.tx, app)
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
        assert store.TOTPS.find(ctx.tx, person=root.id) is None

    uow.write_now(second, trace=TRACE)


def at_once(uow: UnitOfWork, first: Callable[[Context], Any], second: Callable[[Context], Any]) -> Any:
    """Do ``first``, and hold its commit until ``second`` waits for it or is done; return what ``second`` gave, or its refusal."""
    with ThreadPoolExecutor(1) as pool:

        def hold(ctx: Context) -> Future[Any]:
            first(ctx)
            other = pool.submit(uow.write_now, second, trace=TRACE)
            while not other.done() and not uow.db.read(lambda tx: tx.execute(text(WAITING)).scalar()):
                pass
            return other

        try:
            return uow.write_now(hold, trace=TRACE).result(20)
        except NotPermitted as refusal:
            return refusal


def test_of_two_renewals_at_one_moment_one_set_of_recovery_codes_counts(postgres: UnitOfWork) -> None:
    """Codes that the owner believes to be replaced must not sign anybody in."""
    uow = postgres
    root = uow.write_now(lambda ctx: identity.add_person(ctx, ROOT), actor=SYSTEM, trace=TRACE)

    def renew(ctx: Context) -> object:
        return service.renew_recovery_codes(ctx, root)

    uow.write_now(renew, trace=TRACE)
    at_once(uow, renew, renew)

    assert (
        uow.read_now(lambda ctx: store.count_recovery_codes(ctx.tx, root.id), trace=TRACE) == RECOVERY_CODES
    )


def test_of_two_removals_at_one_moment_the_last_factor_of_a_role_that_must_have_one_stays(
    postgres: UnitOfWork,
) -> None:
    """C8: each of the two found the other factor still there."""
    uow = postgres
    root = uow.write_now(lambda ctx: identity.add_person(ctx, ROOT), actor=SYSTEM, trace=TRACE)
    key = Passkey("credential", root.id, "public", 0, "Key", START)

    def both(ctx: Context) -> None:
        assert store.TOTPS.add_new(ctx.tx, Totp(root.id, "sealed", START, 1))
        assert store.add_passkey(ctx.tx, key)

    uow.write_now(both, trace=TRACE)
    held = uow.read_now(lambda ctx: service.held(ctx, root.id), trace=TRACE)
    session = Session(SessionId("ses_1"), root.id, None, root.role, Method.PASSWORD, START, START, START)
    own = Own(session, root, held, confirmed=True, required=True)

    refused = at_once(
        uow,
        lambda ctx: account.remove(ctx, own, "totp"),
        lambda ctx: account.remove(ctx, own, policy.passkey_id(key)),
    )

    assert getattr(refused, "code", "") == "factor_last"
    assert uow.read_now(lambda ctx: service.held(ctx, root.id), trace=TRACE).any
