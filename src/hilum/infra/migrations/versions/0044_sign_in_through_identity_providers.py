"""sign in through identity providers

An older release does not know what began such a session, and would let people use a password where their hospital forbids it, so it does
not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0044"
down_revision = "0043"
branch_labels = None
depends_on = None
compatible_from = "0044"


def upgrade() -> None:
    op.create_table(
        "federation_host",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.String(length=300), nullable=False),
        sa.Column("added_at", Instant(), nullable=False),
        sa.Column("added_by", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_federation_host")),
        sa.UniqueConstraint("origin", name=op.f("uq_federation_host_origin")),
    )
    op.create_table(
        "federation_link",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("issuer", sa.String(length=500), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("linked_at", Instant(), nullable=False),
        sa.Column("linked_by", sa.String(length=120), nullable=False),
        sa.Column("seen_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_federation_link")),
        sa.UniqueConstraint("issuer", "person", name=op.f("uq_federation_link_issuer_person")),
        sa.UniqueConstraint(
            "tenant", "issuer", "subject", name=op.f("uq_federation_link_tenant_issuer_subject")
        ),
    )
    with op.batch_alter_table("federation_link", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_federation_link_person"), ["person"], unique=False)
        batch_op.create_index(batch_op.f("ix_federation_link_tenant_id"), ["tenant", "id"], unique=False)

    op.create_table(
        "federation_provider",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("secret_sealed", sa.String(length=4000), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("changed_by", sa.String(length=120), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_federation_provider")),
    )
    with op.batch_alter_table("federation_provider", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_federation_provider_tenant_id"), ["tenant", "id"], unique=False)

    op.create_table(
        "federation_session",
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=500), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("sid", sa.String(length=255), nullable=False),
        sa.Column("hint_sealed", sa.String(length=50000), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("session", name=op.f("pk_federation_session")),
    )
    with op.batch_alter_table("federation_session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_federation_session_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_federation_session_provider_sid"), ["provider", "sid"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_federation_session_provider_subject"), ["provider", "subject"], unique=False
        )

    op.create_table(
        "federation_used",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_federation_used")),
    )
    with op.batch_alter_table("federation_used", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_federation_used_until"), ["until"], unique=False)

    op.create_table(
        "signin_password_rule",
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", name=op.f("pk_signin_password_rule")),
    )
    with op.batch_alter_table("signin_session", schema=None) as batch_op:
        batch_op.add_column(sa.Column("authenticated_at", Instant(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("signin_session", schema=None) as batch_op:
        batch_op.drop_column("authenticated_at")

    op.drop_table("signin_password_rule")
    with op.batch_alter_table("federation_used", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_federation_used_until"))

    op.drop_table("federation_used")
    with op.batch_alter_table("federation_session", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_federation_session_provider_subject"))
        batch_op.drop_index(batch_op.f("ix_federation_session_provider_sid"))
        batch_op.drop_index(batch_op.f("ix_federation_session_expires_at"))

    op.drop_table("federation_session")
    with op.batch_alter_table("federation_provider", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_federation_provider_tenant_id"))

    op.drop_table("federation_provider")
    with op.batch_alter_table("federation_link", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_federation_link_tenant_id"))
        batch_op.drop_index(batch_op.f("ix_federation_link_person"))

    op.drop_table("federation_link")
    op.drop_table("federation_host")
