"""find requests that wait by when they began

Releases before this one read and write the same rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0090"
down_revision = "0089"
branch_labels = None
depends_on = None
compatible_from = "0089"


def upgrade() -> None:
    open_ = sa.text("state = 'open'")
    op.create_index(
        "ix_requests_group_waiting",
        "requests_group",
        ["opened_at", "tenant"],
        sqlite_where=open_,
        postgresql_where=open_,
    )


def downgrade() -> None:
    op.drop_index("ix_requests_group_waiting", table_name="requests_group")
