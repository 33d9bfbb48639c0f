"""keep what versions declare, and the tier of a certification for each way in which clients authenticate

Versions that are there declare nothing, which counts as every workflow and placement. What was certified counts for every client, as before.
An older release would not hold the rules about workflows and placements, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
compatible_from = "0017"

_FOR_EACH_WAY = """
UPDATE registry_certification
SET tiers = 'none=' || tier || ' client_secret_basic=' || tier || ' private_key_jwt=' || tier
"""


def upgrade() -> None:
    with op.batch_alter_table("registry_version", schema=None) as batch_op:
        batch_op.add_column(sa.Column("workflows", sa.Text(), nullable=False, server_default="*"))
        batch_op.add_column(sa.Column("placements", sa.Text(), nullable=False, server_default="*"))
    with op.batch_alter_table("registry_certification", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tiers", sa.String(length=200), nullable=False, server_default=""))
    op.execute(_FOR_EACH_WAY)
    with op.batch_alter_table("registry_certification", schema=None) as batch_op:
        batch_op.alter_column("tiers", server_default=None, existing_type=sa.String(length=200))
        batch_op.drop_column("tier")


def downgrade() -> None:
    with op.batch_alter_table("registry_certification", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tier", sa.String(length=20), nullable=False, server_default="low"))
        batch_op.drop_column("tiers")
    with op.batch_alter_table("registry_version", schema=None) as batch_op:
        batch_op.drop_column("placements")
        batch_op.drop_column("workflows")
