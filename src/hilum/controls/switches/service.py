"""Engages and releases switches, sets quotas, and reads the facts for enforcement."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from hilum.controls.switches import policy, store
from hilum.controls.switches.models import (
    ENDS_KEPT_FOR,
    FAILOVERS,
    QUOTAS,
    REASON_BOUND,
    SECONDS_SHOWN,
    SWITCHES,
    SWITCHES_BOUND,
    WIDE,
    EngageOrder,
    Mode,
    Quota,
    QuotaFacts,
    QuotaLevels,
    QuotaOverride,
    ReleaseStep,
    Stop,
    Subject,
    Switch,
    SwitchIndex,
    Target,
    TargetKind,
)
from hilum.foundation.infra import epoch, nodes
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import Delta, Since, keyed
from hilum.foundation.kernel.errors import (
    FACTOR_STALE,
    Conflict,
    Invalid,
    NotFound,
    NotPermitted,
    Readers,
    Unavailable,
    not_shown,
)
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.kernel.persistent import PersistentMap
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

Counts = Callable[[str, datetime], bool]
"""(recorded actor, time) -> whether they counted as one of two people then."""
_DETAILS = {
    "account_too_new": "Your account is too new to be one of the two people who release this switch. Ask a colleague.",
    "factor_stale": FACTOR_STALE,
}


def engage(ctx: Context, order: EngageOrder, *, person_tenant: str | None = None) -> Switch:
    """Engage a kill switch and record actor, reason and expiry.

    ``person_tenant``: the tenant of the person in a person's target, as the caller read it.
    Raises Invalid, NotPermitted.
    """
    # Permission before validity, so that a stranger learns nothing about targets.
    tenant = policy.tenant_of(order.target, person_tenant)
    if not policy.may_engage(ctx.actor, order.target, person_tenant=person_tenant):
        event = Event("controls.switch.engage", tenant=tenant, facts=_facts(order.target))
        raise audit.refusal(ctx, event, "You may not engage a switch on this target.")
    if faults := policy.order_faults(order, now=ctx.now):
        raise Invalid("switch_invalid", "The switch cannot be engaged as asked.", fields=faults)
    in_force, listed = store.before_engaging(ctx.tx, ctx.now)
    # A wide switch is engaged above the bound too, since one of them can replace many narrow ones.
    if order.target.kind not in WIDE and in_force >= SWITCHES_BOUND:
        raise Unavailable(
            "too_many_switches",
            f"{SWITCHES_BOUND:,} kill switches are in force. Release those no longer needed, or engage one on the whole platform.",
        )
    switch = Switch(
        id=ctx.ids.new("sw"),
        target=order.target,
        mode=order.mode,
        reason=order.reason.strip(),
        engaged_by=str(ctx.actor),
        engaged_at=ctx.now,
        expires_at=order.expires_at,
        tenant=tenant,
    )
    store.append_switch(ctx.tx, switch)
    _announce(ctx, switch, listed)
    return switch


def engage_lost(ctx: Context, switches: Iterable[Switch]) -> None:
    """Engage again, under their ids, the switches that a failover lost: those that this copy of the database never had.

    They are released like any other.
    """
    listed = nodes.list_nodes(ctx.tx)
    # In one order, since every worker does it at the same time.
    for switch in sorted(switches, key=lambda switch: switch.id):
        unasked = replace(switch, release_asked_by="", release_asked_at=None)
        if switch.in_force(ctx.now) and store.SWITCHES.add_new(ctx.tx, unasked):
            _announce(ctx, switch, listed)


def confirm_failover(ctx: Context, reason: str) -> None:
    """Record that a person did again what a failover lost: from now on nodes enforce what the database says, and only that. Raises Invalid.

    For a command on the host.
    """
    if not 0 < len(reason.strip()) <= REASON_BOUND:
        raise Invalid("reason_missing", f"Say why, in at most {REASON_BOUND} characters.")
    ctx.advance_epoch(FAILOVERS)
    audit.record(ctx, Event("controls.failover.confirm", facts={"reason": reason.strip()}))


def _announce(ctx: Context, switch: Switch, listed: Iterable[nodes.Node]) -> None:
    """Let every process read a switch that was engaged, and record it."""
    # Urgent: on PostgreSQL this change is notified, while others are found by the next poll. Its release is
    # not, since a late release forbids too much and never too little.
    ctx.advance_epoch(SWITCHES, str(switch.target), urgent=True)
    # Which nodes must confirm the switch, for the containment report: later the list of nodes is another one.
    live = {node.name: node.workers for node in listed if node.live and not node.closed}
    facts = _facts(switch.target, switch) | {"nodes": live}
    audit.record(ctx, Event("controls.switch.engage", tenant=switch.tenant, facts=facts))


def release(ctx: Context, switch_id: str, *, counts: Counts) -> Switch:
    """Release a switch. For a wide one the first of two people only requests it, and the returned switch is still in force.

    ``counts`` returns whether a recorded actor counted as one of two people at a time, which only the identity module can judge. What was
    issued before a full stop ended stays invalid. Raises NotFound, NotPermitted, Conflict (no longer in force, changed concurrently, or
    the actor is the first of the two already).
    """
    switch = store.SWITCHES.get(ctx.tx, switch_id)
    is_wide = switch.target.kind in WIDE
    if not policy.may_release(ctx.actor, switch):
        # Whether there is a switch elsewhere is not this caller's
        # business: answered like an id that does not exist.
        if not policy.may_see(ctx.actor, switch.tenant):
            raise NotFound("switch_not_found", "There is no such switch.")
        detail = (
            "Releasing a wide switch takes two people of the staff: each runs `hilum switch release` under their own account."
            if is_wide
            else "You may not release this switch."
        )
        raise _refused_release(ctx, switch, "not_permitted", detail)
    if not switch.in_force(ctx.now):
        raise Conflict("switch_over", "This switch is no longer in force.")
    by = str(ctx.actor)
    if is_wide and (fault := _why_no_second(ctx, counts)):
        raise _refused_release(ctx, switch, fault, _DETAILS[fault])
    step = _release_step(ctx, switch, counts)
    if step is ReleaseStep.ASKED_BY_YOU:
        detail = (
            "You asked for this release already, so nothing was released. A colleague must release it too."
        )
        raise Conflict(step.value, detail)
    if step is ReleaseStep.ASK:
        # The switch may have been released between the read above and this statement.
        if not store.save_release_asked(ctx.tx, switch.id, by=by, at=ctx.now):
            raise Conflict("switch_over", "This switch is no longer in force.")
        asked = replace(switch, release_asked_by=by, release_asked_at=ctx.now)
        audit.record(
            ctx,
            Event("controls.switch.ask_release", tenant=switch.tenant, facts=_facts(switch.target, asked)),
        )
        return asked
    # Compares the first person's name as it was read: a request
    # that another one replaced meanwhile was not judged here.
    if not store.save_released(ctx.tx, switch, by=by, at=ctx.now):
        raise Conflict(
            "concurrent_change", "This switch was changed at the same time by another request. Read it again."
        )
    # The end is written before the epoch advances and in the
    # same transaction: no process sees the release without it.
    if switch.mode is Mode.FULL_STOP:
        # The margin: another node's clock may be ahead, so what it issued before the release may bear a later time.
        store.save_end(ctx.tx, switch.target, ctx.now + ctx.margin)
    released = replace(switch, released_by=by, released_at=ctx.now)
    ctx.advance_epoch(SWITCHES, str(switch.target))
    audit.record(
        ctx, Event("controls.switch.release", tenant=switch.tenant, facts=_facts(switch.target, released))
    )
    return released


def list_asked(ctx: Context, *, counts: Counts) -> list[tuple[Switch, bool]]:
    """List the switches whose release waits for a second person, the oldest SECONDS_SHOWN, and whether the actor may be that person."""
    found = store.list_release_asked(ctx.tx, ctx.now, SECONDS_SHOWN)
    steps = ((each, _release_step(ctx, each, counts)) for each in found)
    may = _why_no_second(ctx, counts) in {"", "factor_stale"} if found else False
    return [
        (each, may and step is ReleaseStep.RELEASE and policy.may_release(ctx.actor, each))
        for each, step in steps
        if step is not ReleaseStep.ASK
    ]


def _why_no_second(ctx: Context, counts: Counts) -> str:
    """Return why the actor cannot be one of two people who release a switch now; empty if they can."""
    # A new account could have been made for this purpose by the first of the two (security decision 25).
    if not counts(str(ctx.actor), ctx.now):
        return "account_too_new"
    return "factor_stale" if ctx.actor.unconfirmed else ""


def _release_step(ctx: Context, switch: Switch, counts: Counts) -> ReleaseStep:
    asked_at = switch.release_asked_at
    asker_counts = asked_at is not None and counts(switch.release_asked_by, asked_at)
    return policy.release_step(ctx.actor, switch, asker_counts=asker_counts, now=ctx.now)


def _refused_release(ctx: Context, switch: Switch, reason: str, detail: str) -> NotPermitted:
    facts = _facts(switch.target)
    event = Event("controls.switch.release", tenant=switch.tenant, reason=reason, facts=facts)
    return audit.refusal(ctx, event, detail)


def end_issued(ctx: Context, target: Target) -> None:
    """Invalidate what was issued for a target until now, as the end of a full stop does; for example when a suspension is lifted."""
    # The same margin as at a release.
    store.save_end(ctx.tx, target, ctx.now + ctx.margin)
    ctx.advance_epoch(SWITCHES, str(target))


def get_switch(ctx: Context, switch_id: str) -> Switch:
    """Return a switch that the actor may see. Raises NotFound."""
    switch = store.SWITCHES.get(ctx.tx, switch_id)
    if not policy.may_see(ctx.actor, switch.tenant):
        raise NotFound("switch_not_found", "There is no such switch.")
    return switch


def list_switches(ctx: Context, *, tenant: str | None = None, page: PageQuery = FIRST_PAGE) -> list[Switch]:
    """List switches newest first, released ones too; a tenant's administrator sees those within the tenant. Raises NotPermitted."""
    return store.list_switches(ctx.tx, tenant=_visible_tenant(ctx, tenant), page=page)


