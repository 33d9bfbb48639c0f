"""The schema gate: whether this release may work on the database as it stands.

A release is known by its newest migration. Each migration declares ``compatible_from``: the oldest release, by that number, that works
on a database to which it was applied. The database keeps the newest of these beside its revision, so that a node that does not know
a migration still knows whether it may go on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import BigInteger, Column, Connection, String, Table, inspect, select, text

from hilum.infra.db import insert_or_ignore, metadata

ALEMBIC_TABLE = "alembic_version"
ONLY = 1

schema_gate = Table(
    "schema_gate",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("compatible_from", String(32), nullable=False),
)


class Standing(StrEnum):
    """How a release and a database stand to each other."""

    CURRENT = "current"
    NEWER = "newer"
    """The database is newer and this release still works on it."""
    EMPTY = "empty"
    OLDER = "older"
    CLOSED = "closed"
    """The database is newer, or about to be, and this release does not work on it."""


MAY_SERVE = frozenset({Standing.CURRENT, Standing.NEWER})


@dataclass(frozen=True, slots=True)
class Gate:
    """``revision`` is the database's newest migration, ``release`` the code's; ``compatible_from`` as the database says."""

    standing: Standing
    release: str
    revision: str
    compatible_from: str

    @property
    def opens(self) -> bool:
        return self.standing in MAY_SERVE

    @property
    def fault(self) -> str:
        """One sentence on what is wrong and what to run; empty when nothing is."""
        match self.standing:
            case Standing.EMPTY:
                return "The database holds no tables yet. Run `hilum migrate`."
            case Standing.OLDER:
                return (
                    f"The database is at migration {self.revision} and this release needs {self.release}. "
                    "Run `hilum migrate` with this release, then start again."
                )
            case Standing.CLOSED:
                return (
                    f"The database is at migration {self.revision} and works with releases from {self.compatible_from} on; "
                    f"this release ends at {self.release}. Install a newer release on this node."
                )
        return ""


def judge(release: str, revision: str, compatible_from: str) -> Gate:
    """Judge by the numbers alone. A newer database that does not say what it works with is closed to us."""
    if not revision:
        standing = Standing.EMPTY
    elif compatible_from > release:
        standing = Standing.CLOSED
    elif revision == release:
        standing = Standing.CURRENT
    elif revision < release:
        standing = Standing.OLDER
    else:
        standing = Standing.NEWER if compatible_from else Standing.CLOSED
    return Gate(standing, release, revision, compatible_from)


def oldest_compatible(declared: Mapping[str, str], revision: str) -> str:
    """Return the oldest release that works on a database at ``revision``: the newest that any migration up to it demands."""
    return max((wanted for number, wanted in declared.items() if number <= revision), default="")


def read(tx: Connection, release: str) -> Gate:
    """Read how the database stands to a release."""
    seen = inspect(tx)
    revision = found = None
    if seen.has_table(ALEMBIC_TABLE):
        revision = tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if seen.has_table(schema_gate.name):
        found = tx.execute(select(schema_gate.c.compatible_from)).scalar()
    return judge(release, revision or "", found or "")


def write(tx: Connection, compatible_from: str) -> None:
    """Let nodes of releases older than ``compatible_from`` stop serving, from this transaction's commit on."""
    row = {"id": ONLY, "compatible_from": compatible_from}
    if tx.execute(schema_gate.update().values(row)).rowcount == 0:
        tx.execute(insert_or_ignore(tx, schema_gate).values(row))
