"""Scope products: what a policy may say of them, what is granted under them and until when, and what ends with notice (C61, C62, C65)."""

from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.standards.smart.scopes import all_covered, parse_scope, parse_stored
from hilum.policy.matrix.comparison import privilege_increases
from hilum.policy.matrix.in_force import as_of
from hilum.policy.matrix.models import Applicant, Book, ClientAuthentication, Tier, Withholding
from hilum.policy.matrix.policy import (
    admit,
    ended_sentence,
    notice_headers,
    notice_of,
)
from hilum.policy.matrix.product_models import NOTICE, ScopeStatus
from hilum.policy.matrix.products import Coverage, custom_finding, notice_faults
from hilum.policy.matrix.shipped import shipped_book
from tests.effort import effort
from tests.unit.policy.matrix.applicants import applicants
from tests.unit.policy.matrix.books import GONE, book, faults_of

BOOK = shipped_book()
DAY = date(2027, 1, 1)
SUNSET = DAY + NOTICE
MESSAGES = BOOK.products["messages"].covers if BOOK.products else ()
ENDING: dict[str, Any] = {
    "scopes.messages.status": "deprecated",
    "scopes.messages.deprecated_from": DAY,
    "scopes.messages.sunset": SUNSET,
    "scopes.messages.successor": "notes",
}
CUSTOM: dict[str, Any] = {
    "owner": "Ann",
    "purpose": "Laboratory results only",
    "data_class": "clinical",
    "version": 1,
    "status": "active",
    "covers": ["patient/Observation.rs?category=laboratory"],
    "custom": True,
    "demand": "Mercy's laboratory portal",
    "tests": ["tests/flows/test_granular.py"],
}


def ending_without(field: str) -> dict[str, Any]:
    return {name: value for name, value in ENDING.items() if name != f"scopes.messages.{field}"}


def at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def applicant(*scopes: str) -> Applicant:
    return Applicant("unclassified", scopes, ClientAuthentication.SECRET, certified_tier=Tier.HIGH)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"scopes.notes.owner": GONE}, ("scopes.notes.owner", "owner_missing")),
        ({**ENDING, "scopes.messages.owner": GONE}, ("scopes.messages.owner", "owner_missing")),
        ({"scopes.notes.purpose": GONE}, ("scopes.notes.purpose", "missing")),
        ({"scopes.notes.data_class": "secret"}, ("scopes.notes.data_class", "word_unknown")),
        ({"scopes.notes.version": 0}, ("scopes.notes.version", "out_of_range")),
        ({"scopes.notes.status": "sold"}, ("scopes.notes.status", "word_unknown")),
        ({"scopes.notes.covers": []}, ("scopes.notes.covers", "empty")),
        ({"scopes.notes.covers": ["patient/Binary.sr"]}, ("scopes.notes.covers", "scope_malformed")),
        ({"scopes.notes.covers": ["patient/Papyrus.rs"]}, ("scopes.notes.covers", "resource_type_unknown")),
        ({"scopes.notes.price": 5}, ("scopes.notes.price", "unknown")),
        ({"scopes": GONE}, ("scopes", "missing")),
        ({"scopes.directory": GONE}, ("categories.scheduling.entries.low.scopes", "scope_without_product")),
        ({"scopes.notes.status": "draft"}, ("categories.record_modification.entries.high.scopes", "scope_without_product")),
        ({"scopes.session": GONE}, ("categories.analytics.entries.moderate.session_scopes", "scope_without_product")),
        ({"scopes.notes.sunset": SUNSET}, ("scopes.notes.status", "contradictory")),
        ({"scopes.notes.successor": "messages"}, ("scopes.notes.status", "contradictory")),
        (ending_without("successor"), ("scopes.messages.successor", "successor_missing")),
        ({**ENDING, "scopes.messages.no_successor": "Nobody."}, ("scopes.messages.successor", "successor_missing")),
        ({**ENDING, "scopes.messages.successor": "messages"}, ("scopes.messages.successor", "successor_unknown")),
        ({**ENDING, "scopes.messages.successor": "pigeons"}, ("scopes.messages.successor", "successor_unknown")),
        (ending_without("sunset"), ("scopes.messages.sunset", "missing")),
        (ending_without("deprecated_from"), ("scopes.messages.deprecated_from", "missing")),
        ({**ENDING, "scopes.messages.sunset": SUNSET - timedelta(days=1)}, ("scopes.messages.sunset", "notice_too_short")),
        ({**ENDING, "scopes.all": CUSTOM | {"covers": ["user/Communication.cruds"]}}, ("scopes.messages.covers", "ends_in_vain")),
        ({**ENDING, **{f"scopes.notes.{name}": ENDING[f"scopes.messages.{name}"] for name in ("status", "deprecated_from", "sunset")}, "scopes.notes.successor": "results"}, ("scopes.messages.successor", "successor_ends")),
        ({"scopes.lab": {k: v for k, v in CUSTOM.items() if k != "demand"}}, ("scopes.lab.demand", "demand_missing")),
        ({"scopes.lab": {k: v for k, v in CUSTOM.items() if k != "tests"}}, ("scopes.lab.tests", "tests_missing")),
        ({"scopes.lab": CUSTOM | {"custom": False}}, ("scopes.lab.custom", "contradictory")),
        ({"custom_scopes_at_most": -1}, ("custom_scopes_at_most", "out_of_range")),
        ({"workflows.intake.scopes": []}, ("workflows.intake.scopes", "empty")),
        ({"workflows.intake.owner": GONE}, ("workflows.intake.owner", "missing")),
        ({"workflows.intake.intents": ["outreach"]}, ("workflows.intake.intents", "repeated")),
        ({"workflows.intake.placements": ["ceiling"]}, ("workflows.intake.placements", "word_unknown")),
        ({"workflows.intake.scopes": ["openid"]}, ("workflows.intake.scopes", "scope_malformed")),
    ],
)  # fmt: skip
def test_what_a_book_must_not_say_of_scope_products_and_workflows(
    changes: dict[str, Any], fault: tuple[str, str]
) -> None:
    """C61, C65."""
    assert fault in faults_of(changes)


