"""raise and lower tiers and declare ai use

An older release would overlook that a tier is raised and that an AI acts alone, and grant what they withhold.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None
compatible_from = "0032"


def upgrade() -> None:
    op.create_table(
        "policies_exception",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tier", sa.String(length=20), nullable=False),
        sa.Column("computed", sa.String(length=20), nullable=False),
        sa.Column("category", sa.String(length=64), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("book_digest", sa.String(length=64), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False),
        sa.Column("asked_by", sa.String(length=120), nullable=False),
        sa.Column("agreed_by", sa.String(length=120), nullable=False),
        sa.Column("agreed_at", Instant(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("ended_by", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies_exception")),
    )
    op.create_index("ix_policies_exception_ends_at", "policies_exception", ["ends_at"])

    with op.batch_alter_table("registry_version", schema=None) as batch_op:
        batch_op.add_column(sa.Column("ai_use", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("raised_tier", sa.String(length=20), nullable=True))
        batch_op.add_column(sa.Column("raised_because", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("raised_by", sa.String(length=120), nullable=True))
        batch_op.add_column(sa.Column("raised_at", Instant(), nullable=True))
        batch_op.create_index(
            batch_op.f("ix_registry_version_raised_at_id"), ["raised_at", "id"], unique=False
        )


def downgrade() -> None:
    with op.batch_alter_table("registry_version", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_registry_version_raised_at_id"))
        batch_op.drop_column("raised_at")
        batch_op.drop_column("raised_by")
        batch_op.drop_column("raised_because")
        batch_op.drop_column("raised_tier")
        batch_op.drop_column("ai_use")

    op.drop_table("policies_exception")
