"""Why the access journal cannot be written is said where a node reports that it is not ready."""

import psycopg
import pytest

from hilum.foundation.kernel.errors import Unavailable
from hilum.records.audit.journal_health import JournalHealth
from hilum.server.readiness import audit_unavailable
from tests.sim.world import FakeClock


def test_the_reason_is_said_until_the_journal_is_written_again() -> None:
    """Fault: on a full disk `/readyz` said only that the journal cannot be written."""
    health = JournalHealth(FakeClock())

    def full() -> int:
        raise Unavailable(
            "audit_unavailable", "The audit journal cannot be written."
        ) from psycopg.errors.DiskFull()

    with pytest.raises(Unavailable):
        health.commit(full, 1)
    assert "The database's disk is full. Free space." in audit_unavailable(health.fault)[1]

    health.commit(lambda: 1, 1)
    assert audit_unavailable(health.fault) == (
        "audit_unavailable",
        "The access journal cannot be written, so every FHIR request is refused.",
    )