def browse_switches(
    ctx: Context, *, in_force: bool | None = None, kind: str = "", page: PageQuery = FIRST_PAGE
) -> list[Switch]:
    """List switches newest first, in force or over, of one kind, each if given; an administrator's are the hospital's. Raises NotPermitted."""
    tenant = _visible_tenant(ctx, None)
    return store.browse_switches(ctx.tx, ctx.now, tenant=tenant, in_force=in_force, kind=kind, page=page)


def count_in_force(ctx: Context) -> int:
    """Count the switches in force that the actor may see. Raises NotPermitted."""
    return store.count_in_force(ctx.tx, ctx.now, tenant=_visible_tenant(ctx, None))


def set_quota(ctx: Context, app: str, tenant: str, quota: Quota | None) -> None:
    """Set, or with None remove, the override of the actor's level for an app at a tenant. Raises NotPermitted."""
    level = policy.quota_level(ctx.actor, tenant)
    target = Target(TargetKind.APP_TENANT, f"{app}/{tenant}")
    if level is None:
        event = Event("controls.quota.set", tenant=tenant, facts=_facts(target))
        raise audit.refusal(ctx, event, "You may not set quotas at this hospital.")
    # After permission, as in `engage`.
    if fault := policy.target_fault(target):
        raise Invalid("quota_invalid", "The app or the tenant is not an id.", fields={"app": fault})
    if quota is None:
        store.QUOTAS.delete(ctx.tx, app=app, tenant=tenant, level=level)
    else:
        store.QUOTAS.put(ctx.tx, QuotaOverride(app, tenant, level, quota, str(ctx.actor), ctx.now))
    facts = {"level": level.value, "rate_per_s": quota and quota.rate_per_s, "burst": quota and quota.burst}
    ctx.advance_epoch(QUOTAS, f"{app}/{tenant}")
    audit.record(ctx, Event("controls.quota.set", tenant=tenant, app=app, facts=facts))


