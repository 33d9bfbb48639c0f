"""Who may engage and release switches, and which switch stops a request. Pure.

Source: ADR 6; security decision 8.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from hilum.controls.switches.models import (
    KEY_BOUND,
    REASON_BOUND,
    RELEASE_ASK_LIFE,
    WIDE,
    EngageOrder,
    Mode,
    Quota,
    QuotaFacts,
    QuotaLevel,
    QuotaLevels,
    ReleaseStep,
    Stop,
    Subject,
    Switch,
    SwitchIndex,
    Target,
    TargetKind,
)
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.limits import too_long
from hilum.foundation.kernel.persistent import PersistentMap
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.smart.scopes import (
    ANY_TYPE,
    ClinicalScope,
    ScopeError,
    covers,
    intersect,
    parse_scope,
)

V = TypeVar("V")
ScopeStops = Callable[[str, str], bool]
"""(scope, resource type) -> whether a switch took it out of a grant."""
MAY_STOP_ANYTHING = frozenset({"platform_admin", "security"})
TENANT_ADMINISTRATOR = "administrator"
VENDOR_OWNER = "vendor_owner"
# What a hospital's administrator may stop alone. An app as a whole belongs to other hospitals too.
WITHIN_A_TENANT = frozenset({TargetKind.APP_TENANT, TargetKind.PERSON, TargetKind.APP_PERSON})
ALL_KINDS = frozenset(TargetKind)
LAUNCHES_STOPPED = frozenset({Mode.FULL_STOP, Mode.NO_NEW_LAUNCHES})
BY_TYPE = frozenset({TargetKind.SCOPE, TargetKind.RESOURCE_TYPE})
WRITES_STOPPED = frozenset({Mode.FULL_STOP, Mode.READ_ONLY})
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_TYPE = re.compile(r"[A-Z][A-Za-z]{1,63}")


def target_fault(target: Target) -> str:
    """Return what is wrong with a target's key; empty if it is valid."""
    key = target.key
    match target.kind:
        case TargetKind.PLATFORM:
            return "" if not key else "key_unexpected"
        case TargetKind.APP_TENANT | TargetKind.APP_PERSON:
            parts = key.split("/")
            fits = len(parts) == 2 and all(_ID.fullmatch(part) for part in parts)
            return "" if fits else "key_malformed"
        # Parsed when it is engaged: a switch on a scope that no
        # request can have would look like a stop and stop nothing.
        case TargetKind.SCOPE:
            scope = parse_scope(key)
            if isinstance(scope, ScopeError):
                return "scope_malformed"
            return _type_fault(scope.type) if isinstance(scope, ClinicalScope) and scope.type != "*" else ""
        case TargetKind.RESOURCE_TYPE:
            return _type_fault(key)
        case _:
            return "" if _ID.fullmatch(key) else "key_malformed"


def _type_fault(name: str) -> str:
    if not _TYPE.fullmatch(name):
        return "key_malformed"
    # The same for types: a typing error must not pass as a stop.
    return "" if name in resource_types() else "resource_type_unknown"


def order_faults(order: EngageOrder, *, now: datetime) -> dict[str, str]:
    """Return the errors of an order by field; empty if it is valid."""
    faults: dict[str, str] = {}
    if len(order.target.key) > KEY_BOUND:
        faults["key"] = too_long(KEY_BOUND, "key_too_long")
    elif fault := target_fault(order.target):
        faults["key"] = fault
    if not order.reason.strip():
        faults["reason"] = "reason_missing"
    elif len(order.reason) > REASON_BOUND:
        faults["reason"] = too_long(REASON_BOUND, "reason_too_long")
    if order.expires_at is not None and order.expires_at <= now:
        faults["expires_at"] = "not_in_the_future"
    return faults


def tenant_of(target: Target, person_tenant: str | None) -> str:
    """Return the tenant of a target; empty if it spans tenants or belongs to none."""
    match target.kind:
        case TargetKind.TENANT:
            return target.key
        case TargetKind.APP_TENANT:
            return target.key.rpartition("/")[2]
        case TargetKind.PERSON | TargetKind.APP_PERSON:
            # The key names a person only; the caller reads the tenant, because ids carry no meaning.
            return person_tenant or ""
        case _:
            return ""


