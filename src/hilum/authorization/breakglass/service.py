"""Open, end and review emergency accesses, and change a hospital's settings for them.

An emergency access, from its request to its review:

1. ``list_openable``: the clinician chooses one of their launches of the last 24 hours.
2. ``open_use``: ``policy.opening_fault`` judges the clinician, the hospital's settings and recent uses; ``eligibility`` judges the app, the person
   and the kill switches. The use is stored, and the hospital's administrators are notified.
3. ``facts``: every node learns of the use; for each request the gateway asks ``policy.in_effect`` what it opens.
4. It ends at ``ends_at``, or by ``end_use``, or by a change of the settings that permits less (``_apply``).
5. ``review``: an administrator who is not its user records a verdict; until then it is listed as waiting, and later as a finding.

Each step is one transaction with its row, the change of the facts, the mails and the audit event, so a crash leaves all of it or nothing.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.authorization.breakglass import policy, store
from hilum.authorization.breakglass.models import (
    ANSWERS_READ,
    BREAK_GLASS,
    LAUNCH_AGE,
    LAUNCHES_SHOWN,
    SORTS,
    BreakGlassFacts,
    NewUse,
    NoteArg,
    Opened,
    OpenUse,
    Settings,
    SettingsChange,
    Use,
    UseId,
    UseQuery,
    VerdictArg,
)
from hilum.authorization.eligibility import service as eligibility
from hilum.authorization.eligibility.policy import eligibility_fault
from hilum.authorization.launches import service as launches
from hilum.authorization.launches.models import Launch
from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.controls.switches.policy import administers
from hilum.foundation.actions.models import Denied, Effect, Noun, Shows
from hilum.foundation.actions.service import action
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import Delta, Since, keyed
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import (
    NO_RIGHT,
    Conflict,
    Invalid,
    NotPermitted,
    Readers,
    not_shown,
)
from hilum.foundation.kernel.ids import LaunchId, PersonId, TenantId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.kernel.persistent import PersistentMap
from hilum.foundation.standards.refusals import meaning_of
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person
from hilum.records.audit import service as audit
from hilum.records.audit.models import Access, AccessPage, AccessQuery, Event, Outcome
from hilum.records.audit.policy import emergency_of
from hilum.records.notices.models import MailKind

_REVIEW_REFUSALS = {
    "review_of_own_use": "Somebody else at the hospital must review your emergency access.",
    "break_glass_running": "This emergency access is still open. End it, or review it when it is over.",
    "account_too_new": "Your account is less than a week old, so you cannot review yet. Ask a colleague.",
}


def _visible(ctx: Context, use_id: str, *, lock: bool = False) -> Use:
    use = store.USES.get(ctx.tx, use_id, lock=lock)
    if not policy.may_see(ctx.actor, use):
        raise store.USES.missing()
    return use


def _event(action: str, use: Use) -> Event:
    opened = {"reason": use.reason, "ends_at": use.ends_at.isoformat()} if action.endswith(".open") else {}
    reviewed = {"verdict": use.verdict, "note": use.note} if use.verdict else {}
    return Event(
        action,
        tenant=use.tenant,
        app=use.app,
        client=use.client,
        person=use.person,
        launch=use.launch,
        patient=use.patient,
        facts={"use": use.id, "categories": list(use.categories)} | opened | reviewed,
    )


BREAK_GLASS_USE = Noun(
    "break_glass",
    "breakglass",
    Use,
    load=_visible,
    about=_event,
    help="Open restricted records in an emergency, for a few minutes; review what colleagues opened.",
    columns=(
        Shows("person", "Person"),
        Shows("app", "App"),
        Shows("state", "State"),
        Shows("opened_at", "Began"),
        Shows("ends_at", "Ends"),
        Shows("review_by", "Review before"),
        Shows("verdict", "Verdict"),
    ),
    derived={"state": policy.state_of},
    plural="break_glass",
)
OPEN = "breakglass.break_glass.open"
"""The audit action of ``open_use``, whose refusals are about a launch and not about a use."""
REVIEWERS = ("administrator",)
CONCERNED = ("physician", "nurse", "administrator")


def list_openable(ctx: Context) -> list[Launch]:
    """List the actor's own launches in which they could break the glass, newest first. Raises NotPermitted."""
    if not policy.may_ask(ctx.actor):
        raise NotPermitted("break_glass_role", policy.DETAILS["break_glass_role"])
    clinician = identity.get_person(ctx, PersonId(ctx.actor.id))
    recent = launches.list_of_person(ctx, clinician.id, ctx.now - LAUNCH_AGE, LAUNCHES_SHOWN)
    return [
        each
        for each in recent
        if policy.is_openable(each, ctx.actor, ctx.now) and not _stopped(ctx, each, clinician)
    ]


