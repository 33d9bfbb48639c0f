"""Who may break the glass, who reviews it, and what of a hospital's settings takes two people (C82, ADR 77)."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.authorization.breakglass import policy
from hilum.authorization.breakglass.models import (
    LAUNCH_AGE,
    MISUSE_BAR,
    OPENABLE,
    OPENED_BY_DEFAULT,
    NewUse,
    Recent,
    Settings,
    SettingsChange,
    Use,
    UseQuery,
    UseState,
)
from hilum.authorization.launches.models import Launch
from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import AppId, ClientId, LaunchId, PersonId, TenantId
from hilum.identity.people.models import Person
from tests.sim.world import START

GENERAL, OTHER = TenantId("general"), TenantId("clinic")
NOW = START + timedelta(days=1)
ON = Settings(GENERAL, enabled=True)
HOUR = timedelta(hours=1)


def person(id_: str = "per_1", role: str = "physician", tenant: TenantId = GENERAL) -> Actor:
    return Actor(ActorKind.PERSON, id_, tenant, frozenset({role}))


def account(id_: str = "per_9", fhir_user: str = "", **more: Any) -> Person:
    made = Person(PersonId(id_), GENERAL, id_, id_, "administrator", fhir_user, created_at=START)
    return replace(made, **more)


LAUNCH = Launch(
    LaunchId("lch_1"),
    GENERAL,
    ClientId("cli_1"),
    PersonId("per_1"),
    NOW - HOUR,
    NOW - HOUR + timedelta(minutes=5),
    patient="p1",
    used_at=NOW - HOUR,
)
USE = Use(
    "btg_1",
    GENERAL,
    PersonId("per_1"),
    "physician",
    ClientId("cli_1"),
    AppId("app_1"),
    LaunchId("lch_1"),
    "p1",
    "found unconscious in the ward",
    ("confidential",),
    NOW - HOUR,
    NOW - HOUR + timedelta(minutes=15),
    NOW + timedelta(days=3),
)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ""),
        ({"actor": person(role="nurse")}, ""),
        ({"actor": person(role="patient")}, "break_glass_role"),
        ({"actor": person(role="administrator")}, "break_glass_role"),
        ({"actor": person(role="analyst")}, "break_glass_role"),
        ({"actor": person(role="front_desk")}, "break_glass_role"),
        ({"actor": person(role="unheard_of")}, "break_glass_role"),
        ({"actor": person(tenant=OTHER)}, "break_glass_role"),
        ({"actor": Actor(ActorKind.STAFF, "per_1", None, frozenset({"physician"}))}, "break_glass_role"),
        ({"actor": Actor(ActorKind.CLIENT, "per_1", GENERAL, frozenset({"physician"}))}, "break_glass_role"),
        ({"actor": SYSTEM}, "break_glass_role"),
        ({"settings": Settings(GENERAL)}, "break_glass_off"),
        ({"launch": None}, "launch_not_open"),
        ({"launch": replace(LAUNCH, person=PersonId("per_2"))}, "launch_not_open"),
        ({"launch": replace(LAUNCH, tenant=OTHER)}, "launch_not_open"),
        ({"launch": replace(LAUNCH, patient="")}, "launch_not_open"),
        ({"launch": replace(LAUNCH, used_at=None)}, "launch_not_open"),
        ({"launch": replace(LAUNCH, moved_at=NOW)}, "launch_not_open"),
        ({"launch": replace(LAUNCH, ended_at=NOW)}, "launch_not_open"),
        ({"launch": replace(LAUNCH, created_at=NOW - LAUNCH_AGE)}, "launch_not_open"),
        ({"recent": Recent(0, NOW)}, "break_glass_barred"),
        ({"recent": Recent(0, NOW - MISUSE_BAR + HOUR)}, "break_glass_barred"),
        ({"recent": Recent(0, NOW - MISUSE_BAR)}, ""),
        ({"is_open": True}, "break_glass_open"),
        ({"recent": Recent(2)}, ""),
        ({"recent": Recent(3)}, "break_glass_limit"),
        ({"recent": Recent(400)}, "break_glass_limit"),
    ],
)
def test_who_may_break_the_glass(change: dict[str, Any], expected: str) -> None:
    """C82: off by default, by the launch's own clinician, within a limit; each refusal has its sentence."""
    given = {"actor": person(), "settings": ON, "launch": LAUNCH, "recent": Recent(), "is_open": False}

    found = policy.opening_fault(
        **given | change,  # type: ignore[arg-type]
        now=NOW,
    )

    assert found == expected
    assert not found or policy.DETAILS[found]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("", "reason_too_short"),
        ("emergency", "reason_too_short"),
        ("x" + " " * 100 + "y", "reason_too_short"),
        ("x" * 20, ""),
        ("x" * 1_000, ""),
        ("x" * 1_001, "reason_too_long"),
    ],
)
def test_a_reason_is_a_sentence(reason: str, expected: str) -> None:
    assert policy.reason_fault(NewUse(LAUNCH.id, reason)) == expected