def rules_the_platform(actor: Actor) -> bool:
    """Check whether an actor may stop anything: security, platform administrators, the host, the platform itself."""
    if actor.kind in {ActorKind.HOST, ActorKind.SYSTEM}:
        return True
    return actor.kind is ActorKind.STAFF and not MAY_STOP_ANYTHING.isdisjoint(actor.roles)


def administers(actor: Actor, tenant: str) -> bool:
    """Check whether an actor is an administrator of this tenant."""
    return (
        actor.kind is ActorKind.PERSON
        and TENANT_ADMINISTRATOR in actor.roles
        # An empty tenant would equal that of a target that spans tenants.
        and bool(tenant)
        and actor.tenant == tenant
    )


def owns_vendor(actor: Actor, vendor: str) -> bool:
    """Check whether an actor is an owner of this vendor."""
    of_it = actor.kind is ActorKind.MEMBER and actor.vendor == vendor
    return of_it and bool(vendor) and VENDOR_OWNER in actor.roles


def may_engage(actor: Actor, target: Target, *, person_tenant: str | None = None) -> bool:
    """Check whether an actor may engage a switch, without a second person.

    ``person_tenant`` is the tenant of the person in a person's target; None if unknown, which a tenant's administrator may not stop.
    """
    if rules_the_platform(actor):
        return True
    return target.kind in WITHIN_A_TENANT and administers(actor, tenant_of(target, person_tenant))


def is_about(target: Target, person: str) -> bool:
    """Check whether a target is this person, for all apps or for one."""
    match target.kind:
        case TargetKind.PERSON:
            return target.key == person
        case TargetKind.APP_PERSON:
            return target.key.rpartition("/")[2] == person
        case _:
            return False


def may_release(actor: Actor, switch: Switch) -> bool:
    """Check whether an actor may take part in releasing a switch.

    No person may release a switch on themselves. A wide switch takes two people of the staff, so neither the host nor the platform
    itself counts. A tenant's administrator releases only switches engaged from within the tenant, never one on the tenant.
    """
    # First of all rules, so that no role lifts a switch on oneself (security decision 24).
    if actor.kind in {ActorKind.PERSON, ActorKind.MEMBER, ActorKind.STAFF} and is_about(
        switch.target, actor.id
    ):
        return False
    if switch.target.kind in WIDE:
        # Neither the host nor the system: whoever has the shell would otherwise be both people.
        return actor.kind is ActorKind.STAFF and rules_the_platform(actor)
    if rules_the_platform(actor):
        return True
    return (
        switch.target.kind in WITHIN_A_TENANT
        and administers(actor, switch.tenant)
        # A switch that the platform engaged within the tenant is not the tenant's to release.
        and switch.engaged_by.startswith(f"{ActorKind.PERSON}:")
    )


def release_step(actor: Actor, switch: Switch, *, asker_counts: bool, now: datetime) -> ReleaseStep:
    """Return what a release by this actor does now: it releases, asks as the first of two, or nothing, since they asked already.

    ``asker_counts``: whether the first person may still be one of the two.
    """
    if switch.target.kind not in WIDE:
        return ReleaseStep.RELEASE
    asked = switch.release_asked_at
    # The first request lapses: with its time, and when its
    # author is stopped, too new or deactivated meanwhile.
    if not asker_counts or asked is None or now >= asked + RELEASE_ASK_LIFE:
        return ReleaseStep.ASK
    # Two requests by one person are one person.
    return ReleaseStep.ASKED_BY_YOU if switch.release_asked_by == str(actor) else ReleaseStep.RELEASE


def may_see(actor: Actor, tenant: str) -> bool:
    """Check whether an actor may read the switches and quotas of a tenant."""
    return actor.is_platform or administers(actor, tenant)


def quota_level(actor: Actor, tenant: str) -> QuotaLevel | None:
    """Return the level at which an actor may set a tenant's quotas; None if the actor may not."""
    if rules_the_platform(actor):
        return QuotaLevel.PLATFORM
    return QuotaLevel.TENANT if administers(actor, tenant) else None


def quota_levels(
    overrides: Iterable[tuple[str, str, QuotaLevel, Quota]],
) -> dict[tuple[str, str], QuotaLevels]:
    """Group the overrides of both levels by (app, tenant)."""
    found: dict[tuple[str, str], dict[str, Quota]] = {}
    for app, tenant, level, quota in overrides:
        found.setdefault((app, tenant), {})[level.value] = quota
    return {key: QuotaLevels(**levels) for key, levels in found.items()}


