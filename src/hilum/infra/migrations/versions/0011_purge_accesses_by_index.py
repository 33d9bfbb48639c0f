"""find what the index of accesses must forget without looking at what it has forgotten

On SQLite the index lies in a file of its own, which gets this when it is next filled.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
compatible_from = "0007"


def upgrade() -> None:
    held = sa.text("patient IS NOT NULL")
    op.create_index("ix_access_index_purge", "access_index", ["at"], sqlite_where=held, postgresql_where=held)


def downgrade() -> None:
    op.drop_index("ix_access_index_purge", table_name="access_index")
