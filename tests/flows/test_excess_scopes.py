"""What a version asks beyond the workflows that it declares is justified scope by scope, or is not certified (C64)."""

from datetime import timedelta
from typing import Any

from hilum.infra.unit_of_work import UnitOfWork
from hilum.review import store
from hilum.review.models import State
from tests.flows.control_site import build, codes, problem
from tests.flows.review_ground import SCOPES, furnish
from tests.flows.vendor_ground import made
from tests.sim.world import FakeClock

EXCESS = "user/QuestionnaireResponse.rs"
DOCUMENT = {"url": "https://acme.example/evidence.pdf", "sha256": "0" * 64, "dated": "2026-02-01"}


def test_a_certification_with_unjustified_excess_is_refused_with_the_list(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C64: until the vendor has submitted a justification for that scope; certifications in force stay."""
    ground = furnish(build(sqlite_uow, clock), scope=f"launch user/Slot.rs {EXCESS}")
    rita = ground.site.api("rita")

    def certify(*scopes: str, environment: str = "production") -> Any:
        end = (clock.now() + timedelta(days=30)).isoformat()
        body = {"version": ground.version, "environment": environment, "expires_at": end}
        return rita.post("/certifications", json=body | {"scopes": ["launch", *scopes]})

    made(certify("user/Slot.rs"))
    refused = problem(certify("user/Slot.rs", EXCESS), 422, "certification_invalid")
    made(certify("user/Slot.rs", EXCESS, environment="sandbox"))

    assert codes(refused) == {"scopes": "excess_unjustified"}
    assert EXCESS in refused["detail"]
    assert "Slot" not in refused["detail"]
    reason = "Warns of abnormal values before a visit is planned."
    asked = [*SCOPES, {"scope": EXCESS, "justification": reason}]
    lacking = codes(problem(ground.submit(scopes=asked), 422, "submission_incomplete"))
    documents = [DOCUMENT | {"kind": each.partition(".")[2]} for each in lacking]
    made(ground.submit(scopes=asked, documents=documents))
    made(certify("user/Slot.rs", EXCESS))
    # What a reviewer rejected justifies nothing.
    rejected = store.submissions.update().values(state=State.REJECTED.value)
    sqlite_uow.db.write(lambda tx: tx.execute(rejected))
    problem(certify("user/Slot.rs", EXCESS), 422, "certification_invalid")
    sqlite_uow.db.write(lambda tx: tx.execute(store.submissions.update().values(state=State.CERTIFIED.value)))
    assert made(rita.get(f"/app-versions/{ground.version}/tier"), 200)["excess"] == [EXCESS]
