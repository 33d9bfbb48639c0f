"""Rows of held edits, in a table for each kind."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, Row, String, Table, Text, select

from hilum.infra.db import Instant, get_row, insert_or_ignore, metadata
from hilum.infra.sorting import by_key
from hilum.kernel.ids import VendorId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.registry.held_models import EditState, HeldEdit


def held_table(name: str, key_length: int, *more: Column[Any]) -> Table:
    """Declare a table of held edits; ``key_length``: that of the id of what is edited."""
    return Table(
        name,
        metadata,
        Column("id", String(64), primary_key=True),
        *more,
        Column("app", String(64), nullable=False),
        Column("vendor", String(64), nullable=False),
        Column("order", JSON, nullable=False),
        Column("before", JSON, nullable=False),
        Column("asked_by", String(120), nullable=False),
        Column("asked_at", Instant, nullable=False),
        Column("state", String(20), nullable=False),
        Column("decided_by", String(120), nullable=False),
        Column("decided_at", Instant),
        Column("reason", Text, nullable=False),
        # What is edited while the edit waits, else NULL: one edit of it waits at a time.
        Column("waiting_for", String(key_length), unique=True),
        Index(None, "state", "id"),
        Index(None, "vendor", "id"),
    )


@dataclass(frozen=True, slots=True)
class HeldRows:
    """A table of held edits; ``noun``: what one is called in errors, ``edits``: the field that says what is edited."""

    table: Table
    noun: str
    edits: str

    def add(self, tx: Connection, edit: HeldEdit) -> bool:
        """Add an edit that waits; return False if another of the same waits."""
        row = {
            column.name: getattr(edit, column.name) for column in self.table.c if column.name != "waiting_for"
        }
        row |= {"state": edit.state.value, "waiting_for": getattr(edit, self.edits)}
        return tx.execute(insert_or_ignore(tx, self.table).values(row)).rowcount == 1

    def get(self, tx: Connection, edit: str, *, lock: bool = False) -> HeldEdit:
        """Get an edit; ``lock``: until the transaction ends, no other may change it. Raises NotFound."""
        return _edit(get_row(tx, self.table, edit, self.noun, lock=lock))

    def list_page(
        self, tx: Connection, *, of: VendorId | None, page: PageQuery = FIRST_PAGE
    ) -> list[HeldEdit]:
        """List edits by id: those of a vendor, decided or not, or (None) those that wait."""
        columns = self.table.c
        of_whom = columns.state == EditState.PENDING.value if of is None else columns.vendor == of
        query = by_key(select(self.table).where(of_whom), columns.id, page)
        return [_edit(row) for row in tx.execute(query)]

    def save_decided(self, tx: Connection, edit: HeldEdit) -> bool:
        """Save a decision in one statement; return False if it was decided meanwhile."""
        pending = (self.table.c.id == edit.id, self.table.c.state == EditState.PENDING.value)
        values = {name: getattr(edit, name) for name in ("decided_by", "decided_at", "reason")}
        values |= {"state": edit.state.value, "waiting_for": None}
        return tx.execute(self.table.update().where(*pending).values(values)).rowcount == 1


def _edit(row: Row[Any]) -> HeldEdit:
    found = dict(row._mapping)
    del found["waiting_for"]
    return HeldEdit(**found | {"state": EditState(row.state)})


app_edits = held_table("registry_app_edit", 64)
APP_EDITS = HeldRows(app_edits, "edit", "app")
