"""Restores a backup, and ends everything in it that may have been revoked since.

Yesterday's copy does not contain today's revocations. Therefore everything issued before the restore ends: tokens, refresh tokens,
codes, launches, sessions, API tokens and links are invalidated in the same transaction that lets nodes serve the copy.
"""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, column, func, inspect, select, table

from hilum.apps.contacts import service as contacts
from hilum.authorization.breakglass import service as breakglass
from hilum.controls.approvals import service as approvals
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Target, TargetKind
from hilum.foundation.infra import epoch, lanes, nodes, schema_gate
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.migrations import run as migrations
from hilum.foundation.infra.postgres_tools import restore as restore_dump
from hilum.foundation.infra.schema_gate import SchemaState
from hilum.foundation.infra.settings import Settings
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Conflict, HilumError, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.hospitals.offboarding import service as offboardings
from hilum.identity.enrolment import service as enrolment
from hilum.identity.federation import service as federation
from hilum.identity.signin import service as signin
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Verified
from hilum.records.audit import anchor
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.keys import live as vaults
from hilum.records.keys import service as keys
from hilum.records.notices import service as notices
from hilum.server import backup
from hilum.server.backup import CONTROL, DUMP, JOURNALS, STORES, Manifest, Progress
from hilum.server.bootstrap import open_uow

CLOSED = "9999"
"""A schema gate that no release passes. A restored database has it until everything issued before has been ended."""
# With CLOSED. A dump ends with an empty search_path, under which the table would not be found.
CLOSING = "RESET search_path; UPDATE schema_gate SET compatible_from = '9999';"
APPLICATIONS = "policies_application"
ASIDE = "replaced-{}"
CHECKING_SHARE = 0.5
"""Share of the progress that is spent on checking the backup."""
CANNOT_BE_KNOWN = (
    "switches engaged after the backup are not in force: engage them again",
    "switches released after the backup are in force again: release them again",
    "consents and connections that people withdrew after the backup are valid again: the next launch does not ask",
    "passwords set after the backup are the old ones again; people deactivated after it are active again",
    "secrets, keys and addresses of clients and FHIR servers are those of the backup",
    "apps suspended, certifications withdrawn and installations removed after the backup are in force again",
    "agreements and service owners that were ended after the backup are in force again: compare `hilum agreement list` and `hilum service-owner list`, and end them again",
    "limits of backend services to networks that were set after the backup are lost, so their calls are accepted from more networks or from anywhere: compare `hilum app installations`, and set them again",
    "emergency access that a hospital switched off or narrowed after the backup is allowed as before, and later review verdicts are lost, so people who were barred may use it again: compare `hilum break-glass settings`",
    "exceptions that were ended after the backup are in force again until their own end: end those listed below again",
    "tiers that reviewers raised after the backup are not raised any longer: compare `hilum policy exceptions`, and raise them again",
    "holds placed after the backup are not in force: place them again at once, before evidence is purged; nothing of a hospital that left is erased within a week",
    "hospitals that left after the backup are back, with what was erased since: let them leave again, and erase it again",
    "facilities removed after the backup are in use again, and apps denied at a facility since are allowed there again: remove and deny them again",
    "mail that waited in the backup is recorded as unknown, since it may have been sent after it: see `hilum notices list --state unknown`",
    "webhooks that waited in the backup are sent again, under their ids",
    "policies put in force after the backup are not in force: compare the last application with your records, and apply again what is missing",
    "client assertions used in the last minutes before the failure could be replayed until they expire, within five minutes",
    "records written after the backup are gone from the database; the anchor and copies of the journal still show them",
)
"""What a restore may bring back without the backup showing it. The operator checks each before serving."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did. ``sessions``, ``api_tokens`` and ``links`` count those that it ended."""

    manifest: Manifest
    migrated: bool
    sessions: int
    api_tokens: int
    links: int
    policy_version: Verified
    """The policy that is in force again."""
    replaced: str = ""
    """The folder with the SQLite files and stores that were replaced; empty if there were none."""
    replaced_application: int = 0
    """The last application of a policy in the database that was replaced; 0 if it had none, or could not be read."""
    anchored: int = 0
    """The newest checkpoint in the audit's anchor; 0 without one."""
    cannot_be_known: tuple[str, ...] = CANNOT_BE_KNOWN
    lifted: tuple[str, ...] = ()
    """The exceptions that are in force again: which, for which app, until when."""


