"""Who signs for a discipline, what a verdict must say, and what keeps a submission from being certified: tables and properties (C100 to C103, C108)."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import AppId
from hilum.policy.matrix.models import Discipline, Tier
from hilum.review.submissions.models import (
    FINDINGS_BOUND,
    Answer,
    ConflictOfInterestKind,
    DisciplineReview,
    DisciplineState,
    Finding,
    FindingState,
    JudgeOrder,
    NewFinding,
    Route,
    Severity,
    Verdict,
)
from hilum.review.submissions.policy import (
    Signer,
    disciplines_obstacle,
    next_discipline_state,
    passes_without_a_person,
    score_of,
    signing_bar,
    verdict_faults,
)
from hilum.review.submissions.scorecards import inputs_digest, read_scorecards, shipped_scorecards

NOW = datetime(2027, 3, 1, tzinfo=UTC)
CARDS = shipped_scorecards()
RITA = Signer("staff:rita", decides=True, disciplines=(Discipline.TECHNICAL, Discipline.CLINICAL))


def discipline(
    kind: Discipline, state: DisciplineState = DisciplineState.OPEN, **change: Any
) -> DisciplineReview:
    made = DisciplineReview(
        "dis_1", "sub_1", AppId("app_1"), Environment.PRODUCTION, kind, "i", "s", NOW, state
    )
    return replace(made, **change)


MINE = discipline(Discipline.CLINICAL, DisciplineState.TAKEN, reviewer="staff:rita")
HERS = discipline(Discipline.LEGAL, DisciplineState.TAKEN, reviewer="staff:lena")


@pytest.mark.parametrize(
    ("signer", "others", "tier", "fault"),
    [
        (RITA, [], Tier.HIGH, ""),
        (RITA, [HERS], Tier.HIGH, ""),
        (RITA, [MINE], Tier.MODERATE, ""),
        (RITA, [MINE], Tier.HIGH, "signs_another_discipline"),
        (RITA, [MINE], None, "signs_another_discipline"),
        (replace(RITA, decides=False), [], Tier.LOW, "not_permitted"),
        (replace(RITA, disciplines=(Discipline.LEGAL,)), [], Tier.LOW, "discipline_not_yours"),
        (replace(RITA, disciplines=()), [], Tier.LOW, "discipline_not_yours"),
        (
            replace(RITA, conflicts=(ConflictOfInterestKind.DECLARED,)),
            [],
            Tier.LOW,
            "conflict_of_interest",
        ),
        (
            replace(RITA, conflicts=(ConflictOfInterestKind.MAIL_DOMAIN,)),
            [],
            Tier.LOW,
            "conflict_of_interest",
        ),
        (replace(RITA, wrote=True), [], Tier.LOW, "own_submission"),
        (replace(RITA, acted=True), [], Tier.LOW, "acted_before"),
    ],
)
def test_who_signs_for_the_technical_discipline(
    signer: Signer, others: list[DisciplineReview], tier: Tier | None, fault: str
) -> None:
    """C100, C101."""
    assert signing_bar(signer, Discipline.TECHNICAL, others, tier) == fault


SIGNERS = st.builds(
    Signer,
    st.just("staff:rita"),
    st.booleans(),
    st.frozensets(st.sampled_from(Discipline)),
    st.frozensets(st.sampled_from(ConflictOfInterestKind)),
    st.booleans(),
    st.booleans(),
)
OTHERS = st.lists(
    st.builds(
        discipline, st.sampled_from(Discipline), reviewer=st.sampled_from(["", "staff:rita", "staff:lena"])
    )
)
TIERS = st.sampled_from([None, *Tier])


@given(
    st.just(RITA) | SIGNERS,
    st.sampled_from(Discipline),
    OTHERS,
    TIERS,
    st.sampled_from(ConflictOfInterestKind),
    st.sampled_from(Discipline),
)
def test_nothing_that_speaks_against_a_signer_ever_lets_them_sign(
    signer: Signer,
    wanted: Discipline,
    others: list[DisciplineReview],
    tier: Tier | None,
    conflict: ConflictOfInterestKind,
    gone: Discipline,
) -> None:
    """C100, C101: nobody signs without the right, with a conflict of interest, or in high tiers for a second discipline."""
    fault = signing_bar(signer, wanted, others, tier)

    worse = (
        replace(signer, conflicts={*signer.conflicts, conflict}),
        replace(signer, disciplines=set(signer.disciplines) - {gone}),
        replace(signer, decides=False),
        replace(signer, wrote=True),
    )
    assert not fault or all(signing_bar(each, wanted, others, tier) for each in worse)
    assert not fault or signing_bar(signer, wanted, [*others, discipline(gone, reviewer="staff:rita")], tier)
    if not fault:
        assert wanted in signer.disciplines
        assert not signer.conflicts
        assert tier in {Tier.LOW, Tier.MODERATE} or not any(
            each.reviewer == signer.reviewer and each.discipline is not wanted for each in others
        )


def order(
    kind: Discipline = Discipline.TECHNICAL, verdict: Verdict = Verdict.PASS, **change: Any
) -> JudgeOrder:
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
        (
            order(answers={}),
            {f"answers.{each.name}": "missing" for each in CARDS.of[Discipline.TECHNICAL].points},
        ),
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


def test_only_a_discipline_that_somebody_took_is_judged() -> None:
    possible = {
        (state, verdict)
        for state in DisciplineState
        for verdict in Verdict
        if next_discipline_state(state, verdict)
    }

    assert possible == {(DisciplineState.TAKEN, verdict) for verdict in Verdict}


LOW = Route(Tier.LOW, "trust", (Discipline.TECHNICAL,), automatic=True)


@pytest.mark.parametrize(
    ("route", "clean", "disciplines", "passes"),
    [
        (LOW, True, [discipline(Discipline.TECHNICAL)], True),
        (
            LOW,
            True,
            [discipline(Discipline.TECHNICAL), discipline(Discipline.LEGAL, DisciplineState.PASSED)],
            True,
        ),
        (LOW, False, [discipline(Discipline.TECHNICAL)], False),
        (replace(LOW, automatic=False), True, [discipline(Discipline.TECHNICAL)], False),
        (replace(LOW, tier=None), True, [discipline(Discipline.TECHNICAL)], False),
        *(
            (replace(LOW, tier=tier), True, [discipline(Discipline.TECHNICAL)], False)
            for tier in Tier
            if tier is not Tier.LOW
        ),
        *(
            (
                LOW,
                True,
                [
                    discipline(Discipline.TECHNICAL, DisciplineState.PASSED),
                    discipline(Discipline.LEGAL, state),
                ],
                False,
            )
            for state in (DisciplineState.TAKEN, DisciplineState.NEEDS_CHANGES, DisciplineState.FAILED)
        ),
        (LOW, True, [discipline(Discipline.TECHNICAL, flags=("unsafe",))], False),
        (LOW, True, [discipline(Discipline.TECHNICAL, DisciplineState.PASSED, flags=("unsafe",))], False),
    ],
)
def test_what_passes_without_a_person(
    route: Route, clean: bool, disciplines: list[DisciplineReview], passes: bool
) -> None:
    """C103: the low tier, with clean checks, where the policy says how many are drawn, and nobody has begun with it."""
    assert passes_without_a_person(route, clean, disciplines) is passes


def finding(severity: Severity, state: FindingState = FindingState.OPEN) -> Finding:
    return Finding("fnd_1", "sub_1", Discipline.LEGAL, "x", severity, "e", "r", "f", "staff:rita", NOW, state)


PASSED = [discipline(each, DisciplineState.PASSED) for each in Discipline]


@pytest.mark.parametrize(
    ("route", "disciplines", "findings", "why"),
    [
        (tuple(Discipline), PASSED, [], ""),
        ((Discipline.TECHNICAL,), PASSED[:1], [], ""),
        ((), [], [], ""),
        ((), [], [finding(Severity.HIGH)], "findings_open"),
        ((), [discipline(Discipline.LEGAL, DisciplineState.FAILED)], [], "disciplines_not_passed"),
        ((), [discipline(Discipline.LEGAL, DisciplineState.OPEN)], [], ""),
        (tuple(Discipline), PASSED[:2], [], "disciplines_not_passed"),
        (tuple(Discipline), [], [], "disciplines_not_passed"),
        *(
            ((Discipline.LEGAL,), [discipline(Discipline.LEGAL, state)], [], "disciplines_not_passed")
            for state in DisciplineState
            if state is not DisciplineState.PASSED
        ),
        (
            (Discipline.LEGAL,),
            [*PASSED[:2], discipline(Discipline.CLINICAL, DisciplineState.FAILED)],
            [],
            "disciplines_not_passed",
        ),
        (
            (Discipline.LEGAL,),
            [discipline(Discipline.LEGAL, DisciplineState.PASSED, flags=("data_sold",))],
            [],
            "disciplines_not_passed",
        ),
        (tuple(Discipline), PASSED, [finding(Severity.CRITICAL)], "findings_open"),
        (tuple(Discipline), PASSED, [finding(Severity.HIGH, FindingState.ANSWERED)], "findings_open"),
        (tuple(Discipline), PASSED, [finding(Severity.HIGH, FindingState.RESOLVED)], ""),
        (tuple(Discipline), PASSED, [finding(Severity.MEDIUM)], ""),
    ],
)
def test_what_keeps_a_submission_from_being_certified(
    route: tuple[Discipline, ...], disciplines: list[DisciplineReview], findings: list[Finding], why: str
) -> None:
    """C100, C103."""
    assert disciplines_obstacle(route, disciplines, findings) == why


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
T, L, C = Discipline.TECHNICAL, Discipline.LEGAL, Discipline.CLINICAL
CHANGES: dict[str, tuple[tuple[str, ...], Any, set[Discipline]]] = {
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
def test_the_difference_between_two_submissions_selects_only_the_disciplines_that_it_touches(
    change: str,
) -> None:
    """C108."""
    path, value, touched = CHANGES[change]
    after = deepcopy(CONTENT)
    at = after
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value

    different = {
        each
        for each in Discipline
        if inputs_digest(CONTENT, CARDS.of[each], Tier.LOW) != inputs_digest(after, CARDS.of[each], Tier.LOW)
    }

    assert different == touched


def test_a_defence_of_a_scope_is_judged_again() -> None:
    """C66, C108; one without a defence has the digest that it had before there were any."""
    after = deepcopy(CONTENT)
    after["scopes"][0]["defence"] = ""
    card = CARDS.of[Discipline.CLINICAL]
    assert inputs_digest(after, card, Tier.LOW) == inputs_digest(CONTENT, card, Tier.LOW)
    after["scopes"][0]["defence"] = "We need it for the yearly report."
    assert inputs_digest(after, card, Tier.LOW) != inputs_digest(CONTENT, card, Tier.LOW)


def test_a_higher_tier_touches_every_discipline() -> None:
    """C108: what passed as of one tier was not looked at as of another."""
    assert all(
        inputs_digest(CONTENT, CARDS.of[each], Tier.LOW) != inputs_digest(CONTENT, CARDS.of[each], Tier.HIGH)
        for each in Discipline
    )


def test_the_scorecards_cover_every_discipline_and_an_empty_one_is_refused() -> None:
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
    for disciplines in ({each.value: card for each in Discipline}, {}):
        with pytest.raises(ValueError, match="scorecard"):
            read_scorecards(whole | {"disciplines": disciplines})
