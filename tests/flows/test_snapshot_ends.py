"""Snapshots that are reset without a template, or that nobody uses any more (C123)."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.settings import read
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Unavailable
from hilum.foundation.kernel.ids import ClientId, PersonId, TenantId, VendorId
from hilum.hospitals.vendor_hospitals import service, store
from hilum.hospitals.vendor_hospitals.live import Snapshots, no_furnisher
from hilum.hospitals.vendor_hospitals.models import (
    CLAIMED_FOR,
    CastMember,
    Furnisher,
    NewSnapshot,
    Snapshot,
    State,
    Template,
)
from hilum.identity.factors import service as factors
from hilum.identity.factors import store as factor_store
from hilum.identity.factors.models import Totp
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant, UpstreamKind, UpstreamRef
from hilum.server.jobs import remove_snapshots
from hilum.server.schedule import JobLease
from hilum_ehr.fhirserver import copies
from hilum_ehr.fhirserver.models import FhirServerSettings
from hilum_ehr.fhirserver.routes import FhirServer
from hilum_ehr.sandbox.faults import FHIR_FOLDER
from hilum_ehr.sandbox.snapshots import OwnHospital, SnapshotBook
from tests.conftest import SECRET_KEY
from tests.sim.world import FakeClock, SeededIds

TRACE = Trace("req_test")
OURS, ID, NOWHERE = VendorId("ven_ours"), TenantId("own-" + "a" * 26), TenantId("own-" + "b" * 26)
OWNER = Actor(ActorKind.MEMBER, "per_1", roles=frozenset({"vendor_owner"}), vendor=OURS)


EMPTY = Template("Own", (), "http://127.0.0.1:9")


@dataclass
class Files:
    """Records that are only counted. ``meanwhile`` happens once, before the next time that something is written or taken away."""

    template: Template = EMPTY
    written: list[tuple[str, TenantId]] = field(default_factory=list)
    meanwhile: Callable[[], object] | None = None

    @property
    def furnisher(self) -> Furnisher:
        return Furnisher(
            templates=lambda: {"clinic": self.template},
            fill=lambda tenant, _, may: self._write("fill", tenant, may),
            clear=lambda tenant, may: self._write("clear", tenant, may),
            keep=lambda _: None,
            find=lambda _: None,
            kept=tuple,
            address=lambda _: "",
        )

    def _write(self, what: str, tenant: TenantId, may: Callable[[], bool]) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        if may():
            self.written.append((what, tenant))
            return True
        return False


def put(uow: UnitOfWork) -> None:
    def verb(ctx: Context) -> None:
        identity.add_tenant(
            ctx, Tenant(ID, "Own", UpstreamRef(UpstreamKind.EMBEDDED), sandbox=True, vendor=OURS)
        )
        at = ctx.now
        client = ClientId("cli_1")
        store.SNAPSHOTS.add(
            ctx.tx, Snapshot(ID, OURS, 0, "mine", "clinic", client, State.READY, "member:per_1", at, at, at)
        )

    uow.write_now(verb, actor=SYSTEM, trace=TRACE)


def state(uow: UnitOfWork, tenant: TenantId = ID) -> tuple[State, bool]:
    def verb(ctx: Context) -> tuple[State, bool]:
        return store.SNAPSHOTS.get(ctx.tx, tenant).state, identity.get_tenant(ctx, tenant).active

    return uow.read_now(verb, actor=SYSTEM, trace=TRACE)


def test_a_snapshot_whose_template_is_missing_stays_open(sqlite_uow: UnitOfWork, ids: SeededIds) -> None:
    """C123: what cannot be filled again is not closed either."""
    put(sqlite_uow)
    live = Snapshots(sqlite_uow, ids, replace(no_furnisher(), templates=dict))
    with pytest.raises(Unavailable, match="snapshot_template_missing"):
        asyncio.run(live.reset(ID, actor=OWNER, trace=TRACE))
    assert state(sqlite_uow) == (State.READY, True)


def test_one_that_nobody_uses_is_removed_with_its_key(
    sqlite_uow: UnitOfWork, clock: FakeClock, tmp_path: Path
) -> None:
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

    # What a process left that died while it made or removed one: a card without a row, and a place without a hospital.
    book.save(OwnHospital(NOWHERE, OURS, "mine", "clinic", "password", "door", "cli_1", "secret"))

    def dies(ctx: Context) -> None:
        begun = replace(store.SNAPSHOTS.get(ctx.tx, ID), state=State.MAKING, claim="its", made_at=ctx.now)
        store.SNAPSHOTS.save(ctx.tx, begun)

    sqlite_uow.write_now(dies, actor=SYSTEM, trace=TRACE)
    book.save(OwnHospital(ID, OURS, "mine", "clinic", "password", "door", "cli_1", "secret"))
    remove_snapshots(lease, settings)
    assert (state(sqlite_uow)[0], book.find(ID) is None) == (State.MAKING, False), "it may go on"
    assert book.find(NOWHERE) is None
    clock.advance(CLAIMED_FOR)
    remove_snapshots(lease, settings)
    assert (state(sqlite_uow)[0], book.find(ID) is None) == (State.REMOVED, True)

    # Of one only the card could be taken away: its records are not on the disk for ever either.
    records = tmp_path / FHIR_FOLDER / f"{ID}.db"
    records.parent.mkdir(exist_ok=True)
    left = FhirServer(FhirServerSettings(records, "http://127.0.0.1/fhir"), clock, SeededIds("left"))
    left.load([{"resourceType": "Patient", "id": "p1", "name": [{"family": "Own"}]}])
    left.close()
    assert copies.holds_records(records)
    remove_snapshots(lease, settings)
    assert not copies.holds_records(records)


def test_a_reset_takes_away_second_factors(sqlite_uow: UnitOfWork, ids: SeededIds) -> None:
    """C123: one that a colleague set up for a person of it, and took along, keeps nobody out."""
    member = CastMember("dr.own", "Dr Own", "physician", "Practitioner/p1", ())
    template = Template("Own", (member,), "http://127.0.0.1:9")
    live = Snapshots(sqlite_uow, ids, Files(template).furnisher)
    made = asyncio.run(live.create(NewSnapshot("mine", "clinic"), actor=OWNER, trace=TRACE))

    def enrol(ctx: Context) -> PersonId:
        person = identity.find_person_by_username(ctx, made.id, "dr.own")
        assert person is not None
        factor_store.TOTPS.add(ctx.tx, Totp(person.id, "sealed", ctx.now, 0))
        assert factors.held(ctx, person.id).any
        return person.id

    person = sqlite_uow.write_now(enrol, actor=SYSTEM, trace=TRACE)
    asyncio.run(live.reset(made.id, actor=OWNER, trace=TRACE))
    assert not sqlite_uow.read_now(lambda ctx: factors.held(ctx, person).any, actor=SYSTEM, trace=TRACE)


def test_of_two_resets_at_once_only_one_writes_and_nothing_is_written_once_it_is_open(
    sqlite_uow: UnitOfWork, ids: SeededIds
) -> None:
    """C123."""
    files = Files()
    live = Snapshots(sqlite_uow, ids, files.furnisher)
    made = asyncio.run(live.create(NewSnapshot("mine", "clinic"), actor=OWNER, trace=TRACE))

    def reset() -> Snapshot:
        return asyncio.run(live.reset(made.id, actor=OWNER, trace=TRACE))

    files.meanwhile = reset
    with pytest.raises(Conflict, match="snapshot_taken"):
        reset()

    assert files.written == [("fill", made.id)] * 2, "when it was made, and by the reset that won"
    assert state(sqlite_uow, made.id) == (State.READY, True)


def test_what_is_made_while_another_one_is_made_or_taken_away_keeps_its_records(
    sqlite_uow: UnitOfWork, ids: SeededIds
) -> None:
    """C123: each has a place of its own, and what is cleared is what was removed. What fails gives its place free at once."""
    files = Files()
    live = Snapshots(sqlite_uow, ids, files.furnisher)

    def make(name: str) -> Snapshot:
        return asyncio.run(live.create(NewSnapshot(name, "clinic"), actor=OWNER, trace=TRACE))

    files.meanwhile = lambda: make("second")
    first = make("first")
    assert len({tenant for _, tenant in files.written}) == 2, "neither waits for the other"

    files.meanwhile = lambda: make("third")
    asyncio.run(live.remove(first.id, actor=OWNER, trace=TRACE))
    assert files.written[-1] == ("fill", first.id), "its address is taken again, and nothing is cleared"

    def fails() -> None:
        raise Unavailable("snapshot_not_furnished", "The disk is full.")

    files.meanwhile = fails
    with pytest.raises(Unavailable, match="not_furnished"):
        make("fourth")
    assert make("fourth").slot == 2


def test_a_service_that_is_never_launched_counts_as_use(sqlite_uow: UnitOfWork) -> None:
    """C123: by the counted calls at it, until there are none for long."""
    put(sqlite_uow)

    def unused(ctx: Context) -> None:
        store.note_use(ctx.tx, [ID], ctx.now - timedelta(days=40))
        since = ctx.now - timedelta(days=30)
        assert service.remove_unused(ctx, since, lambda tenants, _: tenants) == []
        assert store.SNAPSHOTS.get(ctx.tx, ID).used_at == since + timedelta(days=1)
        later = since + timedelta(days=1, seconds=1)
        assert [each.id for each in service.remove_unused(ctx, later, lambda *_: ())] == [ID]

    sqlite_uow.write_now(unused, actor=SYSTEM, trace=TRACE)
