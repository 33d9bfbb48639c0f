"""judge submissions in lenses

A release before this one would certify what no lens has passed.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0060"
down_revision = "0059"
compatible_from = "0060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "review_finding",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("lens", sa.String(length=20), nullable=False),
        sa.Column("rule", sa.String(length=100), nullable=False),
        sa.Column("severity", sa.String(length=20), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("reproduction", sa.Text(), nullable=False),
        sa.Column("fix", sa.Text(), nullable=False),
        sa.Column("found_by", sa.String(length=120), nullable=False),
        sa.Column("found_at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("resolved_by", sa.String(length=120), nullable=False),
        sa.Column("resolved_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_finding")),
    )
    with op.batch_alter_table("review_finding", schema=None) as batch_op:
        batch_op.create_index("ix_review_finding_submission", ["submission", "id"], unique=False)

    op.create_table(
        "review_lens",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.String(length=20), nullable=False),
        sa.Column("lens", sa.String(length=20), nullable=False),
        sa.Column("inputs", sa.String(length=64), nullable=False),
        sa.Column("scorecard", sa.String(length=64), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("reviewer", sa.String(length=120), nullable=False),
        sa.Column("taken_at", Instant(), nullable=True),
        sa.Column("judged_at", Instant(), nullable=True),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.Column("flags", sa.JSON(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("kept_from", sa.String(length=64), nullable=False),
        sa.Column("drawn", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_lens")),
    )
    with op.batch_alter_table("review_lens", schema=None) as batch_op:
        batch_op.create_index("ix_review_lens_inputs", ["app", "environment", "lens", "inputs"], unique=False)
        batch_op.create_index("ix_review_lens_reviewer", ["reviewer", "id"], unique=False)
        batch_op.create_index("ix_review_lens_state", ["state", "id"], unique=False)
        batch_op.create_index("uq_review_lens_submission", ["submission", "lens"], unique=True)

    op.create_table(
        "review_lens_step",
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("lens", sa.String(length=20), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("before", sa.String(length=20), nullable=False),
        sa.Column("after", sa.String(length=20), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("submission", "lens", "number", name=op.f("pk_review_lens_step")),
    )
    op.create_table(
        "review_right",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("lenses", sa.JSON(), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("changed_by", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_review_right")),
    )
    op.create_table(
        "review_tie",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("declared_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("ended_by", sa.String(length=120), nullable=False),
        sa.Column("ended_because", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_tie")),
    )
    with op.batch_alter_table("review_tie", schema=None) as batch_op:
        batch_op.create_index("ix_review_tie_vendor", ["vendor", "id"], unique=False)
        batch_op.create_index(
            "uq_review_tie_in_force",
            ["person", "vendor"],
            unique=True,
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )

    with op.batch_alter_table("review_submission", schema=None) as batch_op:
        batch_op.add_column(sa.Column("reasons", sa.JSON(), nullable=False, server_default="[]"))
    with op.batch_alter_table("review_submission", schema=None) as batch_op:
        batch_op.alter_column("reasons", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("review_submission", schema=None) as batch_op:
        batch_op.drop_column("reasons")

    with op.batch_alter_table("review_tie", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_review_tie_in_force",
            sqlite_where=sa.text("ended_at IS NULL"),
            postgresql_where=sa.text("ended_at IS NULL"),
        )
        batch_op.drop_index("ix_review_tie_vendor")

    op.drop_table("review_tie")
    op.drop_table("review_right")
    op.drop_table("review_lens_step")
    with op.batch_alter_table("review_lens", schema=None) as batch_op:
        batch_op.drop_index("uq_review_lens_submission")
        batch_op.drop_index("ix_review_lens_state")
        batch_op.drop_index("ix_review_lens_reviewer")
        batch_op.drop_index("ix_review_lens_inputs")

    op.drop_table("review_lens")
    with op.batch_alter_table("review_finding", schema=None) as batch_op:
        batch_op.drop_index("ix_review_finding_submission")

    op.drop_table("review_finding")
