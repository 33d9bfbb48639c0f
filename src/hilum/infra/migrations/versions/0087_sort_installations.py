"""index the orders of installations

Indexes only: releases before this one read and write the same rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0087"
down_revision = "0086"
branch_labels = None
depends_on = None
compatible_from = "0062"

TABLE = "registry_installation"
ENDS = "coalesce(expires_at, 9223372036854775807)"
INDEXES = (
    ("ix_registry_installation_tenant_ends", ("tenant", ENDS, "id")),
    ("ix_registry_installation_ends", (ENDS, "id")),
    ("ix_registry_installation_tenant_approved", ("tenant", "approved_at", "id")),
    ("ix_registry_installation_approved", ("approved_at", "id")),
)
STANDING = sa.text("removed_at IS NULL")


def upgrade() -> None:
    for name, columns in INDEXES:
        op.create_index(
            name,
            TABLE,
            [sa.text(each) if "(" in each else each for each in columns],
            sqlite_where=STANDING,
            postgresql_where=STANDING,
        )


def downgrade() -> None:
    for name, _ in INDEXES:
        op.drop_index(name, TABLE)
