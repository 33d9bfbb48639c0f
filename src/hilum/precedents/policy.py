"""Who may share and read decisions, and how two hospitals' terms differ. Pure."""

from collections.abc import Iterable
from datetime import datetime

from hilum.controls.policy import administers
from hilum.kernel.actor import Actor
from hilum.kernel.ids import TenantId
from hilum.kernel.limits import too_long
from hilum.precedents.models import REASONS_BOUND, WHOLE, Control, Kind, Sharing, SharingOrder, Terms
from hilum.standards.smart.scopes import ClinicalScope, all_covered, parse_scope


def may_share(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may decide what a hospital shares: its administrators, not the platform's staff, as with installations."""
    return actor.acts_alone or administers(actor, tenant)


def may_look(actor: Actor, tenant: TenantId) -> bool:
    """Check whether an actor may read what others share with a hospital: its administrators, and the platform's staff."""
    return actor.is_platform or administers(actor, tenant)


def order_faults(order: SharingOrder) -> dict[str, str]:
    """Return the error code of each invalid field of an order."""
    faults = {}
    if order.app is None and order.shares is None:
        faults["shares"] = "missing"
    if order.reasons and (order.app is None or not order.shares):
        # Reasons belong to one approval, and are shown with it.
        faults["reasons"] = "field_unknown"
    if len(order.reasons) > REASONS_BOUND:
        faults["reasons"] = too_long(REASONS_BOUND)
    return faults


def key_of(order: SharingOrder) -> str:
    """Return under which key an order is stored."""
    return WHOLE if order.app is None else order.app


def covers(choice: Sharing, approved_at: datetime) -> bool:
    """Check whether a choice covers an approval. A choice does not cover a later approval, which may have other reasons."""
    return choice.app == WHOLE or not choice.shares or choice.changed_at >= approved_at


def compare(given: Terms, mine: Terms, hospital: str) -> tuple[Control, ...]:
    """Return one's own terms compared with a hospital's, by what is left to decide.

    Granting less than the other hospital did is not left to decide, since that hospital considered more.
    """
    found: list[Control] = []

    def differs(kind: Kind, what: Iterable[str], sentence: str) -> None:
        found.append(Control(kind, tuple(what), sentence))

    if more := _beyond(mine.scopes, given.scopes):
        differs(Kind.SCOPES, more, f"You would grant what {hospital} did not.")
    if mine.roles is not None and (roles := sorted(mine.roles - (given.roles or frozenset()))):
        differs(Kind.ROLES, roles, f"You would give it to roles to which {hospital} did not.")
    if lacking := sorted(given.agreements - mine.agreements):
        sentence = f"{hospital} has agreements in force with the vendor that you do not have."
        differs(Kind.AGREEMENTS, lacking, sentence)
    if mine.everywhere and not given.everywhere:
        differs(Kind.FACILITIES, (), f"{hospital} limited it to some of its facilities.")
    if given.workflow and mine.workflow != given.workflow:
        sentence = f"At {hospital} a launch that names no workflow has this one."
        differs(Kind.WORKFLOW, (given.workflow,), sentence)
    if given.pinned and not mine.pinned:
        differs(Kind.NETWORKS, (), f"{hospital} pinned its backend services to networks.")
    if given.expires_at is not None and (mine.expires_at is None or mine.expires_at > given.expires_at):
        differs(Kind.END, (), f"The approval of {hospital} ends sooner than yours would.")
    if since := _beyond(mine.asked, given.asked):
        differs(Kind.CERTIFIED, since, f"It was certified for more since {hospital} looked at it.")
    return tuple(found)


def same(controls: Iterable[Control]) -> tuple[Kind, ...]:
    """Return the terms that do not differ."""
    differing = {each.kind for each in controls}
    return tuple(each for each in Kind if each not in differing)


def _beyond(mine: Iterable[str], given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the scopes that reach records which other scopes do not cover."""
    return tuple(
        sorted(
            {
                each
                for each in mine
                if isinstance(parse_scope(each), ClinicalScope) and not all_covered((each,), given)
            }
        )
    )
