"""Which acts take two people, which two count, and when a link may be used. Pure.

Source: security decision 25; docs/adr/0029-two-people-are-two.md
"""

import hashlib
import hmac
import re
from datetime import datetime

from hilum.controls.policy import administers, rules_the_platform
from hilum.enrolment.models import (
    CODE_GROUP,
    CODE_GROUPS,
    CODE_LETTERS,
    CODE_TRIES,
    LINK_PREFIX,
    Approval,
    ApprovalState,
    Link,
)
from hilum.identity.models import Role
from hilum.identity.policy import may_administer
from hilum.kernel.actor import Actor, ActorKind
from hilum.kernel.ids import TenantId

_LINK = re.compile(re.escape(LINK_PREFIX) + r"[A-Za-z0-9_-]{43}")
_MISREAD = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})


def has_power(tenant: TenantId | None, role: str) -> bool:
    """Check whether an account has power over other people: the platform's staff, and administrators of a tenant."""
    return tenant is None or role == Role.ADMINISTRATOR


def creating_takes_two(actor: Actor, tenant: TenantId | None, role: str) -> bool:
    """Check whether making an account takes a second person. The host and the platform itself act alone, at set-up."""
    return actor.kind in {ActorKind.PERSON, ActorKind.STAFF} and has_power(tenant, role)


def resetting_takes_two(actor: Actor, tenant: TenantId | None, role: str, *, enrolled: bool) -> bool:
    """Check whether a link into an account takes a second person: into one in use, or one with power, it does."""
    return actor.kind in {ActorKind.PERSON, ActorKind.STAFF} and (enrolled or has_power(tenant, role))


def may_decide(actor: Actor, tenant: TenantId | None) -> bool:
    """Check whether an actor may be the second person for an account of a tenant (None: staff), and see what waits there."""
    if actor.kind is ActorKind.STAFF:
        return rules_the_platform(actor)
    return administers(actor, tenant or "")


def decision_fault(
    approval: Approval, actor: Actor, *, asker: Actor | None, of_age: bool, now: datetime
) -> str:
    """Return why this actor may not agree to what was asked; empty when they may.

    ``asker`` is who asked, if they still count as one of two people, else None; ``of_age``: whether the actor does.
    INVARIANT: nobody agrees to what they asked for, nor to a way into their own account.
    """
    if approval.state is not ApprovalState.PENDING or now >= approval.expires_at:
        return "approval_over"
    if not may_decide(actor, approval.tenant):
        return "not_permitted"
    if actor.id == approval.asked_by:
        return "asked_by_you"
    if actor.id == approval.person:
        return "about_you"
    if not of_age:
        return "account_too_new"
    if asker is None or not may_administer(asker, approval.tenant):
        return "asker_no_longer_counts"
    return ""


def may_refuse(approval: Approval, actor: Actor) -> bool:
    """Check whether an actor may turn down what was asked; who asked takes it back so."""
    return may_decide(actor, approval.tenant) or actor.id == approval.asked_by


def looks_like_link(text: str) -> bool:
    """Check whether a text can be the secret of a link at all."""
    return _LINK.fullmatch(text) is not None


def link_fault(link: Link, now: datetime) -> str:
    """Return why a link can no longer be used; empty when it can."""
    if link.used_at is not None:
        return "used"
    if link.replaced_at is not None:
        return "replaced"
    if link.tries >= CODE_TRIES:
        return "spent"
    return "expired" if now >= link.expires_at else ""


def digest(secret: str) -> str:
    """Return the form in which a link's secret is stored and looked up."""
    return hashlib.sha256(secret.encode()).hexdigest()


def code_from(secret: str) -> str:
    """Write a setup code from fresh randomness."""
    raw = hashlib.sha256(secret.encode()).digest()
    letters = "".join(CODE_LETTERS[byte & 31] for byte in raw[: CODE_GROUPS * CODE_GROUP])
    return "-".join(letters[at : at + CODE_GROUP] for at in range(0, len(letters), CODE_GROUP))


def code_digest(approval: str, code: str) -> str:
    """Return the form in which a setup code is stored: bound to its approval, and as people may type it."""
    plain = code.strip().upper().translate(_MISREAD)
    return hashlib.sha256(f"{approval}\0{plain}".encode()).hexdigest()


def code_matches(stored: str, approval: str, code: str) -> bool:
    """Check a setup code in constant time."""
    return hmac.compare_digest(stored, code_digest(approval, code))
