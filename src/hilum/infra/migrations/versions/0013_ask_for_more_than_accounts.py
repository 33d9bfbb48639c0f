"""let more than accounts wait for a second person, and keep the fhirUser of who left

An older release would let one person do alone what takes two from here on, so it does not work on this database. What waits goes on
waiting.

The account that was last a fhirUser keeps the claim to it after it is deactivated. Where nobody has the claim of an inactive account, the
newest one gets it.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
compatible_from = "0013"

_CLAIM = """
UPDATE identity_person SET fhir_user_claim = fhir_user
WHERE tenant <> '' AND fhir_user <> '' AND id = (
    SELECT MAX(last.id) FROM identity_person AS last
    WHERE last.tenant = identity_person.tenant AND last.fhir_user = identity_person.fhir_user AND NOT last.active
) AND NOT EXISTS (
    SELECT 1 FROM identity_person AS other
    WHERE other.tenant = identity_person.tenant AND other.fhir_user_claim = identity_person.fhir_user
)
"""
_WAITS = """
INSERT INTO approvals_approval (id, kind, tenant, target, act, before, sealed, asked_by, asked_at, expires_at, state, decided_by, decided_at)
SELECT id, kind, tenant, person, new_person, '{"own_of": []}', code_digest, asked_by, asked_at, expires_at, state, decided_by, decided_at
FROM enrolment_approval
"""
_WAITED = """
INSERT INTO enrolment_approval (id, kind, tenant, person, new_person, code_digest, asked_by, asked_at, expires_at, state, decided_by, decided_at)
SELECT id, kind, tenant, target, act, sealed, asked_by, asked_at, expires_at, state, decided_by, decided_at
FROM approvals_approval WHERE kind IN ('create', 'reset')
"""


def _table(name: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        name,
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        *columns,
        sa.Column("asked_by", sa.String(length=64), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("decided_by", sa.String(length=64), nullable=False),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
    )
    op.create_index(op.f(f"ix_{name}_state_id"), name, ["state", "id"])
    op.create_index(op.f(f"ix_{name}_tenant_state_id"), name, ["tenant", "state", "id"])


def upgrade() -> None:
    op.execute(_CLAIM)
    _table(
        "approvals_approval",
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("act", sa.JSON(), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.String(length=8_000), nullable=False),
    )
    op.execute(_WAITS)
    op.drop_table("enrolment_approval")


def downgrade() -> None:
    _table(
        "enrolment_approval",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("new_person", sa.JSON(), nullable=False),
        sa.Column("code_digest", sa.String(length=64), nullable=False),
    )
    op.execute(_WAITED)
    op.drop_table("approvals_approval")
    op.execute("UPDATE identity_person SET fhir_user_claim = NULL WHERE NOT active")
