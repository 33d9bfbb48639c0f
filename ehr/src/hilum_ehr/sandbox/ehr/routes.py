"""Pages of the EHR simulator. They work without script; with script, the inspector's list refreshes itself."""

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from hilum.foundation.kernel.errors import HilumError, Invalid, NotFound
from hilum.foundation.web.errors import error_page
from hilum.foundation.web.forms import Form, csrf_token, read_query
from hilum.foundation.web.pages import Policy
from hilum.foundation.web.problems import RETRY_AFTER_S
from hilum.foundation.web.urls import origin_of, path_of, with_query
from hilum_ehr.sandbox.card import card
from hilum_ehr.sandbox.ehr import chart as charts
from hilum_ehr.sandbox.ehr.failing import EVERY_APP
from hilum_ehr.sandbox.ehr.inspector import Calls
from hilum_ehr.sandbox.ehr.own_apps import OwnApp
from hilum_ehr.sandbox.ehr.platform import Launched, OpenableApp, Order
from hilum_ehr.sandbox.ehr.sessions import EhrSession
from hilum_ehr.sandbox.faults import KINDS
from hilum_ehr.sandbox.site import LOOPBACK_SOURCES, Site
from hilum_ehr.synthesis.models import HospitalPlan, Role

Handler = Callable[[Request], Awaitable[Response]]
SEARCH_BOUND = 100
CHARTS_SHOWN = 200
CLIENT_ID = r"[A-Za-z0-9._-]{1,64}"
# A misspelled parameter would be a launch without patient, which looks like the app's fault.
QUERY_FIELDS = frozenset(
    {
        "tenant",
        "client",
        "person",
        "patient",
        "encounter",
        "launch_uri",
        "session",
        "banner",
        "placement",
        "facility",
    }
)
PLACEMENTS = {
    "sidebar": "Beside the chart",
    "banner": "Above the chart",
    "orders": "Where orders are written",
    "note": "Where notes are written",
}
"""The places of this EHR from which apps are opened, by the names of the shipped policy. The list of a chart's apps is the first."""
BESIDE_CHART = "no"
"""Of the parameter ``banner``: the chart's own banner stays in view."""


def routes(site: Site) -> list[Route]:
    """Build the simulator's routes."""
    pages, posts = Pages(site), Posts(site)
    return [
        Route("/", pages.root),
        Route("/sandbox", pages.home),
        Route("/sandbox/enter/{tenant}/{door}", pages.enter),
        Route("/sandbox/card.json", pages.card),
        Route("/sandbox/accounts", pages.accounts),
        Route("/sandbox/launch", posts.launch),
        Route("/sandbox/h/{tenant}", pages.hospital),
        Route("/sandbox/h/{tenant}/own", pages.own_app),
        Route("/sandbox/h/{tenant}/own", posts.register, methods=["POST"]),
        Route("/sandbox/h/{tenant}/own/open", posts.open_own, methods=["POST"]),
        Route("/sandbox/sessions", posts.begin, methods=["POST"]),
        Route("/sandbox/sessions/{session}", pages.chart),
        Route("/sandbox/sessions/{session}/apps", pages.apps_list),
        Route("/sandbox/sessions/{session}/apps/{client}", pages.app),
        Route("/sandbox/sessions/{session}/apps/{client}/stop", pages.stop),
        Route("/sandbox/sessions/{session}/apps/{client}/emergency", pages.emergency),
        Route("/sandbox/sessions/{session}/apps/{client}/calls", pages.calls),
        Route("/sandbox/sessions/{session}/apps/{client}/calls/list", pages.calls_list),
        Route("/sandbox/sessions/{session}/move", posts.move, methods=["POST"]),
        Route("/sandbox/sessions/{session}/person", posts.person, methods=["POST"]),
        Route("/sandbox/sessions/{session}/fail", posts.fail, methods=["POST"]),
        Route("/sandbox/sessions/{session}/end", posts.end, methods=["POST"]),
    ]


