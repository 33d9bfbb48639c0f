"""let hospitals leave

A release before this one could let a hospital in again that has left, and cannot read an approval that waits for it.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0062"
down_revision = "0061"
compatible_from = "0062"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "departures_departure",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("asked_by", sa.String(length=120), nullable=False),
        sa.Column("agreed_by", sa.String(length=120), nullable=False),
        sa.Column("left_at", Instant(), nullable=False),
        sa.Column("erase_at", Instant(), nullable=False),
        sa.Column("switch", sa.String(length=64), nullable=False),
        sa.Column("preview", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("apps_ended_at", Instant(), nullable=True),
        sa.Column("export", sa.JSON(), nullable=False),
        sa.Column("exported_at", Instant(), nullable=True),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.Column("erased_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_departures_departure")),
    )
    op.create_index("ix_departures_departure_state", "departures_departure", ["state", "id"])
    with op.batch_alter_table("identity_tenant") as batch:
        batch.add_column(sa.Column("left_at", Instant(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("identity_tenant") as batch:
        batch.drop_column("left_at")
    op.drop_table("departures_departure")
