"""When a link may be used, and the digests of links and setup codes. Pure.

Source: security decision 25; docs/adr/0029-two-people-are-two.md
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hilum.foundation.kernel import typed_codes
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.enrolment.models import (
    CODE_TRIES,
    LINK_PREFIX,
    Link,
)
from hilum.identity.people.models import NewPerson, Person

_LINK = re.compile(re.escape(LINK_PREFIX) + r"[A-Za-z0-9_-]{43}")


def write_person(person: NewPerson | Person) -> dict[str, Any]:
    """Return a person, or one to add, as the record of an approval, which has the tenant itself."""
    return {
        "username": person.username,
        "name": person.name,
        "role": person.role,
        "fhir_user": person.fhir_user,
        "patients": list(person.patients),
        "mail": person.mail,
    }


def read_person(tenant: TenantId | None, order: Mapping[str, Any]) -> NewPerson:
    """Parse the person to add from the record of an approval."""
    return NewPerson(
        tenant=tenant,
        username=order["username"],
        name=order["name"],
        role=order["role"],
        fhir_user=order["fhir_user"],
        patients=tuple(order["patients"]),
        mail=order.get("mail", ""),
    )


def looks_like_link(text: str) -> bool:
    """Check whether a text has the form of a link's secret."""
    return _LINK.fullmatch(text) is not None


def link_fault(link: Link, now: datetime) -> str:
    """Return why a link can no longer be used; empty if it can."""
    if link.used_at is not None:
        return "used"
    if link.replaced_at is not None:
        return "replaced"
    if link.tries >= CODE_TRIES:
        return "spent"
    return "expired" if now >= link.expires_at else ""


def digest(secret: str) -> str:
    """Return the digest under which a link is stored and found."""
    return hashlib.sha256(secret.encode()).hexdigest()


def code_digest(approval: str, code: str) -> str:
    """Return the digest of a setup code, bound to its approval. Case, spaces, dashes and letters mistaken for digits do not matter."""
    return hashlib.sha256(f"{approval}\0{typed_codes.plain(code)}".encode()).hexdigest()


def code_matches(stored: str, approval: str, code: str) -> bool:
    """Check a setup code in constant time."""
    # Bound to the approval, so that a code for one account opens no other.
    return hmac.compare_digest(stored, code_digest(approval, code))
