"""list certified apps and remind

A release before this one reminds nobody of the certificates that it makes, and works on.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0065"
down_revision = "0064"
compatible_from = "0063"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "listing",
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("published", sa.Boolean(), nullable=False),
        sa.Column("by", sa.String(length=120), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("hidden", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("app", name=op.f("pk_listing")),
    )
    with op.batch_alter_table("listing", schema=None) as batch_op:
        batch_op.create_index(
            "ix_listing_published",
            ["app"],
            unique=False,
            sqlite_where=sa.text("published"),
            postgresql_where=sa.text("published"),
        )
        batch_op.create_index("ix_listing_vendor", ["vendor", "app"], unique=False)

    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.add_column(sa.Column("remind_at", Instant(), nullable=True))
        batch_op.create_index("ix_certificate_remind", ["remind_at"], unique=False)
    # The next run finds out what is due of each.
    op.execute("UPDATE certificate SET remind_at = issued_at")


def downgrade() -> None:
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.drop_index("ix_certificate_remind")
        batch_op.drop_column("remind_at")

    with op.batch_alter_table("listing", schema=None) as batch_op:
        batch_op.drop_index("ix_listing_vendor")
        batch_op.drop_index(
            "ix_listing_published", sqlite_where=sa.text("published"), postgresql_where=sa.text("published")
        )

    op.drop_table("listing")
