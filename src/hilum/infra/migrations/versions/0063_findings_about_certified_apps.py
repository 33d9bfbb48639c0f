"""findings about certified apps

Releases before this one look at nothing again, and work on.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0063"
down_revision = "0062"
compatible_from = "0058"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revalidation_app",
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("due", sa.Integer(), nullable=False),
        sa.Column("switches", sa.JSON(), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("looked_at", Instant(), nullable=True),
        sa.Column("asked_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("app", name=op.f("pk_revalidation_app")),
    )
    with op.batch_alter_table("revalidation_app", schema=None) as batch_op:
        batch_op.create_index("ix_revalidation_app_asked", ["asked_at"], unique=False)
        batch_op.create_index("ix_revalidation_app_due", ["due", "app"], unique=False)

    op.create_table(
        "revalidation_finding",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("certification", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=60), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("severity", sa.String(length=10), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("reproduction", sa.Text(), nullable=False),
        sa.Column("fix", sa.Text(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("due_at", Instant(), nullable=True),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revalidation_finding")),
    )
    with op.batch_alter_table("revalidation_finding", schema=None) as batch_op:
        batch_op.create_index("ix_revalidation_finding_app", ["app", "id"], unique=False)
        batch_op.create_index("ix_revalidation_finding_closed", ["closed_at"], unique=False)
        batch_op.create_index("ix_revalidation_finding_due", ["state", "due_at"], unique=False)
        batch_op.create_index("ix_revalidation_finding_vendor", ["vendor", "id"], unique=False)
        batch_op.create_index(
            "uq_revalidation_finding_open",
            ["app", "digest"],
            unique=True,
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        )

    op.create_table(
        "revalidation_round",
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("after", sa.String(length=64), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("began_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revalidation_round")),
    )


def downgrade() -> None:
    op.drop_table("revalidation_round")
    with op.batch_alter_table("revalidation_finding", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_revalidation_finding_open",
            sqlite_where=sa.text("closed_at IS NULL"),
            postgresql_where=sa.text("closed_at IS NULL"),
        )
        batch_op.drop_index("ix_revalidation_finding_vendor")
        batch_op.drop_index("ix_revalidation_finding_due")
        batch_op.drop_index("ix_revalidation_finding_closed")
        batch_op.drop_index("ix_revalidation_finding_app")

    op.drop_table("revalidation_finding")
    with op.batch_alter_table("revalidation_app", schema=None) as batch_op:
        batch_op.drop_index("ix_revalidation_app_due")
        batch_op.drop_index("ix_revalidation_app_asked")

    op.drop_table("revalidation_app")
