"""Register vendors, apps and versions; certify versions; suspend and resume apps."""

from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial

from hilum.apps.registry import creation, policy, store
from hilum.apps.registry.calls import read_calls, reading_of_calls
from hilum.apps.registry.certified import certifications_of, read_certified
from hilum.apps.registry.creation import (
    add_certification,
    add_single_tenant_app,
    announce_change,
    lock_as_read,
)
from hilum.apps.registry.delta_reviews import (
    in_force,
    list_delta_reviews,
    note_delta_reviews,
    note_finding_reviews,
    note_next_reviews,
    note_use_reviews,
)
from hilum.apps.registry.exceptions import (
    CARRY_OUT,
    ask_exception,
    assess_version,
    end_exception,
    excess_certified,
)
from hilum.apps.registry.grace import grace_of
from hilum.apps.registry.held import (
    Barred,
    HeldEdits,
    HeldKind,
    decide_applied,
    get_for_approval,
    hold,
    record_applied,
    refuse_held,
)
from hilum.apps.registry.held_store import HeldRows, held_table
from hilum.apps.registry.models import (
    APPS_BOUND,
    EXPIRED_BATCH,
    NAMED_BOUND,
    App,
    AppState,
    AppVersion,
    Certification,
    CertifyOrder,
    Environment,
    MovedCertification,
    NewApp,
    NewVendor,
    NewVersion,
    Profile,
    Vendor,
)
from hilum.apps.registry.profiles import missing_metadata, profile_faults
from hilum.apps.registry.queries import (
    app_names,
    apps_of_vendors,
    browse_apps,
    find_vendors,
    list_apps,
    list_certifications,
    list_vendors,
    list_versions,
    read_profiles,
    suspension_of,
    vendor_names,
    view_app,
    view_profile,
)
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from hilum.foundation.kernel.ids import AppId, TenantId, VendorId, VersionId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.standards import names
from hilum.identity.people import service as identity
from hilum.identity.people.models import VendorRight
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import GRACE_DAYS_BOUND, PROOFS
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

__all__ = [
    "CARRY_OUT",
    "Barred",
    "HeldEdits",
    "HeldKind",
    "HeldRows",
    "add_certification",
    "add_single_tenant_app",
    "announce_change",
    "app_names",
    "apps_of_vendors",
    "ask_exception",
    "assess_version",
    "browse_apps",
    "certifications_of",
    "decide_applied",
    "end_exception",
    "excess_certified",
    "find_vendors",
    "get_for_approval",
    "grace_of",
    "held_table",
    "hold",
    "in_force",
    "list_apps",
    "list_certifications",
    "list_delta_reviews",
    "list_vendors",
    "list_versions",
    "lock_as_read",
    "note_finding_reviews",
    "note_next_reviews",
    "note_use_reviews",
    "read_calls",
    "read_certified",
    "read_profiles",
    "reading_of_calls",
    "record_applied",
    "refuse_held",
    "suspension_of",
    "vendor_names",
    "view_app",
    "view_profile",
]
Ended = Callable[[Context, AppId, str], None]
"""Called when an app has lost its last certification, with that certification."""


Unproved = Callable[[Context, VendorId], Collection[str]]
"""Returns what a vendor has not proved, or let lapse, of ``PROOFS``."""


def all_unproved(_: Context, __: VendorId) -> Collection[str]:
    """Return every proof: who does not look counts as having found none."""
    return PROOFS


Justified = Callable[[Context, AppVersion, Environment], Collection[str]]
"""Returns the scopes of a version for which its vendor wrote a justification."""


_DISCIPLINES_DECIDE = "Versions are certified by hand for sandboxes only. For production, the vendor submits the version (`hilum review submit`), and a reviewer decides once its disciplines have passed (`hilum review decide`)."


def ignored(_: Context, __: AppId, ___: str) -> None:
    """Do nothing."""


