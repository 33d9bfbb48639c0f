"""A certification run over a whole platform, and apps that behave well or badly in it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from hilum.apps.clients.models import ClientType
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import NewVersion
from hilum.authorization.tokens import service as tokens
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import AppId
from hilum.policy.matrix import service as policies
from hilum.records.audit import live as journals
from hilum.records.audit import service as audit
from hilum.review.certification_runs import service
from hilum.review.certification_runs.models import Run, RunOrder
from hilum.server.fault_injection import by_book
from hilum.server.mounts import evidence_ports
from tests.flows.authorize_flow import Front, answer
from tests.flows.gateway_ground import Answer
from tests.flows.token_flow import MERCY, REMEMBERED, TRACE
from tests.sim.furnished import furnish

T = TypeVar("T")
LOW = ("launch", "openid", "fhirUser", "online_access", "user/Patient.rs", "user/Encounter.rs", "user/Appointment.rs")  # fmt: skip
"""Scopes with which an app is of the low tier, and those of the moderate one."""
MODERATE = (*LOW, "offline_access", "user/Appointment.cu")
CATEGORY = "scheduling"


@dataclass
class Certifying:
    """A run of one app, in the hands of a developer of its vendor."""

    front: Front
    client: str = "visits"
    scopes: tuple[str, ...] = LOW
    run: Run | None = None

    def __post_init__(self) -> None:
        name = f"certifying {self.client} {self.scopes}"
        furnish(name, self.front.uow, self.front, (*REMEMBERED, "category"), self._furnish)
        self.ports = evidence_ports(_kit(self.front), self.reader, by_book(self.front.faults))

    def _furnish(self) -> None:
        self.front.run(policies.adopt_shipped)
        self.front.category = CATEGORY
        version = NewVersion("1", workflows=("appointments", "intake"), placements=("sidebar",))
        self.front.add_app(
            self.client,
            ClientType.SYMMETRIC,
            scopes=self.scopes,
            version=version,
            launch_uri="https://app.example/launch",
        )

    @property
    def developer(self) -> Actor:
        roles = frozenset({"vendor_developer"})
        return Actor(ActorKind.MEMBER, "mem_1", roles=roles, vendor=self.front.vendor)

    def reader(self) -> Any:
        return journals.open_reader(self.front.folder, self.front.uow.db.url)

    def does(self, verb: Callable[..., T], by: Actor | None = None, **named: Any) -> T:
        return self.front.uow.write_now(partial(verb, **named), actor=by or self.developer, trace=TRACE)

    def open(self, tenant: Any = MERCY, by: Actor | None = None, further: tuple[str, ...] = ()) -> Run:
        order = RunOrder(self.front.clients[self.client].id, tenant, further)
        self.run = self.does(service.open_run, by, order=order)
        return self.run

    @property
    def id(self) -> str:
        assert self.run is not None
        return self.run.id

    def begin(self, scenario: str) -> Run:
        self.front.clock.advance(timedelta(seconds=1))
        run, upstream = self.does(
            service.begin, run_id=self.id, scenario=scenario, end_access=tokens.end_access_at
        )
        self.ports.clear_faults(run.id)
        if upstream is not None:
            self.ports.set_fault(upstream)
        self.front.clock.advance(timedelta(seconds=1))
        return run

    def end(self, after_s: float = 5) -> None:
        self.front.clock.advance(timedelta(seconds=after_s))
        self.does(service.end, run_id=self.id)
        self.ports.clear_faults(self.id)
        self.seal()

    def seal(self) -> None:
        """Make a checkpoint, as the jobs process does each second."""
        newest = self.front.run(audit.newest_checkpoint)
        heads = self.reader().heads()
        after = 0 if newest is None else newest.number
        self.front.run(partial(audit.checkpoint, heads=heads, after=after))

    def finish(self) -> Run:
        self.seal()
        records = self.front.uow.read_now(
            partial(service.collect, run_id=self.id, read=self.ports.read), actor=self.developer, trace=TRACE
        )
        self.run = self.does(service.finish, run_id=self.id, records=records)
        return self.run

    def outcomes(self) -> dict[str, str]:
        assert self.run is not None
        return {each["scenario"]: each["outcome"] for each in self.run.result["scenarios"]}


def _kit(front: Front) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(uow=front.uow)


@dataclass
class App:
    """An app as its vendor might write it. ``patience``: how often it tries what is refused; a well-made one gives up at once."""

    run: Certifying
    patience: int = 1
    person: str = "dora"
    tokens: dict[str, Any] = field(default_factory=dict)
    launch_id: str = ""
    seen: list[Answer] = field(default_factory=list)

    @property
    def front(self) -> Front:
        return self.run.front

    def launch(self, **context: Any) -> None:
        """Be opened by the EHR, and get tokens."""
        opened = self.front.open_launch(self.person, self.run.client, **{"intent": "appointments"} | context)
        self.launch_id = opened.launch.id
        browser = self.front.browser(self.person)
        asked = {"launch": opened.handle, "scope": " ".join(self.run.scopes)}
        shown = browser.authorize(client=self.run.client, **asked)
        told = answer(browser.allow() if shown.status_code == 200 else shown)
        self.tokens = self.front.redeem(told["code"], self.run.client).json()

    def read(self, target: str = "Patient/p1") -> Answer:
        """Read, and try what is refused as often as its patience lasts; with a new token if the old one has ended."""
        found = self.get(target)
        for _ in range(self.patience - 1):
            if found.status < 400:
                return found
            found = self.get(target)
        if found.status == 401 and self.refresh():
            found = self.get(target)
        return found

    def get(self, target: str) -> Answer:
        self.front.clock.advance(timedelta(milliseconds=100))
        found = self.front.read(target, self.tokens["access_token"])
        self.seen.append(found)
        return found

    def refresh(self) -> bool:
        self.front.clock.advance(timedelta(milliseconds=100))
        answered = self.front.refresh(self.tokens["refresh_token"], self.run.client)
        if answered.status_code == 200:
            self.tokens = answered.json()
        return bool(answered.status_code == 200)


def app_of(run: Certifying) -> AppId:
    return run.front.clients[run.client].app


def version_of(run: Certifying) -> Any:
    client = run.front.clients[run.client]
    return run.front.run(lambda ctx: registry.get_version(ctx, client.version))


def as_context(front: Front, verb: Callable[[Context], T]) -> T:
    return front.run(verb)
