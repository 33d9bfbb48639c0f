"""Tiers that people set: a reviewer raises one at once, and two people lower one for a time; autonomous writes of an AI (C19, C23)."""

from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from hilum.apps.registry import policy, store
from hilum.apps.registry.creation import announce_change
from hilum.apps.registry.delta_reviews import note_delta_reviews
from hilum.apps.registry.held import Barred
from hilum.apps.registry.models import App, AppVersion, TierRaise
from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.controls.switches.policy import administers
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor, require_platform
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, PersonId, TenantId, VersionId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people import service as identity
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import (
    Assessment,
    Autonomy,
    Book,
    ExceptionKind,
    ExceptionOrder,
    PolicyException,
    Tier,
)
from hilum.policy.matrix.policy import as_of, assess, excess_scopes, raising_rules, writes
from hilum.policy.matrix.service import add_exception, require_exception
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

RAISE, END_RAISE, ASK = "registry.tier.raise", "registry.tier.end_raise", "policies.exception.ask"


def assess_version(ctx: Context, version_id: VersionId) -> tuple[AppVersion, Assessment]:
    """Return the tier of a version with all scopes for which it is certified now, by the rule book everywhere, and why.

    Raises NotFound.
    """
    version = store.VERSIONS.get(ctx.tx, version_id)
    app = store.APPS.get(ctx.tx, version.app)
    if not policy.may_see_app(ctx.actor, app):
        raise NotFound("version_not_found", "There is no such version.")
    return version, _assessed(ctx, app, version, _book(ctx))


def excess_certified(ctx: Context, version: AppVersion) -> tuple[str, ...]:
    """Return the scopes for which a version is certified now and that none of its declared workflows needs (C64)."""
    return excess_scopes(_book(ctx), version.workflows, _certified(ctx, version))


def _book(ctx: Context) -> Book:
    return as_of(policies.current(ctx).everywhere, ctx.now)


def _assessed(ctx: Context, app: App, version: AppVersion, book: Book) -> Assessment:
    return assess(book, policy.applicant_of(app, version, _certified(ctx, version)))


def _certified(ctx: Context, version: AppVersion) -> tuple[str, ...]:
    """Return the scopes of the certifications of a version that are in force."""
    found: dict[str, None] = {}
    for each in sorted(store.read_certifications(ctx.tx, [version.app]), key=lambda each: each.id):
        if each.version == version.id and each.withdrawn_at is None and ctx.now < each.expires_at:
            found |= dict.fromkeys(each.scopes)
    return tuple(found)


# --- raising -------------------------------------------------------------------------------------------------------------------


def raise_tier(ctx: Context, version_id: VersionId, tier: Tier, reason: str) -> tuple[AppVersion, Assessment]:
    """Raise the tier of a version at once, until a reviewer ends that: what the higher cell does not allow is withheld everywhere (C19).

    Raises NotFound, NotPermitted, Invalid, Conflict (raised meanwhile).
    """
    version = store.VERSIONS.get(ctx.tx, version_id)
    if not policy.may_certify(ctx.actor):
        raise audit.refusal(ctx, Event(RAISE, app=version.app))
    app = store.APPS.get(ctx.tx, version.app)
    # Without scopes: the least tier that each of them has. A version some of whose scopes are of that tier anyway can be raised, since the others rise.
    before = assess(_book(ctx), policy.applicant_of(app, version, ()))
    faults = {"reason": fault} if (fault := policy.reason_fault(reason)) else {}
    if tier.rank <= before.tier.rank:
        faults["tier"] = "tier_not_raised"
    if faults:
        detail = f"The tier cannot be raised as asked; see fields. Each of its scopes is {before}."
        raise Invalid("tier_invalid", detail, fields=faults)
    after = replace(version, raised=TierRaise(tier, reason.strip(), str(ctx.actor), ctx.now))
    _save(ctx, version, after)
    facts = {"version": version.id, "from": before.tier.value, "to": tier.value, "reason": reason}
    audit.record(ctx, Event(RAISE, app=app.id, facts=facts))
    return after, _assessed(ctx, app, after, _book(ctx))


