"""``hilum doctor`` tries the key on what is sealed before anybody else finds out (contract, Commands; security decision 15)."""

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import delete, update

from hilum.foundation.infra import nodes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.migrations.run import release
from hilum.foundation.infra.nodes import Node
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.federation import service as federation
from hilum.identity.federation.live import seal_secret
from hilum.identity.federation.models import RoleRow, Settings
from hilum.identity.federation.service import Change
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant, TenantChange, TokenAuth, UpstreamKind, UpstreamRef
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ApplyOrder
from hilum.policy.matrix.store import applications
from hilum.records.audit import anchor, live
from hilum.records.audit import service as audit
from hilum.records.audit.models import Access, Outcome
from hilum.records.keys import service as keys
from hilum.records.keys.live import vault
from hilum.records.keys.models import Purpose
from hilum.records.keys.store import signing_key
from hilum.server.commands import findings
from hilum.server.commands.main import main
from tests.conftest import SECRET_KEY
from tests.flows.journal_ground import JournalGround, access
from tests.sim.fhir_upstream import OtherServer, over_http
from tests.sim.postgres import free_port
from tests.sim.token_server import CLIENT, TokenServer, served
from tests.sim.upstream_secrets import sealed_header
from tests.unit.policy.matrix.books import document

OTHER_KEY = "another-key-encryption-key-0123456789abcdef"
URL = "https://fhir.lakeside.example/r4"
Answer = tuple[int, dict[str, dict[str, Any]]]


@pytest.fixture
def doctor(sqlite_uow: UnitOfWork, sqlite_url: str, tmp_path: Path) -> Callable[..., Answer]:
    """Return a function that runs the doctor under a key and returns the exit code and the findings by name."""
    sqlite_uow.write_now(seal_something, actor=SYSTEM, trace=Trace("req_test"))

    def ask(key: str, *words: str) -> Answer:
        done = run(sqlite_url, tmp_path, key, "doctor", *words, "--json")
        return done.exit_code, {each["check"]: each for each in orjson.loads(done.stdout)}

    return ask


def run(url: str, data: Path, key: str, *words: str) -> Result:
    clear: dict[str, str | None] = {name: None for name in os.environ if name.startswith("HILUM_")}
    given = {
        "HILUM_SECRET_KEY": key,
        "HILUM_DATABASE_URL": url,
        "HILUM_DATA_DIR": str(data),
        "HILUM_BASE_URL": "http://127.0.0.1:8000",
    }
    done = CliRunner().invoke(main, words, env=clear | given)
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return done


def seal_something(ctx: Context) -> None:
    """One hospital with a FHIR server and credentials, one without; signing keys as the first token and the first hour make them."""
    sealed = sealed_header("Bearer s3cret", url=URL, ids=ctx.ids)
    upstream = UpstreamRef(UpstreamKind.HTTP, URL, sealed)
    identity.add_tenant(ctx, Tenant(TenantId("lakeside"), "Lakeside", upstream))
    identity.add_tenant(ctx, Tenant(TenantId("clinic"), "Clinic", UpstreamRef(UpstreamKind.EMBEDDED)))
    keys.ensure(ctx, Purpose.ID_TOKEN, "lakeside")
    keys.ensure(ctx, Purpose.CHECKPOINT, "")


def spoil(uow: UnitOfWork, verb: Callable[[Context], Any]) -> None:
    uow.write_now(verb, actor=SYSTEM, trace=Trace("req_test"))


def test_the_right_key_opens_everything(doctor: Callable[..., Answer]) -> None:
    code, found = doctor(SECRET_KEY)

    assert code == 0
    assert found["secret key"] == {"check": "secret key", "ok": True, "next": ""}


