"""FHIR servers on files that are made once: creating the tables, and numbering thousands of search parameters, takes most of a start.

Reading the numbers again takes most of the rest: a server that starts on a copy of the empty file gets those of the first.
"""

import tempfile
from functools import cache
from pathlib import Path

from hilum.foundation.kernel.ports import Clock, Ids
from hilum_ehr.fhirserver.models import FhirServerSettings
from hilum_ehr.fhirserver.routes import FhirServer
from hilum_ehr.fhirserver.store import Store
from tests.sim.world import FakeClock, SeededIds


def fhir_server(path: Path, base: str, clock: Clock, ids: Ids) -> FhirServer:
    """Start a server on a file; an empty one, if there is none yet."""
    if not path.exists():
        file, numbers = _empty_file()
        path.write_bytes(file)
        _numbers_of[path] = numbers
    return FhirServer(FhirServerSettings(path, base), clock, ids)


@cache
def _empty_file() -> tuple[bytes, dict[str, int]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        server = FhirServer(FhirServerSettings(path, "http://empty.example/fhir"), FakeClock(), SeededIds())
        server.close()
        store = Store(path, busy_timeout_s=1, bound_s=1, monotonic=FakeClock().monotonic)
        store.close()
        return path.read_bytes(), dict(store.numbers)


_numbers_of: dict[Path, dict[str, int]] = {}
"""The numbers of copies of the empty file that nobody has opened yet."""
_prepare = Store._prepare


def _prepare_copy(store: Store) -> dict[str, int]:
    numbers = _numbers_of.pop(store._path, None)
    if numbers is None:
        return _prepare(store)
    store.connection().execute("SELECT 1 FROM parameter LIMIT 1").fetchone()
    return numbers


Store._prepare = _prepare_copy  # type: ignore[method-assign, assignment]
