"""Output of the command line: tables for people, JSON for scripts, one sentence for a refusal."""

import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

import click
import orjson

from hilum.foundation.infra.database_faults import DatabaseUnavailable
from hilum.foundation.kernel.errors import HilumError, Invalid
from hilum.foundation.kernel.lists import counted
from hilum.foundation.web.faults import SENTENCES, text_of

REFUSED, MISUSED = 1, 2
COLUMN_BOUND = 60
LISTED_BY: Mapping[str, str] = MappingProxyType(
    {
        "agreement_not_found": "hilum agreement list",
        "alert_not_found": "hilum alert list",
        "app_not_found": "hilum app list",
        "approval_not_found": "hilum approval list",
        "break_glass_not_found": "hilum break-glass list",
        "certificate_not_found": "hilum certificate list",
        "change_not_found": "hilum app edits",
        "client_not_found": "hilum client list APP",
        "contact_not_found": "hilum contact list",
        "defect_not_found": "hilum defect list",
        "offboarding_not_found": "hilum tenant leave list",
        "deletion_request_not_found": "hilum deletion-request list",
        "domain_not_found": "hilum vendor domain list VENDOR",
        "drill_not_found": "hilum drill list",
        "edit_not_found": "hilum app edits",
        "evidence_run_not_found": "hilum evidence list",
        "exception_not_found": "hilum policy exceptions",
        "facility_not_found": "hilum facility list",
        "finding_not_found": "hilum finding list",
        "installation_not_found": "hilum app installations",
        "lane_request_not_found": "hilum review lane",
        "listing_not_found": "hilum listing list",
        "service_owner_not_found": "hilum service-owner list",
        "notice_not_found": "hilum notices list",
        "person_not_found": "hilum person list",
        "policy_not_found": "hilum policy list",
        "provider_not_found": "hilum idp list",
        "request_not_found": "hilum request list --own",
        "session_not_found": "hilum session list",
        "submission_not_found": "hilum review list",
        "switch_not_found": "hilum switch list",
        "tenant_not_found": "hilum tenant list",
        "conflict_of_interest_not_found": "hilum conflict-of-interest list",
        "vendor_not_found": "hilum vendor list",
        "version_not_found": "hilum app show APP",
        "webhook_not_found": "hilum webhook list",
    }
)
"""For each record that is not there: the command that lists those that are."""


def as_json(value: Any) -> None:
    """Print one JSON document."""
    sys.stdout.write(
        orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS, default=str).decode() + "\n"
    )


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str], *, whole: str = "") -> None:
    """Print ``rows`` as aligned columns, or say that there are none. ``whole``: the column that is never cut, since somebody acts on its text."""
    if not rows:
        click.echo("none")
        return
    cells = [[_cell(row.get(column), whole=column == whole) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[at]) for line in cells)) for at, column in enumerate(columns)]
    click.secho(
        "  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)).rstrip(),
        bold=True,
    )
    for line in cells:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any, *, whole: bool) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        value = "  ".join(f"{name}={_cell(each, whole=True)}" for name, each in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        value = " ".join(str(each) for each in value)
    # A table stays readable in a terminal; --json prints values in full.
    text = plain(str(value))
    return text if whole or len(text) <= COLUMN_BOUND else text[: COLUMN_BOUND - 1] + "…"


def plain(text: str) -> str:
    """Return a text on one line, in which nothing commands the terminal: others wrote it, such as a vendor who asks a hospital."""
    return "".join(each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text)


def in_utc(moment: str) -> str:
    """Return a moment of a signed document as the API writes every other."""
    return moment.replace("+00:00", "Z")


def size_in_words(size: int) -> str:
    """Return a number of bytes in the unit in which it is not 0."""
    if size < 1_000:
        return counted(size, "byte")
    return f"{size / 1e3:.1f} kB" if size < 1_000_000 else f"{size / 1e6:.1f} MB"


def refuse(error: HilumError) -> NoReturn:
    """Print why something was refused, and what to do next if that is clear; exit 1."""
    # The fault names host, user or certificate, which is for
    # the operator at the shell and never in an API answer.
    if isinstance(error, DatabaseUnavailable):
        click.secho(f"refused: {error.fault.what} ({error.fault.code})", fg="red", err=True)
        click.echo(f"  {error.fault.next}", err=True)
        raise SystemExit(REFUSED)
    click.secho(f"refused: {error.detail or error.code} ({error.code})", fg="red", err=True)
    say_what_lists(error.code, error.detail)
    if isinstance(error, Invalid):
        fields = error.fields.items()
        said = {name: text_of(fault) if fault in SENTENCES else fault for name, fault in fields}
        say_faults(said, error.detail)
    raise SystemExit(REFUSED)


def say_faults(sentences: Mapping[str, str], said: str) -> None:
    """Print what is wrong with each field, except what the refusal itself said: its sentence, or ``field: ...``."""
    for name, sentence in sorted(sentences.items()):
        if sentence not in said and f"{name}: " not in said:
            click.echo(f"  {name}: {sentence}", err=True)


def say_what_lists(code: str, said: str) -> None:
    """Print which command lists the records, after a refusal that one was not found, unless the refusal says so itself."""
    if code in LISTED_BY and "`hilum " not in said:
        click.echo(f"Next: `{LISTED_BY[code]}` lists them.", err=True)
