"""keep what hospitals share of their approvals

Releases before this one neither read nor write the table; nothing is shared by them.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0072"
down_revision = "0071"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    op.create_table(
        "precedents_sharing",
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("shares", sa.Boolean(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.String(length=120), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "app", name=op.f("pk_precedents_sharing")),
    )
    op.create_index("ix_precedents_sharing_app", "precedents_sharing", ["app", "shares", "tenant"])


def downgrade() -> None:
    op.drop_table("precedents_sharing")
