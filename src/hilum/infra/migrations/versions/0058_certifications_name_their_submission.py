"""certifications name their submission

What a submission is certified by is signed with it, so a release before this one, which does not know the column, would take the
certification for one that was not signed.
"""

import sqlalchemy as sa
from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None
compatible_from = "0058"


def upgrade() -> None:
    for table, column in (("registry_certification", "submission"), ("review_submission", "certification")):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column(column, sa.String(length=64), nullable=False, server_default=""))
        with op.batch_alter_table(table) as batch:
            batch.alter_column(column, server_default=None)


def downgrade() -> None:
    with op.batch_alter_table("review_submission") as batch:
        batch.drop_column("certification")
    with op.batch_alter_table("registry_certification") as batch:
        batch.drop_column("submission")
