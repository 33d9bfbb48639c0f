"""record when clients' secrets and keys were last used

Nothing that is there changes: an older release works on this database and records no use.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None
compatible_from = "0039"


def upgrade() -> None:
    op.create_table(
        "registry_credential_use",
        sa.Column("client", sa.String(length=100), nullable=False),
        sa.Column("credential", sa.String(length=64), nullable=False),
        sa.Column("first_used_at", Instant(), nullable=False),
        sa.Column("last_used_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("client", "credential", name=op.f("pk_registry_credential_use")),
    )
    op.create_index("ix_registry_credential_use_first_used_at", "registry_credential_use", ["first_used_at"])
    with op.batch_alter_table("registry_client_secret", schema=None) as batch_op:
        batch_op.add_column(sa.Column("created_at", Instant(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("registry_client_secret", schema=None) as batch_op:
        batch_op.drop_column("created_at")
    op.drop_table("registry_credential_use")
