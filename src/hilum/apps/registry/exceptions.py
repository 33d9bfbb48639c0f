"""The tier of a version, and exceptions: what the policy says otherwise of one app until a moment (C19, C23, C207).

A reviewer raises a tier alone, since that only removes access. What loosens something takes two people and has an end.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from hilum.apps.registry import policy, store
from hilum.apps.registry.delta_reviews import note_delta_reviews
from hilum.apps.registry.held import Barred
from hilum.apps.registry.models import App, AppVersion
from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.controls.switches.policy import administers
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId, PersonId, TenantId, VersionId
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
from hilum.policy.matrix.policy import (
    as_of,
    assess,
    excess_scopes,
    may_waive,
    raising_rules,
    title_of,
    writes,
)
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

ASK, END = "policies.exception.ask", "policies.exception.end"


def assess_version(ctx: Context, version_id: VersionId) -> tuple[AppVersion, Assessment]:
    """Return the tier of a version with all scopes for which it is certified now, by the policy everywhere, and why.

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


# --- asking --------------------------------------------------------------------------------------------------------------------


def ask_exception(ctx: Context, order: ExceptionOrder) -> PolicyException | Asked:
    """Make an exception if it only removes access, and otherwise ask a second person to agree to it.

    Raises NotFound, NotPermitted, Invalid, Conflict (there is such an exception), Unavailable.
    """
    app = _app_of(ctx, order)
    order = replace(order, app=app.id, reason=order.reason.strip(), control=order.control.strip())
    if not _may_ask(ctx.actor, order):
        raise audit.refusal(ctx, _event(order))
    if order.tenant is not None:
        identity.get_tenant(ctx, order.tenant)
    if not policy.may_see_app(ctx.actor, app):
        raise NotFound("app_not_found", "There is no such app.")
    if order.kind.loosens and ctx.actor.acts_alone:
        detail = "An exception takes two people. Use the API."
        raise audit.refusal(ctx, replace(_event(order), reason="takes_two_people"), detail)
    before = _judged(ctx, app, order)
    if not order.kind.loosens:
        return _added(ctx, order, before, owner=str(ctx.actor), agreed_by="")
    asked = asdict(order) | {"ends_at": order.ends_at and order.ends_at.isoformat()}
    target = order.version or order.app
    approval = identity.ask(ctx, Act(ApprovalKind.EXCEPTION, order.tenant, target, asked, dict(before)))
    event = _event(order)
    facts = {"version": order.version or "", "kind": order.kind.value, "approval": approval.id}
    audit.record(ctx, replace(event, facts=facts))
    return Asked(approval)


def _event(order: ExceptionOrder) -> Event:
    return Event(ASK, app=order.app, tenant=order.tenant or "")


def _may_ask(actor: Actor, order: ExceptionOrder) -> bool:
    """Check whether an actor may ask for an exception. Pure."""
    match order.kind:
        case ExceptionKind.RAISED_TIER:
            return policy.may_certify(actor)
        case ExceptionKind.AUTONOMOUS_WRITES:
            return order.tenant is not None and administers(actor, order.tenant)
        case _:
            return policy.may_register(actor)


def _app_of(ctx: Context, order: ExceptionOrder) -> App:
    """Return the app of an order. Raises NotFound, Invalid (it names the wrong one of app and version)."""
    of_app = order.kind is ExceptionKind.WAIVED_REQUIREMENT
    if of_app != (order.version is None):
        field = "version"
        detail = "A requirement is waived for an app, and everything else is of one of its versions."
        raise Invalid("exception_invalid", detail, fields={field: "not_expected" if of_app else "missing"})
    if order.version is None:
        return store.APPS.get(ctx.tx, order.app)
    return store.APPS.get(ctx.tx, store.VERSIONS.get(ctx.tx, order.version).app)


def _judged(ctx: Context, app: App, order: ExceptionOrder) -> Mapping[str, Any]:
    """Check an order, and return what it is about, as the second person sees it. Raises Invalid, Conflict, Unavailable."""
    match order.kind:
        case ExceptionKind.WAIVED_REQUIREMENT:
            return _judged_requirement(ctx, app, order)
        case ExceptionKind.AUTONOMOUS_WRITES:
            return _judged_writes(ctx, order)
        case _:
            return _judged_tier(ctx, app, order)


def _judged_tier(ctx: Context, app: App, order: ExceptionOrder) -> Mapping[str, Any]:
    assert order.version is not None, "a tier is of a version"
    version, book = store.VERSIONS.get(ctx.tx, order.version), _book(ctx)
    raises = order.kind is ExceptionKind.RAISED_TIER
    # A raise is compared with the tier without scopes: the least that each of them has. A version some of whose scopes are of that tier
    # anyway can be raised, since the others rise.
    scopes = () if raises else _certified(ctx, version)
    computed = assess(replace(book, raised={}), policy.applicant_of(app, version, scopes))
    faults = {"tenant": "not_expected"} if order.tenant is not None else {}
    rules: frozenset[str] = frozenset()
    if order.tier not in set(Tier):
        faults["tier"] = "not_an_option"
    elif raises:
        faults |= {} if Tier(order.tier).rank > computed.tier.rank else {"tier": "tier_not_raised"}
    else:
        rules = raising_rules(computed, Tier(order.tier))
        faults |= {} if rules else {"tier": "tier_not_lowered"}
        faults |= {"version": "tier_raised"} if version.id in book.raised else {}
    policies.require_exception(ctx, order, book, faults)
    return {
        "computed": computed.tier.value,
        "sentence": str(computed),
        "category": app.category,
        "rules": sorted(rules),
        "book_digest": book.digest,
    }