def quota_at(facts: QuotaFacts, app: str, tenant: str, default: Quota) -> Quota:
    """Return the quota of an app at a tenant: the default, unless one of the levels set another one."""
    return effective_quota(facts.overrides.get((app, tenant)), default)


def effective_quota(levels: QuotaLevels | None, default: Quota) -> Quota:
    """Combine the two levels: the platform's replaces the default, the tenant's can only narrow it."""
    if levels is None:
        return default
    ceiling, own = levels.platform or default, levels.tenant
    if own is None:
        return ceiling
    # The lower of each, so that no tenant raises its share of the platform.
    return Quota(min(ceiling.rate_per_s, own.rate_per_s), min(ceiling.burst, own.burst))


def index(switches: Iterable[Switch], ended: Iterable[tuple[Target, datetime]]) -> SwitchIndex:
    """Build the index of the switches that were not released and of the ends of full stops."""
    return SwitchIndex(PersistentMap(_by_target(switches)), PersistentMap(_latest(ended)))


def changed_index(
    before: SwitchIndex,
    targets: Collection[Target],
    switches: Iterable[Switch],
    ended: Iterable[tuple[Target, datetime]],
) -> SwitchIndex:
    """Return the index with the entries of ``targets`` replaced by ``switches`` and ``ended``."""
    engaged, until = _by_target(switches), _latest(ended)
    # Released targets stay among `kinds` and `scopes` until the next full read; see SwitchIndex.
    scopes = (target for target in targets if target.kind is TargetKind.SCOPE)
    return SwitchIndex(
        _replaced(before.engaged, engaged, targets),
        _replaced(before.not_issued_before, until, targets),
        before.kinds.union(target.kind for target in targets),
        tuple(dict.fromkeys((*before.scopes, *scopes))),
    )


def _replaced(
    before: Mapping[Target, V], current: dict[Target, V], targets: Iterable[Target]
) -> Mapping[Target, V]:
    return PersistentMap.of(before).changed(current, [target for target in targets if target not in current])


def _by_target(switches: Iterable[Switch]) -> dict[Target, tuple[Switch, ...]]:
    engaged: dict[Target, list[Switch]] = {}
    for switch in switches:
        if switch.released_at is None:
            engaged.setdefault(switch.target, []).append(switch)
    return {target: tuple(found) for target, found in engaged.items()}


def _latest(ended: Iterable[tuple[Target, datetime]]) -> dict[Target, datetime]:
    until: dict[Target, datetime] = {}
    # Of several stops on one target the latest end decides: it invalidates everything that the others do.
    for target, moment in ended:
        until[target] = max(moment, until.get(target, moment))
    return until


def parse_target(text: str) -> Target:
    """Parse ``str(target)``."""
    kind, _, key = text.partition(":")
    return Target(TargetKind(kind), key)


def targets_of(subject: Subject, kinds: frozenset[TargetKind] = ALL_KINDS) -> Iterator[Target]:
    """Yield the targets of the given kinds that match a subject by id; scopes are compared, not looked up."""
    if TargetKind.PLATFORM in kinds:
        yield Target(TargetKind.PLATFORM)
    singles = (
        (TargetKind.TENANT, subject.tenant),
        (TargetKind.VENDOR, subject.vendor),
        (TargetKind.APP, subject.app),
        (TargetKind.VERSION, subject.version),
        (TargetKind.PERSON, subject.person),
        (TargetKind.RESOURCE_TYPE, subject.resource_type),
    )
    for kind, key in singles:
        # An empty part is unknown, and must not match a target with an empty key.
        if key and kind in kinds:
            yield Target(kind, key)
    if subject.app and subject.tenant and TargetKind.APP_TENANT in kinds:
        yield Target(TargetKind.APP_TENANT, f"{subject.app}/{subject.tenant}")
    if subject.app and subject.person and TargetKind.APP_PERSON in kinds:
        yield Target(TargetKind.APP_PERSON, f"{subject.app}/{subject.person}")


def stopped_by(
    index: SwitchIndex, subject: Subject, *, now: datetime, issued_at: datetime | None
) -> Stop | None:
    """Return the full stop, in force or ended since ``issued_at``, that stops a subject; None if there is none.

    INVARIANT: adding a switch to the index never changes the result to None.
    """
    return stop_among(index, _touched(index, subject), now=now, issued_at=issued_at)


