"""remember since when the age of an account counts

An account that was there before is as old as it is.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0003"
down_revision = "0002"
compatible_from = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("identity_person", schema=None) as batch_op:
        batch_op.add_column(sa.Column("age_counts_from", Instant(), nullable=True))
    op.execute("UPDATE identity_person SET age_counts_from = created_at")
    with op.batch_alter_table("identity_person", schema=None) as batch_op:
        batch_op.alter_column("age_counts_from", existing_type=Instant(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("identity_person", schema=None) as batch_op:
        batch_op.drop_column("age_counts_from")
