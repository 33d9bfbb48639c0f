"""Levels of what a cell requires: whatever is not named overridable is absolute, and what is set aside is set aside for one app (C207)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.policy.matrix import requirements
from hilum.policy.matrix.comparison import widenings
from hilum.policy.matrix.document import read_book, read_stored, render
from hilum.policy.matrix.in_force import PolicyFacts, levelled, overridden, override_fault
from hilum.policy.matrix.models import ANY, Book, Cell, Tier
from hilum.policy.matrix.override_models import Level, Override
from hilum.policy.matrix.shipped import shipped_book
from hilum.policy.matrix.strictness import stricter
from tests.sim.world import START
from tests.unit.policy.matrix.books import book, faults_of

APP, GENERAL, MERCY, DAY = AppId("app_1"), TenantId("general"), TenantId("mercy"), timedelta(days=1)
CELL = "categories.order_entry.cells.high"
EVIDENCE, AGREEMENT = f"{CELL}.evidence.security_test", f"{CELL}.agreements.subcontractors"


def levels(
    advisory: list[str] | None = None, overridable: list[str] | None = None, **more: Any
) -> dict[str, Any]:
    words = {"advisory": advisory or [], "overridable": overridable or []} | more
    return {f"{CELL}.levels": words, "overrides.longest": "30 d"}


def cell(of: Book) -> Cell:
    return of.categories["order_entry"].cells[Tier.HIGH]


NONE = book(levels())
BOTH = book(levels(overridable=["evidence.security_test", "agreements.subcontractors"]))
ADVISED = book(levels(advisory=["evidence.security_test"]))


# --- what may have a level -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["advisory", "overridable"])
@pytest.mark.parametrize(
    "name",
    [
        "lenses.clinical",
        "lenses.technical",
        "client_authentication.private_key_jwt",
        "scopes.user/Patient.rs",
        "session_scopes.openid",
        "quota.burst",
        "lifetimes.access_token",
        "evidence.automated_checks",
        "evidence.nothing_of_the_kind",
        "evidence",
        "evidence.",
        "agreements.of_another_kind",
        "proofs.nothing",
        "",
        ".",
        "security_test",
        "workflows.nothing",
    ],
)
def test_what_is_no_requirement_of_the_cell_or_must_stay_absolute_has_no_level(level: str, name: str) -> None:
    """C207: isolation, client authentication, lenses and limits are absolute."""
    found = faults_of(levels(**{level: [name]}))

    assert (f"{CELL}.levels.{level}", "requirement_unknown") in found


@pytest.mark.parametrize(
    "words", [{"optional": ["evidence.security_test"]}, {"absolute": ["evidence.security_test"]}]
)
def test_a_level_that_there_is_not_does_not_validate(words: dict[str, Any]) -> None:
    assert (f"{CELL}.levels.{next(iter(words))}", "unknown") in faults_of(levels(**words))


def test_nothing_is_of_two_levels_and_what_may_be_overridden_needs_a_bound() -> None:
    name = ["evidence.security_test"]
    assert (f"{CELL}.levels.overridable", "contradictory") in faults_of(levels(name, name))
    unbounded = {f"{CELL}.levels": {"overridable": name}}
    assert faults_of(unbounded) == [(f"{CELL}.levels.overridable", "override_unbounded")]


def test_the_shipped_book_holds_to_all_that_it_requires() -> None:
    for category in shipped_book().categories.values():
        for each in category.cells.values():
            assert not each.advised | each.overridable | each.aside
    assert "levels" not in str(render(shipped_book()))


def test_a_higher_tier_holds_to_what_a_lower_one_holds_to() -> None:
    lower = next(
        (name, tier, of)
        for name, category in shipped_book().categories.items()
        for tier, of in category.cells.items()
        if tier is not Tier.HIGH
        and Tier.HIGH in category.cells
        and of.agreements & category.cells[Tier.HIGH].agreements
    )
    shared = min(lower[2].agreements)
    path = f"categories.{lower[0]}.cells.high.levels"

    found = faults_of({path: {"overridable": [f"agreements.{shared}"]}, "overrides.longest": "30 d"})

    assert (f"{path}.overridable", "looser_than_lower_tier") in found


# --- what they mean ------------------------------------------------------------------------------------------------------------


def test_what_is_advised_is_required_by_nothing_and_stays_in_the_document() -> None:
    assert "security_test" not in cell(ADVISED).evidence
    assert cell(ADVISED).advised == {"evidence.security_test"}
    assert "security_test" in render(ADVISED)["categories"]["order_entry"]["cells"]["high"]["evidence"]
    assert levelled(ADVISED, EVIDENCE) is not None
    assert requirements.without_requirements(ADVISED, [EVIDENCE]) is ADVISED


@pytest.mark.parametrize("made", [NONE, BOTH, ADVISED])
def test_a_book_with_levels_reads_as_it_was_written(made: Book) -> None:
    added, faults = read_book(render(made))
    stored, warned = read_stored(render(made), made.digest)

    assert (faults, warned) == ((), ())
    assert added is not None
    assert stored is not None
    assert added.digest == made.digest
    assert cell(added) == cell(stored) == cell(made)


def test_a_stored_level_of_what_this_release_does_not_know_is_absolute() -> None:
    written = render(BOTH)
    written["categories"]["order_entry"]["cells"]["high"]["levels"]["overridable"].append("lenses.clinical")

    stored, _ = read_stored(written, BOTH.digest)

    assert stored is not None
    assert cell(stored) == cell(BOTH)
    assert requirements.level_in(cell(stored), "lenses.clinical") is Level.ABSOLUTE


@pytest.mark.parametrize(
    "path",
    [
        "",
        "evidence.security_test",
        f"{CELL}.evidence.sandbox_run",
        f"{CELL}.evidence.automated_checks",
        f"{CELL}.lenses.clinical",
        f"{CELL}.client_authentication.private_key_jwt",
        f"{CELL}.agreements.business_associate",
        f"{CELL}.evidence.security_test.more",
        "categories.order_entry.cells.highest.evidence.security_test",
        "categories.order_entry.cells.moderate.evidence.security_test",
        "categories.nothing.cells.high.evidence.security_test",
        "tiers.order_entry.cells.high.evidence.security_test",
    ],
)
def test_only_what_the_cell_calls_overridable_is_set_aside(path: str) -> None:
    assert requirements.without_requirements(BOTH, [path]) is BOTH


def test_what_is_set_aside_is_set_aside_in_its_cell_alone() -> None:
    found = overridden(BOTH, frozenset({EVIDENCE, AGREEMENT}))

    assert cell(found).evidence == cell(BOTH).evidence - {"security_test"}
    assert cell(found).agreements == {"business_associate"}
    assert cell(found).aside == {"evidence.security_test", "agreements.subcontractors"}
    assert found.without_overrides is None
    assert found is overridden(BOTH, frozenset({EVIDENCE, AGREEMENT})), "what it admits is cached"
    others = {
        (n, t): c for n, of in BOTH.categories.items() for t, c in of.cells.items() if c is not cell(BOTH)
    }
    assert others == {
        (n, t): c for n, of in found.categories.items() for t, c in of.cells.items() if c is not cell(found)
    }


def test_a_workflow_beyond_the_cell_may_be_allowed_for_one_app() -> None:
    allowed = sorted(shipped_book().workflows)
    limited = levels(overridable=[f"workflows.{allowed[1]}"]) | {f"{CELL}.workflows": allowed[:1]}
    made = book(limited)

    assert cell(requirements.without_requirements(made, [f"{CELL}.workflows.{allowed[1]}"])).workflows == {
        *allowed[:2]
    }
    assert requirements.without_requirements(made, [f"{CELL}.workflows.{allowed[2]}"]) is made
    advisory = limited | {f"{CELL}.levels": {"advisory": [f"workflows.{allowed[1]}"]}}
    assert (f"{CELL}.levels.advisory", "requirement_unknown") in faults_of(advisory)
    all_allowed = limited | {f"{CELL}.workflows": [ANY]}
    assert (f"{CELL}.levels.overridable", "requirement_unknown") in faults_of(all_allowed)


def test_of_two_joined_cells_the_stricter_level_counts() -> None:
    loose, tight = cell(BOTH), cell(NONE)
    aside = cell(requirements.without_requirements(BOTH, [EVIDENCE]))

    for joined in (
        stricter(loose, tight),
        stricter(tight, loose),
        stricter(aside, tight),
        stricter(tight, aside),
    ):
        assert "security_test" in joined.evidence
        assert not joined.overridable | joined.aside
    assert stricter(loose, loose).overridable == loose.overridable


# --- overrides of them ---------------------------------------------------------------------------------------------------------


def override(path: str = AGREEMENT, of: Book = BOTH, **change: Any) -> Override:
    found = levelled(of, path)
    assert found is not None
    made = Override(
        "ovr_1",
        path,
        found[1],
        APP,
        GENERAL,
        "Signed by then.",
        "Their contract binds them.",
        START + 10 * DAY,
        "staff:root",
        "staff:sam",
        START,
    )
    return replace(made, **change)


RETITLED = {"evidence.security_test": "Another kind of report"}


@pytest.mark.parametrize(
    ("made", "under", "where", "after", "fault"),
    [
        (override(), BOTH, GENERAL, DAY, ""),
        (override(EVIDENCE, tenant=None), BOTH, None, DAY, ""),
        (override(EVIDENCE, tenant=None), BOTH, MERCY, DAY, ""),
        (override(), BOTH, MERCY, DAY, "elsewhere"),
        (override(), BOTH, None, DAY, "elsewhere"),
        (override(), BOTH, GENERAL, 10 * DAY, "expired"),
        (override(ended_at=START), BOTH, GENERAL, DAY, "ended"),
        (override(rule_digest="0" * 64), BOTH, GENERAL, DAY, "rule_changed"),
        (override(rule=EVIDENCE), BOTH, GENERAL, DAY, "rule_changed"),
        (override(), NONE, GENERAL, DAY, "not_overridable"),
        (override(EVIDENCE), ADVISED, GENERAL, DAY, "not_overridable"),
        (override(), shipped_book(), GENERAL, DAY, "expired"),
        (
            override(EVIDENCE),
            book(levels(overridable=["evidence.security_test"]) | RETITLED),
            GENERAL,
            DAY,
            "rule_changed",
        ),
        (override(rule=f"{CELL}.lenses.clinical"), BOTH, GENERAL, DAY, "not_overridable"),
        (override(rule="no-such-rule"), BOTH, GENERAL, DAY, "not_overridable"),
    ],
)
def test_an_override_of_a_requirement_counts_while_it_is_what_two_people_saw(
    made: Override, under: Book, where: TenantId | None, after: timedelta, fault: str
) -> None:
    """C207: whatever is over, changed or not known closes to deny."""
    assert override_fault(made, under, where, START + after) == fault


def test_review_and_the_hospital_ask_less_of_this_app_only_and_only_until_the_end() -> None:
    mine = (override(), override(EVIDENCE, tenant=None, id="ovr_2"))
    facts = PolicyFacts(BOTH, overrides={APP: mine})

    def asked(app: AppId, days: int) -> set[str]:
        at = START + days * DAY
        here, review = cell(facts.book_at(GENERAL, at, app)), cell(facts.asked_of(BOTH, app, at))
        return {*here.agreements, *review.evidence}

    everything = asked(AppId("app_2"), 1)
    assert {"subcontractors", "security_test"} <= everything
    assert asked(APP, 1) == everything - {"subcontractors", "security_test"}
    assert asked(APP, 10) == everything
    everywhere = PolicyFacts(BOTH, overrides={APP: (*mine, override(tenant=None, id="ovr_3"))})
    for each in (facts, everywhere):
        assert each.set_aside(BOTH, APP, START + DAY) == {EVIDENCE}, "review does not ask for agreements"
    assert cell(facts.book_at(MERCY, START + DAY, APP)).agreements == cell(BOTH).agreements


# --- between two books ---------------------------------------------------------------------------------------------------------


def test_whatever_makes_a_requirement_less_binding_takes_two_people() -> None:
    """C210, C207."""
    kept = sorted(cell(NONE).evidence - {"security_test"})
    dropped = book(levels() | {f"{CELL}.evidence": kept})

    for looser, stricter_one in ((BOTH, NONE), (ADVISED, NONE), (ADVISED, BOTH)):
        assert widenings(stricter_one, looser)
        if looser is not ADVISED:
            assert not widenings(looser, stricter_one)
    assert not widenings(ADVISED, NONE)
    assert not widenings(dropped, ADVISED)
    assert not widenings(ADVISED, dropped)
    assert [(each.path, each.sentence) for each in widenings(NONE, ADVISED)] == [
        (f"{CELL}.evidence", "No longer requires security_test.")
    ]
    assert {each.sentence for each in widenings(NONE, BOTH)} == {
        "Two people may set security_test aside for one app.",
        "Two people may set subcontractors aside for one app.",
    }


def test_a_requirement_that_is_new_may_be_overridable_from_the_start() -> None:
    without = book(levels() | {f"{CELL}.agreements": ["business_associate"]})

    assert not widenings(without, book(levels(overridable=["agreements.subcontractors"])))
