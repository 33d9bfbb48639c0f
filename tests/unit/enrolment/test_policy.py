"""Which acts take two people, which two count, and when a link may be used (C200; security decision 25)."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.enrolment import policy
from hilum.enrolment.models import (
    CODE_LETTERS,
    CODE_TRIES,
    Approval,
    ApprovalKind,
    ApprovalState,
    Link,
    Purpose,
)
from hilum.identity.models import NewPerson, Role, StaffRole
from hilum.kernel.actor import ANONYMOUS, SYSTEM, Actor, ActorKind
from hilum.kernel.ids import PersonId, TenantId
from tests.effort import effort
from tests.sim.world import START

NOW = START
GENERAL, CHILDREN = TenantId("general"), TenantId("children")
HOST = Actor(ActorKind.HOST, "root")


def staff(role: str, name: str = "s") -> Actor:
    return Actor(ActorKind.STAFF, f"per_{name}", roles=frozenset({role}))


def person(role: str, tenant: TenantId = GENERAL, name: str = "p") -> Actor:
    return Actor(ActorKind.PERSON, f"per_{name}", tenant, frozenset({role}))


ASKER, SECOND = staff("platform_admin", "asker"), staff("security", "second")
APPROVAL = Approval(
    "apr_1",
    ApprovalKind.CREATE,
    NewPerson(None, "new", "New", "reviewer"),
    PersonId(""),
    PersonId(ASKER.id),
    NOW,
    NOW + timedelta(days=7),
    "digest",
)
LINK = Link("d", PersonId("per_new"), GENERAL, Purpose.ENROL, "staff:x", NOW, NOW + timedelta(hours=1))


@pytest.mark.parametrize("role", StaffRole)
def test_every_account_of_the_staff_takes_two(role: StaffRole) -> None:
    assert policy.creating_takes_two(ASKER, None, role)
    assert policy.resetting_takes_two(ASKER, None, role, enrolled=False)


@pytest.mark.parametrize("role", Role)
def test_at_a_hospital_administrators_take_two_and_so_does_a_way_into_an_account_in_use(role: Role) -> None:
    has_power = role is Role.ADMINISTRATOR
    for actor in (ASKER, person("administrator")):
        assert policy.creating_takes_two(actor, GENERAL, role) is has_power
        assert policy.resetting_takes_two(actor, GENERAL, role, enrolled=False) is has_power
        assert policy.resetting_takes_two(actor, GENERAL, role, enrolled=True)


@pytest.mark.parametrize("actor", [HOST, SYSTEM], ids=str)
def test_the_host_and_the_platform_set_up_alone(actor: Actor) -> None:
    assert not policy.creating_takes_two(actor, None, "platform_admin")
    assert not policy.resetting_takes_two(actor, None, "platform_admin", enrolled=True)


def test_who_may_be_the_second_person() -> None:
    for actor, of_staff, of_general in (
        (staff("platform_admin"), True, True),
        (staff("security"), True, True),
        (staff("reviewer"), False, False),
        (staff("auditor"), False, False),
        (person("administrator"), False, True),
        (person("administrator", CHILDREN), False, False),
        (person("physician"), False, False),
        (person("platform_admin"), False, False),
        (Actor(ActorKind.CLIENT, "cli_1", GENERAL, frozenset({"administrator"})), False, False),
        (HOST, False, False),
        (SYSTEM, False, False),
        (ANONYMOUS, False, False),
    ):
        assert policy.may_decide(actor, None) is of_staff, actor
        assert policy.may_decide(actor, GENERAL) is of_general, actor


def fault(approval: Approval = APPROVAL, actor: Actor = SECOND, **change: object) -> str:
    facts = {"asker": ASKER, "of_age": True, "now": NOW} | change
    return policy.decision_fault(approval, actor, **facts)  # type: ignore[arg-type]


def test_two_people_of_age_agree() -> None:
    assert fault() == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"actor": ASKER}, "asked_by_you"),
        ({"approval": replace(APPROVAL, person=PersonId(SECOND.id))}, "about_you"),
        ({"of_age": False}, "account_too_new"),
        ({"asker": None}, "asker_no_longer_counts"),
        ({"asker": staff("reviewer", "asker")}, "asker_no_longer_counts"),
        ({"actor": staff("reviewer")}, "not_permitted"),
        ({"actor": HOST}, "not_permitted"),
        ({"actor": person("administrator")}, "not_permitted"),
        ({"now": NOW + timedelta(days=7)}, "approval_over"),
        ({"approval": replace(APPROVAL, state=ApprovalState.APPROVED)}, "approval_over"),
        ({"approval": replace(APPROVAL, state=ApprovalState.REFUSED)}, "approval_over"),
    ],
)
def test_nobody_else_does(change: dict[str, object], expected: str) -> None:
    assert fault(**change) == expected  # type: ignore[arg-type]


ACTORS = st.builds(
    Actor,
    st.sampled_from(ActorKind),
    st.sampled_from(["per_asker", "per_second", "per_target", "per_x"]),
    st.sampled_from([None, GENERAL, CHILDREN]),
    st.frozensets(st.sampled_from([*StaffRole, *Role]), max_size=2),
)


@settings(max_examples=effort(300, 10_000), deadline=None)
@given(
    actor=ACTORS,
    asker=st.none() | ACTORS,
    of_age=st.booleans(),
    tenant=st.sampled_from([None, GENERAL]),
    target=st.sampled_from(["", "per_target", "per_asker"]),
)
def test_nobody_ever_agrees_with_themselves_about_themselves_or_out_of_their_house(
    actor: Actor, asker: Actor | None, tenant: TenantId | None, target: str, *, of_age: bool
) -> None:
    order = replace(APPROVAL.order, tenant=tenant)
    asked_by = PersonId(asker.id if asker else "per_asker")
    approval = replace(APPROVAL, order=order, asked_by=asked_by, person=PersonId(target))

    if policy.decision_fault(approval, actor, asker=asker, of_age=of_age, now=NOW) == "":
        assert actor.id not in {asked_by, target}
        assert of_age
        assert asker is not None
        assert actor.kind is ActorKind.STAFF or actor.tenant == tenant is not None


def test_a_link_is_used_once_in_time_and_unless_replaced_or_guessed_at() -> None:
    assert policy.link_fault(LINK, NOW) == ""
    assert policy.link_fault(LINK, LINK.expires_at) == "expired"
    assert policy.link_fault(replace(LINK, used_at=NOW), NOW) == "used"
    assert policy.link_fault(replace(LINK, replaced_at=NOW), NOW) == "replaced"
    assert policy.link_fault(replace(LINK, tries=CODE_TRIES), NOW) == "spent"


@given(secret=st.text(max_size=50))
def test_a_setup_code_is_read_back_however_it_is_typed(secret: str) -> None:
    code = policy.code_from(secret)
    stored = policy.code_digest("apr_1", code)

    assert len(code) == 14
    assert set(code) <= set(CODE_LETTERS) | {"-"}
    for typed in (
        code,
        code.lower(),
        code.replace("-", ""),
        f" {code} ",
        code.replace("0", "o").replace("1", "l"),
    ):
        assert policy.code_matches(stored, "apr_1", typed)
    assert not policy.code_matches(stored, "apr_2", code)
    assert not policy.code_matches(stored, "apr_1", code[:-1])
    assert not policy.code_matches(stored, "apr_1", "")


def test_codes_differ_as_their_randomness_does() -> None:
    assert len({policy.code_from(str(number)) for number in range(effort(2_000, 100_000))}) == effort(
        2_000, 100_000
    )
