"""ONC (g)(10) groups 1 to 3: a patient's own app, the same with less consent, and a practitioner's app in the EHR."""

import pytest

from tests.conformance import rules
from tests.conformance.conftest import ALL_PATIENT, Stories
from tests.conformance.inferno import G10, SEARCHES, TYPES, Inferno, Launch, Order

FULL = ["g10 standalone", "g10 standalone clinician", "g10 ehr", "g10 v1"]
SHARED = ("Patient", "Condition", "Observation")
"""What the tester leaves ticked in the second group."""
UNRESTRICTED = (
    "AllergyIntolerance", "CarePlan", "CareTeam", "Condition", "Device", "DiagnosticReport", "DocumentReference", "Encounter",
    "Goal", "Immunization", "MedicationRequest", "Observation", "Organization", "Procedure", "Patient", "Practitioner",
    "Provenance", "ServiceRequest", "Coverage", "MedicationDispense",
)  # fmt: skip
CODE_FIRST = (
    "82810-3", "86645-9", "11341-5", "72166-2", "9279-1", "8867-4", "8310-5", "8302-2", "29463-7", "39156-5", "59408-5", "85354-9",
)  # fmt: skip
"""What an adult's observations are searched by."""


def statuses(suite: Inferno, launch: Launch) -> dict[str, int]:
    """Search each type once."""
    return {
        name: suite.read(launch.token, path.format(patient=launch.patient)).status_code
        for name, path in SEARCHES.items()
    }


# --- group 1: standalone, full access; also 9.22, the same with v1 scopes -------------------------------------------------------


@pytest.mark.parametrize("story", ["g10 standalone", "g10 standalone clinician", "g10 v1"])
def test_the_token_response_of_a_patient_app_is_whole(stories: Stories, story: str) -> None:
    """(g)(10) 3.1, 9.22: SMART 1.2 for a confidential client."""
    launch = stories[story]
    assert launch.answer is not None

    rules.token_headers(launch.answer)
    rules.token_body(launch.body, launch.asked.replace(".read", ".rs"))


@pytest.mark.parametrize("story", ["g10 standalone", "g10 standalone clinician", "g10 v1"])
def test_context_scopes_come_back_as_asked_and_clinical_ones_cover_the_data_classes(
    stories: Stories, story: str
) -> None:
    """(g)(10) 3.1 g10_smart_scopes, 9.22; pitfall 1: v2 letters in answer to v2."""
    launch = stories[story]

    assert {"openid", "fhirUser", "launch/patient", "offline_access"} <= set(launch.scopes)
    rules.clinical_scopes(launch, prefixes={"patient"})
    granted = {scope.partition("/")[2].partition(".")[0] for scope in launch.scopes}
    assert set(UNRESTRICTED) <= granted


@pytest.mark.parametrize("story", FULL)
def test_the_patient_is_readable_with_the_token_and_401_without(stories: Stories, story: str) -> None:
    """(g)(10) 3.1, 3.3, 9.22 g10_patient_context, g10_unauthorized_access."""
    rules.patient_context(stories.suite, stories[story])


@pytest.mark.parametrize("story", FULL)
def test_every_type_that_was_granted_answers_its_search(stories: Stories, story: str) -> None:
    """(g)(10) 3.1, 9.22 g10_unrestricted_resource_type_access: 200, empty or not."""
    found = statuses(stories.suite, stories[story])

    assert found == dict.fromkeys(SEARCHES, 200)


@pytest.mark.parametrize("path", [path for name, path in SEARCHES.items() if name != "Patient"])
def test_a_search_by_reference_finds_what_a_search_by_id_finds(stories: Stories, path: str) -> None:
    """(g)(10) 3.4: patient=Patient/{id}, and POST _search, answer as patient={id} does."""
    launch, suite = stories["g10 standalone"], stories.suite
    resource_type, _, query = path.partition("?")

    by_id = suite.read(launch.token, path.format(patient=launch.patient)).json()
    by_reference = suite.read(launch.token, path.format(patient=f"Patient/{launch.patient}")).json()
    parameters = dict(pair.split("=") for pair in query.format(patient=launch.patient).split("&"))
    posted = suite.post_search(launch.token, resource_type, parameters).json()

    for other in (by_reference, posted):
        assert [each["resource"]["id"] for each in other.get("entry", [])] == [
            each["resource"]["id"] for each in by_id.get("entry", [])
        ]


