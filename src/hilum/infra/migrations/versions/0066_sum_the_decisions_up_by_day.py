"""sum the decisions up by day

The counting job adds up what was counted before. On SQLite they are counted in a file beside the journals, and ``decision_day`` stays empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0066"
down_revision = "0065"
branch_labels = None
depends_on = None
compatible_from = "0059"


def upgrade() -> None:
    op.create_table(
        "decision_day",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_decision_day")),
    )


def downgrade() -> None:
    op.drop_table("decision_day")
