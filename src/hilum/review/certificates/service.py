"""Make certificates, keep their status as it is in the registry and the kill switches, and list them."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Certification, Certified, Environment
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import SWITCHES
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.epoch import Stamp
from hilum.foundation.infra.facts import current_facts
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import GRACE_DAYS_BOUND, Book
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.review.certificates import policy, store
from hilum.review.certificates.models import (
    CERTIFICATE_TYPE,
    LIST_REMADE,
    LIST_SIZE,
    LIST_TYPE,
    LOOKED_AGAIN,
    STEP_BOUND,
    Addresses,
    Cause,
    Certificate,
    Evidence,
    PublicationChanges,
    Status,
    StatusList,
    Stops,
    Walk,
)
from hilum.review.certificates.reminders import remind_due
from hilum.review.submissions import service as review

__all__ = ["remind_due"]
_APP = "app/"


@dataclass(slots=True)
class _Step:
    """One transaction of following: what it has made and changed so far."""

    ctx: Context
    at: Addresses
    stops: Stops
    walk: Walk
    lists: set[int] = field(default_factory=set)
    """The status lists in which something changed."""

    @property
    def change(self) -> int:
        """The number of this step's changes."""
        return self.walk.change + 1


def step(ctx: Context, at: Addresses) -> bool:
    """Follow a part of what changed; return whether there is more to follow at once. For the jobs process.

    Costs what changed, and LOOKED_AGAIN apps in turns: their status is judged again, in case somebody wrote to the database.
    """
    walk = store.lock_walk(ctx.tx)
    index = current_facts(ctx, SWITCHES, controls.switch_facts)
    doing = _Step(ctx, at, policy.stops_in(index, ctx.now), walk)
    more = _follow_registry(doing)
    _settle(doing, _in_turns(doing))
    stopped = store.newly_stopped(ctx.tx, doing.stops, STEP_BOUND)
    freed = store.no_longer_stopped(ctx.tx, doing.stops, STEP_BOUND)
    _settle(doing, dict.fromkeys(each.app for each in (*stopped, *freed)))
    due = store.due(ctx.tx, ctx.now, STEP_BOUND)
    _settle(doing, dict.fromkeys(each.app for each in due))
    more = more or STEP_BOUND in {len(stopped), len(freed), len(due)}
    _publish(doing)
    walk = doing.walk if not doing.lists else replace(doing.walk, change=doing.change)
    store.save_walk(ctx.tx, walk if more else replace(walk, at=ctx.now))
    return more


def _follow_registry(doing: _Step) -> bool:
    """Judge the apps that changed in the registry; return whether there are more."""
    ctx, walk = doing.ctx, doing.walk
    stamp = store.registry_stamp(ctx.tx)
    if walk.after is None:
        held = Stamp(walk.n, walk.mark)
        changes = () if stamp == held else store.changes_since(ctx.tx, held, stamp)
        named = [] if changes is None else [each.key for each in changes if each.key.startswith(_APP)]
        apps = [AppId(each.removeprefix(_APP)) for each in dict.fromkeys(named)]
        if changes is not None and len(apps) <= STEP_BOUND:
            doing.walk = replace(walk, n=stamp.n, mark=stamp.mark)
            _settle(doing, apps)
            return False
        # If it is unknown which apps changed, or too many for one transaction did, every app is judged in turn.
        walk = replace(walk, after="", n=stamp.n, mark=stamp.mark)
    elif not walk.after:
        walk = replace(walk, n=stamp.n, mark=stamp.mark)
    page = PageQuery(walk.after or "")
    found = [each.id for each in registry.list_apps(ctx, page)]
    ended = len(found) < page.limit
    doing.walk = replace(walk, after=None if ended else found[-1])
    _settle(doing, found)
    # What changed during the walk is followed after it.
    return True


def _in_turns(doing: _Step) -> list[AppId]:
    """Return the apps whose turn it is to be judged again, and advance the walk past them."""
    found = store.apps_after(doing.ctx.tx, doing.walk.looked, LOOKED_AGAIN)
    doing.walk = replace(doing.walk, looked=found[-1] if len(found) == LOOKED_AGAIN else "")
    return found


