"""Who publishes, what hospitals see, and which statements are verified. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import VendorId
from hilum.identity.people.models import StaffRole, VendorRight
from hilum.identity.people.policy import may_as_member
from hilum.review.certificates.models import Certificate, Status
from hilum.review.listings.models import Basis, Listed, Statement
from hilum.review.submissions.models import DisciplineReview, DisciplineState, Result, Run


def may_publish(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may publish an app of a vendor: its owners and developers."""
    return may_as_member(actor, vendor, VendorRight.APPS)


def may_unpublish(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may end a listing: those who publish, platform administrators and security."""
    is_staff = actor.kind is ActorKind.STAFF and bool(_ENDERS & actor.roles)
    return is_staff or may_publish(actor, vendor)


_ENDERS = frozenset({StaffRole.PLATFORM_ADMIN, StaffRole.SECURITY})


def is_valid(certificate: Certificate | None) -> bool:
    return certificate is not None and certificate.status is Status.VALID


VERIFIED: Mapping[str, str] = MappingProxyType(
    {
        "address.answers": "Its addresses answer",
        "address.stays": "Its addresses do not redirect elsewhere",
        "address.tls": "Its addresses have valid certificates",
        "contacts.proved": "Its vendor's contacts are proved",
        "document.as_declared": "Documents match the digests that the vendor declared",
        "evidence.attached": "The evidence that the policy asks for is there",
        "keys.usable": "Its keys can be used",
        "records.unchanged": "Its records are as they were submitted",
        "scopes.justified": "What it asks for is within its workflows, or justified",
        "tier.allowed": "Its risk tier is allowed",
    }
)
"""What a passed check verified, by its rule. Other rules concern the review itself."""
_PROFILE = {
    "owner": "Who owns it",
    "support_contact": "Whom to ask for support",
    "security_contact": "Whom to report a security problem to",
    "stores_data": "Whether it stores data",
    "retention": "How long it keeps data",
    "retention_days": "Days for which it keeps data",
    "subcontractors": "Subcontractors",
    "hosting_regions": "Where it is hosted",
    "privacy_policy": "Its privacy policy",
    "terms": "Its terms",
}
TEXT_SHOWN = 300


def statements_of(
    content: Mapping[str, Any],
    run: Run | None,
    disciplines: Iterable[DisciplineReview],
    *,
    version: str,
    at: datetime,
) -> tuple[Statement, ...]:
    """Return what a version's submission and review state, verified statements first (C229). ``content``: the description of what was submitted ``at``.

    INVARIANT: only what a check or a discipline passed is verified, never what a check could not see or did not require.
    """
    return (*_verified(run, disciplines, version), *_attested(content, version, at))


def _verified(run: Run | None, disciplines: Iterable[DisciplineReview], version: str) -> Iterator[Statement]:
    if run is not None:
        blocked = {each.rule for each in run.judgement.checks if each.blocks}
        passed = {each.rule for each in run.judgement.checks if each.result is Result.PASSED}
        for rule in sorted(passed - blocked):
            if rule in VERIFIED:
                yield Statement(Basis.VERIFIED, VERIFIED[rule], version, run.at)
    for each in disciplines:
        # A discipline that no person judged passed by the checks above.
        if (
            each.state is DisciplineState.PASSED
            and each.judged_at is not None
            and each.reviewer != str(SYSTEM)
        ):
            what = f"A reviewer passed the {each.discipline.value} discipline"
            yield Statement(Basis.VERIFIED, what, version, each.judged_at)


def _attested(content: Mapping[str, Any], version: str, at: datetime) -> Iterator[Statement]:
    app, profile = content.get("app", {}), content.get("profile", {})
    stated = [("What it does", app.get("description")), ("What it is for", app.get("purpose"))]
    stated += [(title, profile.get(name)) for name, title in _PROFILE.items()]
    if (ai := content.get("version", {}).get("ai_use")) is not None:
        stated.append(("Which AI it uses, and how far that acts by itself", ai))
    for what, value in stated:
        if value not in (None, "", []):
            yield Statement(Basis.ATTESTED, what, version, at, _text(value))


def _text(value: object) -> str:
    match value:
        case bool():
            text = "yes" if value else "no"
        case dict():
            text = ", ".join(
                f"{name}: {_text(each)}" for name, each in value.items() if each not in (None, "")
            )
        case list():
            text = "; ".join(map(_text, value))
        case _:
            text = str(value)
    return text if len(text) <= TEXT_SHOWN else f"{text[: TEXT_SHOWN - 1]}…"


def is_visible(found: Listed) -> bool:
    """Check whether hospitals see a listing."""
    wanted = found.listing.published and not found.listing.hidden
    return wanted and is_valid(found.certificate) and found.in_open_category
