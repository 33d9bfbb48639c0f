"""Launch contexts: opened by an EHR, taken once by an app, moved and ended with the EHR's session.

A launch, in order:

1. ``open_launch``: the EHR sends client, person and chart, and gets a handle for the app and ``open_url`` for the browser.
2. ``use_open_token``: the browser opens ``open_url`` within a minute, once; it gets the session of the person for whom the EHR vouches,
   and is redirected to the app with ``iss`` and the handle.
3. ``take``: the app redirects the browser to authorize with the handle, which its client and that person can take once, within five
   minutes (``authorize.flow``).
4. ``move``: the EHR opens another chart; tokens of the earlier one are refused until the app is launched again.
5. ``end``: the EHR's session ends, and with it the browser's session and every token without ``offline_access``.

Each step is judged by the eligibility of the app and the person at that time, so a stop between two steps refuses the next one. An EHR's
session here is the browser's session of step 2: it begins with ``open_url``, and ends with the launch or by its own limits.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from hashlib import sha256

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client, ClientType
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.authorization.eligibility import service as eligibility
from hilum.authorization.eligibility.models import Acting, EligibilityInputs
from hilum.authorization.eligibility.policy import (
    ACTS_ALONE,
    EHR_STOPPED,
    LAUNCH_OVER,
    eligibility_fault,
    refusal_of,
)
from hilum.authorization.launches import policy, store
from hilum.authorization.launches.models import (
    AVAILABILITY_BOUND,
    EHR_ROLE,
    LAUNCH_LIFE,
    LAUNCH_SCOPE,
    LAUNCHES,
    LAUNCHES_KEPT,
    NEGATIVE_WINDOW,
    OPEN_URL_LIFE,
    PLACEMENT_REFUSED,
    Activity,
    Availability,
    BegunLaunch,
    Launch,
    LaunchFacts,
    LaunchOrder,
    OpenedLaunch,
    OpenLaunches,
)
from hilum.authorization.tokens import policy as tokens_policy
from hilum.authorization.tokens import service as tokens
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.facts import Delta, Since, keyed
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.errors import Invalid, NotFound, NotPermitted, Refused
from hilum.foundation.kernel.ids import ClientId, LaunchId, PersonId, TenantId
from hilum.foundation.kernel.persistent import RecentSet
from hilum.foundation.standards.refusals import meaning_of
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person
from hilum.identity.signin import service as signin
from hilum.identity.signin.models import Method
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, Outcome
from hilum.records.audit.policy import as_sent
from hilum.records.keys.live import vault
from hilum.review.certification_runs import service as evidence

_OPEN_FOR = timedelta(days=1)
"""How long a launch that has not ended counts as open: one that no EHR ends would count for ever."""
NOT_AN_EHR = "Only an EHR client with the scope hilum/launch may do this."


def open_launch(ctx: Context, order: LaunchOrder) -> OpenedLaunch:
    """Create a launch for an EHR: a context, a single-use handle for the app and a single-use token for the browser.

    Raises NotPermitted (the caller is not an EHR; the app may not act here: C38), Invalid with fields.
    """
    tenant = _ehr_tenant(ctx, "launches.launch.open")
    faults = policy.order_faults(order)
    client = clients.find_client(ctx, order.client) if "client_id" not in faults else None
    person = identity.find_person_by_username(ctx, tenant, order.person) if "person" not in faults else None
    faults |= _client_and_person_faults(order, client, person)
    asked = _asked(order, tenant, client, person)
    if faults or client is None or person is None:
        raise _invalid(ctx, asked, faults)
    book = policies.current(ctx).book_at(tenant, ctx.now)
    # The app's open certification run, if there is one; the EHR need not name it, and can name no other.
    run = evidence.run_of(ctx, client.id, tenant)
    if order.placement and order.placement not in book.placements:
        faults = {"placement": "placement_unknown"}
    elif order.run not in {"", run}:
        faults = {"run": "run_not_open"}
    if faults:
        raise _invalid(ctx, asked, faults)
    # An unknown facility counts as none, which matters only if the app is limited to some.
    named = identity.find_facility_named(ctx, tenant, order.facility)
    facility = "" if named is None else named.id
    # Judged as issued now: within the margin after a full stop's end, the next step would refuse the launch.
    judged = eligibility.read(ctx, tenant, client.id, person, issued_at=ctx.now, facility=facility)
    judged = eligibility.for_task(judged, order.intent, order.placement, ctx.now)
    if refused := _refused(ctx, judged, order.placement, book):
        audit.record(ctx, replace(asked, reason=refused.code, facts=asked.facts | refused.facts))
        raise refused
    open_token = ctx.ids.secret()
    handle = _handle_of(open_token)
    opened = Launch(
        id=LaunchId(ctx.ids.new("lch")),
        tenant=tenant,
        client=client.id,
        person=person.id,
        created_at=ctx.now,
        expires_at=ctx.now + LAUNCH_LIFE,
        patient=order.patient,
        encounter=order.encounter,
        intent=order.intent,
        placement=order.placement,
        fhir_context=order.fhir_context,
        need_patient_banner=order.need_patient_banner,
        run=run,
        facility=facility,
        launch_uri=order.launch_uri or client.launch_uri,
        opened_by=ctx.actor.id,
    )
    store.LAUNCHES.add(
        ctx.tx,
        opened,
        handle_hash=_digest(handle),
        open_hash=_digest(open_token),
        open_expires_at=ctx.now + OPEN_URL_LIFE,
    )
    facts = {"intent": order.intent, "placement": order.placement, "facility": facility or order.facility}
    audit.record(ctx, _event(opened, "launches.launch.open", **facts))
    return OpenedLaunch(opened, handle, open_token, opened.launch_uri)


def availability(
    ctx: Context, username: str, asked: Iterable[ClientId], facility: str = ""
) -> list[Availability]:
    """Return for each app whether the calling EHR may open it for a person now, so that its buttons show a stop (C140).

    ``asked``: clients; if empty, those of the apps that are installed for the person's role. ``facility``: as in a launch; not judged if
    it is empty. Raises NotPermitted (the caller is not an EHR), Invalid with fields.
    """
    tenant = ctx.actor.tenant
    if tenant is None or not policy.is_ehr(ctx.actor):
        raise NotPermitted("not_an_ehr", NOT_AN_EHR)
    client_ids = tuple(dict.fromkeys(asked))
    person = identity.find_person_by_username(ctx, tenant, username)
    if faults := policy.availability_faults(client_ids, person, facility):
        raise Invalid("fields_invalid", "Some fields cannot be accepted.", fields=faults)
    where = None
    if facility:
        named = identity.find_facility_named(ctx, tenant, facility)
        where = "" if named is None else named.id
    return [
        _available(
            ctx, client, eligibility.read(ctx, tenant, client, person, issued_at=ctx.now, facility=where)
        )
        for client in client_ids or _installed(ctx, tenant, person)
    ]


def _installed(ctx: Context, tenant: TenantId, person: Person | None) -> list[ClientId]:
    """List the clients of the apps that are installed at a hospital for a person's role; ``AVAILABILITY_BOUND`` at most, by the apps' names.

    Not those that registered themselves: whoever tries such an app opens it by its client.
    """
    installed = installations.installed_at(ctx, tenant, installations.apps_at(ctx, tenant))
    apps = registry.read_apps(ctx, installed) if installed else {}
    role = "" if person is None else person.role
    listed = (app for app in apps.values() if app.tenant is None and role in installed[app.id].roles)
    by_name = sorted(listed, key=lambda app: (app.name, app.id))
    launched = clients.launched_of(ctx, apps)
    return [
        client.id
        for app in by_name
        for client in launched.get(app.id, ())
        if client.environment is installed[app.id].environment
    ][:AVAILABILITY_BOUND]


def _available(ctx: Context, client: ClientId, judged: EligibilityInputs) -> Availability:
    # Backend services, EHRs and resource servers cannot be launched.
    if judged.client is not None and judged.client.type in ACTS_ALONE:
        return Availability(client, "client_not_launchable", "This client is not an app that people open.")
    reason = eligibility_fault(judged, ctx.now)
    detail = "" if reason is None else _refusal(ctx, judged, reason).detail
    # What is not installed here is not this EHR's to know.
    if judged.client is None or judged.installation is None:
        return Availability(client, reason or "", detail)
    app = registry.get_app(ctx, judged.client.app)
    logo = app.logo if reason is None else ""
    return Availability(client, reason or "", detail, app.id, logo, app.name, app.description)


def _refusal(ctx: Context, judged: EligibilityInputs, reason: str) -> Refused:
    tenant = identity.find_tenant(ctx, judged.acting.tenant)
    return refusal_of(judged, reason, ctx.now, tenant="" if tenant is None else tenant.name)


def _refused(ctx: Context, judged: EligibilityInputs, placement: str, book: Book) -> Refused | None:
    """Return why an app may not be opened from a placement; None if it may."""
    if reason := eligibility_fault(judged, ctx.now):
        return _refusal(ctx, judged, reason)
    if judged.client is None:
        return None
    sentence = policy.placement_refusal(placement, book, judged.client, ctx.now)
    if not sentence:
        return None
    rule, _, next_step = sentence.partition(". ")
    owner = _refusal(ctx, judged, Reason.WORKFLOW_NOT_APPROVED).owner
    return Refused(PLACEMENT_REFUSED, f"{rule}.", owner=owner, next_step=next_step)


def _client_and_person_faults(
    order: LaunchOrder, client: Client | None, person: Person | None
) -> dict[str, str]:
    faults: dict[str, str] = {}
    # A backend service, an EHR or a resource server is not an app for people.
    if order.client and (client is None or client.type in ACTS_ALONE):
        faults["client_id"] = "client_not_launchable"
    elif client is not None and (fault := policy.launch_uri_fault(order.launch_uri, client)):
        faults["launch_uri"] = fault
    if order.person and (person is None or not person.active):
        faults["person"] = "person_not_active"
    elif person is not None and (fault := policy.chart_fault(person, order.patient)):
        faults["patient"] = fault
    return faults


def use_open_token(ctx: Context, tenant: TenantId, open_token: str) -> BegunLaunch:
    """Use the token of ``open_url`` once: create the session of the person the EHR vouches for.

    Raises NotFound if the token is unknown, expired or used, or its launch has ended. A second use is recorded as a security event, and ends
    a launch that no app has taken yet: two browsers have the URL, and only one of them is the person's.
    """
    # No database query for a text that cannot be a token.
    digest = _digest(open_token) if policy.looks_like_secret(open_token) else b""
    launch = store.use_open_token(ctx.tx, digest, tenant, ctx.now) if digest else None
    if launch is None:
        _record_reopening(ctx, tenant, digest)
        raise NotFound(
            "launch_unknown", "This launch has been used or has expired. Open the app from the EHR again."
        )
    person = identity.get_person(ctx, launch.person)
    judged = eligibility.read(
        ctx, tenant, launch.client, person, issued_at=launch.created_at, facility=launch.facility
    )
    _require_eligible(ctx, launch, judged, "launches.launch.begin")
    # Only after the eligibility was judged, because a refusal commits and must not leave a session.
    session, cookie = signin.begin_session(ctx, person, Method.EHR)
    store.LAUNCHES.change(ctx.tx, {"session": session.id}, id=launch.id)
    audit.record(ctx, _event(launch, "launches.launch.begin", session=session.id))
    return BegunLaunch(replace(launch, session=session.id), cookie, _handle_of(open_token), launch.launch_uri)


def _record_reopening(ctx: Context, tenant: TenantId, digest: bytes) -> None:
    """Record a refused use of ``open_url``; end the launch if the URL was used before and no app has taken the launch."""
    launch = store.LAUNCHES.find(ctx.tx, open_hash=digest, tenant=tenant) if digest else None
    if launch is None:
        return
    # A launch that an app has taken is not ended: the second browser gains nothing, and the person works on.
    reason = "open_url_reused" if launch.opened_at is not None else "open_url_expired"
    if launch.opened_at is not None and launch.ended_at is None and launch.used_at is None:
        _end(ctx, launch)
    _record_refused(ctx, launch, "launches.launch.begin", reason)


def take(ctx: Context, handle: str, judged: EligibilityInputs) -> Launch:
    """Take a launch for an authorization request: once, by the client and the person for whom it was opened (C27).

    ``judged``: the eligibility inputs of the authorization request, with its tenant, client and person. An attempt by any other client or person is
    recorded as a security event and ends the launch, because the handle has leaked. Raises NotPermitted (another person, client or tenant;
    or the app may not act now, or was stopped since the launch was opened), NotFound (unknown; used, expired or ended).
    """
    by = judged.acting
    digest = _digest(handle) if policy.looks_like_secret(handle) else b""
    if digest:
        # One statement, so that of two concurrent requests with the handle one gets the chart.
        found = store.take(ctx.tx, digest, client=by.client, tenant=by.tenant, person=by.person, now=ctx.now)
        if found is not None:
            # By the time at which it was opened: a launch from before a full stop stays invalid after it. The
            # launch is used up even if this refuses it.
            judged = eligibility.at_facility(ctx, judged, found.facility)
            _require_eligible(ctx, found, replace(judged, issued_at=found.created_at), "launches.launch.take")
            context = [name for name in ("patient", "encounter") if getattr(found, name)]
            audit.record(ctx, _event(found, "launches.launch.take", context=context))
            return found
    launch = store.LAUNCHES.find(ctx.tx, handle_hash=digest) if digest else None
    if launch is None:
        raise NotFound("launch_unknown", "There is no such launch.")
    reason = _take_fault(ctx, launch, by)
    foreign = reason.startswith("foreign_")
    # Somebody else has the handle, so it has leaked; the EHR must open another launch.
    if foreign:
        _end(ctx, launch)
    holder = {"by_client": by.client, "at_tenant": by.tenant, "by_person": by.person}
    _record_refused(ctx, launch, "launches.launch.take", reason, **holder)
    if foreign:
        raise NotPermitted("launch_not_yours", "This launch was opened for another person, app or hospital.")
    raise NotFound(LAUNCH_OVER, "This launch has been used or has expired. Open the app from the EHR again.")


def _require_eligible(ctx: Context, found: Launch, judged: EligibilityInputs, action: str) -> None:
    """Refuse and record a launch whose app, person or EHR may not act here now. Raises NotPermitted.

    The EHR is judged too, because it vouches for the person: a stop on it also stops the launches that it opened.
    """
    judged = eligibility.for_task(judged, found.intent, found.placement, ctx.now)
    opener = eligibility.read(ctx, found.tenant, ClientId(found.opened_by), None, issued_at=found.created_at)
    by_ehr = None if eligibility_fault(judged, ctx.now) else eligibility_fault(opener, ctx.now)
    book = policies.current(ctx).book_at(found.tenant, ctx.now, judged.acting.app)
    refusal = _refused(ctx, judged, found.placement, book)
    if by_ehr:
        said = _refusal(ctx, judged, EHR_STOPPED)
        refusal = Refused(by_ehr.value, said.rule, owner=said.owner, next_step=said.next_step)
        refusal.switches = _refusal(ctx, opener, by_ehr).switches
    if refusal is None:
        return
    by = {"by_ehr": found.opened_by if by_ehr else "", "placement": found.placement}
    _record_refused(ctx, found, action, refusal.code, **refusal.facts, **by)
    raise refusal


def _take_fault(ctx: Context, launch: Launch, by: Acting) -> str:
    """Return the reason to record for a launch that could not be taken."""
    # Another holder first, because a leaked handle ends the launch even if it has expired or was used.
    if launch.tenant != by.tenant:
        return "foreign_tenant"
    if launch.client != by.client:
        return "foreign_client"
    if launch.person != by.person:
        return "foreign_person"
    if launch.ended_at is not None:
        return "launch_ended"
    if launch.used_at is not None:
        return "launch_reused"
    return "launch_expired" if ctx.now >= launch.expires_at else "launch_unknown"


def move(ctx: Context, launch_id: LaunchId, patient: str | None, encounter: str | None) -> Launch:
    """Update the chart of a launch. None keeps the open patient or encounter; another patient closes the encounter.

    A move to another patient invalidates the grants made for the previous one until the app is launched again (C35). Before the launch
    is taken there are no grants, so it opens on the new chart. Raises NotFound, Invalid, NotPermitted.
    """
    # Locked: an app that takes the launch at this moment has the earlier chart, or the later one.
    launch = _own_launch(ctx, launch_id, "launches.launch.move", lock=True)
    person = identity.find_person(ctx, launch.person)
    after = launch.patient if patient is None else patient
    unchanged = launch.encounter if after == launch.patient else ""
    encounter_after = unchanged if encounter is None else encounter
    if faults := policy.move_faults(person, after, encounter_after):
        raise Invalid("launch_invalid", "The chart cannot move there.", fields=faults)
    # Before the launch is taken there are no tokens of the earlier chart.
    leaves_chart = launch.used_at is not None and after != launch.patient
    # Never reset, so that moving back to the first patient revives no token.
    moved_at = ctx.now if leaves_chart else launch.moved_at
    moved = store.move(ctx.tx, launch.id, patient=after, encounter=encounter_after, moved_at=moved_at)
    if moved is None:
        raise NotFound("launch_ended", "This launch has ended.")
    if leaves_chart:
        ctx.advance_epoch(LAUNCHES, f"moved/{launch.id}")
    audit.record(ctx, _event(moved, "launches.launch.move", stale=leaves_chart))
    return moved


def end(ctx: Context, launch_id: LaunchId) -> None:
    """End a launch and the session it created. Tokens with ``offline_access`` stay valid, all others are revoked (C36). Idempotent."""
    launch = _own_launch(ctx, launch_id, "launches.launch.end")
    if _end(ctx, launch):
        audit.record(ctx, _event(launch, "launches.launch.end"))


def _end(ctx: Context, launch: Launch) -> bool:
    # Only the first caller continues, so that everything below happens once.
    ended = store.end(ctx.tx, launch.id, ctx.now)
    if ended is None:
        return False
    tokens.revoke_launch(ctx, launch.id)
    # As it is now: its session may have begun since ``launch`` was read.
    if ended.session:
        signin.end_session(ctx, ended.session)
    ctx.advance_epoch(LAUNCHES, f"ended/{launch.id}")
    return True


def get_launch(ctx: Context, launch_id: LaunchId) -> Launch:
    """Return a launch in any state. Raises NotFound."""
    launch = store.LAUNCHES.find(ctx.tx, id=launch_id)
    if launch is None:
        raise NotFound("launch_unknown", "There is no such launch.")
    return launch


def find_launch(ctx: Context, launch_id: LaunchId) -> Launch | None:
    """Return a launch in any state; None if there is none."""
    return store.LAUNCHES.find(ctx.tx, id=launch_id)


def list_of_person(ctx: Context, person: PersonId, since: datetime, limit: int) -> list[Launch]:
    """List a person's used launches since a moment that neither moved nor ended, newest first, without a permission check."""
    return store.list_of_person(ctx.tx, person, since, limit)


