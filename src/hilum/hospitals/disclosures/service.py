"""Read the history of a record out of the index of accesses."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from hilum.apps.registry import service as registry
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import Authorization
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, AuthorizationId, PersonId
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.hospitals.disclosures import policy
from hilum.hospitals.disclosures.models import (
    EXPORT_BOUND,
    TRIES,
    AppNames,
    Entry,
    HistoryPage,
    HistoryQuery,
    Names,
)
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person
from hilum.records.audit.models import Access, AccessPage, AccessQuery, Event
from hilum.records.audit.policy import reading

Reader = Callable[[AccessQuery], AccessPage]
"""Reads a page of the accesses of all journals of the installation."""


def read_page(ctx: Context, query: HistoryQuery, reader: Reader) -> HistoryPage:
    """Read a page of the history of a record, newest first. Only for the patient and who acts for them now; raises NotPermitted."""
    person = _reader(ctx, query.patient)
    found, following = _accesses(ctx, query, reader)
    return HistoryPage(_entries(ctx, found, person.id, query.patient), following)


def read_all(ctx: Context, query: HistoryQuery, reader: Reader) -> HistoryPage:
    """Read the newest EXPORT_BOUND accesses of a history; ``next`` is set if there are more. Raises NotPermitted."""
    person = _reader(ctx, query.patient)
    found: list[Access] = []
    wanted = replace(query, limit=PAGE_BOUND)
    while len(found) < EXPORT_BOUND:
        more, following = _accesses(ctx, wanted, reader)
        found += more
        wanted = replace(wanted, after=following)
        if not following:
            break
    return HistoryPage(_entries(ctx, found, person.id, query.patient), wanted.after)


def _reader(ctx: Context, patient: str) -> Person:
    # Read in the transaction that reads the history: a chart that ended just now counts.
    person = identity.find_person(ctx, PersonId(ctx.actor.id))
    if person is None or not policy.may_read(person, ctx.actor.tenant, patient):
        raise NotPermitted(
            "record_not_yours", "Set `patient` to your own record, or to one of a person you act for."
        )
    return person


def _accesses(ctx: Context, query: HistoryQuery, reader: Reader) -> tuple[list[Access], str]:
    """Return a page of accesses by apps, and where the next one begins."""
    wanted = AccessQuery(
        tenant=ctx.actor.tenant or "",
        patient=query.patient,
        app=query.app,
        since=query.since,
        before=query.before,
        after=query.after,
        limit=query.limit,
    )
    found: list[Access] = []
    # A page may shrink by what the platform itself read. A few more fill it; whoever wants the rest follows ``next``.
    for _ in range(TRIES):
        page = reader(wanted)
        found += [each for each in page.accesses if policy.is_shown(each)]
        wanted = replace(wanted, after=page.next, limit=max(1, query.limit - len(found)))
        if not page.next or len(found) >= query.limit:
            break
    return found, wanted.after


def _entries(ctx: Context, found: Iterable[Access], reader: PersonId, patient: str) -> tuple[Entry, ...]:
    found = tuple(found)
    apps = {app: _app(ctx, AppId(app)) for app in dict.fromkeys(each.app for each in found)}
    ids = dict.fromkeys(AuthorizationId(each.authorization) for each in found if each.authorization)
    agreed = {str(id_): agreement for id_ in ids if (agreement := _agreement(ctx, id_)) is not None}
    names = Names({app: named for app, named in apps.items() if named is not None}, agreed)
    return tuple(policy.entry_of(each, names, reader, patient) for each in found)


def _app(ctx: Context, app_id: AppId) -> AppNames | None:
    try:
        app = registry.get_app(ctx, app_id)
    except NotFound:
        # A sandbox's dynamic app, which is deleted after a day.
        return None
    return AppNames(app.name, registry.get_vendor(ctx, app.vendor).name)


def _agreement(ctx: Context, authorization: AuthorizationId) -> Authorization | None:
    found = consent.find_authorization(ctx, authorization)
    # INVARIANT: nothing of another hospital's agreements is shown, whatever a record says.
    return found if found is not None and found.tenant == ctx.actor.tenant else None


def read_event(tenant: str, person: str, query: HistoryQuery, given: int = 0) -> Event:
    """Build the event of a read of a history. Its header names the filters; their values are in the payload."""
    filters = {"tenant": tenant, "patient": query.patient, "app": query.app, "after": query.after}
    filters |= {
        name: moment.isoformat()
        for name, moment in (("since", query.since), ("before", query.before))
        if moment is not None
    }
    event = reading(
        Event("disclosures.access.list", person=person),
        {name: value for name, value in filters.items() if value},
        given=given,
    )
    return replace(event, app=query.app if query.app.isidentifier() else "")
