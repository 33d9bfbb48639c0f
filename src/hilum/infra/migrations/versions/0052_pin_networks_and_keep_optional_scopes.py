"""pin the networks of backend clients, and keep which scopes a version can do without

An older release would let a backend service in from everywhere, so none of them serves on this database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None
compatible_from = "0052"


def upgrade() -> None:
    with op.batch_alter_table("registry_installation") as batch:
        batch.add_column(sa.Column("networks", sa.Text(), nullable=False, server_default=""))
    with op.batch_alter_table("registry_version") as batch:
        batch.add_column(sa.Column("optional_scopes", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("registry_version") as batch:
        batch.drop_column("optional_scopes")
    with op.batch_alter_table("registry_installation") as batch:
        batch.drop_column("networks")
