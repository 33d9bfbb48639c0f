"""What a version asks beyond the workflows that it declares is justified scope by scope, or is not certified (C64)."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import VersionId
from tests.flows.control_site import build, codes, problem
from tests.flows.review_ground import SCOPES, furnish
from tests.flows.vendor_ground import made
from tests.sim.world import FakeClock

EXCESS = "user/QuestionnaireResponse.rs"
ASKED = ("launch", "user/Slot.rs", EXCESS)


def test_unjustified_excess_is_neither_submitted_nor_certified_and_listed(
    sqlite_uow: UnitOfWork, clock: FakeClock
) -> None:
    """C64: until the vendor has submitted a justification for that scope; a sandbox certifies without."""
    ground = furnish(build(sqlite_uow, clock), scope=" ".join(ASKED))

    def certify(*justified: str, environment: Environment = Environment.PRODUCTION) -> None:
        order = CertifyOrder(VersionId(ground.version), environment, ASKED, clock.now() + timedelta(days=30))
        proved: Sequence[str] = ()
        ground.site.system(
            registry.certify, order=order, unproved=lambda *_: proved, justified=lambda *_: justified
        )

    with pytest.raises(Invalid) as refused:
        certify("launch", "user/Slot.rs")
    certify("launch", "user/Slot.rs", environment=Environment.SANDBOX)
    certify(EXCESS)

    assert refused.value.fields == {"scopes": "excess_unjustified"}
    assert EXCESS in refused.value.detail
    assert "Slot" not in refused.value.detail
    unsaid = ground.submit(scopes=[*SCOPES, {"scope": EXCESS, "justification": " "}])
    lacking = codes(problem(unsaid, 422, "submission_incomplete"))
    assert lacking["scopes.2.justification"] == "justification_missing"
    tier = made(ground.site.api("rita").get(f"/app-versions/{ground.version}/tier"), 200)
    assert tier["excess"] == [EXCESS]
