"""Conflicts of interest of reviewers with vendors: declared by the reviewer, or found by their mail address (C101)."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from hilum.apps.contacts import service as contacts
from hilum.apps.registry import service as registry
from hilum.apps.registry.policy import reason_fault
from hilum.controls.switches.policy import rules_the_platform
from hilum.foundation.actions.models import ID, Arg, Denied, Effect, Noun, Reason, Shows
from hilum.foundation.actions.service import action
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import PersonId, TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery, walk
from hilum.foundation.web.api import STAFF
from hilum.identity.people import service as identity
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event, EventQuery
from hilum.review.submissions import discipline_store as store
from hilum.review.submissions import policy
from hilum.review.submissions.models import ConflictOfInterest, ConflictOfInterestKind

ConflictId = Annotated[str, ID, Arg("The conflict of interest.", "coi_01h...", target=True)]
Vendor = Annotated[VendorId, ID, Arg("The vendor.", '"Lumen Clinical"', names="vendor", placed=True)]
OneVendor = Annotated[str, ID, Arg("Only those with one vendor.", names="vendor")]


def _visible(ctx: Context, conflict_id: str, *, lock: bool = False) -> ConflictOfInterest:
    if not ctx.actor.is_platform:
        raise NotFound("conflict_of_interest_not_found", "There is no such conflict of interest.")
    return store.CONFLICTS.get(ctx.tx, conflict_id, lock=lock)


def _event(code: str, conflict: ConflictOfInterest) -> Event:
    facts = {"conflict_of_interest": conflict.id, "vendor": conflict.vendor}
    return Event(
        code, person=conflict.person, facts=facts | {"reason": conflict.ended_because or conflict.reason}
    )


def _state(conflict: ConflictOfInterest, _now: datetime) -> str:
    return "bars" if conflict.ended_at is None else "ended"


def _may_end(actor: Actor, conflict: ConflictOfInterest) -> bool:
    # Who is barred must not lift that, and neither may a colleague who reviews beside them.
    return (rules_the_platform(actor) or actor.acts_alone) and actor.id != conflict.person


CONFLICT = Noun(
    "conflict_of_interest",
    "review",
    ConflictOfInterest,
    load=_visible,
    about=_event,
    title="{person} and {vendor}",
    help="Declare a conflict of interest with a vendor, which bars you from judging what it submits.",
    columns=(
        Shows("person", "Reviewer"),
        Shows("vendor", "Vendor"),
        Shows("state", "State"),
        Shows("declared_at", "Declared"),
    ),
    facts=(
        Shows("reason", "Why", wide=True),
        Shows("declared_at", "Declared"),
        Shows("ended_at", "Ended"),
        Shows("ended_by", "By", kind="actor"),
        Shows("ended_because", "Why it ended", wide=True),
    ),
    derived={"state": _state},
    badge=lambda _actor, conflict, now: (
        _state(conflict, now),
        "warn" if conflict.ended_at is None else "plain",
    ),
    plural="conflicts_of_interest",
)


@action(
    CONFLICT,
    "declare",
    who=("reviewer",),
    creates=True,
    past="declared a conflict of interest with a vendor",
    button="Declare it",
    consequence="It takes effect at once. You cannot end it yourself; somebody else of the staff must.",
)
def declare_conflict(ctx: Context, vendor: Vendor, reason: Reason) -> ConflictOfInterest:
    """Declare a conflict of interest with a vendor; from then on you judge none of its submissions.

    Raises NotFound, NotPermitted, Invalid, Conflict (declared already).
    """
    declared = ConflictOfInterest(ctx.ids.new("coi"), PersonId(ctx.actor.id), vendor, reason.strip(), ctx.now)
    if not policy.may_decide(ctx.actor):
        raise Denied(declared)
    registry.get_vendor(ctx, vendor)
    _require_reason(reason)
    if not store.CONFLICTS.add_new(ctx.tx, declared):
        raise Conflict(
            "conflict_of_interest_declared",
            "You have declared a conflict of interest with this vendor already.",
        )
    return declared


@action(
    CONFLICT,
    "end",
    who=("platform_admin", "security"),
    effect=Effect.WIDENS,
    past="ended a conflict of interest with a vendor",
    button="End it",
    asks="Let the reviewer judge this vendor's submissions again?",
    consequence="{person} may judge what {vendor} submits again.",
    when=lambda actor, conflict, _now: conflict.ended_at is None and _may_end(actor, conflict),
)
def end_conflict(ctx: Context, conflict_id: ConflictId, reason: Reason) -> ConflictOfInterest:
    """End a conflict of interest of a colleague, with a reason.

    Raises NotFound, NotPermitted, Invalid, Conflict (ended already).
    """
    conflict = _visible(ctx, conflict_id, lock=True)
    if not _may_end(ctx.actor, conflict):
        raise Denied(conflict)
    _require_reason(reason)
    if conflict.ended_at is not None:
        raise Conflict("conflict_of_interest_over", "This conflict of interest has ended already.")
    ended = replace(conflict, ended_at=ctx.now, ended_by=str(ctx.actor), ended_because=reason.strip())
    store.CONFLICTS.save(ctx.tx, ended)
    return ended


@action(CONFLICT, "show", who=(STAFF,), effect=Effect.READS)
def view_conflict(ctx: Context, conflict_id: ConflictId) -> ConflictOfInterest:
    """Show a conflict of interest: who declared it, why, and whether it has ended.

    Raises NotFound.
    """
    return _visible(ctx, conflict_id)


@action(CONFLICT, "list", who=(STAFF,), effect=Effect.READS)
def list_conflicts(
    ctx: Context, vendor: OneVendor = "", page: PageQuery = FIRST_PAGE
) -> list[ConflictOfInterest]:
    """List the conflicts of interest that reviewers declared, also those that have ended.

    Raises NotPermitted.
    """
    if not ctx.actor.is_platform:
        raise not_shown("who reviews", Readers.STAFF)
    return store.CONFLICTS.page(ctx.tx, page, **({"vendor": vendor} if vendor else {}))


def _require_reason(reason: str) -> None:
    if fault := reason_fault(reason):
        raise Invalid("reason_invalid", "A reason is required; see fields.", fields={"reason": fault})


# What bars a reviewer.


def has_declared(ctx: Context, reviewer: str, vendor: VendorId) -> bool:
    """Check whether who gave a verdict, as ``staff:<id>``, has declared a conflict of interest with the vendor."""
    return _is_declared(ctx, PersonId(reviewer.partition(":")[2]), vendor)


def _is_declared(ctx: Context, person: PersonId, vendor: VendorId) -> bool:
    """Check whether a conflict of interest is declared and has not ended, by the table or by the audit: a row that somebody deleted lifts none."""
    if store.CONFLICTS.any(ctx.tx, store.conflicts.c.ended_at.is_(None), person=person, vendor=vendor):
        return True

    def named(verb: str) -> set[str]:
        query = EventQuery(action=f"review.conflict_of_interest.{verb}", person=person, outcome="done")
        facts = [each.event.facts for each in audit.list_events(ctx, query).events]
        return {each["conflict_of_interest"] for each in facts if each.get("vendor") == vendor}

    return bool(named("declare") - named("end"))


def conflicts_to(ctx: Context, vendor: VendorId) -> tuple[ConflictOfInterestKind, ...]:
    """Return the acting reviewer's conflicts of interest with a vendor: by what they declared, or by their mail address."""
    if ctx.actor.kind is not ActorKind.STAFF:
        return ()
    person = identity.get_person(ctx, PersonId(ctx.actor.id))
    found = [ConflictOfInterestKind.DECLARED] if _is_declared(ctx, person.id, vendor) else []
    mail = person.mail.strip().lower()
    if not mail:
        return tuple(found)
    # Read as the platform: a reviewer may not list a vendor's members and contacts.
    system = ctx.as_actor(SYSTEM)
    members = walk(
        lambda page: identity.list_people(system, TenantId(vendor), page), key=lambda each: each.username
    )
    if any(each.mail.strip().lower() == mail for each in members):
        found.append(ConflictOfInterestKind.MEMBER)
    domains = walk(lambda page: contacts.list_domains(system, vendor, page), key=lambda each: each.id)
    reached = walk(lambda page: contacts.list_contacts(system, vendor, page), key=lambda each: each.id)
    names = {each.name for each in domains} | {each.address.rpartition("@")[2].lower() for each in reached}
    host = mail.rpartition("@")[2]
    if any(host == name or host.endswith(f".{name}") for name in names if name):
        found.append(ConflictOfInterestKind.MAIL_DOMAIN)
    return tuple(found)
