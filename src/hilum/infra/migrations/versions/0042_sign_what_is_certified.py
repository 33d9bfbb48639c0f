"""sign what is certified

What the database has of it is signed at the next start, when the key is at hand. An older release would certify without a signature, so it
does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None
compatible_from = "0042"


def upgrade() -> None:
    op.create_table(
        "registry_attestation",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("category", sa.String(length=64), nullable=False),
        sa.Column("after", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_registry_attestation")),
    )
    op.create_index("ix_registry_attestation_app_number", "registry_attestation", ["app", "number"])


def downgrade() -> None:
    op.drop_table("registry_attestation")
