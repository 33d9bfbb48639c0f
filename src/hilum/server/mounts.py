"""Mounts the routes of every module: pages, protocol endpoints and the API, in their order."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute

from hilum.apps.agreements import service as agreements
from hilum.apps.clients import credential_routes
from hilum.apps.clients import routes as clients
from hilum.apps.clients import service as client_service
from hilum.apps.contacts import domain_routes
from hilum.apps.contacts import pages as contacts_pages
from hilum.apps.contacts import routes as contacts
from hilum.apps.contacts.domain_checks import DomainChecker
from hilum.apps.deletion_requests import routes as deletion_requests
from hilum.apps.deletion_requests.service import ask_of_app, ask_of_former
from hilum.apps.installations import answering
from hilum.apps.installations import routes as installations
from hilum.apps.installations import service as installed
from hilum.apps.installations.service import Permits, add_facility
from hilum.apps.membership import routes as membership
from hilum.apps.names import routes as lookups
from hilum.apps.registry import app_edit_routes, app_edits, call_routes
from hilum.apps.registry import routes as registry
from hilum.apps.registry import service as registered
from hilum.apps.registry.app_edit_models import AppEditOrder
from hilum.apps.service_owners import service as service_owners
from hilum.authorization.authorize import pages as authorize_pages
from hilum.authorization.authorize import routes as authorize
from hilum.authorization.authorize.service import PatientDirectory
from hilum.authorization.breakglass import pages as breakglass_pages
from hilum.authorization.breakglass import routes as breakglass
from hilum.authorization.breakglass import service as breakglass_service
from hilum.authorization.consent import routes as consent_routes
from hilum.authorization.consent import service as consent
from hilum.authorization.eligibility.service import is_app_stopped
from hilum.authorization.launches import routes as launches
from hilum.authorization.launches.service import count_open
from hilum.authorization.token import routes as token_endpoints
from hilum.authorization.tokens import service as tokens
from hilum.controls.approvals import routes as approvals
from hilum.foundation.actions import routes as actions
from hilum.foundation.infra import nodes
from hilum.foundation.infra.context import Context
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.infra.settings import Settings
from hilum.foundation.infra.txt_records import TxtRecords
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import HilumError, NotFound
from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.foundation.pictures import routes as pictures
from hilum.foundation.web import problems
from hilum.foundation.web.api import join
from hilum.foundation.web.asgi import App
from hilum.foundation.web.kit import Authenticate, Kit, RecordForbidden
from hilum.gateway.enforcement.platform_reads import PlatformReads
from hilum.gateway.upstream import access as upstream
from hilum.hospitals.disclosures import pages as disclosures_pages
from hilum.hospitals.disclosures import routes as disclosures
from hilum.hospitals.offboarding import routes as offboardings
from hilum.hospitals.requests import routes as requests
from hilum.hospitals.vendor_hospitals import routes as snapshots
from hilum.hospitals.vendor_hospitals import service as own_hospitals
from hilum.hospitals.vendor_hospitals.live import Snapshots, no_furnisher
from hilum.hospitals.vendor_hospitals.models import Furnisher
from hilum.identity.account import pages as account_pages
from hilum.identity.enrolment import pages as enrolment_pages
from hilum.identity.enrolment import routes as enrolment
from hilum.identity.enrolment.models import LinkMail
from hilum.identity.federation import live as federation_live
from hilum.identity.federation import pages as federation_pages
from hilum.identity.federation import routes as federation
from hilum.identity.federation import trial
from hilum.identity.federation.live import Providers
from hilum.identity.people import routes as identity
from hilum.identity.people.models import UpstreamRef, UpstreamSecrets
from hilum.identity.people.service import was_tenant
from hilum.identity.signin import routes as signin
from hilum.identity.signin.forbidden import Forbidden
from hilum.operations.drills import routes as drills
from hilum.operations.dry_runs import narrowing, observing
from hilum.operations.dry_runs import routes as dryruns
from hilum.operations.dry_runs.quotas import ReadCalls
from hilum.operations.fhir_servers import service as fhir_servers
from hilum.operations.incidents import notices as incident_notices
from hilum.operations.incidents import service as incidents
from hilum.operations.monitoring import routes as monitoring
from hilum.operations.monitoring import service as monitoring_service
from hilum.operations.switch_administration import previews
from hilum.operations.switch_administration import routes as switch_administration
from hilum.policy.matrix import routes as policies
from hilum.records.audit import anchor, hold_routes
from hilum.records.audit import live as journals
from hilum.records.audit import routes as audit
from hilum.records.audit import service as audited
from hilum.records.audit.journal_records import AccessReader
from hilum.records.audit.models import Anchored, CountedTraffic
from hilum.records.audit.reader_slots import CONSOLES, DISCLOSURES, REPORTS, VENDORS, ReaderSlots
from hilum.records.audit.recorded_reads import RecordedReads
from hilum.records.keys.live import vault
from hilum.records.notices import routes as notices
from hilum.review.certificates import pages as certificate_pages
from hilum.review.certificates import routes as certificates
from hilum.review.certification_runs import routes as evidence
from hilum.review.certification_runs import trace_routes as traces
from hilum.review.defects import routes as defects
from hilum.review.defects import service as defects_service
from hilum.review.listings import routes as listings
from hilum.review.recertification import pages as revalidation_pages
from hilum.review.recertification import routes as revalidation
from hilum.review.recertification import service as revalidated
from hilum.review.recertification.service import Use
from hilum.review.submissions import conflicts as review_conflicts
from hilum.review.submissions import routes as review
from hilum.review.submissions.service import barred, reasons_of
from hilum.server import ehr, explaining
from hilum.server.acts import acts
from hilum.surfaces.console import ports as console_ports
from hilum.surfaces.console import routes as console
from hilum.surfaces.guides import pages as guides_pages

API_TITLE = "Hilum control plane"
_OPENS_AN_APP = re.compile(r"/t/[^/]+/(ehr/open/|oauth/authorize(/|\Z))")
"""The addresses of a launch (``launches.routes``), and of an authorization request and its pages (``authorize.routes``)."""
NOTHING_COUNTED = Use(lambda *_: ())


@dataclass(frozen=True, slots=True)
class Site:
    """The dependencies that routes are built from."""

    kit: Kit
    fetcher: SafeFetcher
    directory: PlatformReads
    settings: Settings
    at_stop: list[Callable[[], None]]
    """Callbacks for SIGTERM, called while requests still run: they end waits and streams."""
    health: Callable[[], console_ports.Health] = console_ports.unknown_health
    """Returns the health of this worker."""
    generation: Callable[[], object] = object
    """Returns a value that changes whenever the enforcement facts change."""


def opens_an_app(path: str) -> bool:
    """Check whether an EHR's frame requests a path while it opens an app, so that errors there may be shown in the frame."""
    return _OPENS_AN_APP.match(path) is not None


