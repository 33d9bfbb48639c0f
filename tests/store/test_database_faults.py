"""What is wrong with a database is named, with what to do about it, and without repeating what the server said."""

import socket
import sqlite3
from pathlib import Path

import psycopg
import pytest

from hilum.foundation.infra.database_faults import ALL, DatabaseUnavailable, fault_of, fault_of_message
from hilum.foundation.infra.db import Database
from tests.sim.postgres import Cluster, free_port

SECRET = "s3cret-of-the-test"


def fault(url: str) -> str:
    """Try to change something, and return the class of the fault."""
    database = Database(url)
    try:
        with pytest.raises(DatabaseUnavailable) as caught:
            database.write(lambda tx: tx.exec_driver_sql("CREATE TABLE never (id integer)"))
    finally:
        database.dispose()
    error = caught.value
    assert error.code == "database_unavailable"
    for text in (str(error), error.fault.what, error.fault.next):
        assert SECRET not in text
        assert url not in text
    return error.fault.code


def test_each_way_to_miss_a_postgresql_has_its_name(postgres_cluster: Cluster) -> None:
    where = f"127.0.0.1:{postgres_cluster.port}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"127.0.0.1:{silent.getsockname()[1]}"
        ways = {
            f"postgresql://hilum:{SECRET}@127.0.0.1:{free_port()}/hilum": "database_port_closed",
            f"postgresql://hilum:{SECRET}@{where}/nothing": "database_missing",
            f"postgresql://nobody:{SECRET}@{where}/hilum": "database_credentials_refused",
            f"postgresql://hilum:{SECRET}@no-such-host.invalid/hilum": "database_host_unknown",
            f"postgresql://hilum:{SECRET}@{where}/hilum?sslmode=require": "database_tls_refused",
            f"postgresql://hilum:{SECRET}@{where}/hilum?options=-c%20default_transaction_read_only%3Don": "database_read_only",
            f"postgresql://hilum:{SECRET}@{mute}/hilum": "database_silent",
        }
        assert {url: fault(url) for url in ways} == ways


def test_a_server_without_a_free_connection_and_a_user_without_rights_are_named(
    postgres_cluster: Cluster,
) -> None:
    with psycopg.connect(postgres_cluster.url, autocommit=True) as db:
        db.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
        db.execute("CREATE ROLE bare LOGIN")
        db.execute("CREATE ROLE barred NOLOGIN")
    try:
        at = postgres_cluster.url.partition("@")[2]
        assert fault(f"postgresql://crowded@{at}") == "database_connections_exhausted"
        assert fault(f"postgresql://bare@{at}") == "database_permission_missing"
        assert fault(f"postgresql://barred@{at}") == "database_not_admitted"
    finally:
        with psycopg.connect(postgres_cluster.url, autocommit=True) as db:
            for role in ("crowded", "bare", "barred"):
                db.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ('FATAL:  password authentication failed for user "hilum"', "database_credentials_refused"),
        ("fe_sendauth: no password supplied", "database_credentials_refused"),
        ('FATAL:  role "ssl" does not exist', "database_credentials_refused"),
        ('FATAL:  database "password" does not exist', "database_missing"),
        ('FATAL:  no pg_hba.conf entry for host "192.0.2.1", user "h", SSL off', "database_not_admitted"),
        ("FATAL:  sorry, too many clients already", "database_connections_exhausted"),
        ("FATAL:  remaining connection slots are reserved for superusers", "database_connections_exhausted"),
        ("FATAL:  the database system is starting up", "database_starting"),
        ("FATAL:  the database system is shutting down", "database_starting"),
        ("session is read-only", "database_read_only"),
        ("server does not support SSL, but SSL was required", "database_tls_refused"),
        ("SSL error: certificate verify failed", "database_tls_refused"),
        ("connection to server failed: Connection refused", "database_port_closed"),
        ("could not translate host name", "database_host_unknown"),
        ("[Errno -2] Name or service not known", "database_host_unknown"),
        ("No route to host", "database_host_unreachable"),
        ("connection timeout expired", "database_silent"),
        ("Verbindung abgelehnt", "database_unavailable"),
        ("", "database_unavailable"),
    ],
)
def test_what_the_client_library_says_is_read_as_a_class(words: str, code: str) -> None:
    assert fault_of_message(words).code == code


def test_each_way_to_miss_a_sqlite_file_has_its_name(tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"this is no database, and long enough to be looked at" * 40)
    (tmp_path / "folder.db").mkdir()
    held = tmp_path / "held.db"
    with sqlite3.connect(held, isolation_level=None) as holding:
        holding.execute("CREATE TABLE held (id)")
        holding.execute("BEGIN IMMEDIATE")
        assert fault(f"sqlite:///{held}") == "database_locked"
        holding.execute("ROLLBACK")
    assert fault(f"sqlite:///{tmp_path}/damaged.db") == "database_damaged"
    assert fault(f"sqlite:///{tmp_path}/folder.db") == "database_file_inaccessible"


def test_a_bug_of_ours_is_no_fault_of_the_database() -> None:
    for error in (
        sqlite3.OperationalError("no such table: x"),
        psycopg.errors.UndefinedTable("x"),
        psycopg.errors.UniqueViolation("x"),
        ValueError("x"),
        None,
    ):
        assert fault_of(error) is None


def test_every_class_says_what_to_do_in_sentences() -> None:
    assert len({each.code for each in ALL}) == len(ALL)
    for each in ALL:
        assert each.code.startswith("database_")
        assert each.what.endswith(".")
        assert each.next.endswith((".", "?"))
