"""Who reports, tags and closes defects, what a tag must state, and how many defects escaped. Pure."""

import re
from collections.abc import Collection, Iterable
from datetime import datetime

from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import VendorId, VersionId
from hilum.foundation.kernel.limits import too_long
from hilum.identity.people.models import VendorRight
from hilum.identity.people.policy import is_member, may_as_member
from hilum.review.defects.models import (
    ESCAPES_WITHIN,
    TEXT_BOUND,
    Defect,
    Leakage,
    NewDefect,
    Seen,
    State,
    Tag,
)

JUDGES = frozenset({"platform_admin", "security", "reviewer"})
_SCENARIO = re.compile(r"[a-z][a-z0-9_]{2,62}")


def may_report(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may report a defect of a vendor's app: its own people, and the staff."""
    return may_judge(actor) or may_as_member(actor, vendor, VendorRight.APPS)


def may_judge(actor: Actor) -> bool:
    """Check whether an actor may tag and close defects: the platform's staff, not the vendor of the app."""
    return actor.acts_alone or (actor.is_platform and bool(actor.roles & JUDGES))


def may_see(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may read defects of a vendor's apps."""
    return actor.is_platform or is_member(actor, vendor)


def report_faults(order: NewDefect, went_live_at: datetime | None, now: datetime) -> dict[str, str]:
    """Return the error code of each invalid field of a report."""
    faults = {}
    if not order.summary.strip():
        faults["summary"] = "missing"
    elif len(order.summary) > TEXT_BOUND:
        faults["summary"] = too_long(TEXT_BOUND)
    first_seen_at = order.first_seen_at or now
    if first_seen_at > now:
        faults["first_seen_at"] = "in_the_future"
    # A version that nobody could use let nothing escape.
    if order.seen_in is Seen.PRODUCTION and went_live_at is None:
        faults["seen_in"] = "version_not_live"
    elif order.seen_in is Seen.PRODUCTION and went_live_at is not None and first_seen_at < went_live_at:
        faults["first_seen_at"] = "before_live"
    return faults


def tag_faults(tag: Tag) -> dict[str, str]:
    """Return the error code of each invalid field of a tag, which states either a scenario or a gap."""
    scenario, gap = tag.scenario.strip(), tag.gap.strip()
    if scenario:
        faults = {} if _SCENARIO.fullmatch(scenario) else {"scenario": "scenario_malformed"}
        return faults | ({"gap": "not_with_scenario"} if gap else {})
    if not gap:
        return {"scenario": "missing", "gap": "missing"}
    return {"gap": too_long(TEXT_BOUND)} if len(gap) > TEXT_BOUND else {}


def state_of(defect: Defect, _now: datetime) -> State:
    """Return the state of a defect: one first seen in production is closed only after it was tagged."""
    if defect.closed_at is not None:
        return State.CLOSED
    is_judged = defect.seen_in is not Seen.PRODUCTION or defect.reproducible is not None
    return State.OPEN if is_judged else State.TO_TAG


def has_escaped(defect: Defect) -> bool:
    """Check whether a defect was first seen in production within 90 days of its version's go-live (K2)."""
    if defect.seen_in is not Seen.PRODUCTION or defect.went_live_at is None:
        return False
    return defect.first_seen_at - defect.went_live_at <= ESCAPES_WITHIN


def leakage(defects: Iterable[Defect], live: Collection[VersionId]) -> Leakage:
    """Return K2 for versions that went live. A version that nobody used is not counted."""
    by_version: dict[VersionId, tuple[int, int]] = {}
    tagged = reproducible = 0
    for each in defects:
        if each.version not in live:
            continue
        escaped, total = by_version.get(each.version, (0, 0))
        if not has_escaped(each):
            by_version[each.version] = escaped, total + 1
            continue
        by_version[each.version] = escaped + 1, total + 1
        tagged += each.reproducible is not None
        reproducible += each.reproducible is True
    return Leakage(
        sum(escaped for escaped, _ in by_version.values()),
        sum(total for _, total in by_version.values()),
        tagged,
        reproducible,
        by_version,
    )
