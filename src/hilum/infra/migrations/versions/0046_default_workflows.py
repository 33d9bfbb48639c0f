"""default workflows

An older release would open an app for everything where a hospital limits it to a workflow, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None
compatible_from = "0046"


def upgrade() -> None:
    op.add_column(
        "registry_installation",
        sa.Column("default_workflow", sa.String(length=64), nullable=False, server_default=""),
    )


def downgrade() -> None:
    with op.batch_alter_table("registry_installation") as batch:
        batch.drop_column("default_workflow")