def add_vendor(ctx: Context, order: NewVendor) -> Vendor:
    """Add a vendor. Raises NotPermitted, Invalid."""
    # Permission before validity in every verb of this room, so that who may not call learns nothing about what exists.
    if not policy.may_register(ctx.actor):
        raise audit.refusal(ctx, Event("registry.vendor.add"))
    faults = policy.vendor_faults(order)
    if not faults.get("name") and (fault := imitation_fault(ctx, None, order.name)):
        faults["name"] = fault
    if faults:
        raise Invalid("vendor_invalid", "The vendor is invalid; see fields.", fields=faults)
    vendor = Vendor(
        VendorId(ctx.ids.new("ven")),
        order.name.strip(),
        order.support_contact,
        order.security_contact,
        order.website,
    )
    store.VENDORS.add(ctx.tx, vendor)
    store.add_name(ctx.tx, vendor.id, vendor.name, names.forms(vendor.name))
    audit.record(ctx, Event("registry.vendor.add", facts={"vendor": vendor.id}))
    return vendor


def add_app(ctx: Context, order: NewApp) -> App:
    """Add an app of a vendor. Raises NotPermitted, Invalid, NotFound (the vendor)."""
    require_change(ctx, order.vendor, Event("registry.app.add"))
    # The database has no foreign keys, so the verb checks that the vendor exists. A vendor is deleted only
    # together with its single-tenant app.
    store.VENDORS.get(ctx.tx, order.vendor)
    books = policies.current(ctx).books()
    book = policy.judging_book(books, lambda each: policy.app_faults(order, each, ctx.actor))
    faults = policy.app_faults(order, book, ctx.actor)
    if not faults.get("name") and (fault := imitation_fault(ctx, order.vendor, order.name)):
        faults["name"] = fault
    if faults:
        raise Invalid("app_invalid", "The app is invalid; see fields.", fields=faults)
    if ctx.actor.vendor is not None and store.APPS.count(ctx.tx, vendor=order.vendor) >= APPS_BOUND:
        raise Unavailable(
            "too_many_apps", f"The vendor has {APPS_BOUND} apps already. Ask the platform's staff."
        )
    app = creation.add_app(ctx, order, None)
    store.add_name(ctx.tx, app.vendor, app.name, names.forms(app.name))
    return app


def imitation_fault(ctx: Context, vendor: VendorId | None, name: str) -> str:
    """Return the error code of a name that people would take for another vendor's, its app's, or a hospital's (C212); empty otherwise.

    The platform itself names as it must: its start-up plan furnishes hospitals and their apps together.
    """
    if ctx.actor.acts_alone:
        return ""
    others = store.list_names(ctx.tx, names.forms(name), but=vendor)
    if any(names.resembles(name, other) for other in others):
        return "name_imitates_another"
    hospitals = (tenant.name for tenant in identity.list_shared(ctx))
    return "name_imitates_a_hospital" if any(names.uses(name, each) for each in hospitals) else ""


def require_change(
    ctx: Context, vendor: VendorId, event: Event, right: VendorRight = VendorRight.APPS
) -> None:
    """Check that the actor may change a vendor's records. Raises NotPermitted, and NotFound for a member of another vendor."""
    if policy.may_change(ctx.actor, vendor, right):
        return
    if ctx.actor.vendor is not None and ctx.actor.vendor != vendor:
        raise NotFound(*_ABSENT["app" if event.app else "vendor"])
    raise audit.refusal(ctx, event)


_ABSENT = {
    "app": ("app_not_found", "There is no such app."),
    "vendor": ("vendor_not_found", "There is no such vendor."),
}


