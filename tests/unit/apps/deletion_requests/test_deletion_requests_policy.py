"""Who sees and answers deletion requests, and which answer may follow which (C95)."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hilum.apps.deletion_requests import policy
from hilum.apps.deletion_requests.models import Answer, Cause, DeletionRequest, DeletionRequestQuery, State
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import AppId, AuthorizationId, TenantId, VendorId

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
MERCY, OTHER = TenantId("mercy"), TenantId("other")
ACME, BAD = VendorId("ven_acme"), VendorId("ven_bad")
REQUEST = DeletionRequest(
    "dlr_1", Cause.AGREEMENT, ACME, AppId("app_1"), NOW, MERCY, AuthorizationId("aut_1"), "p1"
)


def member(role: str, vendor: VendorId = ACME) -> Actor:
    return Actor(ActorKind.MEMBER, "per_m", roles=frozenset({role}), vendor=vendor)


def person(role: str, tenant: TenantId = MERCY) -> Actor:
    return Actor(ActorKind.PERSON, "per_p", tenant, frozenset({role}))


def staff(role: str) -> Actor:
    return Actor(ActorKind.STAFF, "per_s", roles=frozenset({role}))


CLIENT = Actor(ActorKind.CLIENT, "cli_1", MERCY)


@pytest.mark.parametrize(
    ("actor", "reads", "answers"),
    [
        (member("vendor_owner"), True, True),
        (member("vendor_developer"), True, False),
        (member("vendor_billing"), True, False),
        (member("vendor_security"), True, False),
        (member("vendor_owner", BAD), False, False),
        (person("administrator"), True, False),
        (person("administrator", OTHER), False, False),
        (person("physician"), False, False),
        (person("patient"), False, False),
        (staff("platform_admin"), True, False),
        (staff("auditor"), True, False),
        (staff("unheard_of"), False, False),
        (SYSTEM, True, False),
        (CLIENT, False, False),
        (Actor(ActorKind.ANONYMOUS, "anonymous"), False, False),
    ],
)
def test_only_the_vendor_answers_and_only_whom_it_concerns_sees_it(
    actor: Actor, reads: bool, answers: bool
) -> None:
    """C95."""
    assert policy.may_read(actor, REQUEST) is reads
    assert policy.may_answer(actor, REQUEST) is answers
    listed = policy.query_for(actor, DeletionRequestQuery())
    assert listed is None or policy.may_read(actor, REQUEST) or listed.vendor == BAD or listed.tenant == OTHER


def test_a_request_about_every_hospital_is_no_hospitals_own() -> None:
    everywhere = replace(REQUEST, tenant=TenantId(""))

    assert not policy.may_read(person("administrator"), everywhere)
    assert policy.may_read(staff("security"), everywhere)


@pytest.mark.parametrize("asked", [DeletionRequestQuery(vendor=BAD), DeletionRequestQuery(tenant=OTHER)])
def test_a_filter_never_widens_what_is_listed(asked: DeletionRequestQuery) -> None:
    actor = member("vendor_owner") if asked.vendor else person("administrator")

    assert policy.query_for(actor, asked) is None


@pytest.mark.parametrize(
    ("answer", "reason", "fault"),
    [
        (State.DELETED, "", None),
        (State.DELETED, "law", "field_unknown"),
        (State.KEPT, "Medical device file", None),
        (State.KEPT, "", "missing"),
        (State.KEPT, "x" * 500, None),
        (State.KEPT, "x" * 501, "too_long"),
    ],
)
def test_whoever_keeps_something_says_why(answer: Answer, reason: str, fault: str | None) -> None:
    """C95."""
    assert policy.answer_faults(answer, reason).get("reason") == fault
