"""keep the contacts of vendors, and how many mails a mailbox got

Nothing that is there changes: an older release works on this database and sends nothing.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
compatible_from = "0018"


def upgrade() -> None:
    op.create_table(
        "contacts_contact",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("address", sa.String(length=254), nullable=False),
        sa.Column("mailbox", sa.String(length=64), nullable=False),
        sa.Column("added_by", sa.String(length=120), nullable=False),
        sa.Column("added_at", Instant(), nullable=False),
        sa.Column("proved_at", Instant(), nullable=True),
        sa.Column("proof_ends_at", Instant(), nullable=True),
        sa.Column("lapsed_at", Instant(), nullable=True),
        sa.Column("declined_at", Instant(), nullable=True),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("link_digest", sa.String(length=64), nullable=False),
        sa.Column("link_issued_at", Instant(), nullable=True),
        sa.Column("link_expires_at", Instant(), nullable=True),
        sa.Column("reminded_for", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts_contact")),
        sa.UniqueConstraint(
            "vendor", "kind", "address", name=op.f("uq_contacts_contact_vendor_kind_address")
        ),
    )
    op.create_index("ix_contacts_contact_vendor", "contacts_contact", ["vendor", "id"])
    op.create_index("ix_contacts_contact_link", "contacts_contact", ["link_digest"])
    op.create_index("ix_contacts_contact_ends", "contacts_contact", ["lapsed_at", "proof_ends_at"])
    op.create_table(
        "contacts_budget",
        sa.Column("key", sa.String(length=80), nullable=False),
        sa.Column("window_at", Instant(), nullable=False),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_contacts_budget")),
    )
    op.create_index("ix_contacts_budget_window_at", "contacts_budget", ["window_at"])


def downgrade() -> None:
    op.drop_table("contacts_budget")
    op.drop_table("contacts_contact")
