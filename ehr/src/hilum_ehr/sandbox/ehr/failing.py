"""Faults that a developer picks by hand in an open chart. They reach the apps that are opened there only."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ports import Clock
from hilum_ehr.sandbox.ehr.sessions import EhrSession
from hilum_ehr.sandbox.faults import BY_HAND, FAULT_LIFE, KINDS, Fault, FaultBook

EVERY_APP = "*"


@dataclass(frozen=True, slots=True)
class ChartFault:
    """A fault of an open chart. ``client``: the app that it reaches; empty for every app that is opened there."""

    kind: str
    words: str
    client: str
    until: datetime


class ChartFaults:
    """The faults of the charts that are open in this process."""

    def __init__(self, book: FaultBook, clock: Clock) -> None:
        self._book, self._clock = book, clock

    def of(self, session: EhrSession) -> tuple[ChartFault, ...]:
        """List the faults of an open chart that are in force."""
        prefix = f"{_maker(session)}/"
        faults = self._book.of(session.tenant)
        return tuple(_chart_fault(fault) for fault in faults if fault.made_by.startswith(prefix))

    def make(self, session: EhrSession, kind: str, client: str) -> None:
        """Put a fault in force: for one app that this chart opened or, if ``client`` is empty, for all of them that ask about its patient.

        Raises NotFound (no such kind, or the app is not open here), Conflict (too many faults).
        """
        if kind not in KINDS:
            raise NotFound("fault_unknown", "Nothing of this kind can be made to fail.")
        if client and session.current(client) is None:
            raise NotFound("app_not_open", "This app is not open in the chart. Open it first.")
        made_by = _name(session, client, kind)
        launches = tuple(each.launch for each in session.apps if not client or each.client == client)
        until = (self._clock.now() + FAULT_LIFE).isoformat()
        chart = "" if client else session.patient
        self._book.add_by_hand(Fault(session.tenant, kind, until, launches, chart, made_by))

    def end(self, session: EhrSession, kind: str, client: str) -> None:
        """End one fault of an open chart."""
        self._book.clear(_name(session, client, kind))

    def end_all(self, session: EhrSession) -> None:
        """End the faults of a chart that is closed."""
        for fault in self.of(session):
            self.end(session, fault.kind, fault.client)

    def extend(self, session: EhrSession, client: str, launch: str) -> None:
        """Extend a chart's faults to an app that it has just opened, before the app makes a call."""
        for fault in self.of(session):
            if fault.client in {"", client}:
                self._book.extend(_name(session, fault.client, fault.kind), launch)


def _maker(session: EhrSession) -> str:
    # A hash: the session's id is a credential, and other programs of this machine read the file.
    return BY_HAND + "ehr-" + sha256(session.id.encode()).hexdigest()[:24]


def _name(session: EhrSession, client: str, kind: str) -> str:
    return f"{_maker(session)}/{client or EVERY_APP}/{kind}"


def _chart_fault(fault: Fault) -> ChartFault:
    _, client, kind = fault.made_by.split("/")
    client = "" if client == EVERY_APP else client
    return ChartFault(kind, KINDS[kind], client, datetime.fromisoformat(fault.until))
