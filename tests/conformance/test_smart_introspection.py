"""SMART App Launch 2.2, token-introspection; RFC 7662: what a token is worth."""

import pytest

from tests.conformance import rules
from tests.conformance.conftest import Stories
from tests.conformance.inferno import Inferno, Order, basic


@pytest.mark.parametrize(
    "story",
    [
        "smart standalone public",
        "smart standalone symmetric",
        "smart standalone asymmetric",
        "smart standalone clinician",
        "smart ehr public",
        "smart ehr symmetric",
        "g10 standalone",
        "g10 ehr",
    ],
)
def test_an_active_token_is_introspected_as_its_client_got_it(stories: Stories, story: str) -> None:
    """SMART 1.7 validate active; (g)(10) 9.20; C53."""
    rules.introspection(stories.suite, stories[story])


@pytest.mark.parametrize(
    "token", ["invalid_token_value", "hil_at_made_up", "hil_rt_made_up", "x" * 3000, "ä"]
)
def test_a_token_that_never_was_is_inactive_and_nothing_more(suite: Inferno, token: str) -> None:
    """SMART 1.7 validate invalid: 200, active false, the only member."""
    response = suite.introspect(token)

    assert response.status_code == 200
    assert response.json() == {"active": False}


def test_more_parameters_and_a_hint_do_no_harm(stories: Stories) -> None:
    """RFC 7662 section 2.1."""
    response = stories.suite.introspect(
        stories["g10 ehr"].token, token_type_hint="refresh_token", include="all"
    )

    assert response.json()["active"] is True


def test_a_confidential_client_may_ask_about_its_own_token_only(stories: Stories) -> None:
    """RFC 7662 section 4; C53."""
    endpoint = stories.suite.configuration["introspection_endpoint"]
    card = stories["g10 standalone"].client
    headers = {"authorization": basic(card["client_id"], card["secret"])}

    own = stories.suite.http.post(endpoint, data={"token": stories["g10 standalone"].token}, headers=headers)
    foreign = stories.suite.http.post(
        endpoint, data={"token": stories["smart standalone public"].token}, headers=headers
    )

    assert own.json()["active"] is True
    assert foreign.json() == {"active": False}


def test_nobody_asks_without_proving_who_they_are(stories: Stories) -> None:
    """RFC 7662 section 2.1."""
    endpoint = stories.suite.configuration["introspection_endpoint"]
    token = stories["g10 standalone"].token

    nameless = stories.suite.http.post(endpoint, data={"token": token})
    public = stories.suite.http.post(endpoint, data={"token": token, "client_id": "bench-public"})
    guessed = stories.suite.http.post(
        endpoint, data={"token": token}, headers={"authorization": basic("rs-general", "guess")}
    )

    for response in (nameless, public, guessed):
        assert response.status_code == 401
        assert "active" not in response.json()


def test_another_hospital_learns_nothing(stories: Stories) -> None:
    """C37: a token means nothing at another tenant."""
    with Inferno(stories.suite.running, "children") as other:
        assert other.introspect(stories["g10 standalone"].token).json() == {"active": False}


def test_a_refresh_token_is_active_until_it_is_used(suite: Inferno) -> None:
    """RFC 7662 section 2.2."""
    launch = suite.standalone(Order(scope="launch/patient openid fhirUser offline_access patient/Patient.rs"))
    token = launch.body["refresh_token"]

    assert suite.introspect(token).json()["active"] is True
    suite.refresh(launch)
    assert suite.introspect(token).json()["active"] is False


def test_a_revoked_token_is_inactive_at_once(suite: Inferno) -> None:
    """RFC 7009 section 2.1."""
    launch = suite.standalone(Order(scope="launch/patient openid fhirUser offline_access patient/Patient.rs"))
    card = launch.client

    revoked = suite.http.post(
        suite.configuration["revocation_endpoint"],
        data={"token": launch.token},
        headers={"authorization": basic(card["client_id"], card["secret"])},
    )

    assert revoked.status_code == 200
    assert suite.introspect(launch.token).json() == {"active": False}
    assert suite.dies(launch.token, f"Patient/{launch.patient}")
