"""sum calls by hospital"""

from alembic import op

revision = "0080"
down_revision = "0079"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    op.create_index("ix_service_day_tenant", "service_day", ["tenant", "day"])


def downgrade() -> None:
    op.drop_index("ix_service_day_tenant", "service_day")
