"""backend services say how much they do in a day

A release before this one neither reads nor judges it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0079"
down_revision = "0078"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    with op.batch_alter_table("registry_client") as batch:
        batch.add_column(sa.Column("calls_a_day", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("writes_a_day", sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("registry_client") as batch:
        batch.drop_column("writes_a_day")
        batch.drop_column("calls_a_day")
