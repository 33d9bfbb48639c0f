"""Write this room's acts that wait for a second person as records for people, and parse them again. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from hilum.identity.people.models import (
    Chart,
    MovedReads,
    Person,
    Tenant,
    TenantChange,
    TokenAuth,
    UpstreamKind,
    UpstreamRef,
)

TENANT_FIELDS = (
    "name",
    "base_url",
    "ehr_origins",
    "moved_reads",
    "active",
    "upstream",
    "language",
    "time_zone",
)


def changed_fields(change: TenantChange) -> dict[str, Any]:
    """Return the fields that a change sets, with their new values."""
    return {name: value for name in TENANT_FIELDS if (value := getattr(change, name)) is not None}


def write_tenant(tenant: Tenant, fields: Iterable[str]) -> dict[str, Any]:
    """Return some fields of a tenant as a record. Its digest of the credentials shows only whether they change."""
    written: dict[str, Any] = {}
    for name in fields:
        value = getattr(tenant, name)
        if isinstance(value, UpstreamRef):
            value = asdict(value)
            sealed = value.pop("credentials_sealed")
            value |= {each: list(value[each]) for each in ("attachment_hosts", "quirks")}
            # Of the sealed text, which differs at each sealing, so it reveals nothing of the credentials.
            value["credentials"] = hashlib.sha256(sealed.encode()).hexdigest()[:12] if sealed else ""
        written[name] = list(value) if isinstance(value, tuple) else value
    return written


def read_tenant_change(order: Mapping[str, Any], sealed: str) -> TenantChange:
    """Parse a change from a record of ``write_tenant``. ``sealed``: the credentials."""
    upstream, origins, moved = (order.get(name) for name in ("upstream", "ehr_origins", "moved_reads"))
    return TenantChange(
        name=order.get("name"),
        base_url=order.get("base_url"),
        ehr_origins=None if origins is None else tuple(origins),
        moved_reads=None if moved is None else MovedReads(moved),
        active=order.get("active"),
        language=order.get("language"),
        time_zone=order.get("time_zone"),
        upstream=None if upstream is None else _read_upstream(upstream, sealed),
    )


def _read_upstream(order: Mapping[str, Any], sealed: str) -> UpstreamRef:
    typed: dict[str, Any] = {
        "kind": UpstreamKind(order["kind"]),
        "attachment_hosts": tuple(order["attachment_hosts"]),
        "quirks": tuple(order["quirks"]),
        "token_auth": TokenAuth(order["token_auth"]) if order["token_auth"] else None,
        "credentials_sealed": sealed,
    }
    return UpstreamRef(**{name: value for name, value in order.items() if name != "credentials"} | typed)


def write_charts(charts: Sequence[Chart]) -> list[dict[str, Any]]:
    """Return charts with their ends as a record."""
    return [
        {"patient": chart.patient, "until": chart.until.isoformat() if chart.until else None}
        for chart in charts
    ]


def charts_of(person: Person) -> tuple[Chart, ...]:
    """Return the charts that a person may open, with their ends."""
    ends = dict(person.chart_ends)
    return tuple(Chart(patient, ends.get(patient)) for patient in person.patients)


def read_charts(written: Sequence[Mapping[str, Any]]) -> tuple[Chart, ...]:
    """Parse charts with their ends from a record."""
    return tuple(
        Chart(each["patient"], datetime.fromisoformat(each["until"]) if each["until"] else None)
        for each in written
    )
