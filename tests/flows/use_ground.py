"""An app whose calls at two hospitals are in a journal."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import select

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import Client, NewClient
from hilum.apps.contacts import store as contact_store
from hilum.apps.contacts.models import Contact, ContactKind
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import InstallOrder
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewApp, NewVendor, NewVersion
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.policy.matrix.models import UNCLASSIFIED
from hilum.records.audit import live as journals
from hilum.records.notices.store import notices
from hilum.review.undeclared_use import jobs
from tests.flows.control_site import ControlSite, build, in_a_browser, with_policy
from tests.flows.journal_ground import JournalGround, access
from tests.sim.journals import journal_of
from tests.sim.world import FakeClock

SCOPES = ("launch", "openid", "patient/*.rs")
PLAIN = NewVersion("1")
EAST = {"tenant": "general", "name": "East", "legal_entity": "General Ltd", "reference": "Location/east"}
DECLARES = NewVersion("2", workflows=("appointments",), placements=())
MAILBOX = "owner@v.example"


class Ground:
    """An app installed at two hospitals, with a journal."""

    def __init__(
        self,
        uow: UnitOfWork,
        clock: FakeClock,
        site: ControlSite | None = None,
        category: str = UNCLASSIFIED,
        version: NewVersion = PLAIN,
    ) -> None:
        self.clock, self.site = clock, site or build(uow, clock)
        made = self.site.furnished(
            f"installed twice {category} {version}", lambda: self._furnish(category, version)
        )
        self.app, self.client, self.installed = made
        self.folder = journal_of(uow)
        self.place = JournalGround(uow, uow.db.url, self.folder)

    def _furnish(self, category: str, version: NewVersion) -> tuple[AppId, Client, dict[str, str]]:
        do = self.site.system
        vendor = do(registry.add_vendor, order=NewVendor("Lumen", "help@v.example", "sec@v.example"))
        app = do(registry.add_app, order=NewApp(vendor.id, "Chart", "Shows", "Review", category)).id
        made = do(registry.add_version, app_id=app, order=version)
        ends = self.clock.now() + timedelta(days=400)
        do(registry.certify, order=CertifyOrder(made.id, Environment.SANDBOX, SCOPES, ends))
        metadata = in_a_browser("Chart", SCOPES)
        client, _ = do(clients.add_client, order=NewClient(app, made.id, metadata))
        installed = {
            tenant: do(
                installations.install,
                order=InstallOrder(TenantId(tenant), app, frozenset({"physician"})),
            ).id
            for tenant in ("general", "children")
        }
        return app, client, installed

    def use(self, *tenants: str, days_ago: int = 1, indexed: bool = True, **more: Any) -> None:
        """Record a read at each tenant; count what is recorded, and index it."""
        at = self.clock.now() - timedelta(days=days_ago)
        facts = {"app": self.app, "client": self.client.id, "rule": "patient/*.rs", "at": at}
        self.place.write(*(access(n, **(facts | {"tenant": each} | more)) for n, each in enumerate(tenants)))
        journals.count_decisions(self.folder, self.place.url, self.clock.now())
        if indexed:
            journals.index_accesses(self.folder, self.place.url)

    def compare(self, who: str, **query: Any) -> Any:
        return self.site.api(who).get(f"/apps/{self.app}/scopes", params=query)


class Lease:
    """The lease of the job, held all the time."""

    def __init__(self, site: ControlSite) -> None:
        self.site = site

    def read(self, verb: Callable[[Any], Any]) -> Any:
        return self.site.system(verb)

    write = read


class DeclaringApp(Ground):
    """An app that declares one workflow, and its vendor with a proved contact."""

    def __init__(self, uow: UnitOfWork, clock: FakeClock, version: NewVersion = DECLARES) -> None:
        super().__init__(uow, clock, build(uow, clock, then=with_policy), version=version)
        self.uow = uow
        vendor = self.site.system(registry.get_app, app_id=self.app).vendor
        contact = Contact(
            "con_1",
            vendor,
            ContactKind.OWNER,
            MAILBOX,
            MAILBOX,
            "staff:root",
            clock.now(),
            proved_at=clock.now(),
            proof_ends_at=clock.now() + timedelta(days=400),
        )
        self.site.system(lambda ctx: contact_store.CONTACTS.add(ctx.tx, contact))

    def known_days(self) -> jobs.KnownDays:
        place = self.folder, self.place.url
        return jobs.KnownDays(partial(journals.read_reached, *place), partial(journals.is_indexed, *place))

    def judge(self) -> None:
        self.judge_with(self.known_days())

    def judge_with(self, known: jobs.KnownDays, *, indexed: bool = True) -> None:
        counts = journals.count_decisions(self.folder, self.place.url, self.clock.now())
        if indexed:
            journals.index_accesses(self.folder, self.place.url)
        jobs.run(Lease(self.site), counts, known, lambda: True)

    def reviews(self, by: str = "rita") -> list[tuple[str, str]]:
        items = self.site.api(by).get("/delta-reviews").json()["items"]
        return [(each["source"], each["sentence"]) for each in items]

    def mails(self) -> list[Any]:
        return list(self.uow.db.read(lambda tx: tx.execute(select(notices)).all()))
