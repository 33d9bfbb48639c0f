"""Adding versions of the rule book, putting them in force and taking them back; the books in force."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import orjson

from hilum.approvals.models import Act, Approval, ApprovalKind, Asked, CarriedOut
from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.infra.facts import Delta, Since, current_facts, keyed
from hilum.kernel.actor import Actor
from hilum.kernel.errors import Conflict, Invalid, NotPermitted, Unavailable
from hilum.kernel.ids import TenantId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.keys import service as keys
from hilum.keys.models import Purpose
from hilum.policies import rollout, store
from hilum.policies.comparison import changes, widenings
from hilum.policies.document import canonical, read_book, render
from hilum.policies.models import (
    POLICIES,
    SHIPPED,
    TENANTS_BOUND,
    WIDENINGS_SHOWN,
    Admission,
    Applicant,
    Application,
    ApplyOrder,
    Book,
    Change,
    CurrentVersions,
    Fault,
    PolicyFacts,
    Version,
    Widening,
)
from hilum.policies.policy import admit
from hilum.policies.shipped import shipped_book
from hilum.policies.soundness import pack_faults

_PARSED_BOUND = 64
_FAULTS_SHOWN = 3


# --- versions ------------------------------------------------------------------------------------------------------------------


def validate(ctx: Context, document: Mapping[str, Any]) -> tuple[Book | None, tuple[Fault, ...]]:
    """Validate a document, as of today: the book, or None with everything that is wrong. Raises NotPermitted."""
    if not ctx.actor.is_platform:
        raise _refusal(ctx, "policies.version.validate", "not_permitted", "You may not validate rule books.")
    book, faults = read_book(document)
    faults += () if book is None else pack_faults(book, ctx.now.date())
    return (None, faults) if faults else (book, ())


def add_version(ctx: Context, document: Mapping[str, Any], *, base: int, note: str) -> Version:
    """Add a version, signed. It is in force nowhere until it is applied. ``base``: the version that the document was made from.

    Raises NotPermitted, NotFound (no such base), Invalid with the code of each fault by its path, Conflict.
    """
    if not rollout.may_change(ctx.actor):
        raise _refusal(
            ctx, "policies.version.add", "not_permitted", "Only a platform administrator adds versions."
        )
    if base != SHIPPED:
        store.get_version(ctx.tx, base)
    book, faults = validate(ctx, document)
    if book is None:
        raise Invalid("book_invalid", _in_words(faults), fields={fault.path: fault.code for fault in faults})
    text = canonical(render(book)).decode()
    number = store.next_version(ctx.tx)
    version = Version(number, text, book.digest, base, note, str(ctx.actor), ctx.now)
    kid, signature = keys.sign_bytes(ctx, Purpose.POLICY, rollout.version_bytes(version))
    version = replace(version, kid=kid, signature=signature)
    if not store.add_version(ctx.tx, version):
        raise Conflict("concurrent_change", "A colleague added a version at the same moment. Try again.")
    facts = {"version": number, "base": base, "digest": book.digest}
    audit.record(ctx, Event("policies.version.add", facts=facts))
    return version


def adopt_shipped(ctx: Context) -> None:
    """Make the shipped book the first version, and put it in force, unless a version already is. For the platform itself, at start.

    From then on another release's book changes nothing before somebody publishes it.
    """
    assert ctx.actor.acts_alone, "people add versions and apply them"
    if store.list_applications_in_force(ctx.tx):
        return
    version = add_version(ctx, render(shipped_book()), base=SHIPPED, note="The rule book that was shipped.")
    _applied(ctx, ApplyOrder(version.number, (), 0, "The first start of this platform."), agreed_by="")


def _in_words(faults: tuple[Fault, ...]) -> str:
    """Return the first faults in words."""
    sentences = " ".join(f"{fault.path}: {fault.sentence}" for fault in faults[:_FAULTS_SHOWN])
    more = f" And {len(faults) - _FAULTS_SHOWN} more." if len(faults) > _FAULTS_SHOWN else ""
    return f"The rule book is not valid. {sentences}{more}"


def get_version(ctx: Context, number: int) -> tuple[Version, Book]:
    """Get a version with its book; 0 is the one that this release ships with. Raises NotFound, NotPermitted, Unavailable (it is not as it was signed)."""
    _require_reader(ctx)
    if number == SHIPPED:
        book = shipped_book()
        return Version(SHIPPED, canonical(render(book)).decode(), book.digest, SHIPPED, "", "", ctx.now), book
    return _verified_version(ctx, number)


def list_versions(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Version]:
    """List versions, newest first. Raises NotPermitted."""
    _require_reader(ctx)
    return store.list_versions(ctx.tx, page)


def compare(ctx: Context, before: int, after: int) -> tuple[tuple[Change, ...], tuple[Widening, ...]]:
    """Return what differs between two versions, and what the second allows that the first does not (C210)."""
    old, new = get_version(ctx, before)[1], get_version(ctx, after)[1]
    return changes(old, new), widenings(old, new)


def admission_of(ctx: Context, applicant: Applicant, *, tenant: str | None, version: int | None) -> Admission:
    """Return what an app would be admitted to, by a version, or else by the book in force at a tenant, or everywhere.

    Raises NotFound, NotPermitted, Unavailable.
    """
    _require_reader(ctx)
    if version is not None:
        return admit(get_version(ctx, version)[1], applicant)
    found = current(ctx)
    return admit(found.everywhere if tenant is None else found.book_at(TenantId(tenant)), applicant)


def _require_reader(ctx: Context) -> None:
    if not rollout.may_read(ctx.actor):
        raise _refusal(ctx, "policies.version.read", "not_permitted", "You may not read rule books.")


def _verified_version(ctx: Context, number: int) -> tuple[Version, Book]:
    version = store.get_version(ctx.tx, number)
    book = _parsed(version.document)
    signed = rollout.version_bytes(version)
    intact = book is not None and book.digest == version.digest
    if not intact or not keys.verify_bytes(ctx, Purpose.POLICY, version.kid, signed, version.signature):
        raise _not_as_signed(f"Version {number} of the rule book")
    assert book is not None, "only an intact one is verified"
    return version, book


@lru_cache(maxsize=_PARSED_BOUND)
def _parsed(document: str) -> Book | None:
    """Parse a stored document, once for each text, so that everything derived from a book is cached with it."""
    try:
        return read_book(orjson.loads(document))[0]
    except orjson.JSONDecodeError:
        return None


def _not_as_signed(what: str) -> Unavailable:
    detail = (
        f"{what} is not as it was signed, so nothing is decided by it. Restore the database from a backup."
    )
    return Unavailable("policy_not_as_signed", detail)


# --- what is in force ----------------------------------------------------------------------------------------------------------


@keyed(r"application/\d+")
def facts(ctx: Context, since: Since) -> Delta[PolicyFacts]:
    """Read the rule books in force, all of them each time: there are few. Raises Unavailable if one is not as it was signed."""
    del since
    applications = _verified_applications(ctx)
    found = rollout.in_force(applications)
    books = {number: _book(ctx, number) for number in {found.everywhere, *found.at.values()}}
    at = {tenant: books[number] for tenant, number in found.at.items()}
    return Delta(PolicyFacts(books[found.everywhere], at))


def current(ctx: Context) -> PolicyFacts:
    """Return the rule books in force, as this transaction sees them."""
    return current_facts(ctx, POLICIES, facts)


def in_force(ctx: Context) -> CurrentVersions:
    """Return which version is in force where; to a tenant's administrator, everywhere and at their own tenant. Raises NotPermitted."""
    _require_reader(ctx)
    found = rollout.in_force(_verified_applications(ctx))
    if ctx.actor.is_platform:
        return found
    return replace(found, at={tenant: n for tenant, n in found.at.items() if tenant == ctx.actor.tenant})


