"""Check certified apps again, keep their findings, and move them up and down the escalation."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta

from hilum.apps.clients import service as clients
from hilum.apps.contacts import service as contacts
from hilum.apps.installations import service as installations
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, AppState, Certification, Environment, UseExcess
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Switch, Target, TargetKind
from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.actor import SYSTEM, require_platform
from hilum.foundation.kernel.errors import Conflict, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people import service as identity
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, EventQuery
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent
from hilum.review.certificates import service as certificates
from hilum.review.listings import service as listings
from hilum.review.recertification import policy, serving, store, use_store
from hilum.review.recertification.drifting import (
    Permits,
    Use,
    drift_of,
    list_seen_at,
    remember_places,
    units_used,
)
from hilum.review.recertification.figuring import view_figures, view_over_requests
from hilum.review.recertification.models import (
    ASK_AGAIN,
    BATCH,
    CLOSED_KEPT,
    RECURS_WITHIN,
    UNUSED_DAYS,
    Bounced,
    Climb,
    CriterionResult,
    Currency,
    Escalation,
    Finding,
    Followed,
    Level,
    Limits,
    Round,
    State,
    Subject,
)
from hilum.review.recertification.serviced import Totals, has_public_client, measured
from hilum.review.submissions import service as review
from hilum.review.submissions.models import Look

__all__ = ["Permits", "Totals", "Use", "list_seen_at", "view_figures", "view_over_requests"]
REASON = "Findings about this app were not fixed in time: hilum finding list"
_MAILS = {
    Level.NOTIFY: MailKind.FINDINGS_OPENED,
    Level.WARN: MailKind.FINDINGS_WARNED,
    Level.STOP: MailKind.FINDINGS_STOPPED,
    Level.SUSPEND: MailKind.FINDINGS_STOPPED,
}


# --- the round ---------------------------------------------------------------------------------------------------------------

_OVERDUE = "A finding of critical or high severity was not fixed before its deadline."


def begin_round(ctx: Context) -> Round:
    """Begin this day's round, unless one runs or it is done; return the round."""
    held = store.lock_round(ctx.tx)
    today = ctx.now.date()
    if not held.is_over or (held.day is not None and held.day >= today):
        return held
    total = certificates.count_certified(ctx)
    begun = Round(today, "", 0, total, ctx.now)
    store.save_round(ctx.tx, begun)
    audit.record(ctx, Event("revalidation.round.begin", facts={"day": today.isoformat(), "apps": total}))
    return begun


def next_batch(ctx: Context, use: Use, limit: int = BATCH) -> list[Subject]:
    """Read the next apps to check: requested ones first, then those of the current round."""
    return [_read(ctx, each, use) for each in _next(ctx, limit)]


def next_named(ctx: Context) -> Subject | None:
    """Return the next app to check, without its data; None if there is none."""
    return next(iter(_next(ctx, 1)), None)


def _next(ctx: Context, limit: int) -> list[Subject]:
    asked = store.list_asked(ctx.tx, limit)
    if asked:
        return [Subject(each.app, None, asked_at=each.asked_at) for each in asked]
    held = store.get_round(ctx.tx)
    if held.is_over:
        return []
    return [Subject(app, None, day=held.day) for app in certificates.list_certified(ctx, held.after, limit)]


def _read(ctx: Context, named: Subject, use: Use) -> Subject:
    app = named.app
    certified = _certified(ctx, app)
    if not certified:
        return named
    certification = certified[0]
    try:
        targets = tuple(review.addresses_of(ctx, certification))
    except NotFound:
        # The submission no longer exists: `finish` reports it for this app alone, and the others are checked.
        return replace(named, certification=certification)
    criteria = limits_of(ctx, certification).service
    with lanes.using(Lane.OWN):
        stands = measured(ctx, certification, criteria, use)
    facts = clients.facts_of_apps(ctx, (app,)).get(app, ())
    return replace(
        named,
        certification=certification,
        targets=targets,
        unused=_unused(ctx, certification, use.permits),
        drift=drift_of(ctx, certified, facts, use),
        service=stands,
        public=has_public_client(facts),
        bounced=_bounced(ctx, certification),
        units=units_used(ctx, app, facts, use),
    )


def _bounced(ctx: Context, certification: Certification) -> tuple[Bounced, ...]:
    vendor = registry.get_app(ctx, certification.app).vendor
    found = contacts.bouncing(ctx, vendor)
    return tuple(Bounced(each.kind.value, each.address, at) for each, at in found)


