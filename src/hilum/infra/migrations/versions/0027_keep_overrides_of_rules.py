"""keep overrides of rules

An older release does not look at them, and withholds what they allow.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None
compatible_from = "0026"


def upgrade() -> None:
    op.create_table(
        "policies_override",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("rule_digest", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("control", sa.Text(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False),
        sa.Column("asked_by", sa.String(length=120), nullable=False),
        sa.Column("agreed_by", sa.String(length=120), nullable=False),
        sa.Column("agreed_at", Instant(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("ended_by", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies_override")),
    )
    op.create_index("ix_policies_override_ends_at", "policies_override", ["ends_at"])


def downgrade() -> None:
    op.drop_table("policies_override")
