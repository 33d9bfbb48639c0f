"""Answers that the embedded FHIR server keeps are those that it would read now, whoever wrote."""

import fcntl
import multiprocessing
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum_ehr.fhirserver import change_mark
from hilum_ehr.fhirserver.change_mark import ChangeMark
from hilum_ehr.fhirserver.routes import (
    KEPT_BOUND,
    KEPT_BYTES_BOUND,
    KEPT_SEARCH_BYTES_BOUND,
    KEPT_SEARCHES_BOUND,
    Response,
)
from tests.sim.one_world import in_one_world
from tests.unit.fhirserver.driver import Fhir

PATIENT = {"resourceType": "Patient", "id": "p1", "gender": "female"}
LOCKED_WHILE_OPEN = 128
"""The byte of the index on which each connection holds a shared lock. Source: sqlite.org/walformat.html, section 2.3.1"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fhir.db"


@pytest.fixture
def fhir(path: Path) -> Iterator[Fhir]:
    made = Fhir(path)
    made.load(PATIENT)
    yield made
    made.close()


def read(fhir: Fhir, target: str = "Patient/p1") -> Response:
    response = fhir.server.read_inline(target)
    assert response is not None
    return response


def search(fhir: Fhir, query: str) -> Response | None:
    """Search by GET, and return what is kept of it."""
    assert fhir.get("/Patient", query).status == 200
    return fhir.server.read_inline(f"Patient?{query}")


def statements_of(fhir: Fhir, target: str) -> int:
    """Return how many statements one read takes."""
    seen: list[str] = []
    connection = fhir.server.service._store.connection()
    connection.set_trace_callback(seen.append)
    read(fhir, target)
    connection.set_trace_callback(None)
    return len(seen)


def test_what_has_not_changed_is_not_read_again(fhir: Fhir) -> None:
    first = read(fhir)
    assert statements_of(fhir, "Patient/p1") == 0
    assert read(fhir) == first


def test_a_search_that_was_answered_is_kept_as_it_was(fhir: Fhir) -> None:
    assert fhir.server.read_inline("Patient?gender=female") is None
    kept = search(fhir, "gender=female")
    assert kept is not None
    assert kept.body == fhir.get("/Patient", "gender=female").body
    assert kept.found is not None
    assert [each.body for each in kept.found.page.matches] == [read(fhir).body]
    assert statements_of(fhir, "Patient?gender=female") == 0


@in_one_world(
    "query",
    ["_summary=true", "_summary=count", "_elements=gender", "_count=0", "_pretty=true", "birthdate=ap1990"],
)
def test_what_is_not_whole_or_depends_on_the_present_is_not_kept(fhir: Fhir, query: str) -> None:
    """FHIR R4 search.html#prefix: what is near (``ap``) depends on how long ago it was."""
    assert search(fhir, query) is None


def test_a_search_by_post_and_one_that_is_refused_are_not_kept(fhir: Fhir) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert fhir.request("POST", "/Patient/_search", body=b"gender=female", headers=form).status == 200
    assert fhir.get("/Patient", "colour=red").status == 400
    for target in ("Patient/_search", "Patient?gender=female", "Patient?colour=red"):
        assert fhir.server.read_inline(target) is None


def test_any_write_ends_what_is_kept_of_searches(fhir: Fhir, path: Path) -> None:
    assert search(fhir, "gender=female") is not None
    _store_male(path)
    assert fhir.server.read_inline("Patient?gender=female") is None
    assert fhir.get("/Patient", "gender=female").ids == []


