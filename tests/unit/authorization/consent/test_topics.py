"""Headings of a long consent page: each type stands under one, and unticking it withholds all that stands there (C88)."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.authorization.consent import policy
from hilum.authorization.consent.policy import Consenter
from hilum.authorization.consent.words import OTHER_TOPIC, TOPICS, TYPES
from hilum.foundation.standards.smart.scopes import ANY_TYPE, ClinicalScope, parse_stored, types_of
from hilum.identity.people.policy import rights_of
from tests.effort import effort

PATIENT = Consenter(rights_of("patient"), "Patient")
EVERYTHING = ("openid", "fhirUser", "offline_access", "patient/*.cruds", "user/*.cruds")
OFFERED = policy.choices(EVERYTHING, by=PATIENT)
ALL = tuple(each.value for each in OFFERED)
HEADINGS = tuple(each.key for each in policy.topics(OFFERED))


def types_in(scopes: tuple[str, ...]) -> set[str]:
    clinical = [each for each in parse_stored(scopes) if isinstance(each, ClinicalScope)]
    return {
        type_
        for each in clinical
        for type_ in (types_of(each.prefix) if each.type == ANY_TYPE else (each.type,))
    }


def under(key: str) -> set[str]:
    return {each.type for topic in policy.topics(OFFERED) if topic.key == key for each in topic.choices}


def test_every_type_stands_under_one_heading_and_none_is_lost() -> None:
    counted = Counter(type_ for _, types in TOPICS.values() for type_ in types)

    assert set(counted.values()) == {1}
    assert set(counted) <= set(TYPES)
    shown = [each for topic in policy.topics(OFFERED) for each in topic.choices]
    assert sorted(each.value for each in shown) == sorted(each.value for each in OFFERED if each.type)


def test_a_short_page_has_no_headings_and_its_ticks_count_as_they_are() -> None:
    offered = policy.choices(("openid", "patient/Patient.rs", "patient/Observation.rs"), by=PATIENT)
    ticks = tuple(each.value for each in offered)

    assert policy.topics(offered) == ()
    assert policy.within_topics(offered, ticks, ()) == ticks


def test_a_special_scope_stands_under_no_heading() -> None:
    assert policy.within_topics(OFFERED, ("offline_access",), ()) == ("offline_access",)


@pytest.mark.parametrize("key", HEADINGS)
def test_an_unticked_heading_withholds_all_that_stands_under_it_and_nothing_else(key: str) -> None:
    ticks = policy.within_topics(OFFERED, ALL, set(HEADINGS) - {key})

    granted = types_in(policy.apply_ticks(EVERYTHING, ticks, by=PATIENT))

    assert granted.isdisjoint(under(key))
    assert granted >= {each.type for each in OFFERED if each.type} - under(key)


@pytest.mark.parametrize("text", ["patient/*.cruds", "user/*.cruds"])
def test_a_wildcard_ticked_by_hand_reaches_nothing_under_an_unticked_heading(text: str) -> None:
    assert policy.within_topics(OFFERED, (text,), set(HEADINGS) - {"medicines"}) == ()


@settings(max_examples=effort(20, 500))
@given(st.sets(st.sampled_from(ALL)), st.sets(st.sampled_from([*HEADINGS, "unknown", OTHER_TOPIC[0]])))
def test_headings_only_ever_withhold(ticks: set[str], headings: set[str]) -> None:
    within = policy.within_topics(OFFERED, sorted(ticks), headings)

    granted = types_in(policy.apply_ticks(EVERYTHING, within, by=PATIENT))
    assert set(within) <= ticks
    assert granted <= types_in(policy.apply_ticks(EVERYTHING, sorted(ticks), by=PATIENT))
    assert all(granted.isdisjoint(under(key)) for key in HEADINGS if key not in headings)


def test_with_every_heading_ticked_the_requested_strings_are_granted_unchanged() -> None:
    assert (
        policy.apply_ticks(EVERYTHING, policy.within_topics(OFFERED, ALL, HEADINGS), by=PATIENT) == EVERYTHING
    )
