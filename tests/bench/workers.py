"""Reads by four workers, beside one worker on the same core: what workers cost each other."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from tests.bench.figures import Figure
from tests.bench.rig import Load, ehr_token, postgres, rig, sqlite, wrk
from tests.bench.setup import lift_quotas

SCOPE = "launch openid fhirUser patient/*.rs"


def figures() -> list[Figure]:
    """Measure the read of one Patient with one worker and with four, on SQLite and on PostgreSQL."""
    return [_figure("SQLite", sqlite), _figure("PostgreSQL", postgres)]


def _figure(name: str, database: Callable[[], AbstractContextManager[str]]) -> Figure:
    one, four = (_reads(database, workers) for workers in (1, 4))
    ratio = four.rate / one.rate
    parts = [
        f"{count}: {load.rate:,.0f}/s, {load.cpu_us:.0f} us of CPU a read, p99 {load.p99_ms:.1f} ms, errors {load.errors}"
        for count, load in (("one worker", one), ("four workers", four))
    ]
    return Figure(
        "4/1",
        f"reads by four workers / by one, on one core, {name}",
        ratio,
        f"{ratio:.2f}",
        "none",
        True,
        parts,
    )


def _reads(database: Callable[[], AbstractContextManager[str]], workers: int) -> Load:
    with database() as url, rig(workers=workers, database_url=url) as made:
        lift_quotas(made, "general")
        answer = ehr_token(made, SCOPE)
        fhir = made.card["tenants"][0]["fhir"]
        headers = {"authorization": f"Bearer {answer['access_token']}"}
        return wrk(f"{fhir}/Patient/{answer['patient']}", connections=64, headers=headers, of=made)