def _settle(doing: _Step, apps: Iterable[AppId]) -> None:
    """Make the missing certificates of some apps, and judge the status of the existing ones."""
    ids = list(apps)
    if not ids:
        return
    certified = registry.read_certified(doing.ctx, ids)
    held: dict[AppId, dict[str, Certificate]] = {}
    for each in store.of_apps(doing.ctx.tx, ids):
        held.setdefault(each.app, {})[each.id] = each
    texts = store.texts_of(doing.ctx.tx, ids)
    published = keys.public_jwks(doing.ctx, Purpose.CERTIFICATE, "")
    book, facts = _served(doing.ctx, held)
    for app in ids:
        found = {each.id: each for each in certified.certifications.get(app, ())}
        for row in held.get(app, {}).values():
            # A place in the status list other than the signed one would show somebody else's status.
            signed = policy.is_as_signed(row, texts.get(row.id, ""), published)
            certification = found.get(row.id) if signed else None
            grace = (
                None
                if certification is None or doing.ctx.now < row.expires_at
                else policy.grace_of(certification, book, facts.get(app, ()))
            )
            status, cause = policy.status_of(
                certification, certified.apps.get(app), doing.stops, doing.ctx.now, grace
            )
            _save(doing, row, status, cause, None if status is Status.INVALID else grace)
        if app in certified.apps:
            missing = [each for id_, each in sorted(found.items()) if id_ not in held.get(app, {})]
            _make(doing, certified, certified.apps[app], missing)


def _served(
    ctx: Context, held: Mapping[AppId, Mapping[str, Certificate]]
) -> tuple[Book, dict[AppId, tuple[ClientFacts, ...]]]:
    """Return the policy in force everywhere, and the clients of apps that may be in a grace."""
    book = policies.current(ctx).as_of(ctx.now).everywhere
    longest = timedelta(days=GRACE_DAYS_BOUND)
    ended = [
        app
        for app, rows in held.items()
        if any(each.expires_at <= ctx.now < each.expires_at + longest for each in rows.values())
    ]
    return book, clients.facts_of_apps(ctx, ended) if ended else {}


