"""keep emergency accesses and what hospitals allow of them

An older release neither opens nor judges them: with it, nothing is open.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0055"
down_revision = "0054"
compatible_from = "0054"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "breakglass_use",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=100), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("launch", sa.String(length=64), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False),
        sa.Column("review_by", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("ended_by", sa.String(length=120), nullable=False),
        sa.Column("reviewed_at", Instant(), nullable=True),
        sa.Column("reviewed_by", sa.String(length=120), nullable=False),
        sa.Column("verdict", sa.String(length=32), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_breakglass_use")),
    )
    for columns in (["tenant", "id"], ["person", "opened_at"], ["ends_at"]):
        op.create_index("_".join(("ix_breakglass_use", *columns)), "breakglass_use", columns)
    unreviewed = sa.text("reviewed_at IS NULL")
    op.create_index(
        "ix_breakglass_use_unreviewed",
        "breakglass_use",
        ["tenant", "id"],
        sqlite_where=unreviewed,
        postgresql_where=unreviewed,
    )
    op.create_table(
        "breakglass_setting",
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("categories", sa.JSON(), nullable=False),
        sa.Column("minutes", sa.Integer(), nullable=False),
        sa.Column("per_day", sa.Integer(), nullable=False),
        sa.Column("review_hours", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_breakglass_setting")),
    )
    op.create_index("ix_launch_person_created_at", "launch", ["person", "created_at"])


def downgrade() -> None:
    op.drop_index("ix_launch_person_created_at", "launch")
    op.drop_table("breakglass_setting")
    op.drop_table("breakglass_use")
