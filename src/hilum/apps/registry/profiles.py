"""What a vendor states about an app: what is missing, invalid or contradictory (C6). Pure."""

import re

from hilum.apps.registry.models import PARTS_BOUND, TEXT_BOUND, App, Profile
from hilum.foundation.kernel.limits import out_of_range, too_long, too_many
from hilum.foundation.standards.redirects import validate_web_uri
from hilum.identity.people.policy import name_fault

# ISO 3166-1 alpha-2, and the part of ISO 3166-2 behind it if the vendor wants to be exact.
_REGION = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?")
_MAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?=.{4,190}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}"
)
_HTML = re.compile(r"<[A-Za-z/!?]|&(?:#|[A-Za-z]{2,8};)|javascript:", re.IGNORECASE)
RETENTION_DAYS_MAX = 100 * 366
MUST_BE_STATED = (
    "owner",
    "support_contact",
    "security_contact",
    "security_escalation",
    "privacy_policy",
    "terms",
    "retention",
)


def html_fault(text: str) -> str:
    """Return the error code of a vendor's text that holds markup; empty if it holds none."""
    # Pages escape it; mail, exports and other people's tools may not.
    return "html_in_text" if _HTML.search(text) else ""


def missing_metadata(app: App, profile: Profile) -> tuple[str, ...]:
    """List what an app has not stated yet, by field. While it is not empty, the app cannot be submitted and has no production client."""
    missing = [name for name in MUST_BE_STATED if not getattr(profile, name).strip()]
    if profile.stores_data is None:
        missing.append("stores_data")
    if profile.retention_days is None:
        missing.append("retention_days")
    if profile.subcontractors is None:
        missing.append("subcontractors")
    if not profile.hosting_regions:
        missing.append("hosting_regions")
    if not app.purpose.strip():
        missing.append("purpose")
    return tuple(sorted(missing))


def profile_faults(profile: Profile) -> dict[str, str]:
    """Return the error code of each field that is invalid or contradicts another. Missing statements are no fault."""
    faults: dict[str, str] = {}
    for name in ("owner", "security_escalation"):
        text = getattr(profile, name)
        if fault := html_fault(text) or (name_fault(text) if text else ""):
            faults[name] = fault
    for name in ("support_contact", "security_contact"):
        address = getattr(profile, name)
        if address and not _MAIL.fullmatch(address):
            faults[name] = "address_malformed"
    for name in ("privacy_policy", "terms"):
        url = getattr(profile, name)
        if url and (broken := validate_web_uri(url, loopback=False)):
            faults[name] = broken
    if fault := html_fault(profile.retention) or (
        too_long(TEXT_BOUND) if len(profile.retention) > TEXT_BOUND else ""
    ):
        faults["retention"] = fault
    return _contradictions(profile) | _parts_faults(profile) | faults


def _parts_faults(profile: Profile) -> dict[str, str]:
    faults: dict[str, str] = {}
    regions, others = profile.hosting_regions, profile.subcontractors or ()
    if len(regions) > PARTS_BOUND:
        faults["hosting_regions"] = too_many(PARTS_BOUND)
    elif len(set(regions)) < len(regions):
        faults["hosting_regions"] = "named_twice"
    elif not all(_REGION.fullmatch(each) for each in regions):
        faults["hosting_regions"] = "region_malformed"
    if len(others) > PARTS_BOUND:
        return faults | {"subcontractors": too_many(PARTS_BOUND)}
    for each in others:
        text_fault = html_fault(each.name + each.purpose) or name_fault(each.name) or name_fault(each.purpose)
        if text_fault:
            faults["subcontractors"] = text_fault
        elif each.region not in regions:
            # Data that a subcontractor works on in a region is hosted there.
            faults["subcontractors"] = "region_not_listed"
    return faults


def _contradictions(profile: Profile) -> dict[str, str]:
    faults: dict[str, str] = {}
    days = profile.retention_days
    if days is not None and not 0 <= days <= RETENTION_DAYS_MAX:
        faults["retention_days"] = out_of_range(0, RETENTION_DAYS_MAX, "days")
    elif days and profile.stores_data is False:
        faults["retention_days"] = "retention_without_data"
    elif days == 0 and profile.stores_data:
        faults["retention_days"] = "data_without_retention"
    if profile.terms and profile.terms == profile.privacy_policy:
        faults["terms"] = "same_as_privacy_policy"
    if profile.security_escalation and profile.security_escalation == profile.security_contact:
        # Whoever does not answer cannot be the way around their not answering.
        faults["security_escalation"] = "same_as_security_contact"
    return faults
