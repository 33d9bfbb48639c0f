"""The migrations and the tables that rooms declare are the same thing, on each backend."""

from functools import partial

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from tools.make_migration import declare

from hilum.approvals.models import Act, ApprovalKind
from hilum.approvals.store import get_approval
from hilum.identity.store import get_tenant, list_shared_fhir_users
from hilum.infra.db import Database, metadata
from hilum.infra.migrations.run import downgrade, is_current, migrate
from hilum.kernel.ids import TenantId, VersionId
from hilum.policies.models import NOT_DECLARED, ClientAuthentication, Tier
from hilum.registry import store as registry


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


# SQLite's indexes over expressions cannot be reflected: that lists are sorted by them is in tests/flows/test_api_lists.py.
@pytest.mark.filterwarnings(
    "ignore:Skipped unsupported reflection of expression-based index",
    "ignore:autogenerate skipping metadata-specified expression-based index",
)
def test_a_migrated_database_has_exactly_the_tables_that_rooms_declare(url: str) -> None:
    declare()
    database = Database(url)

    differences = database.read(lambda tx: compare_metadata(MigrationContext.configure(tx), metadata))
    current = database.read(is_current)
    database.dispose()

    assert differences == []
    assert current


def test_migrations_go_down_and_up_again(sqlite_url: str) -> None:
    downgrade(sqlite_url)
    migrate(sqlite_url)

    database = Database(sqlite_url)
    assert database.read(is_current)
    database.dispose()


def test_what_an_older_database_held_is_still_there_after_the_upgrade(url: str) -> None:
    """An app that stood before the column came has stood since it was made: nobody's tokens die of an upgrade."""
    downgrade(url, "0001")
    database = Database(url)
    database.write(
        lambda tx: tx.execute(
            text(
                "INSERT INTO registry_app (id, vendor, name, description, purpose, state, created_at)"
                " VALUES ('app_1', 'ven_1', 'Growth', '', '', 'active', 1772442000000000)"
            )
        )
    )

    migrate(url)

    row = database.read(
        lambda tx: tx.execute(text("SELECT created_at, active_since, name FROM registry_app")).one()
    )
    database.dispose()
    assert row == (1772442000000000, 1772442000000000, "Growth")


def test_an_account_of_an_older_database_is_as_old_as_it_is(url: str) -> None:
    """C200: an upgrade makes nobody a second person sooner or later than their account's age does."""
    downgrade(url, "0002")
    database = Database(url)
    database.write(
        lambda tx: tx.execute(
            text(
                "INSERT INTO identity_person (id, tenant, username, name, role, fhir_user, patients, active, created_at)"
                " VALUES ('per_1', '', 'ann', 'Ann', 'security', '', '[]', true, 1772442000000000)"
            )
        )
    )

    migrate(url)

    row = database.read(
        lambda tx: tx.execute(text("SELECT age_counts_from FROM identity_person")).scalar_one()
    )
    database.dispose()
    assert row == 1772442000000000


def test_people_who_were_one_fhir_user_before_stay_and_the_first_keeps_the_claim(url: str) -> None:
    """C200: kept, listed by ``hilum doctor``, and no third is added."""
    downgrade(url, "0006")
    database = Database(url)
    for id_, username, active in (("per_1", "ann", True), ("per_2", "twin", True), ("per_0", "gone", False)):
        insert = text(
            "INSERT INTO identity_person (id, tenant, username, name, role, fhir_user, patients, active, created_at,"
            " age_counts_from) VALUES (:id, 'general', :username, 'Ann', 'nurse', 'Practitioner/1', '[]', :active, 1, 1)"
        ).bindparams(id=id_, username=username, active=active)
        database.write(partial(Connection.execute, statement=insert))

    migrate(url)

    claims = database.read(
        lambda tx: tx.execute(text("SELECT id, fhir_user_claim FROM identity_person ORDER BY id")).all()
    )
    shared = database.read(lambda tx: list_shared_fhir_users(tx, limit=5))
    database.dispose()
    assert claims == [("per_0", None), ("per_1", "Practitioner/1"), ("per_2", None)]
    assert shared == [("general", "Practitioner/1")]


