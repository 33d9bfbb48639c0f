"""keep agreements of vendors with hospitals

An older release requires none.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0030"
down_revision = "0029"
compatible_from = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agreements_agreement",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("entity", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("parties", sa.JSON(), nullable=False),
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.Column("effective_at", Instant(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=True),
        sa.Column("recorded_by", sa.String(length=120), nullable=False),
        sa.Column("recorded_for", sa.String(length=20), nullable=False),
        sa.Column("recorded_at", Instant(), nullable=False),
        sa.Column("confirmed_by", sa.String(length=120), nullable=False),
        sa.Column("confirmed_at", Instant(), nullable=True),
        sa.Column("ended_by", sa.String(length=120), nullable=False),
        sa.Column("end_reason", sa.Text(), nullable=False),
        sa.Column("finding_since", Instant(), nullable=True),
        sa.Column("due_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreements_agreement")),
    )
    for columns in (["due_at"], ["tenant", "id"], ["tenant", "vendor"], ["vendor", "id"]):
        op.create_index("_".join(("ix_agreements_agreement", *columns)), "agreements_agreement", columns)
    finding = sa.text("finding_since IS NOT NULL")
    op.create_index(
        "ix_agreements_agreement_finding",
        "agreements_agreement",
        ["id"],
        sqlite_where=finding,
        postgresql_where=finding,
    )


def downgrade() -> None:
    op.drop_table("agreements_agreement")