def _make(doing: _Step, certified: Certified, app: App, missing: Collection[Certification]) -> None:
    for each in missing:
        version = certified.versions.get(each.version)
        if version is None or not policy.gets_certificate(app, each, doing.ctx.now):
            continue
        number = doing.walk.last + 1
        doing.walk = replace(doing.walk, last=number)
        vendor = registry.get_vendor(doing.ctx, app.vendor)
        evidence = _evidence(doing.ctx, each)
        claims = policy.claims_of(
            each, app, vendor, version, evidence, number=number, now=doing.ctx.now, at=doing.at
        )
        status, cause = policy.status_of(each, app, doing.stops, doing.ctx.now)
        made = Certificate(
            id=each.id,
            number=number,
            app=app.id,
            vendor=vendor.id,
            version=version.id,
            environment=each.environment,
            app_name=app.name,
            vendor_name=vendor.name,
            label=version.label,
            tier=each.tier,
            issued_at=doing.ctx.now,
            expires_at=each.expires_at,
            status=status,
            cause=cause,
            changed_at=doing.ctx.now,
            change=doing.change,
            remind_at=policy.next_reminder(each.expires_at, doing.ctx.now),
            text=keys.sign_compact(doing.ctx, Purpose.CERTIFICATE, claims, typ=CERTIFICATE_TYPE),
        )
        store.add_certificate(doing.ctx.tx, made)
        doing.lists.add(number // LIST_SIZE)
        facts = {"certificate": made.id, "version": made.version, "number": number}
        audit.record(doing.ctx, Event("certificates.certificate.make", app=app.id, facts=facts))


def _evidence(ctx: Context, certification: Certification) -> Evidence:
    """Return the digests of what was reviewed; none for a certification that a reviewer recorded directly."""
    if not certification.submission:
        return Evidence()
    # As the system: the certificate contains digests only.
    reading = ctx.as_actor(SYSTEM)
    try:
        found = review.view(reading, certification.submission).submission
        run = review.view_run(reading, certification.submission)
    except NotFound:
        return Evidence()
    documents = policy.documents_of(found.order.documents)
    return Evidence(found.id, found.digest, run.number, run.digest, documents, run.policy_version)


def _save(doing: _Step, row: Certificate, status: Status, cause: Cause, grace_until: datetime | None) -> None:
    if (row.status, row.cause, row.grace_until) == (status, cause, grace_until):
        return
    remind_at = row.remind_at
    if grace_until is not None and (remind_at is None or remind_at > row.expires_at):
        remind_at = grace_until
    after = replace(
        row,
        status=status,
        cause=cause,
        changed_at=doing.ctx.now,
        change=doing.change,
        grace_until=grace_until,
        remind_at=remind_at,
    )
    store.save_status(doing.ctx.tx, after)
    doing.lists.add(row.number // LIST_SIZE)
    facts = {
        "certificate": row.id,
        "from": row.status.name.lower(),
        "to": status.name.lower(),
        "cause": cause.value,
        "grace_until": "" if grace_until is None else grace_until.isoformat(),
    }
    audit.record(doing.ctx, Event("certificates.certificate.status", app=row.app, facts=facts))


def _publish(doing: _Step) -> None:
    """Sign the status lists in which something changed, and those that have become old."""
    ctx = doing.ctx
    old = {each.number for each in store.list_lists(ctx.tx) if ctx.now - each.made_at >= LIST_REMADE}
    for number in sorted(doing.lists | old):
        claims = policy.list_claims(
            number, store.statuses(ctx.tx, number, doing.walk.last), now=ctx.now, at=doing.at
        )
        text = keys.sign_compact(ctx, Purpose.CERTIFICATE, claims, typ=LIST_TYPE)
        store.save_list(ctx.tx, StatusList(number, text, ctx.now))


# --- who is certified, for modules above ---


def list_certified(ctx: Context, after: str, limit: int) -> list[AppId]:
    """List by id apps with a certificate for production that has not ended or is in its grace, suspended ones among them; for the platform itself."""
    return store.list_certified(ctx.tx, after, limit)


def count_certified(ctx: Context) -> int:
    """Count those apps."""
    return store.count_certified(ctx.tx)


def current_of(ctx: Context, app: AppId) -> Certificate | None:
    """Return the certificate for production that represents an app; None without one. Without a permission check."""
    return current_of_all(ctx, [app]).get(app)


def current_of_all(ctx: Context, apps: Collection[AppId]) -> dict[AppId, Certificate]:
    """Return the certificate for production that represents each of some apps, without a permission check."""
    held: dict[AppId, list[Certificate]] = {}
    for each in store.of_apps(ctx.tx, apps):
        if each.environment is Environment.PRODUCTION:
            held.setdefault(each.app, []).append(each)
    return {app: found for app, of in held.items() if (found := policy.current(of)) is not None}


def in_grace(ctx: Context, app: AppId) -> dict[str, datetime]:
    """Return the certificates of an app for production that have expired and are in their grace, by id, with its end."""
    return {
        each.id: each.grace_until
        for each in store.of_apps(ctx.tx, [app])
        if each.environment is Environment.PRODUCTION and each.grace_until is not None
    }


def validly_certified(ctx: Context) -> set[AppId]:
    """Return every app with a valid certificate for production."""
    return store.validly_certified(ctx.tx)


# --- queries -------------------------------------------------------------------------------------------------------------------


def list_certificates(
    ctx: Context, page: PageQuery = FIRST_PAGE, *, app: str = "", status: Status | None = None
) -> list[Certificate]:
    """List certificates by id: a vendor's member their own, who reads the catalogue all. Raises NotPermitted."""
    if not policy.may_list(ctx.actor):
        raise not_shown("certificates", Readers.CATALOGUE)
    return store.list_certificates(ctx.tx, page, vendor=policy.sees_only(ctx.actor), app=app, status=status)


def view(ctx: Context, certificate_id: str) -> Certificate:
    """Get a certificate with its text; one of an app's is found by the app's id as well. Raises NotFound, NotPermitted."""
    if not policy.may_list(ctx.actor):
        raise not_shown("certificates", Readers.CATALOGUE)
    of_app = policy.current(store.of_apps(ctx.tx, [AppId(certificate_id)]))
    found = store.get_certificate(ctx.tx, certificate_id if of_app is None else of_app.id)
    own = policy.sees_only(ctx.actor)
    if own is not None and found.vendor != own:
        raise NotFound("certificate_not_found", "There is no such certificate.")
    return found


def text_of(ctx: Context, certificate_id: str) -> str:
    """Return the signed text of a certificate, for anybody. Raises NotFound."""
    return store.get_certificate(ctx.tx, certificate_id).text


def changes_since(ctx: Context, change: int) -> PublicationChanges:
    """Return what was published since a change, or everything since -1, for a worker's snapshot."""
    walk = store.get_walk(ctx.tx)
    # A restored database starts from an earlier change: then everything is read again.
    whole = change > walk.change
    since = -1 if whole else change
    changed = store.changed_since(ctx.tx, since) if walk.change != since else []
    lists = {each.number: each.text for each in store.list_lists(ctx.tx)}
    # With the keys that sign the results of certification runs, which leave the house, too.
    rings = [keys.public_jwks(ctx, each, "")["keys"] for each in (Purpose.CERTIFICATE, Purpose.EVIDENCE)]
    published = {"keys": [key for ring in rings for key in ring]}
    return PublicationChanges(walk.change, walk.at, tuple(changed), lists, published, whole)
