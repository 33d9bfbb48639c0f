"""keep until when documents hold and who reads them beside the documents

A release before this one reads documents of four parts, and keeps what is beside them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0084"
down_revision = "0083"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    op.add_column("review_submission", sa.Column("document_terms", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("review_submission", "document_terms")
