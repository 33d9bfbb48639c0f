"""The facts that follow each change are those that a fresh reading gives (ADR 5; security decision 7)."""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, update
from structlog.testing import capture_logs

from hilum.apps.clients import service as clients
from hilum.apps.clients import store as clients_store
from hilum.apps.clients.models import ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.installations import service as installations
from hilum.apps.installations import store as installations_store
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service
from hilum.apps.registry import store as registry_store
from hilum.apps.registry.models import CertifyOrder, Environment, NewVersion
from hilum.foundation.infra import stored_enums
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.ids import TenantId
from tests.effort import effort
from tests.sim.backends import every_case_on_both
from tests.sim.furnished import furnish
from tests.sim.proofs import certify
from tests.sim.world import FakeClock, SeededIds
from tests.store.registry_life import BODY, SCOPES, TENANTS, Life, Pick, admitted

EVENTS = (
    *("add_app", "add_client", "certify", "withdraw", "update", "install", "install", "narrow", "uninstall"),
    *("suspend", "resume", "add_system_client", "register", "register", "rotate", "wait"),
)


def live(life: Life, happenings: list[str], pick: Pick, *, every: int) -> None:
    """Carry out what happens, and now and then compare the facts that followed with a fresh reading."""
    followed = life.facts()
    for count, name in enumerate(happenings, 1):
        life.clock.advance(timedelta(seconds=1))
        with suppress(HilumError):
            getattr(life, name)(lambda found: pick(found) if found else _nothing())
        if count % every == 0 or count == len(happenings):
            followed = life.facts(followed)
            assert followed == life.facts(), name


def _nothing() -> Any:
    raise HilumError("nothing_there", "There is nothing to take.")


@contextmanager
def fresh(template: Path) -> Iterator[Life]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hilum.db"
        shutil.copy(template, path)
        clock = FakeClock()
        uow = UnitOfWork.create(Database(f"sqlite:///{path}"), clock, SeededIds(), "test-writer")
        try:
            yield Life(uow, clock)
        finally:
            uow.close()


@settings(
    max_examples=effort(15, 200), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    happenings=st.lists(st.sampled_from(EVENTS), max_size=30),
    chance=st.randoms(use_true_random=False),
    every=st.integers(1, 7),
)
def test_whatever_happens_the_facts_that_followed_are_those_of_a_fresh_reading(
    empty_sqlite: Path, happenings: list[str], chance: random.Random, every: int
) -> None:
    """Apps, clients, versions, certifications, installations, suspensions, dynamic clients and the end of their day."""
    with fresh(empty_sqlite) as life:
        live(life, happenings, chance.choice, every=every)


@every_case_on_both
@pytest.mark.parametrize("seed", range(effort(1, 30)))
def test_on_each_database_a_long_life_is_followed_truly(uow: UnitOfWork, clock: FakeClock, seed: int) -> None:
    chance = random.Random(seed)
    life = Life(uow, clock)

    live(life, chance.choices(EVENTS, k=60), chance.choice, every=chance.choice([1, 4]))

    assert life.facts().clients, "the life was not empty"


@pytest.fixture
def life(uow: UnitOfWork, clock: FakeClock) -> Life:
    made = Life(uow, clock)

    def build() -> None:
        for app in made.apps:
            for tenant in TENANTS:
                made.do(installations.install, InstallOrder(tenant, app, frozenset({"physician"})))
        version = made.do(service.add_version, made.apps[0], NewVersion("2"))
        order = CertifyOrder(version.id, Environment.PRODUCTION, SCOPES[:1], made.later(days=9))
        made.do(certify, order)

    furnish("installed everywhere", uow, made, (), build)
    return made


def test_a_change_reads_and_copies_only_what_it_touched(life: Life) -> None:
    """A registry of a million installations is not read again because of one of them."""
    before = life.facts()
    found = next(each for each in life.do(installations.list_installations) if each.tenant == TENANTS[0])
    life.do(installations.uninstall, found.id)
    read: list[int] = []

    def count(_c: Any, cursor: Any, *_: Any) -> None:
        read.append(1)

    event.listen(life.uow.db.engine, "after_cursor_execute", count)
    try:
        after = life.facts(before)
    finally:
        event.remove(life.uow.db.engine, "after_cursor_execute", count)

    assert (TENANTS[0], found.app) in before.installations
    assert (TENANTS[0], found.app) not in after.installations
    assert all(after.pages[tenant] is before.pages[tenant] for tenant in TENANTS[1:])
    assert after.apps == before.apps
    assert len(read) <= 6


def adopt(life: Life) -> None:
    versions = life.do(service.list_versions, life.apps[0])
    life.do(clients.adopt_version, life.do(clients.list_clients, life.apps[0])[0].id, versions[0].id)


STEPS: dict[str, Callable[[Life], Any]] = {
    "a client of another origin": lambda life: life.add_client(life.pick_first),
    "a client adopts a version": adopt,
    "a certification": lambda life: life.certify(life.pick_last),
    "a certification withdrawn": lambda life: life.withdraw(life.pick_last),
    "a suspension": lambda life: life.suspend(life.pick_first),
    "a narrowing": lambda life: life.narrow(life.pick_first),
    "an uninstallation": lambda life: life.uninstall(life.pick_first),
    "a system client": lambda life: life.add_system_client(life.pick_first),
    "a dynamic client": lambda life: life.register(life.pick_first),
}


