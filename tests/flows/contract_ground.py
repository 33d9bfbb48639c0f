"""What a certification run leaves in the journal, from which its contract is made."""

from datetime import timedelta

from hilum.review.certification_runs.judging import MINT
from hilum.review.certification_runs.models import Row
from tests.flows.journal_ground import JournalGround
from tests.flows.review_ground import Ground
from tests.sim.journals import journal_of

LATER = timedelta(hours=1)
BASE = {"request": True, "outcome": "done", "status": 200, "launch": "lch_9"}


def shown_calls(ground: Ground) -> tuple[Row, ...]:
    """What a run shows beside its scenarios: a launch, and searches for slots in a workflow."""
    at = ground.site.clock.now() + LATER
    facts = {"scopes": ["launch", "openid", "user/Slot.rs"], "family": "fam_9", "workflow": "appointments"}
    rows = [Row(at, MINT, request=False, outcome="done", launch="lch_9", facts=facts)]
    for n in range(2):
        asked = f"/Slot?schedule=s{n}&start=2026-12-01"
        rows.append(Row(at + LATER, "search-type", type="Slot", asked=asked, rule="user/Slot.rs", **BASE))  # type: ignore[arg-type]
    return tuple(rows)


def place_of(ground: Ground) -> JournalGround:
    uow = ground.site.uow
    return JournalGround(uow, uow.db.url, journal_of(uow))