def template_folders() -> list[Path]:
    """Return the template folders of modules with pages."""
    return [
        signin.TEMPLATES,
        account_pages.TEMPLATES,
        enrolment_pages.TEMPLATES,
        federation_pages.TEMPLATES,
        authorize_pages.TEMPLATES,
        contacts_pages.TEMPLATES,
        disclosures_pages.TEMPLATES,
        breakglass_pages.TEMPLATES,
        console.TEMPLATES,
        guides_pages.TEMPLATES,
    ]


def static_folders() -> list[Path]:
    """Return the folders of modules' static files on the platform's site."""
    return [console.STATIC, account_pages.STATIC]


def callers(
    uow: UnitOfWork, at_stop: list[Callable[[], None]], *, production: bool
) -> tuple[Authenticate, RecordForbidden]:
    """Return the function that finds the actor of an API token, and what records forbidden acts."""
    forbidden = Forbidden(uow, at_stop.append)
    return signin.authenticator(uow, forbidden, production=production), forbidden.record


def pages(site: Site) -> list[BaseRoute]:
    """Return the routes of pages and protocol endpoints."""
    channel = authorize.AuthorizeRoutes(site.kit, site.directory)
    site.at_stop.append(channel.record_counts_soon)
    federated = federation_pages.Federated(site.kit, _providers(site), tokens.revoke_person)
    site.at_stop.append(federated.record_counts_soon)
    return [
        *token_endpoints.routes(
            site.kit,
            site.fetcher,
            registers=site.settings.opens_private_fetches,
            at_stop=site.at_stop.append,
        ),
        *channel.routes(),
        *signin.pages(
            site.kit, channel.find_sign_in_target, federated=federated, at_stop=site.at_stop.append
        ),
        *federated.routes(),
        *account_pages.pages(site.kit, channel.find_sign_in_target),
        *enrolment_pages.pages(site.kit),
        *contacts_pages.pages(site.kit),
        *disclosures_pages.pages(
            site.kit, lambda query: _reader(site.settings).page(query), ReaderSlots(DISCLOSURES).held
        ),
        *breakglass_pages.pages(site.kit, site.directory, lambda query: _reader(site.settings).page(query)),
        *revalidation_pages.pages(site.kit),
        *certificate_pages.pages(site.kit),
        *launches.routes(site.kit),
        *console.pages(site.kit, _consoles(site)),
        *guides_pages.routes(site.kit.pages),
        *pictures.pages(site.kit, is_app_stopped),
    ]


