"""keep versions of the rule book, and when which of them was put in force

An older release could not read what waits for a second person here, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
compatible_from = "0014"


def upgrade() -> None:
    op.create_table(
        "policies_version",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("added_by", sa.String(length=120), nullable=False),
        sa.Column("added_at", Instant(), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_policies_version")),
    )
    op.create_table(
        "policies_application",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("tenants", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("applied_by", sa.String(length=120), nullable=False),
        sa.Column("applied_at", Instant(), nullable=False),
        sa.Column("agreed_by", sa.String(length=120), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_policies_application")),
    )
    op.create_index("ix_policies_application_version", "policies_application", ["version", "number"])


def downgrade() -> None:
    op.drop_table("policies_application")
    op.drop_table("policies_version")
