"""say of which category an app is, and of which tier its certifications are

Apps that are there are unclassified, and what was certified counts up to the highest tier, so nothing changes for them. An older release
would not keep the rule book, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
compatible_from = "0015"


def upgrade() -> None:
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("category", sa.String(length=64), nullable=False, server_default="unclassified")
        )
    with op.batch_alter_table("registry_certification", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tier", sa.String(length=20), nullable=False, server_default="high"))


def downgrade() -> None:
    with op.batch_alter_table("registry_certification", schema=None) as batch_op:
        batch_op.drop_column("tier")
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.drop_column("category")
