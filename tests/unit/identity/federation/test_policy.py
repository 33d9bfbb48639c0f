"""Who a provider's person is here, and what is wider (security decision 25), as tables and properties."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel.ids import PersonId, SessionId, TenantId
from hilum.identity.account.policy import is_confirmed
from hilum.identity.factors.models import Held
from hilum.identity.federation import policy
from hilum.identity.federation.models import Fault, Identity, Passwords, RoleRow, Settings
from hilum.identity.people.models import NewPerson, Person
from hilum.identity.people.policy import ROLES, STAFF_ROLES
from hilum.identity.signin.models import Method, Session

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
GENERAL = TenantId("general")
SETTINGS = Settings(
    "General",
    "https://login.example",
    "hilum",
    role_table=(RoleRow("doctors", "physician"), RoleRow("nurses", "nurse"), RoleRow("it", "administrator")),
    roles=("physician", "nurse"),
)
ANN = Person(PersonId("per_ann"), GENERAL, "ann", "Ann", "physician")
BASES = "", "https://fhir.example/r4/"
VALUES = st.sampled_from(["doctors", "nurses", "it", "cleaners", "platform_admin", 7, None, ["doctors"]])


@given(st.one_of(VALUES, st.lists(VALUES)), st.sets(st.sampled_from(sorted(ROLES | STAFF_ROLES))))
def test_no_claim_gives_a_role_outside_the_list_nor_one_of_the_staff(found: Any, roles: set[str]) -> None:
    settings = replace(SETTINGS, roles=tuple(roles))

    stated = policy.roles_stated(settings, {"roles": found})

    assert set(stated) <= roles & ROLES


@pytest.mark.parametrize(
    ("claims", "claim", "stated"),
    [
        ({"roles": ["nurses", "doctors"]}, "roles", ("physician", "nurse")),
        ({"roles": "doctors"}, "roles", ("physician",)),
        ({"roles": ["it"]}, "roles", ()),
        ({"realm": {"roles": ["nurses"]}}, "realm.roles", ("nurse",)),
        ({"https://h/roles": ["nurses"]}, "https://h/roles", ("nurse",)),
        ({"realm": ["nurses"]}, "realm.roles", ()),
        ({"roles": ["x"] * 500 + ["doctors"]}, "roles", ()),
        ({}, "roles", ()),
    ],
)
def test_a_claim_is_read_as_a_text_or_a_list_by_name_or_path(
    claims: dict[str, Any], claim: str, stated: tuple[str, ...]
) -> None:
    assert policy.roles_stated(replace(SETTINGS, role_claim=claim), claims) == stated


@pytest.mark.parametrize(
    ("person", "stated", "fault"),
    [
        (ANN, ("physician",), None),
        (ANN, ("nurse", "physician"), None),
        (ANN, ("nurse",), Fault.ROLE_LOST),
        (ANN, (), Fault.ROLE_LOST),
        (replace(ANN, active=False), ("physician",), Fault.PERSON_INACTIVE),
        (replace(ANN, tenant=TenantId("other")), ("physician",), Fault.PERSON_INACTIVE),
        (replace(ANN, tenant=None, role="platform_admin"), ("physician",), Fault.PERSON_INACTIVE),
        (replace(ANN, tenant=TenantId("ven_1"), role="vendor_owner"), ("physician",), Fault.PERSON_INACTIVE),
        (replace(ANN, role="administrator"), ("administrator",), Fault.ROLE_LOST),
    ],
)
def test_who_enters_is_of_this_hospital_and_has_the_role_still(
    person: Person, stated: tuple[str, ...], fault: Fault | None
) -> None:
    assert policy.person_fault(SETTINGS, person, stated, GENERAL) is fault


@pytest.mark.parametrize(
    ("claims", "role", "expected"),
    [
        (
            {"preferred_username": "Nia", "name": "Nia N"},
            "nurse",
            NewPerson(GENERAL, "nia", "Nia N", "nurse"),
        ),
        ({"preferred_username": "nia"}, "nurse", NewPerson(GENERAL, "nia", "nia", "nurse")),
        ({"preferred_username": "nia"}, "administrator", Fault.NEEDS_ADMINISTRATOR),
        ({}, "nurse", Fault.USERNAME_UNUSABLE),
        ({"preferred_username": "nia", "fu": "Patient/1"}, "nurse", Fault.FHIR_USER_UNUSABLE),
        ({"preferred_username": "pat"}, "patient", Fault.FHIR_USER_UNUSABLE),
        (
            {"preferred_username": "pat", "fu": "https://fhir.example/r4/Patient/1"},
            "patient",
            NewPerson(GENERAL, "pat", "pat", "patient", fhir_user="Patient/1", patients=("1",)),
        ),
        (
            {"preferred_username": "pat", "fu": "Patient/1"},
            "patient",
            NewPerson(GENERAL, "pat", "pat", "patient", fhir_user="Patient/1", patients=("1",)),
        ),
        *(
            (
                {"preferred_username": "pat", "fu": f"{elsewhere}Patient/1"},
                "patient",
                Fault.FHIR_USER_UNUSABLE,
            )
            for elsewhere in (
                "https://other.example/r4/",
                "https://fhir.example/",
                "https://fhir.example/r4x/",
                "https://fhir.example/r4/Patient/2/",
                "https://fhir.example.evil.example/r4/",
                "javascript:x/y/",
                "/",
            )
        ),
    ],
)
def test_a_new_person_has_no_power_and_their_own_chart_only(
    claims: dict[str, Any], role: str, expected: NewPerson | Fault
) -> None:
    settings = replace(SETTINGS, adds_people=True, fhir_user_claim="fu")
    identity = Identity("https://login.example", "s-1", claims)

    assert policy.new_person(settings, identity, (role,), GENERAL, BASES) == expected


@pytest.mark.parametrize(
    ("found", "whole"),
    [
        ([], True),
        ("doctors", True),
        (["x"] * 500, True),
        (["x"] * 501, False),
        (None, False),
        ({"doctors": True}, False),
        (7, False),
    ],
)
def test_only_a_claim_that_is_there_and_whole_takes_a_role_away(found: Any, whole: bool) -> None:
    assert policy.states_all_roles(SETTINGS, {"roles": found}) is whole
    lost = policy.person_fault(SETTINGS, ANN, (), GENERAL, whole=whole)
    assert lost is (Fault.ROLE_LOST if whole else Fault.ROLES_NOT_STATED)
    assert not policy.states_all_roles(SETTINGS, {})


@given(st.lists(st.sampled_from(SETTINGS.role_table), unique=True))
def test_rows_in_another_order_are_wider(rows: list[RoleRow]) -> None:
    """The first that matches is the role of a new person."""
    changed = replace(SETTINGS, role_table=tuple(rows))

    in_order = [row for row in SETTINGS.role_table if row in rows]
    assert policy.widens(SETTINGS, changed) is (rows != in_order)


@pytest.mark.parametrize("first", Passwords)
@pytest.mark.parametrize("second", Passwords)
def test_switching_a_provider_off_opens_no_passwords(first: Passwords, second: Passwords) -> None:
    """Security decision 25: one person may switch it off."""
    one, two = (replace(SETTINGS, passwords=each) for each in (first, second))
    off = replace(one, active=False)

    assert policy.passwords_of((off, two)) is policy.passwords_of((one, two))
    assert policy.passwords_of((off,)) is first
    assert not policy.widens(one, off)
    assert policy.passwords_of(()) is Passwords.EVERYONE


@given(
    st.integers(0, 3_600),
    st.integers(300, 43_200),
    st.sets(st.sampled_from("ab")),
    st.sampled_from(Passwords),
)
def test_a_change_and_its_reverse_are_never_both_narrower(
    age: int, life: int, acr: set[str], passwords: Passwords
) -> None:
    """Otherwise one person alone could open again what two had closed."""
    changed = replace(
        SETTINGS, max_age_s=age, session_life_s=life, acr_values=tuple(sorted(acr)), passwords=passwords
    )

    assert changed == SETTINGS or policy.widens(SETTINGS, changed) or policy.widens(changed, SETTINGS)
    assert not policy.widens(SETTINGS, SETTINGS)


@pytest.mark.parametrize(
    ("authenticated", "confirmed"),
    [(timedelta(seconds=5), True), (timedelta(hours=12), False)],
)
def test_an_old_sign_in_at_the_provider_sets_up_nothing(authenticated: timedelta, confirmed: bool) -> None:
    session = Session(
        SessionId("ses_1"),
        ANN.id,
        GENERAL,
        ANN.role,
        Method.FEDERATED,
        NOW,
        NOW,
        NOW + timedelta(hours=1),
        authenticated_at=NOW - authenticated,
    )

    assert is_confirmed(session, Held(), NOW) is confirmed
