"""The policy's document: what is refused, where and why, and that one policy has one digest (C179, C181)."""

import json
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.policy.matrix.document import canonical, read_book, read_stored, render
from hilum.policy.matrix.jurisdictions import PackState, eligibilities
from hilum.policy.matrix.models import (
    ACCESS_TOKEN_BOUND,
    BACKEND_TOKEN_BOUND,
    FAULTS_BOUND,
    NAMES_BOUND,
    NEVER_A_CONDITION,
    SANDBOX_TRIAL,
    UNCLASSIFIED,
    Tier,
)
from hilum.policy.matrix.shipped import shipped_book
from hilum.policy.matrix.soundness import pack_faults, soundness_faults
from tests.effort import calls_of, effort
from tests.unit.policy.matrix.books import GONE, book, document, faults_of

LOW = "categories.scheduling.entries.low"


def test_the_shipped_book_has_the_categories_of_the_mission() -> None:
    open_ = {name for name, category in shipped_book().categories.items() if category.open}

    assert open_ == {
        "scheduling",
        "patient_communication",
        "documentation_assistance",
        "analytics",
        "clinical_decision_support",
        "order_entry",
        "care_recommendations",
        "record_modification",
        "population_health",
        "prior_authorization",
    }
    assert set(shipped_book().categories) == open_ | {UNCLASSIFIED, SANDBOX_TRIAL}


def test_the_shipped_book_keeps_the_rules_of_its_jurisdictions() -> None:
    assert [pack.name for pack in shipped_book().packs] == ["us-federal"]
    assert pack_faults(shipped_book(), date(2026, 11, 26)) == ()


def test_what_is_rendered_reads_as_the_same_book_and_has_the_same_digest() -> None:
    rendered = render(shipped_book())

    again, faults = read_book(json.loads(canonical(rendered)))

    assert faults == ()
    assert again is not None
    assert again.digest == shipped_book().digest
    assert render(again) == rendered


def test_equal_books_written_differently_have_one_digest() -> None:
    same = {"exceptions.longest": "2160 h", f"{LOW}.workflows": ["intake", "appointments"]}

    assert book(same).digest == shipped_book().digest
    assert book({"exceptions.longest": "91 d"}).digest != shipped_book().digest
    assert book({"exceptions.waivable": ["proofs.owner"]}).digest != shipped_book().digest


def test_a_entry_has_what_its_base_has_unless_it_says_otherwise() -> None:
    changed = book({"base.low.quota.burst": 7, f"{LOW}.quota": {"rate_per_s": 3}})

    quota = changed.categories["scheduling"].entries[Tier.LOW].quota

    assert (quota.rate_per_s, quota.burst) == (3.0, 7)


def test_the_scopes_of_a_entry_include_those_of_the_lower_tiers() -> None:
    lower = shipped_book().categories["scheduling"].entries
    upper = shipped_book().categories["documentation_assistance"].entries

    assert set(lower[Tier.LOW].scopes) < set(lower[Tier.MODERATE].scopes)
    assert set(upper[Tier.MODERATE].scopes) < set(upper[Tier.HIGH].scopes)


ENTRY = "categories.scheduling.entries.low"


