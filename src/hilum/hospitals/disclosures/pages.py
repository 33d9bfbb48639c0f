"""The page of what apps did with a record, with its downloads. Works without script; every filter is a part of its address."""

import csv
import io
import re
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from hilum.authorization.authorize import service as authorize
from hilum.authorization.consent import policy as consent_policy
from hilum.authorization.consent import service as consent
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid, NotFound
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.sentences import Sentence
from hilum.foundation.standards.csv_cells import csv_cell
from hilum.foundation.web import cookies, forms
from hilum.foundation.web.forms import Form
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.static import download
from hilum.foundation.web.urls import path_of, with_query
from hilum.hospitals.disclosures import policy, service
from hilum.hospitals.disclosures.models import (
    EXPORT_BOUND,
    EXPORT_FIELDS,
    Entry,
    HistoryPage,
    HistoryQuery,
    Kind,
)
from hilum.hospitals.disclosures.reading import Disclosures, Held
from hilum.hospitals.disclosures.service import Reader
from hilum.identity.people.models import Person, Tenant
from hilum.identity.people.policy import own_chart
from hilum.identity.signin.policy import actor_of

TEMPLATES = Path(__file__).parent / "templates"
_TENANT = re.compile(r"[a-z0-9-]{1,32}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_FORMATS = frozenset({"", "csv", "json"})
_KINDS = {
    Kind.READ: Sentence("Read"),
    Kind.SEARCH: Sentence("Search"),
    Kind.WRITE: Sentence("Write"),
    Kind.OTHER: Sentence("Other"),
}


def pages(kit: Kit, reader: Reader, held: Held) -> list[Route]:
    """Build the routes of the page."""
    page = _HistoryPage(kit, reader, held)
    return [
        Route("/t/{tenant}/oauth/manage/history", page.show, methods=["GET"]),
        Route("/t/{tenant}/oauth/manage/consents", page.consents, methods=["GET"]),
    ]


class _HistoryPage:
    def __init__(self, kit: Kit, reader: Reader, held: Held) -> None:
        self._kit = kit
        self._disclosures = Disclosures(kit, reader, held)

    async def consents(self, request: Request) -> Response:
        """Send what the person agreed to, as FHIR Consent resources in all their versions (C96)."""
        found = await self._signed_in(request)
        if isinstance(found, Response):
            return found
        hospital, person = found

        def verb(ctx: Context) -> bytes:
            base = self._kit.urls.base_url
            exported = consent.export_own(ctx, hospital.id, person.id, base=base)
            return orjson.dumps(consent.bundle_of(exported, ctx.now))

        body = await self._kit.uow.write(verb, actor=actor_of(person), trace=trace_of(request))
        return download(body, "consents.json", "application/fhir+json")

    async def _signed_in(self, request: Request) -> tuple[Tenant, Person] | Response:
        """Return the hospital and who is signed in there, or the way to its sign-in page."""
        tenant = str(request.path_params["tenant"])
        if not _TENANT.fullmatch(tenant):
            raise NotFound("tenant_not_found", "This address does not belong to a hospital on this platform.")
        site = self._kit.urls.site(TenantId(tenant))
        cookie = cookies.read(request, cookies.SESSION, secure=self._kit.urls.is_secure(tenant))
        verb = partial(authorize.signed_in, site=site, cookie=cookie)
        found = await self._kit.uow.write(verb, trace=trace_of(request))
        back = path_of(self._kit.urls.manage(tenant))
        return found or RedirectResponse(self._kit.urls.signin(tenant, then=back), 303)

    async def show(self, request: Request) -> Response:
        """Show a page of a history, or send it as a file (``format``: csv or json)."""
        found = await self._signed_in(request)
        if isinstance(found, Response):
            return found
        trace = trace_of(request)
        hospital, person = found
        form = forms.read_query(request)
        query = query_of(form, person)
        if not query.patient:
            return self._rendered(request, hospital, person, query, HistoryPage(()))
        wanted = form.one("format")
        if wanted not in _FORMATS:
            raise Invalid("format_unknown", "A history is downloaded as csv or json.")
        read = self._disclosures.read(
            service.read_all if wanted else service.read_page, query, actor=actor_of(person), trace=trace
        )
        page = await read
        if wanted:
            return _as_file(page, wanted)
        return self._rendered(request, hospital, person, query, page)

    def _rendered(
        self, request: Request, hospital: Tenant, person: Person, query: HistoryQuery, page: HistoryPage
    ) -> Response:
        urls, kept = self._kit.urls, _kept(query)
        here = path_of(urls.history(hospital.id))
        apps = {each.app_id: each.app for each in page.entries}
        if query.app:
            apps.setdefault(query.app, query.app)
        return self._kit.pages.render(
            request,
            "disclosures/history.html",
            person=person.name,
            tenant=hospital.name,
            entries=[_shown(each) for each in page.entries],
            records=[(each, _record(person, each)) for each in person.patients],
            apps=[("", Sentence("All apps")), *sorted(apps.items(), key=lambda app: app[1].lower())],
            query=query,
            since=kept.get("since", ""),
            until=kept.get("until", ""),
            action=here,
            first=with_query(here, **kept) if query.after else "",
            more=with_query(here, **kept, after=page.next) if page.next else "",
            as_csv=with_query(here, **kept, format="csv"),
            as_json=with_query(here, **kept, format="json"),
            bound=EXPORT_BOUND,
            manage=path_of(urls.manage(hospital.id)),
            signout=urls.signout(hospital.id),
        )


def query_of(form: Form, person: Person) -> HistoryQuery:
    """Return what the address of the page asks for; without a record, the person's own or first one. Raises Invalid."""
    patient = form.one("patient") or next(iter(person.patients), "")
    app, after = form.one("app"), form.one("after")
    for name, text in (("patient", patient), ("app", app)):
        if text and not _ID.fullmatch(text):
            raise Invalid(
                "filter_malformed", "The address of this page is not valid.", fields={name: "word_malformed"}
            )
    since, until = _day(form.one("since")), _day(form.one("until"))
    # The last day is shown whole.
    return HistoryQuery(patient, app, since, until and until + timedelta(days=1), after)


def _day(text: str) -> datetime | None:
    if not text:
        return None
    try:
        day = date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        day = None
    # The calendar's last year has no day after its end.
    if day is None or day.year >= date.max.year:
        raise Invalid("date_malformed", "Write a date as year-month-day, for example 2026-03-02.")
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _kept(query: HistoryQuery) -> dict[str, str]:
    """Return the filters as parameters of an address."""
    since = f"{query.since:%Y-%m-%d}" if query.since else ""
    until = f"{query.before - timedelta(days=1):%Y-%m-%d}" if query.before else ""
    return {"patient": query.patient, "app": query.app, "since": since, "until": until}


def _record(person: Person, patient: str) -> str:
    if own_chart(person) == patient:
        return Sentence("Your own record")
    return Sentence("Record %(id)s", id=patient)


def _shown(entry: Entry) -> dict[str, Any]:
    what = (
        consent_policy.type_name(entry.resource_type)
        if entry.resource_type
        else Sentence("no particular kind of entry")
    )
    return {
        "at": entry.at,
        "app": entry.app,
        "vendor": entry.vendor,
        "kind": _KINDS[entry.kind],
        "what": what.initial_capital(),
        "count": entry.count,
        "removed": entry.removed,
        "records": entry.records,
        "among_others": entry.among_others,
        "why": entry.why,
        "used_by": entry.used_by,
        "workflow": entry.workflow,
        "refused": entry.outcome == "refused",
    }


def _as_file(page: HistoryPage, wanted: str) -> Response:
    """Return a history as a file."""
    rows = [policy.export_row(each) for each in page.entries]
    if wanted == "json":
        body = orjson.dumps({"items": rows, "complete": not page.next})
        media = "application/json"
    else:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(EXPORT_FIELDS)
        writer.writerows([csv_cell(each[name]) for name in EXPORT_FIELDS] for each in rows)
        if page.next:
            writer.writerow([f"Only the newest {EXPORT_BOUND} accesses. Choose a shorter time for the rest."])
        body, media = text.getvalue().encode(), "text/csv; charset=utf-8"
    return download(body, f"access-history.{wanted}", media)
