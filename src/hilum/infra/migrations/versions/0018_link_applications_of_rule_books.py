"""link each application of the rule book to the one before it, and sign all of both tables

What was added and applied before is not signed in full and cannot be signed here, without the key. It is deleted, and the next start
adopts the shipped rule book. No release had these tables. An older release could not verify what this one signs, so it does not work on
this database.
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
compatible_from = "0018"


def upgrade() -> None:
    _clear()
    with op.batch_alter_table("policies_application", schema=None) as batch_op:
        batch_op.add_column(sa.Column("previous", sa.String(length=64), nullable=False))


def downgrade() -> None:
    _clear()
    with op.batch_alter_table("policies_application", schema=None) as batch_op:
        batch_op.drop_column("previous")


def _clear() -> None:
    op.execute("DELETE FROM policies_application")
    op.execute("DELETE FROM policies_version")
    # A signing key without a rule book would mean that one was deleted.
    op.execute("DELETE FROM signing_key WHERE purpose = 'policy'")