def list_applications(ctx: Context, page: PageQuery = FIRST_PAGE) -> list[Application]:
    """List when which version was put in force where, newest first; for the platform's staff. Raises NotPermitted."""
    if not ctx.actor.is_platform:
        raise _refusal(
            ctx, "policies.version.read", "not_permitted", "You may not read where rule books are in force."
        )
    return store.list_applications(ctx.tx, page)


def _book(ctx: Context, number: int) -> Book:
    return shipped_book() if number == SHIPPED else _verified_version(ctx, number)[1]


def _verified_applications(ctx: Context) -> list[Application]:
    found = store.list_applications_in_force(ctx.tx)
    for each in found:
        signed = rollout.application_bytes(each)
        if not keys.verify_bytes(ctx, Purpose.POLICY, each.kid, signed, each.signature):
            raise _not_as_signed(f"Application {each.number} of the rule book")
    if rollout.gap_fault(found):
        raise _not_as_signed("The list of applications of the rule book")
    return found


# --- putting a version in force ------------------------------------------------------------------------------------------------


def apply(ctx: Context, order: ApplyOrder) -> Application | Asked:
    """Put a version in force, or ask for a second person if it allows anything that is not allowed there now.

    Going back to an earlier version is the same. Raises NotPermitted, NotFound, Invalid, Conflict (something was applied meanwhile, or
    the version would reach everybody too soon), Unavailable (too many requests wait).
    """
    new = _judged(ctx, order)
    if not new:
        return _applied(ctx, order, agreed_by="")
    if ctx.actor.acts_alone:
        detail = "This allows something new, which takes two people of the staff. Use the API."
        raise _refusal(ctx, "policies.book.apply", "takes_two_people", detail)
    shown = {
        "version": order.version,
        "tenants": list(order.tenants),
        "reason": order.reason,
        "allows": [f"{each.path}: {each.sentence}" for each in new[:WIDENINGS_SHOWN]],
        "allows_more": max(0, len(new) - WIDENINGS_SHOWN),
    }
    act = Act(ApprovalKind.POLICY, None, str(order.version), shown, _before(ctx))
    return Asked(identity.ask(ctx, act))