def end_raise(
    ctx: Context, version_id: VersionId, reason: str, *, barred: Barred
) -> tuple[AppVersion, Assessment]:
    """End the raise of a version's tier, which is the computed one again. Another reviewer does it than the one who raised it, and none who is ``barred``.

    Raises NotFound, NotPermitted, Invalid, Conflict (it is not raised).
    """
    version = store.VERSIONS.get(ctx.tx, version_id)
    if not policy.may_certify(ctx.actor):
        raise audit.refusal(ctx, Event(END_RAISE, app=version.app))
    if barred(ctx, store.APPS.get(ctx.tx, version.app)):
        event = Event(END_RAISE, app=version.app, reason="tied_to_vendor")
        raise audit.refusal(ctx, event, "You have a tie to this vendor, so a colleague must judge its tier.")
    if fault := policy.reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    if version.raised is None:
        raise Conflict("tier_not_raised", "The tier of this version is not raised.")
    # Access comes back with it, so one person alone cannot raise a tier and end that again.
    if version.raised.raised_by == str(ctx.actor) and not ctx.actor.acts_alone:
        event = Event(END_RAISE, app=version.app, reason="raised_by_you")
        raise audit.refusal(ctx, event, "You raised this tier, so a colleague must end it.")
    # Nor by a second account that they had added for this.
    if not ctx.actor.acts_alone and not identity.counts_as_one_of_two(ctx, PersonId(ctx.actor.id)):
        event = Event(END_RAISE, app=version.app, reason="account_too_new")
        raise audit.refusal(
            ctx,
            event,
            "Your account is less than a week old, so you cannot be the second person that this needs.",
        )
    app, after = store.APPS.get(ctx.tx, version.app), replace(version, raised=None)
    _save(ctx, version, after)
    facts = {"version": version.id, "from": version.raised.tier.value, "reason": reason}
    audit.record(ctx, Event(END_RAISE, app=app.id, facts=facts))
    return after, _assessed(ctx, app, after, _book(ctx))


def _save(ctx: Context, before: AppVersion, after: AppVersion) -> None:
    if not store.save_raise(ctx.tx, before, after.raised):
        raise Conflict("concurrent_change", "A colleague changed the tier at the same moment. Read it again.")
    announce_change(ctx, after.app)
    note_delta_reviews(ctx, [after.app])


