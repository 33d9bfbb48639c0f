"""keep requests and their rules

An older release neither lists nor judges requests.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0034"
down_revision = "0033"
compatible_from = "0032"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "requests_acceptance",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("installation", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("left_out", sa.JSON(), nullable=False),
        sa.Column("accepted_by", sa.String(length=120), nullable=False),
        sa.Column("accepted_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests_acceptance")),
    )
    op.create_index(
        "ix_requests_acceptance_installation", "requests_acceptance", ["installation", "accepted_at"]
    )

    op.create_table(
        "requests_group",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("opened_at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("assigned_to", sa.String(length=64), nullable=False),
        sa.Column("attention", sa.String(length=40), nullable=False),
        sa.Column("decided_by", sa.String(length=120), nullable=False),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("installation", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("rules_version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests_group")),
    )
    op.create_index("ix_requests_group_app", "requests_group", ["tenant", "app", "decided_at"])
    op.create_index("ix_requests_group_decided", "requests_group", ["decided_at"])
    op.create_index("ix_requests_group_listed", "requests_group", ["tenant", "state", "id"])
    op.create_index("ix_requests_group_state", "requests_group", ["state", "id"])
    op.create_index(
        "uq_requests_group_open",
        "requests_group",
        ["tenant", "app"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )

    op.create_table(
        "requests_request",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("group", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("workflows", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("verdict", sa.JSON(), nullable=False),
        sa.Column("judged_by", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests_request")),
    )
    op.create_index("ix_requests_request_group", "requests_request", ["group", "id"])
    op.create_index("ix_requests_request_person", "requests_request", ["person", "id"])
    op.create_index("ix_requests_request_tenant", "requests_request", ["tenant", "id"])
    op.create_index(
        "uq_requests_request_open",
        "requests_request",
        ["group", "person"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )

    op.create_table(
        "requests_rules",
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("approver", sa.String(length=64), nullable=False),
        sa.Column("in_force_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "version", name=op.f("pk_requests_rules")),
    )


def downgrade() -> None:
    op.drop_table("requests_rules")
    op.drop_table("requests_request")
    op.drop_table("requests_group")
    op.drop_table("requests_acceptance")
