"""Domain names, what proves one, and until when. Pure."""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.apps.contacts.domain_models import (
    LINE_PREFIX,
    LINES_BOUND,
    PATH,
    RECORD_PREFIX,
    RENEW_BEFORE,
    RENEW_EVERY,
    WARN_BEFORE,
    Domain,
    DomainState,
)
from hilum.apps.contacts.models import PROOF_LIFE
from hilum.apps.registry.policy import may_change
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.ids import VendorId
from hilum.identity.people.models import VendorRight

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label begins with a letter: no spelling of an address does, so none passes as a name.
_NAME = re.compile(rf"(?=.{{4,253}}\Z)(?:{_LABEL}\.)+[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])")
_RESERVED = frozenset(
    {
        "alt",
        "arpa",
        "corp",
        "home",
        "internal",
        "intranet",
        "invalid",
        "lan",
        "local",
        "localhost",
        "onion",
        "test",
    }
)
"""Last labels that lead nowhere, or into a network of one's own. Source: RFC 6761, RFC 9476."""


def may_manage(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may add and remove domains of a vendor: the platform and its owners."""
    return may_change(actor, vendor, VendorRight.PROFILE)


def may_check(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may have a domain checked: developers too, who publish the file."""
    return may_manage(actor, vendor) or may_change(actor, vendor, VendorRight.APPS)


def parse_name(text: str) -> str:
    """Return a domain's name in lower case; empty if it cannot be proved."""
    name = text.strip().lower()
    if not _NAME.fullmatch(name) or name.rpartition(".")[2] in _RESERVED:
        return ""
    return name


def proof_url(name: str) -> str:
    """Return where the file of a domain is fetched. The token is not in it, so a page that repeats its address proves nothing."""
    return f"https://{name}{PATH}"


def record_name(name: str) -> str:
    """Return the name whose TXT record may prove a domain. Not the domain itself: what others publish there has no say."""
    return RECORD_PREFIX + name


def proof_line(domain: Domain) -> str:
    """Return the line that the file, or the TXT record, must hold."""
    return LINE_PREFIX + domain.token


def file_fault(domain: Domain, status: int, body: bytes) -> str:
    """Return what is wrong with the file of a domain as it was fetched; empty if it proves the domain."""
    if status != 200:
        return "proof_not_found"
    lines = body.decode("utf-8", "replace").splitlines()[:LINES_BOUND]
    # Whole lines: a file may serve several vendors and platforms, a line one.
    return "" if proof_line(domain) in (each.strip() for each in lines) else "proof_differs"


def record_fault(domain: Domain, texts: Iterable[str]) -> str:
    """Return what is wrong with the TXT records of a domain; empty if one of them proves it."""
    found = {each.strip() for each in texts}
    if proof_line(domain) in found:
        return ""
    return "record_differs" if any(each.startswith(LINE_PREFIX) for each in found) else "proof_not_found"


def check_fault(of_file: str, of_record: str) -> str:
    """Return why neither the file nor the record of a domain proves it; empty if one does."""
    if not of_file or not of_record:
        return ""
    # Whoever publishes a record means it to count; everybody else is helped by what is wrong with the file.
    return of_record if of_record == "record_differs" else of_file


def state_of(domain: Domain, now: datetime) -> DomainState:
    """Return the state of a domain now."""
    if domain.proof_ends_at is None:
        return DomainState.WAITING
    return DomainState.PROVED if now < domain.proof_ends_at else DomainState.LAPSED


def after_check(domain: Domain, fault: str, now: datetime) -> Domain:
    """Return a domain after a check. One that failed ends no proof: only its date does."""
    if not fault:
        ends = now + PROOF_LIFE
        return replace(
            domain,
            proved_at=now,
            proof_ends_at=ends,
            lapsed_at=None,
            checked_at=now,
            fault="",
            next_check_at=ends - RENEW_BEFORE,
        )
    return replace(domain, checked_at=now, fault=fault)


def warns(domain: Domain, now: datetime) -> bool:
    """Check whether the vendor is to be mailed that the proof of a domain is not renewed and ends soon."""
    if domain.proof_ends_at is None or not domain.fault or domain.warned_for == domain.proof_ends_at:
        return False
    return timedelta(0) < domain.proof_ends_at - now <= WARN_BEFORE


def next_renewal(now: datetime) -> datetime:
    """Return when a renewal that is tried now is tried again, unless it succeeds."""
    return now + RENEW_EVERY


def is_of(address: str, proved: Iterable[str]) -> bool:
    """Check whether a mail address is at a domain that is proved, or below one."""
    host = address.rpartition("@")[2].lower()
    return any(host == name or host.endswith(f".{name}") for name in proved)
