"""What was heard of the launches of this site: a bounded memory. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cachetools import LRUCache

from hilum_ehr.sandbox.ehr.inspector import CALLS_SHOWN

LAUNCHES_KEPT = 256
"""Past it the one goes that was of no interest for longest."""
TEXT_BOUND = 500
"""Characters of one value."""
_TEXTS = ("at", "detail", "interaction", "outcome", "path", "query", "reason", "request_id", "resource_type", "rule")  # fmt: skip
_NUMBERS = ("cost", "latency_us", "removed", "status")

Record = dict[str, Any]


@dataclass(slots=True)
class Launch:
    """The newest decisions about one launch, by their ids.

    ``whole``: none was missed. ``fault``: why what was missed could not be read. ``again_at_s``: when that may be tried again.
    """

    whole: bool
    fault: str = ""
    again_at_s: float = 0.0
    records: dict[str, Record] = field(default_factory=dict)


class Heard:
    """Keeps decisions of the launches it was told to expect, and of no other."""

    def __init__(self) -> None:
        self._launches: LRUCache[str, Launch] = LRUCache(LAUNCHES_KEPT)

    def expect(self, launch: str, *, whole: bool) -> Launch:
        """Return what was recorded about a launch, and record it from now on."""
        return self._launches.setdefault(launch, Launch(whole))

    def keep(self, records: Iterable[Record]) -> None:
        """Keep decisions, each once; past what is shown of a launch the oldest goes."""
        for record in records:
            found = self._launches.get(str(record.get("launch") or ""))
            name = str(record.get("decision") or "")[:TEXT_BOUND]
            if found is None or not name:
                continue
            found.records.setdefault(name, _trimmed(record))
            if len(found.records) > CALLS_SHOWN:
                del found.records[min(found.records, key=lambda each: found.records[each].get("at", ""))]

    def miss(self) -> None:
        """Note that decisions were missed, and that nobody knows whose."""
        for each in self._launches.values():
            each.whole = False

    def forget(self, launch: str) -> None:
        self._launches.pop(launch, None)


def _trimmed(record: Record) -> Record:
    texts = {name: str(record[name])[:TEXT_BOUND] for name in _TEXTS if record.get(name)}
    return texts | {name: record[name] for name in _NUMBERS if isinstance(record.get(name), int)}