def run(
    settings: Settings, source: Path, *, actor: Actor, replaces: bool, progress: Progress = lambda _: None
) -> Restored:
    """Restore a backup into this installation, which must not serve meanwhile.

    Raises Invalid (the backup cannot be read, was changed or is damaged), NotPermitted (another kind of database, a newer release),
    Conflict (there is an installation and ``replaces`` is False, or nodes are serving), Unavailable.
    """
    vaults.install(vaults.Vault(settings.secret_key))
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    work = settings.data_dir / "restoring"
    if work.exists():
        shutil.rmtree(work)
    work.mkdir(mode=0o700)
    try:
        folder = backup.unpack(source, work)
        manifest = backup.read_manifest(folder)
        backup.check_files(folder, manifest, lambda share: progress(share * CHECKING_SHARE))
        _require_fit(settings, manifest)
        # The last check before anything is written: until here a refusal leaves everything as it was.
        application = _require_free(settings, replaces=replaces)
        anchored = _anchored(settings)
        restored = _place(settings, folder, manifest, work, actor)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    progress(1.0)
    return replace(restored, replaced_application=application, anchored=anchored)


def _anchored(settings: Settings) -> int:
    """Return the newest checkpoint in the audit's anchor; 0 if it cannot be read, which does not fail the restore."""
    try:
        return max((each.number for each in anchor.read(settings.anchor)), default=0)
    except HilumError:
        return 0


def _require_fit(settings: Settings, manifest: Manifest) -> None:
    kind = settings.database_url.partition(":")[0]
    if manifest.database != kind:
        raise NotPermitted(
            "backup_of_another_kind",
            f"This is a backup of a {manifest.database} database, and HILUM_DATABASE_URL is one of {kind}.",
        )
    gate = schema_gate.judge(migrations.release(), manifest.revision, manifest.compatible_from)
    if gate.state not in {SchemaState.CURRENT, SchemaState.OLDER}:
        raise NotPermitted(
            "backup_newer",
            f"The backup is at migration {manifest.revision}, and this release ends at {gate.release}: "
            "restore it with the release that it was made with, or a newer one.",
        )


def _require_free(settings: Settings, *, replaces: bool) -> int:
    """Check that no installation would be overwritten that serves, or that is not to be replaced. Raises Conflict.

    Return the number of the last application of a policy in it, 0 if there is none.
    """
    exists = settings.sqlite_file is None or settings.sqlite_file.exists()
    serving: list[str] = []
    application = 0
    if exists:
        database = Database(settings.database_url)
        try:
            exists, serving, application = database.read(_target_state)
        finally:
            database.dispose()
    if serving:
        raise Conflict(
            "nodes_serve", f"{', '.join(serving)} serves this database: stop every node first, then restore."
        )
    exists = exists or any(any((settings.data_dir / each).glob("*.db")) for each in (JOURNALS, STORES))
    if exists and not replaces:
        raise Conflict(
            "target_not_empty",
            f"There is already an installation at HILUM_DATABASE_URL or in {settings.data_dir}. The last application of its policy "
            f"is number {application}. Restore into an empty one, or pass --replace.",
        )
    return application


def _target_state(tx: Connection) -> tuple[bool, list[str], int]:
    """Return whether there are any tables, which nodes serve, and the number of the last application of a policy."""
    schema = inspect(tx)
    live = nodes.list_nodes(tx) if schema.has_table(nodes.node.name) else []
    # Of whatever release, so by name. Unverified: it is only compared with what the backup has.
    last: Select[Any] = select(func.max(column("number"))).select_from(table(APPLICATIONS))
    application = tx.execute(last).scalar() if schema.has_table(APPLICATIONS) else None
    return bool(schema.get_table_names()), [each.name for each in live if each.live], int(application or 0)


def _place(settings: Settings, folder: Path, manifest: Manifest, work: Path, actor: Actor) -> Restored:
    """Move the files into place; the control plane, which lets nodes serve, comes last.

    Everything is staged beside its place first, so that a full disk is noticed while the old files are still in use.
    Raises Unavailable, with the folder to which the old files were moved.
    """
    home, control = settings.data_dir, settings.sqlite_file
    fresh = control.with_name(f"restoring-{control.name}") if control else work / "none"
    aside = ""
    try:
        staged = _stage(folder, manifest, work / "staged")
        if control:
            control.parent.mkdir(parents=True, exist_ok=True)
            restored = _prepare(settings, folder / CONTROL, fresh, manifest, actor)
        else:
            # One transaction with the closing of the gate: no node can serve the copy before _make_safe.
            restore_dump(settings.database_url, folder / DUMP, work / "database.sql", then=CLOSING)
        old = _existing_files(settings, control)
        aside = str(_free_place(home)) if old else ""
        _set_aside(old, Path(aside), control)
        for name, path in staged.items():
            (home / name).parent.mkdir(mode=0o700, exist_ok=True)
            path.replace(home / name)
        if control:
            fresh.replace(control)
        else:
            restored = _make_safe(settings, manifest, actor)
    except (OSError, sqlite3.Error) as error:
        where = f"The files that were there before are in {aside}" if aside else "No file was replaced"
        raise Unavailable("restore_failed", f"The restore cannot be written: {error}. {where}.") from error
    finally:
        for left in fresh.parent.glob(f"{fresh.name}*"):
            left.unlink()
    return replace(restored, replaced=aside)


