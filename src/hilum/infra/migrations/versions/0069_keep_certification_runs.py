"""keep certification runs

Releases before this one neither read nor write the table, and open launches outside of any run.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0069"
down_revision = "0068"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    op.create_table(
        "evidence_run",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("rule_book", sa.Integer(), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("scenarios", sa.JSON(), nullable=False),
        sa.Column("opened_by", sa.String(length=120), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("doing", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("rows", sa.Text(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("holding", sa.String(length=100), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evidence_run")),
        sa.UniqueConstraint("holding", name=op.f("uq_evidence_run_holding")),
    )
    op.create_index("ix_evidence_run_app", "evidence_run", ["app", "id"])
    op.create_index("ix_evidence_run_state", "evidence_run", ["state", "expires_at"])
    op.create_index("ix_evidence_run_version", "evidence_run", ["version", "ended_at"])


def downgrade() -> None:
    op.drop_table("evidence_run")
