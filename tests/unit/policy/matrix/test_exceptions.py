"""Exceptions: a raised tier only takes away, and what loosens something ends with whatever it was agreed about (C19, C23, C207)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.kernel.ids import AppId, TenantId, VersionId
from hilum.foundation.standards.smart.scopes import all_covered
from hilum.policy.matrix.exception_models import Autonomy, ExceptionKind
from hilum.policy.matrix.exceptions import (
    NEVER_WAIVED,
    WAIVABLE_KINDS,
    excepted,
    exception_end,
    exception_fault,
    raises_of,
    requirements,
    title_of,
)
from hilum.policy.matrix.in_force import PolicyFacts
from hilum.policy.matrix.models import (
    NEVER_BELOW_HIGH,
    Applicant,
    Book,
    ClientAuthentication,
    Tier,
    Withholding,
)
from hilum.policy.matrix.policy import admit, assess, raising_rules
from hilum.policy.matrix.strictness import stricter, writes
from tests.sim.world import START
from tests.unit.policy.matrix.books import GONE, book
from tests.unit.policy.matrix.exception_facts import (
    APP,
    DAY,
    EXCEPTION,
    GENERAL,
    MERCY,
    RAISE,
    STRICT,
    TEXTS,
    VERSION,
    WAIVER,
    strict_book,
)

BOOK = book()
WAYS = st.sampled_from([None, *ClientAuthentication])
SCOPES = st.sets(
    st.sampled_from((*TEXTS, "user/MedicationRequest.cu", "user/*.cruds", "patient/Observation.rs"))
)
APPLICANTS = given(
    SCOPES,
    st.sampled_from(sorted(BOOK.categories)),
    WAYS,
    st.sampled_from([None, *Tier]),
    st.sampled_from(Tier),
)
"""Any app: its scopes, category, client authentication and certified tier; and a tier beside."""


def applicant(*scopes: str, category: str = "scheduling", **more: Any) -> Applicant:
    more = {"certified_tier": Tier.HIGH, "version": VERSION, "workflows": (), "placements": ()} | more
    return Applicant(category, scopes, ClientAuthentication.KEY, **more)


def raised(of: Book, tier: Tier) -> Book:
    return replace(of, raised=raises_of([replace(RAISE, tier=tier.value)]))


# --- raising -------------------------------------------------------------------------------------------------------------------


def test_a_raised_tier_says_from_what_and_why() -> None:
    """C19."""
    app = applicant("user/Observation.rs", category="clinical_decision_support")

    found = assess(raised(BOOK, Tier.HIGH), app)

    assert str(found) == "high: raised by a reviewer from moderate, because it suggests doses"
    assert (found.tier, found.computed) == (Tier.HIGH, Tier.MODERATE)


def test_raising_to_the_computed_tier_or_below_changes_nothing() -> None:
    app = applicant("user/Observation.rs", category="clinical_decision_support")

    for tier in (Tier.LOW, Tier.MODERATE):
        assert assess(raised(BOOK, tier), app) == assess(BOOK, app)
        assert admit(raised(BOOK, tier), app) == admit(BOOK, app)


def test_a_raise_into_a_tier_without_a_entry_withholds_everything_below_it() -> None:
    """C19: scheduling has no high entry."""
    found = admit(raised(BOOK, Tier.HIGH), applicant("user/Slot.rs"))

    assert (found.scopes, found.entry, found.tier) == ((), None, None)
    assert {each.why for each in found.withheld} == {Withholding.TIER}


def test_a_raise_withholds_a_client_that_the_higher_entry_does_not_allow() -> None:
    strict = book(
        {"categories.clinical_decision_support.entries.high.client_authentication": ["private_key_jwt"]}
    )
    app = replace(
        applicant("user/Observation.rs", category="clinical_decision_support"),
        authentication=ClientAuthentication.NONE,
    )

    assert admit(strict, app).scopes == ("user/Observation.rs",)
    assert [each.why for each in admit(raised(strict, Tier.HIGH), app).withheld] == [Withholding.CLIENT]


def test_a_raise_withholds_only_what_the_higher_entry_does_not_allow() -> None:
    """C19: the certificate of the lower tier keeps what the higher entry allows too."""
    app = applicant("user/Observation.rs", category="clinical_decision_support", certified_tier=Tier.MODERATE)

    found = admit(raised(BOOK, Tier.HIGH), app)

    assert (found.scopes, found.withheld, found.tier) == (("user/Observation.rs",), (), Tier.HIGH)


def test_of_two_entries_the_stricter_limit_counts_whichever_has_it() -> None:
    """C19: the high entry has the better traffic class, and the raise does not bring it."""
    entries = BOOK.categories["patient_communication"].entries
    looser = book({"categories.patient_communication.entries.moderate.traffic_class": "clinical_interactive"})
    above = looser.categories["patient_communication"].entries[Tier.MODERATE]

    both = stricter(entries[Tier.LOW], above)

    assert both.traffic_class is entries[Tier.LOW].traffic_class
    assert both.lifetimes.access_token == min(
        entries[Tier.LOW].lifetimes.access_token, above.lifetimes.access_token
    )
    assert both.evidence >= entries[Tier.LOW].evidence | above.evidence


def test_what_the_lower_entry_asks_for_is_asked_for_after_a_raise_too() -> None:
    """C19: an agreement or a proof that only the lower entry needs."""
    entries = BOOK.categories["patient_communication"].entries
    asks = replace(entries[Tier.LOW], agreements=frozenset({"data_sharing"}), proofs=frozenset({"owner"}))

    both = stricter(asks, entries[Tier.MODERATE])

    assert both.agreements == entries[Tier.MODERATE].agreements | {"data_sharing"}
    assert both.proofs == entries[Tier.MODERATE].proofs | {"owner"}


@APPLICANTS
def test_a_raise_never_widens_anything(
    texts: set[str], category: str, way: ClientAuthentication | None, certified: Tier | None, tier: Tier
) -> None:
    """C19."""
    app = Applicant(category, tuple(sorted(texts)), way, certified_tier=certified, version=VERSION)

    before, after = admit(BOOK, app), admit(raised(BOOK, tier), app)

    assert all_covered(after.scopes, before.scopes)
    assert after.assessment.tier.rank >= before.assessment.tier.rank
    if after.entry is not None:
        assert before.entry is not None
        assert stricter(before.entry, after.entry).lifetimes == after.entry.lifetimes
        assert stricter(before.entry, after.entry).quota == after.entry.quota
        assert stricter(before.entry, after.entry).traffic_class is after.entry.traffic_class
        assert after.entry.certificate_life <= before.entry.certificate_life


def test_a_raised_tier_has_no_end_but_the_one_that_a_reviewer_gives_it() -> None:
    """C19: its end gives access back, whatever the policy and the time."""
    gone = book({"exceptions": GONE})

    assert exception_end(RAISE, gone) is None
    assert exception_fault(RAISE, gone, None, START + 1_000 * DAY) == ""
    assert exception_fault(replace(RAISE, ended_at=START), gone, None, START) == "ended"
    assert raises_of([replace(RAISE, ended_at=START)]) == {}


@pytest.mark.parametrize("tier", ["extreme", ""])
def test_a_raise_to_a_tier_that_this_release_does_not_know_counts_as_high(tier: str) -> None:
    assert raises_of([replace(RAISE, tier=tier)])[VERSION].tier is Tier.HIGH


def test_of_two_raises_of_a_version_the_higher_one_counts() -> None:
    lower = replace(RAISE, id="exc_9", tier="moderate")

    for found in ([RAISE, lower], [lower, RAISE]):
        assert raises_of(found)[VERSION].tier is Tier.HIGH


# --- lowering ------------------------------------------------------------------------------------------------------------------


READER = applicant("user/Slot.rs", "user/Patient.rs", certified_tier=Tier.LOW)


def lowered(of: Book = STRICT, **change: Any) -> Book:
    return excepted(of, [replace(EXCEPTION, book_digest=of.digest, **change)], None, START)


def test_a_lowered_tier_gives_back_what_the_computed_one_withheld_and_says_so() -> None:
    """C19."""
    assert admit(STRICT, READER).scopes == ("user/Patient.rs",)

    found = admit(lowered(), READER)

    assert (found.scopes, found.tier) == (("user/Slot.rs", "user/Patient.rs"), Tier.LOW)
    assert (
        str(found.assessment)
        == "low: lowered by an exception from moderate, which it is because it reads Slot"
    )


@pytest.mark.parametrize(
    ("change", "app"),
    [
        ({"version": VersionId("ver_2")}, {}),
        ({"category": "analytics"}, {}),
        ({"rules": ()}, {}),
        ({"rules": ("reads-patients",)}, {}),
        ({}, {"scopes": ("user/Slot.rs", "offline_access")}),
        ({}, {"autonomy": Autonomy.DRAFTS}),
        ({}, {"version": None}),
        ({}, {"version": VersionId("ver_2")}),
        ({}, {"category": "patient_communication"}),
    ],
)
def test_an_exception_lowers_nothing_but_what_two_people_saw(
    change: dict[str, Any], app: dict[str, Any]
) -> None:
    """C19: another version, another category, or one more rule that raises it, and the computed tier counts."""
    of = replace(READER, **app)

    assert admit(lowered(**change), of).scopes == admit(STRICT, of).scopes
    assert admit(lowered(**change), of).assessment.computed is None


@pytest.mark.parametrize(
    ("change", "where", "after", "fault"),
    [
        ({}, None, DAY, ""),
        ({}, GENERAL, DAY, ""),
        ({"tenant": GENERAL}, MERCY, DAY, "elsewhere"),
        ({"tenant": GENERAL}, None, DAY, "elsewhere"),
        ({"ended_at": START}, None, DAY, "ended"),
        ({}, None, 10 * DAY - timedelta(microseconds=1), ""),
        ({}, None, 10 * DAY, "expired"),
        ({"ends_at": START + 400 * DAY}, None, 90 * DAY, "expired"),
        ({"tier": "none"}, None, DAY, "book_changed"),
        ({"tier": ""}, None, DAY, "book_changed"),
        ({"book_digest": "0" * 64}, None, DAY, "book_changed"),
        ({"book_digest": ""}, None, DAY, "book_changed"),
        ({"ends_at": None}, None, timedelta(0), "expired"),
        ({"kind": ExceptionKind.AUTONOMOUS_WRITES}, None, DAY, "elsewhere"),
        ({"kind": ExceptionKind.AUTONOMOUS_WRITES, "tenant": GENERAL}, GENERAL, DAY, ""),
        ({"kind": ExceptionKind.AUTONOMOUS_WRITES, "tenant": GENERAL}, MERCY, DAY, "elsewhere"),
    ],
)
def test_an_exception_counts_where_and_while_it_was_agreed_to(
    change: dict[str, Any], where: TenantId | None, after: timedelta, fault: str
) -> None:
    """C19, C23."""
    assert exception_fault(replace(EXCEPTION, **change), STRICT, where, START + after) == fault


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (strict_book(because="it shows {type}"), "book_changed"),
        (strict_book(tier="high"), "book_changed"),
        (BOOK, "book_changed"),
        (book({"exceptions": GONE}), "expired"),
        (book({"exceptions.longest": "12 h"}), "expired"),
    ],
)
def test_another_policy_ends_a_lowered_tier(changed: Book, fault: str) -> None:
    """C19."""
    assert exception_fault(EXCEPTION, changed, None, START + DAY) == fault


def test_writing_orders_medications_and_notes_stays_high_whoever_agrees() -> None:
    """C22."""
    texts = tuple(f"user/{type_}.cu" for type_ in sorted(NEVER_BELOW_HIGH))
    for scopes in (texts, ("user/*.cruds",)):
        app = applicant(*scopes, category="unclassified", certified_tier=Tier.MODERATE)
        rules = tuple(raising_rules(assess(BOOK, app), Tier.MODERATE))
        change = {"rules": rules, "category": "unclassified", "tier": "moderate"}

        found = admit(lowered(BOOK, **change), app)

        assert not any(all_covered((text,), found.scopes) for text in texts)


def test_a_raise_counts_over_a_lowered_tier() -> None:
    assert admit(raised(lowered(), Tier.HIGH), READER).scopes == ()


def test_the_facts_apply_an_exception_to_its_app_only_and_until_its_end() -> None:
    facts = PolicyFacts(STRICT, exceptions={APP: (EXCEPTION,)})

    def lowers(app: AppId | None, after: timedelta) -> bool:
        return bool(facts.book_at(GENERAL, START + after, app).lowered)

    assert lowers(APP, DAY)
    assert not any((lowers(AppId("app_2"), DAY), lowers(None, DAY), lowers(APP, 10 * DAY)))
    assert facts.book_at(GENERAL, START, APP) is facts.book_at(GENERAL, START, APP), (
        "what it admits is cached"
    )


@APPLICANTS
def test_a_lowered_tier_never_takes_away_what_an_app_had(
    texts: set[str], category: str, way: ClientAuthentication | None, certified: Tier | None, tier: Tier
) -> None:
    app = Applicant(category, tuple(sorted(texts)), way, certified_tier=certified, version=VERSION)
    rules = tuple(raising_rules(assess(BOOK, app), tier))
    of = lowered(BOOK, category=category, rules=rules, tier=tier.value)

    assert all_covered(admit(BOOK, app).scopes, admit(of, app).scopes)
    assert all_covered(admit(of, app).scopes, app.scopes)


# --- waiving -------------------------------------------------------------------------------------------------------------------

WAIVABLE = {"exceptions.waivable": ["evidence.data_flow"]}
ASKS = book({"categories.scheduling.entries.low.evidence": ["automated_checks", "data_flow"], **WAIVABLE})
ALL_WAIVABLE = book({"exceptions.waivable": sorted(requirements(BOOK.evidence, BOOK.scenarios))})


def evidence_of(of: Book, category: str = "scheduling", tier: Tier = Tier.LOW) -> frozenset[str]:
    return of.categories[category].entries[tier].evidence


def test_a_waived_requirement_is_not_asked_for_in_its_entry_alone() -> None:
    """C207."""
    facts = PolicyFacts(ASKS, exceptions={APP: (WAIVER,)})

    found = facts.asked_of(ASKS, APP, START)

    assert evidence_of(found) == {"automated_checks"}
    assert found.categories["scheduling"].entries[Tier.LOW].waived == {"evidence.data_flow"}
    rest = [(name, tier) for name, of in ASKS.categories.items() for tier in of.entries]
    rest.remove(("scheduling", Tier.LOW))
    assert all(evidence_of(found, *name) == evidence_of(ASKS, *name) for name in rest)
    assert facts.asked_of(ASKS, AppId("app_2"), START) is ASKS
    assert facts.asked_of(ASKS, APP, START + 10 * DAY) is ASKS


@pytest.mark.parametrize(
    "requirement", [*sorted(NEVER_WAIVED), "disciplines.technical", "workflows.x", "evidence.", "", "x"]
)
def test_what_may_not_be_waived_stays_whoever_agrees(requirement: str) -> None:
    """C207: and what a policy does not know is no requirement."""
    given = replace(WAIVER, requirement=requirement)

    assert exception_fault(given, ASKS, None, START) == "requirement_gone"
    assert excepted(ASKS, [given], None, START) is ASKS


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        (ASKS, ""),
        (book({"categories.scheduling.entries.low.evidence": ["automated_checks"], **WAIVABLE}), "requirement_gone"),
        (book({"categories.scheduling.entries.low.evidence": ["data_flow"]}), "requirement_gone"),
        (book({"categories.scheduling.entries.low.evidence": ["data_flow"], "evidence.data_flow": "Another", **WAIVABLE}), "requirement_changed"),
        (book({"categories.scheduling.entries.low.evidence": ["data_flow"], "exceptions.longest": "1 h", **WAIVABLE}), "expired"),
    ],
)  # fmt: skip
def test_a_requirement_that_is_another_one_now_is_asked_for_again(changed: Book, fault: str) -> None:
    """C207: two people waived what they read."""
    assert exception_fault(WAIVER, changed, None, START + DAY) == fault


@given(st.sampled_from(sorted(BOOK.categories)), st.sampled_from(Tier), st.data())
def test_a_waiver_takes_one_name_from_one_entry_and_nothing_else(
    category: str, tier: Tier, data: st.DataObject
) -> None:
    """C207: limits, scopes, disciplines and ways to authenticate stay as the policy has them."""
    entry = BOOK.categories[category].entries.get(tier)
    names = (
        []
        if entry is None
        else [f"{kind}.{name}" for kind in WAIVABLE_KINDS for name in sorted(getattr(entry, kind))]
    )
    requirement = data.draw(st.sampled_from([*names, "evidence.nothing"]))
    title = {**BOOK.evidence, **BOOK.scenarios}.get(requirement.partition(".")[2], "")
    given = replace(WAIVER, category=category, tier=tier.value, requirement=requirement, title=title)

    found = excepted(ALL_WAIVABLE, [given], None, START)

    for name, of in found.categories.items():
        for at, after in of.entries.items():
            before = BOOK.categories[name].entries[at]
            kinds = {kind: getattr(before, kind) for kind in WAIVABLE_KINDS}
            assert replace(after, waived=frozenset(), **kinds) == before
            lost = {
                f"{kind}.{each}" for kind in WAIVABLE_KINDS for each in kinds[kind] - getattr(after, kind)
            }
            assert lost <= ({requirement} if (name, at) == (category, tier) else set())
            assert not lost & NEVER_WAIVED


@given(st.sampled_from(sorted(requirements(BOOK.evidence, BOOK.scenarios))))
def test_what_a_book_does_not_list_is_waived_for_nobody(requirement: str) -> None:
    """C207: the shipped policy lists nothing."""
    for category, of in BOOK.categories.items():
        for tier in of.entries:
            title = title_of(BOOK, requirement)
            given = replace(WAIVER, category=category, tier=tier.value, requirement=requirement, title=title)
            assert excepted(BOOK, [given], None, START) is BOOK


# --- AI that acts alone --------------------------------------------------------------------------------------------------------

ALONE = applicant(
    "user/Observation.cruds",
    "user/Flag.c",
    "launch",
    category="clinical_decision_support",
    autonomy=Autonomy.ACTS_ALONE,
)


def test_an_ai_that_acts_alone_is_of_the_high_tier_and_reads_only() -> None:
    """C23."""
    found = admit(BOOK, ALONE)

    assert found.assessment.tier is Tier.HIGH
    assert "its AI acts alone" in str(found.assessment)
    assert found.scopes == ("user/Observation.rs", "launch")
    assert {each.scope for each in found.withheld if each.why is Withholding.AUTONOMY} == {
        "user/Observation.crus",
        "user/Flag.c",
    }


def test_a_hospital_with_an_exception_lets_it_write_what_its_entry_allows() -> None:
    """C23."""
    alone = replace(EXCEPTION, kind=ExceptionKind.AUTONOMOUS_WRITES, tenant=GENERAL, tier="")
    of = excepted(BOOK, [alone], GENERAL, START)
    assert excepted(BOOK, [alone], MERCY, START) is BOOK

    assert admit(of, ALONE).scopes == ("user/Observation.crus", "user/Flag.c", "launch")
    assert admit(of, replace(ALONE, version=VersionId("ver_2"))).scopes == ("user/Observation.rs", "launch")


def test_an_app_that_would_only_write_gets_nothing_without_an_exception() -> None:
    found = admit(BOOK, replace(ALONE, scopes=("user/Flag.c",)))

    assert (found.scopes, found.entry, found.tier) == ((), None, None)


@pytest.mark.parametrize(
    ("autonomy", "tier"),
    [
        (None, Tier.LOW),
        (Autonomy.INFORMS, Tier.LOW),
        (Autonomy.DRAFTS, Tier.MODERATE),
        (Autonomy.ACTS_AFTER_HUMAN_STEP, Tier.MODERATE),
        (Autonomy.ACTS_ALONE, Tier.HIGH),
    ],
)
def test_how_far_an_ai_acts_by_itself_raises_the_tier(autonomy: Autonomy | None, tier: Tier) -> None:
    """C23."""
    assert assess(BOOK, applicant("user/Slot.rs", autonomy=autonomy)).tier is tier


@given(SCOPES, st.sampled_from(sorted(BOOK.categories)), st.sampled_from([None, *Tier]))
def test_without_an_exception_nothing_writes_alone(texts: set[str], category: str, tier: Tier | None) -> None:
    """C23: whatever is asked for, certified and raised."""
    app = applicant(*sorted(texts), category=category, autonomy=Autonomy.ACTS_ALONE)
    found = admit(BOOK if tier is None else raised(BOOK, tier), app)

    assert writes(found.scopes) == ()
    assert all_covered(found.scopes, app.scopes)
