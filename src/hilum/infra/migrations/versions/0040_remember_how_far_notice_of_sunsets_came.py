"""remember how far notice of sunsets came

Nothing that is there changes: an older release works on this database and gives no such notice.
"""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None
compatible_from = "0039"


def upgrade() -> None:
    op.create_table(
        "sunsets_walk",
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("phase", sa.String(length=20), nullable=False),
        sa.Column("after", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sunsets_walk")),
    )


def downgrade() -> None:
    op.drop_table("sunsets_walk")
