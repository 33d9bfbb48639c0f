"""keep the category in which a version was certified

Until now an app could not change its category, so it is the one that the app has. An older release would grant an app that has moved what only
its new category allows, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
compatible_from = "0022"

_AS_THE_APP = """
UPDATE registry_certification
SET category = (SELECT category FROM registry_app WHERE registry_app.id = registry_certification.app)
WHERE app IN (SELECT id FROM registry_app)
"""


def upgrade() -> None:
    with op.batch_alter_table("registry_certification", schema=None) as batch_op:
        batch_op.add_column(sa.Column("category", sa.String(length=64), nullable=False, server_default=""))
    op.execute(_AS_THE_APP)
    with op.batch_alter_table("registry_certification", schema=None) as batch_op:
        batch_op.alter_column("category", server_default=None, existing_type=sa.String(length=64))


def downgrade() -> None:
    with op.batch_alter_table("registry_certification", schema=None) as batch_op:
        batch_op.drop_column("category")
