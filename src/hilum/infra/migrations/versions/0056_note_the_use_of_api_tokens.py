"""note the use of API tokens"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None
compatible_from = "0054"


def upgrade() -> None:
    with op.batch_alter_table("signin_api_token") as batch:
        batch.add_column(sa.Column("last_used_at", Instant(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("signin_api_token") as batch:
        batch.drop_column("last_used_at")