def _certification(ctx: Context, app: AppId) -> Certification | None:
    """Return the certification by which an app is judged; None without one."""
    return next(iter(_certified(ctx, app)), None)


def _certified(ctx: Context, app: AppId) -> list[Certification]:
    """Return an app's intact certifications for production that are in force, or else in grace: reviewed ones first, then the newest.

    The app is judged by the first. A certification of the regulated lane, or by hand, has no submission to compare with.
    """
    production = [
        each
        for each in registry.certifications_of(ctx, app)
        if each.environment is Environment.PRODUCTION and each.withdrawn_at is None
    ]
    # Read only if one may be in its grace: every app is checked each night, and few are in it.
    ended = any(ctx.now >= each.expires_at for each in production)
    graced = certificates.in_grace(ctx, app) if ended else {}
    counting = (each for each in production if ctx.now < each.expires_at or each.id in graced)
    return sorted(
        counting, key=lambda each: (ctx.now < each.expires_at, bool(each.submission), each.id), reverse=True
    )


def _unused(ctx: Context, certification: Certification, permits: Permits) -> tuple[str, ...]:
    """Return the certified scopes that permitted nothing for UNUSED_DAYS, for an app in use."""
    if certification.certified_at > ctx.now - timedelta(days=UNUSED_DAYS):
        return ()
    with lanes.using(Lane.OWN):
        compared = installations.compare_scopes(ctx, certification.app, UNUSED_DAYS, None, permits)
    rows = [each for each in compared.rows if each.approved and each.unused]
    # An unused app says nothing about its single scopes.
    if not compared.whole or not any(each.used for each in compared.rows):
        return ()
    return tuple(each.scope for each in rows if not each.used)


def finish(ctx: Context, subject: Subject, looks: Sequence[Look]) -> bool:
    """Store the results of an app's check, and move it on the escalation; return False if another process has done so."""
    if not _is_turn(ctx, subject):
        return False
    certification = _certification(ctx, subject.app)
    if certification is None:
        _close_all(ctx, subject.app)
        use_store.forget_use(ctx.tx, subject.app)
    elif subject.certification is not None:
        app = registry.get_app(ctx, subject.app)
        checks = review.judge_again(ctx, certification, looks)
        concerns = policy.concerns_of(checks, subject)
        if ctx.now >= certification.expires_at:
            until = certificates.in_grace(ctx, app.id).get(certification.id)
            concerns += [] if until is None else [policy.ended_concern(certification, until)]
        limits = limits_of(ctx, certification)
        held = store.open_findings(ctx.tx, app.id)
        due_at = ctx.now + timedelta(days=limits.service.grace_days)
        concerns += map(policy.bounced_concern, subject.bounced)
        concerns += serving.concerns_of(subject.service, held, public=subject.public, due_at=due_at)
        recent = store.recently_closed(ctx.tx, app.id, ctx.now - RECURS_WITHIN) if concerns else []
        followed = policy.follow(
            subject, app.vendor, held, concerns, recent=recent, limits=limits, now=ctx.now
        )
        _keep(ctx, followed)
        # Read once, after everything is stored.
        found = store.open_findings(ctx.tx, app.id)
        remember_places(ctx, found, subject.drift)
        if subject.units is not None:
            tier = certification.tier
            use_store.save_use(ctx.tx, app.id, "" if tier is None else tier.value, subject.units, ctx.now)
        climb(ctx, app, certification, limits, found)
        _note_review(ctx, certification, found)
    escalation = store.lock_escalation(ctx.tx, subject.app)
    store.save_escalation(ctx.tx, replace(escalation, looked_at=ctx.now))
    return True


def skip(ctx: Context, subject: Subject) -> None:
    """Skip an app that cannot be judged because of a bug, so that it does not block the others."""
    if _is_turn(ctx, subject):
        audit.record(ctx, Event("revalidation.app.skip", app=subject.app))


def _is_turn(ctx: Context, subject: Subject) -> bool:
    """Advance the round, or end a requested check; return False if that was done before."""
    if subject.day is None:
        escalation = store.lock_escalation(ctx.tx, subject.app)
        if escalation.asked_at != subject.asked_at:
            return False
        store.save_escalation(ctx.tx, replace(escalation, asked_at=None))
        return True
    held = store.lock_round(ctx.tx)
    if held.day != subject.day or held.is_over or subject.app <= held.after:
        return False
    store.save_round(ctx.tx, replace(held, after=subject.app, done=held.done + 1))
    return True