def stop_among(
    index: SwitchIndex, targets: Iterable[Target], *, now: datetime, issued_at: datetime | None
) -> Stop | None:
    """Return the full stop on one of the targets, in force or ended since ``issued_at``; None if there is none."""
    for target in targets:
        for switch in index.engaged.get(target, ()):
            if switch.mode is not Mode.FULL_STOP:
                continue
            # The time decides, not the row: an expired switch acts as ended before a job has settled it.
            if switch.in_force(now):
                return switch
            # What was issued under or before a stop stays invalid after it, by release or by expiry (ADR 6).
            if issued_at is not None and switch.expires_at is not None and issued_at <= switch.expires_at:
                return switch
        ended = index.not_issued_before.get(target)
        # `<=`: at the same microsecond nobody can say which came first, and unknown means no.
        if ended is not None and issued_at is not None and issued_at <= ended:
            return target
    return None


def launches_stopped(index: SwitchIndex, subject: Subject, now: datetime) -> Switch | None:
    """Return the switch that stops new launches of a subject; None if there is none."""
    return switch_among(index, _touched(index, subject), now, LAUNCHES_STOPPED)


def launch_stops(index: SwitchIndex, subject: Subject, now: datetime) -> Iterator[Switch]:
    """Yield every switch in force that stops new launches of a subject."""
    for target in _touched(index, subject):
        for switch in index.engaged.get(target, ()):
            if switch.mode in LAUNCHES_STOPPED and switch.in_force(now):
                yield switch


def read_only(index: SwitchIndex, subject: Subject, now: datetime) -> Switch | None:
    """Return the switch that stops writes of a subject; None if there is none."""
    return switch_among(index, _touched(index, subject), now, WRITES_STOPPED)


def scope_stops(
    index: SwitchIndex, now: datetime, *, issued_at: datetime | None, writes: bool
) -> ScopeStops | None:
    """Return the function that says whether a switch took a scope on a type out of a grant; None if no switch is on a scope or a type."""
    if not index.kinds or index.kinds.isdisjoint(BY_TYPE):
        return None

    def stopped(text: str, type_: str) -> bool:
        subject = Subject(resource_type=type_, scopes=(text,))
        # Also what was issued before such a stop ended: the end of a full stop revives nothing (ADR 6).
        if stopped_by(index, subject, now=now, issued_at=issued_at) is not None:
            return True
        return writes and read_only(index, subject, now) is not None

    return stopped


def switch_among(
    index: SwitchIndex, targets: Iterable[Target], now: datetime, modes: frozenset[Mode]
) -> Switch | None:
    """Return the first switch of these modes that is in force on one of the targets; None if there is none."""
    for target in targets:
        for switch in index.engaged.get(target, ()):
            if switch.mode in modes and switch.in_force(now):
                return switch
    return None


def _touched(index: SwitchIndex, subject: Subject) -> Iterator[Target]:
    # Without any switch this yields nothing: the usual decision costs no look-up.
    yield from targets_of(subject, index.kinds)
    for target in index.scopes:
        if _touches_scope(target.key, subject):
            yield target


def _touches_scope(switched: str, subject: Subject) -> bool:
    """Check whether a stopped scope equals, covers, or overlaps in the requested type, a scope that the subject needs."""
    # Equal texts first, since parsing is the slow part.
    if switched in subject.scopes:
        return True
    stopped = parse_scope(switched)
    if isinstance(stopped, ScopeError):
        return False
    for text in subject.scopes:
        scope = parse_scope(text)
        if isinstance(scope, ScopeError):
            continue
        # A stop on a wildcard stops every type, also those that a granted wildcard does not reach.
        if (
            isinstance(stopped, ClinicalScope)
            and isinstance(scope, ClinicalScope)
            and stopped.type == ANY_TYPE
        ):
            scope = replace(scope, type=ANY_TYPE)
        # A stop of patient/*.rs stops a token with patient/Observation.r, and the other way round only for
        # the type that the request uses it for.
        if covers(stopped, scope):
            return True
        # A wildcard token overlaps nearly every stopped scope; it is
        # stopped only where it would be used for the stopped type.
        used_for_it = (
            isinstance(stopped, ClinicalScope)
            and subject.resource_type != ""
            and stopped.type in {ANY_TYPE, subject.resource_type}
        )
        if used_for_it and intersect((scope,), (stopped,)):
            return True
    return False
