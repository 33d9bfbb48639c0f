"""A kill switch with its confirmations, and the canary that a drill stops."""

from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import BackendUse, ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Switch, Target, TargetKind
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import TenantId
from hilum.operations.switch_administration import service
from hilum.operations.switch_administration.models import Report
from hilum.policy.matrix.models import UNCLASSIFIED
from hilum.records.audit import live
from hilum.records.audit import service as audit
from hilum.records.audit.models import Access, Event
from tests.flows.control_site import ControlSite
from tests.flows.journal_ground import TRACE, JournalGround, access
from tests.sim.world import FakeClock

LAST_MS = 40.0
KEY = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384", "kid": "canary"})
GENERAL = TenantId("general")


class Drill:
    """A switch, its confirmations, and what the journals hold around it."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock, folder: Path) -> None:
        self.uow, self.clock = uow, clock
        self.place = JournalGround(uow, uow.db.url, folder)
        self.count = 0

    def engage(
        self, kind: TargetKind = TargetKind.APP, key: str = "app_1", mode: Mode = Mode.FULL_STOP
    ) -> Switch:
        order = EngageOrder(Target(kind, key), mode, "a drill")
        engaged = self.uow.write_now(partial(controls.engage, order=order), actor=SYSTEM, trace=TRACE)
        self.clock.advance(timedelta(milliseconds=LAST_MS))
        return engaged

    def confirm(self, switch: Switch, *workers: str, node: str = "a") -> None:
        for worker in workers:
            facts = {"switch": switch.id, "node": node, "worker": worker, "ms": LAST_MS}
            event = Event("gateway.switch.enforced", facts=facts)
            self.uow.write_now(partial(audit.record, event=event), actor=SYSTEM, trace=TRACE)

    def made(self, at: datetime, after_ms: float, took_ms: float = 1, **more: Any) -> Access:
        self.count += 1
        arrived = at + timedelta(milliseconds=after_ms)
        return access(self.count, at=arrived, latency_us=int(took_ms * 1000), **more)

    def write(self, *accesses: Access) -> None:
        self.place.write(*accesses)
        live.index_accesses(self.place.directory, self.place.url)

    def report(self, switch: Switch) -> Report:
        verb = partial(service.report, switch_id=switch.id, read_window=self.place.reader.window)
        return self.uow.read_now(verb, actor=SYSTEM, trace=TRACE)


def canary(site: ControlSite, *scopes: str) -> str:
    do = site.system
    wanted = scopes or ("system/Organization.rs",)
    vendor = do(registry.add_vendor, order=NewVendor("Own", "help@v.example", "sec@v.example"))
    app = do(registry.add_app, order=NewApp(vendor.id, "Canary", "Is stopped", "Drills", UNCLASSIFIED))
    version = do(registry.add_version, app_id=app.id, order=NewVersion("first"))
    metadata = ClientMetadata(
        name="Canary",
        type=ClientType.BACKEND,
        deployment=Deployment.SERVER,
        environment=Environment.SANDBOX,
        scopes=wanted,
        jwks={"keys": [KEY.as_dict(private=False)]},
        expires_at=site.clock.now() + timedelta(days=30),
        backend_use=BackendUse("Drills", "Nobody", "Weekly", "Security"),
    )
    client, _ = do(clients.add_client, order=NewClient(app.id, version.id, metadata))
    ends = site.clock.now() + timedelta(days=30)
    do(registry.certify, order=CertifyOrder(version.id, Environment.SANDBOX, wanted, ends))
    do(installations.install, order=InstallOrder(GENERAL, app.id, frozenset()))
    return str(client.id)