def _providers(site: Site) -> Providers:
    # A separate fetcher, so that slow identity providers do not use up the slots for apps' keys.
    fetcher = SafeFetcher(allow_private=site.settings.opens_private_fetches)
    return Providers(fetcher, site.kit.clock, vault())


NO_FAULTS = ehr.InjectedFaults()


def consoles(
    kit: Kit,
    reader: Callable[[], AccessReader],
    journal: tuple[Path, str],
    by_mail: LinkMail,
    *,
    providers: Providers,
    checker: DomainChecker,
    at_stop: Callable[[Callable[[], None]], None] = lambda _: None,
    faults: ehr.InjectedFaults = NO_FAULTS,
    furnisher: Furnisher | None = None,
) -> console_ports.Ports:
    """Build the consoles' ports, for what they read beside the modules' services. ``journal``: the folder of the journals and the database."""
    runs = evidence_ports(kit, reader, faults, furnisher)
    return console_ports.Ports(
        criteria=partial(revalidated.view_service, use=counted_calls(journal)),
        recorded=RecordedReads(kit.uow, CONSOLES).run,
        accesses=lambda query: reader().page(query),
        explain=lambda ctx, request_id: audited.read_explanation(
            ctx, request_id, reader(), explaining.explain
        ),
        traffic=partial(journals.read_traffic, *journal),
        nodes=_nodes,
        preview=partial(previews.preview, open_launches=count_open),
        compare_scopes=lambda ctx, app, days: installed.compare_scopes(
            ctx, app, days, None, partial(journals.read_permits, *journal)
        ),
        observed=observing.list_of_app,
        unused=partial(installed.unused_scopes, permits=partial(journals.read_permits, *journal)),
        try_narrowing=partial(
            narrowing.try_narrowing,
            permits=partial(journals.read_permits, *journal),
            calls=partial(journals.read_calls, *journal),
        ),
        acts=acts(by_mail),
        by_mail=by_mail,
        providers=console_ports.Providers(
            try_out=lambda found, allowed, returns_to: trial.try_out(
                providers, found, allowed, returns_to=returns_to, clock=kit.clock
            ),
            seal=lambda secret, issuer: federation_live.seal_secret(vault(), secret, issuer, kit.ids),
        ),
        app_edits=_app_edits(),
        client_edits=client_service.held_edits(barred),
        runs=console_ports.Runs(runs.read, runs.set_fault, runs.clear_faults, runs.ground),
        check_domain=lambda vendor, domain, actor, trace: checker.check(
            kit.uow, vendor, domain, actor=actor, trace=trace
        ),
        held=ReaderSlots(REPORTS).held,
        snapshots=Snapshots(kit.uow, kit.ids, furnisher or no_furnisher()),
        transferred=ask_of_former,
        ended=ask_of_app,
        at_stop=at_stop,
    )


