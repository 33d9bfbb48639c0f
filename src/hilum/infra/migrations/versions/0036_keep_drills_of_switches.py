"""keep drills of switches"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None
compatible_from = "0035"


def upgrade() -> None:
    op.create_table(
        "drills_drill",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("began_by", sa.String(length=120), nullable=False),
        sa.Column("began_at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("switch", sa.String(length=64), nullable=False),
        sa.Column("containment", sa.JSON(), nullable=False),
        sa.Column("record", sa.JSON(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drills_drill")),
    )
    op.create_index("ix_drills_drill_state", "drills_drill", ["state", "id"])


def downgrade() -> None:
    op.drop_table("drills_drill")
