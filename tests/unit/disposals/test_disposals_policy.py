"""Who sees and answers disposal requests, and which answer may follow which (C95)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hilum.disposals import policy
from hilum.disposals.models import Answer, AnswerOrder, Cause, Disposal, DisposalQuery, State
from hilum.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.kernel.ids import AppId, AuthorizationId, ClientId, TenantId, VendorId
from hilum.policies.models import DISPOSAL_DAYS, Tier
from hilum.policies.policy import cell_of
from tests.unit.policies.books import book

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
MERCY, OTHER = TenantId("mercy"), TenantId("other")
ACME, BAD = VendorId("ven_acme"), VendorId("ven_bad")
DUE = NOW + timedelta(days=30)
REQUEST = Disposal(
    "dsp_1",
    Cause.AGREEMENT,
    ACME,
    AppId("app_1"),
    NOW,
    DUE,
    MERCY,
    ClientId("cli_1"),
    AuthorizationId("aut_1"),
    "p1",
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
    listed = policy.query_for(actor, DisposalQuery())
    assert listed is None or policy.may_read(actor, REQUEST) or listed.vendor == BAD or listed.tenant == OTHER


def test_a_request_about_every_hospital_is_no_hospitals_own() -> None:
    everywhere = replace(REQUEST, tenant=TenantId(""))

    assert not policy.may_read(person("administrator"), everywhere)
    assert policy.may_read(staff("security"), everywhere)


@pytest.mark.parametrize("asked", [DisposalQuery(vendor=BAD), DisposalQuery(tenant=OTHER)])
def test_a_filter_never_widens_what_is_listed(asked: DisposalQuery) -> None:
    actor = member("vendor_owner") if asked.vendor else person("administrator")

    assert policy.query_for(actor, asked) is None


@pytest.mark.parametrize(
    ("before", "after", "follows"),
    [
        (None, Answer.DISPOSED, True),
        (None, Answer.RETAINED, True),
        (None, Answer.PARTLY, True),
        (Answer.RETAINED, Answer.DISPOSED, True),
        (Answer.RETAINED, Answer.PARTLY, True),
        (Answer.PARTLY, Answer.DISPOSED, True),
        (Answer.PARTLY, Answer.RETAINED, False),
        (Answer.DISPOSED, Answer.RETAINED, False),
        (Answer.DISPOSED, Answer.PARTLY, False),
        (Answer.DISPOSED, Answer.DISPOSED, False),
    ],
)
def test_what_was_deleted_is_never_kept_again(before: Answer | None, after: Answer, follows: bool) -> None:
    assert (after in policy.FOLLOWS[before]) is follows


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        (AnswerOrder(Answer.DISPOSED), None),
        (AnswerOrder(Answer.DISPOSED, "law"), "field_unknown"),
        (AnswerOrder(Answer.RETAINED, "Medical device file"), None),
        (AnswerOrder(Answer.RETAINED), "missing"),
        (AnswerOrder(Answer.PARTLY, "  "), "missing"),
        (AnswerOrder(Answer.PARTLY, "x" * 500), None),
        (AnswerOrder(Answer.PARTLY, "x" * 501), "too_long"),
    ],
)
def test_whoever_keeps_something_says_by_which_law(order: AnswerOrder, fault: str | None) -> None:
    """C95."""
    assert policy.answer_faults(order).get("legal_reason") == fault


@pytest.mark.parametrize(
    ("change", "at", "state"),
    [
        ({}, DUE - timedelta(seconds=1), State.OPEN),
        ({}, DUE, State.OVERDUE),
        ({"overdue_at": DUE}, DUE, State.OVERDUE),
        ({"answer": Answer.PARTLY}, DUE + timedelta(days=9), State.PARTLY),
        ({"answer": Answer.DISPOSED, "overdue_at": DUE}, DUE, State.DISPOSED),
    ],
)
def test_no_answer_in_time_is_a_finding(change: dict[str, Any], at: datetime, state: State) -> None:
    """C95."""
    assert policy.state_of(replace(REQUEST, **change), at) is state


@pytest.mark.parametrize(
    ("days", "expected"),
    [((7, 30), 7), ((30, 7), 7), ((None, 60), 60), ((None,), DISPOSAL_DAYS), ((), DISPOSAL_DAYS)],
)
def test_the_shortest_deadline_of_an_apps_cells_counts(days: tuple[int | None, ...], expected: int) -> None:
    """C95: of several clients; the default if no cell admits one."""
    cell = cell_of(book(), "unclassified", Tier.LOW)
    assert cell is not None
    cells = [None if each is None else replace(cell, disposal_days=each) for each in days]

    assert policy.due_at(NOW, cells) == NOW + timedelta(days=expected)


def test_the_signed_text_is_an_event_and_no_id_token() -> None:
    claims = policy.claims_of(REQUEST, issuer="https://hilum.example", audience=["cli_1"])

    assert "sub" not in claims
    assert "exp" not in claims
    (event,) = claims["events"].values()
    assert event == {
        "disposal": "dsp_1",
        "cause": "agreement",
        "app": "app_1",
        "hospital": "mercy",
        "client_id": "cli_1",
        "authorization": "aut_1",
        "patient": "p1",
        "due_at": DUE.isoformat(),
    }
