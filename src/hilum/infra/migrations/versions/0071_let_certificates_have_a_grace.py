"""let certificates have a grace

For releases before this one a certificate in its grace is one that has expired.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0071"
down_revision = "0070"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.add_column(sa.Column("grace_until", Instant(), nullable=True))
        batch_op.create_index("ix_certificate_grace", ["grace_until"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("certificate", schema=None) as batch_op:
        batch_op.drop_index("ix_certificate_grace")
        batch_op.drop_column("grace_until")
