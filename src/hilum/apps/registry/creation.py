"""Steps that several verbs share. Each stores one record with its event; the caller has checked permission."""

from hilum.apps.registry import store
from hilum.apps.registry.models import (
    REGISTRY,
    App,
    AppVersion,
    Certification,
    CertifyOrder,
    NewApp,
    Vendor,
)
from hilum.apps.registry.policy import applicant_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId, VersionId
from hilum.policy.matrix.models import Book
from hilum.policy.matrix.policy import tiers_to_certify
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event


def announce_change(ctx: Context, app: AppId, *, at: TenantId | None = None) -> None:
    """Announce to every process that an app's facts changed, or those of its installation ``at`` a tenant."""
    # The key names what to read again. Without it every process would read a million installations.
    ctx.advance_epoch(REGISTRY, f"app/{app}" if at is None else f"at/{at}/{app}")


def add_app(ctx: Context, order: NewApp, tenant: TenantId | None) -> App:
    """Add an app; ``tenant``: the only tenant where it exists, if there is one."""
    app = App(
        id=AppId(ctx.ids.new("app")),
        vendor=order.vendor,
        name=order.name.strip(),
        description=order.description,
        purpose=order.purpose,
        category=order.category,
        tenant=tenant,
        created_at=ctx.now,
        active_since=ctx.now,
    )
    store.APPS.add(ctx.tx, app)
    audit.record(
        ctx,
        Event(
            "registry.app.add",
            tenant=tenant or "",
            app=app.id,
            facts={"vendor": app.vendor, "category": app.category},
        ),
    )
    return app


def add_single_tenant_app(
    ctx: Context, tenant: TenantId, name: str, purpose: str, *, category: str
) -> tuple[App, AppVersion]:
    """Add vendor, app and version of a client that exists at only one tenant."""
    # A vendor of its own: system clients of two tenants never share one, so a switch on a vendor cannot stop another hospital's EHR.
    vendor = Vendor(VendorId(ctx.ids.new("ven")), name.strip(), f"tenant:{tenant}", f"tenant:{tenant}")
    store.VENDORS.add(ctx.tx, vendor)
    app = add_app(ctx, NewApp(vendor.id, name, purpose, purpose, category), tenant)
    version = AppVersion(VersionId(ctx.ids.new("ver")), app.id, "1", ctx.now)
    store.VERSIONS.add_new(ctx.tx, version)
    return app, version


def lock_as_read(ctx: Context, app: App) -> None:
    """Lock an app, whose vendor and category the caller has read. Raises Conflict (it was moved or transferred meanwhile)."""
    held = store.APPS.get(ctx.tx, app.id, lock=True)
    if (held.vendor, held.category) != (app.vendor, app.category):
        raise Conflict("concurrent_change", "A colleague changed this app at the same moment. Read it again.")


def add_certification(
    ctx: Context, app: App, version: AppVersion, order: CertifyOrder, book: Book
) -> Certification:
    """Add a certification whose order was validated, with the tiers of its scopes by the policy that allows it.

    Raises Conflict (the app was moved or transferred meanwhile).
    """
    lock_as_read(ctx, app)
    assessments = tiers_to_certify(book, applicant_of(app, version, order.scopes))
    certification = Certification(
        id=ctx.ids.new("cert"),
        app=app.id,
        version=order.version,
        scopes=order.scopes,
        certified_by=str(ctx.actor),
        certified_at=ctx.now,
        expires_at=order.expires_at,
        environment=order.environment,
        category=app.category,
        tiers={way: assessment.tier for way, assessment in assessments.items()},
        submission=order.submission,
    )
    store.CERTIFICATIONS.add(ctx.tx, certification)
    facts: dict[str, object] = {
        "certification": certification.id,
        "version": order.version,
        "environment": order.environment.value,
        "scopes": list(order.scopes),
        "expires_at": order.expires_at.isoformat(),
        "tiers": {way.value: str(assessment) for way, assessment in assessments.items()},
    }
    if order.submission:
        facts["submission"] = order.submission
    audit.record(ctx, Event("registry.certification.add", app=app.id, facts=facts))
    return certification
