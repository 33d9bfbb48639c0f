"""FHIR servers on files that are made once: creating the tables, and numbering thousands of search parameters, takes most of a start."""

import tempfile
from functools import cache
from pathlib import Path

from hilum.kernel.ports import Clock, Ids
from hilum_ehr.fhirserver.models import FhirServerSettings
from hilum_ehr.fhirserver.routes import FhirServer
from tests.sim.world import FakeClock, SeededIds


def fhir_server(path: Path, base: str, clock: Clock, ids: Ids) -> FhirServer:
    """Start a server on a file; an empty one, if there is none yet."""
    if not path.exists():
        path.write_bytes(_empty_file())
    return FhirServer(FhirServerSettings(path, base), clock, ids)


@cache
def _empty_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.db"
        FhirServer(FhirServerSettings(path, "http://empty.example/fhir"), FakeClock(), SeededIds()).close()
        return path.read_bytes()