def test_a_search_that_a_write_overtook_is_not_kept(
    fhir: Fhir, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether it was read before the write or after it."""
    find = fhir.server.service.search

    def overtaken(*asked: Any) -> Any:
        found = find(*asked)
        _store_male(path)
        return found

    monkeypatch.setattr(fhir.server.service, "search", overtaken)
    assert search(fhir, "gender=female") is None


def test_searches_kept_are_bounded_in_number_and_size(fhir: Fhir) -> None:
    for number in range(KEPT_SEARCHES_BOUND + 5):
        search(fhir, f"_id=none-{number}")
    assert len(fhir.server._kept_searches) == KEPT_SEARCHES_BOUND
    fhir.load({**PATIENT, "id": "big", "name": [{"text": "x" * KEPT_SEARCH_BYTES_BOUND}]})
    assert search(fhir, "_id=big") is None


@pytest.mark.parametrize("target", ["Patient/none", "Patient/gone"])
def test_absence_is_kept_like_a_record(fhir: Fhir, target: str) -> None:
    """C75: or a record out of reach would take another time than none."""
    fhir.load({**PATIENT, "id": "gone"})
    fhir.request("DELETE", "/Patient/gone")
    assert [statements_of(fhir, each) for each in ("Patient/p1", target)] == [1, 1]
    assert [statements_of(fhir, each) for each in ("Patient/p1", target)] == [0, 0]
    assert read(fhir, target).status in {404, 410}


@in_one_world("target", ["Patient", "Patient/p1?_summary=true", "Patient/$everything", "Patient/_search"])
def test_nothing_but_a_plain_read_is_kept(fhir: Fhir, target: str) -> None:
    assert fhir.server.read_inline(target) is None
    assert fhir.server.read_inline(target) is None


def test_a_write_is_read_at_once(fhir: Fhir) -> None:
    read(fhir)
    fhir.write("PUT", "/Patient/p1", {**PATIENT, "gender": "male"})
    assert b'"male"' in read(fhir).body
    fhir.request("DELETE", "/Patient/p1")
    assert read(fhir).status == 410


def test_a_record_that_was_absent_is_read_once_it_is_there(fhir: Fhir) -> None:
    assert read(fhir, "Patient/p2").status == 404
    fhir.load({**PATIENT, "id": "p2"})
    assert read(fhir, "Patient/p2").status == 200


def _store_male(path: Path) -> None:
    other = Fhir(path)
    other.write("PUT", "/Patient/p1", {**PATIENT, "gender": "male"})
    other.close()


def test_a_write_of_another_process_is_read_at_once(fhir: Fhir, path: Path) -> None:
    read(fhir)
    writer = multiprocessing.get_context("spawn").Process(target=_store_male, args=(path,))
    writer.start()
    writer.join(60)
    assert writer.exitcode == 0
    assert b'"male"' in read(fhir).body


def test_a_write_between_a_read_and_its_end_is_read_next(
    fhir: Fhir, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is taken before the store is read. Taken after it, the older answer would count as that of the newer file for good."""
    answer = fhir.server._guarded

    def overtaken(*asked: Any) -> Response:
        response = answer(*asked)
        _store_male(path)
        return response

    monkeypatch.setattr(fhir.server, "_guarded", overtaken)
    first = read(fhir)
    monkeypatch.undo()

    assert b'"female"' in first.body
    assert b'"male"' in read(fhir).body


def test_a_write_that_is_not_committed_is_not_read(fhir: Fhir, path: Path) -> None:
    first = read(fhir)
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE resource SET body = ?", (b'{"resourceType":"Patient","id":"p1"}',))
        assert read(fhir) == first
        other.execute("ROLLBACK")
    assert read(fhir) == first
    other.close()


@pytest.mark.parametrize("how", ["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
def test_a_checkpoint_changes_no_answer_and_hides_no_write(fhir: Fhir, path: Path, how: str) -> None:
    first = read(fhir)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute(f"PRAGMA wal_checkpoint({how})")
    assert read(fhir) == first
    fhir.write("PUT", "/Patient/p1", {**PATIENT, "gender": "male"})
    other.execute(f"PRAGMA wal_checkpoint({how})")
    assert b'"male"' in read(fhir).body
    other.close()


@given(
    steps=st.lists(
        st.sampled_from(["read 0", "read 1", "write 0", "write 1", "delete 0", "delete 1", "checkpoint"]),
        max_size=25,
    )
)
def test_two_servers_of_one_file_read_what_either_wrote_last(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    path = tmp_path_factory.mktemp("kept") / "fhir.db"
    servers = [Fhir(path), Fhir(path)]
    servers[0].load(PATIENT)
    for number, step in enumerate(steps):
        verb, _, which = step.partition(" ")
        server = servers[int(which or 0)]
        match verb:
            case "write":
                server.write("PUT", "/Patient/p1", {**PATIENT, "gender": ("male", "female")[number % 2]})
            case "delete":
                server.request("DELETE", "/Patient/p1")
            case "checkpoint":
                server.server.service._store.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for each in servers:
            now = each.get("/Patient/p1")
            assert (read(each).status, read(each).body) == (now.status, now.body)
    for each in servers:
        each.close()


def test_the_answers_kept_are_bounded_in_number_and_size(fhir: Fhir) -> None:
    for number in range(KEPT_BOUND + 50):
        read(fhir, f"Patient/none-{number}")
    assert len(fhir.server._kept) == KEPT_BOUND
    assert statements_of(fhir, "Patient/none-0") == 1, "the one used longest ago went first"
    fhir.load({**PATIENT, "id": "big", "name": [{"text": "x" * KEPT_BYTES_BOUND}]})
    assert statements_of(fhir, "Patient/big") == 1
    assert statements_of(fhir, "Patient/big") == 1


def test_a_failure_is_not_kept(fhir: Fhir, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(fhir.server.service, "read", fail)
    assert read(fhir).status == 500
    monkeypatch.undo()
    assert read(fhir).status == 200


def test_without_a_mark_every_read_asks_the_file(fhir: Fhir, path: Path) -> None:
    fhir.server.service._store.mark.close()
    assert fhir.server.service.change_mark() is None
    assert [statements_of(fhir, "Patient/p1") for _ in range(2)] == [1, 1]
    assert ChangeMark(path.with_name("none.db")).read() is None


def test_an_index_of_another_version_has_no_mark(fhir: Fhir, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change_mark, "_VERSION", (4_000_000).to_bytes(4, sys.byteorder))
    assert fhir.server.service.change_mark() is None


def _is_locked(path: Path) -> None:
    index = os.open(f"{path}-shm", os.O_RDWR)
    try:
        fcntl.lockf(index, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, LOCKED_WHILE_OPEN)
    except OSError:
        return
    sys.exit("nobody holds the lock")


def test_closing_one_server_leaves_the_locks_of_another_of_the_process(fhir: Fhir, path: Path) -> None:
    """Without its lock, the next process to open the file would take it for abandoned, and clear the index."""
    Fhir(path).close()
    tried = multiprocessing.get_context("spawn").Process(target=_is_locked, args=(path,))
    tried.start()
    tried.join(60)
    assert tried.exitcode == 0
    assert read(fhir).status == 200
