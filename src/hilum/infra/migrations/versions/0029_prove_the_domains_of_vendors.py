"""prove the domains of vendors

Nothing that is there changes: an older release works on this database and renews no proof.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None
compatible_from = "0026"


def upgrade() -> None:
    op.create_table(
        "contacts_domain",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=253), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("added_by", sa.String(length=120), nullable=False),
        sa.Column("added_at", Instant(), nullable=False),
        sa.Column("proved_at", Instant(), nullable=True),
        sa.Column("proof_ends_at", Instant(), nullable=True),
        sa.Column("lapsed_at", Instant(), nullable=True),
        sa.Column("checked_at", Instant(), nullable=True),
        sa.Column("fault", sa.String(length=64), nullable=False),
        sa.Column("next_check_at", Instant(), nullable=True),
        sa.Column("warned_for", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts_domain")),
        sa.UniqueConstraint("vendor", "name", name=op.f("uq_contacts_domain_vendor_name")),
    )
    op.create_index("ix_contacts_domain_vendor", "contacts_domain", ["vendor", "id"])
    op.create_index("ix_contacts_domain_renewal", "contacts_domain", ["next_check_at"])
    op.create_index("ix_contacts_domain_ends", "contacts_domain", ["lapsed_at", "proof_ends_at"])


def downgrade() -> None:
    op.drop_table("contacts_domain")