def _carry_out(ctx: Context, approval: Approval, asker: Actor) -> CarriedOut:
    act, as_asker = approval.act, ctx.as_actor(asker)
    identity.require_unchanged(act, _before(as_asker))
    order = ApplyOrder(
        act.order["version"],
        tuple(map(TenantId, act.order["tenants"])),
        act.before["application"],
        act.order["reason"],
    )
    _judged(as_asker, order)
    _applied(as_asker, order, agreed_by=str(ctx.actor))
    return CarriedOut(str(order.version))


def _before(ctx: Context) -> dict[str, Any]:
    found = rollout.in_force(_verified_applications(ctx))
    return {"application": found.last, "everywhere": found.everywhere}


def _judged(ctx: Context, order: ApplyOrder) -> tuple[Widening, ...]:
    """Check an order, and return what it allows anew."""
    if not rollout.may_change(ctx.actor):
        detail = "Only a platform administrator puts a rule book in force."
        raise _refusal(ctx, "policies.book.apply", "not_permitted", detail)
    if order.version == SHIPPED:
        detail = "The shipped rule book is put in force as a version of its own. Add it as one first."
        raise Invalid("apply_invalid", detail, fields={"version": "out_of_range"})
    if fault := rollout.tenants_fault(order.tenants, TENANTS_BOUND):
        raise Invalid("apply_invalid", "The list of hospitals is not valid.", fields={"tenants": fault})
    for tenant in order.tenants:
        identity.get_tenant(ctx, tenant)
    applications = _verified_applications(ctx)
    now_in_force = rollout.in_force(applications)
    if order.after != now_in_force.last:
        detail = "The rule book in force was changed meanwhile. Look at it again, and repeat this if it is still right."
        raise Conflict("concurrent_change", detail)
    numbers = {order.version, *rollout.replaced_by(order, now_in_force), now_in_force.everywhere}
    books = {number: _book(ctx, number) for number in numbers}
    if faults := pack_faults(books[order.version], ctx.now.date()):
        raise Invalid("book_invalid", _in_words(faults), fields={fault.path: fault.code for fault in faults})
    new = rollout.new_access(books, order, now_in_force)
    if not new or order.tenants or store.was_everywhere(ctx.tx, order.version):
        return new
    if not rollout.soaked(order, applications, now_in_force, books[now_in_force.everywhere], ctx.now):
        soak = books[now_in_force.everywhere].rollout.soak
        detail = (
            f"What allows something new is first in force at some hospitals, for {soak.total_seconds() / 3600:g} hours."
            f" Apply version {order.version} at some of them."
        )
        raise Conflict("too_soon_everywhere", detail)
    return new


def _applied(ctx: Context, order: ApplyOrder, *, agreed_by: str) -> Application:
    made = Application(
        number=order.after + 1,
        version=order.version,
        digest=_book(ctx, order.version).digest,
        tenants=order.tenants,
        reason=order.reason,
        applied_by=str(ctx.actor),
        applied_at=ctx.now,
        agreed_by=agreed_by,
    )
    kid, signature = keys.sign_bytes(ctx, Purpose.POLICY, rollout.application_bytes(made))
    made = replace(made, kid=kid, signature=signature)
    if not store.add_application(ctx.tx, made):
        raise Conflict("concurrent_change", "A colleague changed the rule book in force at the same moment.")
    ctx.advance_epoch(POLICIES, f"application/{made.number}")
    recorded = {"version": made.version, "tenants": list(made.tenants), "digest": made.digest}
    audit.record(ctx, Event("policies.book.apply", facts=recorded | {"agreed_by": agreed_by}))
    return made


def _refusal(ctx: Context, action: str, reason: str, detail: str) -> NotPermitted:
    audit.record(ctx, Event(action, Outcome.REFUSED, reason=reason))
    return NotPermitted(reason, detail)


CARRY_OUT = {ApprovalKind.POLICY: _carry_out}
