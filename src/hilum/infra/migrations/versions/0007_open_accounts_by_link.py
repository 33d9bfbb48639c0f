"""open accounts by one-time link, with a second person, and let a proxy's charts end

An older release would add people without what this one needs, so it does not work on this database.

Of several active people of a tenant with one fhirUser, the first keeps the claim to it; the others stay, and `hilum doctor` lists them.
"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0007"
down_revision = "0006"
compatible_from = "0007"
branch_labels = None
depends_on = None

_CLAIM = """
UPDATE identity_person SET fhir_user_claim = fhir_user
WHERE active AND tenant <> '' AND fhir_user <> '' AND id = (
    SELECT MIN(first.id) FROM identity_person AS first
    WHERE first.tenant = identity_person.tenant AND first.fhir_user = identity_person.fhir_user AND first.active
)
"""


def upgrade() -> None:
    with op.batch_alter_table("identity_person", schema=None) as batch_op:
        batch_op.add_column(sa.Column("fhir_user_claim", sa.String(length=100), nullable=True))
        batch_op.add_column(sa.Column("chart_ends", sa.JSON(), nullable=True))
        batch_op.create_index(batch_op.f("ix_identity_person_tenant_fhir_user"), ["tenant", "fhir_user"])
    op.execute("UPDATE identity_person SET chart_ends = '[]'")
    op.execute(_CLAIM)
    with op.batch_alter_table("identity_person", schema=None) as batch_op:
        batch_op.alter_column("chart_ends", existing_type=sa.JSON(), nullable=False)
        batch_op.create_unique_constraint(
            batch_op.f("uq_identity_person_tenant_fhir_user_claim"), ["tenant", "fhir_user_claim"]
        )
    op.create_table(
        "identity_chart_loss",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("person", "patient", name=op.f("pk_identity_chart_loss")),
    )
    op.create_index(op.f("ix_identity_chart_loss_at"), "identity_chart_loss", ["at"])
    op.create_table(
        "enrolment_link",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("purpose", sa.String(length=20), nullable=False),
        sa.Column("issued_by", sa.String(length=100), nullable=False),
        sa.Column("issued_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("approval", sa.String(length=64), nullable=False),
        sa.Column("code_digest", sa.String(length=64), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("used_at", Instant(), nullable=True),
        sa.Column("replaced_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_enrolment_link")),
    )
    op.create_index(op.f("ix_enrolment_link_expires_at"), "enrolment_link", ["expires_at"])
    op.create_index(op.f("ix_enrolment_link_person"), "enrolment_link", ["person"])
    op.create_table(
        "enrolment_approval",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("new_person", sa.JSON(), nullable=False),
        sa.Column("asked_by", sa.String(length=64), nullable=False),
        sa.Column("asked_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("code_digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("decided_by", sa.String(length=64), nullable=False),
        sa.Column("decided_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_enrolment_approval")),
    )
    op.create_index(op.f("ix_enrolment_approval_state_id"), "enrolment_approval", ["state", "id"])
    op.create_index(
        op.f("ix_enrolment_approval_tenant_state_id"), "enrolment_approval", ["tenant", "state", "id"]
    )


def downgrade() -> None:
    op.drop_table("enrolment_approval")
    op.drop_table("enrolment_link")
    op.drop_table("identity_chart_loss")
    with op.batch_alter_table("identity_person", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_identity_person_tenant_fhir_user_claim"), type_="unique")
        batch_op.drop_index(batch_op.f("ix_identity_person_tenant_fhir_user"))
        batch_op.drop_column("chart_ends")
        batch_op.drop_column("fhir_user_claim")
