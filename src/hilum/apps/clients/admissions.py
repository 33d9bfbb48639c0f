"""A client's admission by a policy, the end of its certification, and its workflows. Pure and cached: every request asks several times."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache

from hilum.apps.clients.models import Basis, ClientFacts, ClientType
from hilum.foundation.kernel.ids import ClientId
from hilum.foundation.standards.smart.scopes import all_covered, narrow
from hilum.policy.matrix.models import ANY, Admission, Applicant, Book, ClientAuthentication, PolicyEntry
from hilum.policy.matrix.policy import admit

ADMISSIONS_BOUND = 12_000
"""Clients whose admission is kept: more than the 10,000 apps that a platform is built for, since judging one again costs the event loop 0.4 ms.

One has some 400 scopes at most (40 KB), and usually a dozen (1 KB).
"""
AUTHENTICATION = {
    ClientType.PUBLIC: ClientAuthentication.NONE,
    ClientType.SYMMETRIC: ClientAuthentication.SECRET,
    ClientType.ASYMMETRIC: ClientAuthentication.KEY,
    ClientType.BACKEND: ClientAuthentication.KEY,
}
"""How an app's client authenticates, in the policy's terms. System clients are not apps, so no policy covers them."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A policy's admission by one certification, its end, and the end of its grace."""

    admission: Admission
    ends: datetime | None
    served: datetime | None


@dataclass(frozen=True, slots=True)
class _Found:
    """A policy's admission of a client, by certification, with the facts behind it."""

    facts: ClientFacts
    held: tuple[_Held, ...]
    ends: datetime | None
    served: datetime | None
    together: dict[tuple[int, ...], Admission]
    """Combined admissions, by the set of certifications that are served."""


class _Admitted(dict[tuple[Book, ClientId], _Found]):
    """Each policy's admissions of the recently used clients."""

    def cache_clear(self) -> None:
        self.clear()


_admitted = _Admitted()


def _admitted_of(book: Book, facts: ClientFacts) -> _Found:
    # Every request asks several times. The same object needs no comparison of 25 fields; other facts are judged again.
    kept = _admitted.get((book, facts.id))
    if kept is None or kept.facts is not facts:
        held = tuple(_held(basis, _admission(book, facts, place)) for place, basis in enumerate(facts.bases))
        if len(_admitted) >= ADMISSIONS_BOUND:
            _admitted.cache_clear()
        ends, served = _latest(each.ends for each in held), _latest(each.served for each in held)
        kept = _admitted[book, facts.id] = _Found(facts, held, ends, served, {})
    return kept


def _held(basis: Basis, admitted: Admission) -> _Held:
    return _Held(admitted, _ends_in(admitted.entry, basis), _served_in(admitted.entry, basis))


def _latest(moments: Iterable[datetime | None]) -> datetime | None:
    return max(filter(None, moments), default=None)


def admission(book: Book, facts: ClientFacts, now: datetime) -> Admission:
    """Return what a policy admits of a client now, of the scopes for which it is registered and certified; cached for the same facts.

    What the certifications that are in force or in their grace admit, each for itself (ADR 36). Once none is, that of the last one: whether a
    client is certified at all is another question (``served_until``).
    """
    found = _admitted_of(book, facts)
    # The usual case: nothing to combine, and no time to compare.
    if len(found.held) == 1:
        return found.held[0].admission
    alive = _alive(found, now)
    kept = found.together.get(alive)
    if kept is None:
        kept = found.together[alive] = together([found.held[n].admission for n in alive])
    return kept


def _alive(found: _Found, now: datetime) -> tuple[int, ...]:
    """Return the certifications in force or in grace; without one, the last."""
    alive = tuple(n for n, each in enumerate(found.held) if each.served is not None and now < each.served)
    return alive or tuple(n for n, each in enumerate(found.held) if each.served == found.served)[:1]