def save_profile(ctx: Context, app_id: AppId, profile: Profile) -> tuple[App, Profile]:
    """Replace what a vendor states about an app (C6); ``profile.revision`` is the one that was read.

    It may be incomplete (``profiles.missing_metadata``), not invalid or contradictory. Raises NotFound, NotPermitted, Invalid, Conflict
    (changed since it was read).
    """
    app = get_changeable(ctx, app_id, "registry.profile.save", VendorRight.PROFILE)
    if faults := profile_faults(profile):
        raise Invalid(
            "profile_invalid", "The profile is invalid or contradictory; see fields.", fields=faults
        )
    before, after = store.get_profile(ctx.tx, app.id), replace(profile, revision=profile.revision + 1)
    if not store.save_profile(ctx.tx, app.id, after):
        raise Conflict(
            "changed_since_read", "This was changed since you read it. Read it again, and repeat your change."
        )
    if asks_again := policy.changes_terms(before, after):
        app = _ask_again(ctx, app)
    facts = {"revision": after.revision, "asks_again": asks_again}
    audit.record(ctx, Event("registry.profile.save", app=app.id, facts=facts))
    return app, after


def missing_of(ctx: Context, app: App) -> tuple[str, ...]:
    """List what an app has not stated yet, without a permission check."""
    return missing_metadata(app, store.get_profile(ctx.tx, app.id))


def get_changeable(ctx: Context, app_id: AppId, action: str, right: VendorRight = VendorRight.APPS) -> App:
    """Get an app of which the actor may change what a right is about. Raises NotFound, NotPermitted."""
    event = Event(action, app=app_id)
    # Who may change no vendor's apps learns nothing about what exists.
    if not policy.may_register(ctx.actor) and ctx.actor.vendor is None:
        raise audit.refusal(ctx, event)
    app = store.APPS.get(ctx.tx, app_id)
    require_change(ctx, app.vendor, event, right)
    # A system client and a dynamic client are apps of a vendor too; whoever joined that would speak for the hospital.
    if ctx.actor.vendor is not None and app.tenant is not None:
        raise NotFound(*_ABSENT["app"])
    return app


def add_version(ctx: Context, app_id: AppId, order: NewVersion) -> AppVersion:
    """Add a version of an app, which keeps its client ids, installations and history (C5). Raises NotPermitted, Invalid, NotFound, Conflict."""
    app = get_changeable(ctx, app_id, "registry.version.add")
    if faults := policy.version_faults(order, policies.current(ctx).everywhere, app.category):
        raise Invalid("version_invalid", "The version is invalid; see fields.", fields=faults)
    version = AppVersion(
        id=VersionId(ctx.ids.new("ver")),
        app=app.id,
        label=order.label.strip(),
        created_at=ctx.now,
        workflows=order.workflows,
        placements=order.placements,
        ai_use=order.ai_use,
        optional_scopes=order.optional_scopes,
        population=order.population,
    )
    if not store.VERSIONS.add_new(ctx.tx, version):
        raise Conflict(
            "version_exists",
            "The app has a version with this label already. A version never changes: choose another label.",
        )
    facts = {
        "version": version.id,
        "workflows": list(version.workflows),
        "placements": list(version.placements),
        **({} if version.ai_use is None else {"ai_use": asdict(version.ai_use)}),
        **({} if version.population is None else {"population": version.population.value}),
        **({} if version.optional_scopes is None else {"optional_scopes": list(version.optional_scopes)}),
    }
    audit.record(ctx, Event("registry.version.add", app=app.id, facts=facts))
    return version


