"""give apps and hospitals logos, and hospitals a colour"""

import sqlalchemy as sa
from alembic import op

revision = "0061"
down_revision = "0060"
branch_labels = None
depends_on = None
compatible_from = "0060"


def upgrade() -> None:
    op.create_table(
        "pictures_picture",
        sa.Column("owner", sa.String(length=120), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("shown", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "digest", name=op.f("pk_pictures_picture")),
    )
    with op.batch_alter_table("identity_tenant") as batch:
        batch.add_column(sa.Column("colour", sa.String(length=7), nullable=False, server_default=""))
        batch.add_column(sa.Column("logo", sa.String(length=64), nullable=False, server_default=""))
    with op.batch_alter_table("registry_app") as batch:
        batch.add_column(sa.Column("logo", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    with op.batch_alter_table("registry_app") as batch:
        batch.drop_column("logo")
    with op.batch_alter_table("identity_tenant") as batch:
        batch.drop_column("logo")
        batch.drop_column("colour")
    op.drop_table("pictures_picture")