def app_names(ctx: Context, used: Collection[Launch | Use]) -> dict[str, str]:
    """Return the names of apps by client; an id for a name that is not there, since an emergency must not fail for it."""
    names: dict[str, str] = {each.client: each.client for each in used}
    return names | {each.id: each.name for each in clients.read_named(ctx, {each.client for each in used})}


def open_use(ctx: Context, order: NewUse) -> Use:
    """Break the glass for the patient of a launch, and notify the hospital's administrators.

    Raises Invalid (reason), NotPermitted (see ``policy.DETAILS``, or the app, the person or the hospital is stopped).
    """
    event = Event(OPEN, tenant=ctx.actor.tenant or "", person=ctx.actor.id)
    if not policy.may_ask(ctx.actor) or ctx.actor.tenant is None:
        refused = replace(event, reason="break_glass_role")
        raise audit.refusal(ctx, refused, policy.DETAILS["break_glass_role"])
    if fault := policy.reason_fault(order):
        detail = "State in a sentence what the emergency is."
        raise Invalid("reason_invalid", detail, fields={"reason": fault})
    # The hospital's row is locked, so that simultaneous requests neither exceed the limit nor open two uses.
    tenant = identity.get_tenant(ctx, ctx.actor.tenant, lock=True)
    settings = _settings(ctx, tenant.id)
    launch = launches.find_launch(ctx, order.launch)
    person = PersonId(ctx.actor.id)
    running = bool(store.read_running(ctx.tx, ctx.now, launch=order.launch))
    recent = store.read_recent(ctx.tx, person, ctx.now)
    fault = policy.opening_fault(ctx.actor, settings, launch, recent, is_open=running, now=ctx.now)
    if fault or launch is None:
        raise audit.refusal(ctx, replace(event, reason=fault), policy.DETAILS[fault])
    event = replace(event, client=launch.client, launch=launch.id, patient=launch.patient)
    clinician = identity.get_person(ctx, person)
    if reason := _stopped(ctx, launch, clinician):
        raise audit.refusal(ctx, replace(event, reason=reason), meaning_of(reason))
    client = clients.get_client(ctx, launch.client)
    use = Use(
        id=ctx.ids.new("btg"),
        tenant=tenant.id,
        person=person,
        role=clinician.role,
        client=client.id,
        app=client.app,
        launch=launch.id,
        patient=launch.patient,
        reason=" ".join(order.reason.split()),
        categories=settings.categories,
        opened_at=ctx.now,
        ends_at=policy.ends_at(settings, ctx.now),
        review_by=ctx.now + timedelta(hours=settings.review_hours),
    )
    store.USES.add(ctx.tx, use)
    _notify(ctx, use, tenant.name, clinician.name)
    ctx.advance_epoch(BREAK_GLASS, f"use/{use.id}", urgent=True)
    audit.record(ctx, _event(OPEN, use))
    return use


def _stopped(ctx: Context, launch: Launch, clinician: Person) -> Reason | None:
    """Return why an app may do nothing any longer with a launch; None if it may."""
    judged = eligibility.read(
        ctx, launch.tenant, launch.client, clinician, issued_at=launch.created_at, facility=launch.facility
    )
    return eligibility_fault(judged, ctx.now)


def _notify(ctx: Context, use: Use, hospital: str, person: str) -> None:
    """Mail the hospital's administrators, without the patient and the reason."""
    facts = {
        "place": hospital,
        "person": person,
        "app": registry.get_app(ctx, use.app).name,
        "use": use.id,
        "ends": use.ends_at.isoformat(),
        "review": use.review_by.isoformat(),
    }
    identity.mail_administrators(ctx, use.tenant, MailKind.BREAK_GLASS, f"break-glass/{use.id}", facts)


@action(
    BREAK_GLASS_USE,
    "end",
    who=CONCERNED,
    effect=Effect.NARROWS,
    past="ended an emergency access",
    button="End it now",
)
def end_use(ctx: Context, use_id: UseId) -> Use:
    """End an emergency access before its time, as its clinician or an administrator.

    Raises NotFound, Conflict (over already).
    """
    use = _visible(ctx, use_id, lock=True)
    if not policy.is_running(use, ctx.now):
        raise Conflict("break_glass_over", "This emergency access has already ended.")
    return _end(ctx, use)


