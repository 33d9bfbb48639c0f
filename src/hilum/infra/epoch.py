"""The control epoch: one row that every change to enforcement facts advances in its own transaction.

A sequence would not be ordered by commit; one row locked by UPDATE is. Beside the total it counts each part,
so that a process reloads only what changed.
"""

from enum import StrEnum

from sqlalchemy import BigInteger, Column, Connection, Table, select

from hilum.infra.db import insert_or_ignore, metadata


class Part(StrEnum):
    """Which room's facts changed."""

    IDENTITY = "identity"
    CONTROLS = "controls"
    REGISTRY = "registry"
    TOKENS = "tokens"
    CONSENT = "consent"
    LAUNCHES = "launches"


control_epoch = Table(
    "control_epoch",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    *(Column(part.value, BigInteger, nullable=False) for part in Part),
)

CHANNEL = "hilum_epoch"


def advance(tx: Connection, part: Part) -> None:
    """Advance the epoch by one for ``part``; visible to others when the transaction commits."""
    column = control_epoch.c[part.value]
    step = control_epoch.update().values({control_epoch.c.n: control_epoch.c.n + 1, column: column + 1})
    if tx.execute(step).rowcount == 0:
        zeros = {"id": 1, "n": 0} | {each.value: 0 for each in Part}
        tx.execute(insert_or_ignore(tx, control_epoch).values(zeros))
        tx.execute(step)
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql(f"NOTIFY {CHANNEL}")


def read(tx: Connection) -> tuple[int, dict[Part, int]]:
    """Tell the total and each part's count; zeros before the first change."""
    row = tx.execute(select(control_epoch)).mappings().first()
    if row is None:
        return 0, dict.fromkeys(Part, 0)
    return int(row["n"]), {part: int(row[part.value]) for part in Part}
