"""Emergency accesses as they are stored: each is its own hospital's and its own person's (C82)."""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from hilum.authorization.breakglass import store
from hilum.authorization.breakglass.models import DAY, MISUSE_BAR, Recent, Use, UseQuery, Verdict
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, ClientId, LaunchId, PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE
from tests.sim.world import START

GENERAL, CLINIC = TenantId("general"), TenantId("clinic")
DORA, NILS = PersonId("per_dora"), PersonId("per_nils")
NOW = START + timedelta(days=60)


def use(id_: str, person: PersonId, opened_at: datetime, tenant: TenantId = GENERAL) -> Use:
    return Use(
        id_,
        tenant,
        person,
        "physician",
        ClientId("cli_1"),
        AppId("app_1"),
        LaunchId(f"lch_{id_}"),
        "p1",
        "found unconscious in the ward",
        ("confidential",),
        opened_at,
        opened_at + timedelta(minutes=15),
        opened_at + timedelta(days=3),
    )


def added(uow: UnitOfWork, *uses: Use) -> None:
    for each in uses:
        uow.db.write(partial(store.USES.add, value=each))


def recent(uow: UnitOfWork, person: PersonId) -> Recent:
    return uow.db.read(lambda tx: store.read_recent(tx, person, NOW))


def test_a_hospital_lists_its_own_uses_alone(one_uow: UnitOfWork) -> None:
    """C82: also those that still run, which a change of its settings ends."""
    added(one_uow, use("btg_1", DORA, NOW), use("btg_2", NILS, NOW, CLINIC))

    def ids(query: UseQuery) -> list[str]:
        return [each.id for each in one_uow.db.read(lambda tx: store.list_uses(tx, query, NOW, FIRST_PAGE))]

    assert ids(UseQuery("general")) == ["btg_1"]
    assert ids(UseQuery("clinic")) == ["btg_2"]
    assert ids(UseQuery("clinic", person=DORA)) == []
    running = one_uow.db.read(lambda tx: store.read_running(tx, NOW, tenant="general"))
    assert [each.id for each in running] == ["btg_1"]


def test_how_often_a_person_used_it_within_a_day_is_counted_for_each(one_uow: UnitOfWork) -> None:
    """C82: what colleagues did keeps nobody from a patient, nor what one did a day ago."""
    added(one_uow, use("btg_1", NILS, NOW), use("btg_2", NILS, NOW - timedelta(hours=23)))
    added(one_uow, use("btg_3", DORA, NOW - DAY))

    assert recent(one_uow, NILS) == Recent(2)
    assert recent(one_uow, DORA) == Recent(0)


def test_who_misused_it_is_barred_from_the_review_on_and_nobody_else(one_uow: UnitOfWork) -> None:
    """C82: a review that comes late bars for as long as one that comes at once."""
    reviewed_at = NOW - timedelta(days=1)
    old = use("btg_1", NILS, NOW - MISUSE_BAR - DAY)
    added(one_uow, replace(old, reviewed_at=reviewed_at, verdict=Verdict.UNJUSTIFIED.value))

    assert recent(one_uow, NILS).unjustified_at == reviewed_at
    assert recent(one_uow, DORA).unjustified_at is None
