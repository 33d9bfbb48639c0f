"""Read the eligibility inputs of an app from the database, for entry points that write in the same transaction."""

from dataclasses import replace
from datetime import datetime

from hilum.apps.agreements import service as agreements
from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientFacts
from hilum.apps.clients.policy import workflows_allowed
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry import service as registry
from hilum.authorization.eligibility.models import Acting, EligibilityInputs, Party
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Subject, SwitchIndex, Target, TargetKind
from hilum.controls.switches.policy import stop_among, targets_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId, ClientId, FacilityId, TenantId, VendorId, VersionId
from hilum.identity.people import service as identity
from hilum.identity.people.models import Person, Tenant
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.policy import launch_workflow


def read(
    ctx: Context,
    tenant: TenantId,
    client: ClientId,
    person: Person | None,
    *,
    issued_at: datetime | None = None,
    facility: str | None = "",
) -> EligibilityInputs:
    """Read the eligibility inputs of a launch of a client at a tenant by a person, from a facility. See ``Party.facility``."""
    # From rows in the caller's transaction: what is written after this judgement rests on the same state.
    facts = clients.client_facts(ctx, client)
    installation = None if facts is None else installations.installation(ctx, tenant, facts.app)
    at = identity.find_tenant(ctx, tenant)
    return of_launch(ctx, at, facts, installation, person, issued_at=issued_at, facility=facility)


def of_launch(
    ctx: Context,
    tenant: Tenant | None,
    client: ClientFacts | None,
    installation: InstallationFacts | None,
    person: Person | None,
    *,
    issued_at: datetime | None = None,
    facility: str | None = "",
) -> EligibilityInputs:
    """Build the eligibility inputs of a launch from facts already read. ``person`` is None before sign-in.

    ``issued_at``: when the launch or authorization request was created.
    """
    # Missing facts become empty ids, which no fact equals: the decision refuses and nothing here has to.
    acting = Party(
        tenant=TenantId("") if tenant is None else tenant.id,
        client=ClientId("") if client is None else client.id,
        app=AppId("") if client is None else client.app,
        version=VersionId("") if client is None else client.version,
        vendor=VendorId("") if client is None else client.vendor,
        facility=facility,
    )
    acting = (
        replace(acting, role=None) if person is None else replace(acting, person=person.id, role=person.role)
    )
    return EligibilityInputs(
        acting,
        tenant,
        client,
        installation,
        _switches(ctx, acting, client),
        policies.current(ctx).book_at(acting.tenant, ctx.now, acting.app),
        # The person's own tenant is compared, so that an account of one hospital never acts at another.
        facility_open=is_open(ctx, acting.tenant, facility),
        person_active=person is None or (person.active and tenant is not None and person.tenant == tenant.id),
        issued_at=issued_at,
        launching=True,
        begins=True,
        agreements=_agreements(ctx, acting),
    )


def at_facility(ctx: Context, judged: EligibilityInputs, facility: str) -> EligibilityInputs:
    """Return the inputs with the facility of its launch, which was not known before the launch was taken."""
    acting = judged.acting
    assert isinstance(acting, Party), "a launch has no token yet"
    is_open_there = is_open(ctx, acting.tenant, facility)
    return replace(judged, acting=replace(acting, facility=facility), facility_open=is_open_there)


def for_task(judged: EligibilityInputs, intent: str, placement: str, now: datetime) -> EligibilityInputs:
    """Return the inputs with the workflow of its launch, so that one that is not approved is refused before anybody waits for it (C190)."""
    acting = judged.acting
    assert isinstance(acting, Party), "a launch has no token yet"
    if judged.client is None:
        return judged
    may = workflows_allowed(judged.book, judged.client, now)
    workflow = launch_workflow(judged.book, may, intent=intent, placement=placement)
    if not workflow and judged.installation is not None:
        workflow = judged.installation.default_workflow
    return replace(judged, acting=replace(acting, workflow=workflow))


def is_open(ctx: Context, tenant: TenantId, facility: str | None) -> bool:
    """Check whether a facility is in use at a tenant; True where none is named."""
    if not facility:
        return True
    found = identity.find_facility(ctx, FacilityId(facility))
    return found is not None and found.is_open and found.tenant == tenant


def of_token(ctx: Context, token: Acting, *, issued_at: datetime) -> EligibilityInputs:
    """Read the eligibility inputs of a client that acts without a person, with a token."""
    # No person, so no role; `launching` stays False, since a token that was issued before NO_NEW_LAUNCHES keeps working.
    client = clients.client_facts(ctx, token.client)
    return EligibilityInputs(
        token,
        identity.find_tenant(ctx, token.tenant),
        client,
        installations.installation(ctx, token.tenant, token.app),
        _switches(ctx, token, client),
        policies.current(ctx).book_at(token.tenant, ctx.now, token.app),
        issued_at=issued_at,
    )


def _agreements(ctx: Context, acting: Acting) -> frozenset[str]:
    # Without a client there is no vendor: the decision refuses before it looks at agreements.
    return agreements.kinds_in_force(ctx, acting.vendor, acting.tenant) if acting.vendor else frozenset()


def _switches(ctx: Context, acting: Acting, client: ClientFacts | None) -> SwitchIndex:
    """Read the switches on all targets that the decision checks, on both versions if the client adopted another since the token."""
    # Only the targets of this party are read. Switches on scopes are judged where scopes are: at the token
    # endpoint and the gateway.
    versions = {acting.version, acting.version if client is None else client.version}
    targets = dict.fromkeys(
        target
        for version in sorted(versions)
        for target in targets_of(Subject(acting.tenant, acting.vendor, acting.app, version, acting.person))
    )
    return controls.stops_on(ctx, tuple(targets))


def is_app_stopped(ctx: Context, app: AppId) -> bool:
    """Check whether a full stop on an app, or on its vendor, is engaged now."""
    found = registry.read_apps(ctx, [app]).get(app)
    on = [Target(TargetKind.APP, app)]
    if found is not None:
        on.append(Target(TargetKind.VENDOR, found.vendor))
    return stop_among(controls.stops_on(ctx, tuple(on)), on, now=ctx.now, issued_at=None) is not None
