"""Every list of the API comes in pages, whole and in order, by an index (contract, Lists)."""

import shutil
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from starlette.testclient import TestClient

from hilum.apps.agreements import store as agreements
from hilum.apps.agreements.models import Agreement, Side
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import NewClient
from hilum.apps.contacts import domains
from hilum.apps.contacts import service as contacts
from hilum.apps.contacts.models import ContactKind, NewContact
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.apps.service_owners import store as service_owners
from hilum.apps.service_owners.models import ServiceOwner
from hilum.authorization.breakglass import store as break_glass
from hilum.authorization.breakglass.models import Use
from hilum.controls.switches.models import EngageOrder, Mode, Quota, Target, TargetKind
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import (
    AppId,
    ClientId,
    LaunchId,
    PersonId,
    RunId,
    TenantId,
    VendorId,
    VersionId,
)
from hilum.foundation.kernel.pages import PAGE_BOUND
from hilum.hospitals.offboarding import store as offboardings
from hilum.hospitals.offboarding.models import Offboarding
from hilum.identity.federation import service as federation
from hilum.identity.federation.models import RoleRow, Settings
from hilum.identity.federation.service import Change
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewFacility, NewPerson, Tenant, UpstreamKind, UpstreamRef
from hilum.identity.signin import service as signin
from hilum.operations.drills import store as drills
from hilum.operations.drills.models import Drill
from hilum.operations.dry_runs import store as dryruns
from hilum.operations.dry_runs.models import Kind
from hilum.operations.fhir_servers import store as fhir_servers
from hilum.operations.fhir_servers.models import FhirServer, ServerState
from hilum.operations.incidents import store as incidents
from hilum.operations.incidents.models import Incident, IncidentKind, IncidentSeverity
from hilum.operations.incidents.policy import notice_to
from hilum.operations.monitoring import store as alert_store
from hilum.operations.monitoring.models import Alert, AlertKind
from hilum.operations.switch_administration import service as switch_administration
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import UNCLASSIFIED, ApplyOrder, Discipline
from hilum.records.keys import live as keys
from hilum.records.notices import service as notices
from hilum.records.notices.models import NewEndpoint
from hilum.review.certificates import service as certificates
from hilum.review.certificates.models import Addresses
from hilum.review.certification_runs import store as evidence
from hilum.review.certification_runs.models import Run, State
from hilum.review.listings import store as listing_store
from hilum.review.listings.models import Listing
from hilum.review.recertification import store as revalidation_store
from hilum.review.recertification.models import Finding, Level, Severity
from hilum.review.recertification.models import State as FindingState
from hilum.review.submissions import discipline_store, lane_store
from hilum.review.submissions import service as review
from hilum.review.submissions.lane_models import LaneRequest
from hilum.review.submissions.models import (
    ConflictOfInterest,
    DisciplineReview,
    SubmissionOrder,
)
from tests.conftest import SECRET_KEY
from tests.effort import FULL, effort
from tests.flows.control_site import ORIGIN, TRACE, ControlSite, build, in_a_browser, problem
from tests.flows.exception_ground import raise_to_high, withhold
from tests.flows.journal_ground import JournalGround, access
from tests.sim.dry_runs import dry_run, packs_of
from tests.sim.journals import journal_of
from tests.sim.site_client import SiteClient
from tests.sim.world import FakeClock, SeededIds
from tests.unit.policy.matrix.books import document
from tests.unit.policy.matrix.exception_facts import EXCEPTION

