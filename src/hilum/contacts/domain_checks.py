"""Check a domain: fetch its file between two transactions, for a person or for the job that renews proofs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from hilum.contacts import domain_policy as policy
from hilum.contacts import domains
from hilum.contacts.domain_models import Domain
from hilum.infra.context import Trace
from hilum.infra.fetch import Fetched
from hilum.infra.unit_of_work import UnitOfWork
from hilum.kernel.actor import Actor
from hilum.kernel.errors import Unavailable
from hilum.kernel.ids import VendorId


class Fetcher(Protocol):
    async def get(self, url: str, *, accept: str = "application/json") -> Fetched:
        """Fetch a URL, with bounded size and time. Raises Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class DomainChecker:
    """Fetches the files of domains. ``url_of``: where a domain's file is."""

    fetcher: Fetcher
    url_of: Callable[[str], str] = policy.proof_url

    async def fault(self, domain: Domain) -> str:
        """Return why a domain's file does not prove it; empty if it does."""
        try:
            fetched = await self.fetcher.get(self.url_of(domain.name), accept="text/plain")
        except Unavailable as error:
            return error.code
        return policy.file_fault(domain, fetched.status, fetched.body)

    async def check(
        self, uow: UnitOfWork, vendor: VendorId, domain_id: str, *, actor: Actor, trace: Trace
    ) -> Domain:
        """Check a domain for somebody. Raises NotFound, NotPermitted. No transaction is open while its file is fetched."""
        begin = partial(domains.begin_check, vendor=vendor, domain_id=domain_id)
        domain = await uow.write(begin, actor=actor, trace=trace)
        fault = await self.fault(domain)
        return await uow.write(
            partial(domains.end_check, checked=domain, fault=fault), actor=actor, trace=trace
        )

    def faults(self, found: Sequence[Domain]) -> list[str]:
        """Return the fault of each of a batch of domains, fetched at once, from a thread without an event loop."""

        async def all_at_once() -> list[str]:
            return list(await asyncio.gather(*(self.fault(each) for each in found)))

        return asyncio.run(all_at_once())
