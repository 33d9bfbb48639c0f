"""A writer of an access journal that records until it is killed; it prints the id of each record that was acknowledged."""

import asyncio
import itertools
import sys
from pathlib import Path

from hilum.foundation.infra.system import SystemIds
from hilum.records.audit import live
from tests.flows.journal_ground import access

LANES = 32


async def write(url: str, folder: Path, writer: str) -> None:
    """Record accesses without end."""
    journal = live.open_journal(url, folder, writer, SystemIds())
    journal.start()
    numbers = itertools.count(1)

    async def lane() -> None:
        while True:
            made = access(next(numbers), app=writer)
            await journal.record(made)
            print(made.request_id, flush=True)

    await asyncio.gather(*(lane() for _ in range(LANES)))


def main() -> None:
    url, folder, writer = sys.argv[1:]
    asyncio.run(write(url, Path(folder), writer))