MORE = effort(3, 5)
"""Rows of each list: more than a page, where a page holds two."""
ODD = (
    " ",
    "1",
    "[]",
    '["name"]',
    '["name",1,"a"]',
    '["name","a",1]',
    '["name","\\u0000","a"]',
    '["name","\\ud800","a"]',
    "[" * 1_100,
    '["name",null,"a"]',
    '["until","soon","a"]',
    '["until","2026-03-02","a"]',
    '["until","2026-03-02T08:00:00","a"]',
    '["until","0001-01-01T00:00:00+23:00","a"]',
    '["due","x","a"]',
    '["due",3,"a"]',
    '{"a":1}',
)
"""What cursors hold that no page gave."""
MONTH = timedelta(days=30)
GENERAL = TenantId("general")
SCOPES = ("openid", "patient/*.rs")
NO_LISTS = {
    "/api/v1/policies/versions/{number}/refusals": "one figure",
    "/api/v1/policies/scopes": "as many as one policy has",
    "/api/v1/apps/{app}/proposed-scopes": "one proposal, of as many scopes as its bound",
    "/api/v1/apps/{app}/contract": "one contract",
    "/api/v1/apps/{app}/documents": "of twenty certifications at most",
    "/api/v1/service-owners/unanswered": "of five hundred apps at most",
    "/api/v1/apps/{app}/scopes": "one comparison, of as many scopes as its bound",
    "/api/v1/apps/{app}/service": "one view, of as many days and hospitals as its bounds",
    "/api/v1/apps/{app}/calls": "walked in test_developer_console",
    "/api/v1/apps/{app}/rules": "one view, of the entries of one category",
    "/api/v1/requestable-apps": "walked in test_requests",
    "/api/v1/apps/{app}/observed": "walked in test_observed_limits",
    "/api/v1/events": "a stream",
    "/api/v1/revalidation": "one round",
    "/api/v1/incidents/{id}/related": "a hundred at most",
    "/api/v1/alerts/progress": "one run",
    "/api/v1/revalidation/figures": "figures, with at most a hundred rows of each",
    "/api/v1/revalidation/apps/{app}/service": "three criteria at most",
    "/api/v1/listings/{app}/statements": "of one version, bounded by its rules, disciplines and fields",
    "/api/v1/lookups": "ten at most",
    "/api/v1/defects": "listed in test_defects",
    "/api/v1/defect-figures": "figures",
    "/api/v1/sandbox-snapshots/{snapshot}/card": "one card",
    "/api/v1/sandbox-snapshots": "walked below a vendor's three in test_own_snapshots",
    "/api/v1/break-glass/launches": "twenty at most",
    "/api/v1/tenants/{tenant}/break-glass": "one record",
    "/api/v1/tenants/{tenant}/offboarding": "one record",
    "/api/v1/sessions": "as many as one person may have",
    "/api/v1/names": "as many as were asked for",
    "/api/v1/policies": "what is in force now",
    "/api/v1/apps/{app}/profile": "one record",
    "/api/v1/apps/{app}/transfer": "one record",
    "/api/v1/client-changes": "listed in test_client_changes",
    "/api/v1/consents": "walked in test_consent_export",
    "/api/v1/authorizations": "walked in test_consent_export",
    "/api/v1/deletion-requests": "walked in test_deletion_requests",
    "/api/v1/history": "walked in test_access_history",
    "/api/v1/app-edits": "listed in test_app_edits",
    "/api/v1/app-edits/{edit}/logo": "one picture",
    "/api/v1/unused-credentials": "listed in test_credential_use",
    "/api/v1/clients/{client}/credentials": "at most three",
    "/api/v1/policies/compare": "one comparison",
    "/api/v1/app-versions/{version}/tier": "one tier",
    "/api/v1/switches/{switch_id}/containment": "one report",
    "/api/v1/submissions/{submission}/checks": "one run",
    "/api/v1/submissions/{submission}/checks/replay": "one run",
    "/api/v1/submissions/{submission}/disciplines": "at most three",
    "/api/v1/scorecards": "one document",
    "/api/v1/submissions/{submission}/clocks": "two",
    "/api/v1/review/figures": "one document",
    "/api/v1/clients/{client}/sandbox-faults": "sixty at most",
    "/api/v1/evidence-runs/{run_id}/rows": "of one run, as many as are judged",
    "/api/v1/installations/{installation}/newer-version": "one comparison",
    "/api/v1/switches/preview": "one preview, whose hospitals are as many as there are",
}
LISTS = {
    "/api/v1/tenants": "root",
    "/api/v1/tenants/{tenant}/findings": "root",
    "/api/v1/people": "root",
    "/api/v1/approvals": "root",
    "/api/v1/vendors": "root",
    "/api/v1/vendors/{vendor}/members": "root",
    "/api/v1/vendors/{vendor}/domains": "root",
    "/api/v1/apps": "root",
    "/api/v1/apps/{app}/versions": "root",
    "/api/v1/apps/{app}/clients": "root",
    "/api/v1/apps/{app}/certifications": "root",
    "/api/v1/installations": "root",
    "/api/v1/facilities": "root",
    "/api/v1/switches": "root",
    "/api/v1/quotas": "root",
    "/api/v1/tokens": "root",
    "/api/v1/holds": "root",
    "/api/v1/policies/versions": "root",
    "/api/v1/policies/applications": "root",
    "/api/v1/policies/dry-runs": "root",
    "/api/v1/policies/observed": "root",
    "/api/v1/drills": "root",
    "/api/v1/offboardings": "root",
    "/api/v1/policies/exceptions": "root",
    "/api/v1/delta-reviews": "otto",
    **{f"/api/v1/policies/dry-runs/{{run}}/{kind.value.replace('_', '-')}": "root" for kind in Kind},
    "/api/v1/accesses": "otto",
    "/api/v1/audit/events": "otto",
    "/api/v1/agreements": "rita",
    "/api/v1/contacts": "rita",
    "/api/v1/evidence-runs": "rita",
    "/api/v1/service-owners": "rita",
    "/api/v1/break-glass": "gina",
    "/api/v1/notices": "otto",
    "/api/v1/webhooks": "sam",
    "/api/v1/submissions": "rita",
    "/api/v1/certificates": "rita",
    "/api/v1/disciplines": "rita",
    "/api/v1/reviewers": "rita",
    "/api/v1/conflicts-of-interest": "rita",
    "/api/v1/findings": "rita",
    "/api/v1/alerts": "rita",
    "/api/v1/incidents": "otto",
    "/api/v1/incident-notices": "otto",
    "/api/v1/fhir-servers": "otto",
    "/api/v1/listings": "root",
    "/api/v1/revalidation/apps": "rita",
    "/api/v1/regulated-access": "rita",
    "/api/v1/requests": "gina",
    "/api/v1/identity-provider-hosts": "root",
    "/api/v1/identity-providers": "root",
    "/api/v1/identity-links": "root",
}
SOME = ("/api/v1/people", "/api/v1/accesses", "/api/v1/audit/events", "/api/v1/submissions")
"""Lists by an id, by a record's place in its journal, by time, and by more than one column."""
AT_A_TENANT = ("facilities", "people", "approvals", "vendors", "apps", "installations", "switches", "quotas")


