"""Rows of held edits, in a table for each kind."""

from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, String, Table, Text

from hilum.apps.registry.held_models import EditState, HeldEdit
from hilum.foundation.infra.db import Instant, metadata
from hilum.foundation.infra.rows import Rows
from hilum.foundation.kernel.ids import VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery


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


class HeldRows(Rows[HeldEdit]):
    """A table of held edits; ``noun``: what one is called in errors, ``edits``: the field that says what is edited."""

    def __init__(self, table: Table, noun: str, edits: str) -> None:
        super().__init__(table, HeldEdit, noun)
        self.edits = edits

    def row(self, value: HeldEdit) -> dict[str, Any]:
        waiting_for = getattr(value, self.edits) if value.state is EditState.PENDING else None
        return super().row(value) | {"waiting_for": waiting_for}

    def list_page(
        self, tx: Connection, *, of: VendorId | None, page: PageQuery = FIRST_PAGE
    ) -> list[HeldEdit]:
        """List edits by id: those of a vendor, decided or not, or (None) those that wait."""
        return self.page(tx, page, **({"state": EditState.PENDING} if of is None else {"vendor": of}))

    def save_decided(self, tx: Connection, edit: HeldEdit) -> bool:
        """Save a decision in one statement; return False if it was decided meanwhile."""
        columns = ("state", "decided_by", "decided_at", "reason", "waiting_for")
        return self.save(tx, edit, only=columns, state=EditState.PENDING)


app_edits = held_table("registry_app_edit", 64)
APP_EDITS = HeldRows(app_edits, "edit", "app")
