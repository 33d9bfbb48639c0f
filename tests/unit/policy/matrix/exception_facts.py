"""An exception that lowers the tier of one version of an app, under a policy whose rule would raise it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hilum.foundation.kernel.ids import AppId, TenantId, VersionId
from hilum.policy.matrix.exception_models import ExceptionKind, PolicyException
from hilum.policy.matrix.models import Book
from tests.sim.world import START
from tests.unit.policy.matrix.books import book, document

APP, VERSION, GENERAL, MERCY = AppId("app_1"), VersionId("ver_1"), TenantId("general"), TenantId("mercy")
DAY = timedelta(days=1)
KEEPS = {
    "name": "reads-slots",
    "tier": "moderate",
    "because": "it reads {type}",
    "types": ["Slot"],
}


def strict_book(**more: Any) -> Book:
    return book({"tier_rules": [*document()["tier_rules"], KEEPS | more]})


STRICT = strict_book()
EXCEPTION = PolicyException(
    id="exc_1",
    kind=ExceptionKind.LOWERED_TIER,
    app=APP,
    version=VERSION,
    tenant=None,
    reason="Certified again by then.",
    control="A nurse looks at each list.",
    ends_at=START + 10 * DAY,
    owner="staff:root",
    agreed_by="staff:sam",
    starts_at=START,
    tier="low",
    computed="moderate",
    category="scheduling",
    rules=("reads-slots",),
    book_digest=STRICT.digest,
)
RAISE = replace(
    EXCEPTION,
    id="exc_2",
    kind=ExceptionKind.RAISED_TIER,
    reason="it suggests doses",
    control="",
    ends_at=None,
    tier="high",
    agreed_by="",
    rules=(),
    book_digest="",
)
WAIVER = replace(
    EXCEPTION,
    id="exc_3",
    kind=ExceptionKind.WAIVED_REQUIREMENT,
    version=None,
    tier="low",
    requirement="evidence.data_flow",
    computed="",
    rules=(),
    book_digest="",
    title=STRICT.evidence["data_flow"],
)
TEXTS = (
    "user/Slot.rs",
    "user/Appointment.cruds",
    "patient/*.rs",
    "system/Patient.rs",
    "launch",
    "offline_access",
)
