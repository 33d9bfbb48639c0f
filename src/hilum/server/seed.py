"""Seeds a sandbox once, through the modules' services: hospitals, people, apps, charts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import (
    BackendUse,
    ClientMetadata,
    ClientType,
    Deployment,
    NewClient,
    NewSystemClient,
)
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import (
    App,
    AppVersion,
    CertifyOrder,
    Environment,
    NewApp,
    NewVendor,
    NewVersion,
)
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Quota
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.database_clock import steady
from hilum.foundation.infra.settings import Settings
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.foundation.kernel.ports import Ids
from hilum.foundation.web.urls import Urls
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, Tenant, UpstreamKind, UpstreamRef
from hilum.identity.signin import live as passwords
from hilum.identity.signin import service as signin
from hilum.policy.matrix.exception_models import Population
from hilum.policy.matrix.models import NOT_DECLARED, Discipline
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose
from hilum.review.submissions import service as review
from hilum.server import furnishing
from hilum.server.bootstrap import open_uow
from hilum.server.embedded_servers import EmbeddedServers
from hilum_ehr.sandbox.clients import AppPlan, ClientPlan, Plan, plan
from hilum_ehr.sandbox.credentials import FILE_NAME, CredentialsFile
from hilum_ehr.synthesis.hospital import describe, synthesize
from hilum_ehr.synthesis.models import HospitalPlan
from hilum_ehr.synthesis.policy import hospitals

# Fixed, so that every sandbox has the same people and charts.
SEED = 20260302
CERTIFIED_FOR = timedelta(days=365)
BACKEND_FOR = timedelta(days=180)
API_TOKEN_FOR = timedelta(days=90)
CHART_SHARE = 0.8
"""Share of the progress that is spent on loading charts."""
SUITES = "bench"
SUITE_QUOTA = Quota(rate_per_s=500.0, burst=5_000)
PASSWORD_BYTES = 15
VENDORS_NAMED = 50
PUBLISHED = (
    "This data was seeded with the passwords published in the source, so it cannot be opened to strangers. Run `make clean`, "
    "or set HILUM_DATA_DIR and HILUM_DATABASE_URL to others, and seed with HILUM_SANDBOX_PUBLIC=1: each account then gets its own password."
)
Progress = Callable[[float], None]


def carry_out(settings: Settings, *, progress: Progress = lambda _share: None) -> bool:
    """Seed an empty sandbox; return False if it was seeded already. ``progress`` is called with shares from 0 to 1.

    The control plane is seeded in one transaction at the end, so that an interrupted run can simply be repeated.
    """
    clock, ids = steady(settings.database_url, SystemClock()), SystemIds()
    uow = open_uow(settings, clock, ids, "seed")
    try:
        # A tenant is the sign of a finished seed: all of them are added in the one transaction at the end.
        if uow.read_now(lambda ctx: bool(identity.list_tenants(ctx)), actor=SYSTEM, trace=_trace(ids)):
            progress(1.0)
            return False
        plans, credentials_file = hospitals(), CredentialsFile(public=settings.sandbox_public)
        if credentials_file.public:
            credentials_file.passwords = {
                f"{tenant}/{username}": ids.secret(PASSWORD_BYTES)
                for tenant, username, _ in published_accounts(settings)
            }
        _load_charts(settings, plans, credentials_file, progress)
        # Before the transaction: argon2 for a hundred accounts
        # takes seconds, in which nobody else could write.
        digests = _hash_passwords(settings, credentials_file, ids)
        progress(0.9)
        _register(uow, settings, plans, credentials_file, digests)
        progress(1.0)
        return True
    finally:
        uow.close()


def _trace(ids: Ids) -> Trace:
    return Trace(ids.new("req"), source="seed")


def _load_charts(
    settings: Settings, plans: tuple[HospitalPlan, ...], credentials_file: CredentialsFile, progress: Progress
) -> None:
    for at, hospital in enumerate(plans):
        # Left by an interrupted run: the control plane is empty, so nothing refers to these charts.
        for leftover in (settings.data_dir / "fhir").glob(f"{hospital.tenant}.db*"):
            leftover.unlink()
        charts, groups = _load(settings, hospital)
        credentials_file.charts[hospital.tenant], credentials_file.groups[hospital.tenant] = charts, groups
        # Packed before any app can have written there.
        furnishing.pack_template(settings.data_dir, settings.data_dir, hospital, charts, groups)
        progress(CHART_SHARE * (at + 1) / len(plans))


def _load(settings: Settings, hospital: HospitalPlan) -> tuple[list[dict[str, Any]], list[str]]:
    """Load a hospital's records; return its charts and the ids of its groups."""
    clock, ids = SystemClock(), SystemIds()
    servers = EmbeddedServers(settings, Urls(settings.base_url, settings.sandbox_url), clock, ids)
    today = clock.now().date()
    resources = synthesize(hospital, seed=SEED, today=today)
    server = servers.server(TenantId(hospital.tenant))
    server.load(resources)
    server.close()
    charts = [
        {
            "id": chart.id,
            "name": chart.name,
            "notable": chart.notable,
            "encounters": list(chart.encounters),
        }
        for chart in describe(hospital, seed=SEED, today=today)
    ]
    return charts, [each["id"] for each in resources if each["resourceType"] == "Group"]


