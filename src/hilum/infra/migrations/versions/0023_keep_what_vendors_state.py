"""keep what vendors state about their apps, and the names in use by their look-alikes

An older release works on this database: it records no names, so that one registered by it may be imitated.
"""

import sqlalchemy as sa
from alembic import op

from hilum.standards.names import forms

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
compatible_from = "0022"


def upgrade() -> None:
    op.create_table(
        "registry_profile",
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("stated", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("app", name=op.f("pk_registry_profile")),
    )
    names = op.create_table(
        "registry_name",
        sa.Column("form", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("form", "vendor", "name", name=op.f("pk_registry_name")),
    )
    tx = op.get_bind()
    # Peers and dynamic clients exist at one tenant and are nobody's product.
    shared = "SELECT vendor, name FROM registry_app WHERE tenant IS NULL"
    of_vendors = "SELECT id, name FROM registry_vendor WHERE id IN (SELECT vendor FROM registry_app WHERE tenant IS NULL)"
    for query in (shared, of_vendors):
        for vendor, name in {(row[0], row[1]) for row in tx.execute(sa.text(query))}:
            rows = [{"form": form, "vendor": vendor, "name": name} for form in forms(name)]
            known = sa.text("SELECT 1 FROM registry_name WHERE vendor = :vendor AND name = :name")
            if tx.execute(known, {"vendor": vendor, "name": name}).first() is None:
                tx.execute(names.insert(), rows)


def downgrade() -> None:
    op.drop_table("registry_name")
    op.drop_table("registry_profile")
