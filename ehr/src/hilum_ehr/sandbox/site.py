"""What the sandbox's pages share: the plan, the credentials file, the hospitals' records and the client of the platform."""

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.web import cookies, forms
from hilum.foundation.web.pages import Pages
from hilum.foundation.web.urls import Urls, origin_of
from hilum_ehr.sandbox.clients import AppPlan, ClientPlan, Plan
from hilum_ehr.sandbox.credentials import ChartLists, CredentialsFile
from hilum_ehr.sandbox.ehr.failing import ChartFaults
from hilum_ehr.sandbox.ehr.feed import Feed
from hilum_ehr.sandbox.ehr.own_apps import OwnApps
from hilum_ehr.sandbox.ehr.platform import Platform
from hilum_ehr.sandbox.ehr.records import Records
from hilum_ehr.sandbox.ehr.sessions import EhrSession, Sessions
from hilum_ehr.sandbox.snapshots import OwnHospital, SnapshotBook, Visitors
from hilum_ehr.synthesis.models import CastMember, HospitalPlan, Role

# A developer's own app is framed and redirected to from here.
LOOPBACK_SOURCES = ("http://localhost:*", "http://127.0.0.1:*")


@dataclass(frozen=True, slots=True)
class Chart:
    """One line of a hospital's list of patients."""

    id: str
    name: str
    notable: str
    encounters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """The state of the site. ``public``: people other than this machine's user may use it; no secret is shown."""

    urls: Urls
    pages: Pages
    plan: Plan
    hospitals: tuple[HospitalPlan, ...]
    credentials_file: CredentialsFile
    chart_lists: ChartLists
    snapshots: SnapshotBook
    visitors: Visitors
    records: Records
    platform: Platform
    feed: Feed
    sessions: Sessions
    own_apps: OwnApps
    failing: ChartFaults
    clock: Clock
    ids: Ids
    public: bool

    @property
    def is_secure(self) -> bool:
        return self.urls.sandbox_url.startswith("https://")

    def visited(self, request: Request, tenant: str) -> HospitalPlan:
        """Return a hospital that a browser may see. Raises NotFound, also for a vendor's snapshot that it has not entered."""
        card = self.snapshots.find(tenant)
        if card is not None and not self.visitors.may_see(self._browser(request), card):
            raise _no_hospital()
        return self.hospital(tenant)

    def session(self, request: Request, session_id: str) -> EhrSession:
        """Return an EHR session. Raises NotFound if it has ended, or is at a snapshot that the browser may not see."""
        session = self.sessions.get(session_id)
        card = self.snapshots.find(session.tenant)
        if card is None:
            may_see = not self.is_snapshot(session.tenant)
        else:
            may_see = self.visitors.may_see(self._browser(request), card)
        if not may_see:
            raise self.sessions.over()
        return session

    def is_snapshot(self, tenant: str) -> bool:
        """Check whether a hospital is a vendor's snapshot, not one of the sandbox's own."""
        return all(each.tenant != tenant for each in self.hospitals)

    def entered(self, request: Request) -> list[OwnHospital]:
        """List the snapshots that a browser may see."""
        browser = self._browser(request)
        cards = (self.snapshots.find(tenant) for tenant in self.visitors.entered(browser))
        return [card for card in cards if card is not None and self.visitors.may_see(browser, card)]

    def _browser(self, request: Request) -> str:
        return cookies.read(request, cookies.FORM, secure=self.is_secure) or ""

    def hospital(self, tenant: str) -> HospitalPlan:
        """Return a hospital without a check of the browser, which ``visited`` makes. Raises NotFound."""
        for hospital in self.hospitals:
            if hospital.tenant == tenant:
                return hospital
        card = self.snapshots.find(tenant)
        plan = None if card is None else card.plan(self.hospitals)
        if plan is None:
            raise _no_hospital()
        return plan

    def member(self, tenant: str, username: str) -> CastMember:
        """Return a person of a hospital. Raises NotFound."""
        for member in self.hospital(tenant).cast:
            if member.username == username:
                return member
        raise NotFound("person_not_found", "There is no person with this username at this hospital.")

    def charts(self, tenant: str, member: CastMember | None = None) -> tuple[Chart, ...]:
        """List a hospital's charts; for a patient, their own and those they act for."""
        self.chart_lists.refresh()
        card = self.snapshots.find(tenant)
        lines = self.credentials_file.charts.get(tenant, ()) if card is None else card.charts
        charts = tuple(
            Chart(line["id"], line["name"], line["notable"], tuple(line["encounters"])) for line in lines
        )
        if member is None or member.role is not Role.PATIENT:
            return charts
        # The EHR decides which charts it shows to a person; the platform decides again for each call of an app.
        own = {member.patient, *member.proxies}
        return tuple(chart for chart in charts if chart.id in own)

    def chart(self, tenant: str, member: CastMember, patient: str) -> Chart:
        """Return a chart that a person may open. Raises NotFound."""
        for chart in self.charts(tenant, member):
            if chart.id == patient:
                return chart
        raise NotFound("patient_not_found", "This person has no such chart.")

    def newest_encounter(self, tenant: str, patient: str) -> str:
        """Return the encounter with which a chart is opened; empty if it has none."""
        return next(
            (
                chart.encounters[0]
                for chart in self.charts(tenant)
                if chart.id == patient and chart.encounters
            ),
            "",
        )

    def apps(self, tenant: str, role: Role) -> tuple[tuple[AppPlan, ClientPlan], ...]:
        """List the apps that a chart offers to a role."""
        return tuple(
            (app, client)
            for app, client in self.plan.clients()
            if app.in_chart and tenant in app.tenants and role in app.roles
        )

    def form_secret(self, request: Request) -> str:
        """Return the browser's form secret, or a new one; ``keep_form`` sets it as a cookie."""
        return cookies.read(request, cookies.FORM, secure=self.is_secure) or self.ids.secret()

    def keep_form(self, response: Response, secret: str) -> Response:
        """Set the browser's form secret as a cookie and return the response."""
        cookies.put(response, cookies.FORM, secret, secure=self.is_secure)
        return response

    async def posted(self, request: Request) -> forms.Form:
        """Read a form of this site. Raises Invalid, NotPermitted."""
        form = await forms.read_form(request)
        secret = cookies.read(request, cookies.FORM, secure=self.is_secure)
        # There is no sign-in here, so only the cookie binds a form to a browser (cross-site request forgery).
        forms.check_post(request, form, secret, origin=origin_of(self.urls.sandbox_url))
        return form


def _no_hospital() -> NotFound:
    return NotFound("tenant_not_found", "There is no such hospital in this sandbox.")
