"""Writes and erases the data of a hospital that has left, by host commands.

An export, in order: 1 record that it begins; 2 write every file beside its place, row by row, each with its digest, and a manifest of them;
3 move the folder to its place; 4 record the digest of the manifest. An interrupted export leaves a folder that ends in ``.part``; the next
one starts over.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict, Unavailable
from hilum.hospitals.offboarding import service as offboardings
from hilum.hospitals.offboarding.models import Offboarding, Waits
from hilum.records.audit import policy as audit_policy
from hilum.records.audit import service as audit
from hilum.records.audit.journal_records import AccessReader
from hilum.records.audit.models import PartRecord
from hilum.server import tables  # noqa: F401 - loads every table

Progress = Callable[[float], None]
MANIFEST, AUDIT = "manifest.json", "audit.ndjson"
_TABLES_SHARE = 0.2
_WALKED_EACH = 10_000
_MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Exported:
    """A written export. ``manifest``: the SHA-256 of its manifest."""

    folder: str
    files: int
    size: int
    manifest: str


def export(
    uow: UnitOfWork,
    actor: Actor,
    reader: AccessReader,
    offboarding_id: str,
    folder: Path,
    *,
    progress: Progress = lambda _: None,
) -> Exported:
    """Write the export of an offboarding into a new folder. Raises NotFound, Conflict (it is being erased, or the folder exists), Unavailable."""
    trace = Trace(uow.ids.new("req"), source="host")
    read, write = (partial(each, actor=actor, trace=trace) for each in (uow.read_now, uow.write_now))
    if folder.exists():
        raise Conflict("target_not_empty", f"{folder} already exists. Choose another folder.")
    offboarding: Offboarding = write(partial(offboardings.begin_export, offboarding_id=offboarding_id))
    work = folder.with_name(folder.name + ".part")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(mode=0o700, parents=True)
        with lanes.using(Lane.LONG):
            files: list[dict[str, Any]] = read(
                lambda ctx: _write_rows(ctx, offboarding, reader, work, progress)
            )
        described = {"offboarding": offboarding.id, "tenant": offboarding.tenant, "name": offboarding.name}
        document = described | {"left_at": offboarding.left_at, "made_at": uow.clock.now(), "files": files}
        manifest = _write(work, MANIFEST, [orjson.dumps(document)])["sha256"]
        _sync(work)
        work.rename(folder)
        _sync(folder.parent)
    except OSError as error:
        raise Unavailable("export_failed", f"The export cannot be written: {error}.") from error
    write(partial(offboardings.record_export, offboarding_id=offboarding.id, manifest=manifest))
    progress(1.0)
    size = sum(each["bytes"] for each in files)
    return Exported(str(folder), len(files), size, manifest)


def _write_rows(
    ctx: Context, offboarding: Offboarding, reader: AccessReader, work: Path, progress: Progress
) -> list[dict[str, Any]]:
    """Write the tables and the audit, as of one moment. One row is in memory at a time."""
    files = []
    exported = offboardings.exported_tables()
    for done, retention in enumerate(exported):
        files.append(
            _write(work, f"{retention.table}.ndjson", offboardings.read_export(ctx, offboarding, retention))
        )
        progress(_TABLES_SHARE * (done + 1) / len(exported))

    def report(records: int) -> None:
        # The total is unknown, since counting would take as long as reading: the bar slows down towards its end.
        if records % _WALKED_EACH == 0:
            progress(_TABLES_SHARE + (1 - _TABLES_SHARE) * records / (records + _MANY))

    records = audit.read_partition(ctx, reader, offboarding.tenant, report)
    files.append(_write(work, AUDIT, map(_line, records)))
    return files


def _line(record: PartRecord) -> bytes:
    return orjson.dumps(audit_policy.part_line(record))


def _write(work: Path, name: str, lines: Iterable[bytes]) -> dict[str, Any]:
    """Write a file line by line; return its name, number of lines, size and digest."""
    digest, count, size = hashlib.sha256(), 0, 0
    with os.fdopen(os.open(work / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for line in lines:
            whole = line + b"\n"
            file.write(whole)
            digest.update(whole)
            count, size = count + 1, size + len(whole)
        file.flush()
        os.fsync(file.fileno())
    return {"name": name, "lines": count, "bytes": size, "sha256": digest.hexdigest()}


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def erase(
    uow: UnitOfWork, actor: Actor, offboarding_id: str, *, progress: Progress = lambda _: None
) -> tuple[Offboarding, Waits]:
    """Erase the due data of an offboarding now; return it, and what the rest waits for. Raises NotFound.

    The jobs process may do the same concurrently: each step locks its offboarding, and reads there how far the last one came.
    """
    trace = Trace(uow.ids.new("req"), source="host")
    step = partial(offboardings.next_step, offboarding_id=offboarding_id)
    done = 0
    while uow.write_now(step, actor=actor, trace=trace):
        done += 1
        progress(done / (done + 100))
    progress(1.0)
    return uow.read_now(partial(offboardings.view, offboarding_id=offboarding_id), actor=actor, trace=trace)
