"""Check a domain: look at its file and its TXT record between two transactions, for a person or for the job that renews proofs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from hilum.apps.contacts import domain_policy as policy
from hilum.apps.contacts import domains
from hilum.apps.contacts.domain_models import Domain
from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.fetch import Fetched
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import VendorId


class Fetcher(Protocol):
    async def get(self, url: str, *, accept: str = "application/json") -> Fetched:
        """Fetch a URL, with bounded size and time. Raises Unavailable."""
        ...


class Records(Protocol):
    async def texts(self, name: str) -> list[str]:
        """Return the TXT records of a name, with bounded number and time. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class DomainChecker:
    """Looks at the files of domains, and at their TXT records. ``url_of``: where a domain's file is. ``records`` None: no record counts."""

    fetcher: Fetcher
    url_of: Callable[[str], str] = policy.proof_url
    records: Records | None = None

    async def fault(self, domain: Domain) -> str:
        """Return why neither a domain's file nor its record proves it; empty if one does."""
        found = await asyncio.gather(self._file_fault(domain), self._record_fault(domain))
        return policy.check_fault(*found)

    async def _record_fault(self, domain: Domain) -> str:
        if self.records is None:
            return "proof_not_found"
        try:
            return policy.record_fault(domain, await self.records.texts(policy.record_name(domain.name)))
        except Unavailable:
            return "proof_not_found"

    async def _file_fault(self, domain: Domain) -> str:
        try:
            fetched = await self.fetcher.get(self.url_of(domain.name), accept="text/plain")
        except Unavailable as error:
            return error.code
        return policy.file_fault(domain, fetched.status, fetched.body)

    async def check(
        self, uow: UnitOfWork, vendor: VendorId, domain_id: str, *, actor: Actor, trace: Trace
    ) -> Domain:
        """Check a domain for somebody. Raises NotFound, NotPermitted. No transaction is open while it is looked at."""
        begin = partial(domains.begin_check, vendor=vendor, domain_id=domain_id)
        domain = await uow.write(begin, actor=actor, trace=trace)
        fault = await self.fault(domain)
        return await uow.write(
            partial(domains.end_check, checked=domain, fault=fault), actor=actor, trace=trace
        )

    def faults(self, found: Sequence[Domain]) -> list[str]:
        """Return the fault of each of a batch of domains, looked at together, from a thread without an event loop."""

        async def all_at_once() -> list[str]:
            return list(await asyncio.gather(*(self.fault(each) for each in found)))

        return asyncio.run(all_at_once())