@action(
    BREAK_GLASS_USE,
    "review",
    who=REVIEWERS,
    past="reviewed an emergency access",
    button="Record the verdict",
)
def review(ctx: Context, use_id: UseId, verdict: VerdictArg, note: NoteArg) -> Use:
    """Review somebody else's emergency access at your hospital, with a verdict and a note.

    Raises NotFound, NotPermitted, Invalid, Conflict (still open, or reviewed already).
    """
    use = _visible(ctx, use_id, lock=True)
    reviewer = identity.find_person(ctx, PersonId(ctx.actor.id))
    user = identity.find_person(ctx, use.person)
    fault = policy.review_fault(ctx.actor, use, reviewer, user, ctx.now)
    if not fault and not identity.counts_as_one_of_two(ctx, PersonId(ctx.actor.id)):
        fault = "account_too_new"
    if fault == "break_glass_running":
        raise Conflict(fault, _REVIEW_REFUSALS[fault])
    if fault:
        raise Denied(use, fault, _REVIEW_REFUSALS.get(fault, NO_RIGHT))
    if use.reviewed_at is not None:
        raise Conflict("break_glass_reviewed", "A colleague has already reviewed this emergency access.")
    if fault := policy.note_fault(note):
        raise Invalid("review_invalid", "The review cannot be accepted; see fields.", fields={"note": fault})
    reviewed = replace(
        use,
        reviewed_at=ctx.now,
        reviewed_by=str(ctx.actor),
        verdict=verdict.value,
        note=" ".join(note.split()),
    )
    store.USES.save(ctx.tx, reviewed)
    return reviewed


@action(BREAK_GLASS_USE, "show", who=CONCERNED, effect=Effect.READS)
def view_use(ctx: Context, use_id: UseId) -> Use:
    """Show one emergency access: who, why, for how long, and the result of its review.

    Raises NotFound, also if the actor may not see it.
    """
    return _visible(ctx, use_id)


@action(BREAK_GLASS_USE, "list", who=CONCERNED, effect=Effect.READS, sorts=SORTS)
def list_uses(ctx: Context, query: UseQuery, page: PageQuery = FIRST_PAGE) -> list[Use]:
    """List emergency accesses: all of your hospital, or your own.

    Raises NotPermitted.
    """
    query = replace(query, tenant=query.tenant or ctx.actor.tenant or "")
    if not administers(ctx.actor, query.tenant):
        query = replace(query, person=query.person or ctx.actor.id)
    if not policy.may_list(ctx.actor, query):
        raise not_shown("these emergency accesses", Readers.HOSPITAL)
    return store.list_uses(ctx.tx, query, ctx.now, page)


def read_opened(ctx: Context, use: Use, page: Callable[[AccessQuery], AccessPage]) -> Opened:
    """Return what the app was answered under an emergency access, to those who may see it. Raises NotFound."""
    if not policy.may_see(ctx.actor, use):
        raise store.USES.missing()
    query = answers_of(use)
    found: list[tuple[Access, int]] = []
    while len(found) < ANSWERS_READ:
        read = page(query)
        for access in read.accesses:
            emergency = emergency_of(access)
            if emergency is not None and emergency[0] == use.id:
                found.append((access, emergency[1] or 0))
        query = replace(query, after=read.next)
        if not read.next:
            break
    return Opened(tuple(access for access, _ in found), sum(n for _, n in found), is_all=not query.after)


def answers_of(use: Use) -> AccessQuery:
    """Return the query for what the app of an emergency access was answered while it was open. What it was refused, however often, is not read."""
    return AccessQuery(
        tenant=use.tenant,
        launch=use.launch,
        outcome=Outcome.DONE,
        since=use.opened_at,
        before=use.ended_at or use.ends_at,
    )


def view_settings(ctx: Context, tenant: TenantId) -> Settings:
    """Return what a hospital allows. Raises NotFound, NotPermitted."""
    if ctx.actor.tenant != tenant and not ctx.actor.is_platform:
        raise not_shown(
            "what a hospital allows in an emergency", "the hospital's people and the platform's staff"
        )
    return _settings(ctx, identity.get_tenant(ctx, tenant).id)


def change_settings(ctx: Context, tenant_id: TenantId, change: SettingsChange) -> Settings | Asked:
    """Change what a hospital allows, as its administrator. A change that permits more waits for a second one; one that permits less ends open uses.

    Raises NotFound, NotPermitted, Invalid, Unavailable (too many wait).
    """
    tenant = identity.get_tenant(ctx, tenant_id, lock=True)
    before = _settings(ctx, tenant.id)
    after = _changed_settings(ctx, before, change)
    if ctx.actor.acts_alone or not policy.widens(before, after):
        return _apply(ctx, before, after)
    act = Act(ApprovalKind.BREAK_GLASS, tenant.id, tenant.id, order=_shown(after), before=_in_force(before))
    return Asked(identity.ask(ctx, act))


