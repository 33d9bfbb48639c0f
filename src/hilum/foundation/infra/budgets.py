"""Budgets: how often an action may happen within a window of time, counted in a table of the module that owns the bound."""

from datetime import datetime

from sqlalchemy import Column, Connection, Index, Integer, String, Table, case, literal, or_

from hilum.foundation.infra.db import Instant, insert_or_ignore, metadata

KEY_BOUND = 80


def budget_table(name: str) -> Table:
    """Return the table of a module's budgets: one row for each recently used key."""
    return Table(
        name,
        metadata,
        Column("key", String(KEY_BOUND), primary_key=True),
        Column("window_at", Instant, nullable=False),
        Column("used", Integer, nullable=False),
        Index(None, "window_at"),
    )


def spend(
    tx: Connection, table: Table, key: str, bound: int, *, now: datetime, window_start: datetime
) -> bool:
    """Count one use of a budget; return False if ``bound`` uses were already counted in its window.

    One statement checks and counts, so concurrent uses cannot exceed the bound.
    """
    tx.execute(insert_or_ignore(tx, table).values(key=key, window_at=now, used=0))
    is_over = table.c.window_at <= window_start
    counted = table.update().where(table.c.key == key, or_(is_over, table.c.used < bound))
    values = {
        "used": case((is_over, 1), else_=table.c.used + 1),
        "window_at": case((is_over, literal(now, Instant)), else_=table.c.window_at),
    }
    return tx.execute(counted.values(values)).rowcount == 1


def delete_old(tx: Connection, table: Table, before: datetime) -> None:
    """Delete the budgets whose window began before a time."""
    tx.execute(table.delete().where(table.c.window_at < before))
