"""find switches by their target, also those that are over

Releases before this one read and write the same rows.
"""

from alembic import op

revision = "0093"
down_revision = "0092"
branch_labels = None
depends_on = None
compatible_from = "0092"


def upgrade() -> None:
    op.create_index("ix_control_switch_kind_key_id", "control_switch", ["kind", "key", "id"])


def downgrade() -> None:
    op.drop_index("ix_control_switch_kind_key_id", table_name="control_switch")
