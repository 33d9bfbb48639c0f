"""Statements that are sent together with their commit are one transaction (ADR 32)."""

import gc
import sys
from collections.abc import Iterator
from time import monotonic

import psycopg
import pytest

from hilum.foundation.infra import postgres
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.infra.postgres import Link, ServerTimeout, Statement, send
from tests.sim.postgres import Cluster

ADD = "INSERT INTO pipelined (id, parent) VALUES (%s, %s)"
Row = tuple[int, int | None]


@pytest.fixture
def link(postgres_cluster: Cluster) -> Iterator[Link]:
    with psycopg.connect(postgres_cluster.url, autocommit=True) as db:
        # Deferred, so that a broken reference is found at the commit and not at its statement.
        db.execute(
            "CREATE TABLE pipelined (id integer PRIMARY KEY, "
            "parent integer REFERENCES pipelined DEFERRABLE INITIALLY DEFERRED)"
        )
    made = postgres.connect(postgres_cluster.url, Lane.TOKENS)
    yield made
    made.close()
    with psycopg.connect(postgres_cluster.url, autocommit=True) as db:
        db.execute("DROP TABLE pipelined")


def adding(*rows: Row) -> list[Statement]:
    return [(ADD, row) for row in rows]


def stored(cluster: Cluster) -> list[int]:
    with psycopg.connect(cluster.url) as db:
        return [row[0] for row in db.execute("SELECT id FROM pipelined ORDER BY id")]


@pytest.mark.parametrize("begun", [False, True], ids=["whole transaction", "end of one"])
class TestCommit:
    def begin(self, link: Link, *, begun: bool) -> None:
        if begun:
            link.execute(ADD, (100, None))

    def test_what_was_sent_is_committed(self, link: Link, postgres_cluster: Cluster, *, begun: bool) -> None:
        self.begin(link, begun=begun)
        send(link, adding((1, None), (2, 1)), commit=True)
        assert stored(postgres_cluster) == [1, 2, *([100] if begun else [])]

    def test_a_statement_that_fails_undoes_those_before_and_after_it(
        self, link: Link, postgres_cluster: Cluster, *, begun: bool
    ) -> None:
        self.begin(link, begun=begun)
        with pytest.raises(psycopg.errors.UniqueViolation):
            send(link, adding((1, None), (1, None), (2, None)), commit=True)
        link.rollback()
        assert stored(postgres_cluster) == []

    def test_a_commit_that_fails_is_raised_and_stores_nothing(
        self, link: Link, postgres_cluster: Cluster, *, begun: bool
    ) -> None:
        self.begin(link, begun=begun)
        with pytest.raises(psycopg.Error):
            send(link, adding((1, None), (2, 77)), commit=True)
        # The server may report the failure before or after psycopg stops waiting: then the connection is closed, or it works.
        if not begun and not link.closed:
            send(link, adding((3, None)), commit=False)
            link.rollback()
            assert not link.autocommit
        assert stored(postgres_cluster) == []

    def test_the_next_transaction_of_the_connection_is_rolled_back_as_a_whole(
        self, link: Link, postgres_cluster: Cluster, *, begun: bool
    ) -> None:
        self.begin(link, begun=begun)
        send(link, adding((1, None)), commit=True)
        link.execute(ADD, (2, None))
        link.execute(ADD, (3, None))
        link.rollback()
        assert stored(postgres_cluster) == [1, *([100] if begun else [])]

    def test_after_a_failure_the_next_transaction_is_rolled_back_as_a_whole(
        self, link: Link, postgres_cluster: Cluster, *, begun: bool
    ) -> None:
        self.begin(link, begun=begun)
        with pytest.raises(psycopg.errors.UniqueViolation):
            send(link, adding((1, None), (1, None)), commit=True)
        link.rollback()
        link.execute(ADD, (2, None))
        link.rollback()
        assert stored(postgres_cluster) == []

    def test_an_error_of_the_connection_stays_the_error_that_is_raised(
        self, link: Link, *, begun: bool
    ) -> None:
        self.begin(link, begun=begun)
        link.until = 0.0
        with pytest.raises(postgres.ServerTimeout):
            send(link, adding((1, None)), commit=True)
        assert link.closed


def test_statements_without_a_commit_stay_in_the_transaction(link: Link, postgres_cluster: Cluster) -> None:
    send(link, adding((1, None)), commit=False)
    assert stored(postgres_cluster) == []
    link.rollback()
    assert stored(postgres_cluster) == []


def test_a_commit_that_misses_its_deadline_leaves_no_error_to_the_collector(
    link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    uncaught: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: uncaught.append(str(found.exc_value)))
    with pytest.raises(ServerTimeout), link.pipeline():
        link.execute("SELECT repeat('x', 1000000), pg_sleep(2)")
        link.until = monotonic()
    gc.collect()
    assert not uncaught