def add_findings(ctx: Context, apps: list[str]) -> None:
    for n, app in enumerate(map(AppId, apps)):
        said = (
            "address.tls",
            "launch: https://a.example",
            Severity.HIGH,
            FindingState.OPEN,
            "Seen.",
            "curl",
            "Fix.",
        )
        found = Finding(
            f"fnd_{n}", app, VendorId("ven_1"), "cert_1", *said, ctx.now, ctx.now, ctx.now + MONTH
        )
        revalidation_store.add_finding(ctx.tx, found)
        kind = AlertKind.SLOW
        about = (
            GENERAL,
            found.vendor,
            kind,
            2_000,
            {"calls": 100, "answered": 100, "within_ms": 9_000},
            ctx.now,
            ctx.now,
        )
        alert_store.ALERTS.add(ctx.tx, Alert(f"alt_{n}", app, *about))
        revalidation_store.set_places(ctx.tx, found.id, ("general",))
        listed = (VendorId("ven_1"), f"App {n}", True, "staff:per_1", ctx.now, "Certified.")
        listing_store.save_listing(ctx.tx, Listing(app, *listed))
        escalation = revalidation_store.lock_escalation(ctx.tx, app)
        revalidation_store.save_escalation(ctx.tx, replace(escalation, due=Level.NOTIFY))


