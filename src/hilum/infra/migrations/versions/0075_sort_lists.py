"""index the orders of lists

Indexes only: releases before this one read and write the same rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "0075"
down_revision = "0074"
branch_labels = None
depends_on = None
compatible_from = "0062"

NEVER = "9223372036854775807"
NAME, ENDS, DUE = "lower(name)", f"coalesce(ends_at, {NEVER})", f"coalesce(due_at, {NEVER})"
INDEXES = (
    ("ix_identity_person_by_name", "identity_person", ("tenant", NAME, "username")),
    ("ix_identity_person_by_role", "identity_person", ("tenant", "role", "username")),
    ("ix_identity_person_by_added", "identity_person", ("tenant", "created_at", "username")),
    ("ix_identity_tenant_by_name", "identity_tenant", (NAME, "id")),
    ("ix_registry_vendor_by_name", "registry_vendor", (NAME, "id")),
    ("ix_registry_app_by_name", "registry_app", (NAME, "id")),
    ("ix_agreements_agreement_ends", "agreements_agreement", (ENDS, "id")),
    ("ix_agreements_agreement_tenant_ends", "agreements_agreement", ("tenant", ENDS, "id")),
    ("ix_agreements_agreement_vendor_ends", "agreements_agreement", ("vendor", ENDS, "id")),
    ("ix_mandates_mandate_ends", "mandates_mandate", ("ends_at", "id")),
    ("ix_mandates_mandate_tenant_ends", "mandates_mandate", ("tenant", "ends_at", "id")),
    ("ix_mandates_mandate_vendor_ends", "mandates_mandate", ("vendor", "ends_at", "id")),
    ("ix_mandates_mandate_approver_ends", "mandates_mandate", ("approver", "ends_at", "id")),
    ("ix_disposals_request_by_due", "disposals_request", ("due_at", "id")),
    ("ix_disposals_request_vendor_due", "disposals_request", ("vendor", "due_at", "id")),
    ("ix_disposals_request_tenant_due", "disposals_request", ("tenant", "due_at", "id")),
    ("ix_breakglass_use_tenant_review", "breakglass_use", ("tenant", "review_by", "id")),
    ("ix_breakglass_use_person_review", "breakglass_use", ("person", "review_by", "id")),
    ("ix_review_lane_by_due", "review_lane", (DUE, "id")),
    ("ix_review_lane_vendor_due", "review_lane", ("vendor", DUE, "id")),
    ("ix_revalidation_finding_by_due", "revalidation_finding", (DUE, "id")),
    ("ix_revalidation_finding_vendor_due", "revalidation_finding", ("vendor", DUE, "id")),
    ("ix_certificate_by_end", "certificate", ("expires_at", "id")),
    ("ix_certificate_vendor_end", "certificate", ("vendor", "expires_at", "id")),
)


RUNNING = sa.text("stage = 'decision' AND stopped_at IS NULL AND due_at IS NOT NULL")


def upgrade() -> None:
    for name, table, columns in INDEXES:
        op.create_index(name, table, [sa.text(each) if "(" in each else each for each in columns])
    op.create_index(
        "ix_review_clock_running",
        "review_clock",
        ["due_at", "submission"],
        sqlite_where=RUNNING,
        postgresql_where=RUNNING,
    )


def downgrade() -> None:
    op.drop_index("ix_review_clock_running", "review_clock")
    for name, table, _ in INDEXES:
        op.drop_index(name, table)
