"""offer apps to other vendors, and record since when an app has its vendor

An older release does not know that agreements and installations of before a transfer count no more, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None
compatible_from = "0026"


def upgrade() -> None:
    op.create_table(
        "registry_transfer",
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("to", sa.String(length=64), nullable=False),
        sa.Column("asked_by", sa.String(length=120), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("app", name=op.f("pk_registry_transfer")),
    )
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.add_column(sa.Column("owner_since", Instant(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.drop_column("owner_since")
    op.drop_table("registry_transfer")
