"""Injects faults into the FHIR servers of this machine's synthetic hospitals, for certification runs and by hand."""

import time
from datetime import datetime

from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.ids import ClientId, TenantId
from hilum.foundation.kernel.ports import Clock
from hilum.review.certification_runs.by_hand import ByHand, ManualFault
from hilum.review.certification_runs.models import Fault as Kind
from hilum.review.certification_runs.models import Upstream
from hilum.server.ehr import InjectedFaults
from hilum_ehr.sandbox.faults import BY_HAND, FHIR_FOLDER, READ_EVERY_S, Fault, FaultBook


def of(settings: Settings, clock: Clock) -> InjectedFaults:
    """Open the policy of faults in a data directory."""
    return by_book(FaultBook(settings.data_dir / FHIR_FOLDER, clock))


def by_book(book: FaultBook) -> InjectedFaults:
    """Inject faults through a book. Each change waits until every process of this machine has read it, so that it applies to the next request."""

    def set_fault(fault: Upstream) -> None:
        until = fault.until.isoformat()
        book.add(Fault(fault.tenant, fault.fault.value, until, (fault.run,), made_by=fault.run))
        time.sleep(READ_EVERY_S)

    def clear(run: str) -> None:
        if book.clear(run):
            time.sleep(READ_EVERY_S)

    return InjectedFaults(set_fault, clear, _by_hand(book))


def _by_hand(book: FaultBook) -> ByHand:
    """Inject faults for one client."""

    def name(client: str, tenant: str, fault: str) -> str:
        return f"{BY_HAND}client/{client}/{tenant}/{fault}"

    def make(order: ManualFault) -> None:
        made_by = name(order.client, order.tenant, order.fault)
        until = order.until.isoformat()
        book.add_by_hand(Fault(order.tenant, order.fault.value, until, (order.client,), made_by=made_by))
        time.sleep(READ_EVERY_S)

    def end(client: ClientId, tenant: TenantId, fault: Kind) -> None:
        if book.clear(name(client, tenant, fault)):
            time.sleep(READ_EVERY_S)

    def find(client: ClientId) -> list[ManualFault]:
        prefix = f"{BY_HAND}client/{client}/"
        in_force = [
            ManualFault(client, TenantId(fault.tenant), Kind(fault.kind), datetime.fromisoformat(fault.until))
            for fault in book.all()
            if fault.made_by.startswith(prefix)
        ]
        return sorted(in_force, key=lambda fault: fault.until)

    return ByHand(make, end, find)