def test_a_journal_that_another_process_holds_is_found_by_writing(
    doctor: Callable[..., Answer], tmp_path: Path
) -> None:
    """Faults 13: the doctor said well while nothing could be recorded."""
    (tmp_path / "journal").mkdir()
    with closing(sqlite3.connect(tmp_path / "journal" / "access-0.db", isolation_level=None)) as holder:
        holder.execute("PRAGMA journal_mode=WAL")
        holder.execute("BEGIN IMMEDIATE")
        code, found = doctor(SECRET_KEY)

    assert code == 1
    assert not found["access journal"]["ok"]
    assert "access-0.db" in found["access journal"]["next"]
    assert doctor(SECRET_KEY)[0] == 0


def test_a_full_disk_is_found_by_writing(doctor: Callable[..., Answer], tmp_path: Path) -> None:
    """Faults 13: permissions alone say little. The device that is always full stands for the disk."""
    (tmp_path / f".probe-{os.getpid()}").symlink_to("/dev/full")
    code, found = doctor(SECRET_KEY)

    assert code == 1
    assert found["data directory"]["next"] == f"free some space at {tmp_path}"


def test_a_write_without_an_outcome_is_named_with_its_age(
    doctor: Callable[..., Answer], sqlite_url: str, tmp_path: Path
) -> None:
    """C196: one of a moment ago is under way; an old one waits to be settled."""
    now = SystemClock().now()
    told = Access(
        "req_old", "req_old", now - timedelta(minutes=7), "lakeside", "update", "", 0, Outcome.INTENDED
    )
    young = replace(told, request_id="req_young", decision="req_young", at=now)
    ids = SystemIds()

    async def record(*intents: Access) -> None:
        journal = live.open_journal(sqlite_url, tmp_path / "journal", ids.new("w"), ids)
        for each in intents:
            await journal.intend(each)
        await asyncio.get_running_loop().run_in_executor(None, journal.close)

    asyncio.run(record(young))
    _, well = doctor(SECRET_KEY)
    asyncio.run(record(told))
    code, found = doctor(SECRET_KEY)

    assert well["writes have outcomes"] == {
        "check": "writes have outcomes",
        "ok": True,
        "next": "writes in progress: 1",
    }
    assert code == 1
    assert (
        "writes without an outcome on record, waiting to be settled: 1, namely req_old (7 min)"
        in (found["writes have outcomes"]["next"])
    )


def test_another_key_opens_nothing_and_it_is_said_what_and_what_to_do(
    doctor: Callable[..., Answer],
) -> None:
    code, found = doctor(OTHER_KEY)

    assert code == 1
    told = found["secret key"]
    assert not told["ok"]
    for part in (
        "HILUM_SECRET_KEY does not open",
        "the signing key of the audit",
        "the signing key of lakeside",
        "the FHIR server's credentials of lakeside",
        "set the key that this data was sealed with",
        "backup",
    ):
        assert part in told["next"]
    assert "clinic" not in told["next"], "what has nothing sealed is not accused"
    assert SECRET_KEY not in str(found)
    assert OTHER_KEY not in str(found)


def test_what_the_key_opens_is_not_named_beside_what_it_does_not(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork
) -> None:
    """A row that was put there from elsewhere: sealed for another ring, or changed."""
    swap = update(signing_key).where(signing_key.c.ring == "lakeside").values(private_sealed="A" * 80)
    spoil(sqlite_uow, lambda ctx: ctx.tx.execute(swap))

    code, found = doctor(SECRET_KEY)

    assert code == 1
    assert "the signing key of lakeside" in found["secret key"]["next"]
    assert "audit" not in found["secret key"]["next"]
    assert "credentials" not in found["secret key"]["next"]


def test_credentials_bound_to_another_host_are_reported(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork
) -> None:
    """Security decision 15: credentials go to the host that they were sealed for."""

    def move(ctx: Context) -> None:
        issuer = "https://login.example"
        federation.add_host(ctx, issuer)
        settings = Settings("L", issuer, "h", role_table=(RoleRow("n", "nurse"),), roles=("nurse",))
        sealed = seal_secret(vault(), "s3cret", "https://elsewhere.example", ctx.ids)
        federation.add_provider(ctx, TenantId("lakeside"), Change(settings, sealed))
        elsewhere = sealed_header("Bearer s3cret", url="https://elsewhere.example", ids=ctx.ids)
        moved = UpstreamRef(UpstreamKind.HTTP, URL, elsewhere)
        identity.update_tenant(ctx, TenantId("lakeside"), TenantChange(upstream=moved))

    spoil(sqlite_uow, move)

    code, found = doctor(SECRET_KEY)

    assert code == 1
    assert "the FHIR server's credentials of lakeside" in found["secret key"]["next"]
    assert "the identity provider's secret of lakeside" in found["secret key"]["next"]
    assert "signing key" not in found["secret key"]["next"]