def _app_edits() -> console_ports.AppEdits:
    return console_ports.AppEdits(
        edit=lambda ctx, app, revision, texts, logo: app_edits.edit(
            ctx,
            app,
            AppEditOrder(revision, texts.get("name"), texts.get("description"), texts.get("purpose"), logo),
        ),
        logo=app_edits.read_logo,
        held=app_edits.held_edits(barred),
    )


def counted_calls(journal: tuple[Path, str]) -> Use:
    """Return the readers of counted calls. ``journal``: the folder of the journals and the database."""
    return Use(
        partial(journals.read_permits, *journal),
        partial(journals.read_places, *journal),
        partial(journals.read_served, *journal),
        partial(journals.read_totals, *journal),
    )


def _nodes(ctx: Context) -> list[console_ports.Node]:
    return [
        console_ports.Node(
            each.name, each.workers, each.live, each.seen_at, each.skew.total_seconds() * 1000, each.closed
        )
        for each in nodes.list_nodes(ctx.tx)
    ]


def _consoles(site: Site) -> console_ports.Ports:
    settings = site.settings
    by_mail = LinkMail(site.kit.urls.enrol, bool(settings.smtp.host))
    journal = settings.journal_dir, settings.database_url
    reader, leave = partial(_reader, settings), site.at_stop.append
    ports = consoles(
        site.kit,
        reader,
        journal,
        by_mail,
        providers=_providers(site),
        checker=DomainChecker(site.fetcher, records=TxtRecords()),
        at_stop=leave,
        faults=ehr.injected_faults(settings, site.kit.clock),
        furnisher=ehr.furnisher(settings),
    )
    anchored = partial(_anchored, settings.anchor)
    return replace(ports, health=site.health, generation=site.generation, anchored=anchored)


def _anchored(path: Path) -> list[Anchored]:
    """Read this node's anchored checkpoints; none if the anchor cannot be read, such as a pipe."""
    try:
        return anchor.read(path)
    except HilumError:
        return []


def _reader(settings: Settings) -> AccessReader:
    return journals.open_reader(settings.journal_dir, settings.database_url)


def api(site: Site) -> App:
    """Build the control plane's API of a worker."""

    # Passed in: identity stores what upstream seals, and knows neither that module nor the vault.
    def seal(secrets: UpstreamSecrets, of: UpstreamRef) -> str:
        return upstream.seal_secrets(vault(), secrets, of, site.kit.ids)

    reader = partial(_reader, site.settings)
    permits = partial(journals.read_permits, site.settings.journal_dir, site.settings.database_url)
    private = site.settings.opens_private_fetches
    faults = ehr.injected_faults(site.settings, site.kit.clock)
    return control_plane(
        site.kit,
        seal,
        reader,
        permits,
        site.at_stop.append,
        calls=partial(journals.read_calls, site.settings.journal_dir, site.settings.database_url),
        traffic=partial(journals.read_traffic, site.settings.journal_dir, site.settings.database_url),
        domain_checker=DomainChecker(site.fetcher, records=TxtRecords()),
        providers=_providers(site),
        mails_links=bool(site.settings.smtp.host),
        private_urls=private,
        faults=faults,
        counted=counted_calls((site.settings.journal_dir, site.settings.database_url)),
        furnisher=ehr.furnisher(site.settings),
        directory=site.directory,
    )


def require_owner(ctx: Context, vendor: str, app: str) -> None:
    """Check that the vendor exists and, unless ``app`` is empty, that the app is one of its apps. Raises NotFound."""
    owner = registered.get_vendor(ctx, VendorId(vendor))
    if app and registered.get_app(ctx, AppId(app)).vendor != owner.id:
        raise NotFound("app_not_found", "There is no such app.")


def evidence_ports(
    kit: Kit,
    reader: Callable[[], AccessReader],
    faults: ehr.InjectedFaults,
    furnisher: Furnisher | None = None,
) -> evidence.Ports:
    """Build the ports of certification runs."""
    return evidence.Ports(
        lambda ctx, query: audited.read_sealed(ctx, reader(), query),
        RecordedReads(kit.uow, VENDORS).run,
        lambda query: reader().page(query),
        faults.set,
        faults.clear,
        faults.by_hand,
        tokens.end_access_at,
        partial(own_hospitals.ground_of, furnisher=furnisher or no_furnisher()),
    )


