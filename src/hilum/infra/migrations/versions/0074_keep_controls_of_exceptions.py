"""keep what is done instead of an exception

Those of before state nothing. A release before this one makes exceptions without it, and lets none with it count.
"""

import sqlalchemy as sa
from alembic import op

revision = "0074"
down_revision = "0073"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    with op.batch_alter_table("policies_exception", schema=None) as batch_op:
        batch_op.add_column(sa.Column("control", sa.Text(), server_default="", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("policies_exception", schema=None) as batch_op:
        batch_op.drop_column("control")