def test_many_failures_are_counted_not_listed(doctor: Callable[..., Answer], sqlite_uow: UnitOfWork) -> None:
    def add_many(ctx: Context) -> None:
        for n in range(9):
            added = Tenant(TenantId(f"site-{n}"), "Site", UpstreamRef(UpstreamKind.EMBEDDED))
            identity.add_tenant(ctx, added)
            keys.ensure(ctx, Purpose.ID_TOKEN, f"site-{n}")

    spoil(sqlite_uow, add_many)

    _, found = doctor(OTHER_KEY)

    assert "and 7 more" in found["secret key"]["next"]


def test_a_fresh_database_has_nothing_to_open(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {
        "HILUM_SECRET_KEY": OTHER_KEY,
        "HILUM_DATABASE_URL": sqlite_url,
        "HILUM_DATA_DIR": str(tmp_path),
        "HILUM_BASE_URL": "http://127.0.0.1:8000",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    done = CliRunner().invoke(main, ["doctor"])

    assert done.exit_code == 0, done.output
    assert "ok   secret key" in done.output


# --- a platform of several nodes ------------------------------------------------------------------------------------------------


def report(uow: UnitOfWork, name: str, workers: int = 2, **more: Any) -> None:
    made = Node(name, workers, release(), f"boot-{name}", **more)
    spoil(uow, lambda ctx: nodes.report(ctx.tx, made))


def test_nodes_and_what_each_workers_share_is_are_listed(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork
) -> None:
    """Quotas are divided by the workers of all nodes, and it is said."""
    spoil(sqlite_uow, lambda ctx: identity.update_tenant(ctx, TenantId("clinic"), TenantChange(active=False)))
    report(sqlite_uow, "a", workers=1)
    report(sqlite_uow, "b")

    code, found = doctor(SECRET_KEY)

    assert code == 0, found
    assert found["nodes"]["next"] == "a (1 worker), b (2 workers); each worker has 1/3 of a quota"


@pytest.mark.parametrize(
    ("check", "more", "told"),
    [
        ("clocks of the nodes", {"skew": timedelta(minutes=5)}, "set the clocks by NTP of a by +300.0 s"),
        ("releases", {"closed": "closed"}, "install a newer release on a"),
    ],
)
def test_a_node_that_is_not_well_is_named_with_what_to_do(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork, check: str, more: dict[str, Any], told: str
) -> None:
    """Faults 6 and 7."""
    report(sqlite_uow, "a", **more)

    code, found = doctor(SECRET_KEY)

    assert code == 1
    assert not found[check]["ok"]
    assert told in found[check]["next"]


def test_an_embedded_tenant_on_several_nodes_is_a_fault(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork
) -> None:
    report(sqlite_uow, "a")
    assert doctor(SECRET_KEY)[1]["embedded FHIR servers"]["ok"]
    report(sqlite_uow, "b")

    code, found = doctor(SECRET_KEY)

    assert code == 1
    assert "clinic" in found["embedded FHIR servers"]["next"]


def test_a_job_that_no_node_runs_is_a_fault_while_nodes_serve(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork
) -> None:
    """Checkpoints stood still, and the doctor said well."""
    hour = timedelta(hours=1)
    spoil(sqlite_uow, lambda ctx: nodes.acquire(ctx.tx, "purge", "a/boot", hour))
    spoil(sqlite_uow, lambda ctx: nodes.acquire(ctx.tx, "checkpoint", "a/boot", -hour))
    assert doctor(SECRET_KEY)[1]["jobs"]["ok"], "a platform that is stopped has no fault"
    report(sqlite_uow, "a")

    code, found = doctor(SECRET_KEY)

    assert code == 1
    assert "no node runs checkpoint since" in found["jobs"]["next"]
    assert "purge" not in found["jobs"]["next"]


def test_mail_that_nobody_is_set_to_send_is_no_job_that_fails(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork
) -> None:
    """Fault: after HILUM_SMTP_HOST was unset, `no node runs send_mail since 1970-01-01`."""

    def run_and_release(ctx: Context) -> None:
        for job in ("send_mail", "purge"):
            lease = nodes.acquire(ctx.tx, job, "a/boot", timedelta(hours=1))
            assert lease is not None
            nodes.release(ctx.tx, lease)

    spoil(sqlite_uow, run_and_release)
    report(sqlite_uow, "a")

    _, found = doctor(SECRET_KEY)

    assert found["jobs"]["next"].startswith("no node runs purge since it was released:")


def test_a_checkpoint_that_a_failover_lost_is_found_by_the_anchor(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork, sqlite_url: str, tmp_path: Path
) -> None:
    """ADR 162: the database was replaced by an older copy and goes on, so its newest number is above the anchored one."""
    place = JournalGround(sqlite_uow, sqlite_url, tmp_path / "journal")
    for n in range(3):
        place.write(access(n))
        place.checkpoint()
        newest = sqlite_uow.read_now(audit.newest_checkpoint, trace=Trace("req_test"))
        assert newest is not None
        anchor.keep(tmp_path / "audit-anchor.log", newest, fresh=True)
        if n == 1:  # on the copy that was left
            lost = replace(newest, number=9, digest="ab" * 32)
            assert doctor(SECRET_KEY)[1]["anchor"]["ok"]
            anchor.keep(tmp_path / "audit-anchor.log", lost, fresh=True)

    code, found = doctor(SECRET_KEY)

    assert code == 1
    assert "Checkpoint 9 was anchored" in found["anchor"]["next"]
    assert "hilum switch confirm-failover" in found["anchor"]["next"]


@pytest.fixture
def on_postgresql(postgres_url: str, tmp_path: Path) -> Callable[..., Answer]:
    def ask(url: str = postgres_url) -> Answer:
        given = {
            "HILUM_SECRET_KEY": SECRET_KEY,
            "HILUM_DATABASE_URL": url,
            "HILUM_DATA_DIR": str(tmp_path),
            "HILUM_BASE_URL": "http://127.0.0.1:8000",
        }
        done = CliRunner().invoke(main, ["doctor", "--json"], env=given)
        assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
        return done.exit_code, {each["check"]: each for each in orjson.loads(done.stdout)}

    return ask


def test_a_journal_that_can_be_read_and_not_written_is_found_with_the_reason(
    on_postgresql: Callable[..., Answer], postgres_url: str
) -> None:
    """Fault: on a full disk every request was refused, and no finding said so. The trigger fails as the server does then."""
    with psycopg.connect(postgres_url, autocommit=True) as db:
        assert on_postgresql()[1]["access journal"]["ok"]
        assert db.execute("SELECT count(*) FROM access_payload").fetchone() == (0,), (
            "what was tried is taken back"
        )
        db.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger AS "
            "$$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$ LANGUAGE plpgsql"
        )
        try:
            db.execute(
                "CREATE TRIGGER full_disk BEFORE INSERT ON access_payload EXECUTE FUNCTION full_disk()"
            )
            code, found = on_postgresql()
        finally:
            db.execute("DROP FUNCTION full_disk CASCADE")

    assert code == 1
    assert (
        found["access journal"]["next"]
        == "it cannot be written. The database's disk is full. Free space. No acknowledged change is lost."
    )


def test_connections_and_the_round_trip_are_compared_with_what_nodes_need(
    on_postgresql: Callable[..., Answer], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, well = on_postgresql()
    with psycopg.connect(postgres_url, autocommit=True) as db:
        (limit,) = db.execute("SHOW max_connections").fetchone() or ("",)
        made = UnitOfWork.create(Database(postgres_url), SystemClock(), SystemIds(), "test")
        for name in ("a", "b"):
            report(made, name, workers=3)
        made.close()
    monkeypatch.setattr(findings, "ROUND_TRIP_BOUND", timedelta(0))
    code, found = on_postgresql()

    assert well["connections"]["ok"]
    assert re.match(r"[0-9.]+ ms", well["round trip to the database"]["next"])
    assert code == 1
    assert (
        found["connections"]["next"]
        == f"2 nodes may need 326, and the server's max_connections is {limit}: raise it"
    )
    assert "Place this node nearer to the database" in found["round trip to the database"]["next"]


def test_exhausted_connections_are_named(on_postgresql: Callable[..., Answer], postgres_url: str) -> None:
    """Fault: the finding was that the journal cannot be read. Look at the disk."""
    with psycopg.connect(postgres_url, autocommit=True) as db:
        db.execute("CREATE ROLE small LOGIN CONNECTION LIMIT 1 IN ROLE hilum")
        try:
            code, found = on_postgresql(postgres_url.replace("hilum@", "small@"))
        finally:
            db.execute("DROP ROLE small")

    assert code == 1
    assert found["database"]["next"].startswith("The database server has no connection left. Raise max_")


def test_a_full_disk_is_a_fault(doctor: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "FREE_BOUND", 10**18)

    code, found = doctor(SECRET_KEY)

    assert code == 1
    assert "free some space" in found["disk"]["next"]


def test_records_that_no_checkpoint_follows_are_a_fault(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork, sqlite_url: str, tmp_path: Path
) -> None:
    report(sqlite_uow, "a")
    place = JournalGround(sqlite_uow, sqlite_url, tmp_path / "journal")
    place.write(access(1))

    code, found = doctor(SECRET_KEY)

    assert code == 1
    assert "no checkpoint was made yet" in found["checkpoints"]["next"]


def test_a_database_that_lies_elsewhere_is_found_beside_the_data(tmp_path: Path) -> None:
    """Settings that name one place for the control plane and another for everything else are said to be apart."""
    kept = tmp_path / "data"
    kept.mkdir()
    missing = tmp_path / "elsewhere" / "hilum.db"
    environment = {
        "HILUM_SECRET_KEY": SECRET_KEY,
        "HILUM_DATA_DIR": str(kept),
        "HILUM_DATABASE_URL": f"sqlite:///{missing}",
    }

    without = CliRunner().invoke(main, ["doctor"], env=environment)
    (kept / "hilum.db").touch()
    beside = CliRunner().invoke(main, ["doctor"], env=environment)

    assert (without.exit_code, beside.exit_code) == (1, 1)
    assert f"{missing} is not there yet: run `hilum migrate`" in without.stdout
    assert "HILUM_DATABASE_URL=" not in without.stdout
    assert f"or set HILUM_DATABASE_URL=sqlite:///{kept}/hilum.db, where there is one" in beside.stdout
    assert not missing.parent.exists(), "looking changes nothing"


def at(uow: UnitOfWork, url: str, authorization: str = "Bearer s3cret") -> None:
    """Move the hospital with a FHIR server over HTTP there."""
    sealed = sealed_header(authorization, url=url, ids=SystemIds())
    change = TenantChange(upstream=UpstreamRef(UpstreamKind.HTTP, url, sealed))
    spoil(uow, lambda ctx: identity.update_tenant(ctx, TenantId("lakeside"), change))


def test_a_fhir_server_that_answers_is_well_and_nobodys_record_is_read(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork
) -> None:
    """C1: whoever connects a FHIR server learns whether it is one before an app does; with the credentials that apps' requests have."""
    server = OtherServer()
    with over_http(server) as base:
        at(sqlite_uow, base)
        code, found = doctor(SECRET_KEY, "--fhir-servers")

    assert (code, found["FHIR server of lakeside"]["ok"]) == (0, True)
    assert "FHIR server of clinic" not in found, "that is the embedded one"
    sent = [headers.get("authorization") for _, _, headers in server.seen]
    assert set(sent) == {"Bearer s3cret", None}
    assert sent.count(None) == 1, "once it is asked without credentials, which it should refuse"


def test_a_fhir_server_that_gives_no_token_is_found_with_the_reason(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork
) -> None:
    """C1: by the code of its token endpoint, without what that says besides."""
    with served(TokenServer(status=401)) as server:
        upstream = UpstreamRef(
            UpstreamKind.HTTP,
            server.base,
            token_auth=TokenAuth.KEY,
            token_url=server.token_url,
            client_id=CLIENT,
        )
        change = TenantChange(upstream=upstream)
        spoil(sqlite_uow, lambda ctx: identity.update_tenant(ctx, TenantId("lakeside"), change))
        code, found = doctor(SECRET_KEY, "--fhir-servers")

    assert (code, found["FHIR server of lakeside"]["ok"]) == (1, False)
    assert "its token endpoint answers 401 invalid_client" in found["FHIR server of lakeside"]["next"]
    assert "Jane" not in str(found)


@pytest.mark.parametrize(
    ("settings", "path", "said"),
    [
        ({"status": 401}, "", "refuses Hilum's credentials (401)"),
        ({"status": 503}, "", "answers 503"),
        ({"read_status": 403}, "", "refuses Hilum's credentials (403)"),
        ({"read_status": 500}, "", "a record that does not exist is 500"),
        ({"statement": {"fhirVersion": "4.3.0"}}, "", "speaks FHIR '4.3.0'"),
        ({"statement": {"fhirVersion": ["4.0.1"]}}, "", "speaks FHIR"),
        ({"statement": {"resourceType": "Patient"}}, "", "not a CapabilityStatement in JSON"),
        ({}, "/wrong", "answers 404"),
    ],
)
def test_a_fhir_server_that_is_none_is_found_with_what_to_do(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork, settings: dict[str, Any], path: str, said: str
) -> None:
    with over_http(OtherServer(**settings)) as base:
        at(sqlite_uow, base + path)
        code, found = doctor(SECRET_KEY, "--fhir-servers")

    assert code == 1
    assert not found["FHIR server of lakeside"]["ok"]
    assert said in found["FHIR server of lakeside"]["next"]
    assert "s3cret" not in str(found)


def test_a_fhir_server_at_a_dead_port_is_found_and_only_when_asked_for(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork
) -> None:
    at(sqlite_uow, f"http://127.0.0.1:{free_port()}/fhir")

    code, found = doctor(SECRET_KEY, "--fhir-servers")

    assert code == 1
    assert "cannot be reached" in found["FHIR server of lakeside"]["next"]
    assert doctor(SECRET_KEY)[0] == 0, "a hospital's server that is down is no fault of this node"


def test_a_deleted_application_of_the_policy_is_named(
    doctor: Callable[..., Answer], sqlite_uow: UnitOfWork
) -> None:
    """Without its last application an earlier policy would decide; the audit trail still has its record."""

    def narrow(ctx: Context) -> None:
        policies.adopt_shipped(ctx)
        narrower = document({"categories.scheduling.entries.low.quota": {"burst": 99}})
        version = policies.add_version(ctx, narrower, base=1, note="")
        policies.apply(ctx, ApplyOrder(version.number, (), 1, "a drill", emergency=True))

    spoil(sqlite_uow, narrow)
    code, found = doctor(SECRET_KEY)
    assert (code, found["policy"]["next"]) == (0, "version 2, application 2")

    spoil(sqlite_uow, lambda ctx: ctx.tx.execute(delete(applications).where(applications.c.number == 2)))

    code, found = doctor(SECRET_KEY)
    assert (code, found["policy"]["ok"]) == (1, False)
    assert (
        "Applications 2 to 2 of the policy are missing: the audit trail has their records."
        in found["policy"]["next"]
    )
