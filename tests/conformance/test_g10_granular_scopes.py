"""ONC (g)(10) 9.23 and 9.26: scopes finer than a resource type, asked by the app or chosen by the person."""

from collections.abc import Mapping
from typing import Any

import pytest

from tests.conformance.conftest import ALL_PATIENT, Stories
from tests.conformance.inferno import CONTEXT, Inferno, Launch, Order

CONDITION = "http://terminology.hl7.org/CodeSystem/condition-category"
US_CONDITION = "http://hl7.org/fhir/us/core/CodeSystem/condition-category"
OBSERVATION = "http://terminology.hl7.org/CodeSystem/observation-category"
US_CATEGORY = "http://hl7.org/fhir/us/core/CodeSystem/us-core-category"
SETS: dict[str, dict[str, tuple[str, ...]]] = {
    "set 1": {
        "Condition": (f"{CONDITION}|encounter-diagnosis", f"{US_CONDITION}|health-concern"),
        "Observation": (f"{OBSERVATION}|laboratory", f"{OBSERVATION}|social-history"),
    },
    "set 2": {
        "Condition": (f"{CONDITION}|problem-list-item",),
        "Observation": (f"{OBSERVATION}|vital-signs", f"{OBSERVATION}|survey", f"{US_CATEGORY}|sdoh"),
    },
}
OFFERED = {
    "Condition": (
        f"{CONDITION}|encounter-diagnosis",
        f"{CONDITION}|problem-list-item",
        f"{US_CONDITION}|health-concern",
    ),
    "Observation": (
        f"{OBSERVATION}|procedure",
        f"{OBSERVATION}|laboratory",
        f"{OBSERVATION}|social-history",
        f"{US_CATEGORY}|sdoh",
        f"{OBSERVATION}|survey",
        f"{OBSERVATION}|vital-signs",
    ),
}
Granted = Mapping[str, tuple[str, ...]]


def granular(granted: Granted) -> list[str]:
    return [f"patient/{name}.rs?category={each}" for name, codes in granted.items() for each in codes]


def categories(resource: dict[str, Any]) -> set[str]:
    return {
        f"{coding.get('system')}|{coding['code']}"
        for category in resource.get("category", [])
        for coding in category.get("coding", [])
    }


@pytest.fixture(scope="module")
def whole(stories: Stories) -> Launch:
    """The run with resource-level scopes, whose results are the measure."""
    return stories.suite.standalone(Order(scope=ALL_PATIENT, person="physician", patient=stories.chart))


@pytest.fixture(scope="module", params=list(SETS))
def narrow(request: pytest.FixtureRequest, stories: Stories) -> tuple[Granted, Launch]:
    granted = SETS[request.param]
    scope = " ".join([CONTEXT, "patient/Patient.rs", *granular(granted)])
    order = Order(scope=scope, person="physician", patient=stories.chart)
    return granted, stories.suite.standalone(order)


def everything(stories: Stories, token: str, resource_type: str) -> list[dict[str, Any]]:
    return stories.suite.resources(token, resource_type, {"patient": stories.chart, "_count": "1000"})


def test_the_granular_scopes_are_granted_verbatim_and_nothing_wider(narrow: tuple[Granted, Launch]) -> None:
    """(g)(10) 9.23 us_core_granted_granular_scopes."""
    granted, launch = narrow

    assert set(granular(granted)) <= set(launch.scopes)
    assert not {"patient/Condition.rs", "patient/Observation.rs", "patient/*.rs"} & set(launch.scopes)


@pytest.mark.parametrize("resource_type", ["Condition", "Observation"])
def test_a_search_finds_exactly_what_matches_some_granted_category(
    stories: Stories, whole: Launch, narrow: tuple[Granted, Launch], resource_type: str
) -> None:
    """(g)(10) 9.23: none missing, none extra, the scopes of one type OR-ed, paging included."""
    granted, launch = narrow
    allowed = set(granted[resource_type])
    before = everything(stories, whole.token, resource_type)
    expected = {each["id"] for each in before if categories(each) & allowed}

    found = {each["id"] for each in everything(stories, launch.token, resource_type)}
    paged = {
        each["id"]
        for each in stories.suite.resources(
            launch.token, resource_type, {"patient": stories.chart, "_count": "40"}
        )
    }

    assert expected
    assert found == expected
    assert paged == expected
    assert expected < {each["id"] for each in before}


@pytest.mark.parametrize("by", ["GET", "POST"])
@pytest.mark.parametrize("resource_type", ["Condition", "Observation"])
def test_a_search_by_category_gives_all_of_a_granted_one_and_nothing_outside(
    stories: Stories, whole: Launch, narrow: tuple[Granted, Launch], resource_type: str, by: str
) -> None:
    """(g)(10) 9.23: patient+category by GET and by POST."""
    granted, launch = narrow
    allowed = set(granted[resource_type])
    before = everything(stories, whole.token, resource_type)
    there = {code for each in before for code in categories(each)}

    assert there & allowed
    assert there - allowed, "nothing outside what was granted, so nothing is proved"
    for category in there:
        parameters = {"patient": stories.chart, "category": category, "_count": "1000"}
        expected = {
            each["id"] for each in before if category in categories(each) and categories(each) & allowed
        }
        if by == "GET":
            found = stories.suite.resources(launch.token, resource_type, parameters)
        else:
            bundle = stories.suite.post_search(launch.token, resource_type, parameters).json()
            found = [entry["resource"] for entry in bundle.get("entry", [])]
        assert {each["id"] for each in found} == expected, category


