"""An app in review whose addresses real hosts answer, and the checks that look at them."""

import atexit
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from typing import Any

from joserfc.jwk import ECKey

from hilum.foundation.infra import nodes
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.policy.matrix import service as policies
from hilum.review.certification_runs import service
from hilum.review.certification_runs.models import Records, Row
from hilum.review.submissions.jobs import run_next
from hilum.review.submissions.looking import look_at
from hilum.review.submissions.models import LOOK_BYTES, Look, Target
from hilum.server.schedule import JobLease
from tests.flows.control_site import TRACE, ControlSite, build
from tests.flows.review_ground import Ground, examine_every_one, furnish, pass_discipline
from tests.flows.vendor_ground import PROFILE, client_body, made
from tests.sim.jwks_host import JwksHost, Page, running
from tests.sim.tls_host import Authority
from tests.sim.world import FakeClock
from tests.unit.review.certification_runs.cases import CASES, MET, during

DEADLINE = timedelta(seconds=5)
PRIVATE = "inside.example"
OK = Page(body=b"<p>Here we are.</p>")


@cache
def _served(authority: Authority, name: str, **certificate: bool) -> JwksHost:
    """Start a host for the rest of the run."""
    served = running(authority.server(name, **certificate), poll_s=0.1)
    host = served.__enter__()
    atexit.register(served.__exit__, None, None, None)
    return host


@dataclass
class World:
    """Hosts with names of their own, all on loopback, and a site whose app is on the first of them."""

    stack: ExitStack
    authority: Authority
    uow: UnitOfWork
    clock: FakeClock
    deadline: timedelta = DEADLINE
    hosts: dict[str, JwksHost] = field(default_factory=dict)

    def host(self, name: str, **certificate: bool) -> str:
        """Serve a host over TLS; return its origin."""
        served = _served(self.authority, name, **certificate)
        # Shared with the tests before, which is why its address stays: what is furnished with it is copied.
        served.pages, served.asked, served.closing = {}, [], threading.Event()
        self.stack.callback(served.closing.set)
        self.hosts[name] = served
        return f"https://{name}:{served.port}"

    def page(self, origin: str, path: str, page: Page) -> str:
        self.hosts[origin.split("/")[2].split(":", maxsplit=1)[0]].pages[path] = page
        return origin + path

    async def _resolve(self, host: str, port: int) -> list[str]:
        return ["10.0.0.5" if host == PRIVATE else "127.0.0.1"]

    def look_at(self, targets: Sequence[Target]) -> list[Look]:
        def fetcher() -> SafeFetcher:
            return SafeFetcher(
                allow_private=True,
                resolve=self._resolve,
                tls=self.authority.client,
                deadline=self.deadline,
                body_bound=LOOK_BYTES,
            )

        return look_at(fetcher, targets)

    def expire_leases(self) -> None:
        """What time does while a process is frozen or gone."""
        self.uow.write_now(lambda ctx: nodes.expire_leases(ctx.tx), actor=SYSTEM, trace=TRACE)

    def lease(self, holder: str = "one") -> JobLease:
        return JobLease(self.uow, "review_checks", holder, threading.Event())

    def check(self, looks: Callable[..., list[Look]] | None = None, holder: str = "one") -> bool:
        return run_next(self.lease(holder), looks or self.look_at)


def key(kid: str) -> dict[str, Any]:
    return dict(ECKey.generate_key("P-384", {"kid": kid}).as_dict(private=False))


def where_every_one_is_examined(site: ControlSite) -> None:
    site.system(policies.adopt_shipped)
    examine_every_one(site)


def in_order(world: World, **client: Any) -> Ground:
    """An app all of whose addresses answer as they should."""
    origin = world.host("acme.example")
    for path in ("/cb", "/launch", "/privacy", "/terms"):
        world.page(origin, path, OK)
    profile = PROFILE | {"privacy_policy": f"{origin}/privacy", "terms": f"{origin}/terms"}
    own = {"redirect_uris": [f"{origin}/cb"], "launch_url": f"{origin}/launch"}
    site = build(world.uow, world.clock, then=where_every_one_is_examined)
    return furnish(site, profile=profile, **own | client)


def checks_of(ground: Ground, submission: str, who: str = "rita") -> Any:
    return made(ground.site.api(who).get(f"/submissions/{submission}/checks"), 200)


def results(run: Any) -> dict[tuple[str, str], str]:
    return {(each["rule"], each["about"]): each["result"] for each in run["checks"]}


def again(ground: Ground, submission: str, who: str = "rita", status: int = 200) -> Any:
    body = {"revision": ground.see(submission)["revision"]}
    return made(ground.site.api(who).post(f"/submissions/{submission}/rerun", json=body), status)


def submitted(ground: Ground, world: World, **change: Any) -> str:
    """Submit, check, and have the one discipline of the low tier pass."""
    sent = str(made(ground.submit(**change))["id"])
    assert world.check()
    pass_discipline(ground, sent)
    return sent


def decide(ground: Ground, submission: str, who: str = "rita", **change: Any) -> Any:
    ends = ground.site.clock.now() + timedelta(days=30)
    body = {"decision": "certify", "reason": "In order.", "expires_at": ends.isoformat()}
    body["revision"] = ground.see(submission)["revision"]
    return ground.site.api(who).post(f"/submissions/{submission}/decide", json=body | change)


def sandbox_client(ground: Ground, **change: Any) -> str:
    usual = {"scope": "launch user/Slot.rs", "client_name": "Rota sandbox"}
    body = client_body(ground.app, ground.version, **usual | change)
    return str(made(ground.site.api("acme.owner").post("/clients", json=body))["id"])


def opened(ground: Ground, client: str, who: str = "acme.developer") -> Any:
    body = {"client": client, "tenant": "general"}
    return made(ground.site.api(who).post("/evidence-runs", json=body))


def passed(ground: Ground, client: str, *more: Row, who: str = "acme.developer") -> str:
    """Pass a run; ``more``: what its records show beside the scenarios."""
    run = opened(ground, client, who)
    names = [each["name"] for each in run["scenarios"]]
    records = Records((*_in_sequence(names, ground), *more))
    finish = partial(service.finish, run_id=run["id"], records=records)
    ended = ground.site.uow.write_now(finish, actor=SYSTEM, trace=TRACE)
    assert ended.state.value == "passed", ended.result
    return str(run["id"])


def _in_sequence(names: list[str], ground: Ground) -> Iterator[Row]:
    began = ground.site.clock.now()
    for number, name in enumerate(names):
        good = next(rows for scenario, _, outcome, rows in CASES if scenario == name and outcome is MET)
        window = during(name, good)
        for row in window:
            at = began + timedelta(minutes=2 * number) + (row.at - window[0].at)
            yield Row(**{each: getattr(row, each) for each in Row.__slots__} | {"at": at})