@pytest.mark.parametrize(
    ("traffic", "shares"),
    [
        ({"user_apps": 90, "patient_apps": 75, "backend": 50, "bulk": 25}, (100, 90, 75, 50, 25)),
        ({"bulk": 25}, (100, 100, 100, 100, 25)),
        ({"user_apps": 60}, (100, 60, 60, 60, 60)),
        ({"user_apps": 60, "bulk": 60}, (100, 60, 60, 60, 60)),
        ({}, (100, 100, 100, 100, 100)),
        (GONE, (100, 100, 100, 100, 100)),
    ],
)
def test_a_class_without_a_share_has_that_of_the_class_above(traffic: Any, shares: tuple[int, ...]) -> None:
    """C133: and a policy that says nothing keeps nothing free, as before there were shares."""
    made = book({"traffic": traffic})
    stored, faults = read_stored(render(made), made.digest)

    assert made.shares == shares
    assert stored is not None
    assert (stored.shares, faults) == (shares, ())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"format": 3}, ("format", "format_unknown")),
        ({"format": 1}, ("format", "format_unknown")),
        ({"format": GONE}, ("format", "missing")),
        ({"title": ""}, ("title", "not_text")),
        ({"title": None}, ("title", "missing")),
        ({"packs": None}, ("packs", "missing")),
        ({"title": 3}, ("title", "not_text")),
        ({"title": "two\nlines"}, ("title", "not_text")),
        ({"owner": "x" * 301}, ("owner", "too_long")),
        ({"colour": "blue"}, ("colour", "unknown")),
        ({"categories": []}, ("categories", "not_a_table")),
        ({"categories.Scheduling!": {}}, ("categories", "name_malformed")),
        ({"categories.scheduling": "all"}, ("categories.scheduling", "not_a_table")),
        ({"categories.scheduling.floor": "none"}, ("categories.scheduling.floor", "word_unknown")),
        ({"categories.scheduling.open": 1}, ("categories.scheduling.open", "not_a_flag")),
        ({"categories.scheduling.entries.extreme": {}}, ("categories.scheduling.entries", "word_unknown")),
        ({f"{LOW}.surprise": 1}, (f"{LOW}.surprise", "unknown")),
        ({f"{LOW}.scopes": "user/*.rs"}, (f"{LOW}.scopes", "not_a_list")),
        ({f"{LOW}.scopes": ["user/*.sr"]}, (f"{LOW}.scopes", "scope_malformed")),
        ({f"{LOW}.scopes": ["openid"]}, (f"{LOW}.scopes", "scope_malformed")),
        ({f"{LOW}.scopes": ["user/Chart.rs"]}, (f"{LOW}.scopes", "resource_type_unknown")),
        ({f"{LOW}.scopes": ["user/Slot.rs", "user/Slot.rs"]}, (f"{LOW}.scopes", "repeated")),
        ({f"{LOW}.session_scopes": ["root"]}, (f"{LOW}.session_scopes", "word_unknown")),
        ({f"{LOW}.client_authentication": ["password"]}, (f"{LOW}.client_authentication", "word_unknown")),
        ({f"{LOW}.workflows": ["surgery"]}, (f"{LOW}.workflows", "word_unknown")),
        ({f"{LOW}.placements": ["ceiling"]}, (f"{LOW}.placements", "word_unknown")),
        ({f"{LOW}.scenarios": ["*"]}, (f"{LOW}.scenarios", "word_unknown")),
        ({f"{LOW}.disciplines": ["financial"]}, (f"{LOW}.disciplines", "word_unknown")),
        ({f"{LOW}.traffic_class": "first"}, (f"{LOW}.traffic_class", "word_unknown")),
        ({"traffic": "all"}, ("traffic", "not_a_table")),
        ({"traffic.bulk": 9}, ("traffic.bulk", "out_of_range")),
        ({"traffic.bulk": 25.5}, ("traffic.bulk", "out_of_range")),
        ({"traffic.backend": 101}, ("traffic.backend", "out_of_range")),
        ({"traffic.bulk": 51}, ("traffic", "contradictory")),
        ({"traffic.clinical_interactive": 100}, ("traffic.clinical_interactive", "unknown")),
        ({"traffic.ehr_core": 100}, ("traffic.ehr_core", "unknown")),
        ({f"{LOW}.quota": {"rate_per_s": 0}}, (f"{LOW}.quota.rate_per_s", "out_of_range")),
        ({f"{LOW}.quota": {"rate_per_s": float("nan")}}, (f"{LOW}.quota.rate_per_s", "out_of_range")),
        ({f"{LOW}.quota": {"rate_per_s": True}}, (f"{LOW}.quota.rate_per_s", "out_of_range")),
        ({f"{LOW}.quota": {"burst": 1.5}}, (f"{LOW}.quota.burst", "out_of_range")),
        ({f"{LOW}.alerts": {"refused_percent": 101}}, (f"{LOW}.alerts.refused_percent", "out_of_range")),
        ({f"{LOW}.review": {"decision_business_days": 0}}, (f"{LOW}.review.decision_business_days", "out_of_range")),
        ({f"{LOW}.certificate_life": "1 y"}, (f"{LOW}.certificate_life", "not_a_duration")),
        ({f"{LOW}.certificate_life": "0 d"}, (f"{LOW}.certificate_life", "not_a_duration")),
        ({f"{LOW}.certificate_life": 365}, (f"{LOW}.certificate_life", "not_a_duration")),
        ({f"{LOW}.lifetimes": {"access_token": "61 min"}}, (f"{LOW}.lifetimes.access_token", "out_of_range")),
        ({f"{LOW}.lifetimes": {"backend_token": "6 min"}}, (f"{LOW}.lifetimes.backend_token", "out_of_range")),
        ({"base.low.disciplines": GONE}, (f"{LOW}.disciplines", "missing")),
        ({"base.extreme": {}}, ("base", "unknown")),
        ({"tier_rules": {}}, ("tier_rules", "not_a_list")),
        ({"tier_rules.0.tier": "severe"}, ("tier_rules[0].tier", "word_unknown")),
        ({"tier_rules.0.letters": ["x"]}, ("tier_rules[0].letters", "word_unknown")),
        ({"tier_rules.0.types": ["Order"]}, ("tier_rules[0].types", "word_unknown")),
        ({"tier_rules.0.types": []}, ("tier_rules[0].types", "empty")),
        ({"tier_rules.0.categories": ["games"]}, ("tier_rules[0].categories", "word_unknown")),
        ({"tier_rules.0.special": ["openid"]}, ("tier_rules[0].special", "contradictory")),
        ({"tier_rules.0.because": "it uses {placement}"}, ("tier_rules[0].because", "placeholder_unknown")),
        ({"tier_rules.1.name": "writes-orders"}, ("tier_rules[1].name", "repeated")),
        ({"regulated_lane.0.name": "pay"}, ("regulated_lane[0].name", "word_unknown")),
        ({"regulated_lane.0.requires": [["fee"]]}, ("regulated_lane[0].requires", "word_unknown")),
        ({"packs.0.valid_from": "soon"}, ("packs[0].valid_from", "not_a_date")),
        ({"packs.0.valid_until": "2020-01-01"}, ("packs[0].valid_until", "contradictory")),
        ({"rollout": {"soak": "1 d"}}, ("rollout", "unknown")),
        ({"exceptions.longest": "367 d"}, ("exceptions.longest", "out_of_range")),
        ({"exceptions.waivable": ["evidence.nothing"]}, ("exceptions.waivable", "word_unknown")),
        ({"exceptions.waivable": ["evidence.automated_checks"]}, ("exceptions.waivable", "word_unknown")),
        ({"exceptions.waivable": ["disciplines.clinical"]}, ("exceptions.waivable", "word_unknown")),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_path_and_code(
    changes: dict[str, Any], fault: tuple[str, str]
) -> None:
    assert fault in faults_of(changes)


