"""let evidence expire

Releases before this one leave the column empty in what they check, whose evidence is then judged at the decision only.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0082"
down_revision = "0081"
branch_labels = None
depends_on = None
compatible_from = "0062"

_ENDS = sa.text("evidence_ends IS NOT NULL")


def upgrade() -> None:
    op.add_column("review_submission", sa.Column("evidence_ends", Instant(), nullable=True))
    op.create_index(
        "ix_review_submission_evidence",
        "review_submission",
        ["evidence_ends"],
        sqlite_where=_ENDS,
        postgresql_where=_ENDS,
    )


def downgrade() -> None:
    op.drop_index("ix_review_submission_evidence", "review_submission")
    op.drop_column("review_submission", "evidence_ends")
