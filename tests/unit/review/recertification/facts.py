"""A finding about a certified app, and the concern that it was opened for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hilum.foundation.kernel.ids import AppId, VendorId
from hilum.review.recertification import policy
from hilum.review.recertification.models import Concern, Finding, Limits, Subject
from tests.unit.review.certificates.facts import CERTIFIED

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
APP, VENDOR = AppId("app_1"), VendorId("ven_1")
SUBJECT = Subject(APP, CERTIFIED)
LIMITS = Limits()


def concern(
    rule: str = "address.tls", about: str = "redirect: https://a.example/cb", **change: object
) -> Concern:
    severity = policy.SEVERITIES[rule]
    made = Concern(rule, about, severity, certain=True, evidence="Seen.", reproduction="curl", fix="Fix it.")
    return replace(made, **change)  # type: ignore[arg-type]


def finding(**change: object) -> Finding:
    (made,) = policy.follow(SUBJECT, VENDOR, (), [concern()], limits=LIMITS, now=NOW).opened
    return replace(made, id="fnd_1", **change)  # type: ignore[arg-type]
