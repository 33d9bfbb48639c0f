"""name the base that a FHIR server writes, and the hosts of attachments that apps may be shown

Of the tenants that there are neither is known: their servers write the base they are reached by, and no other host is shown.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
compatible_from = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("identity_tenant", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("upstream_public_url", sa.String(length=500), nullable=False, server_default="")
        )
        batch_op.add_column(sa.Column("attachment_hosts", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    with op.batch_alter_table("identity_tenant", schema=None) as batch_op:
        batch_op.drop_column("attachment_hosts")
        batch_op.drop_column("upstream_public_url")
