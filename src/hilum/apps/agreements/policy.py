"""Who may record and confirm an agreement, when it is in force, and which an app needs. Pure."""

import re
from collections.abc import Collection, Iterable
from datetime import datetime

from hilum.apps.agreements.models import (
    ENTITY_BOUND,
    KINDS,
    LIFE_BOUND,
    PARTIES_BOUND,
    PARTIES_LEAST,
    REMIND_BEFORE,
    Agreement,
    AgreementState,
    NewAgreement,
    Side,
)
from hilum.apps.clients.models import SYSTEM_CLIENTS, ClientFacts
from hilum.apps.clients.policy import admission
from hilum.apps.registry.models import Environment
from hilum.controls.switches.policy import administers
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.limits import Bounded, too_long, too_many
from hilum.identity.people.models import Role, VendorRight
from hilum.identity.people.policy import is_member, may_as_member
from hilum.policy.matrix.models import Book
from hilum.records.notices.policy import plain_name

_SHA256 = re.compile(r"[0-9a-f]{64}")


def side_of(actor: Actor, vendor: str, tenant: str) -> Side | None:
    """Return the organisation for which an actor may sign agreements; None if they may for neither."""
    if administers(actor, tenant):
        return Side.HOSPITAL
    return Side.VENDOR if may_as_member(actor, vendor, VendorRight.PROFILE) else None


def may_see(actor: Actor, vendor: str, tenant: str) -> bool:
    """Check whether an actor may read the agreements of a vendor with a hospital: the two organisations, and the platform's staff."""
    return actor.is_platform or administers(actor, tenant) or is_member(actor, vendor)


def order_faults(order: NewAgreement, named: Collection[str], now: datetime) -> dict[str, str]:
    """Return the error code of each invalid field. ``named``: the kinds that the policy requires somewhere."""
    faults: dict[str, str] = {}
    if order.kind not in KINDS and order.kind not in named:
        faults["kind"] = "agreement_kind_unknown"
    if not _SHA256.fullmatch(order.document):
        faults["document"] = "digest_malformed"
    parties = [party.strip() for party in order.parties]
    if not all(parties) or len(set(parties)) < PARTIES_LEAST:
        faults["parties"] = "parties_missing"
    elif len(parties) > PARTIES_BOUND:
        faults["parties"] = too_many(PARTIES_BOUND)
    if len(order.entity) > ENTITY_BOUND:
        faults["entity"] = too_long(ENTITY_BOUND)
    # The mails about it name the legal entity.
    elif order.entity.strip() and not plain_name(order.entity):
        faults["entity"] = "name_malformed"
    if order.ends_at is not None:
        if order.ends_at <= now:
            faults["ends_at"] = "not_in_the_future"
        elif order.ends_at <= order.effective_at:
            faults["ends_at"] = "ends_before_it_begins"
        # A difference, since the sum would overflow for dates near the end of the calendar.
        elif order.ends_at - order.effective_at > LIFE_BOUND:
            faults["ends_at"] = Bounded("too_far_away", f"at most {LIFE_BOUND.days:,} days after it begins")
    return faults


def state_of(agreement: Agreement, now: datetime) -> AgreementState:
    """Return the state of an agreement now."""
    over = agreement.ends_at is not None and agreement.ends_at <= now
    if over and (agreement.ended_by or agreement.confirmed_at is None):
        return AgreementState.ENDED
    if over:
        return AgreementState.LAPSED
    if agreement.confirmed_at is None:
        return AgreementState.WAITING
    return AgreementState.AGREED if now < agreement.effective_at else AgreementState.IN_FORCE


def is_in_force(agreement: Agreement, now: datetime) -> bool:
    """Check whether an agreement is in force."""
    return state_of(agreement, now) is AgreementState.IN_FORCE


def next_due(agreement: Agreement, now: datetime) -> datetime | None:
    """Return when a confirmed agreement next begins, ends or needs a reminder; None if it never does again."""
    moments = [agreement.effective_at]
    if agreement.ends_at is not None:
        moments += [agreement.ends_at, *(agreement.ends_at - before for before in REMIND_BEFORE)]
    return min((moment for moment in moments if moment > now), default=None)


def is_covered(agreement: Agreement, others: Iterable[Agreement], at: datetime) -> bool:
    """Check whether another agreement of the same vendor, hospital, legal entity and kind is in force at a moment."""
    covered = agreement.vendor, agreement.tenant, agreement.entity, agreement.kind
    return any(
        (other.vendor, other.tenant, other.entity, other.kind) == covered and is_in_force(other, at)
        for other in others
        if other.id != agreement.id
    )


def required_by(book: Book, client: ClientFacts, now: datetime) -> frozenset[str]:
    """Return the kinds of agreements that the policy requires for a client (C189)."""
    # A hospital's own EHR has no vendor.
    if client.type in SYSTEM_CLIENTS:
        return frozenset()
    entry = admission(book, client, now).entry
    # A client that no entry admits may do nothing, so it needs no agreement either.
    return frozenset() if entry is None else entry.agreements


def missing(
    book: Book,
    clients: Iterable[ClientFacts],
    environment: Environment,
    roles: Collection[str],
    in_force: Collection[str],
    *,
    now: datetime,
) -> frozenset[str]:
    """Return the required kinds of agreements that are not in force, for people of these roles who use an app's clients at a hospital.

    ``roles`` empty: the app acts for the hospital. A sandbox needs no agreement, since it holds no real records. An app that only patients
    use needs none, since they decide about their own record.
    """
    if environment is Environment.SANDBOX or (roles and set(roles) <= {Role.PATIENT.value}):
        return frozenset()
    required = frozenset(kind for client in clients for kind in required_by(book, client, now))
    return required - frozenset(in_force)


def listed(kinds: Iterable[str]) -> str:
    """Return the names of kinds of agreements, for people."""
    return ", ".join(KINDS.get(kind, kind.replace("_", " ")) for kind in sorted(kinds))
