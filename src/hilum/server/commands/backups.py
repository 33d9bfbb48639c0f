"""``hilum backup`` and ``hilum restore``: copy everything while it serves, and restore such a copy."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.lists import counted
from hilum.server.commands import host, preflight
from hilum.surfaces.cli.output import as_json, in_utc, refuse, size_in_words
from hilum.surfaces.cli.resources import json_option

if TYPE_CHECKING:
    from hilum.server.restore import Restored

SHOWN_AFTER_S = 2.0
KEY_KEPT_APART = "The backup does not contain HILUM_SECRET_KEY. Store the key separately for as long as you keep the backup."


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@json_option
def backup(target: Path, *, json_: bool) -> None:
    r"""Copy everything to TARGET while it serves: a folder, or one file where its name ends in .tar.

    Control plane, journals and embedded FHIR stores, each consistent as of one moment, with a manifest of digests. The key and the anchor
    are not included. PostgreSQL is copied by pg_dump.

    \b
    Examples:
      hilum backup /backup/hilum-2026-11-26
      hilum backup /backup/hilum-2026-11-26.tar --json
    """
    from hilum.server import backup as backups

    found = host.read_settings()
    uow = host.open_uow(found)
    trace = Trace(uow.ids.new("req"), source="host")
    begun = time.monotonic()

    def read(verb: Callable[[Context], backups.Manifest]) -> backups.Manifest:
        return uow.read_now(verb, actor=host.actor(), trace=trace)

    try:
        # A backup by another release or with another key could
        # not be restored; better refused now than found out then.
        uow.read_now(preflight.require_readable, actor=host.actor(), trace=trace)
        with progress_bar("copying") as progress:
            manifest = backups.make(found, target, read, progress)
    except HilumError as error:
        refuse(error)
    finally:
        uow.close()
    size = sum(each.size for each in manifest.files)
    if json_:
        as_json(
            asdict(manifest)
            | {"target": str(target), "size": size, "seconds": round(time.monotonic() - begun, 2)}
        )
        return
    click.echo(
        f"{counted(len(manifest.files), 'file')}, {size_in_words(size)}, in {time.monotonic() - begun:.1f} s; "
        f"the newest checkpoint is {manifest.checkpoint}"
    )
    click.echo(KEY_KEPT_APART)


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--replace", "replaces", is_flag=True, help="Replace the existing installation.")
@json_option
def restore(source: Path, *, replaces: bool, json_: bool) -> None:
    r"""Restore a backup into HILUM_DATABASE_URL and HILUM_DATA_DIR. Stop every node first.

    Everything that was issued before the restore ends: tokens, launches, codes, sessions, API tokens and links. What the backup cannot
    show is listed; check it before you serve.

    \b
    Examples:
      hilum restore /backup/hilum-2026-11-26
      hilum restore /backup/hilum-2026-11-26.tar --replace
    """
    from hilum.server import restore as restoring

    found = host.read_settings()
    begun = time.monotonic()
    try:
        with progress_bar("restoring") as progress:
            # Everything that was issued ends: tokens that were
            # revoked after the backup would otherwise work again.
            done = restoring.run(found, source, actor=host.actor(), replaces=replaces, progress=progress)
    except HilumError as error:
        refuse(error)
    took = time.monotonic() - begun
    if json_:
        as_json(asdict(done) | {"seconds": round(took, 2)})
        return
    click.echo(f"Restored as of {in_utc(done.manifest.made_at)}, in {took:.1f} s.")
    click.echo(f"Everything but the control plane is in {found.data_dir} (HILUM_DATA_DIR).")
    if found.database_url.startswith(host.SQLITE):
        control = found.database_url.removeprefix(host.SQLITE)
        click.echo(f"The control plane is in {control} (HILUM_DATABASE_URL).")
    if done.replaced:
        click.echo(f"The files that were there before are in {done.replaced}.")
    click.echo(
        f"Ended: every token, launch and code issued before now, {counted(done.sessions, 'session')}, {counted(done.api_tokens, 'API token')}, "
        f"{done.links} links. Everybody must sign in again."
    )
    for line in policy_lines(done):
        click.echo(line)
    click.echo("The backup cannot show these. Check each before serving:")
    for each in done.cannot_be_known:
        click.echo(f"  - {each}")
    if done.lifted:
        click.echo("In force again. End those again that somebody ended after the backup:")
    for each in done.lifted:
        click.echo(f"  - {each}")
    click.echo("Next: hilum doctor, hilum audit verify, then hilum serve.")


def policy_lines(done: "Restored") -> list[str]:
    """Format for a person which policy is in force again, and what shows that a later one was lost."""
    book, checkpoint = done.policy_version, done.manifest.checkpoint
    lines = [
        f"The policy in force is version {book.everywhere} (digest {book.digest or 'none'}); the last application is number {book.last} "
        f"(digest {book.head or 'none'})."
        if book.last
        else "The backup has no policy: the first start adopts the shipped one.",
        f"The backup's newest checkpoint is {checkpoint}, the audit anchor's {done.anchored or 'unknown'}.",
    ]
    if done.replaced_application > book.last:
        lines.append(
            f"WARNING: the database that was replaced had application {done.replaced_application} of a policy. What is in force now may allow more: "
            "apply that version again before apps are used."
        )
    elif done.anchored > checkpoint:
        lines.append(
            f"WARNING: {done.anchored - checkpoint} checkpoints were made after the backup. A policy that was put in force then is not in force now."
        )
    return [*lines, *(f"WARNING: {fault}" for fault in book.faults)]


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float], None]]:
    """Show a progress bar, if it takes longer than ``SHOWN_AFTER_S``."""
    begun = time.monotonic()
    shown: list[Any] = []

    def progress(share: float) -> None:
        # Short backups print no bar, so that scripts' logs stay clean.
        if not shown and time.monotonic() - begun > SHOWN_AFTER_S:
            shown.append(click.progressbar(length=100, label=label, show_eta=False, file=sys.stderr))
        for bar in shown:
            bar.update(max(0, int(share * 100) - bar.pos))

    try:
        yield progress
    finally:
        for bar in shown:
            bar.render_finish()
