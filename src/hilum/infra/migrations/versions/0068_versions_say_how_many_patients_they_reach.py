"""versions say how many patients they reach

A release before this one reads no such declaration, and judges tiers without it: with a rule book whose rules ask for it, it reads no book.
"""

import sqlalchemy as sa
from alembic import op

revision = "0068"
down_revision = "0067"
compatible_from = "0062"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("registry_version") as batch:
        batch.add_column(sa.Column("population", sa.String(length=20), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("registry_version") as batch:
        batch.drop_column("population")