@pytest.mark.parametrize(
    ("actor", "reviewer", "user", "expected"),
    [
        (person("per_9", "administrator"), account(), account("per_1"), ""),
        (person("per_9", "administrator"), account(), None, ""),
        (person("per_1", "administrator"), account("per_1"), account("per_1"), "review_of_own_use"),
        (
            person("per_9", "administrator"),
            account(fhir_user="Practitioner/dr"),
            account("per_1", "Practitioner/dr"),
            "review_of_own_use",
        ),
        (person("per_9", "administrator"), None, None, "not_permitted"),
        (person("per_9", "administrator"), account(active=False), None, "not_permitted"),
        (person("per_9", "administrator", OTHER), account(), None, "not_permitted"),
        (person("per_9", "physician"), account(), None, "not_permitted"),
        (SYSTEM, account(), None, "not_permitted"),
    ],
)
def test_somebody_else_reviews(
    actor: Actor, reviewer: Person | None, user: Person | None, expected: str
) -> None:
    """C82, security decision 25: nobody their own, also not by a second account of the same FHIR user."""
    assert policy.review_fault(actor, USE, reviewer, user, NOW) == expected


def test_what_is_open_is_not_reviewed_yet() -> None:
    running = replace(USE, ends_at=NOW + HOUR)

    assert policy.review_fault(person("per_9", "administrator"), running, account(), None, NOW) == (
        "break_glass_running"
    )


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (replace(USE, ends_at=NOW + HOUR), UseState.OPEN),
        (replace(USE, ends_at=NOW + HOUR, ended_at=NOW), UseState.WAITING),
        (replace(USE, ends_at=NOW), UseState.WAITING),
        (USE, UseState.WAITING),
        (replace(USE, review_by=NOW), UseState.OVERDUE),
        (replace(USE, review_by=NOW, reviewed_at=NOW), UseState.REVIEWED),
    ],
)
def test_states(use: Use, expected: UseState) -> None:
    assert policy.state_of(use, NOW) is expected


@pytest.mark.parametrize(
    ("actor", "query", "expected"),
    [
        (person("per_9", "administrator"), UseQuery("general"), True),
        (person("per_9", "administrator"), UseQuery("clinic"), False),
        (person("per_9", "administrator"), UseQuery(""), False),
        (person(), UseQuery("general", "per_1"), True),
        (person(), UseQuery("general", "per_2"), False),
        (person(), UseQuery("general"), False),
        (person(role="patient"), UseQuery("general", "per_1"), False),
        (SYSTEM, UseQuery("general"), False),
    ],
)
def test_who_lists(actor: Actor, query: UseQuery, expected: bool) -> None:
    assert policy.may_list(actor, query) is expected


@pytest.mark.parametrize(
    ("actor", "expected"),
    [
        (person(), True),
        (person("per_9", "administrator"), True),
        (person("per_2"), False),
        (person("per_9", "administrator", OTHER), False),
        (person(tenant=OTHER), False),
        (Actor(ActorKind.CLIENT, "per_1", GENERAL), False),
        (Actor(ActorKind.STAFF, "per_8", None, frozenset({"platform_admin"})), False),
    ],
)
def test_who_sees_a_use(actor: Actor, expected: bool) -> None:
    """C82: who broke the glass and the hospital's administrators; neither a colleague nor another hospital nor the platform."""
    assert policy.may_see(actor, USE) is expected


