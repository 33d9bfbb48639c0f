"""The routes of every console."""

from starlette.routing import Route

from hilum.foundation.web.kit import Kit
from hilum.surfaces.console.desk import STATIC, TEMPLATES, Desk
from hilum.surfaces.console.developer import apps as developer_apps
from hilum.surfaces.console.developer import changes as developer_changes
from hilum.surfaces.console.developer import clients as developer_clients
from hilum.surfaces.console.developer import contacts as developer_contacts
from hilum.surfaces.console.developer import (
    proposals,
    reviews,
    runs,
    snapshots,
    statements,
    team,
    transfers,
    webhooks,
)
from hilum.surfaces.console.developer import rules as developer_rules
from hilum.surfaces.console.developer import submission as developer_submission
from hilum.surfaces.console.developer import usage as developer_usage
from hilum.surfaces.console.models import Console
from hilum.surfaces.console.operations import (
    apps,
    books,
    eligibility,
    entries,
    evidence,
    exceptions,
    now,
    policies,
    publishing,
    scopes,
    staff,
)
from hilum.surfaces.console.parts import held_changes
from hilum.surfaces.console.ports import Ports
from hilum.surfaces.console.review import changes as review_changes
from hilum.surfaces.console.review import discipline, lane, queue, reviewers
from hilum.surfaces.console.review import run as review_run
from hilum.surfaces.console.review import submission as review_submission
from hilum.surfaces.console.shared import (
    activity,
    agreements,
    approvals,
    defects,
    deletion_requests,
    fhir_servers,
    guide,
    incidents,
    offboardings,
    search,
    switches,
)
from hilum.surfaces.console.tenant import approving as tenant_approving
from hilum.surfaces.console.tenant import apps as tenant_apps
from hilum.surfaces.console.tenant import (
    consents,
    emergencies,
    links,
    people,
    providers,
    requests,
    service_owners,
    settings,
)
from hilum.surfaces.console.tenant import exceptions as tenant_exceptions
from hilum.surfaces.console.trust import Trust

__all__ = ["STATIC", "TEMPLATES", "pages"]
CHOICES = ("scope", "role", "work")


def pages(kit: Kit, ports: Ports) -> list[Route]:
    """Build the routes of the consoles."""
    desk = Desk(kit, ports)
    return [
        *_operations(desk),
        *_tenant(desk),
        *_developer(desk),
        *_review(desk),
        *Trust(kit).routes(),
        *(desk.live(each) for each in Console),
        *(route for each in Console for route in desk.route(f"{each}.guide", guide.show)),
    ]


def _operations(desk: Desk) -> list[Route]:
    return [
        *desk.route("operations.now", now.show),
        *desk.route("operations.apps", apps.show_list),
        *desk.route("operations.app", apps.show),
        *desk.route("operations.eligibility", eligibility.show, eligibility.act),
        *desk.route("operations.audit", activity.show_accesses),
        *desk.route("operations.events", activity.show_events),
        *desk.route("operations.policy", policies.show),
        *desk.route("operations.entry", entries.show),
        *desk.route("operations.entry_change", entries.show_change, entries.change, multi=entries.TICKED),
        *desk.route("operations.jurisdictions", policies.show_jurisdictions),
        *desk.route("operations.version", policies.show_version),
        *desk.route("operations.apply", books.show, books.apply, multi=books.MULTI),
        *desk.route("operations.book_new", publishing.show, publishing.add, documents=publishing.DOCUMENTS),
        *desk.route("operations.exceptions", exceptions.show),
        *desk.route("operations.exception", exceptions.show_one, exceptions.end),
        *desk.route("operations.dry_run", books.show_run),
        *desk.route("operations.scopes", scopes.show_list),
        *desk.route("operations.product", scopes.show, scopes.deprecate),
        *desk.route("operations.evidence", evidence.show, evidence.act),
        *defects.OPERATIONS.routes(desk),
        *incidents.OPERATIONS.routes(desk),
        *fhir_servers.OPERATIONS.routes(desk),
        *desk.route("operations.offboardings", offboardings.show_list),
        *desk.route("operations.offboarding_new", offboardings.show_new, offboardings.ask),
        *desk.route("operations.offboarding", offboardings.show),
        *desk.route("operations.staff_new", staff.show_new, staff.add),
        *desk.route("operations.staff", staff.show),
        *desk.route("operations.approval", approvals.show_approval, approvals.decide),
        *_shared(desk, Console.OPERATIONS),
    ]


