"""sign installations

A sheet has what is signed of some installations of a hospital. The sheets are written and signed at the next start, when the key is at hand. A release
before this one would add and change installations without a signature, which would not count, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0091"
down_revision = "0090"
branch_labels = None
depends_on = None
compatible_from = "0091"


def upgrade() -> None:
    op.create_table(
        "installations_sheet",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installations_sheet")),
    )


def downgrade() -> None:
    op.drop_table("installations_sheet")
