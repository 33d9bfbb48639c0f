"""alert by the calls of apps

The counts of the last hours begin again, in an order in which each run goes over them once.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0076"
down_revision = "0075"
branch_labels = None
depends_on = None
compatible_from = "0062"
_COUNTS = (
    "refused", "mistaken", "throttled", "failed", "answered_0", "answered_1", "answered_2", "answered_3", "answered_4", "answered_5",
    "answered_6", "answered_7", "answered_8", "answered_9", "answered_10", "answered_11",
)  # fmt: skip


def upgrade() -> None:
    op.drop_table("service_slot")
    _count_by("tenant", "app", "slot")
    op.create_index("ix_service_slot_slot", "service_slot", ["slot"])
    op.create_table(
        "monitoring_alert",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("limit", sa.Integer(), nullable=False),
        sa.Column("figures", sa.JSON(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("mailed_at", Instant(), nullable=True),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.Column("why", sa.String(length=12), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_monitoring_alert")),
    )
    is_open = sa.text("closed_at IS NULL")
    op.create_index(
        "uq_monitoring_alert_open",
        "monitoring_alert",
        ["tenant", "app", "kind"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_index("ix_monitoring_alert_app", "monitoring_alert", ["app", "id"])
    op.create_index("ix_monitoring_alert_tenant", "monitoring_alert", ["tenant", "id"])
    op.create_index("ix_monitoring_alert_vendor", "monitoring_alert", ["vendor", "id"])
    op.create_index("ix_monitoring_alert_mailed", "monitoring_alert", ["mailed_at"])
    op.create_index("ix_monitoring_alert_closed", "monitoring_alert", ["closed_at"])
    op.create_table(
        "monitoring_run",
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("at", Instant(), nullable=True),
        sa.Column("judged", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_monitoring_run")),
    )


def _count_by(*key: str) -> None:
    op.create_table(
        "service_slot",
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTS),
        sa.PrimaryKeyConstraint(*key, name=op.f("pk_service_slot")),
    )


def downgrade() -> None:
    op.drop_table("service_slot")
    _count_by("slot", "tenant", "app")
    op.drop_table("monitoring_run")
    op.drop_table("monitoring_alert")
