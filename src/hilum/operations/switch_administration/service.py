"""Engage and release switches and set quotas, after checking that their targets exist; report what a switch stopped.

A kill switch, in order:

1. ``engage``: its target exists; ``controls.engage`` stores the switch, the change of the facts and the audit event with the live nodes.
2. Each worker's snapshot follows that change before any other (``gateway.snapshot``). From then on the gateway refuses; every other endpoint
   reads the switch with the eligibility that it judges.
3. Each worker records when it began to refuse (``gateway.switch.enforced``).
4. ``report``: ``policy.judge`` compares these confirmations with the journals around the stop.
5. ``release``: by one person, or by two if the switch is wide. What was issued before a full stop ended stays invalid.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any

from hilum.apps.registry import service as registry
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Quota, Switch, Target, TargetKind
from hilum.controls.switches.policy import quota_level, target_fault
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import ActorKind
from hilum.foundation.kernel.errors import NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, PersonId, TenantId, VendorId, VersionId
from hilum.identity.people import service as identity
from hilum.operations.switch_administration import policy
from hilum.operations.switch_administration.models import (
    CONFIRMATIONS_BOUND,
    CONFIRMED_WITHIN,
    Confirmation,
    Confirmations,
    Report,
)
from hilum.records.audit import policy as audit_policy
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, EventQuery, Outcome, RecordedEvent, Window, WindowQuery
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose

ReadWindow = Callable[[WindowQuery], Window]
_ENGAGE, _CONFIRM = "controls.switch.engage", "gateway.switch.enforced"
REPORT = "controls.switch.report"


def engage(ctx: Context, order: EngageOrder) -> Switch:
    """Engage a kill switch on a target that exists. Raises NotFound, NotPermitted, Invalid."""
    return controls.engage(ctx, order, person_tenant=require_target(ctx, order.target))


def require_target(ctx: Context, target: Target) -> str | None:
    """Check that a target exists, and return the tenant of the person it is about; None if it is about none. Raises NotFound."""
    # A malformed key is reported by `controls.engage` with its field, so nothing is looked up for it.
    if target_fault(target):
        return None
    first, _, second = target.key.partition("/")
    # A switch on an id that does not exist would be in force and stop nothing; in an emergency nobody would notice.
    match target.kind:
        case TargetKind.TENANT:
            identity.get_tenant(ctx, TenantId(first))
        case TargetKind.VENDOR:
            registry.get_vendor(ctx, VendorId(first))
        case TargetKind.VERSION:
            registry.get_version(ctx, VersionId(first))
        case TargetKind.APP | TargetKind.APP_TENANT | TargetKind.APP_PERSON:
            registry.get_app(ctx, AppId(first))
    # The caller's own hospital was found when the caller was authenticated.
    if target.kind is TargetKind.APP_TENANT and second != ctx.actor.tenant:
        identity.get_tenant(ctx, TenantId(second))
    if target.kind in {TargetKind.PERSON, TargetKind.APP_PERSON}:
        # Whether an administrator may stop this person depends on the person's tenant, which only the identity module knows.
        return identity.get_person(ctx, PersonId(second or first)).tenant
    return None


def release(ctx: Context, switch_id: str) -> Switch:
    """Release a kill switch; a wide one needs two members of the staff, each eligible as one of two. Raises NotFound, NotPermitted, Conflict."""
    return controls.release(ctx, switch_id, counts=partial(_counts, ctx))


def list_asked(ctx: Context) -> list[tuple[Switch, bool]]:
    """List the wide switches whose release waits for a second person, and whether the actor may be that person."""
    return controls.list_asked(ctx, counts=partial(_counts, ctx))


def _counts(ctx: Context, who: str, since: datetime) -> bool:
    # Only staff count: neither the host nor the system is a person who could agree.
    kind, _, person = who.partition(":")
    return kind == ActorKind.STAFF and identity.counts_as_one_of_two(ctx, PersonId(person), since=since)


def set_quota(ctx: Context, app: str, tenant: str, quota: Quota | None) -> None:
    """Set the quota of an app at a tenant, or remove it with None. Raises NotFound, NotPermitted, Invalid."""
    # Existence is checked only for those who may set a quota: others are refused without learning which ids
    # exist. Removing needs no check, so that overrides of removed apps can be deleted.
    if quota is not None and quota_level(ctx.actor, tenant) is not None:
        identity.get_tenant(ctx, TenantId(tenant))
        # An app that exists only at another tenant is answered like one that does not exist.
        if registry.get_app(ctx, AppId(app)).tenant not in {None, tenant}:
            raise NotFound("app_not_found", "There is no such app.")
    controls.set_quota(ctx, app, tenant, quota)


def report(ctx: Context, switch_id: str, read_window: ReadWindow) -> Report:
    """Return what a switch stopped, and whether the journals prove it. Raises NotFound, NotPermitted, Unavailable."""
    switch = controls.get_switch(ctx, switch_id)
    if not audit_policy.may_read(ctx.actor, switch.tenant):
        raise NotPermitted("audit_not_yours", "You may not read the audit of what this switch stops.")
    until = policy.end_of(switch, ctx.now)
    confirmations = _confirmations(ctx, switch)
    window, filters, last = None, policy.filters_of(switch.target), confirmations.last
    if filters is not None and last is not None:
        # Permitted reads are no offence under this mode, and there may be very many.
        writes_only = switch.mode is Mode.READ_ONLY
        query = WindowQuery(switch.engaged_at, last, until, **filters, writes_only=writes_only)
        if query.vendor:
            owned = registry.list_owned_since(ctx, VendorId(query.vendor), switch.engaged_at)
            query = replace(query, apps=tuple(owned))
        window = read_window(query)
    return Report(switch, until, confirmations, window, policy.judge(switch, confirmations, window, until))


def confirmations(ctx: Context, switch_id: str) -> tuple[Switch, Confirmations]:
    """Return a switch that the actor may see, with who had to confirm it and who did, and how fast. Raises NotFound."""
    switch = controls.get_switch(ctx, switch_id)
    return switch, _confirmations(ctx, switch)


def _confirmations(ctx: Context, switch: Switch) -> Confirmations:
    """Read who had to confirm a switch and who did, from the audit's events."""
    # Both are found by time, since events are not indexed by switch.
    just_after = switch.engaged_at + timedelta(microseconds=1)
    engaged = audit.list_events(
        ctx, EventQuery(action=_ENGAGE, outcome=Outcome.DONE, before=just_after)
    ).events
    expected = next((each.event.facts.get("nodes") for each in engaged if _is_of(each, switch)), None)
    found: list[Confirmation] = []
    query, read, all_read = _confirming(switch), 0, True
    while True:
        page = audit.list_events(ctx, query)
        found += [_confirmation(each, switch) for each in page.events if _is_of(each, switch)]
        read += len(page.events)
        if not page.next or page.events[-1].at < switch.engaged_at:
            break
        if read >= CONFIRMATIONS_BOUND:
            all_read = False
            break
        query = _confirming(switch, page.next)
    return Confirmations(expected, tuple(found), all_read)


