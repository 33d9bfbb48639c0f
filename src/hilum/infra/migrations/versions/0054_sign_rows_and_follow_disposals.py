"""sign what counts row by row, and follow requests for disposal

What the database has of signed rows is signed at the next start, when the key is at hand. Webhooks of before receive no requests for disposal
until two people have agreed to it. An older release would add rows without a signature, which would not count, send those requests to any
webhook, and does not know all of their causes, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None
compatible_from = "0054"

UNANSWERED = sa.text("answer = ''")
LATE = sa.text("answer = '' AND escalated_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "attestations_leaf",
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("place", sa.String(length=4), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_attestations_leaf")),
    )
    op.create_index(op.f("ix_attestations_leaf_place"), "attestations_leaf", ["place"])
    op.create_table(
        "attestations_node",
        sa.Column("place", sa.String(length=4), nullable=False),
        sa.Column("parent", sa.String(length=4), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_attestations_node")),
    )
    op.create_index(op.f("ix_attestations_node_parent"), "attestations_node", ["parent"])
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
    with op.batch_alter_table("notices_endpoint") as batch:
        batch.add_column(sa.Column("agreed_by", sa.String(length=120), nullable=False, server_default=""))
    with op.batch_alter_table("notices_endpoint") as batch:
        batch.alter_column("agreed_by", server_default=None)
    op.add_column("disposals_request", sa.Column("escalated_at", Instant(), nullable=True))
    for name, where in (("late", LATE), ("unanswered", UNANSWERED)):
        op.create_index(
            f"ix_disposals_request_{name}",
            "disposals_request",
            ["due_at"],
            sqlite_where=where,
            postgresql_where=where,
        )
    op.create_index(op.f("ix_registry_certification_expires_at"), "registry_certification", ["expires_at"])


def downgrade() -> None:
    op.drop_index(op.f("ix_registry_certification_expires_at"), table_name="registry_certification")
    op.drop_index("ix_disposals_request_unanswered", table_name="disposals_request")
    op.drop_index("ix_disposals_request_late", table_name="disposals_request")
    with op.batch_alter_table("disposals_request") as batch:
        batch.drop_column("escalated_at")
    with op.batch_alter_table("notices_endpoint") as batch:
        batch.drop_column("agreed_by")
    op.drop_table("attestations_head")
    op.drop_table("attestations_node")
    op.drop_table("attestations_leaf")
