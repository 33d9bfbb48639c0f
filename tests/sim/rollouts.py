"""Rollouts of the rule book, carried on as the jobs process does it, at once; and the traffic that they are judged by."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from hilum.audit import live as journals
from hilum.audit.models import Outcome
from hilum.infra.context import Context
from hilum.kernel.ids import TenantId
from hilum.policies.models import CurrentVersions
from hilum.rollouts import jobs
from hilum.rollouts.models import Limits, Ring, Rollout, RolloutState
from tests.flows.control_site import ControlSite
from tests.flows.journal_ground import JournalGround, access
from tests.sim.dry_runs import Jobs
from tests.sim.journals import journal_of
from tests.sim.world import START

DAY = timedelta(days=1)


def plan(n: int = 1, **more: Any) -> Rollout:
    """Return a rollout that is over, unless told otherwise."""
    rings = (Ring((TenantId("mercy"),), DAY), Ring((), DAY))
    facts: dict[str, Any] = {
        "id": f"rol_{n}",
        "version": 2,
        "digest": "d" * 64,
        "rings": rings,
        "limits": Limits(),
        "reason": "Because.",
        "before": CurrentVersions(1, {}, 1),
        "dry_run": "dry_1",
        "asked_by": "staff:root",
        "agreed_by": "staff:sam",
        "began_at": START,
        "state": RolloutState.DONE,
    }
    return Rollout(**(facts | more))


class Traffic:
    """What apps do at the hospitals of a site."""

    def __init__(self, site: ControlSite) -> None:
        self.site = site
        # As the site's own reader.
        self.jobs = Jobs(site.uow, journal_of(site.uow))
        self.place = JournalGround(site.uow, site.uow.db.url, self.jobs.journal)
        self.n = 0

    def record(
        self,
        tenant: str,
        permitted: int,
        refused: int = 0,
        *,
        app: str = "app_1",
        ms: int = 20,
        at: datetime | None = None,
        reason: str = "scope_missing",
    ) -> None:
        """Record decisions about an app at a hospital, now or at some time."""
        when = at or self.site.clock.now()
        facts = {"tenant": tenant, "app": app, "at": when, "latency_us": 1_000 * ms}
        found = []
        if permitted:
            found.append(self._access(count=permitted, **facts))
        if refused:
            no = {"outcome": Outcome.REFUSED, "reason": reason, "status": 403}
            found.append(self._access(count=refused, **no, **facts))
        self.place.write(*found)

    def _access(self, **facts: Any) -> Any:
        self.n += 1
        return access(self.n, **facts)

    def carry_out_verdict(self) -> Rollout | None:
        """Run the job once."""
        now = self.site.clock.now()
        count = partial(journals.count_decisions, self.jobs.journal, self.site.uow.db.url, now)
        return jobs.run(self.jobs, count, now)


def in_transaction(site: ControlSite, statement: Any) -> None:
    """Run a statement on the site's database, as somebody who can write to it does."""

    def verb(ctx: Context) -> None:
        ctx.tx.execute(statement)

    site.system(verb)
