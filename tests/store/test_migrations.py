"""The migrations and the tables that rooms declare are the same thing, on each backend."""

import shutil
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
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


Row = dict[str, object]
PERSON = (
    "INSERT INTO identity_person (id, tenant, username, name, role, fhir_user, patients, active, created_at{more})"
    " VALUES (:id, :tenant, :id, 'Ann', 'nurse', :is, '[]', :active, 1772442000000000{values})"
)
HELD: dict[str, list[tuple[str, list[Row]]]] = {
    "0001": [
        (
            ("INSERT INTO registry_app (id, vendor, name, description, purpose, state, created_at)"
            " VALUES ('app_1', 'ven_1', 'Growth', '', '', 'active', 1772442000000000)"),
            [{}],
        )
    ],
    "0002": [
        (PERSON.format(more="", values=""), [{"id": "per_0", "tenant": "", "is": "", "active": True}]),
    ],
    "0006": [
        (
            PERSON.format(more=", age_counts_from", values=", 1"),
            [
                {"id": "per_11", "tenant": "general", "is": "Practitioner/1", "active": True},
                {"id": "per_12", "tenant": "general", "is": "Practitioner/1", "active": True},
                {"id": "per_10", "tenant": "general", "is": "Practitioner/1", "active": False},
            ],
        )
    ],
    "0012": [
        (
            PERSON.format(
                more=", age_counts_from, fhir_user_claim, chart_ends", values=", 1, :claim, '[]'"
            ),
            [
                {"id": "per_21", "tenant": "north", "is": "Practitioner/1", "active": False, "claim": None},
                {"id": "per_22", "tenant": "north", "is": "Practitioner/1", "active": False, "claim": None},
                {"id": "per_23", "tenant": "north", "is": "Practitioner/3", "active": False, "claim": None},
                {"id": "per_24", "tenant": "north", "is": "Practitioner/3", "active": True, "claim": "Practitioner/3"},
                {"id": "per_25", "tenant": "south", "is": "Practitioner/1", "active": True, "claim": "Practitioner/1"},
                {"id": "per_26", "tenant": "north", "is": "", "active": False, "claim": None},
            ],
        ),
        (
            ("INSERT INTO enrolment_approval (id, kind, tenant, person, new_person, asked_by, asked_at, expires_at, code_digest, state,"
            " decided_by) VALUES ('apr_1', 'create', '', '', :new, 'per_9', 1, 99, 'digest', 'pending', '')"),
            [{"new": '{"username": "rob"}'}],
        ),
    ],
    "0016": [
        (
            ("INSERT INTO registry_app (id, vendor, name, description, purpose, state, category, created_at, active_since)"
            " VALUES ('a', 'ven', 'x', 'y', 'z', 'active', 'scheduling', 1, 1)"),
            [{}],
        ),
        ("INSERT INTO registry_version (id, app, label, created_at) VALUES ('v', 'a', '1', 1)", [{}]),
        (
            ("INSERT INTO registry_certification (id, app, version, environment, scopes, certified_by, certified_at, expires_at, tier)"
            " VALUES ('c', 'a', 'v', 'sandbox', 'openid', 'staff:r', 1, 2, 'moderate')"),
            [{}],
        ),
    ],
    "0096": [
        (
            ("INSERT INTO approvals_approval (id, kind, tenant, target, act, before, sealed, asked_by, asked_at, expires_at, state, decided_by)"
            " VALUES (:id, :kind, '', '2', '{}', '{}', '', 'per_9', 1, 99, 'pending', '')"),
            [{"id": "apr_2", "kind": "rollout"}, {"id": "apr_3", "kind": "policy"}],
        )
    ],
}  # fmt: skip
"""What releases before wrote, by their newest migration."""


def write(database: Database, statement: str, rows: list[Row]) -> None:
    database.write(lambda tx: tx.execute(text(statement), rows))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def upgraded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database that was upgraded from the first release on, with what each wrote meanwhile."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("upgraded") / "hilum.db"
        shutil.copy(request.getfixturevalue("empty_sqlite"), path)
        url = f"sqlite:///{path}"
    else:
        url = request.getfixturevalue("postgres_cluster").migrated("older")
    downgrade(url, min(HELD))
    database = Database(url)
    for release, written in HELD.items():
        migrate(url, release)
        for statement, rows in written:
            write(database, statement, rows)
    migrate(url)
    yield database
    database.dispose()


