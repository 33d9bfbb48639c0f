"""count how calls of apps ended

Counted from here on, not of before; what a release before counts while both run is missing. On SQLite it is counted in a file beside the
journals, and both tables stay empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0073"
down_revision = "0072"
branch_labels = None
depends_on = None
compatible_from = "0062"
_COUNTS = ("refused", "mistaken", "throttled", "failed", "answered_0", "answered_1", "answered_2", "answered_3", "answered_4", "answered_5", "answered_6", "answered_7", "answered_8", "answered_9", "answered_10", "answered_11")  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "service_slot",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        sa.PrimaryKeyConstraint("slot", "tenant", "app", name=op.f("pk_service_slot")),
    )
    op.create_table(
        "service_day",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        sa.PrimaryKeyConstraint("app", "tenant", "day", name=op.f("pk_service_day")),
    )
    op.create_index("ix_service_day_day", "service_day", ["day"])


def downgrade() -> None:
    op.drop_table("service_day")
    op.drop_table("service_slot")
