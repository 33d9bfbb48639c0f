"""The new-access check between two rule books: whatever one allows and the other does not is listed (C210)."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.policies.comparison import changes, widenings
from hilum.policies.document import read_book
from hilum.policies.models import Applicant, Book, Change
from hilum.policies.policy import admit
from hilum.policies.shipped import shipped_book
from hilum.standards.smart.scopes import all_covered
from tests.effort import effort
from tests.unit.policies.books import GONE, book, document
from tests.unit.policies.test_tier import applicants

BOOK = shipped_book()
CELL = "categories.care_recommendations.cells.moderate"
HIGH = "categories.care_recommendations.cells.high"

WIDER: list[tuple[dict[str, Any], str]] = [
    ({f"{CELL}.scopes": [*document()["categories"]["care_recommendations"]["cells"]["moderate"]["scopes"], "user/Task.cud"]}, f"{CELL}.scopes"),
    ({f"{CELL}.session_scopes": ["hilum/launch", *BOOK.categories["care_recommendations"].cells[next(iter(BOOK.categories["care_recommendations"].cells))].session_scopes]}, f"{CELL}.session_scopes"),
    ({f"{HIGH}.client_authentication": ["none", "client_secret_basic", "private_key_jwt"]}, f"{HIGH}.client_authentication"),
    ({f"{CELL}.workflows": ["chart_review", "outreach", "intake"]}, f"{CELL}.workflows"),
    ({f"{CELL}.workflows": ["*"]}, f"{CELL}.workflows"),
    ({f"{CELL}.placements": ["banner", "sidebar", "note", "orders"]}, f"{CELL}.placements"),
    ({f"{HIGH}.evidence": ["automated_checks", "sandbox_run", "data_flow"]}, f"{HIGH}.evidence"),
    ({f"{HIGH}.lenses": ["technical", "legal"]}, f"{HIGH}.lenses"),
    ({f"{CELL}.quota": {"rate_per_s": 21}}, f"{CELL}.quota.rate_per_s"),
    ({f"{CELL}.quota": {"burst": 101}}, f"{CELL}.quota.burst"),
    ({f"{CELL}.traffic_class": "clinical_interactive"}, f"{CELL}.traffic_class"),
    ({f"{CELL}.alerts": {"failed_percent": 6}}, f"{CELL}.alerts.failed_percent"),
    ({f"{CELL}.certificate_life": "366 d"}, f"{CELL}.certificate_life"),
    ({f"{CELL}.lifetimes": {"refresh_token": "101 d"}}, f"{CELL}.lifetimes.refresh_token"),
    ({f"{CELL}.lifetimes": {"authorization": "366 d"}}, f"{CELL}.lifetimes.authorization"),
    ({"categories.scheduling.cells.high": {"scopes": []}}, "categories.scheduling.cells.high"),
    ({"categories.games": {"title": "Games", "floor": "low", "open": True, "cells": {}}}, "categories.games"),
    ({"categories.unclassified.open": True}, "categories.unclassified.open"),
    ({"tier_rules.3.tier": "moderate", f"{HIGH}.scopes": ["user/ServiceRequest.c"]}, "categories.clinical_decision_support"),
    ({"rollout.soak": "1 h"}, "rollout.soak"),
    ({"packs": []}, "packs.us-federal"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "path"), WIDER)
def test_what_a_book_allows_anew_is_listed_and_the_way_back_is_not(change: dict[str, Any], path: str) -> None:
    before, after = _pair(change)

    found = widenings(before, after)

    assert path in {each.path for each in found}
    assert path not in {each.path for each in widenings(after, before)}


def test_a_floor_that_falls_is_listed() -> None:
    raised = book({"categories.documentation_assistance.floor": "moderate"})

    assert {each.path for each in widenings(raised, BOOK)} == {"categories.documentation_assistance"}
    assert "falls from moderate to low" in widenings(raised, BOOK)[0].sentence
    assert widenings(BOOK, raised) == ()


def test_any_change_of_the_rules_of_a_jurisdiction_is_listed() -> None:
    for days in (1, 30):
        changed = book({"packs.0.step_days": {"verify": days, "enable": 5}})
        assert [each.path for each in widenings(BOOK, changed)] == ["packs.us-federal"]


def _pair(change: dict[str, Any]) -> tuple[Book, Book]:
    """Return the shipped book and the changed one; scopes of a raised rule that a cell would list in vain are left out of both."""
    made, faults = read_book(document(change))
    if made is not None:
        return BOOK, made
    at = {fault.path for fault in faults if fault.code == "never_used"}
    gone: dict[str, Any] = {path: [] for path in at}
    return book(gone), book(gone | change)


def test_the_same_book_allows_nothing_new() -> None:
    assert widenings(BOOK, book()) == ()
    assert changes(BOOK, book()) == ()


NARROWER: list[dict[str, Any]] = [
    {f"{CELL}": GONE},
    {f"{CELL}.scopes": ["user/*.rs"]},
    {
        f"{CELL}.client_authentication": ["private_key_jwt"],
        f"{HIGH}.client_authentication": ["private_key_jwt"],
    },
    {f"{CELL}.quota": {"rate_per_s": 1, "burst": 1}},
    {f"{HIGH}.lifetimes": {"access_token": "1 min"}},
    {"categories.analytics": GONE, "packs": document()["packs"]},
    {"categories.analytics.open": False},
    {"categories.scheduling.floor": "moderate"},
    {"title": "Another", "owner": "Somebody"},
    {"rollout.soak": "7 d"},
]


@pytest.mark.parametrize("change", NARROWER)
def test_what_only_narrows_or_describes_is_not_listed(change: dict[str, Any]) -> None:
    assert widenings(BOOK, book(change)) == ()
    assert changes(BOOK, book(change)) != ()


def test_a_tier_that_rises_into_a_cell_that_allows_more_is_listed() -> None:
    """The scope was of a tier whose cell did not list it; in its new tier it is listed."""
    rule = {"name": "slots", "tier": "moderate", "because": "it reads {type}", "types": ["Immunization"]}
    moderate = "categories.scheduling.cells.moderate.scopes"
    lists = {
        moderate: [
            *document()["categories"]["scheduling"]["cells"]["moderate"]["scopes"],
            "user/Immunization.c",
        ]
    }
    before = book(lists)
    after = book(
        {
            moderate: [*lists[moderate], "user/Immunization.rs"],
            "tier_rules": [*document()["tier_rules"], rule],
        }
    )

    found = {each.path for each in widenings(before, after)}

    assert {f"{moderate}", "categories.scheduling"} <= found


def test_every_change_is_listed_with_both_values() -> None:
    after = book({f"{CELL}.quota": {"burst": 7}, "tier_rules.0.because": "it orders {type}"})

    assert changes(BOOK, after) == (
        Change("tier_rules.writes-orders.because", "it writes {type}", "it orders {type}"),
        Change(f"{CELL}.quota.burst", 100, 7),
    )


EDITS: list[tuple[str, Any]] = [
    *((path, value) for change, _ in WIDER for path, value in change.items()),
    *((path, value) for change in NARROWER for path, value in change.items()),
    *((f"tier_rules.{n}.tier", tier) for n in range(10) for tier in ("low", "moderate", "high")),
    *((f"tier_rules.{n}.clients", ["none"]) for n in range(3, 10)),
    *((f"tier_rules.{n}.prefixes", ["user"]) for n in range(3, 10)),
]


@settings(max_examples=effort(40, 4_000), deadline=None)
@given(
    st.lists(st.sampled_from(EDITS), max_size=3),
    st.lists(st.sampled_from(EDITS), max_size=3),
    st.lists(applicants, max_size=12),
)
def test_where_nothing_new_is_listed_no_app_is_admitted_to_anything_new(
    first: list[tuple[str, Any]], second: list[tuple[str, Any]], apps: list[Applicant]
) -> None:
    """C210."""
    before, after = _valid(first), _valid(second)
    if before is None or after is None or widenings(before, after):
        return

    for app in apps:
        assert all_covered(admit(after, app).scopes, admit(before, app).scopes), app


def _valid(edits: list[tuple[str, Any]]) -> Book | None:
    try:
        return read_book(copy.deepcopy(document(dict(edits))))[0]
    except (KeyError, IndexError):  # one edit removed what another one changes
        return None
