"""index the accesses, and events by what was done

The index starts empty and is filled by a job; until it has come far enough the journals are searched as before.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
compatible_from = "0007"

WORDS = ("tenant", "app", "client", "person", "launch", "authorization", "run", "reason")
INDEXES = {
    "at": ["at"],
    "tenant": ["tenant", "at"],
    "tenant_app": ["tenant", "app", "at"],
    "app": ["app", "at"],
    "client": ["client", "at"],
    "person": ["person", "at"],
    "patient": ["patient", "at"],
    "launch": ["launch"],
    "authorization": ["authorization"],
    "run": ["run"],
    "reason": ["reason", "at"],
}


def upgrade() -> None:
    op.create_table(
        "access_index",
        sa.Column("journal", sa.String(length=10), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        *(sa.Column(word, sa.BigInteger(), nullable=False) for word in WORDS),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("patient", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("journal", "number", name=op.f("pk_access_index")),
    )
    for name, columns in INDEXES.items():
        op.create_index(f"ix_access_index_{name}", "access_index", columns)
    op.create_table(
        "access_indexed",
        sa.Column("journal", sa.String(length=10), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("journal", name=op.f("pk_access_indexed")),
    )
    op.create_index("ix_audit_event_app_action", "audit_event", ["app", "action", "at"])
    op.create_index("ix_audit_event_action", "audit_event", ["action", "at"])


def downgrade() -> None:
    op.drop_index("ix_audit_event_action", table_name="audit_event")
    op.drop_index("ix_audit_event_app_action", table_name="audit_event")
    op.drop_table("access_indexed")
    op.drop_table("access_index")
