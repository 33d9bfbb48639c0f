"""Adding versions of the policy, putting them in force and taking them back; the policies in force."""

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from hilum.controls.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import (
    Conflict,
    Invalid,
    NotFound,
    NotPermitted,
    Readers,
    Unavailable,
    not_shown,
)
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.lists import and_more
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.people import service as identity
from hilum.policy.matrix import chain, first_hospitals, jurisdictions, loading, rollout, store, verification
from hilum.policy.matrix.admission import admit
from hilum.policy.matrix.comparison import changes, digest_of, observe_faults, privilege_increases
from hilum.policy.matrix.current_books import asked_of, books_asked_of, current, facts, raise_of, waived_for
from hilum.policy.matrix.document import canonical, read_book, render
from hilum.policy.matrix.dry_runs import (
    ask_dry_run,
    begin_dry_run,
    fail_dry_run,
    finish_dry_run,
    get_dry_run,
    list_dry_runs,
    next_dry_run,
    require_dry_run,
    save_progress,
)
from hilum.policy.matrix.exception_models import ExceptionKind, PolicyException
from hilum.policy.matrix.exception_service import (
    add_exception,
    end_exception,
    get_exception,
    list_exceptions,
    live_exceptions,
    require_exception,
)
from hilum.policy.matrix.exceptions import exception_fault
from hilum.policy.matrix.first_hospitals import Refusals, needs_hospitals_first, require_first
from hilum.policy.matrix.history import succession
from hilum.policy.matrix.in_force import as_of
from hilum.policy.matrix.jurisdictions import PackEligibility
from hilum.policy.matrix.loading import take_back
from hilum.policy.matrix.models import (
    APPLY_ACTION,
    IN_FORCE_BOUND,
    POLICIES,
    SHIPPED,
    TENANTS_BOUND,
    Admission,
    Applicant,
    Application,
    ApplyOrder,
    Book,
    Change,
    CurrentVersions,
    DryRun,
    Fault,
    PrivilegeIncrease,
    Verified,
    Version,
)
from hilum.policy.matrix.product_models import ScopeProduct
from hilum.policy.matrix.products import custom_finding, notice_faults
from hilum.policy.matrix.rollout import may_change, may_read
from hilum.policy.matrix.shipped import shipped_book
from hilum.policy.matrix.soundness import pack_faults
from hilum.records.audit import service as audit
from hilum.records.audit.models import CountedTraffic, Event
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose

__all__ = [
    "PackEligibility",
    "add_exception",
    "ask_dry_run",
    "asked_of",
    "begin_dry_run",
    "books_asked_of",
    "canonical",
    "changes",
    "current",
    "end_exception",
    "facts",
    "fail_dry_run",
    "finish_dry_run",
    "get_dry_run",
    "get_exception",
    "list_dry_runs",
    "live_exceptions",
    "may_change",
    "may_read",
    "needs_hospitals_first",
    "next_dry_run",
    "privilege_increases",
    "raise_of",
    "read_book",
    "render",
    "require_exception",
    "save_progress",
    "succession",
    "take_back",
    "waived_for",
]
_FAULTS_SHOWN = 3
UNREAD = "the whole book"
"""The path of what is treated as new where nobody can tell what was allowed."""


# --- versions ------------------------------------------------------------------------------------------------------------------


def validate(ctx: Context, document: Mapping[str, Any]) -> tuple[Book | None, tuple[Fault, ...]]:
    """Validate a document, as of today: the policy, or None with everything that is wrong. Raises NotPermitted."""
    if not ctx.actor.is_platform:
        raise _refusal(ctx, "policies.version.validate", "not_permitted", "You may not validate policies.")
    # What an observed entry was is taken from what is in force everywhere now. Any other document is added also while that is damaged.
    book, faults = read_book(document, against=lambda: as_of(current(ctx).everywhere, ctx.now))
    today = ctx.now.date()
    faults += () if book is None else (*pack_faults(book, today), *observe_faults(book, today))
    return (None, faults) if faults else (book, ())


