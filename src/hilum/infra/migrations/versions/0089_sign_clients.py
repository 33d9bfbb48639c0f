"""sign clients, and whose their apps are

Nothing changes in the tables: what the database has of clients is signed at the next start, when the key is at hand. A release before this one
would add and change clients without a signature, which would not count, so it does not work on this database.
"""

revision = "0089"
down_revision = "0088"
branch_labels = None
depends_on = None
compatible_from = "0089"


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
