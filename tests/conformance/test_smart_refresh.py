"""SMART App Launch 2.2, #refresh-access-token; RFC 6749 section 6; RFC 9700 section 4.14."""

import pytest

from tests.conformance import rules
from tests.conformance.conftest import SUITE_REDIRECT, WIDE, Stories
from tests.conformance.inferno import CONTEXT, Inferno, Launch, Order

KINDS = ["bench-public", "bench-symmetric", "bench-asymmetric"]


def fresh(suite: Inferno, client: str, scope: str = WIDE) -> Launch:
    """Launch for one test alone: refreshing replaces what a launch holds."""
    return suite.standalone(Order(client=client, scope=scope, redirect_uri=SUITE_REDIRECT))


@pytest.mark.parametrize("client", KINDS)
def test_a_refresh_without_and_with_scopes_gives_a_working_token(suite: Inferno, client: str) -> None:
    """SMART 1.5 smart_token_refresh_stu2, smart_token_refresh_body, smart_token_response_headers; (g)(10) 9.21."""
    rules.refreshing(suite, fresh(suite, client))


def test_a_practitioners_app_refreshes_too(stories: Stories) -> None:
    """(g)(10) 3.3: refresh after an EHR launch, then a read of the patient."""
    order = stories.ehr_order(scope="launch openid fhirUser offline_access user/Patient.rs")

    rules.refreshing(stories.suite, stories.suite.ehr(order))


@pytest.mark.parametrize("client", KINDS)
@pytest.mark.parametrize("token", ["3f8a4a5e-7c1f-4f0e-9d0a-6d1f0c9a2b11", "hil_rt_made_up", "x" * 2000])
def test_a_refresh_token_that_never_was_earns_nothing(stories: Stories, client: str, token: str) -> None:
    """(g)(10) 3.1 g10_invalid_token_refresh: 400 or 401."""
    kind = client.removeprefix("bench-")

    response = stories.suite.refresh(stories[f"smart standalone {kind}"], token)

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_grant"


def test_a_refresh_may_narrow_and_never_widen(suite: Inferno) -> None:
    """RFC 6749 section 6."""
    launch = fresh(suite, "bench-symmetric", f"{CONTEXT} patient/Patient.rs patient/Observation.rs")

    narrowed = suite.refresh(launch, scope=f"{CONTEXT} patient/Patient.rs")
    widened = suite.refresh(launch, narrowed.json()["refresh_token"], scope=f"{CONTEXT} patient/*.rs")

    assert "patient/Observation.rs" not in narrowed.json()["scope"].split(" ")
    token = narrowed.json()["access_token"]
    assert suite.read(token, f"Observation?patient={launch.patient}").status_code in {401, 403}
    assert (widened.status_code, widened.json()["error"]) == (400, "invalid_scope")


def test_an_old_refresh_token_shown_again_later_ends_the_whole_family(suite: Inferno) -> None:
    """RFC 9700 section 4.14.2; C50."""
    launch = fresh(suite, "bench-symmetric")
    first = suite.refresh(launch).json()
    second = suite.refresh(launch, first["refresh_token"]).json()

    replayed = suite.refresh(launch)

    assert replayed.status_code == 400
    assert suite.refresh(launch, second["refresh_token"]).status_code == 400
    assert suite.dies(second["access_token"], f"Patient/{launch.patient}")


def test_a_refresh_token_of_one_client_is_worth_nothing_to_another(suite: Inferno, stories: Stories) -> None:
    """RFC 6749 section 10.4."""
    launch = fresh(suite, "bench-public")
    form = {"grant_type": "refresh_token", "refresh_token": launch.body["refresh_token"]}

    response = suite.ask(form, suite.running.client("bench-symmetric"))

    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")


def test_without_offline_access_there_is_nothing_to_refresh_with(suite: Inferno) -> None:
    """SMART App Launch 2.2, #scopes-for-requesting-a-refresh-token."""
    launch = fresh(suite, "bench-public", "launch/patient openid fhirUser patient/*.rs")

    assert "refresh_token" not in launch.body
