"""A server's records are replaced by those of a template at once, while other processes have it open (C123)."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from hilum_ehr.fhirserver import copies
from hilum_ehr.fhirserver.models import FhirServerSettings, Precondition, Refused
from hilum_ehr.fhirserver.routes import FhirServer
from tests.sim.world import FakeClock, SeededIds

PATIENT = {"resourceType": "Patient", "name": [{"family": "Abara"}], "gender": "female"}


def server(path: Path, clock: FakeClock | None = None) -> FhirServer:
    settings = FhirServerSettings(path, "http://127.0.0.1/fhir")
    return FhirServer(settings, clock or FakeClock(), SeededIds(path.stem))


def found(of: FhirServer, family: str) -> list[str]:
    _, page = of.service.search("Patient", [("family", family)])
    return sorted(each.id for each in page.matches)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    source = server(tmp_path / "source.db")
    source.load([PATIENT | {"id": "p1"}, PATIENT | {"id": "p2"}])
    source.close()
    copies.pack(tmp_path / "source.db", tmp_path / "packed" / "source.db.z")
    return tmp_path / "packed" / "source.db.z"


@pytest.fixture
def opened(packed: Path, tmp_path: Path) -> Iterator[FhirServer]:
    """A server made of the template, that somebody has open."""
    copies.unpack_over(packed, tmp_path / "own.db")
    made = server(tmp_path / "own.db")
    yield made
    made.close()


def test_who_has_it_open_sees_the_template_again(opened: FhirServer, packed: Path, tmp_path: Path) -> None:
    assert found(opened, "abara") == ["p1", "p2"]
    opened.load([PATIENT | {"id": "p3"}, PATIENT | {"id": "p1", "name": [{"family": "Other"}]}])
    assert found(opened, "abara") == ["p2", "p3"]

    copies.unpack_over(packed, tmp_path / "own.db")

    assert found(opened, "abara") == ["p1", "p2"]
    assert opened.service.read("Patient", "p1").number == 1
    with pytest.raises(Refused):
        opened.service.read("Patient", "p3")
    assert (tmp_path / "own.db").stat().st_mode & 0o077 == 0
    assert not list(tmp_path.glob("*.new*"))


def test_two_at_once_do_not_disturb_each_other(opened: FhirServer, packed: Path, tmp_path: Path) -> None:
    """Somebody presses the button twice: both copies are whole."""
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: copies.unpack_over(packed, tmp_path / "own.db"), range(12)))
    assert found(opened, "abara") == ["p1", "p2"]
    with closing(sqlite3.connect(tmp_path / "own.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(tmp_path.glob("*.new*"))


def test_it_is_emptied_and_filled_again(opened: FhirServer, packed: Path, tmp_path: Path) -> None:
    copies.clear(tmp_path / "own.db")
    assert found(opened, "abara") == []
    copies.unpack_over(packed, tmp_path / "own.db")
    assert found(opened, "abara") == ["p1", "p2"]
    copies.clear(tmp_path / "nowhere.db")
    assert not (tmp_path / "nowhere.db").exists()


def test_a_template_of_another_release_keeps_the_numbers_that_are_in_use(
    packed: Path, tmp_path: Path
) -> None:
    """Whoever has the file open has read the numbers of its parameters, and would search by wrong ones."""
    made = server(tmp_path / "own.db")
    made.close()
    with closing(sqlite3.connect(tmp_path / "own.db")) as db, db:
        # As an older release left them: in another order, and without one that came since.
        db.execute("UPDATE parameter SET number = 1000000 - number")
        db.execute("DELETE FROM parameter WHERE key = (SELECT max(key) FROM parameter)")
    opened = server(tmp_path / "own.db")

    copies.unpack_over(packed, tmp_path / "own.db")

    assert found(opened, "abara") == ["p1", "p2"]
    again = server(tmp_path / "own.db")
    assert found(again, "abara") == ["p1", "p2"]
    for each in (opened, again):
        each.close()


def test_what_was_made_changed_or_deleted_since_a_moment_is_counted(packed: Path, tmp_path: Path) -> None:
    """C126: reviewers see whether the charts of a vendor's own hospital are still those of its template."""
    own, clock = tmp_path / "own.db", FakeClock()
    copies.unpack_over(packed, own)
    reset_at = clock.now()
    clock.advance(timedelta(minutes=1))
    changing = server(own, clock)
    try:
        assert copies.count_changed(own, reset_at) == 0
        changing.load([PATIENT | {"id": "p1", "gender": "male"}, PATIENT | {"id": "p3"}])
        changing.service.delete("Patient", "p2", Precondition())
        changing.load([PATIENT | {"id": "p3", "gender": "other"}])
        assert copies.count_changed(own, reset_at) == 3, "each once"
        copies.unpack_over(packed, own)
        assert copies.count_changed(own, reset_at) == 0
    finally:
        changing.close()
