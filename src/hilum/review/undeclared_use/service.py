"""Judge the use of certified versions, and report undeclared use to reviewers and vendors."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import date, datetime

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientType
from hilum.apps.clients.policy import hours_on, parse_hours
from hilum.apps.contacts import service as contacts
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import DeltaReview, UseExcess
from hilum.apps.registry.policy import applicant_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId, ClientId
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book
from hilum.policy.matrix.policy import as_enforced
from hilum.records.audit.models import BusyDay, PermitCount, ReachedDay
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent
from hilum.review.undeclared_use import policy
from hilum.review.undeclared_use.models import LOOKED_BACK, Finding, Judged, Use, Volume

Permits = Callable[[Collection[str], datetime, str], Sequence[PermitCount]]
"""Reads what was permitted to some clients since a moment, at one tenant or, if empty, at all (``audit.live.read_permits``)."""


BusyDays = Callable[[str, datetime, int | None, int | None], Sequence[BusyDay]]
"""Reads the days since a moment on which a client exceeded a number of calls or writes at one tenant (``DecisionCounts.busy_days``)."""


Reached = Callable[[str, date, Sequence[tuple[datetime, datetime]] | None], Sequence[ReachedDay]]
"""Reads whom a client reached on a day at each tenant, and how often it called outside some hours (``audit.live.read_reached``)."""


def book_for(ctx: Context) -> Book:
    """Return the policy that judges use: the one in force everywhere, with rules that are only observed so far."""
    return as_enforced(policies.current(ctx).everywhere, ctx.now)


def next_to_judge(ctx: Context, after: str) -> tuple[list[AppId], list[Judged]]:
    """Read the next apps by id, with their certified versions that declare anything that use can exceed."""
    apps = [each.id for each in registry.list_apps(ctx, PageQuery(after))]
    if not apps:
        return [], []
    return apps, _to_judge(ctx, apps)


def _to_judge(ctx: Context, apps: Sequence[AppId]) -> list[Judged]:
    found, certified = clients.certified_facts(ctx, apps)
    judged = []
    for each in registry.in_force(ctx, [c for of in certified.certifications.values() for c in of]):
        app, version = certified.apps[each.app], certified.versions.get(each.version)
        if version is None:
            continue
        of_version = tuple(
            (client.id, client.type is ClientType.BACKEND)
            for client in found.get(app.id, ())
            if client.version == version.id and client.environment is each.environment
        )
        volumes = _volumes(ctx, [client for client, backend in of_version if backend])
        # The counts of a version are read only if it declares something that they could exceed.
        if volumes or (of_version and policy.can_exceed(applicant_of(app, version, each.scopes))):
            since = max(ctx.now - LOOKED_BACK, each.certified_at)
            judged.append(Judged(app, version, each, of_version, since, volumes))
    return judged


def _volumes(ctx: Context, backends: Collection[ClientId]) -> dict[ClientId, Volume]:
    """Read the daily volumes that backend services declare; those without are left out."""
    found = {}
    for each in clients.read_named(ctx, backends) if backends else ():
        use = each.backend_use
        declared = () if use is None else (use.calls_a_day, use.writes_a_day, use.patients_a_day, use.hours)
        if use is not None and any(value is not None for value in declared):
            found[each.id] = Volume(
                use.calls_a_day,
                use.writes_a_day,
                patients_a_day=use.patients_a_day,
                hours=use.hours or "",
            )
    return found


def volumes_of(judged: Judged, busy_days: BusyDays, reached: Reached, now: datetime) -> list[Volume]:
    """Read the days on which each backend service of a version did more than it declares, and whom it reached and when on each."""
    found = []
    for client, each in judged.volumes.items():
        busy = busy_days(client, judged.since, each.calls_a_day, each.writes_a_day)
        days: list[ReachedDay] = []
        if each.patients_a_day is not None or each.hours:
            hours = parse_hours(each.hours)
            for day in policy.days_over(judged.since, now):
                days += reached(client, day, None if hours is None else hours_on(hours, day))
        found.append(replace(each, busy=tuple(busy), reached=tuple(days)))
    return found


def uses_of(judged: Judged, permits: Permits) -> list[Use]:
    """Read what was permitted to the clients of a version since its use began to count."""
    found = []
    for backend in (False, True):
        of = [client for client, is_backend in judged.clients if is_backend is backend]
        counted = permits(of, judged.since, "") if of else ()
        found += [Use(each, backend) for each in counted if each.last >= judged.since]
    return found


def judge(book: Book, judged: Judged, uses: Sequence[Use], volumes: Sequence[Volume] = ()) -> Finding | None:
    """Return the finding about a version's use; None if all of it is declared. Pure."""
    version, certification = judged.version, judged.certification
    applicant = applicant_of(judged.app, version, certification.scopes)
    found = (*policy.excesses(book, applicant, uses), *policy.volume_excesses(book, applicant, volumes))
    certified = certification.tier
    if not found or certified is None:
        return None
    computed, sentence = policy.risen_to(certified, found), policy.sentence(found)
    needed = UseExcess(judged.app.id, version.id, certification.id, certified, computed, sentence)
    return Finding(needed, policy.in_words(found))


def note(ctx: Context, of: Collection[AppId], found: Sequence[Finding]) -> None:
    """Open the delta reviews that the use of some apps requires, close those that it no longer requires, and notify vendors of new ones."""
    words = {each.needed.certification: each.words for each in found}
    for review in registry.note_use_reviews(ctx, of, [each.needed for each in found]):
        _notify(ctx, review, words[review.certification])


def _notify(ctx: Context, review: DeltaReview, words: str) -> None:
    app = registry.get_app(ctx, review.app)
    label = registry.read_versions(ctx, (app.id,))[review.version].label
    cause, tier = f"use/{review.id}", review.computed.value
    facts = {"app": app.name, "version": label, "what": words, "tier": tier, "review": review.id}
    for address in dict.fromkeys(each.address for each in contacts.proved_contacts(ctx, app.vendor)):
        notices.put_mail(ctx, Mail(MailKind.USE_EXCEEDS, address, cause, facts, vendor=app.vendor))
    facts = {"app_id": app.id, "vendor_id": app.vendor, "review_id": review.id, "tier": tier}
    notices.put_event(ctx, VendorEvent(EventKind.USE_EXCEEDS, app.vendor, cause, facts))