def test_all_that_is_wrong_is_reported_at_once_and_no_more_than_the_bound() -> None:
    three = {"title": "", f"{LOW}.disciplines": ["financial"], "exceptions.longest": "never"}
    many = {f"{LOW}.scopes": [f"user/Nothing{n}.rs" for n in range(FAULTS_BOUND + 20)]}

    assert len(faults_of(three)) == 3
    assert len(faults_of(many)) == FAULTS_BOUND


def test_too_many_names_are_refused() -> None:
    many = {f"workflows.w{n}": "Working" for n in range(NAMES_BOUND)}

    assert ("workflows", "too_many") in faults_of(many)


@pytest.mark.parametrize(
    "raw", [None, [], "book", 7, {"format": [1]}, {1: 2}, {"format": 1, "categories": {"a": {"entries": 3}}}]
)
def test_what_is_no_policy_at_all_is_refused(raw: object) -> None:
    made, faults = read_book(raw)

    assert made is None
    assert faults


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PLACES = [
    "title", "base", "base.low", "base.low.quota", "base.low.quota.burst", "base.low.scenarios", "exceptions", "workflows", "packs", "packs.0",
    "packs.0.valid_from", "packs.0.step_days", "tier_rules", "tier_rules.0", "tier_rules.0.types", "tier_rules.0.because", "regulated_lane",
    "regulated_lane.0.requires", "categories", "categories.scheduling", "categories.scheduling.entries", LOW, f"{LOW}.scopes", f"{LOW}.lifetimes",
]  # fmt: skip


@settings(max_examples=effort(60, 3_000), deadline=None)
@given(st.sampled_from(PLACES), json_values)
def test_whatever_stands_in_a_place_the_document_is_a_book_or_has_faults(place: str, value: Any) -> None:
    made, faults = read_book(document({place: value}))

    assert (made is None) == bool(faults)
    if made is not None:
        assert read_book(render(made))[0] is not None


# --- what no policy may do -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", sorted(NEVER_A_CONDITION))
@pytest.mark.parametrize("step", [0, 1])
def test_a_step_of_the_regulated_lane_never_depends_on_fee_certificate_or_exclusivity(
    step: int, word: str
) -> None:
    changes = {f"regulated_lane.{step}.requires": ["identity_verified", word]}

    made, faults = read_book(document(changes))

    assert made is None
    assert [(fault.path, fault.code) for fault in faults] == [
        (f"regulated_lane[{step}].requires", "regulated_lane_condition")
    ]
    assert word in faults[0].sentence


@pytest.mark.parametrize("word", ["listing_fee", "Fee", "badge", "partner_agreement", ""])
def test_no_other_word_makes_a_step_of_the_regulated_lane_depend_on_more(word: str) -> None:
    assert faults_of({"regulated_lane.0.requires": [word]}) == [
        ("regulated_lane[0].requires", "word_unknown")
    ]


