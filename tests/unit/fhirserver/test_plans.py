"""How searches run: through which indexes. Performance P11: flat however many resources there are."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.fhirserver.driver import Fhir


class Watched(sqlite3.Connection):
    """Keeps what it is asked."""

    asked: list[tuple[str, tuple[object, ...]]]

    def execute(self, sql: str, values: tuple[object, ...] = ()) -> sqlite3.Cursor:  # type: ignore[override]
        if sql.startswith("SELECT"):
            self.asked.append((sql, values))
        return super().execute(sql, values)


@pytest.fixture
def fhir(tmp_path: Path) -> Iterator[Fhir]:
    driver = Fhir(tmp_path / "fhir.db")
    yield driver
    driver.close()


def steps(fhir: Fhir, path: Path, query: str) -> list[str]:
    """Run a search over a watching connection and list the steps of every statement it makes."""
    watched = sqlite3.connect(path, factory=Watched, isolation_level=None)
    watched.asked = []
    fhir.server.service._store._local.connection = watched
    fhir.server.service.search("Observation", [tuple(p.split("=")) for p in query.split("&") if p])  # type: ignore[misc]
    asked = list(watched.asked)
    found = [row[3] for sql, values in asked for row in watched.execute("EXPLAIN QUERY PLAN " + sql, values)]
    watched.close()
    del fhir.server.service._store._local.connection
    return found


@pytest.mark.parametrize(
    "query",
    [
        "patient=a&code=http://loinc.org|1&date=ge2026",
        "patient=a&code=1&date=ge2026&date=lt2027",
        "patient=a&category=laboratory&_sort=-date",
        "patient=a&status:not=final",
        "patient=a&value-quantity=gt5",
        "patient=a&code:missing=true",
        "_id=a,b&status=final",
        "patient.name=x",
        "patient.identifier=urn:mrn|1&status=final",
        "_has:Provenance:target:agent=Organization/o",
        "code=1",
        "patient=a&_include=Observation:patient&_revinclude=Provenance:target",
        "patient=a&_lastUpdated=gt2026",
        "combo-code-value-quantity=1$2",
        "patient=a&combo-code-value-quantity=1$2",
        "patient=a&subject:Patient.name=x",
    ],
)
def test_no_search_walks_through_a_table(fhir: Fhir, tmp_path: Path, query: str) -> None:
    found = steps(fhir, tmp_path / "fhir.db", query)

    derived = {s.split()[1] for s in found if s.startswith(("CO-ROUTINE", "MATERIALIZE"))} | {"json_each"}
    walked = [s for s in found if s.startswith("SCAN") and s.split()[1] not in derived and "(sub" not in s]
    assert walked == []
    assert [s for s in found if s.startswith("SEARCH")]


@pytest.mark.parametrize(
    "query",
    ["patient=a&code=1&date=ge2026&value-quantity=gt5", "patient=a&code=http://loinc.org|1&date=2026"],
)
def test_what_does_not_drive_is_probed_by_row(fhir: Fhir, tmp_path: Path, query: str) -> None:
    found = steps(fhir, tmp_path / "fhir.db", query)

    page = found[next(i for i, s in enumerate(found) if s.startswith("CO-ROUTINE")) :]
    assert any("ix_reference_value (param=? AND tid=?" in s for s in page)
    assert not any("ix_token_value" in s or "ix_date_value" in s or "ix_quantity_value" in s for s in page)
    assert any("PRIMARY KEY (rid=? AND param=?)" in s for s in page)


@pytest.mark.parametrize("query", ["", "_count=5", "_total=none"])
def test_a_type_is_listed_along_its_index(fhir: Fhir, tmp_path: Path, query: str) -> None:
    found = steps(fhir, tmp_path / "fhir.db", query)

    assert any("resource_type (type=?" in s for s in found)
    assert not any("TEMP B-TREE" in s for s in found)
