"""Who may ask for an app, and who may decide on it (C214)."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hilum.apps.registry.models import App
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import AppId, PersonId, TenantId, VendorId
from hilum.hospitals.requests.models import MAIL_WINDOW, AppRequest
from hilum.hospitals.requests.policy import decision_fault, is_active, is_within, may_ask, sees_all, window_of
from hilum.identity.people.models import Person

GENERAL, MERCY = TenantId("general"), TenantId("mercy")
AT = datetime(2026, 12, 3, 10, 20, tzinfo=UTC)
APP = App(AppId("app_1"), VendorId("ven_1"), "Chart", "Shows", "Review", category="unclassified")
REQUEST = AppRequest(
    "arq_1",
    GENERAL,
    APP.id,
    PersonId("per_ann"),
    "physician",
    frozenset({"physician"}),
    ("patient/Observation.rs",),
    (),
    "for the ward",
    AT,
)


def person(name: str, role: str, tenant: TenantId | None = GENERAL) -> Actor:
    return Actor(ActorKind.PERSON, f"per_{name}", tenant, frozenset({role}))


GINA = person("gina", "administrator")


@pytest.mark.parametrize(
    ("actor", "is_open", "asked_too", "fault"),
    [
        (GINA, True, False, ""),
        (GINA, False, False, "already_decided"),
        (GINA, True, True, "own_request"),
        (person("ann", "administrator"), True, False, "own_request"),
        (person("nora", "nurse"), True, False, "not_permitted"),
        (person("carl", "administrator", MERCY), True, False, "not_permitted"),
        (Actor(ActorKind.STAFF, "per_sam", None, frozenset({"security"})), True, False, "not_permitted"),
        (person("nora", "nurse"), False, True, "not_permitted"),
    ],
)
def test_only_another_administrator_of_the_hospital_decides_and_once(
    actor: Actor, is_open: bool, asked_too: bool, fault: str
) -> None:
    """C214."""
    assert decision_fault(actor, REQUEST, is_open=is_open, asked_too=asked_too) == fault


@pytest.mark.parametrize("role", ["physician", "nurse", "analyst", "front_desk", "administrator"])
def test_the_staff_of_the_hospital_asks_and_only_there(role: str) -> None:
    assert may_ask(person("ann", role), GENERAL, APP)
    assert not may_ask(person("ann", role), MERCY, APP)
    assert not may_ask(person("ann", role), GENERAL, replace(APP, tenant=GENERAL))


@pytest.mark.parametrize(
    ("role", "may"),
    [("vendor_owner", True), ("vendor_developer", True), ("vendor_billing", False), ("unknown", False)],
)
def test_members_of_the_apps_vendor_ask_everywhere(role: str, may: bool) -> None:
    member = Actor(ActorKind.MEMBER, "per_dev", None, frozenset({role}), vendor=APP.vendor)
    assert may_ask(member, GENERAL, APP) is may
    assert not may_ask(replace(member, vendor=VendorId("ven_2")), GENERAL, APP)


def test_patients_and_people_of_no_hospital_do_not_ask() -> None:
    assert not may_ask(person("pat", "patient"), GENERAL, APP)
    assert not may_ask(person("ann", "physician", None), GENERAL, APP)


def test_all_requests_are_seen_by_administrators_there_and_by_the_platform() -> None:
    assert sees_all(GINA, GENERAL)
    assert sees_all(SYSTEM, None)
    assert not sees_all(GINA, MERCY)
    assert not sees_all(GINA, None)
    assert not sees_all(person("nora", "nurse"), GENERAL)


def test_a_request_counts_while_its_person_is_active_where_they_asked_from() -> None:
    ann = Person(PersonId("per_ann"), GENERAL, "ann", "Ann", "physician")
    assert is_active(REQUEST, ann, APP)
    assert not is_active(REQUEST, None, APP)
    assert not is_active(REQUEST, replace(ann, active=False), APP)
    assert not is_active(REQUEST, replace(ann, tenant=MERCY), APP)
    from_vendor = replace(REQUEST, role="vendor_developer")
    assert is_active(from_vendor, replace(ann, tenant=TenantId(APP.vendor)), APP)
    assert not is_active(from_vendor, ann, APP)


def test_a_request_is_within_what_gives_all_of_its_roles_and_scopes() -> None:
    roles = frozenset({"physician", "nurse"})
    assert is_within(REQUEST, roles, ("patient/*.rs",))
    assert not is_within(REQUEST, frozenset({"nurse"}), ("patient/*.rs",))
    assert not is_within(REQUEST, roles, ("patient/Observation.r",))


def test_moments_of_one_hour_are_in_one_window() -> None:
    assert window_of(AT) == datetime(2026, 12, 3, 10, tzinfo=UTC)
    assert window_of(AT + MAIL_WINDOW) == window_of(AT) + MAIL_WINDOW