def record_activity(ctx: Context, rows: Iterable[Activity]) -> int:
    """Record the EHR's daily counts by role and facility; return how many. A later report of a day replaces the earlier one."""
    tenant = _ehr_tenant(ctx, "launches.activity.report")
    listed = list(rows)
    if faults := policy.activity_faults(listed, today=ctx.now.date()):
        raise Invalid("activity_invalid", "The counts cannot be recorded.", fields=faults)
    for row in listed:
        store.report_activity(ctx.tx, tenant, row, ctx.now)
    audit.record(
        ctx,
        Event("launches.activity.report", tenant=tenant, client=ctx.actor.id, facts={"rows": len(listed)}),
    )
    return len(listed)


def list_activity(ctx: Context, tenant: TenantId, *, since: date, until: date) -> list[Activity]:
    """List a tenant's counts from ``since`` until ``until``, by day."""
    return store.list_activity(ctx.tx, tenant, since=since, until=until)


@keyed(r"(moved|ended)/[^/]+")
def facts(ctx: Context, since: Since) -> Delta[LaunchFacts]:
    """Return the launches that moved or ended within the life of an access token: all of them, or those added since."""
    forget_before = ctx.now - NEGATIVE_WINDOW
    if since.changes is None:
        moved = RecentSet(store.read_moved(ctx.tx, forget_before))
        return Delta(LaunchFacts(moved, RecentSet(store.read_ended(ctx.tx, forget_before))))
    added: dict[str, list[tuple[LaunchId, datetime]]] = {"moved": [], "ended": []}
    for each in since.changes:
        what, _, id_ = each.key.partition("/")
        added[what].append((LaunchId(id_), each.at))

    def change(before: LaunchFacts) -> LaunchFacts:
        return LaunchFacts(
            RecentSet.of(before.moved).changed(added["moved"], forget_before=forget_before),
            RecentSet.of(before.ended).changed(added["ended"], forget_before=forget_before),
        )

    return Delta(change=change)


