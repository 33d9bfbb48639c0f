"""Sheets: what is signed of the installations of some apps at a hospital (ADR 142). Pure.

A sheet has a line for each app: the digest of what enforcement reads of its installation, that of its record, and whether somebody
ever removed it. What is signed is the digest of the sheet, so a hospital with a thousand apps has 64 leaves in the tree and not a thousand.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import sha256

import orjson

from hilum.attestations.policy import signed_moment
from hilum.installations.models import Installation
from hilum.kernel.ids import AppId, TenantId
from hilum.kernel.times import to_micros

SHEETS_EACH = 64
"""Sheets of one hospital at most. A change reads and writes one: of a thousand apps sixteen lines, two kilobytes."""
DIGITS = 40
"""Hexadecimal digits of a digest in a line: 160 bits. A worker reads all sheets when it starts, so they are kept short."""
KNOWN_APPS = 50_000
WHOLE, REPLACED = "whole", "replaced"
NOTHING = "-"
REMOVED = "removed"
VALUES = 3
"""The values of a line after its app."""
Decisive = Sequence[str | int | None]
"""What enforcement reads of an installation, as the table has it: the columns of ``DECISIVE``."""
DECISIVE = (
    "tenant",
    "app",
    "scopes",
    "roles",
    "expires_at",
    "approved_at",
    "environment",
    "facilities",
    "denied",
    "default_workflow",
    "networks",
)


@dataclass(frozen=True, slots=True)
class Line:
    """What is signed of an app at a hospital. ``decisive`` empty: it is not installed. ``removed``: somebody has removed it at some time."""

    decisive: str = ""
    record: str = ""
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Sheet:
    """The lines of a sheet. ``replaces_lost``: an earlier sheet was lost, so it is unknown which apps were removed."""

    lines: Mapping[AppId, Line] = field(default_factory=dict)
    replaces_lost: bool = False


def sheet_of(tenant: TenantId, app: AppId) -> str:
    """Return the id of the sheet that has an app's line."""
    return f"{tenant}/{number_of(app)}"


def sheets_at(tenant: TenantId) -> list[str]:
    """Return the id of every sheet that a hospital may have."""
    return [f"{tenant}/{number:02x}" for number in range(SHEETS_EACH)]


@lru_cache(maxsize=KNOWN_APPS)
def number_of(app: AppId) -> str:
    """Return which of a hospital's sheets has an app's line."""
    return f"{sha256(app.encode()).digest()[0] % SHEETS_EACH:02x}"


def digest_of(decisive: Decisive) -> str:
    """Return the digest of what enforcement reads of an installation."""
    # A list of JSON, so that no value may end within another one.
    # Of what somebody wrote, too: it fits no line, and is no error.
    return sha256(orjson.dumps(decisive, default=str)).hexdigest()[:DIGITS]


def decisive_of(installation: Installation) -> tuple[str | int | None, ...]:
    """Return what enforcement reads of an installation, as the table has it."""
    end, facilities = installation.expires_at, installation.facilities
    return (
        installation.tenant,
        installation.app,
        " ".join(installation.scopes),
        joined(installation.roles),
        None if end is None else to_micros(end),
        to_micros(installation.approved_at),
        installation.environment.value,
        None if facilities is None else joined(facilities),
        joined(installation.denied),
        installation.default_workflow,
        " ".join(installation.networks),
    )


def joined(of: frozenset[str]) -> str:
    """Return words in their order, as the table has them."""
    return " ".join(sorted(of))


def line_of(installation: Installation, decisive: Decisive | None = None, *, removed: bool) -> Line:
    """Return the line of an installation. ``decisive``: what enforcement reads of it, where its row was read."""
    record = None if installation.record is None else asdict(installation.record)
    if record is not None:
        record["expires_at"] = signed_moment(record["expires_at"])
    validated = signed_moment(installation.validated_at), installation.validated_by
    rest = orjson.dumps([installation.id, record, installation.approved_by, *validated], default=str)
    return Line(digest_of(decisive or decisive_of(installation)), sha256(rest).hexdigest()[:DIGITS], removed)


def render(sheet: Sheet) -> str:
    """Return the text of a sheet."""
    lines = (
        f"{app} {line.decisive or NOTHING} {line.record or NOTHING} {REMOVED if line.removed else NOTHING}\n"
        for app, line in sorted(sheet.lines.items())
    )
    return f"{REPLACED if sheet.replaces_lost else WHOLE}\n{''.join(lines)}"


def parse(text: str) -> Sheet:
    """Return the sheet of a text. Of one that somebody wrote what cannot be read is left out."""
    head, *rest = text.split("\n")
    lines = {}
    for app, *values in (each.split(" ") for each in rest):
        if len(values) == VALUES:
            decisive, record, removed = ("" if each == NOTHING else each for each in values)
            lines[AppId(app)] = Line(decisive, record, removed == REMOVED)
    return Sheet(lines, head != WHOLE)


def fits(text: str, decisive: Decisive) -> bool:
    """Check whether an installation is on a sheet as it is. Without reading the lines, since a worker that starts asks a million times."""
    try:
        return f"\n{decisive[1]} {digest_of(decisive)} " in text
    # In SQLite somebody may have written a sheet that is no text.
    except TypeError:
        return False


def leaf_of(text: str) -> str:
    """Return the digest under which a sheet is signed."""
    return sha256(str(text).encode()).hexdigest()
