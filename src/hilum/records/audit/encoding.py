"""Encoding of an access: a header that the chain covers, and a payload that can be purged, since the chain covers its digest. Pure."""

from datetime import datetime
from typing import Any

import orjson

from hilum.records.audit.models import Access, Outcome

_FORM = 1
_FOUND = "found"
"""In the place of a digest, which is hexadecimal: what follows is not a resource but what an answer showed."""
_dumps = orjson.dumps


def encode(access: Access) -> tuple[bytes, bytes]:
    """Return header and payload. Path, query, patient, digest, resource and found are PHI: payload only."""
    a = access
    # A list in a fixed order, identified by _FORM: names of fields would be a large part of each record.
    header = [
        _FORM,
        a.at,
        # Equal for all but the entries of a batch, and therefore stored once.
        "" if a.decision == a.request_id else a.decision,
        a.tenant,
        a.interaction,
        a.resource_type,
        a.status,
        a.outcome,
        a.reason,
        a.rule,
        a.detail,
        a.app,
        a.version,
        a.vendor,
        a.client,
        a.person,
        a.role,
        a.launch,
        a.authorization,
        a.run,
        a.policy_version,
        a.snapshot,
        a.correlation_id,
        a.source,
        a.count,
        a.removed,
        a.cost,
        a.latency_us,
        a.method,
    ]
    payload = [a.path, a.query, a.patient]
    # Only writes have them, and reads are most of the records.
    if a.digest or a.resource:
        # A record's place contains no space, so `found` begins after the first one.
        payload += (a.digest, f"{a.resource} {a.found}" if a.found else a.resource)
    elif a.returned:
        payload += (_FOUND, f"{a.returned} {a.found}" if a.found else str(a.returned))
    try:
        return _dumps(header), _dumps(payload)
    except orjson.JSONEncodeError:
        # One record must never fail the batch that it shares with others: invalid Unicode is written as question marks.
        return _dumps([_utf8(part) for part in header]), _dumps([_utf8(part) for part in payload])


def _utf8(part: Any) -> Any:
    return part.encode("utf-8", "replace").decode() if isinstance(part, str) else part


_AFTER_FORM = (
    "at",
    "decision",
    "tenant",
    "interaction",
    "resource_type",
    "status",
    "outcome",
    "reason",
    "rule",
    "detail",
    "app",
    "version",
    "vendor",
    "client",
    "person",
    "role",
    "launch",
    "authorization",
    "run",
    "policy_version",
    "snapshot",
    "correlation_id",
    "source",
    "count",
    "removed",
    "cost",
    "latency_us",
    "method",
)


def decode(request_id: str, header: bytes, payload: bytes | None) -> Access:
    """Decode an access; without its payload (purged, or destroyed by an edit), path, query, patient and what follows them are empty."""
    values: dict[str, Any] = dict(zip(_AFTER_FORM, orjson.loads(header)[1:], strict=True))
    values |= _of_payload(payload)
    values["at"] = datetime.fromisoformat(values["at"])
    values["outcome"] = Outcome(values["outcome"])
    values["decision"] = values["decision"] or request_id
    return Access(request_id=request_id, **values)


def _of_payload(payload: bytes | None) -> dict[str, Any]:
    empty = {"path": "", "query": "", "patient": ""}
    if payload is None:
        return empty
    try:
        path, query, patient, *more = map(str, orjson.loads(payload))
        values: dict[str, Any] = {"path": path, "query": query, "patient": patient}
        if more and more[0] == _FOUND:
            returned, _, found = more[1].partition(" ")
            return values | {"returned": int(returned), "found": found}
        digest, written = more or ("", "")
    # Somebody edited it, which verifying the chain finds; it must not stop the index, the counts and every search.
    except (ValueError, TypeError, IndexError):
        return empty
    resource, _, found = written.partition(" ")
    return values | {"digest": digest, "resource": resource, "found": found}


def at_of(header: bytes) -> datetime:
    """Return the time of an access from its header."""
    return datetime.fromisoformat(orjson.loads(header)[1])


# A request id has no line end, so the boundary between id and header is unambiguous.
def covered(request_id: str, header: bytes) -> bytes:
    """Return the bytes that the chain covers: request id and header. The id has a column of its own and is not stored in the header too."""
    return request_id.encode() + b"\n" + header


def quoted(text: str) -> bytes:
    """Return a text as it is encoded inside a header or payload, to search the stored bytes for it."""
    return orjson.dumps(text)