def close_gone(ctx: Context, after: str) -> str:
    """Once the round has no apps left, close what is open about the next apps that are no longer certified; return the last of them, or nothing."""
    held = store.get_round(ctx.tx)
    if held.is_over or held.began_at is None or certificates.list_certified(ctx, held.after, 1):
        return ""
    found = store.apps_not_looked_at(ctx.tx, held.began_at, after, BATCH)
    for app in found:
        if _certification(ctx, app) is None:
            _close_all(ctx, app)
    return found[-1] if found else ""


def end_round(ctx: Context) -> None:
    """End the round once no app is left."""
    held = store.lock_round(ctx.tx)
    if held.is_over or held.began_at is None or certificates.list_certified(ctx, held.after, 1):
        return
    store.save_round(ctx.tx, replace(held, ended_at=ctx.now))
    facts = {"day": str(held.day), "apps": held.done}
    audit.record(ctx, Event("revalidation.round.end", facts=facts))


def _keep(ctx: Context, followed: Followed) -> None:
    for found in (*followed.opened, *followed.suspected):
        each = found if found.id else replace(found, id=ctx.ids.new("fnd"))
        if found.id:
            store.save_finding(ctx.tx, each)
        else:
            store.add_finding(ctx.tx, each)
        if each.state is State.OPEN:
            _record(ctx, "revalidation.finding.open", each)
    for each in followed.kept:
        store.save_finding(ctx.tx, each)
    for each in followed.closed:
        if each.due_at is None:
            store.drop_finding(ctx.tx, each)
        else:
            store.save_finding(ctx.tx, each)
            _record(ctx, "revalidation.finding.close", each)


def _record(ctx: Context, action: str, found: Finding) -> None:
    facts = {
        "finding": found.id,
        "rule": found.rule,
        "severity": found.severity.value,
        "due_at": "" if found.due_at is None else found.due_at.isoformat(),
    }
    audit.record(ctx, Event(action, app=found.app, facts=facts))


def _note_review(ctx: Context, certification: Certification, findings: Sequence[Finding]) -> None:
    """Open a review of what was certified if its findings require one, and close it once they do not."""
    needed, tier = [], certification.tier
    if tier is not None and policy.needs_review(findings, ctx.now):
        needed = [UseExcess(certification.app, certification.version, certification.id, tier, tier, _OVERDUE)]
    registry.note_finding_reviews(ctx, [certification.app], needed)


def _close_all(ctx: Context, app: AppId) -> None:
    """Close everything about an app that is no longer certified, and undo what the escalation did."""
    held = store.open_findings(ctx.tx, app)
    closed = (replace(each, state=State.CLOSED, closed_at=ctx.now) for each in held)
    _keep(ctx, Followed(closed=tuple(closed)))
    registry.note_finding_reviews(ctx, [app], ())
    escalation = store.lock_escalation(ctx.tx, app)
    if escalation.due is not Level.NONE or escalation.level is not Level.NONE:
        after = _moved(ctx, registry.get_app(ctx, app), None, escalation, to=Level.NONE, due=Level.NONE)
        store.save_escalation(ctx.tx, after)


def limits_of(ctx: Context, certification: Certification) -> Limits:
    """Return the deadlines and the limit of automation for a certification: the strictest of its entries in the policy in force everywhere.

    After a move or a raise both categories or tiers count.
    """
    return _limits_under(ctx, policies.current(ctx).as_of(ctx.now).everywhere, certification)


def _limits_under(ctx: Context, book: Book, certification: Certification) -> Limits:
    categories = {registry.get_app(ctx, certification.app).category, certification.category}
    raised = policies.raise_of(ctx, certification.version)
    tiers = [certification.tier, None if raised is None else raised.tier]
    return policy.limits_under(book, categories, {each for each in tiers if each is not None})


def climbs_under(ctx: Context, book: Book) -> Iterator[Climb]:
    """Yield the apps with overdue findings that the platform would stop or suspend by itself under a policy, but may not now."""
    current = policies.current(ctx).as_of(ctx.now).everywhere
    for app in (
        sorted(store.apps_overdue(ctx.tx, ctx.now)) if policy.escalation_differs(current, book) else ()
    ):
        if (certification := _certification(ctx, app)) is None:
            continue
        found = store.open_findings(ctx.tx, app)
        limits = (_limits_under(ctx, each, certification) for each in (current, book))
        now, then = (policy.level_taken(policy.level_due(found, each, ctx.now), each) for each in limits)
        if then > now and then >= Level.STOP:
            yield Climb(app, now, then, sum(each.is_overdue(ctx.now) for each in found))


# --- the escalation --------------------------------------------------------------------------------------------------------------


