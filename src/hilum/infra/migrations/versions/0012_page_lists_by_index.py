"""page lists by index: each list's filter and the key of its order"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
compatible_from = "0007"

STANDING = "ix_registry_installation_listed"
REPLACED = {
    "registry_app": "tenant",
    "registry_client": "app",
    "registry_certification": "app",
    "control_switch": "tenant",
    "signin_api_token": "person",
}
"""Indexes by one column, which now goes on with the id."""


def upgrade() -> None:
    op.create_index(op.f("ix_registry_version_app_id"), "registry_version", ["app", "id"])
    for table, column in REPLACED.items():
        op.create_index(op.f(f"ix_{table}_{column}_id"), table, [column, "id"])
        op.drop_index(op.f(f"ix_{table}_{column}"), table_name=table)
    op.create_index(op.f("ix_control_quota_tenant_app_level"), "control_quota", ["tenant", "app", "level"])
    op.drop_index(op.f("ix_control_quota_tenant"), table_name="control_quota")
    standing = sa.text("removed_at IS NULL")
    op.create_index(
        STANDING,
        "registry_installation",
        ["tenant", "id"],
        sqlite_where=standing,
        postgresql_where=standing,
    )


def downgrade() -> None:
    op.drop_index(STANDING, table_name="registry_installation")
    op.create_index(op.f("ix_control_quota_tenant"), "control_quota", ["tenant"])
    op.drop_index(op.f("ix_control_quota_tenant_app_level"), table_name="control_quota")
    for table, column in REPLACED.items():
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
        op.drop_index(op.f(f"ix_{table}_{column}_id"), table_name=table)
    op.drop_index(op.f("ix_registry_version_app_id"), table_name="registry_version")