def quotas_of(ctx: Context, app: str, tenant: str) -> QuotaLevels:
    """Return what was set for an app at a tenant, without a check of rights."""
    found = policy.quota_levels(store.read_quotas(ctx.tx, [(app, tenant)]))
    return found.get((app, tenant), QuotaLevels())


def list_quotas(
    ctx: Context, *, tenant: str | None = None, page: PageQuery = FIRST_PAGE
) -> list[QuotaOverride]:
    """List overrides; a tenant's administrator sees the tenant's. Raises NotPermitted."""
    return store.list_quotas(ctx.tx, tenant=_visible_tenant(ctx, tenant), page=page)


def judge(
    ctx: Context, subject: Subject, *, issued_at: datetime | None = None, launching: bool = False
) -> Stop | None:
    """Return what stops a subject, read from the database and not the snapshot: for authorize, token and launches.

    ``issued_at``: when the presented code, token or launch was issued. ``launching``: apply NO_NEW_LAUNCHES too.
    """
    # From the rows and not the snapshot: a code that is being
    # redeemed must see a switch that was committed a millisecond ago.
    targets = tuple(policy.targets_of(subject))
    index = policy.index(*store.list_stops_on(ctx.tx, targets, ctx.now, and_scopes=True))
    stop = policy.stopped_by(index, subject, now=ctx.now, issued_at=issued_at)
    return stop or (policy.launches_stopped(index, subject, ctx.now) if launching else None)