def count_tasks(
    ctx: Context, of: Collection[ClientId]
) -> Iterator[tuple[TenantId, ClientId, tuple[str, str], int]]:
    """Yield how often some clients were opened at each hospital by intent and placement, within LAUNCHES_KEPT."""
    counted = store.count_tasks(ctx.tx, of, ctx.now - LAUNCHES_KEPT) if of else ()
    for tenant, client, intent, placement, number in counted:
        yield tenant, client, (intent, placement), number


def count_people(
    ctx: Context, tenant: TenantId, of: Collection[ClientId], since: datetime
) -> tuple[datetime, list[tuple[PersonId, str, int]]]:
    """Count how often each person opened some clients at a tenant, by facility; return it with the time from which it counts.

    Within LAUNCHES_KEPT, and among the newest LAUNCHES_TRIED launches of all hospitals.
    """
    since = max(since, ctx.now - LAUNCHES_KEPT)
    counted_since, people = store.count_people(ctx.tx, tenant, of, since) if of else (None, [])
    return counted_since or since, people


def purge(ctx: Context, *, kept: timedelta = LAUNCHES_KEPT) -> int:
    """Delete launches that ended or were never taken, once older than ``kept``; return how many. Call again until it returns 0."""
    return store.purge(ctx.tx, ctx.now - max(kept, NEGATIVE_WINDOW))


