"""What a developer makes fail by hand in an open chart: it reaches the apps that are opened there, and nobody else."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from hilum.kernel.errors import NotFound
from hilum.kernel.ports import Clock
from hilum_ehr.sandbox.ehr.sessions import EhrSession
from hilum_ehr.sandbox.faults import BY_HAND, FAULT_LIFE, KINDS, Fault, FaultBook

EVERY_APP = "*"


@dataclass(frozen=True, slots=True)
class Made:
    """A fault of an open chart. ``client``: the app that it is for; empty for every app that is opened there."""

    kind: str
    words: str
    client: str
    until: datetime


class Failing:
    """The faults of the open charts of this process."""

    def __init__(self, book: FaultBook, clock: Clock) -> None:
        self._book, self._clock = book, clock

    def of(self, session: EhrSession) -> tuple[Made, ...]:
        """List what an open chart makes fail now."""
        mine = f"{_maker(session)}/"
        found = (each for each in self._book.of(session.tenant) if each.made_by.startswith(mine))
        return tuple(_made(each) for each in found)

    def make(self, session: EhrSession, kind: str, client: str) -> None:
        """Make something fail: for an app as this chart opened it, or with no client for every app here that asks about its patient.

        Raises NotFound (no such kind, no such app here), Conflict (too many).
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
        """End one of an open chart's faults."""
        self._book.clear(_name(session, client, kind))

    def end_all(self, session: EhrSession) -> None:
        """End what a chart made, which is closed."""
        for each in self.of(session):
            self.end(session, each.kind, each.client)

    def opened(self, session: EhrSession, client: str, launch: str) -> None:
        """Let what fails here reach an app that this chart has just opened, before it makes a call."""
        for each in self.of(session):
            if each.client in {"", client}:
                self._book.join(_name(session, each.client, each.kind), launch)


def _maker(session: EhrSession) -> str:
    # The id is the only key to the session, and the file is read by other programs of this machine.
    return BY_HAND + "ehr-" + sha256(session.id.encode()).hexdigest()[:24]


def _name(session: EhrSession, client: str, kind: str) -> str:
    return f"{_maker(session)}/{client or EVERY_APP}/{kind}"


def _made(fault: Fault) -> Made:
    _, client, kind = fault.made_by.split("/")
    named = "" if client == EVERY_APP else client
    return Made(kind, KINDS[kind], named, datetime.fromisoformat(fault.until))
