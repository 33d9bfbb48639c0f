"""``hilum tenant leave``: a hospital leaves the platform, with its export, its erasure and the proof of that.

The group ``tenant`` is in ``resources``; it is loaded through this module, so that it has these commands.
"""

import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from hilum.cli import api, host
from hilum.cli.backups import progress_bar
from hilum.cli.named import TENANT
from hilum.cli.output import REFUSED, as_json, refuse, size_in_words
from hilum.cli.resources import json_option, show, show_done, show_one, tenant
from hilum.departures.models import (
    ERASE_AFTER_DEFAULT,
    ERASE_AFTER_MAX,
    ERASE_AFTER_MIN,
    ErasureAction,
    Waits,
)
from hilum.kernel.errors import HilumError
from hilum.kernel.lists import counted

__all__ = ["tenant"]
COLUMNS = ("id", "tenant", "state", "waits_for", "left_at", "erase_at", "exported_at", "erased_at")


@tenant.group("leave")
def leave() -> None:
    r"""Let a hospital leave the platform, for good.

    Two people agree. From then on no endpoint knows the hospital; then it gets an export, and later what was its own is erased, with a proof.

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
    found = api.call("GET", f"/tenants/{api.segment(tenant_id)}/departure")
    show_one(found if json_ else found["has"], json_=json_)


@leave.command("ask")
@click.argument("tenant_id", metavar="TENANT", type=TENANT)
@click.option("--reason", required=True, help="Why; it is recorded, and part of the proof.")
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
    show_done(api.call("POST", f"/tenants/{api.segment(tenant_id)}/departure", body), json_=json_)


@leave.command("list")
@json_option
def list_(*, json_: bool) -> None:
    r"""List the hospitals that left, newest first, and what the erasure of each waits for.

    \b
    Example:
      hilum tenant leave list
    """
    show(api.every("/departures"), COLUMNS, json_=json_)


@leave.command("show")
@click.argument("departure")
@json_option
def show_(departure: str, *, json_: bool) -> None:
    r"""Show a departure: what the hospital had, its export, and how far its erasure is.

    \b
    Example:
      hilum tenant leave show dep_01h...
    """
    found = api.call("GET", f"/departures/{api.segment(departure)}")
    hidden = () if json_ else ("record", "kid", "signature")
    show_one({name: value for name, value in found.items() if name not in hidden}, json_=json_)


@leave.command("proof")
@click.argument("departure")
def proof(departure: str) -> None:
    r"""Print the signed erasure proof, for the hospital to keep.

    \b
    Example:
      hilum tenant leave proof dep_01h... > proof.json
    """
    found = api.call("GET", f"/departures/{api.segment(departure)}")
    if not found["record"]:
        waits = _waits(Waits(found["waits_for"]), datetime.fromisoformat(found["erase_at"]))
        click.secho(f"refused: nothing is erased yet; it waits for: {waits}.", fg="red", err=True)
        sys.exit(REFUSED)
    as_json({"document": found["record"], "kid": found["kid"], "signature": found["signature"]})


@leave.command("export")
@click.argument("departure")
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def export(departure: str, folder: Path, *, json_: bool) -> None:
    r"""Write what the hospital takes along into a new FOLDER, on this host: its records, its audit, and a signed manifest.

    It holds personal data: hand it over encrypted, and delete it here. It can be made again until the erasure begins.

    \b
    Example:
      hilum tenant leave export dep_01h... /srv/handover/general
    """
    from hilum.app import departure_exports
    from hilum.audit import live

    found = host.read_settings()
    reader = live.open_reader(found.journal_dir, found.database_url)
    uow = host.open_uow(found)
    try:
        with progress_bar("exporting") as progress:
            done = departure_exports.export(uow, host.actor(), reader, departure, folder, progress=progress)
    except HilumError as error:
        refuse(error)
    finally:
        uow.close()
    if json_:
        as_json(asdict(done))
        return
    click.echo(
        f"{counted(done.files, 'file')}, {size_in_words(done.size)}, in {done.folder}; the stop is {done.containment}"
    )
    click.echo(f"manifest {done.digest}, signed by the key {done.key}")


@leave.command("erase")
@click.argument("departure")
@json_option
def erase(departure: str, *, json_: bool) -> None:
    r"""Erase now, on this host, what is due to be erased, instead of waiting for the jobs process.

    Nothing is erased before its day, without an export, or under a hold. Exits 1 if something is left.

    \b
    Example:
      hilum tenant leave erase dep_01h...
    """
    from hilum.app import departure_exports

    uow = host.open_uow(host.read_settings())
    try:
        with progress_bar("erasing") as progress:
            done, waits = departure_exports.erase(uow, host.actor(), departure, progress=progress)
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


@leave.command("verify")
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--key",
    default="",
    help="The platform's public key, if you have it from elsewhere; by default, the one in the document.",
)
@json_option
def verify(paths: tuple[Path, ...], *, key: str, json_: bool) -> None:
    r"""Verify an export (its folder) or an erasure proof (its file), or both together, with nothing but these. Exits 1 if anything is wrong.

    \b
    Examples:
      hilum tenant leave verify handover/general
      hilum tenant leave verify handover/general proof.json --key zVb1...
    """
    from hilum.app import departure_exports

    faults: list[str] = []
    documents: dict[str, dict[str, Any]] = {}
    digests: dict[str, str] = {}
    for path in paths:
        document, digest, found = departure_exports.read_signed(path, key)
        faults += [f"{path}: {each}" for each in found]
        if found:
            continue
        documents[str(document["format"])] = document
        digests[str(document["format"])] = digest
        if path.is_dir():
            with progress_bar("verifying") as progress:
                faults += departure_exports.verify_export(path, document, progress=progress)
    if len(documents) == 2:
        faults += departure_exports.mismatches(documents, digests)
    _print(documents, faults, json_=json_)
    sys.exit(REFUSED if faults else 0)


def _waits(waits: Waits, erase_at: datetime) -> str:
    """Return what an erasure waits for; of a day, which one."""
    return f"its day, {erase_at:%Y-%m-%d %H:%M} UTC" if waits is Waits.DATE else waits.value


def _print(documents: dict[str, dict[str, Any]], faults: list[str], *, json_: bool) -> None:
    if json_:
        as_json({"valid": not faults, "faults": faults, "documents": documents})
        return
    for each in documents.values():
        click.echo(f"{each['format']} of {each['name']} ({each['departure']}), key {each['key']}")
        for erased in each.get("erased", ()):
            said = "blanked" if erased["deed"] == ErasureAction.BLANK else "erased"
            click.echo(f"  {said:7} {erased['rows']:>8}  {erased['what']}")
        for stays in each.get("stays", ()):
            click.echo(f"  stays  {stays['what']}: {stays['why']}")
    for fault in faults:
        click.secho(f"  {fault}", fg="red")
    click.secho("valid" if not faults else "NOT VALID", fg="green" if not faults else "red", bold=True)
