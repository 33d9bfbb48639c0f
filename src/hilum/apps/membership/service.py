"""Inviting, listing and removing the members of a vendor."""

from hilum.apps.membership.models import MEMBERS_BOUND, NewMember
from hilum.apps.registry import service as registry
from hilum.controls.approvals.models import Asked
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Unavailable
from hilum.foundation.kernel.ids import PersonId, TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.identity.enrolment import service as enrolment
from hilum.identity.enrolment.models import LinkMail, Opened
from hilum.identity.people import policy as identity_policy
from hilum.identity.people import service as identity
from hilum.identity.people.models import VENDOR_ROLES, NewPerson, Person, VendorRole
from hilum.identity.signin import service as signin
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event


def list_members(ctx: Context, vendor: VendorId, page: PageQuery = FIRST_PAGE) -> list[Person]:
    """List a vendor's members by username, former ones too. Raises NotFound, NotPermitted."""
    place = _place(ctx, vendor, "identity.person.list")
    return identity.list_people(ctx, place, page)


def invite(ctx: Context, vendor: VendorId, order: NewMember, by_mail: LinkMail) -> Opened | Asked:
    """Add a member and mail or return the link through which they set their password, once and within its life (C8).

    An owner has power over others, so a second person must approve: another owner, or the platform's staff.
    Raises NotFound, NotPermitted, Invalid, Conflict (the username is taken), Unavailable (too many members).
    """
    place = _place(ctx, vendor, "identity.person.add")
    if order.role not in VENDOR_ROLES:
        fields = {"role": "role_unknown"}
        raise Invalid("person_invalid", "The member cannot be added as described.", fields=fields)
    if identity.count_people(ctx, place) >= MEMBERS_BOUND:
        detail = f"The vendor has {MEMBERS_BOUND} members already. Remove those who have left."
        raise Unavailable("too_many_members", detail)
    person = NewPerson(place, order.username, order.name, order.role, mail=order.mail)
    return enrolment.add_person(ctx, person, by_mail)


def invite_again(ctx: Context, vendor: VendorId, person: PersonId, by_mail: LinkMail) -> Opened | Asked:
    """Issue a new link for a member; the earlier one stops working. For an account in use it waits for a second person.

    Raises NotFound, NotPermitted, Conflict (removed already), Unavailable (too many wait).
    """
    return enrolment.reset(ctx, _member(ctx, vendor, person, "enrolment.person.reset").id, by_mail)


def remove(ctx: Context, vendor: VendorId, person: PersonId) -> Person:
    """Remove a member for good: their tokens, sessions and unused links end (C8).

    Raises NotFound, NotPermitted, Conflict (removed already, or the last owner who can sign in).
    """
    member = _member(ctx, vendor, person, "identity.person.deactivate")
    # An owner who never used the invitation cannot act, so a vendor is not left with them as its only owner.
    if member.role == VendorRole.OWNER:
        left = [each for each in identity.lock_owners(ctx, member.tenant) if each != person]
        if not any(signin.has_password(ctx, each) for each in left):
            detail = "No owner who can sign in would be left. Invite another owner, and wait until they have set their password."
            raise Conflict("last_owner", detail)
    return identity.deactivate_person(ctx, person)


def _place(ctx: Context, vendor: VendorId, action: str) -> TenantId:
    """Return a vendor as the place of its members' accounts, if the actor may administer them."""
    if ctx.actor.vendor is not None and ctx.actor.vendor != vendor:
        raise NotFound("vendor_not_found", "There is no such vendor.")
    place = TenantId(registry.get_vendor(ctx, vendor).id)
    if not identity_policy.may_administer(ctx.actor, place):
        raise audit.refusal(ctx, Event(action, tenant=place))
    return place


def _member(ctx: Context, vendor: VendorId, person: PersonId, action: str) -> Person:
    place = _place(ctx, vendor, action)
    found = identity.find_person(ctx, person)
    if found is None or found.tenant != place:
        raise NotFound("person_not_found", "There is no such person.")
    return found