def test_a_draft_needs_no_owner_and_grants_nothing() -> None:
    draft = {key: value for key, value in CUSTOM.items() if key != "owner"}
    made = book({"scopes.notes2": draft | {"status": "draft"}})

    assert made.products is not None
    assert made.products["notes2"].status is ScopeStatus.DRAFT
    assert not made.products["notes2"].in_force


def test_a_deprecated_scope_is_granted_up_to_its_sunset_and_not_from_then_on() -> None:
    ending = book(ENDING)
    asked = applicant("user/Communication.rs", "user/Patient.rs")

    day_before = admit(as_of(ending, at(SUNSET) - timedelta(seconds=1)), asked)
    after = admit(as_of(ending, at(SUNSET)), asked)

    assert day_before.scopes == asked.scopes
    assert after.scopes == ("user/Patient.rs",)
    assert [(each.scope, each.why) for each in after.withheld] == [
        ("user/Communication.rs", Withholding.PRODUCT)
    ]


def test_of_a_wildcard_only_what_ended_is_withheld_and_it_stays_whole_without_any_end() -> None:
    ending = book(ENDING)
    asked = applicant("patient/*.rs")

    assert admit(as_of(ending, at(DAY)), asked).scopes == ("patient/*.rs",)
    left = admit(as_of(ending, at(SUNSET)), asked).scopes
    assert "patient/Observation.rs" in left
    assert not [each for each in left if "Communication" in each or each == "patient/*.rs"]


def test_a_granular_successor_narrows_what_was_asked_for() -> None:
    """The plain scope ends; what its successor covers of it goes on."""
    granular = "user/Communication.rs?category=notification"
    ending = book(
        ENDING
        | {
            "scopes.notifications": CUSTOM | {"covers": [granular]},
            "scopes.messages.successor": "notifications",
        }
    )

    admitted = admit(as_of(ending, at(SUNSET)), applicant("user/Communication.rs"))

    assert admitted.scopes == (granular,)


def test_the_sentence_names_the_day_and_the_successor_or_why_there_is_none() -> None:
    scope = parse_stored(["user/Communication.rs"])[0]
    with_successor = as_of(book(ENDING), at(SUNSET))
    alone = as_of(
        book({**ending_without("successor"), "scopes.messages.no_successor": "Nobody used it."}), at(SUNSET)
    )

    assert ended_sentence(with_successor, scope).startswith(
        f"user/Communication.rs ended on {SUNSET}. Its successor is notes: ask for patient/Binary.cruds"
    )
    assert ended_sentence(alone, scope) == f"user/Communication.rs ended on {SUNSET}. Nobody used it."
    assert ended_sentence(BOOK, scope) == ""
    assert ended_sentence(as_of(book(ENDING), at(DAY)), scope) == ""


def test_a_notice_concerns_only_scopes_that_will_end() -> None:
    ending = book(ENDING)

    found = notice_of(ending, ("openid", "patient/*.rs"))

    assert found is not None
    assert found.name == "messages"
    # RFC 9745 section 2: a date of structured fields; RFC 8594 section 3: an HTTP date.
    assert notice_headers(found) == {"Deprecation": "@1798761600", "Sunset": "Thu, 01 Apr 2027 00:00:00 GMT"}
    assert notice_of(ending, ("openid", "patient/Patient.rs")) is None
    assert notice_of(BOOK, ("patient/*.rs",)) is None
    assert notice_of(as_of(ending, at(SUNSET)), ("patient/*.rs",)) is None


