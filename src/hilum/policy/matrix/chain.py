"""The signed bytes of versions and applications, and the chain of applications. Pure.

Each application contains the digest of the one before it, so the newest signature covers all of them. A tail that is cut off is shown by
the audit trail, which has the number and digest of each application (``trail_fault``).
"""

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise

from hilum.policy.matrix.document import canonical
from hilum.policy.matrix.models import Application, Recorded, Version

BEGINS = ""
"""``previous`` of an application that begins a chain: the first one, or one by which two people replaced what could not be trusted."""


def document_digest(document: str) -> str:
    """Return the digest of a stored document: of its bytes as they are, not of what a release reads in them."""
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).hexdigest()


def version_bytes(version: Version) -> bytes:
    """Return the signed bytes of a version: every field, with the document's digest."""
    return canonical(
        {
            "what": "version",
            "number": version.number,
            "base": version.base,
            "digest": version.digest,
            "note": version.note,
            "added_by": version.added_by,
            "added_at": version.added_at.isoformat(),
        }
    )


def application_bytes(application: Application) -> bytes:
    """Return the signed bytes of an application: every field, including the digests of its version and of the application before it."""
    return canonical(
        {
            "what": "application",
            "number": application.number,
            "version": application.version,
            "digest": application.digest,
            "tenants": list(application.tenants),
            "reason": application.reason,
            "applied_by": application.applied_by,
            "applied_at": application.applied_at.isoformat(),
            "agreed_by": application.agreed_by,
            "previous": application.previous,
        }
    )


def application_digest(application: Application) -> str:
    """Return the digest of an application, as the next one and the audit trail contain it."""
    signed = application_bytes(application)
    return hashlib.sha256(signed + f"\n{application.kid}\n{application.signature}".encode()).hexdigest()


def links_fault(applications: Iterable[Application]) -> str:
    """Return where applications, oldest first, do not follow each other; empty if each follows the one before it."""
    for before, after in pairwise(applications):
        if after.number != before.number + 1:
            return f"Applications {before.number + 1} to {after.number - 1} of the policy are missing."
        if after.previous != application_digest(before):
            return f"Application {after.number} of the policy does not follow application {before.number} as it is."
    return ""


def start_fault(applications: Sequence[Application]) -> str:
    """Return why what is in force cannot begin with the first of these applications; empty if it can."""
    if applications and applications[0].tenants:
        return "The application that put a policy in force everywhere is missing."
    return ""


def trail_fault(last: Application | None, recorded: Iterable[Recorded]) -> str:
    """Return why the newest application differs from the newest one in the audit trail; empty if it does not, or if the trail has none."""
    newest = max(recorded, key=lambda each: each.number, default=None)
    if newest is None:
        return ""
    number = 0 if last is None else last.number
    if newest.number > number:
        return f"Applications {number + 1} to {newest.number} of the policy are missing: the audit trail has their records."
    if last is not None and newest.number == number and newest.head != application_digest(last):
        return f"Application {number} of the policy is not the one in the audit trail."
    return ""
