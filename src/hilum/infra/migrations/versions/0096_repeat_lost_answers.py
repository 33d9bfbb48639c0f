"""repeat token answers that were lost

A release before this one neither repeats an answer nor records that one has arrived; it works on this database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0096"
down_revision = "0094"
branch_labels = None
depends_on = None
compatible_from = "0094"


def upgrade() -> None:
    with op.batch_alter_table("token_family") as batch:
        batch.add_column(sa.Column("arrived_at", sa.BigInteger(), nullable=True))
        batch.add_column(sa.Column("repeated_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("token_family") as batch:
        batch.drop_column("repeated_at")
        batch.drop_column("arrived_at")