def certify(
    ctx: Context,
    order: CertifyOrder,
    *,
    unproved: Unproved = all_unproved,
    justified: Justified | None = None,
    barred: Barred | None = None,
) -> Certification:
    """Record that review certified a version for certain scopes until a date. Raises NotPermitted, NotFound, Invalid.

    For production it names the submission that the disciplines decided, or is the platform's own, in the regulated lane (C109). ``unproved`` says
    what the vendor has not proved, which an entry of the policy may ask for (C6, C7). ``justified`` says which scopes it justified in
    writing; None: nobody asks, as where the platform itself certifies (C64). ``barred``: None where a submission was judged by it before.
    """
    # Read before the permission is judged, because the refusal is recorded with the app that it was about.
    version = store.VERSIONS.get(ctx.tx, order.version)
    if not policy.may_certify(ctx.actor):
        raise audit.refusal(ctx, Event("registry.certification.add", app=version.app))
    if not policy.may_certify_for(ctx.actor, order):
        refused = Event("registry.certification.add", app=version.app, reason="disciplines_decide")
        raise audit.refusal(ctx, refused, _DISCIPLINES_DECIDE)
    app = store.APPS.get(ctx.tx, version.app)
    books = policies.books_asked_of(ctx, app.id)
    if barred is not None and barred(ctx, app):
        detail = (
            "You have a conflict of interest with this vendor, so a colleague must judge its submissions."
        )
        refused = Event("registry.certification.add", app=app.id, reason="conflict_of_interest")
        raise audit.refusal(ctx, refused, detail)
    missing = unproved(ctx, app.vendor)
    stated = None if justified is None else justified(ctx, version, order.environment)
    judge = partial(
        policy.certify_faults, order, app, version, now=ctx.now, missing=missing, justified=stated
    )
    book = policy.judging_book(books, judge)
    if faults := judge(book):
        detail = "The certification is invalid; see fields."
        if faults.get("version") == "proofs_missing":
            lacking = policy.lacking_proofs(order, app, version, book, missing)
            detail += f" Not proved now: {', '.join(lacking)}."
        if faults.get("scopes") == "excess_unjustified":
            lacking = policy.unjustified(order, app, version, book, stated or ())
            detail += f" Beyond the declared workflows, and not justified: {', '.join(lacking)}."
        raise Invalid("certification_invalid", detail, fields=faults)
    announce_change(ctx, app.id)
    certification = add_certification(ctx, app, version, order, book)
    note_delta_reviews(ctx, [app.id])
    return certification


def withdraw_certification(ctx: Context, certification_id: str, *, ended: Ended = ignored) -> Certification:
    """Withdraw a certification; tokens that depend on it are refused from the next snapshot on. Raises NotFound, NotPermitted, Conflict.

    ``ended`` is called within the transaction if none of the app's certifications is left.
    """
    # Read before the permission is judged, as in `certify`.
    certification = store.CERTIFICATIONS.get(ctx.tx, certification_id)
    if not policy.may_certify(ctx.actor):
        raise audit.refusal(ctx, Event("registry.certification.withdraw", app=certification.app))
    # Of two that are withdrawn at the same moment the second one finds what the first one left.
    app = store.APPS.get(ctx.tx, certification.app, lock=True)
    # One statement decides between two withdrawals.
    if not store.save_withdrawn(ctx.tx, certification.id, ctx.now):
        raise Conflict("certification_withdrawn", "This certification has already been withdrawn.")
    facts = {"certification": certification.id, "version": certification.version}
    announce_change(ctx, certification.app)
    audit.record(ctx, Event("registry.certification.withdraw", app=certification.app, facts=facts))
    left = list(store.read_certifications(ctx.tx, [certification.app]))
    grace = grace_of(ctx, app.category)
    if all(policy.last_use(each, left, grace) <= ctx.now for each in left):
        ended(ctx, certification.app, certification.id)
    return replace(certification, withdrawn_at=ctx.now)