def last_launches(ctx: Context, tenants: Collection[TenantId], since: datetime) -> dict[TenantId, datetime]:
    """Return when each of some tenants had its newest launch; without those that had none since a moment."""
    return store.last_launches(ctx.tx, tenants, since)


def _ehr_tenant(ctx: Context, action: str) -> TenantId:
    if not policy.is_ehr(ctx.actor) or ctx.actor.tenant is None:
        audit.record(ctx, Event(action, Outcome.REFUSED, tenant=ctx.actor.tenant or "", reason="not_an_ehr"))
        raise NotPermitted("not_an_ehr", NOT_AN_EHR)
    return ctx.actor.tenant


def _own_launch(ctx: Context, launch_id: LaunchId, action: str, *, lock: bool = False) -> Launch:
    tenant = _ehr_tenant(ctx, action)
    launch = store.LAUNCHES.find(ctx.tx, lock=lock, id=launch_id)
    # Another EHR's launch is answered as unknown, so that ids cannot be probed.
    if launch is None or launch.tenant != tenant or launch.opened_by != ctx.actor.id:
        facts = {"launch": launch_id[:64]}
        audit.record(
            ctx,
            Event(
                action,
                Outcome.REFUSED,
                tenant=tenant,
                client=ctx.actor.id,
                reason="launch_unknown",
                facts=facts,
            ),
        )
        raise NotFound("launch_unknown", "There is no such launch.")
    return launch