class Full:
    """A site with more than a page of everything, where a page holds two."""

    def __init__(self, site: ControlSite) -> None:
        self.site = site
        self.clients: dict[str, TestClient] = {}
        folder = journal_of(site.uow)
        JournalGround(site.uow, site.uow.db.url, folder).write(*(access(n) for n in range(1, MORE + 1)))
        self.apps = [self._app(n) for n in range(MORE)]
        self.app = self.apps[0]
        self.vendor = self.site.system(registry.get_app, app_id=AppId(self.app)).vendor
        for n in range(MORE):
            self._more_of_one_app(n)
            self._more_people(n)
            self._more_controls(n)
            self._more_policies(n)
            self._more_contacts(n)
            self._more_requests(n)
            self._more_providers(n)
        at = Addresses("https://hilum.example/certificates", "https://hilum.example/certificates/status")
        while site.system(certificates.step, at=at):
            pass
        until = (site.clock.now() + MONTH).date().isoformat()
        observed = {"quota": {"rate_per_s": 1, "burst": 1}, "observe": {"until": until}}
        changes = {f"categories.scheduling.entries.low.{name}": value for name, value in observed.items()}
        site.system(withhold, changes=changes)
        self.run = dry_run(site.uow, site.system(policies.in_force).everywhere).id
        site.system(add_findings, apps=self.apps)
        for n in range(MORE):
            site.system(policies.add_exception, made=replace(EXCEPTION, id=f"exc_{n}"))
        found = [row for kind in Kind for row in packs_of(kind, MORE)]
        self.site.uow.write_now(lambda ctx: dryruns.add_packs(ctx.tx, self.run, found), trace=TRACE)

    def _app(self, n: int) -> str:
        do = self.site.system
        contacts = ("help@v.example", "sec@v.example")
        vendor = do(registry.add_vendor, order=NewVendor(f"Vendor {n}", *contacts))
        app = do(registry.add_app, order=NewApp(vendor.id, f"App {n}", "Shows", "Review", UNCLASSIFIED))
        version = do(registry.add_version, app_id=app.id, order=NewVersion("first"))
        order = CertifyOrder(version.id, Environment.SANDBOX, SCOPES, self.site.clock.now() + MONTH)
        do(registry.certify, order=order)
        do(installations.install, order=InstallOrder(GENERAL, app.id, frozenset({"physician"})))
        return str(app.id)

    def _more_of_one_app(self, n: int) -> None:
        do = self.site.system
        version = do(registry.add_version, app_id=self.app, order=NewVersion(f"{n}"))
        ends = self.site.clock.now() + MONTH
        do(registry.certify, order=CertifyOrder(version.id, Environment.SANDBOX, SCOPES, ends))
        kept = {"environment": Environment.SANDBOX, "order": SubmissionOrder(), "draft": True}
        sent = do(review.create, version_id=version.id, **kept).submission
        discipline = DisciplineReview(
            f"dis_{n}", sent.id, sent.app, sent.environment, Discipline.LEGAL, "", "", self.site.clock.now()
        )
        at = self.site.clock.now()

        asked = LaneRequest(
            f"lan_{n}", sent.app, sent.vendor, sent.version, ("patient/Goal.rs",), "member:per_1", at, None
        )

        def add(ctx: Context) -> None:
            discipline_store.add_discipline(ctx.tx, discipline)
            lane_store.add_request(ctx.tx, asked)

        self.site.uow.write_now(add, trace=TRACE)
        do(raise_to_high, version=version.id)
        metadata = in_a_browser(f"Client {n}", SCOPES)
        do(clients.add_client, order=NewClient(self.app, version.id, metadata))  # type: ignore[arg-type]

    def _more_people(self, n: int) -> None:
        do = self.site.system
        upstream = UpstreamRef(UpstreamKind.EMBEDDED)
        do(identity.add_tenant, tenant=Tenant(TenantId(f"more-{n}"), f"More {n}", upstream, sandbox=True))
        facility = NewFacility(GENERAL, f"Clinic {n}", "General Ltd", f"Location/c{n}")
        do(identity.add_facility, order=facility)
        do(identity.add_person, order=NewPerson(None, f"staff{n}", "Staff", "auditor"))
        signer = do(identity.add_person, order=NewPerson(None, f"signer{n}", "Signer", "reviewer"))
        do(review.change_rights, person_id=signer.id, disciplines=(Discipline.LEGAL,))
        conflict = ConflictOfInterest(
            f"coi_{n}", signer.id, VendorId(self.vendor), "I worked there.", self.site.clock.now()
        )
        self.site.uow.write_now(lambda ctx: discipline_store.CONFLICTS.add(ctx.tx, conflict), trace=TRACE)
        do(identity.add_person, order=NewPerson(GENERAL, f"nurse{n}", "Nurse", "nurse"))
        member = NewPerson(TenantId(self.vendor), f"dev{n}", "Developer", "vendor_developer")
        do(identity.add_person, order=member)
        asked = {"tenant": "general", "username": f"boss{n}", "name": "Boss", "role": "administrator"}
        assert self.site.api("gina").post("/people", json=asked).status_code == 202
        do(signin.create_api_token, person_id=self.site.people["root"].id)

    def _more_controls(self, n: int) -> None:
        do = self.site.system
        target = Target(TargetKind.APP_TENANT, f"{self.apps[n]}/general")
        do(switch_administration.engage, order=EngageOrder(target, Mode.OBSERVE, "watched"))
        do(switch_administration.set_quota, app=self.apps[n], tenant="general", quota=Quota(5.0, 10))
        placed = self.site.api("sam").post("/holds", json={"reason": f"case {n}"})
        assert placed.status_code == 201

    def _more_policies(self, n: int) -> None:
        do = self.site.system
        do(policies.adopt_shipped)
        made = do(policies.add_version, document=document({"title": f"Book {n}"}), base=1, note="")
        self.run = dry_run(self.site.uow, made.number).id
        do(policies.apply, order=ApplyOrder(made.number, (), n + 1, "the next one"))
        past = Drill(f"drl_{n}", ClientId("c"), AppId("a"), GENERAL, "sw_1", "staff:x", self.site.clock.now())
        do(lambda ctx: drills.DRILLS.add(ctx.tx, past))
        at = self.site.clock.now()
        gone = Offboarding(
            f"dep_{n}", TenantId(f"gone-{n}"), "Gone", "moved", "a", "b", at, at + MONTH, "sw_1", {}
        )
        do(lambda ctx: offboardings.add(ctx.tx, gone))
        do(lambda ctx: evidence.add(ctx.tx, certification_run(n, self.site.clock.now())))
        checked = FhirServer(TenantId(f"more-{n}"), ServerState.WORKS, at, "")
        do(lambda ctx: fhir_servers.SERVERS.add(ctx.tx, checked))

    def api(self, who: str) -> TestClient:
        """Return one client for each person, who may have only so many API tokens."""
        if who not in self.clients:
            self.clients[who] = self.site.api(who)
        return self.clients[who]

    def _more_contacts(self, n: int) -> None:
        do, vendor = self.site.system, first_vendor(self.site)
        order = NewContact(vendor, ContactKind.SUPPORT, f"help{n}@v.example")
        do(contacts.add_contact, order=order, link_url=self.site.kit.urls.contact)
        do(domains.add_domain, vendor=VendorId(self.vendor), name=f"vendor{n}.example")
        endpoint = NewEndpoint(vendor, f"https://hooks{n}.example/")
        do(notices.add_endpoint, order=endpoint, private=False)
        self.site.system(lambda ctx: agreements.add_agreement(ctx.tx, agreement(n, vendor, ctx.now)))
        self.site.system(
            lambda ctx: service_owners.add_service_owner(ctx.tx, service_owner(n, vendor, ctx.now))
        )
        self.site.system(lambda ctx: break_glass.USES.add(ctx.tx, emergency(n, ctx.now)))
        self.site.system(add_incident, n=n, vendor=vendor)

    def _more_requests(self, n: int) -> None:
        gina = self.api("gina")
        asked = {"app": self.apps[n], "roles": ["nurse"], "reason": "for the ward"}
        assert gina.post("/requests", json=asked).status_code == 201

    def _more_providers(self, n: int) -> None:
        do, issuer = self.site.system, f"https://login{n}.example"
        do(federation.add_host, origin=issuer)
        settings = Settings(
            f"Login {n}", issuer, "hilum", role_table=(RoleRow("rn", "nurse"),), roles=("nurse",)
        )
        place = TenantId(f"more-{n}")
        provider = do(federation.add_provider, tenant=place, change=Change(settings, "sealed"))
        nurse = do(identity.add_person, order=NewPerson(place, "nurse", "Nurse", "nurse"))
        do(federation.link, provider_id=provider.id, subject="s-1", person_id=nurse.id)

    def where(self, path: str) -> str:
        path = path.removeprefix("/api/v1").replace("{app}", self.app).replace("{run}", self.run)
        return path.replace("{vendor}", self.vendor).replace("{tenant}", "general")

    def walk(self, client: TestClient, path: str, **query: Any) -> list[Any]:
        """Follow the pages of a list, two rows at a time."""
        found: list[Any] = []
        after = ""
        for _ in range(500):
            answer = client.get(path, params={"limit": 2} | query | {"after": after})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            assert len(page["items"]) <= 2
            found += page["items"]
            after = page["next"]
            if not after:
                return found
        raise AssertionError(f"{path} has no end")


