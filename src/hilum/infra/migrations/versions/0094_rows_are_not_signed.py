"""rows are not signed

What was signed row by row goes, with the keys that signed it (ADR 160). A release before this one ignores rows without a signature, so it does
not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0094"
down_revision = "0093"
branch_labels = None
depends_on = None
compatible_from = "0094"

SIGNED = ("policies_override", "policies_exception", "rollouts_plan", "evidence_contract")
KEYS = sa.text("DELETE FROM signing_key WHERE purpose IN ('registry', 'attestation')")


def upgrade() -> None:
    for table in (
        "installations_sheet",
        "attestations_leaf",
        "attestations_node",
        "attestations_head",
        "registry_attestation",
    ):
        op.drop_table(table)
    for table in SIGNED:
        with op.batch_alter_table(table) as batch:
            batch.drop_column("signature")
            batch.drop_column("kid")
    op.execute(KEYS)


def downgrade() -> None:
    for table in SIGNED:
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("kid", sa.String(length=64), nullable=False, server_default=""))
            batch.add_column(sa.Column("signature", sa.String(length=120), nullable=False, server_default=""))
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
    op.create_table(
        "attestations_head",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("root", sa.String(length=64), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_attestations_head")),
    )
    op.create_table(
        "attestations_node",
        sa.Column("place", sa.String(length=4), nullable=False),
        sa.Column("parent", sa.String(length=4), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_attestations_node")),
    )
    op.create_index(op.f("ix_attestations_node_parent"), "attestations_node", ["parent"])
    op.create_table(
        "attestations_leaf",
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("place", sa.String(length=4), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_attestations_leaf")),
    )
    op.create_index(op.f("ix_attestations_leaf_place"), "attestations_leaf", ["place"])
    op.create_table(
        "installations_sheet",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installations_sheet")),
    )