@pytest.mark.parametrize(
    ("note", "expected"),
    [("confirmed by the ward", ""), (" ok ", "reason_too_short"), ("x" * 1_001, "reason_too_long")],
)
def test_a_verdict_has_a_note(note: str, expected: str) -> None:
    assert policy.note_fault(note) == expected


@pytest.mark.parametrize(
    ("before", "change", "widens", "narrows"),
    [
        (Settings(GENERAL), SettingsChange(enabled=True), True, False),
        (Settings(GENERAL), SettingsChange(minutes=60, categories=tuple(OPENABLE)), False, False),
        (ON, SettingsChange(), False, False),
        (ON, SettingsChange(enabled=False), False, True),
        (ON, SettingsChange(enabled=False, minutes=60), False, True),
        (ON, SettingsChange(minutes=16), True, False),
        (ON, SettingsChange(minutes=5), False, True),
        (ON, SettingsChange(per_day=4), True, False),
        (ON, SettingsChange(per_day=1), False, False),
        (ON, SettingsChange(review_hours=100), True, False),
        (ON, SettingsChange(review_hours=1), False, False),
        (ON, SettingsChange(categories=("confidential",)), False, True),
        (ON, SettingsChange(categories=("confidential", "hiv")), True, True),
        (ON, SettingsChange(categories=(*OPENED_BY_DEFAULT, "hiv")), True, False),
    ],
)
def test_more_power_and_less_review_take_two_people_and_less_power_ends_what_is_open(
    before: Settings,
    change: SettingsChange,
    widens: bool,
    narrows: bool,
) -> None:
    """C82, security decision 25."""
    after = policy.changed(before, change)

    assert (policy.widens(before, after), policy.narrows(before, after)) == (widens, narrows)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"categories": ("psychotherapy_notes",)}, {"categories": "category_not_openable"}),
        ({"categories": ("unheard_of",)}, {"categories": "category_not_openable"}),
        ({"categories": ()}, {"categories": "missing"}),
        ({"categories": (), "enabled": False}, {}),
        ({"minutes": 0}, {"minutes": "out_of_range"}),
        ({"minutes": 61}, {"minutes": "out_of_range"}),
        ({"per_day": 11}, {"per_day": "out_of_range"}),
        ({"review_hours": 169}, {"review_hours": "out_of_range"}),
        ({"minutes": 60, "per_day": 10, "review_hours": 168, "categories": tuple(OPENABLE)}, {}),
    ],
)
def test_settings_have_bounds(change: dict[str, Any], expected: dict[str, str]) -> None:
    assert policy.settings_faults(policy.changed(ON, SettingsChange(**change))) == expected


SETTINGS = st.builds(
    Settings,
    st.just(GENERAL),
    st.booleans(),
    st.frozensets(st.sampled_from(sorted(OPENABLE)), max_size=3).map(lambda found: tuple(sorted(found))),
    st.integers(1, 60),
    st.integers(1, 10),
    st.integers(1, 168),
)


WIDEST = Settings(
    GENERAL, enabled=True, categories=tuple(sorted(OPENABLE)), minutes=60, per_day=10, review_hours=168
)


@given(st.just(WIDEST) | SETTINGS, SETTINGS)
def test_what_one_person_changes_alone_opens_nothing_that_was_not_open(
    before: Settings, after: Settings
) -> None:
    """Security decision 25: a property of ``widens``."""
    if policy.widens(before, after) or not after.enabled:
        return

    assert before.enabled
    assert set(after.categories) <= set(before.categories)
    assert after.minutes <= before.minutes
    assert after.per_day <= before.per_day
    assert after.review_hours <= before.review_hours


@given(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), st.integers(1, 100_000))
def test_no_use_is_longer_than_an_hour(now: datetime, minutes: int) -> None:
    assert policy.ends_at(replace(ON, minutes=minutes), now) <= now + HOUR
