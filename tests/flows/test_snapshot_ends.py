"""Snapshots that are reset without a template, or that nobody uses any more (C123)."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from hilum.app.jobs import remove_snapshots
from hilum.app.schedule import JobLease
from hilum.factors import service as factors
from hilum.factors import store as factor_store
from hilum.factors.models import Totp
from hilum.identity import service as identity
from hilum.identity.models import Tenant, UpstreamKind, UpstreamRef
from hilum.infra.context import Context, Trace
from hilum.infra.settings import read
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.kernel.errors import Unavailable
from hilum.kernel.ids import ClientId, PersonId, TenantId, VendorId
from hilum.snapshots import store
from hilum.snapshots.live import Snapshots, no_furnisher
from hilum.snapshots.models import CastMember, Furnisher, NewSnapshot, Snapshot, State, Template
from hilum_ehr.sandbox.snapshots import OwnHospital, SnapshotBook
from tests.conftest import SECRET_KEY
from tests.sim.world import SeededIds

TRACE = Trace("req_test")
OURS, ID = VendorId("ven_ours"), TenantId("own-" + "a" * 26)
OWNER = Actor(ActorKind.MEMBER, "per_1", roles=frozenset({"vendor_owner"}), vendor=OURS)


def put(uow: UnitOfWork) -> None:
    def verb(ctx: Context) -> None:
        identity.add_tenant(
            ctx, Tenant(ID, "Own", UpstreamRef(UpstreamKind.EMBEDDED), sandbox=True, vendor=OURS)
        )
        at = ctx.now
        client = ClientId("cli_1")
        store.add(
            ctx.tx, Snapshot(ID, OURS, 0, "mine", "clinic", client, State.READY, "member:per_1", at, at, at)
        )

    uow.write_now(verb, actor=SYSTEM, trace=TRACE)


def state(uow: UnitOfWork) -> tuple[State, bool]:
    def verb(ctx: Context) -> tuple[State, bool]:
        return store.get(ctx.tx, ID).state, identity.get_tenant(ctx, ID).active

    return uow.read_now(verb, actor=SYSTEM, trace=TRACE)


def test_a_snapshot_whose_template_is_missing_stays_open(sqlite_uow: UnitOfWork, ids: SeededIds) -> None:
    """C123: what cannot be filled again is not closed either."""
    put(sqlite_uow)
    live = Snapshots(sqlite_uow, ids, replace(no_furnisher(), templates=dict))
    with pytest.raises(Unavailable, match="snapshot_template_missing"):
        asyncio.run(live.reset(ID, actor=OWNER, trace=TRACE))
    assert state(sqlite_uow) == (State.READY, True)


def test_one_that_nobody_uses_is_removed_with_its_key(sqlite_uow: UnitOfWork, tmp_path: Path) -> None:
    """C123: the simulator shows it to nobody any more, and its secrets are not on the disk; one in use stays."""
    settings = read(
        {
            "HILUM_MODE": "sandbox",
            "HILUM_DATA_DIR": str(tmp_path),
            "HILUM_DATABASE_URL": sqlite_uow.db.url,
            "HILUM_SECRET_KEY": SECRET_KEY,
        }
    )
    put(sqlite_uow)
    book = SnapshotBook(tmp_path)
    book.save(OwnHospital(ID, OURS, "mine", "clinic", "password", "door", "cli_1", "secret"))
    lease = JobLease(sqlite_uow, "snapshots", "node/1", threading.Event())
    remove_snapshots(lease, settings)
    assert (state(sqlite_uow), book.find(ID) is None) == ((State.READY, True), False)

    def unused(ctx: Context) -> None:
        store.note_use(ctx.tx, [ID], ctx.now - settings.keep.snapshots - timedelta(days=1))

    sqlite_uow.write_now(unused, actor=SYSTEM, trace=TRACE)
    remove_snapshots(lease, settings)
    assert (state(sqlite_uow), book.find(ID) is None) == ((State.REMOVED, False), True)


def test_a_reset_takes_away_second_factors(sqlite_uow: UnitOfWork, ids: SeededIds) -> None:
    """C123: one that a colleague set up for a person of it, and took along, keeps nobody out."""
    member = CastMember("dr.own", "Dr Own", "physician", "Practitioner/p1", ())
    template = Template("Own", (member,), "http://127.0.0.1:9")
    files = Furnisher(
        templates=lambda: {"clinic": template},
        fill=lambda *_: None,
        empty=lambda _: None,
        keep=lambda _: None,
        find=lambda _: None,
        forget=lambda _: None,
        address=lambda _: "",
    )
    live = Snapshots(sqlite_uow, ids, files)
    made = asyncio.run(live.create(NewSnapshot("mine", "clinic"), actor=OWNER, trace=TRACE))

    def enrol(ctx: Context) -> PersonId:
        person = identity.find_person_by_username(ctx, made.id, "dr.own")
        assert person is not None
        factor_store.add_totp(ctx.tx, Totp(person.id, "sealed", ctx.now, 0))
        assert factors.held(ctx, person.id).any
        return person.id

    person = sqlite_uow.write_now(enrol, actor=SYSTEM, trace=TRACE)
    asyncio.run(live.reset(made.id, actor=OWNER, trace=TRACE))
    assert not sqlite_uow.read_now(lambda ctx: factors.held(ctx, person).any, actor=SYSTEM, trace=TRACE)
