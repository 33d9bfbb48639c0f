"""services say whom they reach in a day, and at which hours they call

A release before this one does not know these two, so a client that declares one of them is not as it was signed there, and unknown.
"""

import sqlalchemy as sa
from alembic import op

revision = "0092"
down_revision = "0091"
branch_labels = None
depends_on = None
compatible_from = "0089"


def upgrade() -> None:
    with op.batch_alter_table("registry_client") as batch:
        batch.add_column(sa.Column("patients_a_day", sa.Integer(), nullable=True))
        batch.add_column(sa.Column("hours", sa.String(length=40), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("registry_client") as batch:
        batch.drop_column("hours")
        batch.drop_column("patients_a_day")
