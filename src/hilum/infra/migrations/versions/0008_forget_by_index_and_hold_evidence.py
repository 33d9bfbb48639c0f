"""find what may be forgotten by an index, and hold evidence"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0008"
down_revision = "0007"
compatible_from = "0007"
branch_labels = None
depends_on = None

USED = sa.text("used_at IS NOT NULL")
OVER = sa.text("ended_at IS NOT NULL OR used_at IS NULL")


def upgrade() -> None:
    op.create_index(
        "ix_refresh_token_used_at", "refresh_token", ["used_at"], sqlite_where=USED, postgresql_where=USED
    )
    op.create_index("ix_launch_over", "launch", ["created_at"], sqlite_where=OVER, postgresql_where=OVER)
    op.create_table(
        "audit_hold",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("reason", sa.String(length=500), nullable=False),
        sa.Column("placed_by", sa.String(length=128), nullable=False),
        sa.Column("placed_at", Instant(), nullable=False),
        sa.Column("released_by", sa.String(length=128), nullable=False),
        sa.Column("released_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_hold")),
    )


def downgrade() -> None:
    op.drop_table("audit_hold")
    op.drop_index("ix_launch_over", "launch")
    op.drop_index("ix_refresh_token_used_at", "refresh_token")
