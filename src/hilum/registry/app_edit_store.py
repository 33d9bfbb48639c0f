"""The table of edits of apps' texts."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import JSON, Column, Connection, Index, Row, String, Table, Text, select

from hilum.infra.db import Instant, insert_or_ignore, metadata
from hilum.kernel.errors import NotFound
from hilum.kernel.ids import VendorId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.registry.app_edit_models import AppEdit, AppEditState

edits = Table(
    "registry_app_edit",
    metadata,
    Column("id", String(64), primary_key=True),
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
    # The app while the edit waits, else NULL: one edit of an app waits at a time.
    Column("waiting_for", String(64), unique=True),
    Index(None, "state", "id"),
    Index(None, "vendor", "id"),
)


def add_edit(tx: Connection, edit: AppEdit) -> bool:
    """Add an edit that waits; return False if another of this app waits."""
    row = asdict(edit) | {"state": edit.state.value, "waiting_for": edit.app}
    return tx.execute(insert_or_ignore(tx, edits).values(row)).rowcount == 1


def _edit(row: Row[Any]) -> AppEdit:
    found = dict(row._mapping)  # noqa: SLF001 - how SQLAlchemy documents a row as a mapping
    del found["waiting_for"]
    return AppEdit(**found | {"state": AppEditState(row.state)})


def get_edit(tx: Connection, edit: str, *, lock: bool = False) -> AppEdit:
    """Get an edit; ``lock``: until the transaction ends, no other may change it. Raises NotFound."""
    query = select(edits).where(edits.c.id == edit)
    row = tx.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise NotFound("edit_not_found", "There is no such edit.")
    return _edit(row)


def list_edits(tx: Connection, *, of: VendorId | None, page: PageQuery = FIRST_PAGE) -> list[AppEdit]:
    """List edits by id: those of a vendor, decided or not, or (None) those that wait."""
    query = select(edits).where(edits.c.id > page.after)
    of_whom = edits.c.state == AppEditState.PENDING.value if of is None else edits.c.vendor == of
    return [_edit(row) for row in tx.execute(query.where(of_whom).order_by(edits.c.id).limit(page.limit))]


def save_edit_decided(tx: Connection, edit: AppEdit) -> bool:
    """Save a decision in one statement; return False if it was decided meanwhile."""
    pending = (edits.c.id == edit.id, edits.c.state == AppEditState.PENDING.value)
    values = {name: getattr(edit, name) for name in ("decided_by", "decided_at", "reason")}
    values |= {"state": edit.state.value, "waiting_for": None}
    return tx.execute(edits.update().where(*pending).values(values)).rowcount == 1
