"""Backups of a whole installation while it serves: a folder of copies, and a manifest with the size and digest of each.

Order: the control plane, the embedded FHIR stores, the journals; each folder is listed only when its turn comes. Therefore

- every store and journal that the control plane's copy refers to is in the backup;
- every write in the copy of a FHIR store has its intent in the journal's copy;
- every record and chain that a checkpoint covers is in the journals' copies, so ``audit verify`` succeeds on every backup;
- claims of creates come last, so a create that is done in the backup is not done again.

The key-encryption key and the anchor are never in a backup.
"""

import hashlib
import os
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import orjson

from hilum.foundation.infra import schema_gate
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.migrations.run import release
from hilum.foundation.infra.postgres_tools import dump
from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.errors import Conflict, Invalid, Unavailable
from hilum.records.audit import service as audit
from hilum.records.keys.live import vault

FORMAT = 1
MANIFEST, CONTROL, DUMP = "manifest.json", "hilum.db", "database.dump"
JOURNALS, STORES = "journal", "fhir"
CLAIMS = "claims.db"
CREDENTIALS_FILE = "sandbox-credentials.json"
"""What the EHR of a sandbox keeps its credentials in."""
MANIFEST_BOUND = 8 * 1024 * 1024
FILES_BOUND = 20_000
PAGES = 2_048
"""SQLite pages copied in one step, between which the progress is reported."""
MAC, MAC_SIZE = "backup-manifest", 30
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Copied:
    """One file of a backup, by its name in it."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a backup. ``checkpoint`` is the number of the newest one, 0 if there was none."""

    format: int
    made_at: str
    database: str
    release: str
    revision: str
    compatible_from: str
    checkpoint: int
    checkpoint_digest: str
    files: tuple[Copied, ...]

    @property
    def signed(self) -> bytes:
        """Return the bytes that the manifest's MAC covers."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS)

    @property
    def moment(self) -> datetime:
        return datetime.fromisoformat(self.made_at)


def make(
    settings: Settings,
    target: Path,
    read: Callable[[Callable[[Context], Manifest]], Manifest],
    progress: Progress,
) -> Manifest:
    """Write a backup to ``target``: a folder, or one file if its name ends in ``.tar``. It is written whole or not at all.

    Raises Conflict if ``target`` exists, Unavailable if it cannot be written.
    """
    if target.exists():
        raise Conflict("backup_exists", f"{target} already exists. Choose another name.")
    beside = target.with_name(target.name + ".part")
    if beside.exists():
        raise Conflict(
            "backup_exists", f"{beside} was left by a backup that did not finish. Remove it, and try again."
        )
    try:
        beside.mkdir(parents=True, mode=0o700)
        files = tuple(_copies(settings, beside, progress))
        manifest = read(lambda ctx: _manifest(ctx, settings, files))
        # The manifest has the digest of every file, so its MAC covers them: without the platform's
        # key nobody can take a revocation or an audit record out of a backup.
        mac = vault().mac(MAC, manifest.signed, MAC_SIZE)
        content = orjson.dumps(asdict(manifest) | {"mac": mac}, option=orjson.OPT_INDENT_2)
        _write(beside / MANIFEST, content)
        if target.suffix == ".tar":
            _pack(beside, target)
        else:
            beside.rename(target)
    except (OSError, sqlite3.Error, subprocess.SubprocessError) as error:
        raise Unavailable("backup_failed", f"The backup cannot be written: {error}.") from error
    progress(1.0)
    return manifest


def _manifest(ctx: Context, settings: Settings, files: tuple[Copied, ...]) -> Manifest:
    """Build the manifest. The newest checkpoint is read after the copies, so it may be a little newer than the one in them."""
    gate = schema_gate.read(ctx.tx, release())
    newest = audit.newest_checkpoint(ctx)
    return Manifest(
        format=FORMAT,
        made_at=ctx.now.isoformat(),
        database=settings.database_url.partition(":")[0],
        release=release(),
        revision=gate.revision,
        compatible_from=gate.compatible_from,
        checkpoint=newest.number if newest else 0,
        checkpoint_digest=newest.digest if newest else "",
        files=files,
    )


def _copies(settings: Settings, into: Path, progress: Progress) -> Iterator[Copied]:
    total = sum(size for _, _, size in _sources(settings)) or 1
    done = 0
    for name, source, size in _sources(settings):
        target = into / name
        target.parent.mkdir(mode=0o700, exist_ok=True)

        # Defaults bind the present values; a closure would see those of a later iteration.
        def report(share: float, before: int = done, of: int = size) -> None:
            progress(min(0.99, (before + share * of) / total))

        if source is None:
            dump(settings.database_url, target)
        elif source.suffix == ".db":
            copy_database(source, target, report)
        else:
            _write(target, source.read_bytes())
        done += size
        progress(min(0.99, done / total))
        yield Copied(name, target.stat().st_size, digest_of(target))


def _sources(settings: Settings) -> Iterator[tuple[str, Path | None, int]]:
    """Yield name, path and size of each file, in the order in which they must be copied; the path is None for the PostgreSQL database.

    A folder is read only after everything before it was copied: a worker that starts during the backup opens a new journal file, and
    the copy of the control plane may already hold a checkpoint of it.
    """
    home = settings.data_dir
    control = settings.sqlite_file
    if control is not None:
        yield CONTROL, control, control.stat().st_size
    else:
        yield DUMP, None, 0
    for store in sorted((home / STORES).glob("*.db")):
        yield f"{STORES}/{store.name}", store, store.stat().st_size
    if control is not None:
        for pattern in ("access-*.db", CLAIMS):
            for journal in sorted((home / JOURNALS).glob(pattern)):
                yield f"{JOURNALS}/{journal.name}", journal, journal.stat().st_size
    credentials_file = home / CREDENTIALS_FILE
    if credentials_file.is_file():
        yield CREDENTIALS_FILE, credentials_file, credentials_file.stat().st_size


def copy_database(source: Path, target: Path, progress: Progress = lambda _: None) -> None:
    """Copy a SQLite database while others write to it; the copy is consistent, as of one moment."""
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, isolation_level=None)) as read,
        closing(sqlite3.connect(target)) as written,
    ):
        # One read transaction around the whole copy: without it every write of another process would restart it.
        read.execute("BEGIN")
        # BEGIN takes no snapshot by itself in SQLite; the first read does.
        read.execute("SELECT count(*) FROM sqlite_master").fetchone()
        read.backup(
            written,
            pages=PAGES,
            progress=lambda _status, left, total: progress(1 - left / max(1, total)),
        )
        # The copy must be one file. In WAL mode its last pages could lie in a -wal file beside it,
        # which nobody would copy.
        written.execute("PRAGMA journal_mode=DELETE")
    sync(target)


def digest_of(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """Read a backup's manifest. Raises Invalid if it cannot be read, was changed, or was written under another key."""
    path = folder / MANIFEST
    try:
        if path.stat().st_size > MANIFEST_BOUND:
            raise ValueError("too large")
        content = orjson.loads(path.read_bytes())
        mac = content.pop("mac")
        files = tuple(Copied(**each) for each in content.pop("files"))
        manifest = Manifest(**content, files=files)
        if manifest.format != FORMAT:
            raise ValueError(f"it is of format {manifest.format}, and this release reads {FORMAT}")
        if len(files) > FILES_BOUND or not all(_is_plain(each.name) for each in files):
            raise ValueError("it lists files that cannot be part of a backup")
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise Invalid("backup_unreadable", f"{folder} is not a backup that can be read: {error}.") from error
    # Checked before any digest of the manifest is used.
    if vault().mac(MAC, manifest.signed, MAC_SIZE) != mac:
        raise Invalid(
            "backup_changed",
            f"The manifest of {folder} was changed, or was made under another HILUM_SECRET_KEY: set the key that was in use when the backup was made.",
        )
    return manifest


