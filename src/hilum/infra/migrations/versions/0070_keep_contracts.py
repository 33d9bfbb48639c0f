"""keep contracts, and at which hospitals calls beyond them were seen

Releases before this one neither read nor write the tables; what they certify has no contract.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0070"
down_revision = "0069"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    op.create_table(
        "evidence_contract",
        sa.Column("certification", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("submission", sa.String(length=64), nullable=False),
        sa.Column("submitted", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("result", sa.String(length=64), nullable=False),
        sa.Column("shapes", sa.JSON(), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("certification", name=op.f("pk_evidence_contract")),
    )
    op.create_table(
        "revalidation_place",
        sa.Column("finding", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("finding", "tenant", name=op.f("pk_revalidation_place")),
    )
    op.create_index("ix_revalidation_place_tenant", "revalidation_place", ["tenant", "finding"])


def downgrade() -> None:
    op.drop_table("revalidation_place")
    op.drop_table("evidence_contract")