def _stage(folder: Path, manifest: Manifest, into: Path) -> dict[str, Path]:
    """Copy every file except the control plane's to the disk of the data directory."""
    staged: dict[str, Path] = {}
    for each in manifest.files:
        if each.name not in {CONTROL, DUMP}:
            target = staged[each.name] = into / each.name
            target.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            shutil.copyfile(folder / each.name, target)
            backup.sync(target)
    return staged


def _prepare(settings: Settings, source: Path, fresh: Path, manifest: Manifest, actor: Actor) -> Restored:
    """Copy the control plane beside its place, and end everything that was issued in the copy."""
    for left in fresh.parent.glob(f"{fresh.name}*"):
        left.unlink()
    shutil.copyfile(source, fresh)
    url = f"sqlite:///{fresh}"
    database = Database(url)
    try:
        # First of all. If the restore ends anywhere after this,
        # what is left is a database that no release serves.
        database.write(lambda tx: schema_gate.write(tx, CLOSED))
    finally:
        database.dispose()
    restored = _make_safe(replace(settings, database_url=url), manifest, actor)
    with closing(sqlite3.connect(fresh)) as db:
        # One file, which one rename puts in place.
        db.execute("PRAGMA journal_mode=DELETE")
    backup.sync(fresh)
    return restored


def _existing_files(settings: Settings, control: Path | None) -> list[Path]:
    """List the files that a restore replaces."""
    old = [path for each in (JOURNALS, STORES) for path in (settings.data_dir / each).glob("*.db*")]
    return old + (sorted(control.parent.glob(f"{control.name}*")) if control else [])


def _free_place(home: Path) -> Path:
    number = 1
    while (aside := home / ASIDE.format(number)).exists():
        number += 1
    return aside


def _set_aside(old: list[Path], aside: Path, control: Path | None) -> None:
    """Move the files that are replaced into the folder ``aside``."""
    for path in old:
        is_control = control is not None and path.parent == control.parent
        place = aside if is_control else aside / path.parent.name
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.move(path, place / path.name)


def _make_safe(settings: Settings, manifest: Manifest, actor: Actor) -> Restored:
    """Migrate the copy to this release, end everything issued before now, and only then let nodes serve it."""
    migrated = manifest.revision != migrations.release()
    if migrated:
        migrations.migrate_closed(settings.database_url)
    uow = open_uow(settings, SystemClock(), SystemIds(), "restore")
    trace = Trace(uow.ids.new("req"), source="host")

    def end(ctx: Context) -> Restored:
        # Nodes and leases of the backup's time: no process that had them may continue.
        for each in nodes.list_nodes(ctx.tx):
            nodes.leave(ctx.tx, each.name, each.boot)
        nodes.expire_leases(ctx.tx)
        sessions, tokens = signin.end_all(ctx)
        federation.end_all(ctx)
        links = enrolment.end_all(ctx)
        approvals.end_all(ctx)
        breakglass.end_all(ctx)
        offboardings.defer(ctx)
        # Mail that waited in the backup may have been sent since.
        mails = notices.end_open_mail(ctx)
        links += contacts.end_links(ctx)
        # One row for the whole platform ends every token, refresh token, code and launch issued
        # until now, as the end of a full stop does (ADR 6).
        controls.end_issued(ctx, Target(TargetKind.PLATFORM, ""))
        # New marks: a process that still holds facts of the replaced database must not take them for current.
        epoch.renew(ctx.tx)
        if keys.is_same_key(ctx) is None:
            keys.store_key_check(ctx)
        facts = {
            "made_at": manifest.made_at,
            "checkpoint": manifest.checkpoint,
            "sessions": sessions,
            "api_tokens": tokens,
            "links": links,
            "mails": mails,
        }
        audit.record(ctx, Event("host.backup.restore", facts=facts))
        # In the same transaction as all of the above: no node sees the open gate and a token from before the restore.
        migrations.reopen(ctx.tx)
        verified = policies.verify(ctx)
        return Restored(
            manifest, migrated, sessions, tokens, links, verified, lifted=exceptions_in_force(ctx)
        )

    try:
        with lanes.using(Lane.LONG):
            return uow.write_now(end, actor=actor, trace=trace)
    finally:
        uow.close()


def exceptions_in_force(ctx: Context) -> tuple[str, ...]:
    """List the exceptions in force in the copy that loosen something; the operator must end those again that were ended after the backup."""
    lines = [
        f"exception {each.id} for {each.app}{_at(each.tenant)}, until {each.ends_at:%Y-%m-%d %H:%M} UTC: hilum policy end-exception {each.id}"
        for of_app in policies.live_exceptions(ctx).values()
        for each in of_app
        if each.kind.loosens
    ]
    return tuple(lines)


def _at(tenant: TenantId | None) -> str:
    """Return `` at <tenant>`` for a sentence; empty for all tenants."""
    return "" if tenant is None else f" at {tenant}"
