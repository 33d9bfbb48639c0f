"""keep the language and the time zone of a hospital's pages

Releases before this one neither read nor write the columns.
"""

import sqlalchemy as sa
from alembic import op

revision = "0081"
down_revision = "0080"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    # Added without copying the table, whose index over an expression would not be copied.
    op.add_column("identity_tenant", sa.Column("language", sa.String(8), nullable=False, server_default=""))
    op.add_column("identity_tenant", sa.Column("time_zone", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("identity_tenant", "time_zone")
    op.drop_column("identity_tenant", "language")