def certification_run(n: int, now: datetime) -> Run:
    return Run(
        id=RunId(f"run_{n}"),
        app=AppId("app_1"),
        vendor=VendorId("ven_1"),
        version=VersionId("ver_1"),
        label="1",
        client=ClientId("cli_1"),
        tenant=GENERAL,
        policy_version=1,
        tier="low",
        scenarios={},
        opened_by="staff:x",
        opened_at=now,
        expires_at=now,
        state=State.ABANDONED,
    )


def agreement(n: int, vendor: VendorId, now: datetime) -> Agreement:
    parties = ("Acme, Inc.", "General Hospital")
    made = Agreement(
        f"agr_{n}", vendor, GENERAL, "", "data_sharing", parties, "a" * 64, now, None, "x", Side.VENDOR, now
    )
    return replace(made, finding_since=now)


def service_owner(n: int, vendor: VendorId, now: datetime) -> ServiceOwner:
    who = PersonId("per_1"), PersonId("per_2")
    service = ClientId("cli_1"), AppId("app_1"), vendor, "Quality", "Adults", "Nightly"
    return ServiceOwner(f"svo_{n}", GENERAL, *service, *who, now, now + MONTH, agreed_at=now, lost_at=now)


def emergency(n: int, now: datetime) -> Use:
    who = PersonId("per_1"), "physician", ClientId("cli_1"), AppId("app_1"), LaunchId(f"lch_{n}"), "p1"
    return Use(f"btg_{n}", GENERAL, *who, "an emergency", ("hiv",), now, now, now + MONTH)


