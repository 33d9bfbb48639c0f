"""claim places of snapshots while they are made or reset

A release before this one makes and resets without a claim: of two at one moment, one at each release, the later one may still copy records over the
other's.
"""

import sqlalchemy as sa
from alembic import op

revision = "0088"
down_revision = "0087"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    claim = sa.Column("claim", sa.String(length=64), server_default="", nullable=False)
    op.add_column("snapshots_snapshot", claim)


def downgrade() -> None:
    op.drop_column("snapshots_snapshot", "claim")
