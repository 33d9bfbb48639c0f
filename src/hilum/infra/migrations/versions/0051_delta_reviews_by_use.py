"""delta reviews by use

An older release would close the reviews that the use of an app asks for, and open them again never, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0051"
down_revision = "0050"
branch_labels = None
depends_on = None
compatible_from = "0051"


def upgrade() -> None:
    with op.batch_alter_table("registry_delta_review") as batch:
        batch.add_column(sa.Column("source", sa.String(length=20), nullable=False, server_default="book"))
    with op.batch_alter_table("registry_delta_review") as batch:
        batch.alter_column("source", server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("registry_delta_review") as batch:
        batch.drop_column("source")