def _tenant(desk: Desk) -> list[Route]:
    return [
        *desk.route("tenant.apps", tenant_apps.show_list),
        *desk.route("tenant.app", tenant_apps.show),
        *desk.route("tenant.approve", tenant_approving.show_approve, tenant_approving.approve, multi=CHOICES),
        *desk.route("tenant.narrow", tenant_apps.show_narrow, tenant_apps.narrow, multi=CHOICES),
        *desk.route("tenant.networks", tenant_apps.show_networks, tenant_apps.pin),
        *desk.route("tenant.newer", tenant_apps.show_newer, tenant_apps.accept),
        *desk.route("tenant.remove", tenant_apps.show_remove, tenant_apps.remove),
        *desk.route("tenant.exceptions", tenant_exceptions.show_list),
        *desk.route("tenant.alone", tenant_exceptions.show_alone, tenant_exceptions.ask_alone),
        *desk.route("tenant.exception", tenant_exceptions.show, tenant_exceptions.end),
        *desk.route("tenant.requests", requests.show_list),
        *desk.route("tenant.ask", requests.show, requests.decide),
        *desk.route("tenant.people", people.show_list),
        *desk.route("tenant.person_new", people.show_new, people.add),
        *desk.route("tenant.waiting", approvals.show),
        *desk.route("tenant.approval", approvals.show_approval, approvals.decide),
        *desk.route("tenant.person", people.show, people.act),
        *service_owners.PAGES.routes(desk, service_owners.show_list),
        *_with_others(desk, Console.TENANT),
        *desk.route("tenant.activity", activity.show_accesses),
        *desk.route("tenant.events", activity.show_events),
        *desk.route("tenant.consents", consents.show_list),
        *desk.route("tenant.links", links.show_list),
        *desk.route("tenant.link_new", links.show_new, links.ask),
        *desk.route("tenant.link", links.show, links.remove),
        *desk.route("tenant.provider_new", providers.show_new, providers.add, multi=providers.MULTI),
        *desk.route("tenant.providers", providers.show_list),
        *desk.route("tenant.provider_edit", providers.show_edit, providers.edit, multi=providers.MULTI),
        *desk.route("tenant.provider", providers.show, providers.act),
        *desk.route("tenant.settings", settings.show, settings.act, pictures=("logo",)),
        *desk.route("tenant.leave", offboardings.show_own, offboardings.ask),
        *desk.route("tenant.emergencies", emergencies.show_list),
        *desk.route(
            "tenant.emergency_settings",
            emergencies.show_settings,
            emergencies.change_settings,
            multi=("category",),
        ),
        *desk.route("tenant.emergency", emergencies.show, emergencies.act),
        *incidents.TENANT.routes(desk),
        *fhir_servers.TENANT.routes(desk),
        *_shared(desk, Console.TENANT),
    ]


def _shared(desk: Desk, console: Console) -> list[Route]:
    return [
        *desk.route(f"{console}.search", search.show),
        *desk.route(f"{console}.request", search.show_request),
        *desk.route(f"{console}.switches", switches.show_list),
        *desk.route(f"{console}.stop", switches.show_new, switches.engage),
        *desk.route(f"{console}.switch", switches.show),
        *desk.route(f"{console}.release", switches.show_release, switches.release),
    ]


