"""roll the rule book out in rings

Traffic is counted from here on, not of before. On SQLite it is counted in a file beside the journals, and ``decision_slot`` stays empty.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None
compatible_from = "0034"


def upgrade() -> None:
    op.create_table(
        "decision_slot",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "app", "slot", "bucket", name=op.f("pk_decision_slot")),
    )
    op.create_index("ix_decision_slot_slot", "decision_slot", ["slot"])
    op.create_table(
        "rollouts_plan",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("measured", sa.JSON(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts_plan")),
    )
    op.create_index("ix_rollouts_plan_state", "rollouts_plan", ["state", "id"])


def downgrade() -> None:
    op.drop_table("rollouts_plan")
    op.drop_table("decision_slot")
