"""hold edits of certified clients

An older release works on this database; it has no edits.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0025"
down_revision = "0024"
compatible_from = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "registry_client_change",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=100), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.String(length=32), nullable=False),
        sa.Column("order", sa.JSON(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("asked_by", sa.String(length=120), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("decided_by", sa.String(length=120), nullable=False),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("waiting_for", sa.String(length=100), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_client_change")),
        sa.UniqueConstraint("waiting_for", name=op.f("uq_registry_client_change_waiting_for")),
    )
    with op.batch_alter_table("registry_client_change", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_registry_client_change_state_id"), ["state", "id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_registry_client_change_vendor_id"), ["vendor", "id"], unique=False
        )


def downgrade() -> None:
    with op.batch_alter_table("registry_client_change", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_registry_client_change_vendor_id"))
        batch_op.drop_index(batch_op.f("ix_registry_client_change_state_id"))

    op.drop_table("registry_client_change")
