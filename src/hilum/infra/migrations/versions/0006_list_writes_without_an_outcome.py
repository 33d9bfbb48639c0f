"""list writes without an outcome, and the creates that may not be repeated yet"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0006"
down_revision = "0005"
compatible_from = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_intent",
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("writer", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_access_intent")),
    )
    op.create_table(
        "access_claim",
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_access_claim")),
    )
    op.create_index("ix_access_claim_request", "access_claim", ["request_id"])
    op.create_index(op.f("ix_access_claim_at"), "access_claim", ["at"])


def downgrade() -> None:
    op.drop_table("access_claim")
    op.drop_table("access_intent")
