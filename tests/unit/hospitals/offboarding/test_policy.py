"""Who may let a hospital leave, and what its erasure waits for (C148)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hilum.foundation.kernel.actor import SYSTEM, Actor, ActorKind
from hilum.foundation.kernel.ids import TenantId
from hilum.hospitals.offboarding import policy
from hilum.hospitals.offboarding.models import Offboarding, State, Waits

NOW = datetime(2026, 11, 27, tzinfo=UTC)
GENERAL = TenantId("general")
LEFT = Offboarding("off_1", GENERAL, "General", "moves", "a", "b", NOW, NOW + timedelta(days=30), "sw_1", {})
EXPORTED = replace(LEFT, exported_at=NOW, manifest="a digest")
DAY = LEFT.erase_at


@pytest.mark.parametrize(
    ("found", "holds", "now", "waits"),
    [
        (LEFT, (), DAY, Waits.EXPORT),
        (LEFT, ("hld_1",), DAY, Waits.EXPORT),
        (EXPORTED, (), NOW, Waits.DATE),
        (EXPORTED, (), DAY - timedelta(microseconds=1), Waits.DATE),
        (EXPORTED, ("hld_1",), DAY, Waits.HOLD),
        (replace(EXPORTED, state=State.ERASING), ("hld_1",), DAY, Waits.HOLD),
        (EXPORTED, (), DAY, Waits.NOTHING),
        (replace(EXPORTED, state=State.ERASED), ("hld_1",), DAY, Waits.NOTHING),
    ],
)
def test_nothing_is_erased_before_its_day_without_an_export_or_under_a_hold(
    found: Offboarding, holds: tuple[str, ...], now: datetime, waits: Waits
) -> None:
    assert policy.waits_for(found, holds, now) is waits


@pytest.mark.parametrize(
    ("actor", "may"),
    [
        (Actor(ActorKind.PERSON, "p", GENERAL, frozenset({"administrator"})), True),
        (Actor(ActorKind.STAFF, "s", None, frozenset({"platform_admin"})), True),
        (Actor(ActorKind.STAFF, "s", None, frozenset({"security"})), True),
        (Actor(ActorKind.PERSON, "p", TenantId("children"), frozenset({"administrator"})), False),
        (Actor(ActorKind.PERSON, "p", GENERAL, frozenset({"physician"})), False),
        (Actor(ActorKind.STAFF, "s", None, frozenset({"reviewer"})), False),
        (Actor(ActorKind.STAFF, "s", None, frozenset({"auditor"})), False),
        (Actor(ActorKind.HOST, "h", None, frozenset({"platform_admin"})), False),
        (SYSTEM, False),
    ],
)
def test_who_may_be_one_of_the_two(actor: Actor, may: bool) -> None:
    assert policy.may_ask(actor, GENERAL) is may


@pytest.mark.parametrize(
    ("reason", "days", "fields"),
    [
        ("moves", 30, set()),
        ("moves", 7, set()),
        ("moves", 365, set()),
        ("", 30, {"reason"}),
        ("  ", 30, {"reason"}),
        ("x" * 501, 30, {"reason"}),
        ("moves", 6, {"erase_after_days"}),
        ("moves", 366, {"erase_after_days"}),
        ("", -1, {"reason", "erase_after_days"}),
    ],
)
def test_what_is_wrong_is_named_by_field(reason: str, days: int, fields: set[str]) -> None:
    assert set(policy.ask_faults(reason, days)) == fields
