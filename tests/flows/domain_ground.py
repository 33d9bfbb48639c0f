"""A vendor's domains, and the host that serves their proofs."""

import threading
from dataclasses import dataclass, field, replace
from typing import Any

from hilum.apps.contacts.domain_checks import DomainChecker
from hilum.apps.contacts.domain_models import PATH
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.server import sending
from hilum.server.schedule import JobLease
from tests.flows.control_site import ControlSite
from tests.flows.vendor_ground import made
from tests.sim.jwks_host import JwksHost, Page

NAME = "acme.example"


@dataclass
class Ground:
    """``host`` serves every domain's file, at a port of its own instead of 443."""

    site: ControlSite
    host: JwksHost
    checker: DomainChecker
    vendor: str = ""
    clients: dict[tuple[str, object], Any] = field(default_factory=dict)

    def api(self, username: str) -> Any:
        """A caller; a person has few tokens, so one serves for a day."""
        key = (username, self.site.clock.now().date())
        if key not in self.clients:
            self.clients[key] = self.site.api(username)
        return self.clients[key]

    def serve(self, *lines: str, status: int = 200, **headers: str) -> None:
        self.host.pages[PATH] = Page(status, headers, "\n".join(lines).encode())

    def add(self, name: str = NAME, username: str = "acme.owner") -> Any:
        return made(self.api(username).post(self.path, json={"name": name}))

    def check(self, domain: str, username: str = "acme.owner") -> Any:
        return self.api(username).post(f"{self.path}/{domain}/check")

    def prove(self, name: str = NAME) -> Any:
        added = self.add(name)
        self.serve(added["proof_line"])
        return made(self.check(added["id"]), 200)

    @property
    def path(self) -> str:
        return f"/vendors/{self.vendor}/domains"

    def listed(self) -> list[Any]:
        return list(made(self.api("acme.billing").get(self.path), 200)["items"])

    def run_job(self) -> None:
        held = JobLease(self.site.uow, "domains", "node/boot", threading.Event())
        assert held.take()
        sending.follow_domains(held, lambda: replace(checker_at(self.host), records=self.checker.records))


def checker_at(host: JwksHost) -> DomainChecker:
    return DomainChecker(SafeFetcher(allow_private=True), lambda _: host.origin + PATH)
