"""The shipped policy: what it lists can be used by a person, and the same scope asks for the same evidence in every category."""

from itertools import product

import pytest

from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.visibility import rule_of
from hilum.foundation.standards.smart.scopes import (
    ANY_TYPE,
    LETTERS,
    ClinicalScope,
    Prefix,
    all_covered,
    letters_of,
    parse_stored,
    render,
)
from hilum.identity.people.models import Role
from hilum.identity.people.rights import RIGHTS
from hilum.policy.matrix.models import (
    SANDBOX_TRIAL,
    UNCLASSIFIED,
    Applicant,
    Category,
    ClientAuthentication,
    Tier,
)
from hilum.policy.matrix.policy import tier_judge
from hilum.policy.matrix.shipped import shipped_book

BOOK = shipped_book()
REVIEWED = [each for each in BOOK.categories.values() if each.name not in {UNCLASSIFIED, SANDBOX_TRIAL}]
BITS = (1, 2, 4, 8, 16)


def listed(category: Category) -> list[ClinicalScope]:
    found = {text for entry in category.entries.values() for text in entry.scopes}
    return [each for each in parse_stored(sorted(found)) if isinstance(each, ClinicalScope)]


@pytest.mark.parametrize("category", REVIEWED, ids=lambda each: each.name)
def test_every_scope_that_a_category_lists_is_reached_by_somebody(category: Category) -> None:
    """C20: a visibility rule for its type, and a role with the right for each of its letters unless no person is there."""
    dead = []
    for scope in (each for each in listed(category) if each.type != ANY_TYPE):
        for letter in letters_of(scope.letters):
            may = scope.prefix is Prefix.SYSTEM or any(
                letter in RIGHTS[role].get(scope.type, "") for role in Role
            )
            if rule_of(scope.type) is None or not may:
                dead.append(f"{scope.prefix}/{scope.type}.{letter}")

    assert dead == []


def test_a_wildcard_that_writes_is_listed_for_trials_only() -> None:
    for category in REVIEWED:
        wide = [each for each in listed(category) if each.type == ANY_TYPE]
        assert {letter for each in wide for letter in letters_of(each.letters)} <= {"r", "s"}, category.name


ADMINISTRATIVE = {
    "Appointment", "AppointmentResponse", "CareTeam", "CommunicationRequest", "Coverage", "Encounter", "HealthcareService", "Location",
    "Organization", "Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Slot",
}  # fmt: skip
ASKS_LESS = {
    "scheduling": (ADMINISTRATIVE, "reads who comes when, and nothing about why"),
    "patient_communication": (ADMINISTRATIVE, "reads whom to reach and about which appointment, and nothing about why"),
}  # fmt: skip
"""Categories that read some types with less evidence than others do: which types, and why."""


def atoms() -> list[ClinicalScope]:
    return [ClinicalScope(*each) for each in product(Prefix, sorted(resource_types()), BITS)]


def asked_of(category: Category) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Return evidence and disciplines for each scope of one letter that a category admits."""
    judge = tier_judge(
        BOOK, Applicant(category.name, (), ClientAuthentication.KEY, (), (), certified_tier=None)
    )
    found = {}
    for atom in atoms():
        entry = category.entries.get(judge(atom))
        if entry is not None and all_covered((render(atom),), entry.scopes):
            found[render(atom)] = (entry.evidence, frozenset(map(str, entry.disciplines)))
    return found


def test_the_same_scope_asks_for_the_same_evidence_wherever_the_category_does_not_raise_it() -> None:
    """C20: whoever is refused in one category must not ask for less in another."""
    raised = {each.name for each in REVIEWED if each.floor is Tier.HIGH}
    asked = {each.name: asked_of(each) for each in REVIEWED}
    unequal = set()
    for (one, ones), (other, others) in product(asked.items(), repeat=2):
        for scope in ones.keys() & others.keys():
            less = not (ones[scope][0] >= others[scope][0] and ones[scope][1] >= others[scope][1])
            types, _why = ASKS_LESS.get(one, (set(), ""))
            excepted = scope.partition("/")[2].partition(".")[0] in types and scope[-1] in "rs"
            if less and other not in raised and not excepted:
                unequal.add(f"{one} asks less than {other} for {scope}")

    assert sorted(unequal) == []


def test_what_is_refused_as_order_entry_is_not_to_be_had_as_record_modification() -> None:
    writes = [atom for atom in atoms() if atom.letters & 0b1101 and LETTERS]
    orders, record = (
        BOOK.categories[name].entries[Tier.HIGH].scopes for name in ("order_entry", "record_modification")
    )
    both = [
        render(each)
        for each in writes
        if all_covered((render(each),), orders) and all_covered((render(each),), record)
    ]

    assert both == ["user/Provenance.c"]


@pytest.mark.parametrize("category", REVIEWED, ids=lambda each: each.name)
def test_whatever_needs_a_run_needs_a_drill_of_the_kill_switch(category: Category) -> None:
    """C195: the app was stopped in the sandbox, and behaved."""
    runs = [each for each in category.entries.values() if "sandbox_run" in each.evidence]

    assert all("kill_switch" in each.scenarios for each in runs)
    assert all("optional_declined" in each.scenarios for each in runs), "C211"
    assert runs or set(category.entries) == {Tier.LOW}
