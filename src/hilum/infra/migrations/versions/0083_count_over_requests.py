"""count what is asked for beyond the workflows, what is granted and unused, and how vendors begin

Releases before this one leave the columns of what they check empty, which is not counted, and do not know the tables.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0083"
down_revision = "0082"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    op.add_column("review_submission", sa.Column("beyond", sa.Integer(), nullable=True))
    op.add_column("review_submission", sa.Column("checked_tier", sa.String(length=20), nullable=True))
    op.create_index("ix_review_submission_submitted", "review_submission", ["submitted_at"])
    op.create_table(
        "revalidation_friction",
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("signed_up_at", Instant(), nullable=False),
        sa.Column("launched_at", Instant(), nullable=True),
        sa.Column("read_at", Instant(), nullable=True),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("looked_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("vendor", name=op.f("pk_revalidation_friction")),
    )
    op.create_index("ix_revalidation_friction_signed_up", "revalidation_friction", ["signed_up_at"])
    op.create_index("ix_revalidation_friction_looked", "revalidation_friction", ["looked_at"])
    op.create_table(
        "revalidation_followed",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_revalidation_followed")),
    )
    op.create_table(
        "revalidation_use",
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("tier", sa.String(length=20), nullable=False),
        sa.Column("granted", sa.Integer(), nullable=False),
        sa.Column("unused", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("app", name=op.f("pk_revalidation_use")),
    )


def downgrade() -> None:
    op.drop_table("revalidation_use")
    op.drop_table("revalidation_followed")
    op.drop_index("ix_revalidation_friction_looked", "revalidation_friction")
    op.drop_index("ix_revalidation_friction_signed_up", "revalidation_friction")
    op.drop_table("revalidation_friction")
    op.drop_index("ix_review_submission_submitted", "review_submission")
    op.drop_column("review_submission", "checked_tier")
    op.drop_column("review_submission", "beyond")