def first_vendor(site: ControlSite) -> VendorId:
    """Return the first vendor's id."""
    return VendorId(str(site.system(registry.list_vendors)[0].id))


def add_incident(ctx: Context, n: int, vendor: VendorId) -> None:
    """Add an incident, and what one hospital was told of it."""
    incident = Incident(
        f"inc_{n}",
        IncidentKind.OUTAGE,
        IncidentSeverity.SEV3,
        "It is slow.",
        (),
        vendor,
        (),
        ctx.now,
        ctx.now,
        "staff:sam",
        None,
        reach={"report": {"hospitals": {}}},
    )
    incidents.INCIDENTS.add(ctx.tx, incident)
    incidents.NOTICES.add(ctx.tx, notice_to(incident, f"inn_{n}", GENERAL, ctx.now))


@pytest.fixture(scope="module")
def full(empty_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    """Filled once: what the tests add to it is at the end of this module."""
    keys.install(keys.Vault(SECRET_KEY))
    path = shutil.copy(empty_sqlite, tmp_path_factory.mktemp("full") / "hilum.db")
    clock = FakeClock()
    uow = UnitOfWork.create(Database(f"sqlite:///{path}"), clock, SeededIds(), "test-writer")
    yield Full(build(uow, clock))
    uow.close()


def test_every_list_of_the_document_takes_a_cursor_and_a_limit_and_none_is_bare(full: Full) -> None:
    paths = SiteClient(full.site.app, base_url=ORIGIN).get("/api/openapi.json").json()["paths"]
    many = {
        path: operations["get"]
        for path, operations in paths.items()
        if "get" in operations and not path.endswith("}") and path not in NO_LISTS
    }

    assert set(many) == set(LISTS), "a new list is walked below"
    for path, operation in many.items():
        taken = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
        assert {"after", "limit"} <= taken, path


def unlike_a_reading(rows: list[Any]) -> list[Any]:
    """Leave out the events of the readings themselves, which come in between."""
    return [each for each in rows if not str(each.get("action", "")).startswith("audit.")]


def test_the_pages_of_a_list_hold_every_row_once_and_in_order(full: Full) -> None:
    """No bound drops a row."""
    for path, who in LISTS.items():
        client, where = full.api(who), full.where(path)

        whole = unlike_a_reading(client.get(where).json()["items"])
        found = unlike_a_reading(full.walk(client, where))

        assert found[: len(whole)] == whole, path
        assert len(whole) >= MORE, path


def test_a_tenants_administrator_walks_the_same_pages(full: Full) -> None:
    client = full.site.api("gina")
    for name in AT_A_TENANT:
        query = {} if name in {"vendors", "apps"} else {"tenant": "general"}

        whole = client.get(f"/{name}", params=query).json()

        assert full.walk(client, f"/{name}", **query) == whole["items"], name
        assert len(whole["items"]) >= MORE, name
    assert len(full.walk(client, "/tenants", limit=1)) == 1


def test_a_limit_outside_its_bounds_is_refused(full: Full) -> None:
    """One class of query judges it: what is no number is sent to every list with EFFORT=full only."""
    for limit in ("0", "201", "-1", "x", ""):
        for path in LISTS if FULL or limit in {"0", "201"} else SOME:
            problem(
                full.api(LISTS[path]).get(full.where(path), params={"limit": limit}), 422, "fields_invalid"
            )


def test_a_cursor_that_no_page_gave_is_refused_or_a_place_in_the_order(full: Full) -> None:
    """Contract, Errors: never a 500 for bad input. With EFFORT=full each list gets every one."""
    for after in ("~~~~", "a~b", "zzz", "~", "..", "-", "a" * 250):
        for path in LISTS if FULL or after in {"~~~~", "a~b", "zzz"} else SOME:
            answer = full.api(LISTS[path]).get(full.where(path), params={"after": after})
            assert answer.status_code in {200, 400, 422}, (path, after)


@contextmanager
def listing() -> Iterator[list[tuple[str, Any]]]:
    """Note the statements that read a page."""
    asked: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, values: Any, _ctx: Any, _many: Any) -> None:
        if "ORDER BY" in statement and "LIMIT" in statement:
            asked.append((statement, values))

    event.listen(Engine, "before_cursor_execute", note)
    yield asked
    event.remove(Engine, "before_cursor_execute", note)


