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
        # Bounded, since every page adds a launch.
        self._launches: LRUCache[str, Launch] = LRUCache(LAUNCHES_KEPT)

    def expect(self, launch: str, *, whole: bool) -> Launch:
        """Return what is cached about a launch, and cache its decisions from now on."""
        return self._launches.setdefault(launch, Launch(whole))

    def keep(self, records: Iterable[Record]) -> None:
        """Keep decisions, each once; beyond ``CALLS_SHOWN`` of a launch the oldest is dropped."""
        for record in records:
            # The stream has the decisions about every app at every hospital; most are of no expected launch.
            launch = self._launches.get(str(record.get("launch") or ""))
            decision = str(record.get("decision") or "")[:TEXT_BOUND]
            if launch is None or not decision:
                continue
            # A decision may arrive twice, by the stream and by the list of accesses.
            launch.records.setdefault(decision, _trimmed(record))
            if len(launch.records) > CALLS_SHOWN:
                oldest, _ = min(launch.records.items(), key=lambda item: item[1].get("at", ""))
                del launch.records[oldest]

    def miss(self) -> None:
        """Record that decisions were missed, which may concern any launch."""
        for launch in self._launches.values():
            launch.whole = False

    def forget(self, launch: str) -> None:
        """Drop a launch and its decisions."""
        self._launches.pop(launch, None)


def _trimmed(record: Record) -> Record:
    texts = {name: str(record[name])[:TEXT_BOUND] for name in _TEXTS if record.get(name)}
    return texts | {name: record[name] for name in _NUMBERS if isinstance(record.get(name), int)}
