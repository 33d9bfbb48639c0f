"""Manages the FHIR stores of vendors' snapshots on this machine: a template is packed once, and unpacked over a snapshot's own file."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import ClientId, TenantId, VendorId
from hilum.hospitals.vendor_hospitals.models import Card, CastMember, Furnisher, SnapshotApp, Template
from hilum_ehr.fhirserver import copies
from hilum_ehr.sandbox.faults import FHIR_FOLDER
from hilum_ehr.sandbox.snapshots import FOLDER, OwnHospital, SnapshotBook
from hilum_ehr.synthesis.models import HospitalPlan
from hilum_ehr.synthesis.policy import hospitals

TEMPLATES = "templates"
LOCK_TRIES, LOCK_EVERY_S = 200, 0.1
"""How often and at which interval acquiring the lock on snapshots is tried."""
_LOCK = "writing.lock"


def furnisher(settings: Settings) -> Furnisher:
    """Build the furnisher of snapshots in this data directory."""
    book, home = SnapshotBook(settings.data_dir), settings.data_dir
    return Furnisher(
        templates=partial(_templates, home, settings.sandbox_url),
        fill=partial(_fill, home),
        clear=partial(_clear, home, book),
        keep=lambda card: book.save(_kept(home, book, card)),
        find=lambda tenant: _card(book.find(tenant)),
        kept=partial(_left, home, book),
        address=lambda card: f"{settings.sandbox_url}/sandbox/enter/{card.tenant}/{card.door}",
        count_changed=partial(_count_changed, home),
    )


def pack_template(
    home: Path, source: Path, plan: HospitalPlan, charts: list[dict[str, Any]], groups: list[str]
) -> None:
    """Pack the present records of a synthetic hospital in the data directory ``source`` as a template."""
    packed = _packed(home, plan.tenant)
    copies.pack(_store(source, TenantId(plan.tenant)), packed)
    # Written last: a template without its list of charts is treated as missing.
    lists = packed.with_suffix(".json")
    lists.with_suffix(".new").write_bytes(orjson.dumps({"charts": charts, "groups": groups}))
    lists.with_suffix(".new").replace(lists)


def has_template(home: Path, name: str) -> bool:
    """Check whether snapshots can be made of a synthetic hospital."""
    return _packed(home, name).is_file() and _packed(home, name).with_suffix(".json").is_file()


def _templates(home: Path, origin: str) -> dict[str, Template]:
    return {
        each.tenant: Template(each.name, _cast(each), origin)
        for each in hospitals()
        if has_template(home, each.tenant)
    }


def _cast(plan: HospitalPlan) -> tuple[CastMember, ...]:
    return tuple(
        CastMember(
            each.username,
            each.name,
            each.role.value,
            each.fhir_user,
            tuple(filter(None, (each.patient, *each.proxies))),
        )
        for each in plan.cast
    )


@contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Hold the lock under which one process and thread at a time changes snapshots. Raises Unavailable if it is not released in time."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Opened by each caller, since flock belongs to the open file: one shared descriptor would not exclude threads.
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(LOCK_TRIES):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(LOCK_EVERY_S)
        else:
            detail = "Another snapshot is still being written. Try again in a moment."
            raise Unavailable("snapshot_not_furnished", detail)
        yield
    finally:
        os.close(descriptor)


def _left(home: Path, book: SnapshotBook) -> list[TenantId]:
    """List the snapshots that still have a card or records, including those whose removal stopped after the card."""
    stores = (path.stem for path in (home / FHIR_FOLDER).glob("own-*.db") if copies.holds_records(path))
    return [TenantId(each) for each in sorted({*book.tenants(), *stores})]


def _clear(home: Path, book: SnapshotBook, tenant: TenantId, may: Callable[[], bool]) -> bool:
    with _alone(home):
        if not may():
            return False
        # The card first: while it exists, the simulator keeps showing the hospital to browsers that opened it before.
        book.forget(tenant)
        copies.clear(_store(home, tenant))
        return True


def _fill(home: Path, tenant: TenantId, name: str, may: Callable[[], bool]) -> bool:
    try:
        with _alone(home):
            if not may():
                return False
            copies.unpack_over(_packed(home, name), _store(home, tenant))
            return True
    except (OSError, sqlite3.Error) as error:
        detail = "The records of the snapshot cannot be written now. Try again."
        raise Unavailable("snapshot_not_furnished", detail) from error


def _count_changed(home: Path, tenant: TenantId, name: str, reset_at: datetime) -> int | None:
    """Return how many records of a snapshot are no longer those of its template; None if that cannot be read."""
    try:
        # Counted from the packing of the template, so that writes just before the end of the reset count too. The template may have been packed
        # again after the reset; then the reset is the earlier of the two.
        packed = datetime.fromtimestamp(_packed(home, name).stat().st_mtime, UTC)
        store = _store(home, tenant)
        return copies.count_changed(store, min(packed, reset_at)) if store.is_file() else None
    except (OSError, sqlite3.Error):
        return None


def _kept(home: Path, book: SnapshotBook, card: Card) -> OwnHospital:
    """Build a snapshot's entry for the simulator. With an unchanged key it keeps its charts, which may include loaded ones."""
    before = book.find(card.tenant)
    if before is not None and before.door == card.door:
        lists: dict[str, Any] = {"charts": before.charts, "groups": before.groups}
    else:
        lists = orjson.loads(_packed(home, card.template).with_suffix(".json").read_bytes())
    return OwnHospital(
        tenant=card.tenant,
        vendor=card.vendor,
        name=card.name,
        template=card.template,
        password=card.password,
        door=card.door,
        client_id=card.client_id,
        client_secret=card.client_secret,
        apps=[asdict(each) for each in card.apps],
        **lists,
    )


def _card(hospital: OwnHospital | None) -> Card | None:
    if hospital is None:
        return None
    return Card(
        TenantId(hospital.tenant),
        VendorId(hospital.vendor),
        hospital.name,
        hospital.template,
        hospital.password,
        hospital.door,
        ClientId(hospital.client_id),
        hospital.client_secret,
        tuple(SnapshotApp(**app) for app in hospital.apps),
    )


def _packed(home: Path, name: str) -> Path:
    return home / TEMPLATES / f"{name}.db.z"


def _store(home: Path, tenant: TenantId) -> Path:
    return home / FHIR_FOLDER / f"{tenant}.db"