def read_by_an_index(full: Full, asked: list[tuple[str, Any]]) -> None:
    """Check that each page was read by an index in its order."""
    with full.site.uow.db.engine.connect() as db:
        for statement, values in asked:
            # The newest records of an action: what is sorted is only what happened at one instant.
            if "FROM audit_event" in statement:
                continue
            plan = [row[3] for row in db.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, values)]
            assert not any("TEMP B-TREE" in step for step in plan), (statement, plan)
            assert "OFFSET" not in statement or statement.endswith("OFFSET ?"), statement
            ways = ("USING INDEX", "USING PRIMARY KEY", "USING INTEGER PRIMARY KEY")
            assert any(way in step for step in plan for way in ways), (
                statement,
                plan,
            )


def sorted_lists(full: Full) -> dict[str, list[str]]:
    """Return the orders of each list that has any, as its document lists them."""
    paths = SiteClient(full.site.app, base_url=ORIGIN).get("/api/openapi.json").json()["paths"]
    taken = {path: each["get"].get("parameters", ()) for path, each in paths.items() if "get" in each}
    return {
        path: [word for each in given for word in each["schema"].get("enum", ()) if each["name"] == "sort"]
        for path, given in taken.items()
        if any(each["name"] == "sort" for each in given)
    }


def test_each_order_of_a_list_has_every_row_once_by_an_index_and_the_other_way_is_its_reverse(
    full: Full,
) -> None:
    """C183."""
    lists = sorted_lists(full)
    assert len(lists) >= 15
    with listing() as asked:
        for path, words in lists.items():
            if path not in LISTS:
                continue
            client, where = full.api(LISTS[path]), full.where(path)
            every = [each["id"] for each in client.get(where).json()["items"]]
            for word in words:
                found = [each["id"] for each in full.walk(client, where, sort=word)]
                assert len(found) == len(every) >= MORE, (path, word)
                assert set(found) == set(every), (path, word)
                if word.startswith("-"):
                    there = [each["id"] for each in full.walk(client, where, sort=word[1:])]
                    assert found == there[::-1], (path, word)
        gina = full.site.api("gina")
        own = (
            "people",
            "agreements",
            "service-owners",
            "switches",
            "vendors",
            "apps",
            "installations",
        )
        for path in (f"/{each}" for each in own):
            for word in lists[f"/api/v1{path}"]:
                query = {} if path in {"/vendors", "/apps"} else {"tenant": "general"}
                full.walk(gina, path, sort=word, **query)

    assert len(asked) > 100
    read_by_an_index(full, asked)