def rows_of(database: Database, query: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in database.read(lambda tx: tx.execute(text(query)).all())]


def test_what_an_older_database_held_is_still_there_after_the_upgrade(upgraded: Database) -> None:
    """An app that stood before the column came has stood since it was made: nobody's tokens die of an upgrade."""
    found = rows_of(upgraded, "SELECT created_at, active_since, name FROM registry_app WHERE id = 'app_1'")

    assert found == [(1772442000000000, 1772442000000000, "Growth")]


def test_an_account_of_an_older_database_is_as_old_as_it_is(upgraded: Database) -> None:
    """C200: an upgrade makes nobody a second person sooner or later than their account's age does."""
    found = rows_of(upgraded, "SELECT age_counts_from FROM identity_person WHERE id = 'per_0'")

    assert found == [(1772442000000000,)]


CLAIMS = "SELECT id, fhir_user_claim FROM identity_person WHERE tenant {} ORDER BY id"


def test_people_who_were_one_fhir_user_before_stay_and_the_first_keeps_the_claim(upgraded: Database) -> None:
    """C200: kept, listed by ``hilum doctor``, and no third is added."""
    shared = upgraded.read(lambda tx: list_shared_fhir_users(tx, limit=5))

    assert rows_of(upgraded, CLAIMS.format("= 'general'")) == [
        ("per_10", None),
        ("per_11", "Practitioner/1"),
        ("per_12", None),
    ]
    assert shared == [("general", "Practitioner/1")]


def test_a_tenant_of_an_older_database_shows_no_host_that_nobody_allowed(upgraded: Database) -> None:
    """Security decision 22: an upgrade opens no attachment elsewhere, and a release of before can still add a tenant."""
    write(
        upgraded,
        "INSERT INTO identity_tenant (id, name, upstream_kind, upstream_url, credentials_sealed, base_url, ehr_origins,"
        " moved_reads, sandbox, active) VALUES ('general', 'General', 'http', 'https://x.example', '', '', '[]', 'refuse',"
        " false, true)",
        [{}],
    )

    tenant = upgraded.read(lambda tx: get_tenant(tx, TenantId("general")))

    assert (tenant.upstream.public_url, tenant.upstream.attachment_hosts) == ("", ())


def test_whoever_left_last_keeps_the_claim_to_a_fhir_user_and_what_waits_still_waits(
    upgraded: Database,
) -> None:
    """C200: an upgrade frees nobody's identity and loses nothing that a second person was asked for."""
    waits = upgraded.read(lambda tx: get_approval(tx, "apr_1"))

    assert rows_of(upgraded, CLAIMS.format("IN ('north', 'south')")) == [
        ("per_21", None),
        ("per_22", "Practitioner/1"),
        ("per_23", None),
        ("per_24", "Practitioner/3"),
        ("per_25", "Practitioner/1"),
        ("per_26", None),
    ]
    assert waits.act == Act(
        ApprovalKind.CREATE, None, "", {"username": "rob"}, {"own_of": []}, sealed="digest"
    )


def test_a_kind_of_approval_that_is_gone_is_in_no_list(upgraded: Database) -> None:
    """ADR 161: nobody could read it."""
    found = rows_of(upgraded, "SELECT id FROM approvals_approval WHERE id IN ('apr_2', 'apr_3')")

    assert found == [("apr_3",)]


def test_what_was_certified_counts_for_every_client_as_before_and_versions_declare_nothing(
    upgraded: Database,
) -> None:
    """ADR 45."""
    certification = upgraded.read(lambda tx: registry.get_certification(tx, "c"))
    version = upgraded.read(lambda tx: registry.get_version(tx, VersionId("v")))

    assert certification.category == "scheduling"
    assert certification.tiers == dict.fromkeys(ClientAuthentication, Tier.MODERATE)
    assert (version.workflows, version.placements) == (NOT_DECLARED, NOT_DECLARED)


def test_migrations_go_down_and_up_again_over_what_is_there(upgraded: Database) -> None:
    upgraded.dispose()

    downgrade(upgraded.url, min(HELD))
    migrate(upgraded.url)

    assert upgraded.read(is_current)
    assert len(rows_of(upgraded, "SELECT id FROM identity_person")) == 10


def test_migrations_go_down_to_nothing_and_up_again(sqlite_url: str) -> None:
    downgrade(sqlite_url)
    migrate(sqlite_url)

    database = Database(sqlite_url)
    assert database.read(is_current)
    database.dispose()
