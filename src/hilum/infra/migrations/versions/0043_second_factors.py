"""second factors

An older release would sign people in without the second factor that they have set up, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None
compatible_from = "0043"


def upgrade() -> None:
    op.create_table(
        "factors_recovery",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("used_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("person", "digest", name=op.f("pk_factors_recovery")),
    )
    op.create_table(
        "factors_totp",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.String(length=200), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_factors_totp")),
    )
    op.create_table(
        "signin_pending",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("step", sa.String(length=10), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_signin_pending")),
    )
    op.create_index("ix_signin_pending_expires_at", "signin_pending", ["expires_at"])
    op.create_index("ix_signin_pending_person_created_at", "signin_pending", ["person", "created_at"])
    for table in ("signin_api_token", "signin_session"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("factor_at", Instant(), nullable=True))


def downgrade() -> None:
    for table in ("signin_session", "signin_api_token"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("factor_at")
    op.drop_table("signin_pending")
    op.drop_table("factors_totp")
    op.drop_table("factors_recovery")
