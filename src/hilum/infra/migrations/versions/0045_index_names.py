"""index names

Apps, vendors and clients are found by their exact names, as people type them.
"""

from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None
compatible_from = "0044"

TABLES = ("registry_app", "registry_client", "registry_vendor")


def upgrade() -> None:
    for table in TABLES:
        op.create_index(f"ix_{table}_name", table, ["name"])


def downgrade() -> None:
    for table in TABLES:
        op.drop_index(f"ix_{table}_name", table)
