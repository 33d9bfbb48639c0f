"""keep an outbox of mail and webhooks, and the endpoints of webhooks

Nothing that is there changes: an older release works on this database and sends nothing.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
compatible_from = "0018"


def upgrade() -> None:
    op.create_table(
        "notices_notice",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("once", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.String(length=64), nullable=False),
        sa.Column("leased_until", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("next_at", Instant(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False),
        sa.Column("settled_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices_notice")),
        sa.UniqueConstraint("once", name=op.f("uq_notices_notice_once")),
    )
    op.create_index("ix_notices_notice_due", "notices_notice", ["channel", "state", "next_at"])
    op.create_index("ix_notices_notice_leased", "notices_notice", ["state", "leased_until"])
    op.create_index("ix_notices_notice_recipient", "notices_notice", ["recipient", "state"])
    op.create_index("ix_notices_notice_state", "notices_notice", ["state", "id"])
    op.create_index("ix_notices_notice_vendor", "notices_notice", ["vendor", "id"])
    op.create_index("ix_notices_notice_settled", "notices_notice", ["settled_at"])
    op.create_table(
        "notices_endpoint",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("old_sealed", sa.Text(), nullable=False),
        sa.Column("old_until", Instant(), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_until", Instant(), nullable=True),
        sa.Column("disabled", sa.String(length=64), nullable=False),
        sa.Column("last_status", sa.Integer(), nullable=False),
        sa.Column("last_reason", sa.String(length=64), nullable=False),
        sa.Column("last_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notices_endpoint")),
    )
    op.create_index("ix_notices_endpoint_vendor_id", "notices_endpoint", ["vendor", "id"])
    op.create_index("ix_notices_endpoint_paused_until", "notices_endpoint", ["paused_until"])


def downgrade() -> None:
    op.drop_table("notices_endpoint")
    op.drop_table("notices_notice")