def _with_others(desk: Desk, console: Console) -> list[Route]:
    """Build the pages of what a vendor and a hospital do with each other."""
    return [
        *desk.route(f"{console}.agreement_new", agreements.show_new, agreements.add),
        *desk.route(f"{console}.agreements", agreements.show_list),
        *desk.route(f"{console}.agreement", agreements.show, agreements.act),
        *desk.route(f"{console}.deletion_requests", deletion_requests.show_list),
    ]


def _review(desk: Desk) -> list[Route]:
    return [
        *desk.route("review.queue", queue.show),
        *desk.route(
            "review.submission",
            review_submission.show,
            review_submission.act,
            multi=review_submission.MULTI,
        ),
        *desk.route("review.discipline", discipline.show, discipline.act, multi=discipline.MULTI),
        *desk.route("review.run", review_run.show),
        *desk.route("review.changes", review_changes.show_list),
        *desk.route("review.change", review_changes.show, review_changes.decide),
        *desk.route("review.change_logo", held_changes.show_logo),
        *desk.route("review.reviewers", reviewers.show, reviewers.act, multi=reviewers.MULTI),
        *reviewers.CONFLICTS.routes(desk),
        *desk.route("review.lane", lane.show_list),
        *desk.route("review.access", lane.show, lane.verify),
    ]


def _developer(desk: Desk) -> list[Route]:
    return [
        *_with_others(desk, Console.DEVELOPER),
        *desk.route("developer.apps", developer_apps.show_mine),
        *desk.route("developer.register", developer_apps.show_register, developer_apps.register),
        *desk.route("developer.app", developer_apps.show_app),
        *desk.route(
            "developer.versions",
            developer_apps.show_versions,
            developer_apps.add_version,
            multi=("workflows", "placements"),
        ),
        *desk.route("developer.rules", developer_rules.show),
        *desk.route("developer.client_new", developer_clients.show_new, developer_clients.add),
        *desk.route("developer.clients", developer_clients.show_list),
        *desk.route("developer.statements", statements.show, statements.act, pictures=("logo",)),
        *desk.route("developer.runs", runs.show_list, runs.open_run),
        *desk.route("developer.run", runs.show, runs.act),
        *desk.route("developer.review", reviews.show, reviews.begin),
        *desk.route("developer.submission", developer_submission.show, developer_submission.act),
        *desk.route("developer.proposal", proposals.show, proposals.put),
        *desk.route("developer.narrow", developer_changes.show_narrow, developer_changes.narrow),
        *desk.route("developer.client_edit", developer_changes.show_edit, developer_changes.edit),
        *defects.DEVELOPER.routes(desk),
        *incidents.DEVELOPER.routes(desk),
        *desk.route("developer.transfer", transfers.show, transfers.act),
        *desk.route("developer.offer", transfers.show_offer, transfers.answer),
        *desk.route("developer.changes", developer_changes.show_list),
        *desk.route("developer.change", developer_changes.show, developer_changes.withdraw),
        *desk.route("developer.change_logo", held_changes.show_logo),
        *desk.route("developer.contacts", developer_contacts.show, developer_contacts.act),
        *desk.route("developer.deletion_request", deletion_requests.show, deletion_requests.act),
        *desk.route("developer.webhooks", webhooks.show),
        *desk.route("developer.snapshots", snapshots.show_list, snapshots.create),
        *desk.route("developer.snapshot", snapshots.show, snapshots.act),
        *desk.route("developer.team", team.show_list),
        *desk.route("developer.invite", team.show_new, team.invite),
        *desk.route("developer.waiting", approvals.show),
        *desk.route("developer.approval", approvals.show_approval, approvals.decide),
        *desk.route("developer.member", team.show, team.act),
        *desk.route("developer.scopes", developer_usage.show_scopes),
        *desk.route("developer.traffic", developer_usage.show_traffic),
        *desk.route("developer.sandbox", developer_usage.show_sandbox),
        *desk.route("developer.secret", developer_clients.show_secret, developer_clients.rotate),
    ]
