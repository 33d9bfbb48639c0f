"""give vendors snapshots of their own

Releases before this one neither read nor write what is new; no hospital is a vendor's own by them.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0082"
down_revision = "0081"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    op.add_column("identity_tenant", sa.Column("vendor", sa.String(length=64), nullable=True))
    op.create_table(
        "snapshots_snapshot",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("template", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("made_by", sa.String(length=120), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("reset_at", Instant(), nullable=False),
        sa.Column("used_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshots_snapshot")),
        sa.UniqueConstraint("vendor", "slot", name=op.f("uq_snapshots_snapshot_vendor_slot")),
    )
    op.create_index("ix_snapshots_snapshot_state", "snapshots_snapshot", ["state", "used_at"])


def downgrade() -> None:
    op.drop_table("snapshots_snapshot")
    # Not in a batch, which would copy the table without its indexes over expressions.
    op.drop_column("identity_tenant", "vendor")