@pytest.mark.parametrize("code", CODE_FIRST)
def test_a_search_by_code_brings_along_provenance_that_is_then_readable(stories: Stories, code: str) -> None:
    """(g)(10) 3.4: each profile that is searched by code has a Provenance in its first search, and its references are read."""
    launch, suite = stories["g10 standalone"], stories.suite
    query = f"Observation?patient={launch.patient}&code={code}&_revinclude=Provenance:target"

    entries = suite.read(launch.token, query).json()["entry"]

    found = [each["resource"] for each in entries if each["resource"]["resourceType"] == "Provenance"]
    assert found
    assert [suite.read(launch.token, f"Provenance/{each['id']}").status_code for each in found] == [
        200 for _ in found
    ]


@pytest.mark.parametrize(
    "accept",
    [
        "application/fhir+json",
        "application/fhir+json; charset=utf-8",
        "application/json",
        "*/*",
        "text/html, */*;q=0.5",
    ],
)
def test_every_usual_way_to_accept_json_gets_it(stories: Stories, accept: str) -> None:
    """(g)(10) 0.4; FHIR R4, http#mime-type."""
    launch = stories["g10 standalone"]

    read = stories.suite.read(launch.token, f"Patient/{launch.patient}", accept=accept)

    assert read.status_code == 200
    assert read.headers["content-type"].partition(";")[0] in {"application/fhir+json", "application/json"}


def test_the_user_sees_that_access_continues_while_away(stories: Stories) -> None:
    """(g)(10) 3.7 point 4: offline_access is said, and can be declined."""
    consent = stories["g10 standalone"].pages[-1]

    assert "while you are away" in consent
    assert 'value="offline_access"' in consent


# --- group 2: limited access ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def limited(stories: Stories) -> Launch:
    """Untick every resource type but three."""
    kept = tuple(f"patient/{each}." for each in SHARED)
    order = Order(scope=ALL_PATIENT, keep=lambda tick: tick.startswith(kept) or "/" not in tick)
    return stories.declining(order)


def test_only_the_types_left_ticked_are_granted(limited: Launch) -> None:
    """(g)(10) 3.2 g10_limited_scope_grant; contract: a type with all its categories ticked keeps the resource-level scope."""
    clinical = {scope for scope in limited.scopes if scope.startswith(("patient/", "user/"))}

    assert clinical == {f"patient/{each}.rs" for each in SHARED}
    assert {"openid", "fhirUser", "launch/patient", "offline_access"} <= set(limited.scopes)


def test_the_patient_is_still_readable(suite: Inferno, limited: Launch) -> None:
    """(g)(10) 3.2 g10_patient_context."""
    rules.patient_context(suite, limited)


def test_types_left_out_are_refused_and_not_merely_empty(suite: Inferno, limited: Launch) -> None:
    """(g)(10) 3.2 g10_restricted_resource_type_access: 401 or 403."""
    found = statuses(suite, limited)

    assert {name for name, status in found.items() if status == 200} == set(SHARED)
    assert {status for name, status in found.items() if name not in SHARED} == {403}


def test_a_refusal_is_an_operation_outcome(suite: Inferno, limited: Launch) -> None:
    """Contract, errors: FHIR refusals are OperationOutcomes."""
    refused = suite.read(limited.token, f"Procedure?patient={limited.patient}")

    assert refused.json()["resourceType"] == "OperationOutcome"
    assert refused.headers["content-type"].startswith("application/fhir+json")


def test_refreshing_gives_nothing_back_that_was_unticked(suite: Inferno, limited: Launch) -> None:
    """(g)(10) 3.2: the narrower grant stays so; RFC 6749 section 6."""
    body = suite.refresh(limited).json()

    assert sorted(body["scope"].split()) == sorted(limited.scopes)
    assert suite.read(body["access_token"], f"Procedure?patient={limited.patient}").status_code == 403


def test_unticking_a_type_of_a_wildcard_leaves_the_others_by_name(suite: Inferno, stories: Stories) -> None:
    """(g)(10) 3.2 with patient/*.rs; contract: a wildcard with a type unticked becomes the remaining types."""
    scope = "launch/patient openid fhirUser offline_access patient/*.rs"
    launch = stories.declining(
        Order(scope=scope, keep=lambda tick: not tick.startswith("patient/Immunization."))
    )

    assert "patient/*.rs" not in launch.scopes
    assert "patient/Condition.rs" in launch.scopes
    assert not [each for each in launch.scopes if each.startswith("patient/Immunization.")]
    found = statuses(suite, launch)
    assert {name for name, status in found.items() if status != 200} == {"Immunization"}


# --- group 3: a practitioner's app in the EHR ----------------------------------------------------------------------------------