def _judged_writes(ctx: Context, order: ExceptionOrder) -> Mapping[str, Any]:
    assert order.version is not None, "writes are of a version"
    assert order.tenant is not None, "autonomous writes are of one hospital"
    version = store.VERSIONS.get(ctx.tx, order.version)
    alone = version.ai_use is not None and version.ai_use.autonomy is Autonomy.ACTS_ALONE
    book = policies.current(ctx).book_at(order.tenant, ctx.now)
    policies.require_exception(ctx, order, book, {} if alone else {"version": "not_autonomous"})
    return {
        "ai_use": None if version.ai_use is None else asdict(version.ai_use),
        "writes": list(writes(_certified(ctx, version))),
    }


def _judged_requirement(ctx: Context, app: App, order: ExceptionOrder) -> Mapping[str, Any]:
    book = _book(ctx)
    category = book.categories.get(app.category)
    entry = (
        None if category is None or order.tier not in set(Tier) else category.entries.get(Tier(order.tier))
    )
    # Review judges it once for all hospitals.
    faults = {"tenant": "not_expected"} if order.tenant is not None else {}
    if entry is None:
        faults["tier"] = "not_an_option"
    elif not may_waive(book, entry, order.requirement):
        faults["requirement"] = "requirement_not_waivable"
    policies.require_exception(ctx, order, book, faults)
    return {"category": app.category, "title": title_of(book, order.requirement)}


def _carry_out(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    """Make an exception, as the second person who agreed. Raises Conflict if what was computed is not what was shown."""
    asked = dict(approval.act.order)
    order = ExceptionOrder(
        ExceptionKind(asked["kind"]),
        AppId(asked["app"]),
        asked["reason"],
        VersionId(asked["version"]) if asked["version"] else None,
        TenantId(asked["tenant"]) if asked["tenant"] else None,
        asked["tier"],
        asked["requirement"],
        asked["control"],
        datetime.fromisoformat(asked["ends_at"]),
    )
    if not _may_ask(asker, order):
        raise NotPermitted("not_permitted", "The person who requested this exception may no longer do so.")
    before = _judged(ctx, _app_of(ctx, order), order)
    identity.require_unchanged(approval.act, dict(before))
    return CarriedOut(_added(ctx, order, before, owner=str(asker), agreed_by=str(ctx.actor)).id)


def _added(
    ctx: Context, order: ExceptionOrder, before: Mapping[str, Any], *, owner: str, agreed_by: str
) -> PolicyException:
    made = PolicyException(
        **{name: getattr(order, name) for name in ExceptionOrder.__dataclass_fields__},
        id=ctx.ids.new("exc"),
        owner=owner,
        agreed_by=agreed_by,
        starts_at=ctx.now,
        computed=before.get("computed", ""),
        category=before.get("category", ""),
        rules=tuple(before.get("rules", ())),
        title=before.get("title", ""),
        book_digest=before.get("book_digest", ""),
    )
    policies.add_exception(ctx, made)
    if made.kind is ExceptionKind.RAISED_TIER:
        note_delta_reviews(ctx, [made.app])
    return made


# --- ending --------------------------------------------------------------------------------------------------------------------


def end_exception(ctx: Context, exception_id: str, reason: str, *, barred: Barred) -> PolicyException:
    """End an exception at once. One person ends what loosens something; a raised tier another reviewer than its own, and none who is ``barred``.

    Raises NotFound, NotPermitted, Invalid, Conflict (it is over).
    """
    found = policies.get_exception(ctx, exception_id)
    if fault := policy.reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})
    if found.kind.loosens:
        return policies.end_exception(ctx, found, reason)
    _require_other_reviewer(ctx, found, barred)
    ended = policies.end_exception(ctx, found, reason)
    note_delta_reviews(ctx, [found.app])
    return ended


def _require_other_reviewer(ctx: Context, raised: PolicyException, barred: Barred) -> None:
    """Check who gives access back. Raises NotPermitted."""
    event = Event(END, app=raised.app)
    if not policy.may_certify(ctx.actor):
        raise audit.refusal(ctx, event)
    if barred(ctx, store.APPS.get(ctx.tx, raised.app)):
        detail = "You have a conflict of interest with this vendor, so a colleague must judge its tier."
        raise audit.refusal(ctx, replace(event, reason="conflict_of_interest"), detail)
    if ctx.actor.acts_alone:
        return
    # One person alone cannot raise a tier and end that again,
    if raised.owner == str(ctx.actor):
        detail = "You raised this tier, so a colleague must end it."
        raise audit.refusal(ctx, replace(event, reason="raised_by_you"), detail)
    # nor by a second account that they had added for this.
    if not identity.counts_as_one_of_two(ctx, PersonId(ctx.actor.id)):
        detail = "Your account is less than a week old, so you cannot be the second person that this needs."
        raise audit.refusal(ctx, replace(event, reason="account_too_new"), detail)


CARRY_OUT = {ApprovalKind.EXCEPTION: _carry_out}
