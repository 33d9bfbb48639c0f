"""The risk tier: a pure function of what an app asks for, which explains itself (C18, C20, C22)."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings

from hilum.policy.matrix.models import (
    NEVER_BELOW_HIGH,
    NOT_DECLARED,
    UNCLASSIFIED,
    Applicant,
    Assessment,
    ClientAuthentication,
    Tier,
)
from hilum.policy.matrix.policy import assess, tiers_to_certify
from tests.effort import effort
from tests.unit.policy.matrix.applicants import BOOK, CATEGORIES, applicants, names, scopes
from tests.unit.policy.matrix.books import book, document


def of(category: str, *asked: str, **more: object) -> Assessment:
    declared = {"workflows": (), "placements": (), "certified_tier": Tier.HIGH}
    return assess(BOOK, Applicant(category, asked, **declared | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("category", "asked", "said"),
    [
        ("scheduling", ("openid", "user/Slot.rs"), "low, because nothing raises it"),
        ("documentation_assistance", ("user/AllergyIntolerance.rs",), "moderate, because its category is documentation assistance"),
        ("scheduling", ("user/Appointment.cu",), "moderate, because it writes Appointment"),
        ("scheduling", ("user/Slot.rs", "offline_access"), "moderate, because it keeps access when the session is over"),
        ("clinical_decision_support", ("user/MedicationRequest.cu",), "high, because it writes MedicationRequest"),
        ("order_entry", ("user/Slot.rs",), "high, because its category is order entry"),
        ("order_entry", ("user/ServiceRequest.c",), "high, because its category is order entry; it writes ServiceRequest"),
        ("population_health", ("system/Patient.rs",), "moderate, because its category is population health; it reads Patient of every patient while no person is there"),
        ("analytics", ("system/Task.c",), "high, because it writes Task while no person is there"),
        (UNCLASSIFIED, ("user/*.cruds",), "high, because it writes every resource type; it writes every resource type, which later care relies on; it writes every resource type, which clinicians act on"),
    ],
)  # fmt: skip
def test_a_tier_says_why(category: str, asked: tuple[str, ...], said: str) -> None:
    assert str(of(category, *asked)) == said


@pytest.mark.parametrize("prefix", ["user", "patient", "system"])
@pytest.mark.parametrize("letter", ["c", "u", "d", "cruds"])
def test_writing_orders_medications_or_notes_is_high_in_every_category(prefix: str, letter: str) -> None:
    """C22."""
    for category, type_ in product(CATEGORIES, [*NEVER_BELOW_HIGH, "*"]):
        assert of(category, f"{prefix}/{type_}.{letter}").tier is Tier.HIGH, (category, type_)


def test_a_v1_scope_counts_as_what_it_permits() -> None:
    assert of("scheduling", "user/MedicationRequest.write").tier is Tier.HIGH
    assert of("scheduling", "user/MedicationRequest.read").tier is Tier.LOW


def test_what_is_no_scope_raises_nothing() -> None:
    assert of("scheduling", "user/MedicationRequest.uc", "profile", "").tier is Tier.LOW


@settings(max_examples=effort(100, 5_000), deadline=None)
@given(applicants, scopes, names)
def test_more_scopes_workflows_or_placements_never_lower_a_tier(
    applicant: Applicant, more: tuple[str, ...], also: tuple[str, ...]
) -> None:
    """C18."""
    before = assess(BOOK, applicant).tier
    wider = Applicant(
        applicant.category,
        (*more, *applicant.scopes),
        applicant.authentication,
        (*also, *applicant.workflows),
        (*applicant.placements, *also),
        certified_tier=Tier.HIGH,
    )

    assert assess(BOOK, wider).tier.rank >= before.rank


@settings(max_examples=effort(70, 3_000), deadline=None)
@given(applicants)
def test_a_tier_is_the_highest_of_its_reasons(applicant: Applicant) -> None:
    found = assess(BOOK, applicant)

    assert found.tier is max([Tier.LOW, *(each.tier for each in found.reasons)], key=lambda tier: tier.rank)
    assert [each.tier.rank for each in found.reasons] == sorted(
        (each.tier.rank for each in found.reasons), reverse=True
    )


RULE = {
    "name": "public",
    "tier": "high",
    "because": "its client cannot keep a secret",
    "clients": ["none"],
    "types": ["Slot"],
}


SLOTS = Applicant("scheduling", ("user/Slot.rs",), workflows=(), placements=(), certified_tier=Tier.HIGH)


def test_a_rule_about_clients_counts_while_the_client_is_not_known() -> None:
    changed = book({"tier_rules": [*_rules(), RULE]})

    def tier(client: ClientAuthentication | None) -> Tier:
        return assess(changed, replace(SLOTS, authentication=client)).tier

    assert tier(ClientAuthentication.NONE) is Tier.HIGH
    assert tier(ClientAuthentication.KEY) is Tier.LOW
    assert tier(None) is Tier.HIGH


def test_a_version_is_certified_at_a_tier_for_each_way_to_authenticate() -> None:
    """C21: a rule about public clients neither costs those with keys their certification nor lets them rise later."""
    changed = book({"tier_rules": [*_rules(), RULE]})

    def tiers(of: Applicant) -> dict[ClientAuthentication, Tier]:
        return {way: found.tier for way, found in tiers_to_certify(changed, of).items()}

    low = {ClientAuthentication.SECRET: Tier.LOW, ClientAuthentication.KEY: Tier.LOW}
    assert tiers(SLOTS) == low
    assert tiers(replace(SLOTS, scopes=("user/MedicationRequest.c",))) == {}
    assert tiers(replace(SLOTS, category="games")) == {}
    with_high_entry = replace(SLOTS, category=UNCLASSIFIED)
    assert tiers(with_high_entry) == low | {ClientAuthentication.NONE: Tier.HIGH}


@pytest.mark.parametrize(
    ("placements", "said"),
    [
        (NOT_DECLARED, "moderate, because it is placed where orders are written (its placements are not declared)"),
        (("banner", "orders"), "moderate, because it is placed where orders are written"),
        (("banner",), "low, because nothing raises it"),
        ((), "low, because nothing raises it"),
    ],
)  # fmt: skip
def test_a_version_that_does_not_declare_its_placements_counts_as_placed_everywhere(
    placements: tuple[str, ...], said: str
) -> None:
    """C18: what is not known of an app counts against it."""
    assert str(assess(BOOK, replace(SLOTS, placements=placements))) == said


def test_rules_about_placements_and_workflows_count_where_the_app_has_one_of_them() -> None:
    rule = {
        "name": "quality",
        "tier": "moderate",
        "because": "its workflow is {workflow}",
        "workflows": ["quality_reporting"],
    }
    changed = book({"tier_rules": [*_rules(), rule]})

    asked = Applicant(
        "scheduling",
        ("user/Slot.rs",),
        workflows=("intake", "quality_reporting"),
        placements=("orders",),
        certified_tier=Tier.HIGH,
    )

    assert (
        str(assess(changed, asked))
        == "moderate, because it is placed where orders are written; its workflow is quality_reporting"
    )
    assert assess(changed, replace(SLOTS, workflows=("intake",))).tier is Tier.LOW
    not_declared = replace(SLOTS, workflows=NOT_DECLARED)
    assert str(assess(changed, not_declared)) == (
        "moderate, because its workflow is quality_reporting (its workflows are not declared)"
    )


def _rules() -> list[object]:
    return list(document()["tier_rules"])
