"""send urgent mail first

Releases before this one put notices without a priority, which is the ordinary one, and claim them by their time alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0097"
down_revision = "0096"
branch_labels = None
depends_on = None
compatible_from = "0096"


def upgrade() -> None:
    op.drop_index("ix_notices_notice_due", table_name="notices_notice")
    op.add_column("notices_notice", sa.Column("priority", sa.Integer(), nullable=False, server_default="1"))
    op.create_index("ix_notices_notice_due", "notices_notice", ["channel", "state", "priority", "next_at"])


def downgrade() -> None:
    op.drop_index("ix_notices_notice_due", table_name="notices_notice")
    with op.batch_alter_table("notices_notice") as batch:
        batch.drop_column("priority")
    op.create_index("ix_notices_notice_due", "notices_notice", ["channel", "state", "next_at"])
