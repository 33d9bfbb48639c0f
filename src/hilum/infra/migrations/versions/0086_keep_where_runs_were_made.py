"""keep where certification runs were made

Releases before this one open runs without it; where those were made is not known.
"""

import sqlalchemy as sa
from alembic import op

revision = "0086"
down_revision = "0085"
branch_labels = None
depends_on = None
compatible_from = "0062"


def upgrade() -> None:
    op.add_column("evidence_run", sa.Column("ground", sa.JSON(), server_default="{}", nullable=False))
    # Of what a snapshot had been changed by then nothing is known any more.
    op.execute(
        """UPDATE evidence_run SET ground = '{"own": true}'
        WHERE tenant IN (SELECT id FROM identity_tenant WHERE vendor IS NOT NULL)"""
    )
    op.execute(
        """UPDATE evidence_run SET ground = '{"own": false}'
        WHERE tenant NOT IN (SELECT id FROM identity_tenant WHERE vendor IS NOT NULL)"""
    )


def downgrade() -> None:
    op.drop_column("evidence_run", "ground")