def _confirming(switch: Switch, after: str = "") -> EventQuery:
    return EventQuery(action=_CONFIRM, before=switch.engaged_at + CONFIRMED_WITHIN, after=after)


def _is_of(recorded: RecordedEvent, switch: Switch) -> bool:
    return recorded.event.facts.get("switch") == switch.id


def _confirmation(recorded: RecordedEvent, switch: Switch) -> Confirmation:
    facts = recorded.event.facts
    ms = float(facts["ms"])
    return Confirmation(
        # Empty in records of releases before the report.
        facts.get("node", ""),
        facts["worker"],
        switch.engaged_at + timedelta(milliseconds=ms),
        ms,
    )


def sign_report(ctx: Context, found: Report) -> dict[str, Any]:
    """Record that a report was made, with its verdict and digest, and return it with the signature of the audit's key."""
    document = policy.document(found)
    signed = policy.signed_bytes(document)
    kid, signature = keys.sign_bytes(ctx, Purpose.CHECKPOINT, signed)
    facts = {
        "switch": found.switch.id,
        "verdict": found.judgement.verdict.value,
        "digest": sha256(signed).hexdigest(),
    }
    audit.record(ctx, Event(REPORT, tenant=found.switch.tenant, facts=facts))
    return {"report": document, "kid": kid, "signature": signature}


def is_signed(ctx: Context, signed: dict[str, Any]) -> bool:
    """Check whether this installation signed a report, and nothing in it was changed."""
    document, kid, signature = (signed.get(name) for name in ("report", "kid", "signature"))
    if not isinstance(document, dict) or not isinstance(kid, str) or not isinstance(signature, str):
        return False
    return keys.verify_bytes(ctx, Purpose.CHECKPOINT, kid, policy.signed_bytes(document), signature)