def list_raised(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[AppVersion]:
    """List the versions whose tier a reviewer raised, newest first; for the platform's staff. Raises NotPermitted."""
    require_platform(ctx.actor)
    return store.list_raised(ctx.tx, page)


# --- exceptions ----------------------------------------------------------------------------------------------------------------


def lower_tier(
    ctx: Context, version_id: VersionId, tier: Tier, reason: str, ends_at: datetime, *, control: str
) -> Asked:
    """Ask a second person to let a version count as of a lower tier than the computed one, until a moment (C19).

    Raises NotFound, NotPermitted, Invalid, Conflict (there is such an exception), Unavailable.
    """
    version = store.VERSIONS.get(ctx.tx, version_id)
    if not policy.may_register(ctx.actor):
        raise audit.refusal(ctx, Event(ASK, app=version.app))
    order = ExceptionOrder(
        ExceptionKind.LOWERED_TIER, version.app, version.id, None, reason, ends_at, tier.value, control
    )
    return _ask(ctx, order)


def allow_autonomous_writes(
    ctx: Context, tenant: TenantId, version_id: VersionId, reason: str, ends_at: datetime, *, control: str
) -> Asked:
    """Ask a second person of a hospital to let a version's AI write there with no person in between, until a moment (C23).

    Raises NotFound, NotPermitted, Invalid, Conflict (there is such an exception), Unavailable.
    """
    if not administers(ctx.actor, tenant):
        event = Event(ASK, tenant=tenant)
        raise audit.refusal(ctx, event, "Only an administrator of the hospital asks for this.")
    identity.get_tenant(ctx, tenant)
    version = store.VERSIONS.get(ctx.tx, version_id)
    if not policy.may_see_app(ctx.actor, store.APPS.get(ctx.tx, version.app)):
        raise NotFound("version_not_found", "There is no such version.")
    kind = ExceptionKind.AUTONOMOUS_WRITES
    return _ask(ctx, ExceptionOrder(kind, version.app, version.id, tenant, reason, ends_at, control=control))


def _ask(ctx: Context, order: ExceptionOrder) -> Asked:
    if ctx.actor.acts_alone:
        event = Event(ASK, app=order.app, tenant=order.tenant or "", reason="takes_two_people")
        raise audit.refusal(ctx, event, "An exception takes two people. Use the API.")
    before = _judged(ctx, order)
    asked = asdict(order) | {"ends_at": order.ends_at.isoformat()}
    act = Act(ApprovalKind.EXCEPTION, order.tenant, order.version, asked, before)
    approval = identity.ask(ctx, act)
    facts = {"version": order.version, "kind": order.kind.value, "approval": approval.id}
    audit.record(ctx, Event(ASK, app=order.app, tenant=order.tenant or "", facts=facts))
    return Asked(approval)


def _judged(ctx: Context, order: ExceptionOrder) -> dict[str, Any]:
    """Check an order, and return what it is about, as the second person sees it. Raises Invalid, Conflict, Unavailable."""
    version = store.VERSIONS.get(ctx.tx, order.version)
    app, found = store.APPS.get(ctx.tx, version.app), policies.current(ctx)
    if order.kind is ExceptionKind.AUTONOMOUS_WRITES:
        assert order.tenant is not None, "autonomous writes are of one hospital"
        alone = version.ai_use is not None and version.ai_use.autonomy is Autonomy.ACTS_ALONE
        faults = {} if alone else {"version": "not_autonomous"}
        require_exception(ctx, order, found.book_at(order.tenant, ctx.now), faults)
        return {
            "ai_use": None if version.ai_use is None else asdict(version.ai_use),
            "writes": list(writes(_certified(ctx, version))),
        }
    book = _book(ctx)
    computed = _assessed(ctx, app, replace(version, raised=None), book)
    rules = raising_rules(computed, Tier(order.tier))
    faults = {} if rules else {"tier": "tier_not_lowered"}
    if version.raised is not None:
        faults["version"] = "tier_raised"
    require_exception(ctx, order, book, faults)
    return {
        "computed": computed.tier.value,
        "sentence": str(computed),
        "category": app.category,
        "rules": sorted(rules),
        "book_digest": book.digest,
    }


def _carry_out(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    """Make an exception, as the second person who agreed. Raises Conflict if what was computed is not what was shown."""
    asked = dict(approval.act.order)
    order = ExceptionOrder(
        ExceptionKind(asked["kind"]),
        AppId(asked["app"]),
        VersionId(asked["version"]),
        TenantId(asked["tenant"]) if asked["tenant"] else None,
        asked["reason"],
        datetime.fromisoformat(asked["ends_at"]),
        asked["tier"],
        # One that was asked for before states none, and is asked for again.
        asked.get("control", ""),
    )
    may = policy.may_register(asker) if order.tenant is None else administers(asker, order.tenant)
    if not may:
        raise NotPermitted("not_permitted", "The person who requested this exception may no longer do so.")
    before = _judged(ctx, order)
    identity.require_unchanged(approval.act, before)
    made = PolicyException(
        id=ctx.ids.new("exc"),
        asked_by=str(asker),
        agreed_by=str(ctx.actor),
        agreed_at=ctx.now,
        computed=before.get("computed", ""),
        category=before.get("category", ""),
        rules=tuple(before.get("rules", ())),
        book_digest=before.get("book_digest", ""),
        kind=order.kind,
        app=order.app,
        version=order.version,
        tenant=order.tenant,
        reason=order.reason,
        ends_at=order.ends_at,
        tier=order.tier,
        control=order.control,
    )
    return CarriedOut(add_exception(ctx, made).id)


CARRY_OUT = {ApprovalKind.EXCEPTION: _carry_out}
