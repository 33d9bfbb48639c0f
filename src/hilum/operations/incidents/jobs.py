"""The job that counts whom incidents reached, and sends their notices, a batch of hospitals in each transaction.

If the process dies halfway, the next run goes on where it stopped: a hospital has one notice of each number.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Protocol, TypeVar

from hilum.apps.clients import service as clients
from hilum.apps.contacts import service as contacts
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import ClientId, TenantId
from hilum.identity.people import service as identity
from hilum.operations.incidents import policy, store
from hilum.operations.incidents.models import BATCH, TENANTS_BOUND, Incident
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, PermitCount, Reach, ReachQuery
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent

T = TypeVar("T")


class Lease(Protocol):
    """Runs verbs as the system; ``write`` works only while this process holds the job's lease."""

    def read(self, verb: Callable[[Context], T]) -> T: ...

    def write(self, verb: Callable[[Context], T]) -> T: ...


@dataclass(frozen=True, slots=True)
class Records:
    """How the records of accesses are read. ``reach`` returns None if nothing is indexed yet."""

    reach: Callable[[ReachQuery], Reach | None]
    permits: Callable[[Collection[str], datetime, str], list[PermitCount]]
    is_indexed: Callable[[], bool]


def run(lease: Lease, records: Records, may_continue: Callable[[], bool]) -> None:
    """Count for every incident for which somebody asked, and send every notice that waits."""
    waiting = lease.read(lambda ctx: store.list_to_count(ctx.tx))
    # Counted before the newest records are indexed, a reach would be too small, and signed.
    if waiting and records.is_indexed():
        for incident in waiting:
            if may_continue():
                _count(lease, records, incident)
    for incident in lease.read(lambda ctx: store.list_to_notify(ctx.tx)):
        while may_continue() and not lease.write(partial(_send, incident_id=incident.id)):
            pass


def _count(lease: Lease, records: Records, incident: Incident) -> None:
    """Count whom one incident reached, outside of a transaction, since it may take a minute."""
    until, tenants, of = lease.read(partial(_scope, incident=incident))
    narrowed = bool(incident.tenants)
    query = ReachQuery(incident.apps, incident.tenants or tenants, incident.began_at, until, narrowed)
    reach = records.reach(query)
    if reach is None:
        return
    permits = [
        each
        for tenant in incident.tenants or ("",)
        for each in (records.permits(of, incident.began_at, tenant) if of else ())
    ]
    document = policy.document(incident, reach, permits, until)

    def keep(ctx: Context) -> None:
        signed = policy.signed_bytes("reach", document)
        kid, signature = keys.sign_bytes(ctx, Purpose.CHECKPOINT, signed)
        report = {"report": document, "kid": kid, "signature": signature}
        store.save_reach(ctx.tx, incident.id, report, until)
        facts = {"incident": incident.id, "calls": reach.total.calls, "hospitals": len(reach.by_tenant)}
        digest = sha256(signed).hexdigest()
        audit.record(ctx, Event("incidents.incident.count", facts=facts | {"digest": digest}))

    lease.write(keep)


def _scope(ctx: Context, incident: Incident) -> tuple[datetime, tuple[TenantId, ...], list[ClientId]]:
    """Return until when an incident is counted, at which hospitals, and which clients its apps have."""
    tenants = tuple(each.id for each in identity.list_tenants(ctx)[:TENANTS_BOUND])
    by_app = clients.facts_of_apps(ctx, incident.apps)
    return ctx.now, tenants, [each.id for found in by_app.values() for each in found]


def _send(ctx: Context, incident_id: str) -> bool:
    """Send a batch of the newest notice; return whether everybody has got it."""
    incident = store.INCIDENTS.get(ctx.tx, incident_id, lock=True)
    if incident.sent_number >= incident.notice_number:
        return True
    rest = [each for each in policy.recipients_of(incident) if each > incident.notice_cursor]
    batch = rest[:BATCH]
    for tenant in batch:
        if identity.find_tenant(ctx, tenant) is not None:
            _notify(ctx, incident, tenant)
    if len(batch) < len(rest):
        store.INCIDENTS.save(ctx.tx, replace(incident, notice_cursor=batch[-1]), only=["notice_cursor"])
        return False
    _notify(ctx, incident, "")
    sent = replace(incident, sent_number=incident.notice_number, notified_at=incident.notified_at or ctx.now)
    store.INCIDENTS.save(ctx.tx, sent, only=["sent_number", "notified_at"])
    facts = {"incident": incident.id, "number": incident.notice_number}
    audit.record(ctx, Event("incidents.notice.send", facts=facts))
    return True


def _notify(ctx: Context, incident: Incident, tenant: str) -> None:
    """Keep and mail the notice to one hospital, or without one to the vendor; unless it has it already."""
    notice = policy.notice_to(incident, ctx.ids.new("inn"), tenant, ctx.now)
    if not store.NOTICES.add_new(ctx.tx, notice):
        return
    of = registry.get_app(ctx, notice.app) if notice.app else registry.get_vendor(ctx, notice.vendor)
    facts = {"what": of.name, "severity": notice.severity.value, "notice": notice.id}
    cause = f"incidents/{incident.id}/{notice.number}/{tenant}"
    if tenant:
        identity.mail_administrators(ctx, TenantId(tenant), MailKind.INCIDENT, cause, facts)
        return
    for address in contacts.reached(ctx, incident.vendor):
        order = Mail(MailKind.INCIDENT_VENDOR, address, cause, facts, vendor=incident.vendor)
        notices.put_mail(ctx, order)
    for app in incident.apps:
        told = {"app_id": app, "notice_id": notice.id, "severity": notice.severity.value}
        event = VendorEvent(EventKind.INCIDENT, incident.vendor, f"{cause}{app}", told, app=app)
        notices.put_event(ctx, event)