@pytest.mark.parametrize("place", ["tier_rules.0", "tier_rules.1", "tier_rules.2"])
def test_a_book_in_which_writing_orders_medications_or_notes_is_not_high_is_refused(place: str) -> None:
    """C22."""
    assert ("tier_rules", "floor_lowered") in faults_of({f"{place}.tier": "moderate"})
    assert ("tier_rules", "floor_lowered") in faults_of({f"{place}.letters": ["c", "u"]})
    assert ("tier_rules", "floor_lowered") in faults_of({f"{place}.prefixes": ["system", "patient"]})
    assert ("tier_rules", "floor_lowered") in faults_of({f"{place}.clients": ["none"]})
    assert ("tier_rules", "floor_lowered") in faults_of({f"{place}.categories": ["scheduling"]})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base.high.lifetimes.access_token": "1 h", "base.moderate.lifetimes.access_token": "30 min"}, "lifetimes.access_token"),
        ({"base.high.certificate_life": "366 d"}, "certificate_life"),
        ({"base.moderate.client_authentication": ["private_key_jwt"]}, "client_authentication"),
        ({"base.high.disciplines": ["technical"]}, "disciplines"),
        ({"base.high.evidence": []}, "evidence"),
        ({"base.moderate.scenarios": []}, "scenarios"),
        ({"base.low.lifetimes.idle": "100 d"}, "lifetimes.idle"),
        ({"base.low.lifetimes.absolute": "100 d", "base.moderate.lifetimes.absolute": "101 d"}, "lifetimes.absolute"),
        ({"base.low.lifetimes.expiry": "fixed", "base.moderate.lifetimes.expiry": "rolling"}, "lifetimes.expiry"),
        ({"base.moderate.dormant_ends": False}, "dormant_ends"),
        ({"base.moderate.fix_days_high": 15}, "fix_days_high"),
        ({"base.low.fix_days_low": 89}, "fix_days_low"),
        ({"base.high.automation": "warn"}, "automation"),
    ],
)  # fmt: skip
def test_no_tier_is_limited_less_than_a_lower_one(changes: dict[str, Any], field: str) -> None:
    found = faults_of(changes)

    assert any(path.endswith(field) and code == "looser_than_lower_tier" for path, code in found)


def test_a_scope_that_no_entry_would_ever_decide_on_is_refused() -> None:
    moderate = "categories.scheduling.entries.moderate.scopes"

    assert faults_of({moderate: ["user/Immunization.rs"]}) == [(moderate, "never_used")]
    assert faults_of({moderate: ["user/*.rs"]}) == [(moderate, "never_used")]


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({f"{ENTRY}.lifetimes.idle": "1 min"}, f"{ENTRY}.lifetimes.idle", "too_short"),
        ({f"{ENTRY}.lifetimes.absolute": "1 min"}, f"{ENTRY}.lifetimes.absolute", "too_short"),
        ({f"{ENTRY}.lifetimes.expiry": "never"}, f"{ENTRY}.lifetimes.expiry", "word_unknown"),
        ({f"{ENTRY}.lifetimes.idle": None}, f"{ENTRY}.lifetimes.idle", "missing"),
        ({f"{ENTRY}.dormant_ends": "yes"}, f"{ENTRY}.dormant_ends", "not_a_flag"),
    ],
)
def test_a_limit_of_grants_that_cannot_be_meant_is_refused(
    changes: dict[str, Any], path: str, code: str
) -> None:
    """C194: a null is not "no limit", and what ends before its access token does could not be refreshed."""
    assert (path, code) in faults_of(changes)


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"regulated_lane.0.within_business_days": 11}, "regulated_lane", "too_slow"),
        ({"regulated_lane.1": GONE}, "regulated_lane", "step_missing"),
        ({f"{'categories.unclassified.entries.high'}.lifetimes.refresh_token": "91 d"}, "categories.unclassified.entries.high.lifetimes.refresh_token", "too_short"),
        ({"categories.unclassified.entries.high.lifetimes.idle": "91 d"}, "categories.unclassified.entries.high.lifetimes.refresh_token", "too_short"),
        ({"categories.unclassified.entries.high.lifetimes.absolute": "91 d"}, "categories.unclassified.entries.high.lifetimes.refresh_token", "too_short"),
        ({"categories.unclassified.entries.high.lifetimes.expiry": "one_time"}, "categories.unclassified.entries.high.lifetimes.refresh_token", "too_short"),
        ({"categories.unclassified.entries.high.dormant_ends": True, "categories.unclassified.entries.high.dormant_days": 91}, "categories.unclassified.entries.high.lifetimes.refresh_token", "too_short"),
    ],
)  # fmt: skip
def test_a_book_keeps_the_dated_rules_of_a_jurisdiction_from_when_it_has_them_until_their_end(
    changes: dict[str, Any], path: str, code: str
) -> None:
    """C181: so they bind it on their first day, although nobody publishes anything on that day."""
    changed = book(changes)
    begins = changed.packs[0].valid_from

    assert [(fault.path, fault.code) for fault in pack_faults(changed, begins)] == [(path, code)]
    (early,) = pack_faults(changed, begins - timedelta(days=1))
    assert (early.path, early.code) == (path, code)
    assert f"from {begins}" in early.sentence
    (eligibility,) = eligibilities(changed, begins)
    assert (eligibility.state, eligibility.kept) == (PackState.IN_FORCE, False)
    assert [fault.path for each in eligibility.rules for fault in each.faults] == [path]
    ended = book(changes | {"packs.0.valid_until": date(2027, 1, 1)})
    assert pack_faults(ended, date(2026, 12, 31)) != ()
    assert pack_faults(ended, date(2027, 1, 1)) == ()
    assert [
        eligibilities(ended, date(2027, 1, 1))[0].state,
        eligibilities(changed, begins - timedelta(days=1))[0].state,
    ] == [PackState.OVER, PackState.TO_COME]


