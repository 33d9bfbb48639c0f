"""A bounded cache of the platform's decisions about this site's launches. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cachetools import LRUCache

from hilum_ehr.sandbox.ehr.inspector import CALLS_SHOWN

LAUNCHES_KEPT = 256
"""Beyond this the least recently used launch is dropped."""
TEXT_BOUND = 500
"""Characters of one value."""
# Only what the page shows is kept: a record has three times as many members.
_TEXTS = ("at", "detail", "interaction", "outcome", "path", "query", "reason", "request_id", "resource_type", "rule")  # fmt: skip
_NUMBERS = ("cost", "latency_us", "removed", "status")

Record = dict[str, Any]


@dataclass(slots=True)
class Launch:
    """The newest decisions about one launch, by their ids.

    ``whole``: no decision was missed. ``fault``: why missed ones could not be read. ``again_at_s``: when reading them may be tried again.
    """

    whole: bool
    fault: str = ""
    again_at_s: float = 0.0
    records: dict[str, Record] = field(default_factory=dict)


class DecisionCache:
    """Keeps decisions about expected launches only."""

    def __init__(self) -> None:
        # Pages expect launches, so a stranger with many pages could fill it; the least recently used one
        # goes.
        self._launches: LRUCache[str, Launch] = LRUCache(LAUNCHES_KEPT)

    def expect(self, launch: str, *, whole: bool) -> Launch:
        """Return what is cached about a launch, and cache its decisions from now on."""
        return self._launches.setdefault(launch, Launch(whole))

    def keep(self, records: Iterable[Record]) -> None:
        """Keep decisions, each once; beyond ``CALLS_SHOWN`` of a launch the oldest is dropped."""
        for record in records:
            # The stream brings decisions of every app at every hospital; those of other launches are dropped
            # here.
            found = self._launches.get(str(record.get("launch") or ""))
            name = str(record.get("decision") or "")[:TEXT_BOUND]
            if found is None or not name:
                continue
            # A decision may arrive twice, by the stream and by catching up.
            found.records.setdefault(name, _trimmed(record))
            if len(found.records) > CALLS_SHOWN:
                del found.records[min(found.records, key=lambda each: found.records[each].get("at", ""))]

    def miss(self) -> None:
        """Record that decisions were missed, which may concern any launch."""
        for each in self._launches.values():
            each.whole = False

    def forget(self, launch: str) -> None:
        self._launches.pop(launch, None)


def _trimmed(record: Record) -> Record:
    texts = {name: str(record[name])[:TEXT_BOUND] for name in _TEXTS if record.get(name)}
    return texts | {name: record[name] for name in _NUMBERS if isinstance(record.get(name), int)}