def _carry_out(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    tenant = identity.get_tenant(ctx, TenantId(approval.act.target), lock=True)
    before = _settings(ctx, tenant.id)
    identity.require_unchanged(approval.act, _in_force(before))
    order = dict(approval.act.order)
    change = SettingsChange(**order | {"categories": tuple(order["categories"])})
    after = _changed_settings(ctx.as_actor(asker), before, change)
    _apply(ctx, before, after)
    return CarriedOut(tenant.id)


CARRY_OUT = {ApprovalKind.BREAK_GLASS: _carry_out}
"""How this room's acts are carried out once a second person has agreed."""


def _changed_settings(ctx: Context, before: Settings, change: SettingsChange) -> Settings:
    if not (administers(ctx.actor, before.tenant) or ctx.actor.acts_alone):
        raise audit.refusal(ctx, Event("breakglass.settings.change", tenant=before.tenant))
    after = policy.changed(before, change)
    if faults := policy.settings_faults(after):
        raise Invalid("settings_invalid", "The settings cannot be accepted; see fields.", fields=faults)
    return after


def _apply(ctx: Context, before: Settings, after: Settings) -> Settings:
    store.save_settings(ctx.tx, after)
    if policy.narrows(before, after):
        for use in store.read_running(ctx.tx, ctx.now, tenant=after.tenant):
            _end(ctx, use)
    ctx.advance_epoch(BREAK_GLASS, f"settings/{after.tenant}", urgent=True)
    facts = {"before": _shown(before), "after": _shown(after)}
    audit.record(ctx, Event("breakglass.settings.change", tenant=after.tenant, facts=facts))
    return after


def _shown(settings: Settings) -> dict[str, Any]:
    shown = asdict(settings) | {"categories": list(settings.categories)}
    del shown["tenant"]
    return shown


def _in_force(settings: Settings) -> dict[str, Any]:
    """Return what the second person compares with: of settings that are off, which one person may change, only that they are."""
    return _shown(settings) if settings.enabled else {"enabled": False}


def _settings(ctx: Context, tenant: TenantId) -> Settings:
    return store.SETTINGS.find(ctx.tx, tenant=tenant) or Settings(tenant)


def _end(ctx: Context, use: Use) -> Use:
    """End a use, so that no node opens anything for it any more."""
    ended = replace(use, ended_at=ctx.now, ended_by=str(ctx.actor))
    store.USES.save(ctx.tx, ended)
    ctx.advance_epoch(BREAK_GLASS, f"use/{use.id}", urgent=True)
    return ended


def end_all(ctx: Context) -> None:
    """End every open use after a restore, since it may have been ended after the backup."""
    for use in store.read_running(ctx.tx, ctx.now):
        _end(ctx, use)


@keyed(r"(use|settings)/[^/]+")
def facts(ctx: Context, since: Since) -> Delta[BreakGlassFacts]:
    """Return the open uses and what hospitals allow: all, or what changed."""
    if since.changes is None:
        running = {each.launch: _open(each) for each in store.read_running(ctx.tx, ctx.now)}
        allowed = {
            each.tenant: frozenset(each.categories) for each in store.SETTINGS.all(ctx.tx, enabled=True)
        }
        return Delta(BreakGlassFacts(running, PersistentMap(allowed)))
    named = [key.partition("/") for key in since.named()]
    changed = store.USES.among(ctx.tx, "id", (id_ for kind, _, id_ in named if kind == "use"))
    settings = {TenantId(id_): _settings(ctx, TenantId(id_)) for kind, _, id_ in named if kind == "settings"}
    now = ctx.now

    def change(before: BreakGlassFacts) -> BreakGlassFacts:
        # Uses that ran out are dropped at the next change.
        running = {launch: use for launch, use in before.open.items() if now < use.ends_at}
        for use in sorted(changed, key=lambda use: use.opened_at):
            _set_open_use(running, use, now)
        on = {id_: frozenset(each.categories) for id_, each in settings.items() if each.enabled}
        off = [id_ for id_ in settings if id_ not in on]
        return BreakGlassFacts(running, PersistentMap.of(before.allowed).changed(on, off))

    return Delta(change=change)


def _set_open_use(running: dict[LaunchId, OpenUse], use: Use, now: datetime) -> None:
    if policy.is_running(use, now):
        running[use.launch] = _open(use)
    elif use.launch in running and running[use.launch].id == use.id:
        del running[use.launch]


def _open(use: Use) -> OpenUse:
    return OpenUse(
        use.id, use.tenant, use.person, use.launch, use.patient, frozenset(use.categories), use.ends_at
    )