def test_each_rule_of_a_jurisdiction_is_said_with_what_the_book_says() -> None:
    """C181."""
    (eligibility,) = eligibilities(shipped_book(), date(2026, 11, 26))

    assert eligibility.kept
    assert [(each.sentence, each.found) for each in eligibility.rules] == [
        ("In the regulated lane “verify” takes at most 10 business days.", "10 business days"),
        ("In the regulated lane “enable” takes at most 5 business days.", "5 business days"),
        (
            "An app of patients that keeps access while they are away can be refreshed for at least 92 days.",
            "100 days at least",
        ),
    ]


def test_no_book_lets_tokens_live_longer_than_revocations_are_remembered() -> None:
    """C47: a tier can only shorten them."""
    entries = [entry for each in shipped_book().categories.values() for entry in each.entries.values()]

    assert max(entry.lifetimes.access_token for entry in entries) <= ACCESS_TOKEN_BOUND
    assert max(entry.lifetimes.backend_token for entry in entries) <= BACKEND_TOKEN_BOUND


def _steps_of_soundness(scopes: int) -> int:
    """Count the calls of functions that judging a policy takes whose low entry lists some scopes, and each upper entry one more."""
    low = [f"user/Observation.rs?code={n}" for n in range(scopes)]
    made = book()
    category = made.categories["scheduling"]
    entries = {
        tier: replace(category.entries[Tier.LOW], scopes=(*low, *more))
        for tier, more in (
            (Tier.LOW, ()),
            (Tier.MODERATE, ("user/Condition.rs",)),
            (Tier.HIGH, ("user/Condition.rs", "user/Encounter.rs")),
        )
    }
    wide = replace(made, categories={"scheduling": replace(category, entries=entries)})
    return calls_of(lambda: soundness_faults(wide))


def test_judging_a_book_costs_in_proportion_to_its_scopes() -> None:
    """A valid policy of 49 KB took 3.2 seconds, since each scope of an entry was compared with each of the entries below."""
    base = _steps_of_soundness(0)
    few, many = (_steps_of_soundness(scopes) - base for scopes in (90, 180))

    assert many < 2.5 * few
    assert many < 180 * 400


@pytest.mark.parametrize(
    ("low", "above", "faulty"),
    [
        ("user/Observation.rs", "user/Observation.r", False),
        ("user/*.rs", "user/Observation.rs", False),
        ("user/Observation.rs?category=a", "user/Observation.rs?category=a&status=b", False),
        ("user/Observation.r", "user/Observation.rs", True),
        ("patient/Observation.rs", "user/Observation.rs", True),
        ("user/Observation.rs?category=a", "user/Observation.rs", True),
        ("user/Observation.rs?category=a", "user/Observation.rs?category=b", True),
        ("user/Condition.rs", "user/Observation.rs", True),
    ],
)
def test_a_scope_that_its_own_tiers_entry_does_not_list_is_never_used(
    low: str, above: str, faulty: bool
) -> None:
    changes = {
        "categories.scheduling.entries.low.scopes": [low],
        "categories.scheduling.entries.moderate.scopes": [above],
    }

    found = faults_of(changes)

    assert found == ([("categories.scheduling.entries.moderate.scopes", "never_used")] if faulty else [])