def add_version(ctx: Context, document: Mapping[str, Any], *, base: int, note: str) -> Version:
    """Add a version, signed. It is in force nowhere until it is applied. ``base``: the version that the document was made from.

    Raises NotPermitted, NotFound (no such base), Invalid with the code of each fault by its path, Conflict.
    """
    if not may_change(ctx.actor):
        raise _refusal(
            ctx, "policies.version.add", "not_permitted", "Only a platform administrator adds versions."
        )
    if base != SHIPPED:
        store.get_version(ctx.tx, base)
    book, faults = validate(ctx, document)
    _require_sound(faults)
    assert book is not None, "a document without faults is a book"
    text = canonical(render(book)).decode()
    number = store.next_version(ctx.tx)
    version = Version(number, text, book.digest, base, note, str(ctx.actor), ctx.now)
    kid, signature = keys.sign_bytes(ctx, Purpose.POLICY, chain.version_bytes(version))
    version = replace(version, kid=kid, signature=signature)
    if not store.add_version(ctx.tx, version):
        raise Conflict("concurrent_change", "A colleague added a version at the same moment. Try again.")
    facts = {"version": number, "base": base, "digest": book.digest}
    audit.record(ctx, Event("policies.version.add", facts=facts))
    return version


def adopt_shipped(ctx: Context) -> None:
    """Make the shipped policy the first version, and put it in force, unless a version already is. For the platform itself, at start.

    From then on another release's policy changes nothing before somebody publishes it. Where a policy was in force and is gone, nothing
    is adopted: the shipped one may allow what the lost one did not.
    """
    assert ctx.actor.acts_alone, "people add versions and apply them"
    found = loading.applied(ctx)
    if found.applications or found.fault:
        return
    version = add_version(ctx, render(shipped_book()), base=SHIPPED, note="The policy that was shipped.")
    _applied(ctx, ApplyOrder(version.number, (), 0, "The first start of this platform."), agreed_by="")


def _in_words(faults: tuple[Fault, ...]) -> str:
    """Return the first faults in words."""
    sentences = " ".join(f"{fault.path}: {fault.sentence}" for fault in faults[:_FAULTS_SHOWN])
    more = f" {and_more(len(faults) - _FAULTS_SHOWN).capitalize()}." if len(faults) > _FAULTS_SHOWN else ""
    return f"The policy is not valid. {sentences}{more}"


def get_version(ctx: Context, number: int) -> tuple[Version, Book]:
    """Get a version with its policy; 0 is the one that this release ships with. Raises NotFound, NotPermitted, Unavailable."""
    found = get_signed(ctx, number)
    return found, shipped_book() if number == SHIPPED else loading.book_of(found)


def view_packs(ctx: Context, number: int) -> tuple[PackEligibility, ...]:
    """Return how a version of the policy meets the dated rules of its jurisdictions today (C181). Raises as ``get_version``."""
    return jurisdictions.eligibilities(get_version(ctx, number)[1], ctx.now.date())


def get_signed(ctx: Context, number: int) -> Version:
    """Get a version as it was signed, also one that this release cannot read. Raises NotFound, NotPermitted, Unavailable."""
    _require_reader(ctx)
    if number != SHIPPED:
        return loading.version(ctx, number)
    book = shipped_book()
    return Version(SHIPPED, canonical(render(book)).decode(), book.digest, SHIPPED, "", "", ctx.now)


def list_versions(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Version]:
    """List versions, newest first. Raises NotPermitted."""
    _require_reader(ctx)
    return store.list_versions(ctx.tx, page)


def compare(
    ctx: Context, before: int, after: int
) -> tuple[tuple[Change, ...], tuple[PrivilegeIncrease, ...]]:
    """Return what differs between two versions, and what the second allows that the first does not (C210).

    A tenant's administrator compares what is in force everywhere and at their own tenant. Raises NotPermitted, NotFound, Unavailable.
    """
    _require_reader(ctx)
    if not ctx.actor.is_platform:
        found = in_force(ctx)
        if not {before, after} <= {found.everywhere, *found.at.values()}:
            detail = "You may compare the versions that are in force everywhere and at your hospital."
            raise _refusal(ctx, "policies.version.compare", "not_permitted", detail)
    old, new = get_version(ctx, before)[1], get_version(ctx, after)[1]
    return changes(old, new), privilege_increases(old, new)


def admission_of(ctx: Context, applicant: Applicant, *, tenant: str | None, version: int | None) -> Admission:
    """Return what an app would be admitted to, by a version, or else by the policy in force at a tenant, or everywhere.

    Raises NotFound, NotPermitted, Unavailable.
    """
    _require_reader(ctx)
    if version is not None:
        return admit(as_of(get_version(ctx, version)[1], ctx.now), applicant)
    found = current(ctx)
    book = found.everywhere if tenant is None else found.book_at(TenantId(tenant), ctx.now)
    return admit(as_of(book, ctx.now), applicant)


