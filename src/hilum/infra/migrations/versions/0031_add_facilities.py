"""add facilities

An older release would let an app in that a facility is closed to, so none of them serves on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None
compatible_from = "0031"

OPEN, REMOVED = sa.text("removed_at IS NULL"), sa.text("removed_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "identity_facility",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("legal_entity", sa.String(length=200), nullable=False),
        sa.Column("reference", sa.String(length=100), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("created_by", sa.String(length=120), nullable=False),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("removed_by", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_facility")),
    )
    for name, columns in (
        ("uq_identity_facility_name", ["tenant", "name"]),
        ("uq_identity_facility_reference", ["tenant", "reference"]),
    ):
        op.create_index(
            name, "identity_facility", columns, unique=True, sqlite_where=OPEN, postgresql_where=OPEN
        )
    op.create_index(
        "ix_identity_facility_listed",
        "identity_facility",
        ["tenant", "id"],
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_index("ix_identity_facility_reference", "identity_facility", ["tenant", "reference"])
    op.create_index(
        "ix_identity_facility_removed",
        "identity_facility",
        ["removed_at"],
        sqlite_where=REMOVED,
        postgresql_where=REMOVED,
    )
    op.add_column("registry_installation", sa.Column("facilities", sa.Text(), nullable=True))
    op.add_column("registry_installation", sa.Column("denied", sa.Text(), nullable=False, server_default=""))
    op.add_column("registry_installation", sa.Column("record", sa.JSON(), nullable=True))
    op.add_column("registry_installation", sa.Column("validated_at", Instant(), nullable=True))
    op.add_column(
        "registry_installation",
        sa.Column("validated_by", sa.String(length=120), nullable=False, server_default=""),
    )
    op.add_column("launch", sa.Column("facility", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("launch", "facility")
    for name in ("validated_by", "validated_at", "record", "denied", "facilities"):
        op.drop_column("registry_installation", name)
    op.drop_table("identity_facility")
