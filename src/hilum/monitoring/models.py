"""Values of monitoring."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from hilum.audit.models import Served
from hilum.kernel.ids import AppId

DAYS_BOUND = 90
HOSPITALS_SHOWN = 100
"""Hospitals that one view lists, the busiest first; its total has all."""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """How the calls of an app ended over some days, at one hospital or at all (``tenant`` empty)."""

    app: AppId
    days: int
    tenant: str
    total: Served
    by_day: Mapping[date, Served] = field(default_factory=dict)
    by_tenant: Mapping[str, Served] = field(default_factory=dict)
