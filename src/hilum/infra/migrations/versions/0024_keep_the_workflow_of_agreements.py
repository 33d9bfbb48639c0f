"""keep the workflow of agreements

Those that are there were made for no workflow in particular, and go on. An older release would let an agreement for one workflow reach what
is outside it, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
compatible_from = "0024"


def upgrade() -> None:
    with op.batch_alter_table("authorization", schema=None) as batch_op:
        batch_op.add_column(sa.Column("workflow", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("authorization", schema=None) as batch_op:
        batch_op.drop_column("workflow")
