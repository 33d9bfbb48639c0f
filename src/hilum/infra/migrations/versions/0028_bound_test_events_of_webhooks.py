"""bound test events of webhooks

Nothing that is there changes: an older release works on this database and does not count them.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None
compatible_from = "0026"


def upgrade() -> None:
    op.create_table(
        "notices_budget",
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("window_at", Instant(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_notices_budget")),
    )
    op.create_index("ix_notices_budget_window_at", "notices_budget", ["window_at"])


def downgrade() -> None:
    op.drop_table("notices_budget")