@pytest.mark.parametrize(
    ("before", "after", "today", "refused"),
    [
        (BOOK, ENDING, DAY, False),
        (BOOK, ENDING, DAY + timedelta(days=1), True),
        (ENDING, ENDING, SUNSET - timedelta(days=1), False),
        (BOOK, {**ENDING, "scopes.messages.status": "retired"}, DAY, True),
        (ENDING, {**ENDING, "scopes.messages.status": "retired"}, SUNSET - timedelta(days=1), True),
        (ENDING, {**ENDING, "scopes.messages.status": "retired"}, SUNSET, False),
        # Another name is no way around it.
        (BOOK, {**{k.replace("messages", "letters"): v for k, v in ENDING.items()}, "scopes.letters.owner": "Ann", "scopes.letters.purpose": "Letters", "scopes.letters.data_class": "clinical", "scopes.letters.version": 1, "scopes.letters.covers": list(MESSAGES), "scopes.messages": GONE}, DAY + timedelta(days=1), True),
    ],
)  # fmt: skip
def test_no_scope_ends_sooner_than_after_ninety_days_of_notice(
    before: Book | dict[str, Any], after: dict[str, Any], today: date, *, refused: bool
) -> None:
    old = as_of(before if isinstance(before, Book) else book(before), at(today))
    # Nothing lists what a retired product covers.
    entries: dict[str, Any] = {
        f"categories.{category.name}.entries": {} for category in BOOK.categories.values()
    } if after.get("scopes.messages.status") == "retired" else {}  # fmt: skip
    kept = {f"workflows.{name}.scopes": ["user/Patient.rs"] for name in BOOK.workflows} if entries else {}
    new = book({**after, **entries, **kept})

    assert bool(notice_faults(old, new, today)) is refused


def test_what_is_in_force_longer_counts_as_new_access() -> None:
    ending, later = book(ENDING), book({**ENDING, "scopes.messages.sunset": SUNSET + timedelta(days=1)})

    assert [each.path for each in privilege_increases(ending, later)] == ["scopes.messages"]
    assert [each.path for each in privilege_increases(ending, BOOK)] == ["scopes.messages"]
    assert privilege_increases(BOOK, ending) == ()
    assert privilege_increases(later, ending) == ()


def test_a_wider_workflow_counts_as_new_access_and_a_narrower_one_does_not() -> None:
    wider = book({"workflows.intake.scopes": [*(BOOK.workflows["intake"].scopes or ()), "user/Task.c"]})

    assert [each.path for each in privilege_increases(BOOK, wider)] == ["workflows.intake.scopes"]
    assert privilege_increases(wider, BOOK) == ()


def test_more_custom_scopes_than_the_book_wants_is_a_finding() -> None:
    lab = {"scopes.lab": CUSTOM}

    assert custom_finding(BOOK) == ""
    assert custom_finding(book({**lab, "custom_scopes_at_most": 1})) == ""
    assert "lab" in custom_finding(book({**lab, "custom_scopes_at_most": 0}))


def test_the_nine_workflows_have_owner_purpose_version_and_scopes() -> None:
    """C63."""
    assert set(BOOK.workflows) == {
        "chart_review",
        "appointments",
        "intake",
        "medication_reconciliation",
        "documentation",
        "referral_triage",
        "quality_reporting",
        "outreach",
        "prior_authorization",
    }
    for each in BOOK.workflows.values():
        assert each.owner
        assert each.purpose
        assert each.version >= 1
        assert each.scopes


@cache
def ending_book(name: str) -> Book:
    """Return a policy in which one product ends."""
    changes = {key.replace("messages", name): value for key, value in ending_without("successor").items()}
    return book({**changes, f"scopes.{name}.no_successor": "It is a test."})


@given(
    asked=applicants,
    ending=st.sampled_from(sorted(BOOK.products or {})),
    days=st.integers(-2, 2),
)
@settings(max_examples=effort(50, 1_500), deadline=None)
def test_time_only_takes_away_and_nothing_is_granted_outside_the_products_in_force(
    asked: Applicant, ending: str, days: int
) -> None:
    made = ending_book(ending)

    later = as_of(made, at(SUNSET + timedelta(days=days)))
    admitted = admit(later, asked).scopes

    assert all_covered(admitted, admit(made, asked).scopes)
    live = Coverage(text for each in (later.products or {}).values() if each.in_force for text in each.covers)
    for text in admitted:
        scope = parse_scope(text)
        assert not isinstance(scope, str)
        assert live.covers(scope)
    if days >= 0:
        gone = Coverage((made.products or {})[ending].covers)
        assert not any(gone.meets(scope) for scope in parse_stored(admitted))
