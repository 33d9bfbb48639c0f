"""What happened in one scenario: its records, in order, and the words for what follows from them. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hilum.foundation.kernel.decision import Reason
from hilum.records.audit.models import SETTLEMENT
from hilum.review.certification_runs.models import Outcome, Row

BEGIN, END = "evidence.scenario.begin", "evidence.scenario.end"
TAKE, MOVE, MINT = "launches.launch.take", "launches.launch.move", "tokens.access.mint"
REFUSE = "authserver.request.refuse"
NOTHING = "nothing"
"""The vendor's declaration that the app needs every scope (``optional``)."""
REDEEM, WITHDRAW = "tokens.refresh.redeem", "consent.authorization.withdraw"
WINDOW_BOUND = 1_000
"""Records of one scenario that are judged: some judgements compare each with each."""
RETRIES = 3
"""How often an app may try again what was refused, before it counts as hammering."""
_DONE, _REFUSED, _INTENDED = "done", "refused", "intended"


@dataclass(frozen=True, slots=True)
class Window:
    """What happened in one scenario, in order. ``backend``: the client is a backend service, which has no person and no launch."""

    rows: tuple[Row, ...]
    backend: bool = False

    @property
    def requests(self) -> list[Row]:
        """The requests as they ended. That a write was intended, or found out about later, is not a further request of the app."""
        return [
            each
            for each in self.rows
            if each.request and each.outcome != _INTENDED and each.rule != SETTLEMENT
        ]

    def events(self, name: str, outcome: str = _DONE) -> list[Row]:
        """List the events of an action that ended so."""
        return [each for each in self.rows if each.name == name and each.outcome == outcome]

    def refused(self, *reasons: Reason) -> list[Row]:
        """List the requests that were refused, for one of these reasons if any are named."""
        return [
            each
            for each in self.requests
            if each.outcome == _REFUSED and (not reasons or each.reason in reasons)
        ]

    def after(self, row: Row) -> "Window":
        """Return what followed a record."""
        return Window(self.rows[self.rows.index(row) + 1 :], self.backend)


Verdict = tuple[Outcome, str]
Judge = Callable[[Window], Verdict]


def met(sentence: str) -> Verdict:
    """Return that a scenario was met, in a sentence."""
    return Outcome.MET, sentence


def not_met(sentence: str) -> Verdict:
    return Outcome.NOT_MET, sentence


def incomplete(sentence: str) -> Verdict:
    """Return that the records do not show it, in a sentence."""
    return Outcome.INCOMPLETE, sentence


def window_of(scenario: str, rows: Iterable[Row]) -> Window | None:
    """Return what was recorded while a scenario was in progress for the last time; None if it never was."""
    ordered = in_order(rows)
    begun = [n for n, each in enumerate(ordered) if each.name == BEGIN and _named(each) == scenario]
    if not begun:
        return None
    first = begun[-1]
    ends = [n for n in range(first + 1, len(ordered)) if ordered[n].name in {BEGIN, END}]
    if ends and _ends_what_was_before(ordered, first, ends[0]):
        del ends[0]
    last = ends[0] if ends else len(ordered)
    # With what ended it, by whose time it is known how long it was watched.
    return Window(tuple(ordered[first : last + 1]), bool(ordered[first].facts.get("backend")))


def _ends_what_was_before(ordered: list[Row], first: int, end: int) -> bool:
    """Check whether an end is that of the scenario which was in progress when this one began: both are of one moment, in any order."""
    before = next((each for each in reversed(ordered[:first]) if each.name in {BEGIN, END}), None)
    return (
        before is not None
        and before.name == BEGIN
        and ordered[end].name == END
        and ordered[end].at == ordered[first].at
        and _named(ordered[end]) == _named(before)
    )


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Return records in the order in which they happened; of one moment, the beginning of a scenario first and its end last."""
    places = {BEGIN: 0, END: 2}
    return sorted(rows, key=lambda each: (each.at, places.get(each.name, 1), each.request, each.place))


def _named(row: Row) -> str:
    return str(row.facts.get("scenario", ""))


def works_after(window: Window, row: Row) -> bool:
    """Check whether a request of the app succeeded after a record."""
    return any(each.outcome == _DONE for each in window.after(row).requests)