def scope_products(ctx: Context, tenant: str | None) -> tuple[tuple[ScopeProduct, ...], str]:
    """Return the scope products in force at a tenant, or everywhere, as they are today, and the finding on custom ones. Raises NotPermitted.

    A product whose sunset is past is retired.
    """
    _require_reader(ctx)
    found = current(ctx)
    book = as_of(found.everywhere, ctx.now) if tenant is None else found.book_at(TenantId(tenant), ctx.now)
    return tuple(book.products.values()), custom_finding(book)


def _require_reader(ctx: Context) -> None:
    if not may_read(ctx.actor):
        detail = not_shown("policies", Readers.HOSPITALS).detail
        raise _refusal(ctx, "policies.version.read", "not_permitted", detail)


# --- what is in force ----------------------------------------------------------------------------------------------------------


def in_force(ctx: Context) -> CurrentVersions:
    """Return which version is in force where; to a tenant's administrator, everywhere and at their own tenant. Raises NotPermitted.

    Also where nothing is decided by it, since whoever fixes that must know what there is: then ``fault`` says why.
    """
    _require_reader(ctx)
    found = _with_fault(ctx, loading.applied(ctx))
    if ctx.actor.is_platform:
        return found
    return replace(found, at={tenant: n for tenant, n in found.at.items() if tenant == ctx.actor.tenant})


def list_applications(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Application]:
    """List when which version was put in force where, newest first; for the platform's staff. Raises NotPermitted."""
    _require_staff(ctx)
    return store.list_applications(ctx.tx, page)


def view_refusals(ctx: Context, version: int, traffic: CountedTraffic) -> Refusals | None:
    """Return how many decisions were refused at the hospitals that have a version first; None if none has it. Raises NotPermitted."""
    _require_staff(ctx)
    return first_hospitals.view_refusals(ctx, version, traffic)


def _require_staff(ctx: Context) -> None:
    if not ctx.actor.is_platform:
        detail = not_shown("where policies are in force", Readers.STAFF).detail
        raise _refusal(ctx, "policies.version.read", "not_permitted", detail)


def newest_head(ctx: Context) -> tuple[int, str] | None:
    """Return number and digest of the newest application of the policy, for the anchor; None without any."""
    newest = store.list_applications(ctx.tx, PageQuery(limit=1))
    return (newest[0].number, chain.application_digest(newest[0])) if newest else None


def heads(ctx: Context, numbers: Collection[int]) -> dict[int, str]:
    """Return the digests of the applications with these numbers, as far as they exist."""
    found = store.numbered_applications(ctx.tx, numbers)
    return {each.number: chain.application_digest(each) for each in found}


def verify(ctx: Context) -> Verified:
    """Verify every version and application, and compare them with the audit trail. For the host's commands."""
    assert ctx.actor.acts_alone, "everybody else sees what is in force"
    return verification.verify(ctx)


def _with_fault(ctx: Context, found: loading.Applied) -> CurrentVersions:
    """Return what is in force, with the reason why nothing is decided by it, if there is one."""
    if found.fault:
        return found.current
    for number in sorted({found.current.everywhere, *found.current.at.values()}):
        try:
            loading.book_in_force(ctx, number, found)
        except Unavailable as error:
            return replace(found.current, fault=error.detail)
    return found.current


# --- putting a version in force ------------------------------------------------------------------------------------------------


def apply(ctx: Context, order: ApplyOrder) -> Application | Asked:
    """Put a version in force, or ask for a second person if it allows anything that is not allowed there now.

    Going back to an earlier version is the same, but that an author takes back their own narrowing alone. Raises NotPermitted, NotFound, Invalid,
    Conflict (something was applied meanwhile, the version is at no hospital yet, or it had no dry run), Unavailable (too many requests wait).
    """
    new = _judged(ctx, order)
    if new and ctx.actor.acts_alone:
        detail = "This allows something new, which takes two people of the staff. Use the API."
        raise _refusal(ctx, APPLY_ACTION, "takes_two_people", detail)
    # What cannot be read cannot be known to be what was in force.
    back = None if any(each.path == UNREAD for each in new) else take_back(ctx)
    if new and back is not None and back[:3] == (order.version, frozenset(order.tenants), order.after):
        return _applied(ctx, order, agreed_by="", takes_back=True)
    run = _dry_run_for(ctx, order, new)
    if not new:
        return _applied(ctx, order, agreed_by="", run=run)
    asked = {
        "version": order.version,
        "tenants": list(order.tenants),
        "reason": order.reason,
        **_shown(new, run),
    }
    act = Act(ApprovalKind.POLICY, None, str(order.version), asked, _before(ctx))
    return Asked(identity.ask(ctx, act))


