"""since when people are asked again

An older release would not ask anybody again after a change of terms or an incident, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None
compatible_from = "0053"


def upgrade() -> None:
    op.add_column("registry_app", sa.Column("ask_again_since", Instant(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("registry_app") as batch:
        batch.drop_column("ask_again_since")
