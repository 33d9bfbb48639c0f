"""When an agreement is in force, who exports it, and what a page that offers nothing grants (C89, C68)."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.authorization.consent import policy
from hilum.authorization.consent.policy import Consenter
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import PersonId, TenantId
from tests.unit.authorization.consent.facts import AGREED, NOW

MERCY, OTHER = TenantId("mercy"), TenantId("other")
MOMENT = timedelta(microseconds=1)


def test_an_agreement_is_in_force_until_its_end_or_its_withdrawal() -> None:
    assert policy.is_in_force(AGREED, AGREED.expires_at - MOMENT)
    assert not policy.is_in_force(AGREED, AGREED.expires_at)
    assert not policy.is_in_force(replace(AGREED, revoked_at=NOW), NOW - MOMENT)


ADMINISTRATOR = Actor(ActorKind.PERSON, "per_9", MERCY, frozenset({"administrator"}))
PATIENT = Actor(ActorKind.PERSON, "per_1", MERCY, frozenset({"patient"}))


@pytest.mark.parametrize(
    ("actor", "person", "may"),
    [
        (ADMINISTRATOR, None, True),
        (ADMINISTRATOR, "per_1", True),
        (replace(ADMINISTRATOR, tenant=OTHER), None, False),
        (PATIENT, "per_1", True),
        (PATIENT, "per_2", False),
        (PATIENT, None, False),
        (replace(PATIENT, tenant=OTHER), "per_1", False),
        (Actor(ActorKind.STAFF, "per_1", roles=frozenset({"platform_admin"})), "per_1", False),
        (SYSTEM, None, False),
    ],
)
def test_a_hospital_exports_its_agreements_and_everybody_their_own(
    actor: Actor, person: str | None, *, may: bool
) -> None:
    assert policy.may_export(actor, MERCY, None if person is None else PersonId(person)) is may


@pytest.mark.parametrize("asked", [("patient/*.rs",), ("patient/*.rs", "user/*.cruds")])
def test_a_wildcard_of_which_a_person_has_no_right_is_not_granted(asked: tuple[str, ...]) -> None:
    """It would come to mean something with the next right of the role."""
    nobody = Consenter({})

    assert policy.choices(asked, by=nobody) == ()
    assert policy.apply_ticks(asked, asked, by=nobody) == ()