def climb(
    ctx: Context, app: App, certification: Certification, limits: Limits, findings: Sequence[Finding]
) -> Escalation:
    """Move an app to the level that its findings require and the platform may take by itself, up or down; record and announce it."""
    found = [each for each in findings if each.state is State.OPEN]
    due = policy.level_due(found, limits, ctx.now)
    taken = policy.level_taken(due, limits)
    escalation = store.lock_escalation(ctx.tx, app.id)
    after = _moved(ctx, app, certification, escalation, to=taken, due=due)
    store.save_escalation(ctx.tx, after)
    if taken > escalation.level:
        _announce(ctx, app, found, taken, limits)
    return after


def _moved(
    ctx: Context,
    app: App,
    certification: Certification | None,
    escalation: Escalation,
    *,
    to: Level,
    due: Level,
) -> Escalation:
    after = replace(escalation, level=to, due=due)
    if to >= Level.STOP:
        assert certification is not None, "what is not certified is not launched"
        after = replace(after, switches=_stopped(ctx, app, _own(ctx, app, escalation.switches)))
        listings.hide(ctx, app.id)
    else:
        for each in _own(ctx, app, escalation.switches):
            controls.release(ctx, each.id, counts=lambda *_: False)
        listings.unhide(ctx, app.id)
        after = replace(after, switches=())
    if to >= Level.SUSPEND and app.state is AppState.ACTIVE:
        registry.suspend_app(ctx, app.id, REASON)
        after = replace(after, suspended=True)
    elif to < Level.SUSPEND and escalation.suspended:
        # A person may have resumed the app and suspended it again: then only people resume it.
        if app.state is AppState.SUSPENDED and _suspended_it(ctx, app):
            registry.resume_app(ctx, app.id, "What was found about this app is fixed.")
        after = replace(after, suspended=False)
    if (escalation.level, escalation.due) != (to, due):
        facts = {"from": escalation.level.name.lower(), "to": to.name.lower(), "due": due.name.lower()}
        audit.record(ctx, Event("revalidation.app.climb", app=app.id, facts=facts))
    return after


def _suspended_it(ctx: Context, app: App) -> bool:
    """Check whether the last suspension of an app is the escalation's. Only people resume what people suspended since."""
    query = EventQuery(action="registry.app.suspend", app=app.id, outcome="done", limit=1)
    return [each.actor for each in audit.list_events(ctx, query).events] == [str(SYSTEM)]


def _own(ctx: Context, app: App, named: Iterable[str]) -> list[Switch]:
    """Return the switches in force that the escalation engaged for an app. The row is not signed, so other switches in it are ignored."""
    ids = tuple(named)
    if not ids:
        return []
    versions = {each.version for each in registry.certifications_of(ctx, app.id)}
    found = (controls.get_switch(ctx, each) for each in ids)
    return [each for each in found if each.in_force(ctx.now) and policy.is_of_escalation(each, versions)]


def _stopped(ctx: Context, app: App, switches: Sequence[Switch]) -> tuple[str, ...]:
    """Stop new launches of every certified version, including those certified or released since; return the switches."""
    stopped = {each.target.key for each in switches}
    every, graced = registry.certifications_of(ctx, app.id), certificates.in_grace(ctx, app.id)
    certified = [*registry.in_force(ctx, every), *(each for each in every if each.id in graced)]
    made = [
        # On versions, not on the app: a switch on an app takes two people to release, but a fixed app climbs down by itself.
        controls.engage(ctx, EngageOrder(Target(TargetKind.VERSION, version), Mode.NO_NEW_LAUNCHES, REASON))
        for version in sorted({each.version for each in certified} - stopped)
    ]
    return tuple(each.id for each in (*switches, *made))


def _announce(ctx: Context, app: App, found: Sequence[Finding], level: Level, limits: Limits) -> None:
    """Notify the vendor of its app's level, and from the stop on also the hospitals that use the app."""
    worst = max(found, key=lambda each: policy.level_of(each, limits, ctx.now))
    due = (worst.due_at or ctx.now).isoformat()
    cause = f"findings/{worst.id}/{level.name.lower()}"
    facts = {"app": app.name, "rule": worst.rule, "finding": worst.id, "due": due}
    for address in contacts.reached(ctx, app.vendor):
        notices.put_mail(ctx, Mail(_MAILS[level], address, cause, facts, vendor=app.vendor, app=app.id))
    event_facts = {"app_id": app.id, "finding_id": worst.id, "stage": level.name.lower(), "due": due}
    notices.put_event(ctx, VendorEvent(EventKind.FINDINGS, app.vendor, cause, event_facts, app=app.id))
    if level < Level.STOP:
        return
    held = {"app": app.name, "rule": worst.rule}
    for tenant in installations.hospitals_of(ctx, app.id):
        identity.mail_administrators(ctx, tenant, MailKind.APP_HELD, f"{cause}/{tenant}", held, app=app.id)


