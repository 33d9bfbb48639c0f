"""keep dry runs of the rule book, and what they found"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
compatible_from = "0018"


def upgrade() -> None:
    op.create_table(
        "policies_dry_run",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("version_digest", sa.String(length=64), nullable=False),
        sa.Column("asked_by", sa.String(length=120), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("after", sa.Integer(), nullable=False),
        sa.Column("since", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("decisions", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("fault", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies_dry_run")),
    )
    op.create_index("ix_policies_dry_run_version", "policies_dry_run", ["version", "id"])
    op.create_index("ix_policies_dry_run_state", "policies_dry_run", ["state", "id"])
    op.create_table(
        "dryruns_row",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run", "kind", "number", name=op.f("pk_dryruns_row")),
    )
    op.create_index("ix_dryruns_row_tenant", "dryruns_row", ["run", "kind", "tenant", "number"])


def downgrade() -> None:
    op.drop_table("dryruns_row")
    op.drop_table("policies_dry_run")
