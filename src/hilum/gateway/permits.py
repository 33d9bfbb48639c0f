"""What a request was permitted, kept for the next one that says the same by the same entitlement. Pure.

A permit follows from the entitlement, the request and the addresses of its base, and from nothing else. What else can end it, a launch, a
session, an emergency or the clock, is none of it: ``policy`` judges that at each request.
"""

from collections import OrderedDict

from hilum.gateway.models import Entitlement, Permit
from hilum.standards.fhir.requests import FhirRequest

PERMITS_BOUND = 20_000


class Permits(OrderedDict[tuple[int, int], Permit]):
    """Permits by the identities of their entitlement and their request; the one that was judged longest ago is dropped first.

    Refusals are never kept. A permit holds both, so that no other object has the identity of one of them while it is here.
    """

    def find(self, entitled: Entitlement, request: FhirRequest, bases: tuple[str, ...]) -> Permit | None:
        """Return the permit that would come out again for this request; None if it must be judged."""
        kept = self.get((id(entitled), id(request)))
        return kept if kept is not None and kept.bases == bases else None

    def keep(self, permit: Permit) -> None:
        """Keep a permit."""
        self[id(permit.entitled), id(permit.request)] = permit
        permit.is_kept = True
        if len(self) > PERMITS_BOUND:
            self.popitem(last=False)

    def cache_clear(self) -> None:
        """Forget everything, as a cache of functools does."""
        self.clear()


kept = Permits()
