"""The new-access check between two policies: whatever one allows and the other does not is listed (C210)."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hilum.foundation.standards.smart.scopes import all_covered
from hilum.policy.matrix import comparison
from hilum.policy.matrix.comparison import changes, digest_of, privilege_increases
from hilum.policy.matrix.document import read_book
from hilum.policy.matrix.models import (
    Applicant,
    Book,
    Change,
    ClientAuthentication,
    PolicyEntry,
    Tier,
    TrafficClass,
)
from hilum.policy.matrix.policy import admit
from hilum.policy.matrix.shipped import shipped_book
from hilum.policy.matrix.tier_changes import TierChanges
from tests.effort import effort
from tests.unit.policy.matrix.applicants import applicants
from tests.unit.policy.matrix.books import GONE, HIGH_ENTRY, MODERATE_ENTRY, book, document

BOOK = shipped_book()
LOW = "categories.scheduling.entries.low"

WIDER: list[tuple[dict[str, Any], str]] = [
    ({f"{MODERATE_ENTRY}.scopes": [*document()["categories"]["care_recommendations"]["entries"]["moderate"]["scopes"], "user/Task.cud"]}, f"{MODERATE_ENTRY}.scopes"),
    ({f"{LOW}.session_scopes": ["openid", "fhirUser", "launch", "launch/patient", "launch/encounter", "online_access", "offline_access"]}, f"{LOW}.session_scopes"),
    ({f"{HIGH_ENTRY}.client_authentication": ["none", "client_secret_basic", "private_key_jwt"]}, f"{HIGH_ENTRY}.client_authentication"),
    ({f"{MODERATE_ENTRY}.workflows": ["chart_review", "outreach", "intake"]}, f"{MODERATE_ENTRY}.workflows"),
    ({f"{MODERATE_ENTRY}.workflows": ["*"]}, f"{MODERATE_ENTRY}.workflows"),
    ({f"{MODERATE_ENTRY}.placements": ["banner", "sidebar", "note", "orders"]}, f"{MODERATE_ENTRY}.placements"),
    ({f"{HIGH_ENTRY}.evidence": ["automated_checks", "sandbox_run", "data_flow", "agreement"]}, f"{HIGH_ENTRY}.evidence"),
    ({f"{HIGH_ENTRY}.disciplines": ["technical", "legal"]}, f"{HIGH_ENTRY}.disciplines"),
    ({f"{MODERATE_ENTRY}.quota": {"rate_per_s": 21}}, f"{MODERATE_ENTRY}.quota.rate_per_s"),
    ({f"{MODERATE_ENTRY}.quota": {"burst": 101}}, f"{MODERATE_ENTRY}.quota.burst"),
    ({f"{MODERATE_ENTRY}.traffic_class": "clinical_interactive"}, f"{MODERATE_ENTRY}.traffic_class"),
    ({"traffic.bulk": 26}, "traffic.bulk"),
    ({f"{MODERATE_ENTRY}.alerts": {"failed_percent": 6}}, f"{MODERATE_ENTRY}.alerts.failed_percent"),
    ({f"{MODERATE_ENTRY}.certificate_life": "366 d"}, f"{MODERATE_ENTRY}.certificate_life"),
    ({f"{MODERATE_ENTRY}.lifetimes": {"refresh_token": "101 d"}}, f"{MODERATE_ENTRY}.lifetimes.refresh_token"),
    ({f"{MODERATE_ENTRY}.lifetimes": {"authorization": "366 d"}}, f"{MODERATE_ENTRY}.lifetimes.authorization"),
    ({f"{MODERATE_ENTRY}.dormant_days": 181}, f"{MODERATE_ENTRY}.dormant_days"),
    ({f"{MODERATE_ENTRY}.fix_days_critical": 8}, f"{MODERATE_ENTRY}.fix_days_critical"),
    ({f"{MODERATE_ENTRY}.automation": "warn"}, f"{MODERATE_ENTRY}.automation"),
    ({"categories.scheduling.entries.high": {"scopes": []}}, "categories.scheduling.entries.high"),
    ({"categories.games": {"title": "Games", "floor": "low", "open": True, "entries": {}}}, "categories.games"),
    ({"categories.unclassified.open": True}, "categories.unclassified.open"),
    ({"tier_rules.3.tier": "moderate", f"{HIGH_ENTRY}.scopes": ["user/ServiceRequest.c"]}, "tier_rules.writes-record"),
    ({"packs": []}, "packs.us-federal"),
    ({"packs": [], "regulated_lane.0.within_business_days": 11}, "regulated_lane.verify"),
]  # fmt: skip


LIMITED = {"idle": "100 d", "absolute": "200 d", "expiry": "study"}


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"idle": "101 d"}, "lifetimes.idle"),
        ({"absolute": "201 d"}, "lifetimes.absolute"),
        ({"expiry": "fixed"}, "lifetimes.expiry"),
        ({"expiry": "rolling"}, "lifetimes.expiry"),
        ({"idle": "none"}, "lifetimes.idle"),
        ({"absolute": "none"}, "lifetimes.absolute"),
    ],
)
def test_a_limit_of_grants_that_is_looser_or_gone_is_listed(change: dict[str, Any], path: str) -> None:
    """C194, C210."""
    place = "categories.unclassified.entries.high"
    limited = {f"{place}.lifetimes.{name}": value for name, value in LIMITED.items()}
    before = book(limited)
    after = book({f"{place}.lifetimes.{name}": value for name, value in (LIMITED | change).items()})

    assert [each.path for each in privilege_increases(before, after)] == [f"{place}.{path}"]
    assert privilege_increases(after, before) == ()


def test_dormancy_that_only_asks_again_is_looser_than_dormancy_that_ends() -> None:
    """C194, C210."""
    place = "categories.unclassified.entries.high.dormant_ends"
    before, after = book({place: True}), book()

    assert [each.path for each in privilege_increases(before, after)] == [place]
    assert privilege_increases(after, before) == ()


@pytest.mark.parametrize(("change", "path"), WIDER)
def test_what_a_book_newly_allows_is_listed_and_the_way_back_is_not(
    change: dict[str, Any], path: str
) -> None:
    before, after = _pair(change)

    found = privilege_increases(before, after)

    assert path in {each.path for each in found}
    assert path not in {each.path for each in privilege_increases(after, before)}


def test_a_floor_that_falls_is_listed() -> None:
    raised = book({"categories.scheduling.floor": "moderate"})

    assert {each.path for each in privilege_increases(raised, BOOK)} == {"categories.scheduling.floor"}
    assert "falls from moderate to low" in privilege_increases(raised, BOOK)[0].sentence
    assert privilege_increases(BOOK, raised) == ()


def test_any_change_of_the_rules_of_a_jurisdiction_is_listed() -> None:
    for days in (1, 30):
        changed = book({"packs.0.step_days": {"verify": days, "enable": 5}})
        assert [each.path for each in privilege_increases(BOOK, changed)] == ["packs.us-federal"]


@pytest.mark.parametrize(
    "requires",
    [
        ["identity_verified"],
        ["identity_verified", "keys_registered", "metadata_complete", "security_terms_accepted"],
    ],
)
def test_any_change_of_what_a_step_of_the_regulated_lane_waits_for_is_listed(requires: list[str]) -> None:
    """Less: apps pass that did not. More: what regulation protects depends on more."""
    changed = book({"regulated_lane.1.requires": requires})

    assert [each.path for each in privilege_increases(BOOK, changed)] == ["regulated_lane.enable"]


def _pair(change: dict[str, Any]) -> tuple[Book, Book]:
    """Return the shipped policy and the changed one; scopes of a raised rule that an entry would list in vain are left out of both."""
    made, faults = read_book(document(change))
    if made is not None:
        return BOOK, made
    at = {fault.path for fault in faults if fault.code == "never_used"}
    gone: dict[str, Any] = {path: [] for path in at}
    return book(gone), book(gone | change)


def test_the_same_book_allows_nothing_new() -> None:
    assert privilege_increases(BOOK, book()) == ()
    assert changes(BOOK, book()) == ()


NARROWER: list[dict[str, Any]] = [
    {f"{MODERATE_ENTRY}": GONE},
    {f"{MODERATE_ENTRY}.scopes": ["user/*.rs"]},
    {
        f"{MODERATE_ENTRY}.client_authentication": ["private_key_jwt"],
        f"{HIGH_ENTRY}.client_authentication": ["private_key_jwt"],
    },
    {f"{MODERATE_ENTRY}.quota": {"rate_per_s": 1, "burst": 1}},
    {f"{HIGH_ENTRY}.lifetimes": {"access_token": "1 min"}},
    {"categories.analytics": GONE, "packs": document()["packs"]},
    {"categories.analytics.open": False},
    {"categories.scheduling.floor": "moderate"},
    {"title": "Another", "owner": "Somebody"},
    {"regulated_lane.0.within_business_days": 9},
]


@pytest.mark.parametrize("change", NARROWER)
def test_what_only_narrows_or_describes_is_not_listed(change: dict[str, Any]) -> None:
    assert privilege_increases(BOOK, book(change)) == ()
    assert changes(BOOK, book(change)) != ()


def test_a_tier_that_rises_into_a_entry_that_allows_more_is_listed() -> None:
    """The scope was of a tier whose entry did not list it; in its new tier it is listed."""
    rule = {"name": "slots", "tier": "moderate", "because": "it reads {type}", "types": ["Immunization"]}
    moderate = "categories.scheduling.entries.moderate.scopes"
    lists = {
        moderate: [
            *document()["categories"]["scheduling"]["entries"]["moderate"]["scopes"],
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

    found = {each.path for each in privilege_increases(before, after)}

    assert {f"{moderate}", "categories.scheduling"} <= found


def test_every_change_is_listed_with_both_values() -> None:
    after = book({f"{MODERATE_ENTRY}.quota": {"burst": 7}, "tier_rules.0.because": "it orders {type}"})

    assert changes(BOOK, after) == (
        Change(f"{MODERATE_ENTRY}.quota.burst", 100, 7),
        Change("tier_rules.writes-orders.because", "it writes {type}", "it orders {type}"),
    )


CATEGORY = "categories.scheduling"
OBSERVATIONS = {"name": "obs", "tier": "moderate", "because": "it reads {type}", "types": ["Observation"]}


def _rising(entries: dict[str, Any], tier: str = "moderate", **conditions: Any) -> tuple[Book, Book]:
    """Return a policy whose rule on Observations holds under conditions only, and one in which it always does."""
    rules, rule = document()["tier_rules"], OBSERVATIONS | {"tier": tier}
    made = {f"{CATEGORY}.entries": entries}
    return (
        book(made | {"tier_rules": [*rules, rule | conditions]}),
        book(made | {"tier_rules": [*rules, rule]}),
    )


LABORATORY = "patient/Observation.rs?category=laboratory"
GRANULAR = {"low": {"scopes": ["patient/Patient.rs"]}, "moderate": {"scopes": [LABORATORY]}}


def test_a_granular_scope_that_rises_from_nothing_is_listed() -> None:
    """C210: compared by what an entry and a scope share, not by whether it lists the whole type."""
    before, after = _rising(GRANULAR, clients=["none"])
    app = Applicant("scheduling", (LABORATORY,), ClientAuthentication.KEY, (), (), certified_tier=Tier.HIGH)
    assert (admit(before, app).scopes, admit(after, app).scopes) == ((), (LABORATORY,))

    (found,) = privilege_increases(before, after)

    assert found.path == CATEGORY
    assert found.sentence.startswith(f"{LABORATORY}: of the moderate tier now")


LOOSER: list[tuple[dict[str, Any], str]] = [
    ({"quota": {"burst": 101}}, "quota.burst"),
    ({"quota": {"rate_per_s": 21}}, "quota.rate_per_s"),
    ({"alerts": {"refused_percent": 21}}, "alerts.refused_percent"),
    ({"traffic_class": "clinical_interactive"}, "traffic_class"),
    ({"workflows": ["appointments", "intake", "outreach"]}, "workflows"),
    ({"placements": ["banner", "sidebar", "note"]}, "placements"),
]


@pytest.mark.parametrize(("above", "field"), LOOSER)
def test_a_tier_that_rises_into_a_entry_with_looser_limits_is_listed(
    above: dict[str, Any], field: str
) -> None:
    lists = {"scopes": ["patient/Observation.rs"], "workflows": ["appointments", "intake"]}
    before, after = _rising({"low": lists, "moderate": lists | above}, clients=["none"])

    assert [each.path for each in privilege_increases(before, after)] == [
        f"{CATEGORY}.entries.moderate.{field}"
    ]
    assert privilege_increases(*_rising({"low": lists, "moderate": lists}, clients=["none"])) == ()


def test_a_entry_that_is_passed_on_the_way_up_counts_too() -> None:
    """An app that already acts at the moderate tier comes along when one of its scopes rises from low to high."""
    scopes = ["patient/Observation.rs", "user/Slot.rs"]
    entries = {
        "low": {"scopes": scopes, "quota": {"burst": 50}},
        "moderate": {"scopes": [], "quota": {"burst": 10}},
        "high": {"scopes": [], "quota": {"burst": 20}, "traffic_class": "user_apps"},
    }
    before, after = _rising(entries, "high", clients=["none"])

    (found,) = (each for each in privilege_increases(before, after) if CATEGORY in each.path)

    assert (found.path, found.sentence) == (
        f"{CATEGORY}.entries.high.quota.burst",
        "Is looser: 20 instead of 10. For apps that rise from moderate to high.",
    )


@pytest.mark.parametrize("names", [["appointments"], ["appointments", "intake"]])
def test_an_app_that_declares_several_workflows_is_compared_at_the_highest_tier_of_them(
    names: list[str],
) -> None:
    """Alone, neither workflow rises from moderate to high; declared together they do."""
    intake = OBSERVATIONS | {"name": "in", "tier": "moderate", "workflows": ["intake"]}
    appointments = OBSERVATIONS | {"name": "ap", "tier": "high", "workflows": ["appointments"]}
    entries = {
        "low": {"scopes": ["patient/Observation.rs"]},
        "moderate": {"scopes": []},
        "high": {"scopes": []},
    }
    rules = document()["tier_rules"]
    before = _without(book({f"{CATEGORY}.entries": entries, "tier_rules": [*rules, intake]}))
    after = _without(book({f"{CATEGORY}.entries": entries, "tier_rules": [*rules, intake, appointments]}))
    app = Applicant(
        "scheduling",
        ("patient/Observation.rs",),
        ClientAuthentication.KEY,
        tuple(names),
        (),
        certified_tier=Tier.HIGH,
    )

    gains = admit(before, app).scopes == () and admit(after, app).scopes == ("patient/Observation.rs",)
    assert gains == (len(names) == 2)
    sentences = [each.sentence for each in privilege_increases(before, after) if each.path == CATEGORY]
    assert any(
        "of the high tier now, whose entry allows it; the moderate one did not" in each for each in sentences
    )


def _without(made: Book) -> Book:
    """Return a policy whose moderate entry does not list what the low and the high one do."""
    category = made.categories["scheduling"]
    moderate = replace(category.entries[Tier.MODERATE], scopes=())
    changed = replace(category, entries={**category.entries, Tier.MODERATE: moderate})
    return replace(made, categories={**made.categories, "scheduling": changed}, digest="")


def test_all_that_is_new_is_listed_most_severe_first_and_falls_are_folded_by_rule() -> None:
    """What 56 lines said, and the most severe one last, are two."""
    types = [each for each in document()["tier_rules"][3]["types"] if each != "Goal"]
    recommending = [
        each
        for each in document()["categories"]["care_recommendations"]["entries"]["high"]["scopes"]
        if "Goal" not in each
    ]
    both = {
        f"{HIGH_ENTRY}.scopes": recommending,
        "categories.record_modification.entries.high.scopes": ["user/Condition.cud"],
    }
    widened = {
        "tier_rules.3.types": types,
        "categories.record_modification.entries.high.scopes": ["system/*.cruds"],
    }
    before, after = book(both), book(both | widened)

    found = privilege_increases(before, after)

    assert "system/*.cruds" in found[0].sentence
    (fall,) = (each for each in found if each.path == "tier_rules.writes-record")
    assert "user/Goal.cud falls from high to moderate" in fall.sentence
    assert all(name in fall.sentence for name in ("scheduling", "care_recommendations", "unclassified"))
    assert [each.severity for each in found] == sorted(each.severity for each in found)
    assert digest_of(found) != digest_of(found[1:])


def test_what_a_new_category_and_a_new_entry_allow_is_written_out() -> None:
    """Who agrees to an entry agrees to its scopes, clients and limits."""
    entry = {"scopes": ["system/*.cruds", LABORATORY], "client_authentication": ["private_key_jwt"]}
    after = book(
        {"categories.games": {"title": "Games", "floor": "high", "open": True, "entries": {"high": entry}}}
    )

    found = {each.path: each.sentence for each in privilege_increases(BOOK, after)}

    new = found["categories.games.entries.high"]
    assert all(each in new for each in ("system/*.cruds", LABORATORY, "private_key_jwt", "quota.burst 100"))
    assert "categories.games" in found


def test_books_whose_rules_differ_in_words_only_are_not_compared_scope_by_scope() -> None:
    renamed = book({"tier_rules.0.name": "orders", "tier_rules.0.because": "it orders {type}"})

    assert privilege_increases(BOOK, renamed) == ()
    assert TierChanges(BOOK, renamed).found() == ((), ())


def test_what_rules_name_of_clients_workflows_and_placements_costs_no_comparison_of_its_own() -> None:
    """Situations are bits: a rule that names 50 workflows and 50 placements is judged as often as one that names none."""
    names = {f"n{n}": "A name" for n in range(50)}
    flow = document()["workflows"]["intake"] | {"intents": []}
    flows = dict.fromkeys(names, flow)
    rules = [each for each in document()["tier_rules"] if "populations" not in each][:10]
    narrow = {"types": ["Slot", "Schedule"], "tier": "moderate"}
    more = [
        OBSERVATIONS
        | narrow
        | {"name": f"n{n}", "workflows": [f"n{n}"], "placements": [f"n{n}", "n49"], "clients": ["none"]}
        for n in range(39)
    ]
    made = {
        "categories": {"games": {"title": "Games", "floor": "low", "open": True, "entries": {}}},
        "base": {},
    }
    before = book(made | {"tier_rules": rules, "workflows": flows, "placements": names})
    after = book(made | {"tier_rules": [*rules, *more], "workflows": flows, "placements": names})

    tiers = TierChanges(before, after)

    assert tiers.found() == ((), ())
    assert tiers._situations.all.bit_length() == 3 * 40 * 41
    assert len(tiers._pairs_found) <= 60


def test_a_comparison_is_made_once_for_two_digests() -> None:
    before, after = book({"owner": "A"}), book({"owner": "B", f"{MODERATE_ENTRY}.quota": {"burst": 101}})
    again = book({"owner": "A"}), book({"owner": "B", f"{MODERATE_ENTRY}.quota": {"burst": 101}})

    assert privilege_increases(before, after) is privilege_increases(*again)


EDITS: list[tuple[str, Any]] = [
    *((path, value) for change, _ in WIDER for path, value in change.items()),
    *((path, value) for change in NARROWER for path, value in change.items()),
    *((f"tier_rules.{n}.tier", tier) for n in range(10) for tier in ("low", "moderate", "high")),
    *((f"tier_rules.{n}.clients", ["none"]) for n in range(3, 10)),
    *((f"tier_rules.{n}.prefixes", ["user"]) for n in range(3, 10)),
]


GRANULAR_SCOPES = [
    f"{prefix}/{type_}.{letters}?category={value}"
    for prefix in ("patient", "user")
    for type_ in ("Observation", "Condition")
    for letters in ("rs", "c")
    for value in ("laboratory", "vital-signs")
]
ENTRY_PATHS = [
    f"categories.{name}.entries.{tier}"
    for name in ("scheduling", "care_recommendations")
    for tier in ("moderate", "high")
]
EDITS += [
    *(
        (f"{path}.scopes", scopes)
        for path in ENTRY_PATHS
        for scopes in ([], GRANULAR_SCOPES[:3], GRANULAR_SCOPES[5:9])
    ),
    *((f"{path}.quota", {"burst": burst}) for path in ENTRY_PATHS for burst in (1, 99, 101)),
    *((f"{path}.traffic_class", name) for path in ENTRY_PATHS for name in ("bulk", "clinical_interactive")),
    *(
        ("tier_rules", [*document()["tier_rules"], OBSERVATIONS | more])
        for more in (
            {},
            {"clients": ["none"]},
            {"tier": "high"},
            {"tier": "high", "workflows": ["outreach"]},
        )
    ),
]
own = st.lists(
    st.sampled_from([*GRANULAR_SCOPES, "patient/Observation.rs", "user/Observation.c", "launch"]), max_size=4
)


@settings(max_examples=effort(25, 4_000), deadline=None)
@given(
    st.lists(st.sampled_from(EDITS), max_size=3),
    st.lists(st.sampled_from(EDITS), max_size=3),
    st.lists(
        st.tuples(applicants, own, st.sampled_from(["scheduling", "care_recommendations", ""])),
        min_size=1,
        max_size=12,
    ),
)
def test_whatever_any_app_gains_is_listed(
    first: list[tuple[str, Any]], second: list[tuple[str, Any]], apps: list[tuple[Applicant, list[str], str]]
) -> None:
    """C210: scopes, and the limits of the entry that it acts in, unless it lost its riskiest scopes."""
    before, after = _valid(first), _valid(second)
    assume(before is not None and after is not None)
    assert before is not None
    assert after is not None
    listed = " ".join(f"{each.path} {each.sentence}" for each in privilege_increases(before, after))

    for drawn, more, category in apps:
        app = replace(drawn, scopes=(*drawn.scopes, *more), category=category or drawn.category)
        was, now = admit(before, app), admit(after, app)
        gained = not all_covered(now.scopes, was.scopes)
        if was.entry and now.entry and was.tier and now.tier and now.tier.rank >= was.tier.rank:
            gained = gained or any(limit(now.entry) > limit(was.entry) for limit in LIMITS)
        assert not gained or app.category in listed, app


LIMITS: list[Callable[[PolicyEntry], Any]] = [
    lambda entry: entry.quota.burst,
    lambda entry: entry.quota.rate_per_s,
    lambda entry: entry.lifetimes.refresh_token,
    lambda entry: entry.lifetimes.authorization,
    lambda entry: entry.lifetimes.expiry.rank,
    lambda entry: not entry.dormant_ends,
    lambda entry: entry.fix_days_high,
    lambda entry: -entry.automation.rank,
    lambda entry: entry.certificate_life,
    lambda entry: entry.alerts.failed_percent,
    lambda entry: -list(TrafficClass).index(entry.traffic_class),
]


def _valid(edits: list[tuple[str, Any]]) -> Book | None:
    try:
        return read_book(copy.deepcopy(document(dict(edits))))[0]
    except (KeyError, IndexError):  # one edit removed what another one changes
        return None


def test_comparisons_that_are_kept_are_bounded() -> None:
    for n in range(comparison.PAIRS_BOUND + 3):
        privilege_increases(BOOK, replace(BOOK, digest=f"kept-{n}"))

    assert len(comparison._kept) == comparison.PAIRS_BOUND
    assert (BOOK.digest, "kept-0") not in comparison._kept
    assert (BOOK.digest, f"kept-{comparison.PAIRS_BOUND + 2}") in comparison._kept


def test_a_requirement_that_may_be_waived_is_a_privilege_increase_and_one_less_is_none() -> None:
    """C207."""
    waivable = book({"exceptions.waivable": ["evidence.data_flow"]})

    assert [each.path for each in privilege_increases(BOOK, waivable)] == ["exceptions.waivable"]
    assert privilege_increases(waivable, BOOK) == ()