def test_an_order_that_a_list_does_not_have_and_a_cursor_of_another_order_are_refused(full: Full) -> None:
    """C183."""
    root = full.api("root")
    after = root.get("/people", params={"tenant": "general", "limit": 1, "sort": "name"}).json()["next"]
    odd = [urlsafe_b64encode(each.encode()).rstrip(b"=").decode() for each in ODD]
    for sort, cursor in [("-name", after), ("added", after), *(("name", each) for each in odd)]:
        query = {"tenant": "general", "sort": sort, "after": cursor}
        problem(root.get("/people", params=query), 422, "cursor_unknown")
    for cursor in odd:
        problem(root.get("/agreements", params={"sort": "until", "after": cursor}), 422, "cursor_unknown")
        problem(root.get("/submissions", params={"sort": "due", "after": cursor}), 422, "cursor_unknown")
    for path in LISTS.keys() & sorted_lists(full):
        for word in ("patients", "name;", "--name", "id", "active"):
            problem(full.api(LISTS[path]).get(full.where(path), params={"sort": word}), 422, "fields_invalid")


@pytest.mark.parametrize("who", ["root", "gina"])
def test_a_page_is_read_by_an_index_in_its_order_however_far_along_the_list(full: Full, who: str) -> None:
    """Neither sorted nor skipped to: a page costs what it holds."""
    client = full.api(who)
    with listing() as asked:
        for path in set(LISTS) - {"/api/v1/accesses", "/api/v1/audit/events"}:
            where = full.where(path)
            for query in ({}, {"tenant": "general"}):
                if client.get(where, params=query).status_code == 200:
                    full.walk(client, where, **query)

    assert len(asked) > 30
    read_by_an_index(full, asked)


def test_an_old_certification_counts_however_many_came_after_it(full: Full) -> None:
    """C5: what enforcement reads of a client is never a page of a list."""
    version = full.site.system(registry.add_version, app_id=full.app, order=NewVersion("much reviewed"))
    (client, *_) = full.site.system(clients.list_clients, app_id=full.app)
    ends = full.site.clock.now() + MONTH
    order = CertifyOrder(version.id, Environment.SANDBOX, SCOPES, ends)

    def many(ctx: Context) -> None:
        for _ in range(PAGE_BOUND + 1):
            registry.certify(ctx, order)

    full.site.system(many)

    facts = full.site.system(clients.client_facts, client_id=client.id)

    assert facts.certified_until == ends


def test_a_list_longer_than_a_page_has_a_next_page(full: Full) -> None:
    """It was cut at 200 before."""
    had = len(full.site.system(registry.list_versions, app_id=AppId(full.app)))

    def many(ctx: Context) -> None:
        for n in range(PAGE_BOUND):
            registry.add_version(ctx, AppId(full.app), NewVersion(f"more {n}"))

    full.site.system(many)
    client = full.site.api("root")

    first = client.get(f"/apps/{full.app}/versions").json()
    second = client.get(f"/apps/{full.app}/versions", params={"after": first["next"]}).json()

    assert (len(first["items"]), len(second["items"]), second["next"]) == (PAGE_BOUND, had, "")
    ids = [each["id"] for each in first["items"] + second["items"]]
    assert ids == sorted(set(ids), reverse=True)