def _shown(new: tuple[PrivilegeIncrease, ...], run: DryRun | None) -> dict[str, Any]:
    """Return what the second person sees: all that is newly allowed with its digest, and the dry run with that of its result."""
    return {
        "allows": [f"{each.path}: {each.sentence}" for each in new],
        "allows_digest": digest_of(new),
        "dry_run": _named(run),
    }


def _named(run: DryRun | None) -> dict[str, str]:
    """Return the record of the dry run behind an application; empty without one."""
    return {} if run is None else {"id": run.id, "digest": run.digest}


def _dry_run_for(ctx: Context, order: ApplyOrder, new: tuple[PrivilegeIncrease, ...]) -> DryRun | None:
    """Return the dry run by which an order is carried out; None for an emergency that narrows, and where there can be none.

    Raises Conflict.
    """
    # What cannot be read cannot be compared with. It takes two people, and nothing works meanwhile.
    if any(each.path == UNREAD for each in new):
        return None
    return require_dry_run(ctx, order, narrows=not new)


def prepare(ctx: Context, order: ApplyOrder) -> None:
    """Compare the policies of an order before the transaction that applies it, so that this one finds the comparison made.

    It refuses nothing: what is wrong with the order is found by ``apply``.
    """
    if may_change(ctx.actor):
        _cache_comparison(ctx, order)


def _cache_comparison(ctx: Context, order: ApplyOrder) -> None:
    found = loading.applied(ctx)
    with suppress(NotFound, Unavailable):
        books = {order.version: loading.book(ctx, order.version)} | _replaced(ctx, order, found)
        rollout.new_access(books, order, found.current)


def _prepare(ctx: Context, approval: Approval) -> None:
    _cache_comparison(ctx, _order(approval.act))


def _order(act: Act) -> ApplyOrder:
    return ApplyOrder(
        act.order["version"],
        tuple(map(TenantId, act.order["tenants"])),
        act.before["application"],
        act.order["reason"],
    )


