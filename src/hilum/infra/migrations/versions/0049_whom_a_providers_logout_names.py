"""whom a provider's logout names

An older release would not record by which name a provider ends a session, and would link again whom an administrator unlinked, so it
does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0049"
down_revision = "0048"
branch_labels = None
depends_on = None
compatible_from = "0049"


def upgrade() -> None:
    with op.batch_alter_table("federation_session") as batch:
        batch.add_column(sa.Column("sub", sa.String(length=255), nullable=False, server_default=""))
    # Of providers with another subject claim the sub is not known: those sessions end by their sid, or by themselves within hours.
    op.execute(sa.text("UPDATE federation_session SET sub = subject"))
    with op.batch_alter_table("federation_session") as batch:
        batch.alter_column("sub", server_default=None)
        batch.drop_index(batch.f("ix_federation_session_provider_subject"))
        batch.create_index(batch.f("ix_federation_session_provider_sub"), ["provider", "sub"], unique=False)
    op.create_table(
        "federation_unlinked",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_federation_unlinked")),
    )


def downgrade() -> None:
    op.drop_table("federation_unlinked")
    with op.batch_alter_table("federation_session") as batch:
        batch.drop_index(batch.f("ix_federation_session_provider_sub"))
        batch.create_index(
            batch.f("ix_federation_session_provider_subject"), ["provider", "subject"], unique=False
        )
        batch.drop_column("sub")