@pytest.mark.parametrize("step", STEPS)
def test_each_change_reaches_the_facts_that_follow(life: Life, step: str) -> None:
    before = life.facts()

    STEPS[step](life)

    after = life.facts(before)
    assert after.value != before.value
    assert after == life.facts()


def test_one_tenants_origins_are_those_among_the_facts(life: Life) -> None:
    """C26: for a door that asks of one tenant, without reading every other's."""
    life.uninstall(life.pick_first)
    life.register(life.pick_first)
    facts = life.facts()

    for tenant in (*TENANTS, TenantId("nowhere")):
        assert life.do(installations.origins_at, tenant) == facts.origins.get(tenant, frozenset())
    assert facts.origins[TENANTS[0]] != facts.origins[TENANTS[1]]


def test_facts_without_a_change_are_the_same(life: Life) -> None:
    before = life.facts()

    assert life.facts(before) == before


def test_an_app_deleted_with_its_day_is_gone_from_the_facts_that_follow(life: Life, clock: FakeClock) -> None:
    client, _ = life.do(installations.register_dynamically, TENANTS[0], BODY)
    before = life.facts()
    assert client.id in before.clients
    clock.advance(timedelta(hours=25))
    life.do(installations.register_dynamically, TENANTS[2], BODY)

    after = life.facts(before)

    assert client.id not in after.clients
    assert client.app not in after.apps
    assert (TENANTS[0], client.app) not in after.installations
    assert after == life.facts()


def test_a_refused_verb_changes_no_fact(life: Life) -> None:
    before = life.facts()
    bad = ClientMetadata(
        "", ClientType.PUBLIC, Deployment.BROWSER, Environment.SANDBOX, redirect_uris=("http://x/",)
    )
    version = life.do(service.list_versions, life.apps[0])[0]
    for verb, args in (
        (clients.add_client, (NewClient(life.apps[0], version.id, bad),)),
        (installations.install, (InstallOrder(TENANTS[0], life.apps[0], frozenset({"physician"})),)),
        (service.resume_app, (life.apps[0], "why")),
        (installations.register_dynamically, (TENANTS[1], BODY)),
    ):
        with pytest.raises(HilumError):
            life.do(verb, *args)

    assert life.facts(before).value == before.value


# --- words that this release does not know -----------------------------------------------------------------------------------------

APPS, CERTIFICATIONS = registry_store.apps, registry_store.certifications
CLIENTS, INSTALLATIONS = clients_store.clients, installations_store.installations


def with_word(life: Life, column: Any, app: Any) -> list[Any]:
    """Write a word of a newer release into the rows of one app; return what was logged while everything was read."""
    of = column.table.c.id if column.table is APPS else column.table.c.app
    values = {column.name: "private_key_jwt=newer" if column is CERTIFICATIONS.c.tiers else "newer"}
    life.do(lambda ctx: ctx.tx.execute(update(column.table).where(of == app).values(values)))
    stored_enums._report.cache_clear()
    registry_store._tiers.cache_clear()
    with capture_logs() as logged:
        life.facts()
        life.facts()
    return [each["column"] for each in logged if each["event"] == "infra.word.unknown"]


@pytest.mark.parametrize(
    "column",
    [
        APPS.c.state,
        CERTIFICATIONS.c.tiers,
        CERTIFICATIONS.c.environment,
        CLIENTS.c.environment,
        CLIENTS.c.type,
        CLIENTS.c.deployment,
    ],
    ids=str,
)
def test_a_word_of_a_newer_release_stops_its_app_and_no_other(
    uow: UnitOfWork, clock: FakeClock, column: Any
) -> None:
    """An exception would make the facts of all apps unreadable: 503 for every hospital."""
    life = Life(uow, clock)
    first, second, *_ = life.apps
    assert admitted(life.facts().value, first)

    logged = with_word(life, column, first)

    facts = life.facts().value
    assert (admitted(facts, first), bool(admitted(facts, second))) == (set(), True)
    assert logged == [str(column)], "once, and not at each reading"


def test_a_category_that_the_book_does_not_have_allows_its_app_nothing(
    uow: UnitOfWork, clock: FakeClock
) -> None:
    life = Life(uow, clock)
    first, second, *_ = life.apps

    with_word(life, APPS.c.category, first)

    facts = life.facts().value
    assert (admitted(facts, first), bool(admitted(facts, second))) == (set(), True)


def test_an_installation_with_a_word_of_a_newer_release_is_none(uow: UnitOfWork, clock: FakeClock) -> None:
    life = Life(uow, clock)
    first, second, *_ = life.apps
    for app in (first, second):
        life.do(installations.install, InstallOrder(TENANTS[0], app, frozenset({"physician"})))

    environment = INSTALLATIONS.c.environment
    life.do(
        lambda ctx: ctx.tx.execute(
            update(INSTALLATIONS).where(INSTALLATIONS.c.app == first).values(environment="newer")
        )
    )
    logged = with_word(life, environment, first)

    found = life.facts().value.installations
    assert [found.get((TENANTS[0], app)) is None for app in (first, second)] == [True, False]
    assert logged == ["registry_installation.environment"]