def change_category(
    ctx: Context, app_id: AppId, category: str, reason: str
) -> tuple[App, tuple[MovedCertification, ...]]:
    """Move an app to another category, and return what that means for each of its certifications in force (C21).

    What the new category does not allow stops at the next snapshot; what only it allows is granted once it is certified there. Raises
    NotFound, NotPermitted, Invalid, Conflict.
    """
    app = store.APPS.get(ctx.tx, app_id)
    if not (policy.may_register(ctx.actor) or policy.may_certify(ctx.actor)):
        raise audit.refusal(ctx, Event("registry.app.category", app=app_id))
    book = policies.current(ctx).everywhere
    if faults := policy.category_faults(app, category, reason, book):
        raise Invalid("category_invalid", "The app cannot move to this category; see fields.", fields=faults)
    certifications = certifications_of(ctx, app.id)
    if not store.APPS.change(ctx.tx, {"category": category}, id=app.id, category=app.category):
        raise Conflict("concurrent_change", "A colleague moved the app at the same moment. Read it again.")
    versions = store.read_versions(ctx.tx, [app.id])
    moved = tuple(
        policy.moved_certification(book, app, versions[each.version], each, category)
        for each in certifications
        if each.withdrawn_at is None and ctx.now < each.expires_at
    )
    announce_change(ctx, app.id)
    note_delta_reviews(ctx, [app.id])
    facts = {
        "from": app.category,
        "to": category,
        "reason": reason,
        "certify_again": {each.certification: list(each.certify_again) for each in moved},
    }
    audit.record(ctx, Event("registry.app.category", app=app.id, facts=facts))
    return replace(app, category=category), moved


def suspend_app(ctx: Context, app_id: AppId, reason: str) -> App:
    """Suspend an app everywhere, with a reason. Raises NotFound, NotPermitted, Invalid, Conflict."""
    event = Event("registry.app.suspend", app=app_id, facts={"reason": reason})
    return _set_state(ctx, app_id, AppState.SUSPENDED, event)


def resume_app(ctx: Context, app_id: AppId, reason: str) -> App:
    """End an app's suspension, with a reason. Raises NotFound, NotPermitted, Invalid, Conflict."""
    event = Event("registry.app.resume", app=app_id, facts={"reason": reason})
    return _set_state(ctx, app_id, AppState.ACTIVE, event)


def ask_again(ctx: Context, app_id: AppId, reason: str) -> App:
    """Have everybody who agreed to an app asked again at the next launch, such as after an incident (C90). Open launches continue; a switch stops them.

    Raises NotFound, NotPermitted, Invalid.
    """
    event = Event("registry.app.ask_again", app=app_id, facts={"reason": reason})
    app = _require_stoppable(ctx, app_id, event)
    after = _ask_again(ctx, app)
    audit.record(ctx, event)
    return after


def _ask_again(ctx: Context, app: App) -> App:
    store.APPS.change(ctx.tx, {"ask_again_since": ctx.now}, id=app.id)
    announce_change(ctx, app.id)
    return replace(app, ask_again_since=ctx.now)


def change_owner(ctx: Context, app: App, to: VendorId) -> App:
    """Make an app another vendor's; the caller has checked that both agree (C14).

    Everything issued to it before ends, and its certifications are withdrawn: legal review is about the vendor, and starts again.
    Raises Conflict (transferred meanwhile).
    """
    after = replace(app, vendor=to, owner_since=ctx.now, active_since=ctx.now)
    if not store.save_owner(ctx.tx, after, app.vendor):
        raise Conflict("changed_since_read", "This app was transferred meanwhile. Read it again.")
    store.move_name(ctx.tx, after, app.vendor, names.forms(app.name))
    withdrawn = store.save_all_withdrawn(ctx.tx, app.id, ctx.now)
    announce_change(ctx, app.id)
    facts = {"from": app.vendor, "to": to, "certifications_withdrawn": withdrawn}
    audit.record(ctx, Event("registry.app.change_owner", app=app.id, facts=facts))
    return after


def read_versions(ctx: Context, of: Collection[AppId] | None) -> dict[VersionId, AppVersion]:
    """Read the versions of some apps (None: of all) by id."""
    return store.read_versions(ctx.tx, of)


def read_apps(ctx: Context, of: Collection[AppId] | None) -> dict[AppId, App]:
    """Read some apps (None: all) by id."""
    return store.read_apps(ctx.tx, of)


def list_owned_since(ctx: Context, vendor: VendorId, since: datetime) -> list[AppId]:
    """List every app that may have been a vendor's at some time since: its own, and all that changed owners since. No permission check."""
    return store.list_owned_since(ctx.tx, vendor, since)


