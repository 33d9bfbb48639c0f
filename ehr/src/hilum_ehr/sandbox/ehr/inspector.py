"""Builds the inspector's list of an app's calls from the platform's access records. Pure.

The records may come from the platform's API or from its stream. A line leaves out what its record lacks.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

CALLS_SHOWN = 60
VALUE_SHOWN = 48
"""Characters shown of a parameter's value; page links are longer and opaque."""
_LONG = re.compile(rf"(?<==)([^&]{{{VALUE_SHOWN}}})[^&]+")


@dataclass(frozen=True, slots=True)
class Call:
    """One call. ``why`` is the scope that matched, or the reason of a refusal."""

    what: str
    path: str
    status: int
    permitted: bool
    why: str
    detail: str
    at: str
    latency: str
    removed: int
    cost: int
    request_id: str


@dataclass(frozen=True, slots=True)
class Calls:
    """The newest calls, and how many of them were refused. ``trouble`` says why some may be missing."""

    calls: tuple[Call, ...]
    refused: int
    trouble: str = ""

    @property
    def permitted(self) -> int:
        return len(self.calls) - self.refused

    @property
    def cost(self) -> int:
        """Return what the calls cost of the app's quota."""
        return sum(call.cost for call in self.calls)


def inspect(records: Iterable[dict[str, Any]]) -> Calls:
    """Build the list of calls from access records, newest first."""
    # Sorted here, because the cache holds decisions in the order of arrival.
    newest = sorted(records, key=lambda record: str(record.get("at", "")), reverse=True)[:CALLS_SHOWN]
    calls = tuple(_call(each) for each in newest)
    return Calls(calls, sum(not call.permitted for call in calls))


def _call(record: dict[str, Any]) -> Call:
    # Anything else (refused, not done, unknown) is shown as not permitted.
    permitted = str(record.get("outcome", "")) == "done"
    interaction, resource_type = str(record.get("interaction", "")), str(record.get("resource_type", ""))
    path, query = str(record.get("path", "")), str(record.get("query", ""))
    return Call(
        what=" ".join(part for part in (interaction.removesuffix("-type"), resource_type) if part)
        or "request",
        path=_LONG.sub(r"\1…", f"{path}?{query}" if query else path),
        status=_number(record.get("status")),
        permitted=permitted,
        why=str(record.get("rule") or "")
        if permitted
        else str(record.get("reason") or record.get("rule") or ""),
        detail=str(record.get("detail") or ""),
        at=_time(str(record.get("at", ""))),
        latency=_latency(_number(record.get("latency_us"))),
        removed=_number(record.get("removed")),
        cost=_number(record.get("cost")),
        request_id=str(record.get("request_id", "")),
    )


def _number(value: Any) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _time(text: str) -> str:
    try:
        return datetime.fromisoformat(text).strftime("%H:%M:%S.%f")[:-3]
    except ValueError:
        return text[:24]


def _latency(microseconds: int) -> str:
    return f"{microseconds / 1000:.1f} ms" if microseconds else ""
