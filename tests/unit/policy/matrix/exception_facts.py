"""An exception that lowers the tier of one version of an app, under a book whose rule would raise it."""

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
    ends_at=START + 10 * DAY,
    asked_by="staff:root",
    agreed_by="staff:sam",
    agreed_at=START,
    tier="low",
    computed="moderate",
    category="scheduling",
    rules=("reads-slots",),
    book_digest=STRICT.digest,
)
