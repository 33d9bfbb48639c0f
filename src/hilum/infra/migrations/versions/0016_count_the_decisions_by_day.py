"""count the decisions by day

The counts start empty and are filled by a job from the journals. On SQLite they are in a file beside the journals, and these tables stay
empty.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
compatible_from = "0015"

WORDS = ("app", "client", "interaction", "resource_type", "reason", "rule")


def upgrade() -> None:
    op.create_table(
        "decision_shape",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        *(sa.Column(word, sa.Text(), nullable=False) for word in WORDS),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decision_shape")),
    )
    op.create_index("ix_decision_shape_client", "decision_shape", ["client"])
    op.create_table(
        "decision_count",
        sa.Column("shape", sa.LargeBinary(length=16), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("first", Instant(), nullable=False),
        sa.Column("last", Instant(), nullable=False),
        sa.Column("example", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("shape", "tenant", "day", name=op.f("pk_decision_count")),
    )
    op.create_index("ix_decision_count_day", "decision_count", ["day"])
    op.create_table(
        "decision_counted",
        sa.Column("journal", sa.String(length=10), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("journal", name=op.f("pk_decision_counted")),
    )


def downgrade() -> None:
    op.drop_table("decision_counted")
    op.drop_table("decision_count")
    op.drop_table("decision_shape")
