"""certificates that anybody verifies

Releases before this one make none, and work on.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0059"
down_revision = "0058"
compatible_from = "0058"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "certificate",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.String(length=20), nullable=False),
        sa.Column("app_name", sa.String(length=200), nullable=False),
        sa.Column("vendor_name", sa.String(length=200), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("tier", sa.String(length=20), nullable=False),
        sa.Column("issued_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("cause", sa.String(length=20), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate")),
    )
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.create_index("ix_certificate_app", ["app", "id"], unique=False)
        batch_op.create_index("ix_certificate_change", ["change"], unique=False)
        batch_op.create_index("ix_certificate_status", ["status", "expires_at"], unique=False)
        batch_op.create_index("ix_certificate_vendor", ["vendor", "id"], unique=False)
        batch_op.create_index("uq_certificate_number", ["number"], unique=True)

    op.create_table(
        "certificate_list",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_certificate_list")),
    )
    op.create_table(
        "certificate_walk",
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("after", sa.String(length=64), nullable=False),
        sa.Column("looked", sa.String(length=64), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("change", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_walk")),
    )


def downgrade() -> None:
    op.drop_table("certificate_walk")
    op.drop_table("certificate_list")
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.drop_index("uq_certificate_number")
        batch_op.drop_index("ix_certificate_vendor")
        batch_op.drop_index("ix_certificate_status")
        batch_op.drop_index("ix_certificate_change")
        batch_op.drop_index("ix_certificate_app")

    op.drop_table("certificate")
