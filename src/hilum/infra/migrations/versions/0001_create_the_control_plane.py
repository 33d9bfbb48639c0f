"""create the control plane"""

import sqlalchemy as sa
from alembic import op

from hilum.infra.db import Instant

revision = "0001"
down_revision = None
compatible_from = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "access_chain",
        sa.Column("writer", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("writer", name=op.f("pk_access_chain")),
    )
    op.create_table(
        "access_payload",
        sa.Column("writer", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("writer", "seq", name=op.f("pk_access_payload")),
    )
    op.create_table(
        "access_record",
        sa.Column("writer", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("header", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("writer", "seq", name=op.f("pk_access_record")),
    )
    with op.batch_alter_table("access_record", schema=None) as batch_op:
        batch_op.create_index("ix_access_record_request", ["request_id"], unique=False)

    op.create_table(
        "access_token",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("family", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("issued_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_access_token")),
    )
    with op.batch_alter_table("access_token", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_access_token_client"), ["client"], unique=False)
        batch_op.create_index(batch_op.f("ix_access_token_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_access_token_family"), ["family"], unique=False)
        batch_op.create_index(batch_op.f("ix_access_token_revoked_at"), ["revoked_at"], unique=False)

    op.create_table(
        "audit_chain",
        sa.Column("writer", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("writer", name=op.f("pk_audit_chain")),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("heads", sa.JSON(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_checkpoint")),
    )
    op.create_table(
        "audit_event",
        sa.Column("writer", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Text(), nullable=False),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("person", sa.Text(), nullable=False),
        sa.Column("launch", sa.Text(), nullable=False),
        sa.Column("authorization", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("correlation_id", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("writer", "seq", name=op.f("pk_audit_event")),
    )
    with op.batch_alter_table("audit_event", schema=None) as batch_op:
        batch_op.create_index("ix_audit_event_app", ["app", "at"], unique=False)
        batch_op.create_index(batch_op.f("ix_audit_event_at"), ["at"], unique=False)
        batch_op.create_index("ix_audit_event_authorization", ["authorization"], unique=False)
        batch_op.create_index("ix_audit_event_launch", ["launch"], unique=False)
        batch_op.create_index("ix_audit_event_request", ["request_id"], unique=False)
        batch_op.create_index("ix_audit_event_tenant", ["tenant", "at"], unique=False)

    op.create_table(
        "audit_head",
        sa.Column("chain", sa.String(length=192), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "audit_payload",
        sa.Column("writer", sa.String(length=128), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("writer", "seq", name=op.f("pk_audit_payload")),
    )
    with op.batch_alter_table("audit_payload", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_audit_payload_at"), ["at"], unique=False)

    op.create_table(
        "authorization",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("basis", sa.String(length=16), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("launch", sa.String(length=64), nullable=False),
        sa.Column("offline", sa.Boolean(), nullable=False),
        sa.Column("last_validated_at", Instant(), nullable=True),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("revoked_by", sa.String(length=128), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authorization")),
    )
    with op.batch_alter_table("authorization", schema=None) as batch_op:
        batch_op.create_index("ix_authorization_person", ["tenant", "person", "client"], unique=False)
        batch_op.create_index(batch_op.f("ix_authorization_revoked_at"), ["revoked_at"], unique=False)

    op.create_table(
        "authorization_code",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("redirect_uri", sa.String(length=2048), nullable=False),
        sa.Column("code_challenge", sa.String(length=128), nullable=False),
        sa.Column("family", sa.String(length=64), nullable=False),
        sa.Column("grant", sa.JSON(), nullable=False),
        sa.Column("auth_time", Instant(), nullable=False),
        sa.Column("issued_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("offline", sa.Integer(), nullable=True),
        sa.Column("used_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_authorization_code")),
    )
    with op.batch_alter_table("authorization_code", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_authorization_code_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "authorization_request",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("redirect_uri", sa.String(length=2048), nullable=False),
        sa.Column("state", sa.String(length=2048), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("code_challenge", sa.String(length=128), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("nonce", sa.String(length=512), nullable=False),
        sa.Column("launch_sealed", sa.String(length=1024), nullable=False),
        sa.Column("prompt", sa.JSON(), nullable=False),
        sa.Column("login_hint", sa.String(length=256), nullable=False),
        sa.Column("max_age_s", sa.Integer(), nullable=True),
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("launch", sa.String(length=64), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("encounter", sa.String(length=64), nullable=False),
        sa.Column("context_chosen_at", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_authorization_request")),
    )
    with op.batch_alter_table("authorization_request", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_authorization_request_expires_at"), ["expires_at"], unique=False)

    op.create_table(
        "control_epoch",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("identity", sa.BigInteger(), nullable=False),
        sa.Column("controls", sa.BigInteger(), nullable=False),
        sa.Column("registry", sa.BigInteger(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("consent", sa.BigInteger(), nullable=False),
        sa.Column("launches", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_control_epoch")),
    )
    op.create_table(
        "control_not_issued_before",
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=600), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_control_not_issued_before")),
    )
    op.create_table(
        "control_quota",
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("level", sa.String(length=10), nullable=False),
        sa.Column("rate_per_s", sa.Float(), nullable=False),
        sa.Column("burst", sa.Integer(), nullable=False),
        sa.Column("set_by", sa.String(length=120), nullable=False),
        sa.Column("set_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("app", "tenant", "level", name=op.f("pk_control_quota")),
    )
    op.create_table(
        "control_switch",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("key", sa.String(length=600), nullable=False),
        sa.Column("mode", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("engaged_by", sa.String(length=120), nullable=False),
        sa.Column("engaged_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("released_by", sa.String(length=120), nullable=False),
        sa.Column("released_at", Instant(), nullable=True),
        sa.Column("release_asked_by", sa.String(length=120), nullable=False),
        sa.Column("release_asked_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_control_switch")),
    )
    with op.batch_alter_table("control_switch", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_control_switch_kind_key"), ["kind", "key"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_control_switch_released_at_expires_at"),
            ["released_at", "expires_at"],
            unique=False,
        )
        batch_op.create_index(batch_op.f("ix_control_switch_tenant"), ["tenant"], unique=False)

    op.create_table(
        "ehr_activity",
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("facility", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("reported_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "day", "role", "facility", name=op.f("pk_ehr_activity")),
    )
    op.create_table(
        "identity_person",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("username", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("fhir_user", sa.String(length=100), nullable=False),
        sa.Column("patients", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("deactivated_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_person")),
        sa.UniqueConstraint("tenant", "username", name=op.f("uq_identity_person_tenant_username")),
    )
    with op.batch_alter_table("identity_person", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_identity_person_deactivated_at"), ["deactivated_at"], unique=False
        )

    op.create_table(
        "identity_tenant",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("upstream_kind", sa.String(length=20), nullable=False),
        sa.Column("upstream_url", sa.String(length=500), nullable=False),
        sa.Column("credentials_sealed", sa.String(length=8000), nullable=False),
        sa.Column("base_url", sa.String(length=500), nullable=False),
        sa.Column("ehr_origins", sa.JSON(), nullable=False),
        sa.Column("moved_reads", sa.String(length=20), nullable=False),
        sa.Column("sandbox", sa.Boolean(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_tenant")),
    )
    op.create_table(
        "launch",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("handle_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("open_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("open_expires_at", Instant(), nullable=False),
        sa.Column("patient", sa.String(length=64), nullable=False),
        sa.Column("encounter", sa.String(length=64), nullable=False),
        sa.Column("intent", sa.String(length=128), nullable=False),
        sa.Column("placement", sa.String(length=128), nullable=False),
        sa.Column("fhir_context", sa.JSON(), nullable=False),
        sa.Column("need_patient_banner", sa.Boolean(), nullable=False),
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("launch_uri", sa.String(length=2048), nullable=False),
        sa.Column("opened_by", sa.String(length=64), nullable=False),
        sa.Column("opened_at", Instant(), nullable=True),
        sa.Column("used_at", Instant(), nullable=True),
        sa.Column("moved_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("session", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_launch")),
        sa.UniqueConstraint("handle_hash", name=op.f("uq_launch_handle_hash")),
        sa.UniqueConstraint("open_hash", name=op.f("uq_launch_open_hash")),
    )
    with op.batch_alter_table("launch", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_launch_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_launch_ended_at"), ["ended_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_launch_moved_at"), ["moved_at"], unique=False)

    op.create_table(
        "refresh_token",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("family", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("offline", sa.Boolean(), nullable=False),
        sa.Column("issued_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("used_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_refresh_token")),
    )
    with op.batch_alter_table("refresh_token", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_refresh_token_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_refresh_token_family"), ["family"], unique=False)

    op.create_table(
        "registry_app",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_app")),
    )
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_registry_app_tenant"), ["tenant"], unique=False)
        batch_op.create_index(batch_op.f("ix_registry_app_vendor"), ["vendor"], unique=False)

    op.create_table(
        "registry_certification",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.String(length=20), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("certified_by", sa.String(length=120), nullable=False),
        sa.Column("certified_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("withdrawn_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_certification")),
    )
    with op.batch_alter_table("registry_certification", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_registry_certification_app"), ["app"], unique=False)

    op.create_table(
        "registry_client",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("environment", sa.String(length=20), nullable=False),
        sa.Column("type", sa.String(length=30), nullable=False),
        sa.Column("deployment", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("redirect_uris", sa.JSON(), nullable=False),
        sa.Column("launch_uri", sa.String(length=1000), nullable=False),
        sa.Column("origins", sa.JSON(), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("jwks", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("jwks_uri", sa.String(length=1000), nullable=False),
        sa.Column("grant_types", sa.JSON(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("backend_use", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("dynamic", sa.Boolean(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_client")),
    )
    with op.batch_alter_table("registry_client", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_registry_client_app"), ["app"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_registry_client_dynamic_expires_at"), ["dynamic", "expires_at"], unique=False
        )

    op.create_table(
        "registry_client_secret",
        sa.Column("client", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("client", "digest", name=op.f("pk_registry_client_secret")),
    )
    op.create_table(
        "registry_installation",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.Text(), nullable=False),
        sa.Column("roles", sa.String(length=200), nullable=False),
        sa.Column("approved_by", sa.String(length=120), nullable=False),
        sa.Column("approved_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("removed_at", Instant(), nullable=True),
        sa.Column("removed_by", sa.String(length=120), nullable=False),
        sa.Column("environment", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_installation")),
    )
    with op.batch_alter_table("registry_installation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_registry_installation_app"), ["app"], unique=False)
        batch_op.create_index(
            "uq_registry_installation_standing",
            ["tenant", "app"],
            unique=True,
            sqlite_where=sa.text("removed_at IS NULL"),
            postgresql_where=sa.text("removed_at IS NULL"),
        )

    op.create_table(
        "registry_vendor",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("support_contact", sa.String(length=200), nullable=False),
        sa.Column("security_contact", sa.String(length=200), nullable=False),
        sa.Column("website", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_vendor")),
    )
    op.create_table(
        "registry_version",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=100), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_registry_version")),
        sa.UniqueConstraint("app", "label", name=op.f("uq_registry_version_app_label")),
    )
    op.create_table(
        "signin_api_token",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("roles", sa.JSON(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signin_api_token")),
        sa.UniqueConstraint("digest", name=op.f("uq_signin_api_token_digest")),
    )
    with op.batch_alter_table("signin_api_token", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_signin_api_token_person"), ["person"], unique=False)

    op.create_table(
        "signin_attempt",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", Instant(), nullable=False),
        sa.Column("blocked_until", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_signin_attempt")),
    )
    with op.batch_alter_table("signin_attempt", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_signin_attempt_last_at"), ["last_at"], unique=False)

    op.create_table(
        "signin_password",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=300), nullable=False),
        sa.Column("set_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_signin_password")),
    )
    op.create_table(
        "signin_session",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("method", sa.String(length=20), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("last_seen_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signin_session")),
        sa.UniqueConstraint("digest", name=op.f("uq_signin_session_digest")),
    )
    with op.batch_alter_table("signin_session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_signin_session_expires_at"), ["expires_at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_signin_session_person_expires_at"), ["person", "expires_at"], unique=False
        )

    op.create_table(
        "signing_key",
        sa.Column("kid", sa.String(length=64), nullable=False),
        sa.Column("purpose", sa.String(length=32), nullable=False),
        sa.Column("ring", sa.String(length=64), nullable=False),
        sa.Column("algorithm", sa.String(length=16), nullable=False),
        sa.Column("public", sa.JSON(), nullable=False),
        sa.Column("private_sealed", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("retired_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_key")),
    )
    with op.batch_alter_table("signing_key", schema=None) as batch_op:
        batch_op.create_index("ix_signing_key_ring", ["purpose", "ring"], unique=False)
        batch_op.create_index(
            "uq_signing_key_active",
            ["purpose", "ring"],
            unique=True,
            sqlite_where=sa.text("state = 'active'"),
            postgresql_where=sa.text("state = 'active'"),
        )

    op.create_table(
        "token_family",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("app", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("authorization", sa.String(length=64), nullable=False),
        sa.Column("launch", sa.String(length=64), nullable=False),
        sa.Column("offline", sa.Boolean(), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("minted_at", Instant(), nullable=False),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.Column("revoked_because", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_family")),
    )
    with op.batch_alter_table("token_family", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_token_family_authorization"), ["authorization"], unique=False)
        batch_op.create_index(batch_op.f("ix_token_family_launch"), ["launch"], unique=False)
        batch_op.create_index(batch_op.f("ix_token_family_minted_at"), ["minted_at"], unique=False)
        batch_op.create_index("ix_token_family_person", ["person", "app"], unique=False)
        batch_op.create_index(batch_op.f("ix_token_family_revoked_at"), ["revoked_at"], unique=False)

    op.create_table(
        "used_jti",
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("expires_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_used_jti")),
    )
    with op.batch_alter_table("used_jti", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_used_jti_expires_at"), ["expires_at"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("used_jti", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_used_jti_expires_at"))

    op.drop_table("used_jti")
    with op.batch_alter_table("token_family", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_token_family_revoked_at"))
        batch_op.drop_index("ix_token_family_person")
        batch_op.drop_index(batch_op.f("ix_token_family_minted_at"))
        batch_op.drop_index(batch_op.f("ix_token_family_launch"))
        batch_op.drop_index(batch_op.f("ix_token_family_authorization"))

    op.drop_table("token_family")
    with op.batch_alter_table("signing_key", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_signing_key_active",
            sqlite_where=sa.text("state = 'active'"),
            postgresql_where=sa.text("state = 'active'"),
        )
        batch_op.drop_index("ix_signing_key_ring")

    op.drop_table("signing_key")
    with op.batch_alter_table("signin_session", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_signin_session_person_expires_at"))
        batch_op.drop_index(batch_op.f("ix_signin_session_expires_at"))

    op.drop_table("signin_session")
    op.drop_table("signin_password")
    with op.batch_alter_table("signin_attempt", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_signin_attempt_last_at"))

    op.drop_table("signin_attempt")
    with op.batch_alter_table("signin_api_token", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_signin_api_token_person"))

    op.drop_table("signin_api_token")
    op.drop_table("registry_version")
    op.drop_table("registry_vendor")
    with op.batch_alter_table("registry_installation", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_registry_installation_standing",
            sqlite_where=sa.text("removed_at IS NULL"),
            postgresql_where=sa.text("removed_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_registry_installation_app"))

    op.drop_table("registry_installation")
    op.drop_table("registry_client_secret")
    with op.batch_alter_table("registry_client", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_registry_client_dynamic_expires_at"))
        batch_op.drop_index(batch_op.f("ix_registry_client_app"))

    op.drop_table("registry_client")
    with op.batch_alter_table("registry_certification", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_registry_certification_app"))

    op.drop_table("registry_certification")
    with op.batch_alter_table("registry_app", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_registry_app_vendor"))
        batch_op.drop_index(batch_op.f("ix_registry_app_tenant"))

    op.drop_table("registry_app")
    with op.batch_alter_table("refresh_token", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_refresh_token_family"))
        batch_op.drop_index(batch_op.f("ix_refresh_token_expires_at"))

    op.drop_table("refresh_token")
    with op.batch_alter_table("launch", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_launch_moved_at"))
        batch_op.drop_index(batch_op.f("ix_launch_ended_at"))
        batch_op.drop_index(batch_op.f("ix_launch_created_at"))

    op.drop_table("launch")
    op.drop_table("identity_tenant")
    with op.batch_alter_table("identity_person", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_identity_person_deactivated_at"))

    op.drop_table("identity_person")
    op.drop_table("ehr_activity")
    with op.batch_alter_table("control_switch", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_control_switch_tenant"))
        batch_op.drop_index(batch_op.f("ix_control_switch_released_at_expires_at"))
        batch_op.drop_index(batch_op.f("ix_control_switch_kind_key"))

    op.drop_table("control_switch")
    op.drop_table("control_quota")
    op.drop_table("control_not_issued_before")
    op.drop_table("control_epoch")
    with op.batch_alter_table("authorization_request", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_authorization_request_expires_at"))

    op.drop_table("authorization_request")
    with op.batch_alter_table("authorization_code", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_authorization_code_expires_at"))

    op.drop_table("authorization_code")
    with op.batch_alter_table("authorization", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_authorization_revoked_at"))
        batch_op.drop_index("ix_authorization_person")

    op.drop_table("authorization")
    with op.batch_alter_table("audit_payload", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_audit_payload_at"))

    op.drop_table("audit_payload")
    op.drop_table("audit_head")
    with op.batch_alter_table("audit_event", schema=None) as batch_op:
        batch_op.drop_index("ix_audit_event_tenant")
        batch_op.drop_index("ix_audit_event_request")
        batch_op.drop_index("ix_audit_event_launch")
        batch_op.drop_index("ix_audit_event_authorization")
        batch_op.drop_index(batch_op.f("ix_audit_event_at"))
        batch_op.drop_index("ix_audit_event_app")

    op.drop_table("audit_event")
    op.drop_table("audit_checkpoint")
    op.drop_table("audit_chain")
    with op.batch_alter_table("access_token", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_access_token_revoked_at"))
        batch_op.drop_index(batch_op.f("ix_access_token_family"))
        batch_op.drop_index(batch_op.f("ix_access_token_expires_at"))
        batch_op.drop_index(batch_op.f("ix_access_token_client"))

    op.drop_table("access_token")
    with op.batch_alter_table("access_record", schema=None) as batch_op:
        batch_op.drop_index("ix_access_record_request")

    op.drop_table("access_record")
    op.drop_table("access_payload")
    op.drop_table("access_chain")
