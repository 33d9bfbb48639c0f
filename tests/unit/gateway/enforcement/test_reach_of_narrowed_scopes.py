"""Whatever takes a part of a scope away, the rest reaches no more at the gateway than the whole did."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.authorization.consent.permissions import parts_of
from hilum.foundation.kernel.ids import PersonId
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.fhir.visibility import VISIBILITY
from hilum.foundation.standards.smart.scopes import (
    ALL_LETTERS,
    ANY_TYPE,
    ClinicalScope,
    Prefix,
    all_covered,
    everything,
    narrow,
    parse_stored,
    types_of,
)
from hilum.gateway.enforcement.access_scope import grant_rules
from hilum.policy.matrix.models import Applicant, Book, ClientAuthentication, Tier
from hilum.policy.matrix.policy import admit
from hilum.policy.matrix.shipped import shipped_book
from tests.effort import effort
from tests.unit.gateway.enforcement.facts import TOKEN, access_of
from tests.unit.policy.matrix.books import GONE, book

BITS = (1, 2, 4, 8, 16)
DIRECTORIES = ("Practitioner", "Medication", "Organization", "Group")
DOCUMENTATION = "categories.documentation_assistance.entries"
BOOKS = (
    shipped_book(),
    book({f"{DOCUMENTATION}.moderate": GONE, f"{DOCUMENTATION}.high": GONE}),
    book({f"{DOCUMENTATION}.low.scopes": ["patient/Practitioner.rs", "patient/Condition.rs"]}),
)
texts = st.builds(
    "{}/{}.{}".format,
    st.sampled_from(Prefix),
    st.sampled_from(
        [ANY_TYPE, ANY_TYPE, *DIRECTORIES, "Condition", "Observation", "DocumentReference", "Slot"]
    ),
    st.sampled_from(["r", "rs", "s", "cu", "cruds"]),
)
wanted = st.lists(texts, min_size=1, max_size=4).map(tuple)


def reach(
    scopes: Iterable[str], role: str = "physician"
) -> frozenset[tuple[str, int, frozenset[str] | None]]:
    """Return what a token with these scopes reaches: type, letter, and whose records (None: everybody's)."""
    person = TOKEN.person if role else PersonId("")
    token = replace(TOKEN, scopes=tuple(scopes), role=role, person=person, person_patients=None)
    access = access_of(token)
    return frozenset(
        (type_, bit, rule.patients)
        for type_ in resource_types()
        for bit in BITS
        for rule in grant_rules(access, type_, bit)
    )


@pytest.mark.parametrize("scope", ["patient/*.rs", "patient/*.cruds", "user/*.rs"])
@pytest.mark.parametrize("tier", Tier)
def test_a_rise_that_withholds_part_of_a_wildcard_opens_no_directory(scope: str, tier: Tier) -> None:
    """ADR 12: shared types need a scope that names them, and no policy names them in the app's stead."""
    app = Applicant("documentation_assistance", (scope,), ClientAuthentication.KEY, certified_tier=tier)

    assert reach(admit(shipped_book(), app).scopes) <= reach((scope,))


@settings(max_examples=effort(50, 3_000), deadline=None)
@given(
    wanted,
    st.sampled_from(BOOKS),
    st.sampled_from(sorted(shipped_book().categories)),
    st.sampled_from(Tier),
    st.sampled_from(["physician", "patient", ""]),
)
def test_what_a_book_admits_reaches_no_more_than_what_was_asked_for(
    asked: tuple[str, ...], rules: Book, category: str, tier: Tier, role: str
) -> None:
    app = Applicant(category, asked, ClientAuthentication.KEY, certified_tier=tier)

    assert reach(admit(rules, app).scopes, role) <= reach(asked, role)


@settings(max_examples=effort(50, 3_000), deadline=None)
@given(wanted, wanted, st.sampled_from(["physician", "patient", ""]))
def test_what_two_sides_share_reaches_no_more_than_either(
    asked: tuple[str, ...], allowed: tuple[str, ...], role: str
) -> None:
    """Consent, installation, certification, refresh and the policy all narrow by this."""
    both = reach(narrow(asked, allowed), role)

    assert both <= reach(asked, role)
    assert both <= reach(allowed, role)


@settings(max_examples=effort(50, 3_000), deadline=None)
@given(wanted, wanted)
def test_what_is_covered_reaches_no_more(asked: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    """RFC 6749 section 6: a refresh never widens."""
    if all_covered(asked, allowed):
        assert reach(asked) <= reach(allowed)


@pytest.mark.parametrize("type_", DIRECTORIES)
def test_a_wildcard_over_a_patient_does_not_cover_a_scope_that_names_a_directory(type_: str) -> None:
    assert not all_covered((f"patient/{type_}.rs",), ("patient/*.rs",))
    assert narrow((f"patient/{type_}.rs",), ("patient/*.cruds",)) == ()
    assert narrow(("patient/*.rs",), (f"patient/{type_}.rs",)) == ()
    assert all_covered((f"user/{type_}.rs",), ("user/*.rs",))


@pytest.mark.parametrize("prefix", Prefix)
def test_consent_the_gateway_and_the_policy_divide_a_wildcard_alike(prefix: Prefix) -> None:
    wild = f"{prefix}/*.cruds"
    role = "" if prefix is Prefix.SYSTEM else "physician"
    named = [f"{prefix}/{type_}.cruds" for type_ in types_of(prefix)]

    assert set(parts_of([wild])) == set(types_of(prefix)) <= set(VISIBILITY)
    assert reach([wild], role) == reach(named, role)
    divided = admit(BOOKS[0], Applicant("unclassified", (wild,), None, certified_tier=Tier.HIGH)).scopes
    assert divided == ()
    limited = book({"categories.unclassified.entries.high": GONE})
    parts = admit(
        limited, Applicant("unclassified", (wild,), ClientAuthentication.KEY, certified_tier=Tier.HIGH)
    ).scopes
    clinical = [each for each in parse_stored(parts) if isinstance(each, ClinicalScope)]
    assert {each.type for each in clinical} <= set(types_of(prefix))
    assert all(each.letters & ALL_LETTERS for each in clinical)


@pytest.mark.parametrize("prefix", Prefix)
def test_what_is_called_everything_reaches_all_that_a_prefix_can_and_nothing_in_vain(prefix: Prefix) -> None:
    role = "" if prefix is Prefix.SYSTEM else "physician"
    named = [f"{prefix}/{type_}.cruds" for type_ in VISIBILITY]

    assert reach(everything(prefix), role) == reach(named, role)
    assert all(reach([scope], role) for scope in everything(prefix))
