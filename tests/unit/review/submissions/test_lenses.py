"""Who signs for a lens, what a verdict must say, and what keeps a submission from being certified: tables and properties (C100 to C103, C108)."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId
from hilum.policy.matrix.models import Lens, Tier
from hilum.review.submissions.models import (
    FINDINGS_BOUND,
    Answer,
    Finding,
    FindingState,
    JudgeOrder,
    LensReview,
    LensState,
    NewFinding,
    Route,
    Severity,
    TieKind,
    Verdict,
)
from hilum.review.submissions.policy import (
    Signer,
    lenses_obstacle,
    next_lens_state,
    passes_without_a_person,
    score_of,
    signing_bar,
    verdict_faults,
)
from hilum.review.submissions.scorecards import inputs_digest, read_scorecards, shipped_scorecards

NOW = datetime(2027, 3, 1, tzinfo=UTC)
CARDS = shipped_scorecards()
RITA = Signer("staff:rita", decides=True, lenses=(Lens.TECHNICAL, Lens.CLINICAL))


def lens(kind: Lens, state: LensState = LensState.OPEN, **change: Any) -> LensReview:
    made = LensReview("len_1", "sub_1", AppId("app_1"), Environment.PRODUCTION, kind, "i", "s", NOW, state)
    return replace(made, **change)


MINE = lens(Lens.CLINICAL, LensState.TAKEN, reviewer="staff:rita")
HERS = lens(Lens.LEGAL, LensState.TAKEN, reviewer="staff:lena")


@pytest.mark.parametrize(
    ("signer", "others", "tier", "fault"),
    [
        (RITA, [], Tier.HIGH, ""),
        (RITA, [HERS], Tier.HIGH, ""),
        (RITA, [MINE], Tier.MODERATE, ""),
        (RITA, [MINE], Tier.HIGH, "signs_another_lens"),
        (RITA, [MINE], None, "signs_another_lens"),
        (replace(RITA, decides=False), [], Tier.LOW, "not_permitted"),
        (replace(RITA, lenses=(Lens.LEGAL,)), [], Tier.LOW, "lens_not_yours"),
        (replace(RITA, lenses=()), [], Tier.LOW, "lens_not_yours"),
        (replace(RITA, ties=(TieKind.DECLARED,)), [], Tier.LOW, "tied_to_vendor"),
        (replace(RITA, ties=(TieKind.MAIL_DOMAIN,)), [], Tier.LOW, "tied_to_vendor"),
        (replace(RITA, wrote=True), [], Tier.LOW, "own_submission"),
        (replace(RITA, acted=True), [], Tier.LOW, "acted_before"),
    ],
)
def test_who_signs_for_the_technical_lens(
    signer: Signer, others: list[LensReview], tier: Tier | None, fault: str
) -> None:
    """C100, C101."""
    assert signing_bar(signer, Lens.TECHNICAL, others, tier) == fault


SIGNERS = st.builds(
    Signer,
    st.just("staff:rita"),
    st.booleans(),
    st.frozensets(st.sampled_from(Lens)),
    st.frozensets(st.sampled_from(TieKind)),
    st.booleans(),
    st.booleans(),
)
OTHERS = st.lists(
    st.builds(lens, st.sampled_from(Lens), reviewer=st.sampled_from(["", "staff:rita", "staff:lena"]))
)
TIERS = st.sampled_from([None, *Tier])


@given(
    st.just(RITA) | SIGNERS,
    st.sampled_from(Lens),
    OTHERS,
    TIERS,
    st.sampled_from(TieKind),
    st.sampled_from(Lens),
)
def test_nothing_that_speaks_against_a_signer_ever_lets_them_sign(
    signer: Signer, wanted: Lens, others: list[LensReview], tier: Tier | None, tie: TieKind, gone: Lens
) -> None:
    """C100, C101: nobody signs without the right, with a tie, or in high tiers for a second lens."""
    fault = signing_bar(signer, wanted, others, tier)

    worse = (
        replace(signer, ties={*signer.ties, tie}),
        replace(signer, lenses=set(signer.lenses) - {gone}),
        replace(signer, decides=False),
        replace(signer, wrote=True),
    )
    assert not fault or all(signing_bar(each, wanted, others, tier) for each in worse)
    assert not fault or signing_bar(signer, wanted, [*others, lens(gone, reviewer="staff:rita")], tier)
    if not fault:
        assert wanted in signer.lenses
        assert not signer.ties
        assert tier in {Tier.LOW, Tier.MODERATE} or not any(
            each.reviewer == signer.reviewer and each.lens is not wanted for each in others
        )


def order(kind: Lens = Lens.TECHNICAL, verdict: Verdict = Verdict.PASS, **change: Any) -> JudgeOrder:
    met = {each.name: Answer.MET for each in CARDS.of[kind].points}
    return replace(JudgeOrder("sub_1", kind, 1, verdict, "In order.", met), **change)


MET = dict(order().answers)
FOUND = NewFinding("technical.tokens", Severity.HIGH, "In the log.", "Look at it.", "Leave it out.")
SOME = {"tokens": Answer.NOT_MET, "logging": Answer.NOT_MET}


@pytest.mark.parametrize(
    ("given_", "faults"),
    [
        (order(), {}),
        (order(answers=MET | {"api_use": Answer.NOT_APPLICABLE}), {}),
        (order(answers=MET | {"tokens": Answer.PARTLY}), {}),
        (order(answers=MET | SOME), {"verdict": "score_too_low"}),
        (order(answers=dict.fromkeys(MET, Answer.NOT_APPLICABLE)), {"verdict": "score_too_low"}),
        (order(answers={}), {f"answers.{each.name}": "missing" for each in CARDS.of[Lens.TECHNICAL].points}),
        (
            order(answers=MET | {"workflow_fit": Answer.MET}),
            {"answers.workflow_fit": "point_unknown"},
        ),
        (order(flags=("secret_in_the_open",)), {"verdict": "red_flag"}),
        (order(flags=("hides_what_is_missing",)), {"flags": "flag_unknown", "verdict": "red_flag"}),
        (order(findings=(FOUND,)), {"verdict": "findings_block"}),
        (order(findings=(replace(FOUND, severity=Severity.LOW),)), {}),
        (order(text=" "), {"text": "reason_missing"}),
        (order(verdict=Verdict.FAIL), {"reasons": "reasons_missing"}),
        (order(verdict=Verdict.FAIL, reasons=("technical.tokens",)), {}),
        (order(verdict=Verdict.FAIL, reasons=("not_as_described",), answers={}), {}),
        (order(verdict=Verdict.FAIL, reasons=("legal.retention",)), {"reasons": "reason_unknown"}),
        (
            order(verdict=Verdict.NEEDS_CHANGES, reasons=("technical.tokens",)),
            {"findings": "findings_missing"},
        ),
        (order(verdict=Verdict.NEEDS_CHANGES, reasons=("technical.tokens",), findings=(FOUND,)), {}),
        (
            order(
                verdict=Verdict.NEEDS_CHANGES,
                reasons=("technical.tokens",),
                findings=(replace(FOUND, rule="x", fix=" "),),
            ),
            {"findings.0.rule": "reason_unknown", "findings.0.fix": "missing"},
        ),
        (order(findings=(replace(FOUND, severity=Severity.LOW),) * FINDINGS_BOUND), {}),
        (
            order(findings=(replace(FOUND, severity=Severity.LOW),) * (FINDINGS_BOUND + 1)),
            {"findings": "too_many"},
        ),
    ],
)
def test_what_a_verdict_must_say(given_: JudgeOrder, faults: dict[str, str]) -> None:
    """C102, C103, C107: a red flag blocks whatever the score, and who is sent back learns why and what to do."""
    assert verdict_faults(given_, CARDS) == faults


def test_a_score_counts_the_points_that_apply() -> None:
    answers = {"a": Answer.MET, "b": Answer.PARTLY, "c": Answer.NOT_MET, "d": Answer.NOT_APPLICABLE}

    assert score_of(answers) == 50
    assert score_of({"d": Answer.NOT_APPLICABLE}) is None


def test_only_a_lens_that_somebody_took_is_judged() -> None:
    possible = {
        (state, verdict) for state in LensState for verdict in Verdict if next_lens_state(state, verdict)
    }

    assert possible == {(LensState.TAKEN, verdict) for verdict in Verdict}


LOW = Route(Tier.LOW, "trust", (Lens.TECHNICAL,), automatic=True)


@pytest.mark.parametrize(
    ("route", "clean", "lenses", "passes"),
    [
        (LOW, True, [lens(Lens.TECHNICAL)], True),
        (LOW, True, [lens(Lens.TECHNICAL), lens(Lens.LEGAL, LensState.PASSED)], True),
        (LOW, False, [lens(Lens.TECHNICAL)], False),
        (replace(LOW, automatic=False), True, [lens(Lens.TECHNICAL)], False),
        (replace(LOW, tier=None), True, [lens(Lens.TECHNICAL)], False),
        *(
            (replace(LOW, tier=tier), True, [lens(Lens.TECHNICAL)], False)
            for tier in Tier
            if tier is not Tier.LOW
        ),
        *(
            (LOW, True, [lens(Lens.TECHNICAL, LensState.PASSED), lens(Lens.LEGAL, state)], False)
            for state in (LensState.TAKEN, LensState.NEEDS_CHANGES, LensState.FAILED)
        ),
        (LOW, True, [lens(Lens.TECHNICAL, flags=("unsafe",))], False),
        (LOW, True, [lens(Lens.TECHNICAL, LensState.PASSED, flags=("unsafe",))], False),
    ],
)
def test_what_passes_without_a_person(
    route: Route, clean: bool, lenses: list[LensReview], passes: bool
) -> None:
    """C103: the low tier, with clean checks, where the rule book says how many are drawn, and nobody has begun with it."""
    assert passes_without_a_person(route, clean, lenses) is passes


def finding(severity: Severity, state: FindingState = FindingState.OPEN) -> Finding:
    return Finding("fnd_1", "sub_1", Lens.LEGAL, "x", severity, "e", "r", "f", "staff:rita", NOW, state)


PASSED = [lens(each, LensState.PASSED) for each in Lens]


@pytest.mark.parametrize(
    ("route", "lenses", "findings", "why"),
    [
        (tuple(Lens), PASSED, [], ""),
        ((Lens.TECHNICAL,), PASSED[:1], [], ""),
        ((), [], [], ""),
        ((), [], [finding(Severity.HIGH)], "findings_open"),
        ((), [lens(Lens.LEGAL, LensState.FAILED)], [], "lenses_not_passed"),
        ((), [lens(Lens.LEGAL, LensState.OPEN)], [], ""),
        (tuple(Lens), PASSED[:2], [], "lenses_not_passed"),
        (tuple(Lens), [], [], "lenses_not_passed"),
        *(
            ((Lens.LEGAL,), [lens(Lens.LEGAL, state)], [], "lenses_not_passed")
            for state in LensState
            if state is not LensState.PASSED
        ),
        ((Lens.LEGAL,), [*PASSED[:2], lens(Lens.CLINICAL, LensState.FAILED)], [], "lenses_not_passed"),
        ((Lens.LEGAL,), [lens(Lens.LEGAL, LensState.PASSED, flags=("data_sold",))], [], "lenses_not_passed"),
        (tuple(Lens), PASSED, [finding(Severity.CRITICAL)], "findings_open"),
        (tuple(Lens), PASSED, [finding(Severity.HIGH, FindingState.ANSWERED)], "findings_open"),
        (tuple(Lens), PASSED, [finding(Severity.HIGH, FindingState.RESOLVED)], ""),
        (tuple(Lens), PASSED, [finding(Severity.MEDIUM)], ""),
    ],
)
def test_what_keeps_a_submission_from_being_certified(
    route: tuple[Lens, ...], lenses: list[LensReview], findings: list[Finding], why: str
) -> None:
    """C100, C103."""
    assert lenses_obstacle(route, lenses, findings) == why


CONTENT: dict[str, Any] = {
    "app": {"name": "Rota", "description": "Shows.", "purpose": "Planning.", "category": "scheduling"},
    "vendor": {"name": "Acme"},
    "version": {"id": "ver_1", "label": "1", "workflows": ["a"], "placements": ["sidebar"], "ai_use": None},
    "profile": {"retention": "30 days"},
    "clients": [{"id": "cli_1", "redirect_uris": ["https://a.example/cb"]}],
    "scopes": [
        {"scope": "user/Slot.rs", "justification": "Shows."},
        {"scope": "launch", "justification": "Opens."},
    ],
    "documents": [],
}
T, L, C = Lens.TECHNICAL, Lens.LEGAL, Lens.CLINICAL
CHANGES: dict[str, tuple[tuple[str, ...], Any, set[Lens]]] = {
    "another label": (("version", "label"), "2", set()),
    "another version": (("version", "id"), "ver_2", set()),
    "another redirect": (("clients",), [{"id": "cli_1", "redirect_uris": ["https://b.example/cb"]}], {T}),
    "other retention": (("profile", "retention"), "90 days", {L}),
    "another company": (("vendor", "name"), "Bolt", {L}),
    "another place in the chart": (("version", "placements"), ["orders"], {C}),
    "another workflow": (("version", "workflows"), ["b"], {T, C}),
    "use of AI": (("version", "ai_use"), {"autonomy": "drafts"}, {T, L, C}),
    "another scope": (("scopes",), [{"scope": "user/Slot.crus", "justification": "Books."}], {T, L, C}),
    "another purpose": (("app", "purpose"), "Research.", {T, L, C}),
    "a penetration test": (("documents",), [{"kind": "security_test", "sha256": "1"}], {T}),
    "another agreement": (("documents",), [{"kind": "agreement", "sha256": "1"}], {L}),
    "a safety case": (("documents",), [{"kind": "clinical_safety", "sha256": "1"}], {C}),
    "scopes in another order": (("scopes",), list(reversed(CONTENT["scopes"])), set()),
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_the_difference_between_two_submissions_selects_only_the_lenses_that_it_touches(change: str) -> None:
    """C108."""
    path, value, touched = CHANGES[change]
    after = deepcopy(CONTENT)
    at = after
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value

    different = {
        each
        for each in Lens
        if inputs_digest(CONTENT, CARDS.of[each], Tier.LOW) != inputs_digest(after, CARDS.of[each], Tier.LOW)
    }

    assert different == touched


def test_a_defence_of_a_scope_is_judged_again() -> None:
    """C66, C108; one without a defence has the digest that it had before there were any."""
    after = deepcopy(CONTENT)
    after["scopes"][0]["defence"] = ""
    card = CARDS.of[Lens.CLINICAL]
    assert inputs_digest(after, card, Tier.LOW) == inputs_digest(CONTENT, card, Tier.LOW)
    after["scopes"][0]["defence"] = "We need it for the yearly report."
    assert inputs_digest(after, card, Tier.LOW) != inputs_digest(CONTENT, card, Tier.LOW)


def test_a_higher_tier_touches_every_lens() -> None:
    """C108: what passed as of one tier was not looked at as of another."""
    assert all(
        inputs_digest(CONTENT, CARDS.of[each], Tier.LOW) != inputs_digest(CONTENT, CARDS.of[each], Tier.HIGH)
        for each in Lens
    )


def test_the_scorecards_cover_every_lens_and_an_empty_one_is_refused() -> None:
    """C102: the seed's points; a list with no question would pass everything."""
    assert {each.name for each in CARDS.of[T].points} == {
        "authentication",
        "tokens",
        "api_use",
        "logging",
        "failure_modes",
    }
    assert {each.name for each in CARDS.of[L].points} == {
        "agreements",
        "data_sharing",
        "retention",
        "subcontractors",
    }
    assert {each.name for each in CARDS.of[C].points} == {
        "workflow_fit",
        "unsafe_shortcuts",
        "misleading_display",
    }
    card = {"title": "x", "inputs": ["app"], "points": [], "flags": []}
    whole: dict[str, Any] = {"version": 1, "pass_at": 80, "reasons": {}}
    for lenses in ({each.value: card for each in Lens}, {}):
        with pytest.raises(ValueError, match="scorecard"):
            read_scorecards(whole | {"lenses": lenses})
