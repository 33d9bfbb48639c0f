"""keep mandates of backend services

An older release asks for none, and takes no client without an approver as a text.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0033"
down_revision = "0032"
compatible_from = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mandates_mandate",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=100), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("population", sa.Text(), nullable=False),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("approver", sa.String(length=64), nullable=False),
        sa.Column("asked_by", sa.String(length=64), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False),
        sa.Column("agreed_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("ended_by", sa.String(length=120), nullable=False),
        sa.Column("end_reason", sa.Text(), nullable=False),
        sa.Column("lost_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mandates_mandate")),
    )
    for columns in (["tenant", "id"], ["vendor", "id"], ["approver", "id"], ["client", "tenant"]):
        op.create_index("_".join(("ix_mandates_mandate", *columns)), "mandates_mandate", columns)
    finding = sa.text("lost_at IS NOT NULL AND ended_at IS NULL")
    op.create_index(
        "ix_mandates_mandate_finding",
        "mandates_mandate",
        ["id"],
        sqlite_where=finding,
        postgresql_where=finding,
    )


def downgrade() -> None:
    op.drop_table("mandates_mandate")
