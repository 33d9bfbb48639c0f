"""An override of one tier rule for an app at a hospital, in a book that has the rule."""

from datetime import timedelta
from typing import Any

from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.policy.matrix.in_force import rule_digest
from hilum.policy.matrix.models import Book
from hilum.policy.matrix.override_models import Override
from tests.sim.world import START
from tests.unit.policy.matrix.books import RULE, book, document

APP, GENERAL, MERCY = AppId("app_1"), TenantId("general"), TenantId("mercy")
DAY = timedelta(days=1)


def book_with_rule(**more: Any) -> Book:
    rule = RULE | {"level": "overridable"} | more
    return book({"tier_rules": [*document()["tier_rules"], rule], "overrides.longest": "30 d"})


BOOK = book_with_rule()
OVERRIDE = Override(
    id="ovr_1",
    rule="reads-slots",
    rule_digest=rule_digest(BOOK.tier_rules[-1]),
    app=APP,
    tenant=GENERAL,
    reason="Certified again by then.",
    control="A nurse checks each booking.",
    ends_at=START + 10 * DAY,
    asked_by="staff:root",
    agreed_by="staff:sam",
    agreed_at=START,
)
TEXTS = (
    "user/Slot.rs",
    "user/Appointment.cruds",
    "patient/*.rs",
    "system/Patient.rs",
    "launch",
    "offline_access",
)