def _carry_out(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act, as_asker = approval.act, ctx.as_actor(asker)
    identity.require_unchanged(act, _before(as_asker))
    order = _order(act)
    # Another release may find something else in the same two policies than was shown.
    new = _judged(as_asker, order)
    run = _dry_run_for(as_asker, order, new)
    if any(act.order.get(name) != value for name, value in _shown(new, run).items()):
        detail = "The privilege increases or the dry run have changed since this was requested. Refuse this, and request it again."
        raise Conflict("target_changed", detail)
    _applied(as_asker, order, agreed_by=str(ctx.actor), run=run)
    return CarriedOut(str(order.version))


def _before(ctx: Context) -> dict[str, Any]:
    found = loading.applied(ctx).current
    return {"application": found.last, "everywhere": found.everywhere}


def _judged(ctx: Context, order: ApplyOrder) -> tuple[PrivilegeIncrease, ...]:
    """Check an order, and return what it newly allows."""
    _require_valid(ctx, order)
    found = loading.applied(ctx)
    now_in_force = found.current
    if order.after != now_in_force.last:
        detail = (
            "The policy in force has changed meanwhile. Read it again, and repeat this if it is still right."
        )
        raise Conflict("concurrent_change", detail)
    book = loading.book(ctx, order.version)
    _require_sound(pack_faults(book, ctx.now.date()))
    if found.fault and order.tenants:
        detail = f"{found.fault} Put an intact version in force everywhere first."
        raise Conflict("policy_not_as_signed", detail)
    try:
        books = {order.version: book} | _replaced(ctx, order, found)
    except Unavailable as error:
        return (_unread(order, error),)
    # Going back is always possible.
    if not store.was_everywhere(ctx.tx, order.version):
        for number in sorted(rollout.replaced_by(order, now_in_force)):
            _require_sound(notice_faults(as_of(books[number], ctx.now), book, ctx.now.date()))
    if len(rollout.in_force_after(order, now_in_force)) > IN_FORCE_BOUND:
        detail = f"At most {IN_FORCE_BOUND} versions are in force at one time. Put one of them in force at more hospitals first."
        raise Conflict("too_many_versions", detail)
    new = rollout.new_access(books, order, now_in_force)
    if new and not order.tenants:
        require_first(ctx, order.version, found)
    return new


def _require_sound(faults: tuple[Fault, ...]) -> None:
    if faults:
        raise Invalid("book_invalid", _in_words(faults), fields={fault.path: fault.code for fault in faults})


def _require_valid(ctx: Context, order: ApplyOrder) -> None:
    if not may_change(ctx.actor):
        detail = "Only a platform administrator puts a policy in force."
        raise _refusal(ctx, APPLY_ACTION, "not_permitted", detail)
    if order.version == SHIPPED:
        detail = "The shipped policy is put in force as a version of its own. Add it as one first."
        raise Invalid("apply_invalid", detail, fields={"version": "out_of_range"})
    if fault := rollout.tenants_fault(order.tenants, TENANTS_BOUND):
        raise Invalid("apply_invalid", "The list of hospitals is not valid.", fields={"tenants": fault})
    for tenant in order.tenants:
        identity.get_tenant(ctx, tenant)


def _replaced(ctx: Context, order: ApplyOrder, found: loading.Applied) -> dict[int, Book]:
    """Return the policies with which an order is compared. Raises Unavailable if what it replaces cannot be trusted, or cannot be read."""
    if found.fault:
        raise loading.not_as_signed(found.fault)
    numbers = {*rollout.replaced_by(order, found.current), found.current.everywhere}
    return {number: loading.book_in_force(ctx, number, found) for number in numbers}


def _unread(order: ApplyOrder, error: Unavailable) -> PrivilegeIncrease:
    """Return what is treated as new where nobody can tell what was allowed: everything. It takes two people, and no hospital first: nothing works."""
    sentence = f"What it replaces cannot be read ({error.code}), so everything in version {order.version} is treated as new."
    return PrivilegeIncrease(UNREAD, sentence)


def _applied(
    ctx: Context, order: ApplyOrder, *, agreed_by: str, run: DryRun | None = None, takes_back: bool = False
) -> Application:
    found = loading.applied(ctx)
    if order.after != found.current.last:
        raise _at_the_same_moment()
    made = Application(
        number=found.next_number,
        version=order.version,
        digest=loading.version(ctx, order.version).digest,
        tenants=order.tenants,
        reason=order.reason,
        applied_by=str(ctx.actor),
        applied_at=ctx.now,
        # What cannot be trusted is not vouched for: a new chain begins.
        previous=chain.BEGINS if found.fault else found.head,
        agreed_by=agreed_by,
    )
    kid, signature = keys.sign_bytes(ctx, Purpose.POLICY, chain.application_bytes(made))
    made = replace(made, kid=kid, signature=signature)
    if not store.add_application(ctx.tx, made):
        raise _at_the_same_moment()
    ctx.advance_epoch(POLICIES, f"application/{made.number}")
    recorded = {
        "application": made.number,
        "head": chain.application_digest(made),
        "version": made.version,
        "reason": made.reason,
        "tenants": list(made.tenants),
        "digest": made.digest,
        "agreed_by": agreed_by,
        "dry_run": _named(run),
        "emergency": order.emergency,
        "takes_back": order.after if takes_back else 0,
    }
    audit.record(ctx, Event(APPLY_ACTION, facts=recorded))
    return made


def _at_the_same_moment() -> Conflict:
    return Conflict("concurrent_change", "A colleague changed the policy in force at the same moment.")


def _refusal(ctx: Context, action: str, reason: str, detail: str) -> NotPermitted:
    return audit.refusal(ctx, Event(action, reason=reason), detail)


def shown_exceptions(
    ctx: Context, page: PageQuery = FIRST_PAGE, kind: ExceptionKind | None = None
) -> list[tuple[PolicyException, str]]:
    """List exceptions, newest first, each with why it does not apply now; empty if it does. Raises NotPermitted."""
    return [(each, why_not(ctx, each)) for each in list_exceptions(ctx, page, kind)]


def why_not(ctx: Context, exception: PolicyException) -> str:
    """Return why an exception does not apply now; empty if it does."""
    found = current(ctx)
    tenant = exception.tenant
    book = as_of(found.everywhere, ctx.now) if tenant is None else found.book_at(tenant, ctx.now)
    return exception_fault(exception, book, tenant, ctx.now)


CARRY_OUT = {ApprovalKind.POLICY: _carry_out}
PREPARE = {ApprovalKind.POLICY: _prepare}
