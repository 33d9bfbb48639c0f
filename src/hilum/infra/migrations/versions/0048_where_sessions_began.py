"""where sessions began, and when passwords were last used

Sessions of before have neither network nor browser and are accepted anywhere until they end, within half a day. An older release
would accept a session anywhere, so it does not work on this database.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0048"
down_revision = "0047"
branch_labels = None
depends_on = None
compatible_from = "0048"


def upgrade() -> None:
    with op.batch_alter_table("signin_session") as batch:
        batch.add_column(sa.Column("network", sa.String(length=64), nullable=False, server_default=""))
        batch.add_column(sa.Column("browser", sa.String(length=40), nullable=False, server_default=""))
    with op.batch_alter_table("signin_password") as batch:
        batch.add_column(sa.Column("used_at", Instant(), nullable=True))
    # Nobody knows when older passwords were last used: each gets a full period from the upgrade on, or accounts that are in use
    # would be dormant at once.
    now = {
        "sqlite": sa.text("CAST(strftime('%s', 'now') AS INTEGER) * 1000000"),
        "postgresql": sa.text("CAST(extract(epoch from now()) * 1000000 AS BIGINT)"),
    }
    passwords = sa.table("signin_password", sa.column("used_at"))
    op.execute(passwords.update().values(used_at=now[op.get_bind().dialect.name]))


def downgrade() -> None:
    with op.batch_alter_table("signin_password") as batch:
        batch.drop_column("used_at")
    with op.batch_alter_table("signin_session") as batch:
        batch.drop_column("browser")
        batch.drop_column("network")
