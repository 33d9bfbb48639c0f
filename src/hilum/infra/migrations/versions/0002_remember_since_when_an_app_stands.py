"""remember since when an app stands, and what of the registry changed

An app that was active before is taken to have been so since it was made: its tokens stay what they were.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0002"
down_revision = "0001"
compatible_from = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.add_column(sa.Column("active_since", Instant(), nullable=True))
    op.execute("UPDATE registry_app SET active_since = created_at")
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.alter_column("active_since", existing_type=Instant(), nullable=False)
    op.create_table(
        "registry_change",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("n", "tenant", "app", name=op.f("pk_registry_change")),
    )
    with op.batch_alter_table("registry_client", schema=None) as batch_op:
        batch_op.add_column(sa.Column("adopted_at", Instant(), nullable=True))
        batch_op.add_column(sa.Column("certified_before", Instant(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("registry_client", schema=None) as batch_op:
        batch_op.drop_column("certified_before")
        batch_op.drop_column("adopted_at")
    op.drop_table("registry_change")
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.drop_column("active_since")
