"""the regulated lane

Requests for access that regulation protects. Releases before this one still work; they show none.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0067"
down_revision = "0066"
compatible_from = "0066"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "review_lane",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("asked_by", sa.String(length=120), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("decided_by", sa.String(length=120), nullable=False),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("enabled_at", Instant(), nullable=True),
        sa.Column("certification", sa.String(length=64), nullable=False),
        sa.Column("breach", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_lane")),
    )
    with op.batch_alter_table("review_lane", schema=None) as batch_op:
        batch_op.create_index("ix_review_lane_due", ["breach", "due_at"], unique=False)
        batch_op.create_index("ix_review_lane_state", ["state", "id"], unique=False)
        batch_op.create_index("ix_review_lane_vendor", ["vendor", "id"], unique=False)
        batch_op.create_index(
            "uq_review_lane_version",
            ["version"],
            unique=True,
            sqlite_where=sa.text("state != 'refused'"),
            postgresql_where=sa.text("state != 'refused'"),
        )


def downgrade() -> None:
    with op.batch_alter_table("review_lane", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_review_lane_version",
            sqlite_where=sa.text("state != 'refused'"),
            postgresql_where=sa.text("state != 'refused'"),
        )
        batch_op.drop_index("ix_review_lane_vendor")
        batch_op.drop_index("ix_review_lane_state")
        batch_op.drop_index("ix_review_lane_due")

    op.drop_table("review_lane")
