"""keep the clocks of reviews

Clocks, the ledger of missed ones and published figures; draws, appeals and known answers. A release before this one keeps no clocks, and
would not run those that run.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0064"
down_revision = "0063"
compatible_from = "0064"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "review_appeal",
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("by", sa.String(length=120), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("decided_by", sa.String(length=120), nullable=False),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("submission", name=op.f("pk_review_appeal")),
    )
    with op.batch_alter_table("review_appeal", schema=None) as batch_op:
        batch_op.create_index("ix_review_appeal_state", ["state", "submission"], unique=False)

    op.create_table(
        "review_breach",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("tier", sa.String(length=20), nullable=False),
        sa.Column("allowed_days", sa.Integer(), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("noted_at", Instant(), nullable=False),
        sa.Column("level", sa.String(length=20), nullable=False),
        sa.Column("climbs_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_breach")),
    )
    with op.batch_alter_table("review_breach", schema=None) as batch_op:
        batch_op.create_index("ix_review_breach_climbs", ["climbs_at"], unique=False)

    op.create_table(
        "review_clock",
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("stage", sa.String(length=20), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("tier", sa.String(length=20), nullable=False),
        sa.Column("calendar", sa.String(length=64), nullable=False),
        sa.Column("allowed_days", sa.Integer(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("pauses", sa.JSON(), nullable=False),
        sa.Column("stopped_at", Instant(), nullable=True),
        sa.Column("breach", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("submission", "stage", name=op.f("pk_review_clock")),
    )
    with op.batch_alter_table("review_clock", schema=None) as batch_op:
        batch_op.create_index("ix_review_clock_due", ["breach", "due_at"], unique=False)

    op.create_table(
        "review_draw",
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.String(length=20), nullable=False),
        sa.Column("seed", sa.String(length=64), nullable=False),
        sa.Column("percent", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("drawn", sa.Boolean(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("carried", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("submission", name=op.f("pk_review_draw")),
    )
    with op.batch_alter_table("review_draw", schema=None) as batch_op:
        batch_op.create_index("ix_review_draw_app", ["app", "environment", "at"], unique=False)

    op.create_table(
        "review_figures",
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("rows", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_review_figures")),
    )
    op.create_table(
        "review_known_answer",
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("lens", sa.String(length=20), nullable=False),
        sa.Column("verdict", sa.String(length=20), nullable=False),
        sa.Column("by", sa.String(length=120), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("submission", "lens", name=op.f("pk_review_known_answer")),
    )
    op.create_table(
        "review_measure",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("tier", sa.String(length=20), nullable=False),
        sa.Column("lens", sa.String(length=20), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("milli", sa.Integer(), nullable=False),
        sa.Column("milli_whole", sa.Integer(), nullable=False),
        sa.Column("good", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_measure")),
    )
    with op.batch_alter_table("review_measure", schema=None) as batch_op:
        batch_op.create_index("ix_review_measure_at", ["at"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("review_measure", schema=None) as batch_op:
        batch_op.drop_index("ix_review_measure_at")

    op.drop_table("review_measure")
    op.drop_table("review_known_answer")
    op.drop_table("review_figures")
    with op.batch_alter_table("review_draw", schema=None) as batch_op:
        batch_op.drop_index("ix_review_draw_app")

    op.drop_table("review_draw")
    with op.batch_alter_table("review_clock", schema=None) as batch_op:
        batch_op.drop_index("ix_review_clock_due")

    op.drop_table("review_clock")
    with op.batch_alter_table("review_breach", schema=None) as batch_op:
        batch_op.drop_index("ix_review_breach_climbs")

    op.drop_table("review_breach")
    with op.batch_alter_table("review_appeal", schema=None) as batch_op:
        batch_op.drop_index("ix_review_appeal_state")

    op.drop_table("review_appeal")
