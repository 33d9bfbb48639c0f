"""keep people's mail addresses, hold edits of apps, and record since when an app has its purpose

An older release would show a link that is to be mailed, without asking for its code, and does not know that people are to be asked again,
so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None
compatible_from = "0039"


def upgrade() -> None:
    with op.batch_alter_table("identity_person", schema=None) as batch_op:
        batch_op.add_column(sa.Column("mail", sa.String(length=254), nullable=False, server_default=""))
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.add_column(sa.Column("purpose_since", Instant(), nullable=True))
    op.create_table(
        "registry_app_edit",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("order", sa.JSON(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("asked_by", sa.String(length=120), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("decided_by", sa.String(length=120), nullable=False),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("waiting_for", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_app_edit")),
        sa.UniqueConstraint("waiting_for", name=op.f("uq_registry_app_edit_waiting_for")),
    )
    op.create_index("ix_registry_app_edit_state_id", "registry_app_edit", ["state", "id"])
    op.create_index("ix_registry_app_edit_vendor_id", "registry_app_edit", ["vendor", "id"])


def downgrade() -> None:
    op.drop_table("registry_app_edit")
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.drop_column("purpose_since")
    with op.batch_alter_table("identity_person", schema=None) as batch_op:
        batch_op.drop_column("mail")