def test_an_ehr_launch_by_post_grants_user_scopes_and_no_others(stories: Stories) -> None:
    """(g)(10) 3.3 g10_smart_scopes: POST authorize; no patient/ scope is ever added."""
    launch = stories["g10 ehr"]

    assert {"openid", "fhirUser", "launch", "offline_access"} <= set(launch.scopes)
    rules.clinical_scopes(launch, prefixes={"user"})
    assert not [scope for scope in launch.scopes if scope.startswith("patient/")]
    assert {f"user/{each}.rs" for each in TYPES} <= set(launch.scopes)


def test_an_ehr_launch_returns_its_encounter_which_can_be_read(stories: Stories) -> None:
    """(g)(10) 3.3 g10_encounter_context."""
    launch = stories["g10 ehr"]

    assert (launch.patient, launch.body["encounter"]) == (stories.chart, stories.encounter)
    read = stories.suite.read(launch.token, f"Encounter/{stories.encounter}")
    assert (read.status_code, read.json()["id"]) == (200, stories.encounter)


@pytest.mark.parametrize("client", ["bench-symmetric", "bench-public", "bench-asymmetric"])
def test_a_launch_by_the_simulator_has_an_encounter_though_the_tester_names_none(
    stories: Stories, client: str
) -> None:
    """(g)(10) 3.3 g10_encounter_context: a tester who launches the suite's own address need not know any encounter."""
    scope = "launch openid fhirUser offline_access user/Encounter.rs user/Patient.rs"
    order = stories.ehr_order(client=client, scope=scope, redirect_uri=f"{G10}/redirect", post=True)

    launch = stories.suite.ehr(order, through_simulator=True)

    assert launch.body["encounter"] == stories.encounter
    read = stories.suite.read(launch.token, f"Encounter/{launch.body['encounter']}")
    assert (read.status_code, read.json()["subject"]["reference"]) == (200, f"Patient/{launch.patient}")


@pytest.mark.parametrize("person", ["", "dr.adeyemi"])
def test_the_simulator_launches_with_a_client_and_a_patient_alone(suite: Inferno, person: str) -> None:
    """SMART 1.3 smart_app_launch: whoever is not named is who opens a chart there first, a clinician."""
    chart, address = suite.running.patient(suite.tenant)["id"], f"{G10}/launch"
    query = {"tenant": suite.tenant, "client": "bench-symmetric", "patient": chart, "launch_uri": address}
    query |= {"person": person} if person else {}
    begun = suite.http.get(f"{suite.running.sandbox}/sandbox/launch", params=query)

    arrived = suite.http.get(begun.headers["location"])

    assert begun.status_code == arrived.status_code == 303
    assert arrived.headers["location"].startswith(f"{address}?iss=")


def test_the_simulator_launches_no_client_that_is_not_named(suite: Inferno) -> None:
    """C24: unknown means no."""
    for query in ({}, {"tenant": "general"}, {"tenant": "general", "client": "no-such-client"}):
        answer = suite.http.get(f"{suite.running.sandbox}/sandbox/launch", params=query)
        assert answer.status_code in {400, 404, 422}, query
        assert "location" not in answer.headers


def test_a_patient_without_encounters_is_launched_without_one(stories: Stories) -> None:
    """SMART App Launch 2.2, #launch-context-arrives-with-your-access_token: no encounter where there is none."""
    scope = "launch openid fhirUser user/Patient.rs"
    order = stories.ehr_order(scope=scope, patient="gen-pat-empty-quinn", redirect_uri=f"{G10}/redirect")

    launch = stories.suite.ehr(order, through_simulator=True)

    assert launch.patient == "gen-pat-empty-quinn"
    assert "encounter" not in launch.body


def test_the_style_of_the_ehr_is_public_json(stories: Stories) -> None:
    """(g)(10) 3.3 smart_style_url; SMART App Launch 2.2, #styling."""
    found = stories.suite.http.get(stories["g10 ehr"].body["smart_style_url"])

    assert found.status_code == 200
    assert found.headers["content-type"].startswith("application/json")
    assert found.json()["color_background"].startswith("#")


@pytest.mark.parametrize("story", ["g10 ehr", "smart ehr public"])
def test_an_ehr_launch_says_whether_a_patient_banner_is_needed(stories: Stories, story: str) -> None:
    """(g)(10) 3.3 need_patient_banner."""
    assert type(stories[story].body["need_patient_banner"]) is bool


def test_a_practitioners_app_reads_beyond_the_patient_of_the_launch_where_the_role_may(
    stories: Stories,
) -> None:
    """SMART App Launch 2.2, #user-level-scopes: user/ is what the person may see, not what the chart shows."""
    launch = stories["g10 ehr"]
    other = next(
        each["id"]
        for each in stories.suite.running.card["patients"]
        if each["tenant"] == "general" and each["id"] != launch.patient and each["encounters"]
    )

    assert stories.suite.read(launch.token, f"Patient/{other}").status_code == 200
