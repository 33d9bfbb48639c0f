"""EHR sessions: a person at the hospital's software with a chart open. In memory, bounded in number and in time."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from cachetools import LRUCache

from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.kernel.ports import Clock, Ids

SESSIONS_BOUND = 2_000
LAUNCHES_BOUND = 20
SESSION_LIFE = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class OpenApp:
    """A launch this session opened."""

    launch: str
    client: str
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class EhrSession:
    """One session. ``apps`` are its launches that have not ended, oldest first."""

    id: str
    tenant: str
    person: str
    patient: str
    encounter: str
    begun_at: datetime
    apps: tuple[OpenApp, ...] = field(default_factory=tuple)

    def current(self, client: str) -> OpenApp | None:
        """Return the newest launch of a client."""
        return next((each for each in reversed(self.apps) if each.client == client), None)


class Sessions:
    """The sessions of this process, at most SESSIONS_BOUND."""

    def __init__(self, clock: Clock, ids: Ids) -> None:
        self._clock, self._ids = clock, ids
        self._sessions: LRUCache[str, EhrSession] = LRUCache(SESSIONS_BOUND)

    def begin(self, tenant: str, person: str, patient: str, encounter: str) -> EhrSession:
        """Create a session with a chart open; beyond the bound the least recently used is dropped."""
        # 144 random bits: the id in the URL is the only key to the session.
        session = EhrSession(self._ids.secret(18), tenant, person, patient, encounter, self._clock.now())
        self._sessions[session.id] = session
        return session

    def get(self, session_id: str) -> EhrSession:
        """Return a session. Raises NotFound if it has ended or was dropped."""
        session = self._sessions.get(session_id)
        if session is None or self._clock.now() >= session.begun_at + SESSION_LIFE:
            raise self.over()
        return session

    def over(self) -> NotFound:
        """Return the refusal of a session that has ended, was dropped or may not be seen. It does not say which."""
        return NotFound("ehr_session_over", "This EHR session has ended. Open the chart again.")

    def opened(self, session_id: str, launch: str, client: str) -> None:
        """Record a launch."""
        app = OpenApp(launch, client, self._clock.now())
        # The oldest launch is dropped beyond the bound; at the platform it ends by its age.
        self._change(
            session_id,
            lambda session: replace(session, apps=(*session.apps, app)[-LAUNCHES_BOUND:]),
        )

    def moved(self, session_id: str, patient: str, encounter: str) -> EhrSession:
        """Record that another chart is open now."""
        return self._change(
            session_id, lambda session: replace(session, patient=patient, encounter=encounter)
        )

    def end(self, session_id: str) -> EhrSession | None:
        """Remove a session; return it, or None if there is none."""
        return self._sessions.pop(session_id, None)

    def _change(self, session_id: str, change: Callable[[EhrSession], EhrSession]) -> EhrSession:
        changed = self._sessions[session_id] = change(self.get(session_id))
        return changed