def test_searches_by_code_and_date_keep_to_the_granted_categories(
    stories: Stories, whole: Launch, narrow: tuple[Granted, Launch]
) -> None:
    """(g)(10) 9.23: Observation patient+code, patient+category+date."""
    granted, launch = narrow
    allowed = set(granted["Observation"])
    before = everything(stories, whole.token, "Observation")
    codes = {each["code"]["coding"][0]["code"]: bool(categories(each) & allowed) for each in before}

    for code in [next(c for c, within in codes.items() if within == wanted) for wanted in (True, False)]:
        found = stories.suite.resources(
            launch.token, "Observation", {"patient": stories.chart, "code": code, "_count": "1000"}
        )
        expected = [
            each
            for each in before
            if categories(each) & allowed and code in {c["code"] for c in each["code"]["coding"]}
        ]
        assert {each["id"] for each in found} == {each["id"] for each in expected}
    category = granted["Observation"][0]
    dated = {
        "patient": stories.chart,
        "category": category,
        "date": "gt1900-01-01T00:00:00+00:00",
        "_count": "1000",
    }
    found = stories.suite.resources(launch.token, "Observation", dated)
    assert {each["id"] for each in found} == {each["id"] for each in before if category in categories(each)}


@pytest.mark.parametrize("resource_type", ["Condition", "Observation"])
def test_a_read_keeps_to_the_granted_categories(
    stories: Stories, whole: Launch, narrow: tuple[Granted, Launch], resource_type: str
) -> None:
    """(g)(10) 9.23: one resource per granted category is 200; one of none of them is not."""
    granted, launch = narrow
    before = everything(stories, whole.token, resource_type)

    for category in granted[resource_type]:
        inside = next(each["id"] for each in before if category in categories(each))
        assert stories.suite.read(launch.token, f"{resource_type}/{inside}").status_code == 200
    outside = next(each["id"] for each in before if not categories(each) & set(granted[resource_type]))
    refused = stories.suite.read(launch.token, f"{resource_type}/{outside}")
    assert refused.status_code in {403, 404}
    assert refused.json()["resourceType"] == "OperationOutcome"


# --- chosen by the person ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chosen(stories: Stories) -> Launch:
    """Ask for whole types; the person leaves one category of each."""
    kept = {
        f"patient/Condition.rs?category={CONDITION}|problem-list-item",
        f"patient/Observation.rs?category={OBSERVATION}|laboratory",
    }
    scope = f"{CONTEXT} patient/Condition.rs patient/Observation.rs patient/Patient.rs"
    order = Order(
        scope=scope, keep=lambda tick: tick in kept or tick in {"patient/Patient.rs", "offline_access"}
    )
    return stories.declining(order)


@pytest.mark.parametrize("resource_type", ["Condition", "Observation"])
def test_the_consent_page_offers_every_category_that_certification_names(
    chosen: Launch, resource_type: str
) -> None:
    """(g)(10) 9.26 and 3.7: also clinical tests, category procedure."""
    consent = chosen.pages[-1]

    for category in OFFERED[resource_type]:
        assert f'value="patient/{resource_type}.rs?category={category}"' in consent, category


def test_what_the_person_chose_replaces_the_whole_types(chosen: Launch) -> None:
    """(g)(10) 9.26."""
    assert {"openid", "fhirUser", "launch/patient", "offline_access", "patient/Patient.rs"} <= set(
        chosen.scopes
    )
    assert not {"patient/Condition.rs", "patient/Observation.rs"} & set(chosen.scopes)
    assert f"patient/Condition.rs?category={CONDITION}|problem-list-item" in chosen.scopes
    assert f"patient/Observation.rs?category={OBSERVATION}|laboratory" in chosen.scopes
    assert len([scope for scope in chosen.scopes if "?" in scope]) == 2


def test_the_choice_is_enforced(suite: Inferno, chosen: Launch) -> None:
    """(g)(10) 9.26 with 9.23: what was not chosen is not found."""
    found = suite.resources(chosen.token, "Observation", {"patient": chosen.patient, "_count": "1000"})
    vitals = suite.resources(
        chosen.token, "Observation", {"patient": chosen.patient, "category": "vital-signs"}
    )

    assert found
    assert all(f"{OBSERVATION}|laboratory" in categories(each) for each in found)
    assert not vitals


def test_a_refresh_repeats_the_chosen_scopes(suite: Inferno, chosen: Launch) -> None:
    """(g)(10) 9.26; pitfall 1: granular scopes are echoed verbatim."""
    body = suite.refresh(chosen, scope=chosen.body["scope"]).json()

    assert sorted(body["scope"].split()) == sorted(chosen.scopes)