def _asked(order: LaunchOrder, tenant: TenantId, client: Client | None, person: Person | None) -> Event:
    """Return the event of an order that is refused: who and what was found, and the rest as it was sent."""
    sent = {
        "client_id": "" if client else order.client,
        "username": "" if person else order.person,
        "role": person.role if person else "",
        "facility": order.facility,
        "placement": order.placement,
    }
    return Event(
        "launches.launch.open",
        Outcome.REFUSED,
        tenant=tenant,
        app=client.app if client else "",
        client=client.id if client else "",
        person=person.id if person else "",
        patient=order.patient,
        facts={name: as_sent(text) for name, text in sent.items() if text},
    )


def _invalid(ctx: Context, asked: Event, faults: dict[str, str]) -> Invalid:
    # Only a patient whom the person may open: no other is known to be one.
    patient = "" if "patient" in faults else asked.patient
    facts = asked.facts | {"fields": faults}
    audit.record(ctx, replace(asked, reason="launch_invalid", patient=patient, facts=facts))
    return Invalid("launch_invalid", "The launch cannot be opened as requested.", fields=faults)


def _record_refused(ctx: Context, launch: Launch, action: str, reason: str, **facts: object) -> None:
    """Record that a step of a launch was refused, with its app and its person's role."""
    client, person = clients.find_client(ctx, launch.client), identity.find_person(ctx, launch.person)
    event = _event(launch, action, role=person.role if person else "", **facts)
    app = client.app if client else ""
    audit.record(ctx, replace(event, outcome=Outcome.REFUSED, reason=reason, app=app))