def together(admissions: Sequence[Admission]) -> Admission:
    """Combine admissions: what any of them admits, in the entry of the highest tier.

    INVARIANT: each scope, or part of one, is admitted by one of them alone; more admissions never admit less.
    """
    if len(admissions) == 1:
        return admissions[0]
    scopes = tuple(dict.fromkeys(scope for each in admissions for scope in each.scopes))
    acting = max(admissions, key=lambda each: -1 if each.tier is None else each.tier.rank)
    assessed = max((each.assessment for each in admissions), key=lambda each: each.tier.rank)
    reasons = dict.fromkeys(reason for each in admissions for reason in each.assessment.reasons)
    withheld = dict.fromkeys(one for each in admissions for one in each.withheld)
    return Admission(
        replace(assessed, reasons=tuple(sorted(reasons, key=lambda reason: -reason.tier.rank))),
        acting.tier,
        acting.entry,
        scopes,
        # What one admission withholds and another one admits is not withheld.
        tuple(each for each in withheld if not all_covered((each.scope,), scopes)),
    )


@lru_cache(maxsize=ADMISSIONS_BOUND)
def _admission(book: Book, facts: ClientFacts, place: int) -> Admission:
    # By value: equal facts that were read again need no second judgement.
    basis = facts.bases[place]
    return admit(
        book,
        Applicant(
            facts.category,
            narrow(facts.scopes, basis.scopes),
            AUTHENTICATION.get(facts.type),
            facts.workflows,
            facts.placements,
            certified_tier=basis.tier,
            certified_category=basis.category,
            version=facts.version,
            autonomy=facts.autonomy,
            population=facts.population,
        ),
    )


def certified_until(book: Book, facts: ClientFacts) -> datetime | None:
    """Return when the last certification of a client ends: as it says, or sooner by the life that the policy in force gives its entry.

    Judged when it is used, because a life may have been shortened since. A client that no entry admits has nothing that could end.
    """
    return _admitted_of(book, facts).ends


def served_until(book: Book, facts: ClientFacts) -> datetime | None:
    """Return until when a client acts where it is installed: until its last certification ends, and for the grace of its entry after that (C114)."""
    return _admitted_of(book, facts).served


def served_by(book: Book, facts: ClientFacts, basis: Basis) -> datetime | None:
    """Return until when a client acts by one certification, with its grace; None: it has none like it."""
    held = zip(facts.bases, _admitted_of(book, facts).held, strict=True)
    return next((each.served for of, each in held if of == basis), None)


def ends_in(book: Book, found: Admission, facts: ClientFacts) -> datetime | None:
    """Return when the last certification of a client that is admitted as ``found`` ends; for callers that judge equal clients once."""
    if facts.also:
        return certified_until(book, facts)
    return _ends_in(found.entry, facts.bases[0])


def serves_until(book: Book, found: Admission, facts: ClientFacts) -> datetime | None:
    """Return until when a client that is admitted as ``found`` acts; for callers that judge equal clients once."""
    if facts.also:
        return served_until(book, facts)
    return _served_in(found.entry, facts.bases[0])


def _ends_in(entry: PolicyEntry | None, basis: Basis) -> datetime | None:
    if entry is None or basis.until is None or basis.at is None:
        return basis.until
    return min(basis.until, basis.at + entry.certificate_life)


def _served_in(entry: PolicyEntry | None, basis: Basis) -> datetime | None:
    ends = _ends_in(entry, basis)
    return None if ends is None else ends + _grace(entry, graceless=basis.graceless)


def unbroken_since(book: Book, facts: ClientFacts, now: datetime) -> datetime | None:
    """Return since when a client has been active, and certified or in a grace, without interruption; None: always."""
    graceless = any(facts.bases[n].graceless for n in _alive(_admitted_of(book, facts), now))
    grace = _grace(admission(book, facts, now).entry, graceless=graceless)
    # As between certifications that meet: what begins at the very end of a grace continues it.
    return min((since for gap, since in facts.gaps if gap <= grace), default=facts.since)


def _grace(entry: PolicyEntry | None, *, graceless: bool) -> timedelta:
    # A withdrawal stops an app, and no earlier certification may undo that.
    return timedelta(0) if entry is None or graceless else timedelta(days=entry.grace_days)


def workflows_allowed(book: Book, facts: ClientFacts, now: datetime) -> frozenset[str]:
    """Return the workflows that an app may do: those that its version declares, within the entry in which it acts (C190)."""
    entry = admission(book, facts, now).entry
    if entry is None:
        return frozenset()
    limits = [set(names) for names in (entry.workflows, facts.workflows) if ANY not in names]
    return frozenset(name for name in book.workflows if all(name in names for names in limits))
