"""Who may be the second person, and what keeps somebody from agreeing (C200; security decision 25)."""

from dataclasses import replace
from datetime import timedelta
from itertools import product, starmap

import pytest

from hilum.controls.approvals import policy
from hilum.controls.approvals.models import Act, Approval, ApprovalKind, ApprovalState
from hilum.foundation.kernel.actor import ANONYMOUS, SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import PersonId, TenantId, VendorId
from tests.sim.world import START

NOW = START
GENERAL, CHILDREN = TenantId("general"), TenantId("children")
HOST = Actor(ActorKind.HOST, "root")


def staff(role: str, name: str = "s") -> Actor:
    return Actor(ActorKind.STAFF, f"per_{name}", roles=frozenset({role}))


def person(role: str, tenant: TenantId = GENERAL, name: str = "p") -> Actor:
    return Actor(ActorKind.PERSON, f"per_{name}", tenant, frozenset({role}))


ASKER, SECOND = staff("platform_admin", "asker"), staff("security", "second")
ACT = Act(ApprovalKind.CREATE, None, "", {"username": "new", "role": "reviewer"}, {"own_of": []}, "digest")
APPROVAL = Approval("apr_1", ACT, PersonId(ASKER.id), NOW, NOW + timedelta(days=7))


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


def test_who_asked_takes_back_what_they_may_not_agree_to_and_nobody_else_of_their_rank_sees_it() -> None:
    """Such as a developer, who asks for what only owners agree to."""
    asker = Actor(
        ActorKind.MEMBER, "per_asker", vendor=VendorId("ven_1"), roles=frozenset({"vendor_developer"})
    )
    approval = replace(APPROVAL, act=replace(ACT, tenant=TenantId("ven_1")))

    assert not policy.may_decide(asker, approval.act.tenant)
    assert policy.may_refuse(approval, asker)
    assert not policy.may_refuse(approval, replace(asker, id="per_colleague"))


def fault(approval: Approval = APPROVAL, actor: Actor = SECOND, **change: object) -> str:
    facts = {"asker": ASKER, "of_age": True, "now": NOW} | change
    return policy.decision_fault(approval, actor, **facts)  # type: ignore[arg-type]


def test_two_people_of_age_agree() -> None:
    assert fault() == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"actor": ASKER}, "asked_by_you"),
        ({"approval": replace(APPROVAL, act=replace(ACT, target=SECOND.id))}, "about_you"),
        ({"of_age": False}, "account_too_new"),
        ({"actor": replace(SECOND, unconfirmed=True)}, "factor_stale"),
        ({"asker": None}, "asker_no_longer_counts"),
        ({"asker": staff("reviewer", "asker")}, "asker_no_longer_counts"),
        ({"asker": staff("platform_admin", "somebody")}, "asker_no_longer_counts"),
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


def test_only_the_hospitals_own_administrators_open_restricted_labels() -> None:
    """ADR 77: the staff of the platform count at a hospital for other acts, and may refuse this one."""
    of_general = replace(APPROVAL, act=replace(ACT, tenant=GENERAL))
    opening = replace(of_general, act=replace(of_general.act, kind=ApprovalKind.BREAK_GLASS))

    assert fault(of_general) == ""
    for role in ("platform_admin", "security"):
        assert fault(opening, staff(role, "second")) == "hospital_decides"
    assert fault(opening, person("administrator")) == "asker_no_longer_counts", "who asked is of the staff"
    asker = replace(person("administrator"), id=ASKER.id)
    assert fault(opening, person("administrator"), asker=asker) == ""
    assert policy.may_refuse(opening, SECOND)


def actors(*kinds: ActorKind, ids: tuple[str, ...]) -> tuple[Actor, ...]:
    roles = [frozenset({role}) for role in ("security", "administrator")]
    return tuple(starmap(Actor, product(kinds, ids, (None, GENERAL, CHILDREN), roles)))


def test_nobody_ever_agrees_with_themselves_about_themselves_or_out_of_their_house() -> None:
    """Whoever they are: of all these, those who agree are of the staff, and at a hospital also its administrators."""
    askers = (None, *actors(ActorKind.STAFF, ActorKind.PERSON, ids=("per_asker", "per_target")))
    others = actors(*ActorKind, ids=("per_asker", "per_second", "per_target"))
    agreed = set()
    for asker, actor, of_age, tenant, target in product(
        askers, others, (True, False), (None, GENERAL), ("", "per_target", "per_asker")
    ):
        asked_by = PersonId(asker.id if asker else "per_asker")
        approval = replace(APPROVAL, act=replace(ACT, tenant=tenant, target=target), asked_by=asked_by)

        if policy.decision_fault(approval, actor, asker=asker, of_age=of_age, now=NOW) == "":
            assert actor.id not in {asked_by, target}
            assert of_age
            assert asker is not None
            assert actor.kind is ActorKind.STAFF or actor.tenant == tenant is not None
            agreed.add((tenant, *actor.roles, *asker.roles))

    at_a_hospital = product([GENERAL], ("security", "administrator"), ("security", "administrator"))
    assert agreed == {(None, "security", "security"), *at_a_hospital}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": ApprovalKind.RESET},
        {"tenant": GENERAL},
        {"target": "per_x"},
        {"order": {"username": "new", "role": "platform_admin"}},
        {"order": {}},
        {"before": {"own_of": ["nia"]}},
        {"sealed": "other"},
    ],
)
def test_the_record_distinguishes_one_act_from_any_other(change: dict[str, object]) -> None:
    assert policy.order_digest(ACT) == policy.order_digest(
        replace(ACT, order=dict(reversed(list(ACT.order.items()))))
    )
    assert policy.order_digest(replace(ACT, **change)) != policy.order_digest(ACT)  # type: ignore[arg-type]