def make_templates(settings: Settings, *, progress: Progress = lambda _share: None) -> None:
    """Create the missing templates of snapshots, in a sandbox that an older release seeded or after a restore."""
    missing = [each for each in hospitals() if not furnishing.has_template(settings.data_dir, each.tenant)]
    for at, hospital in enumerate(missing, 1):
        # Loaded into a folder of its own: apps may have written to the hospital itself.
        with TemporaryDirectory(dir=settings.data_dir) as folder:
            charts, groups = _load(replace(settings, data_dir=Path(folder)), hospital)
            furnishing.pack_template(settings.data_dir, Path(folder), hospital, charts, groups)
        progress(at / len(missing))
    progress(1.0)


def published_accounts(settings: Settings) -> list[tuple[str, str, str]]:
    """List (place, username, password) of every account published in the source. A place is a tenant, empty for staff, or ``vendor:<slug>``."""
    people = [
        (hospital.tenant, member.username, member.password)
        for hospital in hospitals()
        for member in hospital.cast
    ]
    planned = plan(settings.sandbox_url)
    staff = [("", member.username, member.password) for member in planned.staff]
    return people + staff + [(member.place, member.username, member.password) for member in planned.members]


def stored_digests(ctx: Context, settings: Settings) -> list[tuple[str, str]]:
    """List (stored digest, published password) of the existing accounts. The caller compares them: argon2 is too slow for a transaction."""
    digests = []
    vendors = _vendor_places(ctx, plan(settings.sandbox_url))
    for place, username, password in published_accounts(settings):
        tenant = vendors.get(place, "") if place.startswith("vendor:") else place
        if place and not tenant:
            continue
        person = identity.find_person_by_username(ctx, TenantId(tenant) if tenant else None, username)
        digest = None if person is None else signin.password_digest(ctx, person.id)
        if digest is not None:
            digests.append((digest, password))
    return digests


def _vendor_places(ctx: Context, planned: Plan) -> dict[str, str]:
    """Return the ids of the vendors with planned members, by the members' place."""
    # By name and not from the credentials file, which may be missing while the accounts exist.
    names = {each.slug: each.name for each in planned.vendors}
    return {
        member.place: id_
        for member in planned.members
        for id_, name in registry.find_vendors(ctx.as_actor(SYSTEM), names[member.vendor], VENDORS_NAMED)
        if name == names[member.vendor]
    }


def require_unpublished(stored: list[tuple[str, str]]) -> None:
    """Raise NotPermitted if an account still has its published password, in a sandbox that strangers may use."""
    if any(passwords.verify_password_now(digest, password) for digest, password in stored):
        raise NotPermitted("published_credentials", PUBLISHED)


def _hash_passwords(
    settings: Settings, credentials_file: CredentialsFile, ids: Ids
) -> dict[tuple[str, str], str]:
    """Hash every password; done before the transaction, because argon2 is slow."""
    return {
        (tenant, name): passwords.hash_password_now(credentials_file.password(tenant, name, published), ids)
        for tenant, name, published in published_accounts(settings)
    }


def _register(
    uow: UnitOfWork,
    settings: Settings,
    plans: tuple[HospitalPlan, ...],
    credentials_file: CredentialsFile,
    digests: dict[tuple[str, str], str],
) -> None:
    registered = plan(settings.sandbox_url)

    def verb(ctx: Context) -> None:
        for hospital in plans:
            _add_hospital(ctx, hospital, settings.sandbox_url, digests)
        _add_staff(ctx, registered, credentials_file, digests)
        _add_apps(ctx, registered, credentials_file)
        _add_members(ctx, registered, credentials_file, digests)
        _add_system_clients(ctx, registered, credentials_file)
        keys.ensure(ctx, Purpose.CHECKPOINT, "")
        # Before the commit: a crash in between leaves a file that the next run overwrites. The
        # other order would leave accounts whose passwords nobody has.
        credentials_file.save(settings.data_dir / FILE_NAME)

    uow.write_now(verb, actor=SYSTEM, trace=_trace(uow.ids))


def _add_hospital(
    ctx: Context, hospital: HospitalPlan, sandbox_url: str, digests: dict[tuple[str, str], str]
) -> None:
    tenant = TenantId(hospital.tenant)
    upstream = UpstreamRef(UpstreamKind.EMBEDDED)
    identity.add_tenant(
        ctx, Tenant(tenant, hospital.name, upstream, ehr_origins=(sandbox_url,), sandbox=True)
    )
    keys.ensure(ctx, Purpose.ID_TOKEN, tenant)
    for member in hospital.cast:
        patients = tuple(filter(None, (member.patient, *member.proxies)))
        order = NewPerson(tenant, member.username, member.name, member.role.value, member.fhir_user, patients)
        person = identity.add_person(ctx, order)
        signin.set_password(ctx, person.id, digests[hospital.tenant, member.username])


