"""``hilum tenant leave``: a hospital leaves the platform, with its export and its erasure.

The group ``tenant`` is in ``resources``; it is loaded through this module, so that it has these commands.
"""

import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.kernel.lists import counted
from hilum.hospitals.offboarding.models import (
    ERASE_AFTER_DEFAULT,
    ERASE_AFTER_MAX,
    ERASE_AFTER_MIN,
    Waits,
)
from hilum.server.commands import host
from hilum.server.commands.backups import progress_bar
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import TENANT
from hilum.surfaces.cli.output import REFUSED, as_json, refuse, size_in_words
from hilum.surfaces.cli.resources import json_option, show, show_done, show_one, tenant

__all__ = ["tenant"]
COLUMNS = ("id", "tenant", "state", "waits_for", "left_at", "erase_at", "exported_at", "erased_at")


@tenant.group("leave")
def leave() -> None:
    r"""Let a hospital leave the platform, for good.

    Two people agree. From then on no endpoint knows the hospital; then it gets an export, and later what was its own is erased.

    \b
    Examples:
      hilum tenant leave preview general
      hilum tenant leave ask general --reason "moves to another platform"
    """


@leave.command("preview")
@click.argument("tenant_id", metavar="TENANT", type=TENANT)
@json_option
def preview(tenant_id: str, *, json_: bool) -> None:
    r"""Count what a hospital would lose: people, apps, open launches, tokens and more.

    \b
    Example:
      hilum tenant leave preview general
    """
    found = api.call("GET", f"/tenants/{api.segment(tenant_id)}/offboarding")
    show_one(found if json_ else found["has"], json_=json_)


@leave.command("ask")
@click.argument("tenant_id", metavar="TENANT", type=TENANT)
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option(
    "--days",
    type=click.IntRange(ERASE_AFTER_MIN, ERASE_AFTER_MAX),
    default=ERASE_AFTER_DEFAULT,
    show_default=True,
    help="After how many days the hospital's own data is erased.",
)
@json_option
def ask(tenant_id: str, *, reason: str, days: int, json_: bool) -> None:
    r"""Ask a second person to let a hospital leave. Once they agree it cannot be taken back.

    \b
    Example:
      hilum tenant leave ask general --reason "moves to another platform" --days 30
    """
    body = {"reason": reason, "erase_after_days": days}
    show_done(api.call("POST", f"/tenants/{api.segment(tenant_id)}/offboarding", body), json_=json_)


@leave.command("list")
@json_option
def list_(*, json_: bool) -> None:
    r"""List the hospitals that left, newest first, and what the erasure of each waits for.

    \b
    Example:
      hilum tenant leave list
    """
    show(api.every("/offboardings"), COLUMNS, json_=json_)


@leave.command("show")
@click.argument("offboarding")
@json_option
def show_(offboarding: str, *, json_: bool) -> None:
    r"""Show an offboarding: what the hospital had, its export, and how far its erasure is.

    \b
    Example:
      hilum tenant leave show off_01h...
    """
    found = api.call("GET", f"/offboardings/{api.segment(offboarding)}")
    show_one(found, json_=json_)


@leave.command("export")
@click.argument("offboarding")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def export(offboarding: str, folder: Path, *, json_: bool) -> None:
    r"""Write what the hospital takes along into a new FOLDER, on this host: its records, its audit, and a manifest.

    It holds personal data: hand it over encrypted, and delete it here. It can be made again until the erasure begins.

    \b
    Example:
      hilum tenant leave export off_01h... /srv/handover/general
    """
    from hilum.records.audit import live
    from hilum.server import offboarding_exports

    found = host.read_settings()
    reader = live.open_reader(found.journal_dir, found.database_url)
    uow = host.open_uow(found)
    try:
        with progress_bar("exporting") as progress:
            done = offboarding_exports.export(
                uow, host.actor(), reader, offboarding, folder, progress=progress
            )
    except HilumError as error:
        refuse(error)
    finally:
        uow.close()
    if json_:
        as_json(asdict(done))
        return
    click.echo(
        f"{counted(done.files, 'file')}, {size_in_words(done.size)}, in {done.folder}; manifest {done.manifest}"
    )


@leave.command("erase")
@click.argument("offboarding")
@json_option
def erase(offboarding: str, *, json_: bool) -> None:
    r"""Erase now, on this host, what is due to be erased, instead of waiting for the jobs process.

    Nothing is erased before its day, without an export, or under a hold. Exits 1 if something is left.

    \b
    Example:
      hilum tenant leave erase off_01h...
    """
    from hilum.server import offboarding_exports

    uow = host.open_uow(host.read_settings())
    try:
        with progress_bar("erasing") as progress:
            done, waits = offboarding_exports.erase(uow, host.actor(), offboarding, progress=progress)
    except HilumError as error:
        refuse(error)
    finally:
        uow.close()
    if json_:
        as_json({"id": done.id, "state": done.state.value, "waits_for": waits.value})
    else:
        click.echo(
            done.state.value + ("" if done.erased_at else f"; it waits for: {_waits(waits, done.erase_at)}")
        )
    sys.exit(0 if done.erased_at else REFUSED)


def _waits(waits: Waits, erase_at: datetime) -> str:
    """Return what an erasure waits for; of a day, which one."""
    return f"its day, {erase_at:%Y-%m-%d %H:%M} UTC" if waits is Waits.DATE else waits.value
