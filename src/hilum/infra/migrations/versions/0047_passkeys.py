"""passkeys

An older release would take a person with a passkey only for one without a second factor, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None
compatible_from = "0047"


def upgrade() -> None:
    op.create_table(
        "factors_passkey",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("credential", sa.String(length=1400), nullable=False),
        sa.Column("public_key", sa.String(length=2000), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_factors_passkey")),
    )
    op.create_index("ix_factors_passkey_person", "factors_passkey", ["person"])
    op.create_table(
        "factors_challenge",
        sa.Column("holder", sa.String(length=64), nullable=False),
        sa.Column("ceremony", sa.String(length=10), nullable=False),
        sa.Column("challenge", sa.String(length=64), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("holder", "ceremony", name=op.f("pk_factors_challenge")),
    )
    op.create_index("ix_factors_challenge_expires_at", "factors_challenge", ["expires_at"])


def downgrade() -> None:
    op.drop_table("factors_challenge")
    op.drop_table("factors_passkey")