def stops_on(ctx: Context, targets: tuple[Target, ...]) -> SwitchIndex:
    """Return the switches and ends of full stops on these targets, read from the database."""
    return policy.index(*store.list_stops_on(ctx.tx, targets, ctx.now))


def newest_on(ctx: Context, targets: Iterable[Target], limit: int) -> list[Switch]:
    """Return the newest switches on these targets, in force or over, newest first, without a check of rights."""
    return store.list_newest_on(ctx.tx, targets, limit)


def stops_within_hospitals(ctx: Context, apps: Iterable[str]) -> list[Switch]:
    """Return the switches in force that stop a whole hospital, or one of these apps at one hospital, without a check of rights."""
    engaged = store.list_within_hospitals(ctx.tx, apps, ctx.now)
    return [switch for switch in engaged if switch.mode is not Mode.OBSERVE]


def switch_index(ctx: Context) -> SwitchIndex:
    """Return every switch in force and every end of a full stop within ENDS_KEPT_FOR."""
    return policy.index(*store.list_stops(ctx.tx, ctx.now, ended_since=ctx.now - ENDS_KEPT_FOR))


@keyed(rf"({'|'.join(TargetKind)})(:.+)?")
def switch_facts(ctx: Context, since: Since) -> Delta[SwitchIndex]:
    """Read all switches and ends of full stops, or those of the changed targets."""
    if since.changes is None:
        return Delta(switch_index(ctx))
    # A change names its target, so one switch costs one look-up, however many there are.
    targets = [policy.parse_target(key) for key in since.named()]
    switches, ended = store.list_stops_on(ctx.tx, targets, ctx.now)
    return Delta(change=lambda before: policy.changed_index(before, targets, switches, ended))


@keyed("")
def failover_facts(ctx: Context, _since: Since) -> Delta[int]:
    """Read how often a person confirmed a failover."""
    return Delta(epoch.read_stamps(ctx.tx)[FAILOVERS].n)


@keyed(r"app_[^/]+/[^/]+")
def quota_facts(ctx: Context, since: Since) -> Delta[QuotaFacts]:
    """Read all overrides of quotas, or those of the changed pairs of app and tenant."""
    if since.changes is None:
        return Delta(QuotaFacts(PersistentMap(policy.quota_levels(store.read_quotas(ctx.tx)))))
    pairs = [(app, tenant) for app, _, tenant in (key.partition("/") for key in since.named())]
    found = policy.quota_levels(store.read_quotas(ctx.tx, pairs))
    # An override that was removed leaves the facts too, or the app would keep it until the next full read.
    gone = [each for each in pairs if each not in found]

    def change(before: QuotaFacts) -> QuotaFacts:
        return QuotaFacts(PersistentMap.of(before.overrides).changed(found, gone))

    return Delta(change=change)


def settle_expired(ctx: Context) -> int:
    """Settle expired switches, at most a batch; return how many. What they stopped stays invalid.

    Facts do not change: an expired full stop and its recorded end have the same effect.
    """
    return store.settle_expired(ctx.tx, ctx.now)


def _visible_tenant(ctx: Context, tenant: str | None) -> str | None:
    if ctx.actor.is_platform:
        return tenant
    asked = tenant or ctx.actor.tenant or ""
    if not policy.may_see(ctx.actor, asked):
        raise not_shown("the switches and quotas of a hospital", Readers.HOSPITAL)
    return asked


def _facts(target: Target, switch: Switch | None = None) -> dict[str, object]:
    facts: dict[str, object] = {"target": str(target)}
    if switch is not None:
        facts |= {"switch": switch.id, "mode": switch.mode.value, "reason": switch.reason}
        if switch.expires_at is not None:
            facts["expires_at"] = switch.expires_at.isoformat()
    return facts