def check_files(folder: Path, manifest: Manifest, progress: Progress) -> None:
    """Check that every file has the size and digest of the manifest. Raises Invalid for the first that has not."""
    total, done = sum(each.size for each in manifest.files) or 1, 0
    for each in manifest.files:
        path = folder / each.name
        try:
            size = path.stat().st_size
            whole = size == each.size and digest_of(path) == each.sha256
        except OSError as error:
            raise Invalid(
                "backup_damaged", f"{each.name} is missing from the backup: {error.strerror}."
            ) from error
        if not whole:
            fault = (
                f"is cut short: {size} of {each.size} bytes"
                if size < each.size
                else "does not match its manifest"
            )
            raise Invalid("backup_damaged", f"{each.name} of the backup {fault}. Use another backup.")
        done += each.size
        progress(done / total)


def unpack(source: Path, into: Path) -> Path:
    """Return the folder of a backup; a tar file is unpacked into ``into`` first. Raises Invalid."""
    if source.is_dir():
        return source
    try:
        # No compression is accepted, since a small file could expand to fill the disk. The filter
        # refuses absolute paths, links that lead outside and devices (PEP 706).
        with tarfile.open(source, "r:") as packed:
            packed.extractall(into, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise Invalid("backup_unreadable", f"{source} is not a backup that can be read: {error}.") from error
    return into


def _pack(folder: Path, target: Path) -> None:
    part = target.with_name(target.name + ".packing")
    with tarfile.open(part, "x:") as packed:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                packed.add(each, each.relative_to(folder).as_posix(), recursive=False)
    sync(part)
    part.rename(target)
    for each in sorted(folder.rglob("*"), reverse=True):
        each.unlink() if each.is_file() else each.rmdir()
    folder.rmdir()


def _is_plain(name: str) -> bool:
    """Check whether a name in a manifest is a plain file in one of a backup's folders, so that no path leads out of it."""
    folder, _, file = name.rpartition("/")
    return (
        folder in {"", STORES, JOURNALS}
        and bool(file)
        and not file.startswith(".")
        and file == Path(file).name
    )


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        path.chmod(0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Flush a file to disk, and make it readable by its owner only."""
    path.chmod(0o600)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