def test_a_tenant_of_an_older_database_shows_no_host_that_nobody_allowed(url: str) -> None:
    """Security decision 22: an upgrade opens no attachment elsewhere, and a release of before can still add a tenant."""
    downgrade(url, "0008")
    migrate(url)
    database = Database(url)
    database.write(
        lambda tx: tx.execute(
            text(
                "INSERT INTO identity_tenant (id, name, upstream_kind, upstream_url, credentials_sealed, base_url, ehr_origins,"
                " moved_reads, sandbox, active) VALUES ('general', 'General', 'http', 'https://x.example', '', '', '[]', 'refuse',"
                " false, true)"
            )
        )
    )

    tenant = database.read(lambda tx: get_tenant(tx, TenantId("general")))
    database.dispose()

    assert (tenant.upstream.public_url, tenant.upstream.attachment_hosts) == ("", ())


def test_whoever_left_last_keeps_the_claim_to_a_fhir_user_and_what_waits_goes_on_waiting(url: str) -> None:
    """C200: an upgrade frees nobody's identity and loses nothing that a second person was asked for."""
    downgrade(url, "0012")
    database = Database(url)
    person = (
        "INSERT INTO identity_person (id, tenant, username, name, role, fhir_user, patients, active, created_at, age_counts_from,"
        " fhir_user_claim, chart_ends) VALUES (:id, :tenant, :id, 'Ann', 'nurse', :is, '[]', :active, 1, 1, :claim, '[]')"
    )
    people = [
        ("per_1", "general", "Practitioner/1", False, None),
        ("per_2", "general", "Practitioner/1", False, None),
        ("per_3", "general", "Practitioner/3", False, None),
        ("per_4", "general", "Practitioner/3", True, "Practitioner/3"),
        ("per_5", "children", "Practitioner/1", True, "Practitioner/1"),
        ("per_6", "general", "", False, None),
    ]
    rows = [dict(zip(("id", "tenant", "is", "active", "claim"), each, strict=True)) for each in people]
    database.write(lambda tx: tx.execute(text(person), rows))
    database.write(
        lambda tx: tx.execute(
            text(
                "INSERT INTO enrolment_approval (id, kind, tenant, person, new_person, asked_by, asked_at, expires_at, code_digest, state,"
                """ decided_by) VALUES ('apr_1', 'create', '', '', '{"username": "rob"}', 'per_9', 1, 99, 'digest', 'pending', '')"""
            )
        )
    )

    migrate(url)

    claims = database.read(
        lambda tx: tx.execute(text("SELECT id, fhir_user_claim FROM identity_person ORDER BY id")).all()
    )
    waits = database.read(lambda tx: get_approval(tx, "apr_1"))
    downgrade(url, "0012")
    migrate(url)
    database.dispose()
    assert claims == [
        ("per_1", None),
        ("per_2", "Practitioner/1"),
        ("per_3", None),
        ("per_4", "Practitioner/3"),
        ("per_5", "Practitioner/1"),
        ("per_6", None),
    ]
    assert waits.act == Act(
        ApprovalKind.CREATE, None, "", {"username": "rob"}, {"own_of": []}, sealed="digest"
    )


def test_what_was_certified_counts_for_every_client_as_before_and_versions_declare_nothing(url: str) -> None:
    """ADR 45."""
    migrate(url)
    downgrade(url, "0016")
    database = Database(url)
    database.write(
        lambda tx: (
            tx.execute(
                text(
                    "INSERT INTO registry_app (id, vendor, name, description, purpose, state, category, created_at, active_since)"
                    " VALUES ('a', 'ven', 'x', 'y', 'z', 'active', 'scheduling', 1, 1)"
                )
            ),
            tx.execute(
                text("INSERT INTO registry_version (id, app, label, created_at) VALUES ('v', 'a', '1', 1)")
            ),
            tx.execute(
                text(
                    "INSERT INTO registry_certification (id, app, version, environment, scopes, certified_by, certified_at, expires_at, tier)"
                    " VALUES ('c', 'a', 'v', 'sandbox', 'openid', 'staff:r', 1, 2, 'moderate')"
                )
            ),
        )
    )

    migrate(url)

    certification = database.read(lambda tx: registry.get_certification(tx, "c"))
    version = database.read(lambda tx: registry.get_version(tx, VersionId("v")))
    database.dispose()
    assert certification.category == "scheduling"
    assert certification.tiers == dict.fromkeys(ClientAuthentication, Tier.MODERATE)
    assert (version.workflows, version.placements) == (NOT_DECLARED, NOT_DECLARED)
