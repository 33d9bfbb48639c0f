"""What a rule book admits of a client, until when it is certified by it, and what it may do. Pure, and kept: every request asks several times."""

from datetime import datetime, timedelta
from functools import lru_cache

from hilum.clients.models import ClientFacts, ClientType
from hilum.kernel.ids import ClientId
from hilum.policies.models import ANY, Admission, Applicant, Book, Cell, ClientAuthentication
from hilum.policies.policy import admit
from hilum.standards.smart.scopes import narrow

ADMISSIONS_BOUND = 5_000
"""Clients whose admission is kept. One has some 400 scopes at most (40 KB), and usually a dozen (1 KB)."""
AUTHENTICATION = {
    ClientType.PUBLIC: ClientAuthentication.NONE,
    ClientType.SYMMETRIC: ClientAuthentication.SECRET,
    ClientType.ASYMMETRIC: ClientAuthentication.KEY,
    ClientType.BACKEND: ClientAuthentication.KEY,
}
"""How an app's client authenticates, as the rule book names it. Peers are no apps, and no book is about them."""


_Found = tuple[ClientFacts, Admission, datetime | None, datetime | None]


class _Admitted(dict[tuple[Book, ClientId], _Found]):
    """What each book admits of each client that was asked about last, until when it is certified and served, with the facts that this follows from."""

    def cache_clear(self) -> None:
        self.clear()


_admitted = _Admitted()


def _admitted_of(book: Book, facts: ClientFacts) -> _Found:
    # Every request asks several times. The same object needs no comparison of its 25 fields; other facts are judged again.
    kept = _admitted.get((book, facts.id))
    if kept is None or kept[0] is not facts:
        found = _admission(book, facts)
        if len(_admitted) >= ADMISSIONS_BOUND:
            _admitted.cache_clear()
        ends, served = certified_until_in(found.cell, facts), served_until_in(found.cell, facts)
        kept = _admitted[book, facts.id] = (facts, found, ends, served)
    return kept


def admission(book: Book, facts: ClientFacts) -> Admission:
    """Return what a rule book admits of a client, of the scopes for which it is registered and certified; cached for the same facts."""
    return _admitted_of(book, facts)[1]


@lru_cache(maxsize=ADMISSIONS_BOUND)
def _admission(book: Book, facts: ClientFacts) -> Admission:
    # By value: facts that were read again and are the same need no second judgement.
    scopes = narrow(facts.scopes, facts.certified_scopes)
    authentication = AUTHENTICATION.get(facts.type)
    return admit(
        book,
        Applicant(
            facts.category,
            scopes,
            authentication,
            facts.workflows,
            facts.placements,
            certified_tier=facts.certified_tier,
            certified_category=facts.certified_category,
            version=facts.version,
            autonomy=facts.autonomy,
            population=facts.population,
            raised=facts.raised,
            raised_because=facts.raised_because,
        ),
    )


def certified_until(book: Book, facts: ClientFacts) -> datetime | None:
    """Return when a client's certification ends: as it says, or sooner by the life that the rule book in force gives its cell.

    Judged when it is used, because a life may have been shortened since. A client that no cell admits has nothing that could end.
    """
    return _admitted_of(book, facts)[2]


def certified_until_in(cell: Cell | None, facts: ClientFacts) -> datetime | None:
    """Return when a client's certification ends in the cell that it acts in."""
    if cell is None or facts.certified_until is None or facts.certified_at is None:
        return facts.certified_until
    return min(facts.certified_until, facts.certified_at + cell.certificate_life)


def served_until(book: Book, facts: ClientFacts) -> datetime | None:
    """Return until when a client acts where it is installed: until its certification ends, and for the grace of its cell after that (C114)."""
    return _admitted_of(book, facts)[3]


def served_until_in(cell: Cell | None, facts: ClientFacts) -> datetime | None:
    """Return until when a client acts where it is installed, in the cell that it acts in."""
    ends = certified_until_in(cell, facts)
    return None if ends is None else ends + _grace(cell, facts)


def unbroken_since(book: Book, facts: ClientFacts) -> datetime | None:
    """Return since when a client has been active, and certified or in a grace, without interruption; None: always."""
    grace = _grace(admission(book, facts).cell, facts)
    # As between certifications that meet: what begins at the very end of a grace continues it.
    return min((since for gap, since in facts.gaps if gap <= grace), default=facts.since)


def _grace(cell: Cell | None, facts: ClientFacts) -> timedelta:
    # A withdrawal says that somebody must not go on, which no earlier certification takes back.
    return timedelta(0) if cell is None or facts.graceless else timedelta(days=cell.grace_days)


def workflows_allowed(book: Book, facts: ClientFacts) -> frozenset[str]:
    """Return the workflows that an app may do: those that its version declares, within the cell in which it acts (C190)."""
    cell = admission(book, facts).cell
    if cell is None:
        return frozenset()
    limits = [set(names) for names in (cell.workflows, facts.workflows) if ANY not in names]
    return frozenset(name for name in book.workflows if all(name in names for names in limits))
