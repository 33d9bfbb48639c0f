"""list delta reviews

An older release does not record them.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None
compatible_from = "0035"


def upgrade() -> None:
    op.create_table(
        "registry_delta_review",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("certification", sa.String(length=64), nullable=False),
        sa.Column("certified", sa.String(length=20), nullable=False),
        sa.Column("computed", sa.String(length=20), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("closed_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_delta_review")),
    )
    op.create_index(
        op.f("ix_registry_delta_review_app_closed_at"), "registry_delta_review", ["app", "closed_at"]
    )
    op.create_index(
        op.f("ix_registry_delta_review_closed_at_id"), "registry_delta_review", ["closed_at", "id"]
    )


def downgrade() -> None:
    op.drop_table("registry_delta_review")
