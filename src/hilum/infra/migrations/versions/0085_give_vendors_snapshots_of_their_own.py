"""give vendors snapshots of their own, and record defects of apps

Releases before this one neither read nor write what is new; no hospital is a vendor's own by them.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0085"
down_revision = "0084"
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

    op.create_table(
        "defects_defect",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("seen_in", sa.String(length=16), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("first_seen_at", Instant(), nullable=False),
        sa.Column("went_live_at", Instant(), nullable=True),
        sa.Column("reported_by", sa.String(length=120), nullable=False),
        sa.Column("reported_at", Instant(), nullable=False),
        sa.Column("reproducible", sa.Boolean(), nullable=True),
        sa.Column("scenario", sa.String(length=64), nullable=False),
        sa.Column("proposed", sa.Boolean(), nullable=False),
        sa.Column("gap", sa.Text(), nullable=False),
        sa.Column("tagged_by", sa.String(length=120), nullable=False),
        sa.Column("tagged_at", Instant(), nullable=True),
        sa.Column("closed_by", sa.String(length=120), nullable=False),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_defects_defect")),
    )
    op.create_index("ix_defects_defect_vendor", "defects_defect", ["vendor", "id"])
    op.create_index("ix_defects_defect_app", "defects_defect", ["app", "id"])


def downgrade() -> None:
    op.drop_table("defects_defect")
    op.drop_table("snapshots_snapshot")
    # Not in a batch, which would copy the table without its indexes over expressions.
    op.drop_column("identity_tenant", "vendor")