def _reviewing(
    kit: Kit, unused: Callable[..., Any], runs: evidence.Ports, use: Use, furnisher: Furnisher | None
) -> tuple[APIRouter, ...]:
    """Return the API routes of review, certification, revalidation, evidence and vendors' snapshots."""
    return (
        review.api(kit, unused),
        actions.api(kit, review_conflicts),
        certificates.api(kit),
        listings.api(kit),
        revalidation.api(kit, use),
        evidence.api(kit, runs),
        traces.api(kit, runs),
        snapshots.api(kit, furnisher or no_furnisher()),
        defects.api(kit),
        actions.api(kit, defects_service),
    )


def _calls(kit: Kit, reader: Callable[[], AccessReader]) -> APIRouter:
    """Return the API routes of apps' calls, as their vendors see them."""
    recorded = RecordedReads(kit.uow, VENDORS).run
    return call_routes.api(kit, recorded, lambda query: reader().page(query), installed.left_out_at)


def control_plane(
    kit: Kit,
    seal: identity.Seal,
    reader: Callable[[], AccessReader],
    permits: Permits,
    at_stop: Callable[[Callable[[], None]], None] = lambda _: None,
    *,
    calls: ReadCalls,
    traffic: CountedTraffic,
    domain_checker: DomainChecker,
    providers: Providers,
    mails_links: bool,
    private_urls: bool = False,
    faults: ehr.InjectedFaults = NO_FAULTS,
    counted: Use = NOTHING_COUNTED,
    furnisher: Furnisher | None = None,
    directory: PatientDirectory,
) -> FastAPI:
    """Join every module's API routes into one application. The parameters are passed to the modules' ``api`` functions."""
    app = FastAPI(
        title=API_TITLE,
        version="1",
        openapi_url="/api/openapi.json",
        # FastAPI's pages of documentation load their script from another origin.
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    by_mail = LinkMail(kit.urls.enrol, mails_links)
    unused = partial(installed.unused_scopes, permits=permits)
    routers = (
        identity.api(kit, seal, add_facility),
        policies.api(kit, traffic),
        dryruns.api(kit, permits, calls),
        offboardings.api(kit),
        drills.api(kit, lambda query: reader().window(query)),
        registry.api(kit, ended=ask_of_app, barred=barred),
        app_edit_routes.api(kit, barred),
        _calls(kit, reader),
        contacts.api(kit),
        domain_routes.api(kit, domain_checker),
        notices.api(kit, require_owner, private=private_urls),
        clients.api(kit, barred=barred, transferred=ask_of_former),
        credential_routes.api(kit),
        actions.api(kit, agreements),
        actions.api(kit, service_owners, answering),
        breakglass.api(kit, directory),
        actions.api(kit, breakglass_service),
        deletion_requests.api(kit),
        consent_routes.api(kit),
        installations.api(kit, permits, reasons_of),
        monitoring.api(kit, counted.served),
        *(actions.api(kit, each) for each in (monitoring_service, fhir_servers, incidents, incident_notices)),
        lookups.api(kit),
        requests.api(kit),
        *_reviewing(kit, unused, evidence_ports(kit, reader, faults, furnisher), counted, furnisher),
        switch_administration.api(
            kit, lambda query: reader().window(query), ReaderSlots(REPORTS).held, count_open
        ),
        signin.api(kit, at_stop=at_stop),
        enrolment.api(kit, by_mail, consent.set_charts),
        federation.api(kit, providers, tokens.revoke_person, loopback=private_urls),
        membership.api(kit, by_mail),
        approvals.api(kit, acts(by_mail)),
        disclosures.api(kit, lambda query: reader().page(query), ReaderSlots(DISCLOSURES).held),
        audit.api(kit, reader, at_stop=at_stop, background=explaining.explain),
        hold_routes.api(kit, was_tenant),
    )
    join(app, routers)
    return app
