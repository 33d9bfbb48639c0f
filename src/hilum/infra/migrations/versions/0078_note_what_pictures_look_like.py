"""note what pictures look like

A picture of before is looked at by a job. A release before this one compares none, and shows an edit without what its logo looks like.
"""

import sqlalchemy as sa
from alembic import op

revision = "0078"
down_revision = "0077"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    with op.batch_alter_table("pictures_picture", schema=None) as batch_op:
        batch_op.add_column(sa.Column("look", sa.String(length=240), nullable=True))
    with op.batch_alter_table("registry_app_edit", schema=None) as batch_op:
        batch_op.add_column(sa.Column("resembles", sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("registry_app_edit", schema=None) as batch_op:
        batch_op.drop_column("resembles")
    with op.batch_alter_table("pictures_picture", schema=None) as batch_op:
        batch_op.drop_column("look")