def _add_staff(
    ctx: Context, registered: Plan, credentials_file: CredentialsFile, digests: dict[tuple[str, str], str]
) -> None:
    for staff in registered.staff:
        person = identity.add_person(ctx, NewPerson(None, staff.username, staff.name, staff.role))
        signin.set_password(ctx, person.id, digests["", staff.username])
        if staff.disciplines:
            review.change_rights(ctx, person.id, tuple(map(Discipline, staff.disciplines.split())))
        credentials_file.api_tokens[staff.username] = _api_token(ctx, person.id)


def _api_token(ctx: Context, person: PersonId) -> str:
    _, secret = signin.create_api_token(ctx, person, life=API_TOKEN_FOR, name="sandbox card")
    return secret


def _add_apps(ctx: Context, registered: Plan, credentials_file: CredentialsFile) -> None:
    vendors = {
        vendor.slug: registry.add_vendor(
            ctx, NewVendor(vendor.name, vendor.support_contact, vendor.security_contact, vendor.website)
        )
        for vendor in registered.vendors
    }
    credentials_file.vendors = {slug: vendor.id for slug, vendor in vendors.items()}
    for planned in registered.apps:
        vendor = vendors[planned.vendor]
        order = NewApp(vendor.id, planned.name, planned.description, planned.purpose, planned.category)
        app = registry.add_app(ctx, order)
        version = registry.add_version(ctx, app.id, _version(planned))
        for client in planned.clients:
            _add_client(ctx, app, version, client, credentials_file)
        _certify_and_install(ctx, app, version, planned)


def _add_members(
    ctx: Context, registered: Plan, credentials_file: CredentialsFile, digests: dict[tuple[str, str], str]
) -> None:
    for member in registered.members:
        place = TenantId(credentials_file.vendors[member.vendor])
        person = identity.add_person(ctx, NewPerson(place, member.username, member.name, member.role))
        signin.set_password(ctx, person.id, digests[member.place, member.username])


def _version(planned: AppPlan) -> NewVersion:
    return NewVersion(
        planned.version,
        NOT_DECLARED if planned.workflows is None else planned.workflows,
        NOT_DECLARED if planned.placements is None else planned.placements,
        population=Population(planned.population) if planned.population else None,
    )


def _add_client(
    ctx: Context, app: App, version: AppVersion, client: ClientPlan, credentials_file: CredentialsFile
) -> None:
    use = client.backend_use
    metadata = ClientMetadata(
        name=client.name,
        type=ClientType(client.kind.value),
        deployment=Deployment(client.deployment.value),
        environment=Environment.SANDBOX,
        redirect_uris=client.redirect_uris,
        launch_uri=client.launch_url,
        origins=client.origins,
        scopes=client.scopes,
        jwks=credentials_file.make_keys(client.client_id) if client.is_keyed else None,
        expires_at=ctx.now + BACKEND_FOR if use else None,
        backend_use=BackendUse(use.purpose, use.population, use.schedule, use.approver) if use else None,
    )
    _, secret = clients.add_client(ctx, NewClient(app.id, version.id, metadata, client.client_id))
    if secret:
        credentials_file.client_secrets[client.client_id] = secret


def _certify_and_install(ctx: Context, app: App, version: AppVersion, planned: AppPlan) -> None:
    registry.certify(
        ctx, CertifyOrder(version.id, Environment.SANDBOX, planned.scopes, ctx.now + CERTIFIED_FOR)
    )
    _widen_quotas(ctx, app, planned)
    roles = frozenset(role.value for role in planned.roles)
    for tenant in planned.tenants:
        installations.install(ctx, InstallOrder(TenantId(tenant), app.id, roles))


def _widen_quotas(ctx: Context, app: App, planned: AppPlan) -> None:
    """Raise the quota of the test suites' apps, so that it does not slow them down."""
    if planned.vendor == SUITES:
        for tenant in planned.tenants:
            controls.set_quota(ctx, app.id, tenant, SUITE_QUOTA)


def _add_system_clients(ctx: Context, registered: Plan, credentials_file: CredentialsFile) -> None:
    system_clients = [(ClientType.EHR, system_client) for system_client in registered.ehr_clients]
    system_clients += [
        (ClientType.RESOURCE_SERVER, system_client) for system_client in registered.resource_servers
    ]
    for kind, system_client in system_clients:
        _, secret = clients.add_system_client(
            ctx,
            NewSystemClient(
                TenantId(system_client.tenant), kind, system_client.name, system_client.client_id
            ),
        )
        credentials_file.client_secrets[system_client.client_id] = secret