def list_expired(ctx: Context, since: datetime, after: str) -> list[Certification]:
    """List certifications whose end, and grace, may have come since a moment, by id, at most a batch, for the platform itself.

    They may not be as they were signed. With the longest grace that a policy may state: one that was in force may have been shortened since.
    """
    longest = timedelta(days=GRACE_DAYS_BOUND)
    return store.list_expired(ctx.tx, since - longest, ctx.now, after, EXPIRED_BATCH)


def list_of_vendor(ctx: Context, vendor: VendorId, limit: int) -> list[App]:
    """List a vendor's first apps by id, for the platform itself, without a permission check."""
    return store.list_apps(ctx.tx, of=vendor, page=PageQuery("", limit))


def find_apps_named(ctx: Context, named: str) -> list[App]:
    """Find apps by id or exact name, without a permission check; ``NAMED_BOUND`` at most."""
    return store.find_apps_named(ctx.tx, named, NAMED_BOUND)


def find_vendors_named(ctx: Context, named: str) -> list[Vendor]:
    """Find vendors by id or exact name, without a permission check; ``NAMED_BOUND`` at most."""
    return store.find_vendors_named(ctx.tx, named, NAMED_BOUND)


def find_versions(ctx: Context, of: Collection[VersionId]) -> list[AppVersion]:
    """Find some versions by their ids, without a permission check."""
    return store.VERSIONS.among(ctx.tx, "id", of)


def find_versions_named(ctx: Context, of: Collection[AppId], label: str) -> list[AppVersion]:
    """Find the versions of some apps by their label, without a permission check."""
    return store.VERSIONS.among(ctx.tx, "app", of, label=label)


def list_apps_of(ctx: Context, tenant: TenantId) -> list[AppId]:
    """List the apps that exist only at this tenant."""
    return store.list_apps_of(ctx.tx, tenant)


def delete_apps(ctx: Context, of: Collection[AppId]) -> list[App]:
    """Delete apps that exist at only one tenant, with vendor, versions and certifications, and return them."""
    deleted = list(store.read_apps(ctx.tx, of).values())
    store.delete_apps(ctx.tx, of)
    for app in deleted:
        announce_change(ctx, app.id)
    return deleted


def get_app(ctx: Context, app_id: AppId) -> App:
    """Get an app. Raises NotFound."""
    return store.APPS.get(ctx.tx, app_id)


def get_version(ctx: Context, version_id: VersionId) -> AppVersion:
    """Get a version of an app. Raises NotFound."""
    return store.VERSIONS.get(ctx.tx, version_id)


def get_vendor(ctx: Context, vendor_id: VendorId) -> Vendor:
    """Get a vendor. Raises NotFound."""
    return store.VENDORS.get(ctx.tx, vendor_id)


def _require_stoppable(ctx: Context, app_id: AppId, event: Event) -> App:
    """Get an app that the actor may suspend, for a reason. Raises NotFound, NotPermitted, Invalid."""
    app = store.APPS.get(ctx.tx, app_id)
    if not policy.may_suspend(ctx.actor):
        raise audit.refusal(ctx, Event(event.action, app=app_id))
    if fault := policy.reason_fault(event.facts["reason"]):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    return app


def _set_state(ctx: Context, app_id: AppId, state: AppState, event: Event) -> App:
    app = _require_stoppable(ctx, app_id, event)
    # What was issued before a suspension stays invalid after it: the app counts as active only since now.
    since = ctx.now if state is AppState.ACTIVE else app.active_since
    after = replace(app, state=state, active_since=since)
    # Two people who suspend at the same moment: the second gets a conflict and no second event.
    if not store.save_app_state(ctx.tx, after):
        raise Conflict("app_state_unchanged", f"The app is already {state.value}.")
    announce_change(ctx, app.id)
    audit.record(ctx, event)
    return after