class Pages:
    """The pages that are read."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def root(self, _request: Request) -> Response:
        return _see(path_of(self._site.urls.sandbox()))

    async def home(self, request: Request) -> Response:
        """Choose a hospital."""
        hospitals = [(hospital, self._site.charts(hospital.tenant)) for hospital in self._site.hospitals]
        return self._site.pages.render(
            request,
            "sandbox/home.html",
            hospitals=hospitals,
            own=self._site.entered(request),
            urls=self._site.urls,
        )

    async def enter(self, request: Request) -> Response:
        """Let a browser into a vendor's snapshot by its key, and send it on to an address without one."""
        site, tenant = self._site, request.path_params["tenant"]
        card, browser = site.snapshots.find(tenant), site.form_secret(request)
        if card is None or not site.visitors.enter(browser, card, request.path_params["door"]):
            # The same refusal whether the key is wrong or there is no such snapshot.
            site.hospital("")
        return site.keep_form(_see(f"/sandbox/h/{tenant}"), browser)

    async def card(self, _request: Request) -> Response:
        """Return the card; 503 until the platform is ready, since a reader's next request goes there."""
        site = self._site
        # Any script may drive a sandbox (contract, Sandbox card), so apps on other origins read it. A plain sandbox is bound to
        # loopback and holds synthetic data only; a public one withholds the secrets.
        headers = {"cache-control": "no-store", "access-control-allow-origin": "*"}
        if not await site.platform.is_ready():
            headers["retry-after"] = str(RETRY_AFTER_S)
            return JSONResponse({"error": "The platform is not ready yet."}, 503, headers)
        site.chart_lists.refresh()
        content = card(site.hospitals, site.plan, site.credentials_file, site.urls, withhold=site.public)
        return JSONResponse(content, headers=headers)

    async def accounts(self, request: Request) -> Response:
        """List who can sign in, with which password."""
        site = self._site
        facts: dict[str, Any] = {"hospitals": site.hospitals, "plan": site.plan, "public": site.public}
        facts["vendors"] = site.credentials_file.vendors
        return site.pages.render(
            request, "sandbox/accounts.html", urls=site.urls, password=site.credentials_file.password, **facts
        )

    async def hospital(self, request: Request) -> Response:
        """Choose a person to act as, and a patient."""
        site, query = self._site, read_query(request)
        hospital = site.visited(request, request.path_params["tenant"])
        member = site.member(hospital.tenant, query.one("person") or hospital.cast[0].username)
        text = query.one("q")[:SEARCH_BOUND]
        words = text.casefold().split()
        matches = [
            chart
            for chart in site.charts(hospital.tenant, member)
            if all(word in f"{chart.name} {chart.notable} {chart.id}".casefold() for word in words)
        ]
        facts: dict[str, Any] = {"hospital": hospital, "member": member, "text": text}
        # A developer's own data may have many patients; the search finds the others.
        facts |= {"charts": matches[:CHARTS_SHOWN], "more": len(matches) - CHARTS_SHOWN}
        return self._with_forms(request, "sandbox/hospital.html", **facts)

    async def own_app(self, request: Request) -> Response:
        """Show the form that launches a developer's own app."""
        site, query = self._site, read_query(request)
        hospital = site.visited(request, request.path_params["tenant"])
        facts: dict[str, Any] = {"hospital": hospital, "charts": site.charts(hospital.tenant), "query": query}
        return self._with_forms(
            request,
            "sandbox/own.html",
            policy=launching(site),
            urls=site.urls,
            public=site.public,
            snapshot=site.is_snapshot(hospital.tenant),
            placements=PLACEMENTS,
            made=None,
            refused="",
            faults={},
            **facts,
        )

    async def chart(self, request: Request) -> Response:
        """Show the chart, as the EHR does."""
        session = self._session(request)
        facts = await self._frame(request, session)
        return self._with_forms(request, "sandbox/chart.html", tab="chart", **facts)

    async def apps_list(self, request: Request) -> Response:
        """Return the chart's list of apps alone, with the reasons why some cannot be opened now."""
        session = self._session(request)
        member = self._site.member(session.tenant, session.person)
        return self._fragment(
            request,
            "sandbox/apps_list.html",
            apps=await self._apps(request, session),
            session=session,
            launch=path_of(self._site.urls.sandbox("/launch")),
            role=ROLE_WORDS[member.role],
        )

    async def stop(self, request: Request) -> Response:
        """Return the notice over an open app: why it could not be opened now; empty if it could."""
        session, client = self._session(request), request.path_params["client"]
        app = (await self._asked(session, [client])).get(client)
        return self._fragment(request, "sandbox/stop.html", stopped=app.stop if app else "")

    async def app(self, request: Request) -> Response:
        """Show an app inside the chart, beside the inspector."""
        session, client = self._session(request), request.path_params["client"]
        facts = await self._frame(request, session)
        app = await self._named(session, client, facts["apps"])
        launch = path_of(self._site.urls.sandbox("/launch"))
        alone = with_query(launch, session=session.id, client=client)
        # Beside the chart's own banner, the app need not show whose record it is (SMART 2.2,
        # need_patient_banner); alone it must.
        source = with_query(launch, session=session.id, client=client, banner=BESIDE_CHART)
        # Any https origin may be framed: which apps there are, the platform decides.
        policy = Policy(
            frame_src=("'self'", origin_of(self._site.urls.base_url), "https:", *LOOPBACK_SOURCES),
            img_src=(origin_of(self._site.urls.base_url),),
        )
        facts |= {
            "client": client,
            "name": app.name,
            "calls": await self._calls(session, client),
            "tab": client,
        }
        facts |= {"source": source, "alone": alone, "stopped": app.stop, "logo": app.logo}
        return self._with_forms(request, "sandbox/app.html", policy=policy, **facts)

    async def emergency(self, request: Request) -> Response:
        """Lead to the platform's page of emergency access, for the launch that is open now."""
        session = self._session(request)
        app, address = (
            session.current(request.path_params["client"]),
            self._site.urls.break_glass(session.tenant),
        )
        return _see(with_query(address, launch=app.launch) if app else address)

    async def calls(self, request: Request) -> Response:
        """Show the inspector's list on a page alone, for browsers without script."""
        session, client = self._session(request), request.path_params["client"]
        app = await self._named(session, client, await self._apps(request, session))
        facts = {"session": session, "client": client, "name": app.name}
        calls = await self._calls(session, client)
        return self._site.pages.render(request, "sandbox/calls_page.html", calls=calls, **facts)

    async def calls_list(self, request: Request) -> Response:
        """Return the inspector's list alone; unchanged, it is not sent again."""
        session, client = self._session(request), request.path_params["client"]
        return self._fragment(request, "sandbox/calls.html", calls=await self._calls(session, client))

    def _fragment(self, request: Request, template: str, **facts: Any) -> Response:
        text = self._site.pages.fragment(template, **facts)
        # The script asks every second; most answers are 304 without a body.
        etag = f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'
        headers = {"etag": etag, "cache-control": "no-cache", "x-content-type-options": "nosniff"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        return Response(text, headers=headers, media_type="text/html")

    def _session(self, request: Request) -> EhrSession:
        return self._site.session(request, request.path_params["session"])

    async def _apps(self, request: Request, session: EhrSession) -> list[OpenableApp]:
        """List the apps of a chart: those of a snapshot, those of the sandbox, what else is installed here, the browser's own.

        If the platform does not answer, the chart can still be read: its own apps are listed as if each could be opened.
        """
        site = self._site
        card = site.snapshots.find(session.tenant)
        role = site.member(session.tenant, session.person).role
        listed = {app["client"]: (app["name"], app["description"]) for app in (card.apps if card else ())}
        listed |= {
            client.client_id: (app.name, app.description) for app, client in site.apps(session.tenant, role)
        }
        own = {app.client: app for app in site.own_apps.at(site.form_secret(request), session.tenant)}
        installed = await self._asked(session)
        rest = [client for client in (*listed, *own) if client not in installed]
        known = installed | (await self._asked(session, rest) if rest else {})
        # Clients of the sandbox's own that only scripts open, such as those of the test bench.
        hidden = {client.client_id for app, client in site.plan.clients() if not app.in_chart}
        apps = []
        for client in dict.fromkeys((*listed, *installed, *own)):
            app = known.get(client) or OpenableApp(client, "", "", "", "")
            name, description = listed.get(client, (app.name, app.description))
            if client in own:
                # Only an app that was registered here has a name of its own.
                of_its_own = own[client].name if own[client].name != client else ""
                name, description = of_its_own or name or client, description or "Your own app."
            if client in own or client not in hidden:
                apps.append(replace(app, name=name, description=description))
        return apps

    async def _asked(self, session: EhrSession, clients: Sequence[str] = ()) -> dict[str, OpenableApp]:
        """Return what the platform says of some clients, or of those installed; nothing if it does not answer."""
        try:
            apps = await self._site.platform.apps(session.tenant, session.person, clients)
        except HilumError:
            return {}
        return {app.client: app for app in apps}

    async def _named(self, session: EhrSession, client: str, apps: Sequence[OpenableApp]) -> OpenableApp:
        """Return an app of a chart, or one that the browser opens by its client alone, by its name if the platform discloses that."""
        for listed in apps:
            if listed.client == client:
                return listed
        asked = (await self._asked(session, [client])).get(client)
        return replace(asked, name=asked.name or client) if asked else OpenableApp(client, client, "", "", "")

    async def _frame(self, request: Request, session: EhrSession) -> dict[str, Any]:
        site = self._site
        hospital = site.hospital(session.tenant)
        member = site.member(session.tenant, session.person)
        resources = await site.records.chart(session.tenant, session.patient)
        apps = await self._apps(request, session)
        return {
            "session": session,
            "hospital": hospital,
            "member": member,
            "summary": charts.summary(resources, today=site.clock.now().date()),
            "apps": apps,
            "others": site.charts(session.tenant, member),
            "failing": site.failing.of(session),
            "kinds": KINDS,
            "names": {app.client: app.name for app in apps},
            "urls": site.urls,
            "launch": path_of(site.urls.sandbox("/launch")),
        }

    async def _calls(self, session: EhrSession, client: str) -> Calls:
        app = session.current(client)
        return await self._site.feed.calls(session.tenant, app.launch if app else "")

    def _with_forms(
        self, request: Request, template: str, *, policy: Policy | None = None, **facts: Any
    ) -> Response:
        return rendered(self._site, request, template, policy=policy, **facts)


class Posts:
    """The forms that change something."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def launch(self, request: Request) -> Response:
        """Open a launch and redirect the browser to it; a refusal is shown where the app would be."""
        try:
            query = read_query(request)
            if unknown := sorted(set(query.values) - QUERY_FIELDS):
                raise Invalid(
                    "launch_parameter_unknown",
                    f"The parameter {unknown[0][:64]!r} is not supported for a launch.",
                )
            if query.one("session"):
                launched = await self._launch_in_session(request, query)
            else:
                launched = await self._launch_by_query(request, query)
            return _see(launched.open_url)
        except HilumError as error:
            return error_page(self._site.pages, request, error, policy=Policy(frame_ancestors=("'self'",)))

    async def _launch_in_session(self, request: Request, query: Form) -> Launched:
        """Open a launch for the chart of a session. Raises NotFound, and the platform's refusal."""
        site, session, client = (
            self._site,
            self._site.session(request, query.one("session")),
            query.one("client"),
        )
        own = site.own_apps.find(site.form_secret(request), session.tenant, client)
        order = Order(
            client,
            session.person,
            session.patient,
            session.encounter,
            own.launch_uri if own else "",
            banner=query.one("banner") != BESIDE_CHART,
            placement=query.one("placement") or next(iter(PLACEMENTS)),
            facility=own.facility if own else "",
        )
        # Before the launch is opened, so that the decision on its first call is received.
        await site.feed.follow()
        launched = await site.platform.open_launch(session.tenant, order)
        # Before the browser is redirected: the app cannot have made a call yet.
        site.feed.expect(launched.id)
        site.sessions.opened(session.id, launched.id, client)
        await asyncio.to_thread(site.failing.extend, session, client, launched.id)
        return launched

    async def _launch_by_query(self, request: Request, query: Form) -> Launched:
        """Open a launch without a session, for what the query names. Person and encounter default to those of a newly opened chart."""
        site, tenant = self._site, self._site.visited(request, query.one("tenant")).tenant
        if not query.one("client"):
            raise Invalid("launch_client_missing", "Name the client to launch: client=<its client id>.")
        order = Order(
            query.one("client"),
            query.one("person") or site.hospital(tenant).cast[0].username,
            query.one("patient"),
            query.one("encounter") or site.newest_encounter(tenant, query.one("patient")),
            query.one("launch_uri"),
            placement=query.one("placement"),
            facility=query.one("facility"),
        )
        return await site.platform.open_launch(tenant, order)

    async def begin(self, request: Request) -> Response:
        """Open a chart."""
        site, form = self._site, await self._site.posted(request)
        site.visited(request, form.one("tenant"))
        member = site.member(form.one("tenant"), form.one("person"))
        chosen = site.chart(form.one("tenant"), member, form.one("patient"))
        encounter = site.newest_encounter(form.one("tenant"), chosen.id)
        session = site.sessions.begin(form.one("tenant"), member.username, chosen.id, encounter)
        return _see(f"/sandbox/sessions/{session.id}")

    async def move(self, request: Request) -> Response:
        """Open another patient or encounter, and report it to the platform: launches under the previous one are stale."""
        site, form = self._site, await self._site.posted(request)
        session = site.session(request, request.path_params["session"])
        member = site.member(session.tenant, session.person)
        patient, encounter = form.one("patient") or session.patient, form.one("encounter")
        chosen = site.chart(session.tenant, member, patient)
        # An encounter belongs to a patient; with another patient the newest one is opened.
        if patient != session.patient or not encounter:
            encounter = site.newest_encounter(session.tenant, chosen.id)
        elif encounter not in {visit.id for visit in await self._visits(session)}:
            raise NotFound("encounter_not_found", "This patient has no such encounter.")
        # Our own state first: if the platform cannot be reached, the page says so, and the next move reports again.
        session = site.sessions.moved(session.id, patient, encounter)
        for app in session.apps:
            await site.platform.move_launch(session.tenant, app.launch, patient, encounter)
        return _see(_back(form, session))

    async def _visits(self, session: EhrSession) -> tuple[charts.Visit, ...]:
        encounters = await self._site.records.search(
            session.tenant, "Encounter", patient=session.patient, _sort="-date"
        )
        return charts.visits(encounters)

    async def person(self, request: Request) -> Response:
        """Log out as one and in as another, with the same chart if they may open it."""
        site, form = self._site, await self._site.posted(request)
        session = site.session(request, request.path_params["session"])
        member = site.member(session.tenant, form.one("person"))
        allowed = site.charts(session.tenant, member)
        # Log-out ends every launch: an app must not keep working under the next person.
        await self._end(session)
        if not any(chart.id == session.patient for chart in allowed):
            return _see(with_query(f"/sandbox/h/{session.tenant}", person=member.username))
        successor = site.sessions.begin(session.tenant, member.username, session.patient, session.encounter)
        return _see(f"/sandbox/sessions/{successor.id}")

    async def fail(self, request: Request) -> Response:
        """Put a fault of this chart in force, or end it."""
        site, form = self._site, await self._site.posted(request)
        session = site.session(request, request.path_params["session"])
        kind, client = form.one("kind"), form.one("client").replace(EVERY_APP, "")
        verb = site.failing.end if form.one("act") == "end" else site.failing.make
        # In a thread: the file of faults is written under a lock.
        await asyncio.to_thread(verb, session, kind, client)
        return _see(_back(form, session))

    async def end(self, request: Request) -> Response:
        """End the session and every launch in it."""
        await self._site.posted(request)
        session = self._site.session(request, request.path_params["session"])
        await self._end(session)
        return _see(with_query(f"/sandbox/h/{session.tenant}", person=session.person))

    async def _end(self, session: EhrSession) -> None:
        # The session ends here even if the platform does not answer.
        self._site.sessions.end(session.id)
        await asyncio.to_thread(self._site.failing.end_all, session)
        for app in session.apps:
            self._site.feed.forget(app.launch)
            await self._site.platform.end_launch(session.tenant, app.launch)

    async def open_own(self, request: Request) -> Response:
        """Open a developer's own app for a patient, inside the chart or in the tab that the form opened."""
        site, form = self._site, await self._site.posted(request)
        hospital = site.visited(request, request.path_params["tenant"])
        if form.one("where") == "tab":
            fields = ("client", "launch_uri", "person", "patient", "encounter", "placement", "facility")
            query = {name: form.one(name) for name in fields if form.one(name)}
            return _see(with_query("/sandbox/launch", tenant=hospital.tenant, **query))
        client = form.one("client").strip()
        if re.fullmatch(CLIENT_ID, client) is None:
            raise Invalid(
                "launch_client_missing", "Enter your app's client id.", fields={"client": "malformed"}
            )
        member = site.member(hospital.tenant, form.one("person"))
        chosen = site.chart(hospital.tenant, member, form.one("patient"))
        encounter = form.one("encounter") or site.newest_encounter(hospital.tenant, chosen.id)
        site.own_apps.keep(
            site.form_secret(request),
            OwnApp(hospital.tenant, client, "", form.one("launch_uri"), form.one("facility")),
        )
        session = site.sessions.begin(hospital.tenant, member.username, chosen.id, encounter)
        return _see(f"/sandbox/sessions/{session.id}/apps/{client}")

    async def register(self, request: Request) -> Response:
        """Register a sandbox client for a developer by the platform's dynamic registration."""
        site, form = self._site, await self._site.posted(request)
        hospital = site.visited(request, request.path_params["tenant"])
        confidential = form.one("kind") == "confidential"
        metadata = {
            "client_name": form.one("name"),
            "redirect_uris": form.one("redirect_uris").split(),
            "launch_url": form.one("launch_url"),
            "token_endpoint_auth_method": "client_secret_basic" if confidential else "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": form.one("scope"),
        }
        try:
            made = await site.platform.register(hospital.tenant, {k: v for k, v in metadata.items() if v})
        except HilumError as error:
            return self._own(request, hospital, query=form, trouble=error)
        own = OwnApp(hospital.tenant, made["client_id"], form.one("name"))
        site.own_apps.keep(site.form_secret(request), own)
        query = Form({"client": (made["client_id"],), "launch_uri": (form.one("launch_url"),)})
        return self._own(request, hospital, query=query, made=made)

    def _own(
        self,
        request: Request,
        hospital: HospitalPlan,
        *,
        query: Form,
        made: dict[str, Any] | None = None,
        trouble: HilumError | None = None,
    ) -> Response:
        """Show the page with the result; a refused form keeps its input."""
        site = self._site
        facts: dict[str, Any] = {"hospital": hospital, "charts": site.charts(hospital.tenant), "query": query}
        faults = getattr(trouble, "fields", {})
        page = rendered(
            site,
            request,
            "sandbox/own.html",
            policy=launching(site),
            urls=site.urls,
            public=site.public,
            snapshot=site.is_snapshot(hospital.tenant),
            placements=PLACEMENTS,
            made=made,
            refused=(trouble.detail or trouble.code) if trouble else "",
            faults=faults,
            **facts,
        )
        page.status_code = 400 if trouble else 200
        return page


def launching(site: Site) -> Policy:
    """Build the policy of a page whose form opens an app: ``form-action`` covers redirects too, which lead to the platform and to the app."""
    return Policy(form_action=(origin_of(site.urls.base_url), "https:", *LOOPBACK_SOURCES))


def rendered(
    site: Site, request: Request, template: str, *, policy: Policy | None = None, **facts: Any
) -> Response:
    """Render a page with forms, which have a CSRF token, and set the browser's form secret."""
    secret = site.form_secret(request)
    page = site.pages.render(
        request, template, policy=policy, csrf=csrf_token(secret), roles=ROLE_WORDS, **facts
    )
    return site.keep_form(page, secret)


def _see(address: str) -> RedirectResponse:
    # The address may contain a launch handle, which must stay out of the Referer (security decision 2).
    return RedirectResponse(address, 303, {"cache-control": "no-store", "referrer-policy": "no-referrer"})


def _back(form: Form, session: EhrSession) -> str:
    """Return the address of the app or the chart that the form was on."""
    client = form.one("tab")
    known = client in {app.client for app in session.apps}
    return f"/sandbox/sessions/{session.id}" + (f"/apps/{client}" if known else "")


ROLE_WORDS = {
    Role.PHYSICIAN: "physician",
    Role.NURSE: "nurse",
    Role.ANALYST: "analyst",
    Role.ADMINISTRATOR: "administrator",
    Role.FRONT_DESK: "front desk",
    Role.PATIENT: "patient",
}
