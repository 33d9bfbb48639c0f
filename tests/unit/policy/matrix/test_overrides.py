"""Overrides of rules, judged when they are used: whatever is over, changed or unknown closes to deny (C207)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.standards.smart.scopes import all_covered
from hilum.policy.matrix.in_force import PolicyFacts, overridden, override_fault
from hilum.policy.matrix.models import Applicant, Book, Tier, Withholding
from hilum.policy.matrix.policy import admit
from tests.sim.world import START
from tests.unit.policy.matrix.books import book
from tests.unit.policy.matrix.override_facts import (
    APP,
    BOOK,
    DAY,
    GENERAL,
    MERCY,
    OVERRIDE,
    TEXTS,
    book_with_rule,
)

CERTIFIED_BELOW = Applicant("scheduling", ("user/Slot.rs",), certified_tier=Tier.MODERATE)


@pytest.mark.parametrize(
    ("change", "where", "after", "fault"),
    [
        ({}, GENERAL, DAY, ""),
        ({"tenant": None}, MERCY, DAY, ""),
        ({"tenant": None}, None, DAY, ""),
        ({}, MERCY, DAY, "elsewhere"),
        ({}, None, DAY, "elsewhere"),
        ({"ended_at": START}, GENERAL, DAY, "ended"),
        ({}, GENERAL, 10 * DAY - timedelta(microseconds=1), ""),
        ({}, GENERAL, 10 * DAY, "expired"),
        ({"ends_at": START + 400 * DAY}, GENERAL, 30 * DAY, "expired"),
        ({"rule": "no-such-rule"}, GENERAL, DAY, "not_overridable"),
        ({"rule_digest": "0" * 64}, GENERAL, DAY, "rule_changed"),
        ({"rule_digest": ""}, GENERAL, DAY, "rule_changed"),
    ],
)
def test_an_override_counts_where_and_while_it_was_agreed_to(
    change: dict[str, Any], where: TenantId | None, after: timedelta, fault: str
) -> None:
    assert override_fault(replace(OVERRIDE, **change), BOOK, where, START + after) == fault


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (book_with_rule(level="absolute"), "not_overridable"),
        (book_with_rule(level="advisory"), "not_overridable"),
        (book_with_rule(types=["Slot", "Schedule"]), "rule_changed"),
        (book_with_rule(because="it shows {type}"), "rule_changed"),
        (book(), "expired"),
    ],
)
def test_another_rule_book_ends_an_override_of_what_is_no_longer_that_rule(changed: Book, fault: str) -> None:
    assert override_fault(OVERRIDE, changed, GENERAL, START + DAY) == fault


def test_only_the_app_at_the_hospital_is_judged_without_the_rule() -> None:
    facts = PolicyFacts(BOOK, overrides={APP: (OVERRIDE,)})

    def rules(tenant: TenantId, app: AppId | None, days: int = 1) -> set[str]:
        return {rule.name for rule in facts.book_at(tenant, START + days * DAY, app).tier_rules}

    assert "reads-slots" not in rules(GENERAL, APP)
    for tenant, app, days in (
        (MERCY, APP, 1),
        (GENERAL, AppId("app_2"), 1),
        (GENERAL, None, 1),
        (GENERAL, APP, 10),
    ):
        assert "reads-slots" in rules(tenant, app, days)
    assert facts.book_at(GENERAL, START, APP) is facts.book_at(GENERAL, START, APP), (
        "what it admits is cached"
    )


def test_an_overridden_rule_withholds_nothing_and_its_scope_is_judged_in_the_lower_cell() -> None:
    certified = replace(
        CERTIFIED_BELOW,
        authentication=next(iter(BOOK.categories["scheduling"].cells[Tier.MODERATE].client_authentication)),
    )

    before, after = admit(BOOK, certified), admit(overridden(BOOK, frozenset({"reads-slots"})), certified)

    assert (before.scopes, {each.why for each in before.withheld}) == ((), {Withholding.CERTIFICATE})
    assert (after.scopes, after.withheld, after.tier) == (("user/Slot.rs",), (), Tier.MODERATE)


NAMES = sorted(rule.name for rule in BOOK.tier_rules)


@given(
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.sampled_from(TEXTS)),
    st.sampled_from(sorted(BOOK.categories)),
    st.sampled_from([None, *Tier]),
)
def test_an_override_never_takes_away_what_an_app_had(
    rules: set[str], texts: set[str], category: str, certified: Tier | None
) -> None:
    way = next(iter(BOOK.categories[category].cells.values())).client_authentication
    app = Applicant(category, tuple(sorted(texts)), min(way), certified_tier=certified)

    strict, loose = admit(BOOK, app), admit(overridden(BOOK, frozenset(rules)), app)

    assert all_covered(strict.scopes, loose.scopes)
    assert all_covered(loose.scopes, app.scopes)
