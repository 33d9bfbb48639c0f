"""An access journal, with what writes, reads and verifies it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.records.audit import live, service
from hilum.records.audit.models import Access, Outcome, Verdict
from tests.sim.world import SeededIds

TRACE = Trace("req_audit")
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def access(n: int = 1, **more: Any) -> Access:
    request_id = f"req_{n:026d}"
    facts: dict[str, Any] = {
        "request_id": request_id,
        "decision": request_id,
        "at": AT + timedelta(milliseconds=n),
        "tenant": "general",
        "interaction": "read",
        "resource_type": "Observation",
        "status": 200,
        "outcome": Outcome.DONE,
        "app": "app_1",
        "client": "cli_1",
        "person": "per_1",
        "launch": "lch_1",
        "method": "GET",
        "path": f"Observation/{n}",
        "query": "code=x",
        "patient": f"pat-{n % 3}",
    }
    return Access(**(facts | more))


class JournalGround:
    """The journal of one process over a database, with what reads and verifies it."""

    def __init__(self, uow: UnitOfWork, url: str, directory: Path) -> None:
        self.uow, self.url, self.directory = uow, url, directory
        self.boots = 0

    def boot(self, ids: Any = None) -> live.Journal:
        self.boots += 1
        return live.open_journal(
            self.url, self.directory, f"node-{self.boots}", ids or SeededIds(f"boot{self.boots}")
        )

    @property
    def reader(self) -> Any:
        return live.open_reader(self.directory, self.url)

    def verify(self) -> Verdict:
        return self.uow.read_now(lambda ctx: service.verify(ctx, self.reader), trace=TRACE)

    def checkpoint(self) -> Any:
        heads = live.access_heads(self.directory, self.url)
        last = self.uow.read_now(service.newest_checkpoint, trace=TRACE)
        after = last.number if last is not None else 0
        return self.uow.write_now(lambda ctx: service.checkpoint(ctx, heads, after=after), trace=TRACE)

    def write(self, *accesses: Access) -> None:
        journal = self.boot()

        async def work() -> None:
            await asyncio.gather(*(journal.record(each) for each in accesses))

        asyncio.run(work())
        journal.close()


def index_now(place: JournalGround) -> int:
    return live.index_accesses(place.directory, place.url)
