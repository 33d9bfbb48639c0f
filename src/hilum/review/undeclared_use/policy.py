"""Which counted use exceeds what a version declares. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import chain
from operator import attrgetter

from hilum.foundation.kernel.lists import counted, listed
from hilum.foundation.standards.smart.scopes import (
    WRITES,
    ClinicalScope,
    Prefix,
    Scope,
    covers,
    parse_stored,
    render,
)
from hilum.policy.matrix.models import ANY, Applicant, Assessment, Autonomy, Book, Tier
from hilum.policy.matrix.policy import assess
from hilum.records.audit.models import BusyDay, PermitCount, ReachedDay
from hilum.records.audit.policy import OWN_RECORD, letter_of, permitting_scopes
from hilum.review.undeclared_use.models import (
    SENTENCES_SHOWN,
    SETTLED_AFTER,
    Excess,
    ExcessKind,
    Judged,
    Use,
    Volume,
)

_WITH_A_PERSON = frozenset({Autonomy.INFORMS, Autonomy.DRAFTS, Autonomy.ACTS_AFTER_HUMAN_STEP})


def can_exceed(applicant: Applicant) -> bool:
    """Check whether a version declares anything that use can exceed. A version without declared workflows is limited to none."""
    return _names_workflows(applicant) or applicant.autonomy in _WITH_A_PERSON


def _names_workflows(applicant: Applicant) -> bool:
    return bool(applicant.workflows) and ANY not in applicant.workflows


def excesses(book: Book, applicant: Applicant, uses: Iterable[Use]) -> tuple[Excess, ...]:
    """Return a version's undeclared use, the highest tier first, independent of the order of ``uses``.

    ``applicant``: what the version declares. Each excess is assessed as if the version had declared it, in the mildest way: of several workflows that need a scope, the one with the lowest tier.
    Source: C18, C21, C23
    """
    found: dict[tuple[ExcessKind, str], Excess] = {}
    for each in chain.from_iterable(_excesses_of(book, applicant, use) for use in uses):
        key = each.kind, each.what
        if key in found:
            held = found[key]
            each = replace(held, number=held.number + each.number, last=max(held.last, each.last))
        found[key] = each
    return tuple(sorted(found.values(), key=lambda each: (-each.assessment.tier.rank, each.kind, each.what)))


def volume_excesses(book: Book, applicant: Applicant, volumes: Iterable[Volume]) -> tuple[Excess, ...]:
    """Return the backend services that did more in a day at one hospital than they declare (C21).

    A policy has no rule about volume, so this raises no tier; it only asks for a reviewer.
    """
    found = []
    for each in volumes:
        declared = (
            (ExcessKind.CALLS, each.calls_a_day, attrgetter("calls")),
            (ExcessKind.WRITES, each.writes_a_day, attrgetter("writes")),
        )
        for kind, most, number_of in declared:
            days = [day for day in each.busy if most is not None and number_of(day) > most]
            if days:
                top = max(map(number_of, days))
                what = f"it made up to {top:,} {kind.value} in a day at one hospital, and declares {most:,} at most"
                found.append(_on_days(kind, what, days, assess(book, applicant)))
        found += _reached_excesses(book, applicant, each)
    return tuple(found)


def _reached_excesses(book: Book, applicant: Applicant, volume: Volume) -> Iterator[Excess]:
    """Yield that a backend service reached more patients in a day than it declares, or called at other hours."""
    most = volume.patients_a_day
    many = [each for each in volume.reached if most is not None and each.patients > most]
    if many and most is not None:
        top = max(each.patients for each in many)
        what = f"it reached up to {counted(top, 'patient')} in a day at one hospital, and declares {most:,} at most"
        yield _on_days(ExcessKind.PATIENTS, what, many, assess(book, applicant))
    late = [each for each in volume.reached if volume.hours and each.outside]
    if late:
        top = max(each.outside for each in late)
        what = f"it made up to {counted(top, 'call')} in a day at one hospital outside the hours that it declares ({volume.hours} UTC)"
        yield _on_days(ExcessKind.HOURS, what, late, assess(book, applicant))


def _on_days(
    kind: ExcessKind, what: str, days: Sequence[BusyDay | ReachedDay], assessment: Assessment
) -> Excess:
    last = datetime.combine(max(each.day for each in days), time(), UTC)
    return Excess(kind, what, len(days), last, assessment)


def needs_reached(judged: Judged) -> bool:
    """Check whether a service of a version is judged by whom it reaches, or when."""
    return any(each.patients_a_day is not None or each.hours for each in judged.volumes.values())


def days_over(since: datetime, now: datetime) -> list[date]:
    """Return the days of UTC after that of a moment which have been over for SETTLED_AFTER, the oldest first."""
    last = (now - SETTLED_AFTER).date() - timedelta(days=1)
    number = (last - since.date()).days
    return [since.date() + timedelta(days=n + 1) for n in range(number)]


def _excesses_of(book: Book, applicant: Applicant, use: Use) -> Iterator[Excess]:
    permit = use.permit
    writes = bool(letter_of(permit.interaction) & WRITES)
    if writes and use.backend and applicant.autonomy in _WITH_A_PERSON:
        what = f"its AI {_words(applicant.autonomy)} by its declaration, but a backend service wrote {permit.resource_type}, with no person there"
        yield _excess(ExcessKind.AI_ACTS_ALONE, what, permit, _with(book, applicant, Autonomy.ACTS_ALONE))
    elif writes and applicant.autonomy is Autonomy.INFORMS:
        what = f"its AI only informs by its declaration, but the app wrote {permit.resource_type}"
        yield _excess(ExcessKind.AI_WRITES, what, permit, _with(book, applicant, Autonomy.DRAFTS))
    if not _names_workflows(applicant) or permit.rule == OWN_RECORD:
        return
    pieces = permitting_scopes(permit.rule, permit.resource_type, permit.interaction)
    declared = _scopes_of(book, applicant.workflows)
    # A use is declared if any of the scopes that permitted it is needed by a declared workflow.
    if not pieces or any(_is_needed(piece, declared) for piece in pieces):
        return
    needed = sorted(
        name for name in book.workflows if any(_is_needed(each, _scopes_of(book, (name,))) for each in pieces)
    )
    words = f"for {' or '.join(needed)}, which it does not declare" if needed else "which no workflow needs"
    what = f"it used {render(pieces[0])}, {words}"
    yield _excess(ExcessKind.WORKFLOW, what, permit, _mildest(book, applicant, needed))


def _excess(kind: ExcessKind, what: str, permit: PermitCount, assessment: Assessment) -> Excess:
    return Excess(kind, what, permit.number, permit.last, assessment)


def _words(autonomy: Autonomy | None) -> str:
    assert autonomy is not None, "only a declared autonomy is exceeded"
    return autonomy.value.replace("_", " ")


def _with(book: Book, applicant: Applicant, autonomy: Autonomy) -> Assessment:
    return assess(book, replace(applicant, autonomy=autonomy))


def _mildest(book: Book, applicant: Applicant, names: Sequence[str]) -> Assessment:
    readings = (replace(applicant, workflows=(*applicant.workflows, name)) for name in names)
    found = [assess(book, each) for each in readings] or [assess(book, applicant)]
    return min(found, key=lambda each: each.tier.rank)


def _scopes_of(book: Book, workflows: Iterable[str]) -> tuple[Scope, ...]:
    """Return the scopes of some workflows together. A workflow that the policy lacks has no scopes."""
    found: list[Scope] = []
    for name in workflows:
        workflow = book.workflows.get(name)
        if workflow is not None:
            found += parse_stored(workflow.scopes)
    return tuple(found)


def _is_needed(piece: Scope, scopes: Iterable[Scope]) -> bool:
    """Check whether a workflow needs what a scope permitted. With a person, patient and user scopes count as the same."""
    return isinstance(piece, ClinicalScope) and any(
        isinstance(each, ClinicalScope)
        and (each.prefix is Prefix.SYSTEM) is (piece.prefix is Prefix.SYSTEM)
        and covers(replace(each, prefix=piece.prefix), piece)
        for each in scopes
    )


def risen_to(certified: Tier, found: Sequence[Excess]) -> Tier:
    """Return the tier of a version by its use: that of its certification, or the highest of its excesses if that is higher."""
    return max((certified, *(each.assessment.tier for each in found)), key=lambda each: each.rank)


def sentence(found: Sequence[Excess]) -> str:
    """Describe excesses in a sentence."""
    return f"observed use: {listed([str(each) for each in found], SENTENCES_SHOWN, '; ')}"


_IN_WORDS = {
    ExcessKind.WORKFLOW: "it uses scopes that none of its declared workflows needs",
    ExcessKind.AI_WRITES: "it writes, though its AI is declared to inform only",
    ExcessKind.AI_ACTS_ALONE: "a backend service of it writes, though its AI is declared to need a person",
    ExcessKind.CALLS: "a backend service of it calls more often in a day than it declares",
    ExcessKind.PATIENTS: "a backend service of it reads the records of more patients in a day than it declares",
    ExcessKind.HOURS: "a backend service of it calls outside the hours that it declares",
    ExcessKind.WRITES: "a backend service of it writes more often in a day than it declares",
}


def in_words(found: Sequence[Excess]) -> str:
    """Describe excesses by their kinds, each once."""
    return "; ".join(_IN_WORDS[kind] for kind in dict.fromkeys(each.kind for each in found))
