"""The schema gate: whether this release may work on the database in its present schema.

A release is identified by its newest migration. Each migration declares ``compatible_from``: the oldest release that works on a
database to which it was applied. The database stores the highest of these beside its revision, so that a node can tell whether
it may serve even when it lacks the newest migrations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import BigInteger, Column, Connection, String, Table, inspect, select, text

from hilum.foundation.infra.db import insert_or_ignore, metadata

ALEMBIC_TABLE = "alembic_version"
ONLY = 1

schema_gate = Table(
    "schema_gate",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("compatible_from", String(32), nullable=False),
)


class SchemaState(StrEnum):
    """How the database's schema compares with a release."""

    CURRENT = "current"
    NEWER = "newer"
    """The database is newer and this release still works on it."""
    EMPTY = "empty"
    OLDER = "older"
    CLOSED = "closed"
    """The database is newer, or about to be, and this release does not work on it."""


MAY_SERVE = frozenset({SchemaState.CURRENT, SchemaState.NEWER})


@dataclass(frozen=True, slots=True)
class Gate:
    """The comparison of ``release``, the code's newest migration, with ``revision``, the database's; ``compatible_from`` as stored."""

    state: SchemaState
    release: str
    revision: str
    compatible_from: str

    @property
    def opens(self) -> bool:
        return self.state in MAY_SERVE

    @property
    def fault(self) -> str:
        """What is wrong and which command to run; empty when the gate is open."""
        match self.state:
            case SchemaState.EMPTY:
                return "The database has no tables yet. Run `hilum migrate`."
            case SchemaState.OLDER:
                return (
                    f"The database is at migration {self.revision} and this release needs {self.release}. "
                    "Run `hilum migrate` with this release, then start again."
                )
            case SchemaState.CLOSED:
                return (
                    f"The database is at migration {self.revision} and works with releases from {self.compatible_from} on; "
                    f"this release ends at {self.release}. Install a newer release on this node."
                )
        return ""


def judge(release: str, revision: str, compatible_from: str) -> Gate:
    """Judge whether ``release`` may serve, from the migration numbers. A newer database without ``compatible_from`` is closed."""
    # Migration numbers have leading zeros, so they compare as text.
    if not revision:
        state = SchemaState.EMPTY
    # Judged before the revision: a migration closes the gate first, while the revision is still the
    # old one, and waits until older nodes refuse (ADR 33).
    elif compatible_from > release:
        state = SchemaState.CLOSED
    elif revision == release:
        state = SchemaState.CURRENT
    elif revision < release:
        state = SchemaState.OLDER
    else:
        state = SchemaState.NEWER if compatible_from else SchemaState.CLOSED
    return Gate(state, release, revision, compatible_from)


def oldest_compatible(declared: Mapping[str, str], revision: str) -> str:
    """Return the oldest release that works on a database at ``revision``: the highest that any migration up to it declares."""
    return max((oldest for number, oldest in declared.items() if number <= revision), default="")


def read(tx: Connection, release: str) -> Gate:
    """Read the database's revision and judge whether ``release`` may serve on it."""
    schema = inspect(tx)
    revision = compatible_from = None
    if schema.has_table(ALEMBIC_TABLE):
        revision = tx.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if schema.has_table(schema_gate.name):
        compatible_from = tx.execute(select(schema_gate.c.compatible_from)).scalar()
    return judge(release, revision or "", compatible_from or "")


def write(tx: Connection, compatible_from: str) -> None:
    """Store ``compatible_from``: nodes of older releases stop serving once this transaction commits."""
    row = {"id": ONLY, "compatible_from": compatible_from}
    if tx.execute(schema_gate.update().values(row)).rowcount == 0:
        tx.execute(insert_or_ignore(tx, schema_gate).values(row))
