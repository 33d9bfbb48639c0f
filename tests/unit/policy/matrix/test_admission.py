"""What a policy admits of an app: each scope in the entry of its own tier (C20, C21, C179)."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.foundation.standards.fhir.visibility import VISIBILITY
from hilum.foundation.standards.smart.scopes import SPECIAL, all_covered
from hilum.policy.matrix import admission
from hilum.policy.matrix.models import (
    UNCLASSIFIED,
    Admission,
    Applicant,
    ClientAuthentication,
    Tier,
    Withheld,
    Withholding,
)
from hilum.policy.matrix.policy import admit, assess
from hilum.policy.matrix.shipped import shipped_book
from tests.effort import effort
from tests.unit.policy.matrix.applicants import applicants, scopes
from tests.unit.policy.matrix.books import GONE, book

BOOK = shipped_book()
NONE, KEY = ClientAuthentication.NONE, ClientAuthentication.KEY
NOTES = ("launch", "user/Condition.rs", "user/DocumentReference.rs", "user/DocumentReference.c")
ASSISTANT = Applicant(
    "documentation_assistance", NOTES, KEY, workflows=(), placements=(), certified_tier=Tier.HIGH
)


def withheld(found: Admission) -> dict[str, Withholding]:
    return {each.scope: each.why for each in found.withheld}


def test_an_app_has_what_the_entries_of_its_category_list_and_acts_at_the_highest_tier_of_it() -> None:
    found = admit(BOOK, ASSISTANT)

    assert found.scopes == NOTES
    assert found.withheld == ()
    assert found.tier is Tier.HIGH
    assert found.entry is BOOK.categories["documentation_assistance"].entries[Tier.HIGH]
    assert found.assessment == assess(BOOK, ASSISTANT)


@pytest.mark.parametrize(
    ("applicant", "scope", "why"),
    [
        (replace(ASSISTANT, category="games"), "launch", Withholding.CATEGORY),
        (
            replace(ASSISTANT, certified_tier=Tier.MODERATE),
            "user/DocumentReference.c",
            Withholding.CERTIFICATE,
        ),
        (replace(ASSISTANT, certified_tier=Tier.LOW), "user/DocumentReference.rs", Withholding.CERTIFICATE),
        (replace(ASSISTANT, certified_tier=None), "user/Condition.rs", Withholding.CERTIFICATE),
        (replace(ASSISTANT, category="scheduling"), "user/DocumentReference.c", Withholding.TIER),
        (replace(ASSISTANT, authentication=NONE), "user/DocumentReference.c", Withholding.CLIENT),
        (replace(ASSISTANT, authentication=None), "launch", Withholding.CLIENT),
        (replace(ASSISTANT, scopes=("user/ServiceRequest.c",)), "user/ServiceRequest.c", Withholding.SCOPE),
        (replace(ASSISTANT, scopes=("hilum/launch",)), "hilum/launch", Withholding.SCOPE),
    ],
)
def test_each_way_of_being_withheld_is_named(applicant: Applicant, scope: str, why: Withholding) -> None:
    found = admit(BOOK, applicant)

    assert withheld(found)[scope] is why
    assert not all_covered((scope,), found.scopes)


def test_a_rise_above_the_certificate_withholds_only_the_new_part() -> None:
    """C21: the app goes on with what it was certified for, under the limits of that tier."""
    found = admit(BOOK, replace(ASSISTANT, certified_tier=Tier.MODERATE))

    assert found.scopes == NOTES[:3]
    assert found.assessment.tier is Tier.HIGH
    assert found.tier is Tier.MODERATE
    assert found.withheld == (Withheld("user/DocumentReference.c", Withholding.CERTIFICATE),)


def test_of_a_wildcard_only_the_part_that_is_not_allowed_is_withheld() -> None:
    found = admit(BOOK, Applicant("scheduling", ("user/*.cruds",), NONE, (), (), certified_tier=Tier.HIGH))

    assert "user/Appointment.crus" in found.scopes, "the parts of one type are one scope"
    assert not any(
        all_covered((text,), found.scopes)
        for text in ("user/Appointment.d", "user/Condition.r", "user/Patient.u")
    )
    assert set(found.withheld) == {
        Withheld("user/*.cruds", why) for why in (Withholding.TIER, Withholding.SCOPE)
    }


def test_the_category_of_older_apps_withholds_nothing_and_keeps_scopes_as_they_are_written() -> None:
    """What was registered before there were categories goes on as it was."""
    asked = (
        *sorted(SPECIAL - {"hilum/launch"}),
        "user/*.cruds",
        "patient/*.rs",
        "system/*.rs",
        "patient/Observation.rs?category=laboratory",
    )

    for client in ClientAuthentication:
        found = admit(BOOK, Applicant(UNCLASSIFIED, asked, client, certified_tier=Tier.HIGH))
        assert found.scopes == asked
        assert found.withheld == ()


def test_no_entry_means_that_the_app_may_not_act() -> None:
    for applicant in (
        replace(ASSISTANT, category="games"),
        replace(ASSISTANT, scopes=()),
        replace(ASSISTANT, authentication=None),
    ):
        found = admit(BOOK, applicant)
        assert (found.entry, found.tier, found.scopes) == (None, None, ())


def test_changing_a_entry_changes_what_is_admitted() -> None:
    """C20, C179."""
    high = "categories.documentation_assistance.entries.high"
    without = book({high: GONE})
    keyed = book({f"{high}.client_authentication": ["private_key_jwt"]})
    shorter = book({f"{high}.lifetimes": {"access_token": "5 min"}, f"{high}.quota": {"rate_per_s": 1}})

    assert withheld(admit(without, ASSISTANT)) == {"user/DocumentReference.c": Withholding.TIER}
    secret = replace(ASSISTANT, authentication=ClientAuthentication.SECRET)
    assert admit(BOOK, secret).withheld == ()
    assert withheld(admit(keyed, secret)) == {"user/DocumentReference.c": Withholding.CLIENT}
    entry = admit(shorter, ASSISTANT).entry
    assert entry is not None
    assert (entry.lifetimes.access_token.total_seconds(), entry.quota.rate_per_s) == (300, 1)


@settings(max_examples=effort(100, 5_000), deadline=None)
@given(applicants)
def test_what_is_admitted_is_within_what_was_asked_and_within_one_entry(applicant: Applicant) -> None:
    found = admit(BOOK, applicant)

    assert all_covered(found.scopes, applicant.scopes)
    assert (found.entry is None) == (not found.scopes)
    if found.entry is not None and found.tier is not None:
        assert applicant.certified_tier is not None
        assert found.tier.rank <= applicant.certified_tier.rank
        assert applicant.authentication in found.entry.client_authentication
        assert all_covered(found.scopes, (*found.entry.scopes, *found.entry.session_scopes))


@settings(max_examples=effort(70, 3_000), deadline=None)
@given(applicants, scopes)
def test_asking_for_more_keeps_what_was_admitted(applicant: Applicant, more: tuple[str, ...]) -> None:
    """C21: each scope is judged as if it were the only one."""
    wider = admit(BOOK, replace(applicant, scopes=(*applicant.scopes, *more)))

    assert all_covered(admit(BOOK, applicant).scopes, wider.scopes)


@settings(max_examples=effort(70, 3_000), deadline=None)
@given(applicants)
def test_a_higher_certificate_never_admits_less(applicant: Applicant) -> None:
    for tier in Tier:
        if applicant.certified_tier is None or tier.rank >= applicant.certified_tier.rank:
            higher = admit(BOOK, replace(applicant, certified_tier=tier))
            assert all_covered(admit(BOOK, applicant).scopes, higher.scopes)


def test_a_question_about_an_app_that_does_not_exist_displaces_nothing_that_the_gateway_uses() -> None:
    """Only the admission of a client is kept (`clients.policy.admission`), and an answer is of bounded size."""
    letters = ["".join(some) for n in range(1, 6) for some in combinations("cruds", n)]
    wildcards = tuple(f"{prefix}/*.{each}" for prefix in ("patient", "user") for each in letters)
    asked = Applicant("care_recommendations", wildcards, KEY, certified_tier=Tier.HIGH)
    kept = admission._listed.cache_info().currsize

    found = admit(BOOK, asked)

    assert found is not admit(BOOK, asked)
    assert len(found.scopes) <= len(wildcards) + 2 * len(VISIBILITY), "parts are joined by type"
    assert admission._listed.cache_info().currsize <= kept + 2
    for n in range(20):
        admit(BOOK, replace(asked, scopes=(), workflows=(f"w{n}",)))
    assert admission._listed.cache_info().currsize <= kept + 2


MOVED = replace(
    ASSISTANT,
    category="clinical_decision_support",
    certified_category="documentation_assistance",
    scopes=(*NOTES, "user/Flag.cu", "user/Composition.cu"),
)


def test_an_app_that_moved_to_another_category_has_what_both_allow_until_it_is_certified_there() -> None:
    """C21: a rise withholds only the new part."""
    found = admit(BOOK, MOVED)

    assert found.scopes == (
        "launch",
        "user/Condition.rs",
        "user/DocumentReference.rs",
        "user/DocumentReference.c",
    )
    assert withheld(found) == {"user/Flag.cu": Withholding.MOVED, "user/Composition.cu": Withholding.SCOPE}
    assert found.entry is BOOK.categories["clinical_decision_support"].entries[Tier.HIGH]
    certified = admit(BOOK, replace(MOVED, certified_category="clinical_decision_support"))
    assert all_covered(("user/Flag.cu",), certified.scopes)


def test_a_move_out_of_a_category_that_the_policy_does_not_have_admits_nothing() -> None:
    assert admit(BOOK, replace(MOVED, certified_category="games")).entry is None


@settings(max_examples=effort(100, 5_000), deadline=None)
@given(applicants, st.sampled_from(sorted(BOOK.categories)))
def test_a_move_to_another_category_adds_nothing(applicant: Applicant, category: str) -> None:
    """C21."""
    before = admit(BOOK, applicant)
    moved = admit(BOOK, replace(applicant, category=category, certified_category=applicant.category))

    assert all_covered(moved.scopes, before.scopes)
    assert all_covered(moved.scopes, admit(BOOK, replace(applicant, category=category)).scopes)
