"""end rollouts in rings

A person puts each step in force (ADR 161). What waited or was decided about a rollout is in the audit. A release before this one runs rollouts,
so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0098"
down_revision = "0097"
branch_labels = None
depends_on = None
compatible_from = "0098"


def upgrade() -> None:
    op.drop_table("rollouts_plan")
    op.execute(sa.text("DELETE FROM approvals_approval WHERE kind = 'rollout'"))
    op.execute(sa.text("DELETE FROM sunsets_walk WHERE id = 'ahead'"))


def downgrade() -> None:
    op.create_table(
        "rollouts_plan",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("measured", sa.JSON(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts_plan")),
    )
    op.create_index("ix_rollouts_plan_state", "rollouts_plan", ["state", "id"])
