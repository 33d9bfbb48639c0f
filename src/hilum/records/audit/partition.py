"""The part of the audit that is about one tenant. A chain holds the records of all tenants, so a part of it is not a chain."""

from collections.abc import Callable, Iterator

import orjson

from hilum.foundation.infra.context import Context
from hilum.records.audit import policy, store
from hilum.records.audit.journal_records import AccessReader
from hilum.records.audit.models import PartRecord, Stream

_EVENT_TENANT, _ACCESS_TENANT = 4, 3
"""The index of the tenant in the header of an event, and of an access."""


def read(
    ctx: Context, reader: AccessReader, tenant: str, walked: Callable[[int], None]
) -> Iterator[PartRecord]:
    """Yield the records about a tenant, chain by chain in order. It reads every chain once, and holds one record at a time.

    ``walked`` is called for each record of any tenant with how many were read.
    """
    count = 0

    def counted(rows: Iterator[policy.Row]) -> Iterator[policy.Row]:
        nonlocal count
        for row in rows:
            count += 1
            walked(count)
            yield row

    for writer in store.control_writers(ctx.tx):
        rows = store.control_rows(ctx.tx, writer)
        yield from _of_chain(f"{Stream.CONTROL}/{writer}", counted(rows), tenant)
    for chain in reader.chains():
        yield from _of_chain(chain.name, counted(chain.rows), tenant)


def _of_chain(name: str, rows: Iterator[policy.Row], tenant: str) -> Iterator[PartRecord]:
    quoted = orjson.dumps(tenant)
    is_access = name.startswith(f"{Stream.ACCESS}/")
    for seq, header, _, _, _, payload in rows:
        # A search of bytes: only headers that may be the tenant's are parsed.
        if quoted in header and _tenant_of(header, is_access=is_access) == tenant:
            yield PartRecord(name, seq, header, payload)


def _tenant_of(header: bytes, *, is_access: bool) -> str:
    try:
        words = orjson.loads(header.partition(b"\n")[2] if is_access else header)
        return str(words[_ACCESS_TENANT if is_access else _EVENT_TENANT])
    except (orjson.JSONDecodeError, IndexError, TypeError):
        return ""  # written by nobody here: `hilum audit verify` reports it