# --- for people --------------------------------------------------------------------------------------------------------------


def ask(ctx: Context, app_id: AppId) -> Escalation:
    """Request a check of an app soon, for its vendor and for reviewers. Raises NotFound, NotPermitted (no right, or asked too recently)."""
    app = registry.get_app(ctx, app_id)
    event = Event("revalidation.app.ask", app=app.id)
    if not policy.may_see(ctx.actor, app.vendor):
        raise NotFound("app_not_found", "There is no such app.")
    if not policy.may_ask(ctx.actor, app.vendor):
        raise audit.refusal(ctx, event)
    if _certification(ctx, app.id) is None:
        raise Conflict("not_certified", "The app is not certified for production, so it is not checked.")
    held = store.lock_escalation(ctx.tx, app.id)
    # Of requests, not of looks: who fixed something after the nightly round need not wait.
    query = EventQuery(action=event.action, app=app.id, since=ctx.now - ASK_AGAIN, outcome="done", limit=1)
    if held.asked_at is not None or audit.list_events(ctx, query).events:
        detail = "A check of the app was requested less than ten minutes ago. Try again when they are over."
        raise audit.refusal(ctx, replace(event, reason="asked_recently"), detail)
    after = replace(held, asked_at=ctx.now)
    store.save_escalation(ctx.tx, after)
    audit.record(ctx, event)
    return after


def list_findings(
    ctx: Context,
    page: PageQuery = FIRST_PAGE,
    *,
    app: str = "",
    state: State | None = None,
    overdue: bool = False,
) -> list[Finding]:
    """List findings by id: members see those about their vendor's apps, staff see all. Raises NotPermitted."""
    own = ctx.actor.vendor
    if not (ctx.actor.is_platform or (own is not None and policy.may_see(ctx.actor, own))):
        raise not_shown("findings", Readers.VENDOR)
    return store.list_findings(
        ctx.tx, page, vendor=own or "", app=app, state=state, overdue_at=ctx.now if overdue else None
    )


def view_finding(ctx: Context, finding_id: str) -> Finding:
    """Get a finding. Raises NotFound."""
    found = store.get_finding(ctx.tx, finding_id)
    if not policy.may_see(ctx.actor, found.vendor):
        raise store.no_such_finding()
    return found


def view_escalation(ctx: Context, app_id: AppId) -> Escalation:
    """Get the level of an app. Raises NotFound."""
    app = registry.get_app(ctx, app_id)
    if not policy.may_see(ctx.actor, app.vendor):
        raise NotFound("app_not_found", "There is no such app.")
    return store.get_escalation(ctx.tx, app.id)


def list_escalations(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Escalation]:
    """List apps that moved up the escalation or will, for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return store.list_escalations(ctx.tx, page)


def view_service(ctx: Context, app_id: AppId, use: Use) -> tuple[CriterionResult, ...]:
    """Return whether a certified app meets the policy's criteria for its service, by its calls until now. Raises NotFound.

    A hospital's administrators get no numbers, since these include other hospitals.
    """
    app = registry.get_app(ctx, app_id)
    whole = policy.may_see(ctx.actor, app.vendor)
    if not whole and not policy.may_compare(ctx.actor):
        raise NotFound("app_not_found", "There is no such app.")
    certification = _certification(ctx, app.id)
    if certification is None:
        return ()
    found = measured(ctx, certification, limits_of(ctx, certification).service, use)
    return found if whole else tuple(replace(each, hits=None, of=None) for each in found)


def progress(ctx: Context) -> Round:
    """Return the progress of the round, for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return store.get_round(ctx.tx)


def currency(ctx: Context) -> Currency:
    """Return K17: how many apps are published, and how many of them have a valid certificate and no overdue finding. For anybody."""
    published = listings.published(ctx)
    current = (published & certificates.validly_certified(ctx)) - store.apps_overdue(ctx.tx, ctx.now)
    return Currency(len(published), len(current), ctx.now)


def purge(ctx: Context) -> int:
    """Delete a batch of findings that closed long ago; return how many. Call again until it returns 0."""
    return store.purge(ctx.tx, ctx.now - CLOSED_KEPT)