def count_open(
    ctx: Context, *, tenant: str = "", clients: Collection[str] | None = None, person: str = ""
) -> list[OpenLaunches]:
    """Count the launches of the last day that have not ended, by tenant, of some clients, of one person or of all."""
    since = ctx.now - _OPEN_FOR
    return store.count_open(ctx.tx, ctx.now, since, tenant=tenant, clients=clients, person=person)


def _event(launch: Launch, action: str, **facts: object) -> Event:
    return Event(
        action,
        tenant=launch.tenant,
        client=launch.client,
        person=launch.person,
        launch=launch.id,
        patient=launch.patient,
        facts={name: value for name, value in (facts | {"run": launch.run}).items() if value},
    )


def _handle_of(open_token: str) -> str:
    """Derive the app's handle from the browser's token, so that ``open_url`` can return the handle though only digests are stored."""
    return vault().mac("launch-handle", open_token.encode(), size=32)


def authenticate_ehr(ctx: Context, tenant: TenantId, bearer: str) -> Actor:
    """Return the EHR client of an access token as an actor.

    Raises NotPermitted: ``not_authenticated`` (401), ``not_an_ehr``, or the reason why the client may not act.
    """
    token = tokens.find_access(ctx, bearer)
    if token is None or token.tenant != tenant or tokens_policy.require_proof(token, "") is not None:
        raise NotPermitted("not_authenticated", "Send an access token of this hospital's EHR client.")
    judged = eligibility.of_token(ctx, token, issued_at=token.issued_at)
    client = judged.client
    # An app's token is valid at this hospital too, but opens no launch.
    if client is not None and (client.type is not ClientType.EHR or LAUNCH_SCOPE not in token.scopes):
        raise NotPermitted("not_an_ehr", NOT_AN_EHR)
    if reason := eligibility_fault(judged, ctx.now):
        raise NotPermitted(reason, f"This EHR client may not act here. {meaning_of(reason)}")
    return Actor(ActorKind.CLIENT, token.client, tenant, frozenset({EHR_ROLE}))


def _digest(secret: str) -> bytes:
    return sha256(secret.encode()).digest()
