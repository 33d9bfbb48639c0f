"""find accesses by the patients whom their answers showed

On SQLite the index lies in a file of its own, which gets this when it is next filled. Releases before this one neither read nor write the
table: what they index meanwhile is found by the one patient of a record only.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0077"
down_revision = "0076"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    op.create_table(
        "access_found",
        sa.Column("patient", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("journal", sa.String(length=10), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("patient", "at", "journal", "number", name=op.f("pk_access_found")),
    )
    op.create_index("ix_access_found_at", "access_found", ["at"])


def downgrade() -> None:
    op.drop_table("access_found")
