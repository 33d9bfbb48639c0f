"""Permits of requests that repeat, kept for as long as the snapshot of facts is the same one. Pure.

A decision follows from the request, its token, the snapshot and the time. By one snapshot it comes out the same until the first moment with
which it compared the time, and it says that moment itself (``kernel.moments``): none has to be named here.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from hilum.gateway.models import GatewayRequest, Permit, Snapshot
from hilum.kernel.decision import Deny
from hilum.kernel.ids import TenantId
from hilum.kernel.moments import WatchedMoment
from hilum.standards.fhir.requests import FhirRequest, Unsupported
from hilum.tokens.models import AccessToken

REPEATS_BOUND = 20_000
JUDGED_FIRST = 4
"""How often a request is permitted by one snapshot before that is kept: finding out until when it holds costs as much as two decisions."""
_NO_END = datetime.max.replace(tzinfo=UTC)
Judge = Callable[[GatewayRequest, Snapshot | None, datetime], Permit | Deny]


@dataclass(slots=True, eq=False)
class _Repeat:
    """A request by a token, which it holds, so that no other has the identity of one of them. ``number``: that of the snapshot of its permit."""

    token: AccessToken
    request: FhirRequest | Unsupported
    tenant: TenantId
    source: str | None
    bases: tuple[str, ...]
    number: int
    times: int = 0
    permit: Permit | None = None
    since: datetime = _NO_END
    until: datetime = _NO_END


class Repeats(OrderedDict[tuple[int, int], _Repeat]):
    """Requests that repeat, by the identities of token and request; the one that came first is dropped first.

    Refusals are never kept. Only the newest snapshot is held, and the others by their number: what is idle would otherwise hold another one each.
    """

    def __init__(self) -> None:
        super().__init__()
        self._snapshot: Snapshot | None = None
        self._number = 0

    def find(self, incoming: GatewayRequest, snapshot: Snapshot | None, now: datetime) -> Permit | None:
        """Return the permit that would come out again; None if the request must be judged."""
        kept = self.get((id(incoming.token), id(incoming.request)))
        if (
            kept is not None
            and snapshot is self._snapshot
            and kept.number == self._number
            and kept.since <= now < kept.until
            and kept.source == incoming.source
            and kept.tenant == incoming.tenant
            and kept.bases == incoming.bases
        ):
            return kept.permit
        return None

    def keep(
        self, incoming: GatewayRequest, snapshot: Snapshot, now: datetime, permit: Permit, judge: Judge
    ) -> None:
        """Note that a request was permitted. Once it was often enough by this snapshot, find out until when it is, and keep that."""
        if snapshot is not self._snapshot:
            self._snapshot, self._number = snapshot, self._number + 1
        token, key = incoming.token, (id(incoming.token), id(incoming.request))
        assert isinstance(token, AccessToken), "nothing is permitted without a token"
        kept = self.get(key)
        if kept is None or kept.number != self._number:
            asked = token, incoming.request, incoming.tenant, incoming.source, incoming.bases
            kept = self[key] = _Repeat(*asked, self._number)
            if len(self) > REPEATS_BOUND:
                self.popitem(last=False)
        kept.times += 1
        if kept.times % JUDGED_FIRST == 0:
            watched = WatchedMoment.of(now)
            if judge(incoming, snapshot, watched) is permit:
                kept.source, kept.tenant, kept.bases = incoming.source, incoming.tenant, incoming.bases
                kept.permit, kept.since, kept.until = permit, now, watched.until or _NO_END

    def cache_clear(self) -> None:
        """Forget everything, as a cache of functools does."""
        self.clear()
        self._snapshot = None


kept = Repeats()
