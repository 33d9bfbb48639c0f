"""An app that was reviewed and certified for production, against real servers that can change afterwards."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hilum.apps.contacts.models import ContactKind
from hilum.apps.contacts.store import contacts as contact_table
from hilum.records.notices import service as notices
from hilum.records.notices.models import Channel, NoticeQuery
from hilum.review.certificates.service import step
from hilum.review.recertification import service
from hilum.review.recertification.jobs import run
from hilum.server.schedule import JobLease
from tests.flows.certificate_ground import AT
from tests.flows.review_ground import Ground, signs
from tests.flows.review_world import World, decide, in_order, submitted
from tests.flows.vendor_ground import made
from tests.sim.jwks_host import Page

DAY = timedelta(days=1)
NO_USE = service.Use(lambda *_: ())


@dataclass
class Certified:
    """An app that a reviewer certified for production after its checks passed."""

    world: World
    ground: Ground
    origin: str
    use: service.Use = NO_USE

    def night(self, looks: Any = None, holder: str = "one") -> None:
        """The next day, and the round of it."""
        self.world.clock.advance(DAY)
        self.look(looks, holder)

    def look(self, looks: Any = None, holder: str = "one") -> None:
        while self.ground.site.system(step, at=AT):
            pass
        run(self.lease(holder), looks or self.world.look_at, self.use, lambda: True)

    def lease(self, holder: str) -> JobLease:
        lease = self.world.lease(holder)
        lease.job = "revalidation"
        return lease

    def serve(self, path: str, page: Page) -> None:
        self.world.page(self.origin, path, page)

    def findings(self, **query: str) -> list[Any]:
        found = made(self.ground.site.api("rita").get("/findings", params=query), 200)["items"]
        return [each for each in found if each["state"] != "closed" or "state" in query]

    def rules(self) -> list[str]:
        return sorted(each["rule"] for each in self.findings())

    def level(self) -> tuple[str, str]:
        found = made(self.ground.site.api("rita").get(f"/revalidation/apps/{self.ground.app}"), 200)
        return found["level"], found["due"]

    def keep_proofs(self) -> None:
        """Let every proof last longer than the story."""
        far = self.ground.site.clock.now() + timedelta(days=2_000)
        kept = contact_table.update().values(proof_ends_at=far)
        self.ground.site.system(lambda ctx: ctx.tx.execute(kept))

    def end_proofs(self, *kinds: ContactKind) -> None:
        ended = contact_table.update().where(contact_table.c.kind.in_(kinds))
        now = self.ground.site.clock.now()
        self.ground.site.system(lambda ctx: ctx.tx.execute(ended.values(proof_ends_at=now)))

    def mails(self) -> list[str]:
        query = NoticeQuery(channel=Channel.MAIL)
        found = self.ground.site.system(notices.list_notices, query=query)
        about = [
            each for each in reversed(found) if each.kind.startswith("findings") or each.kind == "app_held"
        ]
        # Each goes to every contact of the vendor.
        return list(dict.fromkeys(each.kind for each in about))


def certified_in(world: World, days: int = 120) -> Certified:
    """Submit an app, let its checks pass, and certify it."""
    ground = in_order(world)

    def build() -> None:
        signs(ground.site, "rita", "technical")
        sent = submitted(ground, world)
        ends = (world.clock.now() + days * DAY).isoformat()
        made(decide(ground, sent, expires_at=ends), 200)

    ground.site.furnished(f"certified for {days} days", build)
    origin = f"https://acme.example:{world.hosts['acme.example'].port}"
    return Certified(world, ground, origin)
