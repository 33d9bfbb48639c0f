"""ONC (g)(10) group 9: public client, revocation, invalid requests, PKCE, asymmetric client, scopes chosen piece by piece."""

import uuid

import pytest

from tests.conformance import rules
from tests.conformance.conftest import ALL_PATIENT, Stories
from tests.conformance.inferno import CONTEXT, G10, Inferno, Launch, Order, basic, challenge_of

SMALL = f"{CONTEXT} patient/Patient.rs"


def test_a_public_client_launches_and_reads(suite: Inferno) -> None:
    """(g)(10) 9.16 g10_public_standalone_launch_stu2_2."""
    launch = suite.standalone(Order(client="bench-public", scope=ALL_PATIENT))

    rules.token_body(launch.body, launch.asked)
    rules.patient_context(suite, launch)
    rules.openid(suite, launch)
    assert "fhirContext" not in launch.body


def test_removing_an_app_ends_its_access_and_its_refresh_token_at_once(suite: Inferno) -> None:
    """(g)(10) 9.3: at the patient's request, on the connected-apps page; C91, C93."""
    with Inferno(suite.running, "clinic") as clinic:
        launch = clinic.standalone(Order(scope=ALL_PATIENT))
        refreshed = clinic.refresh(launch).json()
        assert clinic.read(refreshed["access_token"], f"Patient/{launch.patient}").status_code == 200

        clinic.connected_apps("patient", "Testbench")

        for token in (launch.token, refreshed["access_token"]):
            assert clinic.dies(token, f"Patient/{launch.patient}")
            assert clinic.introspect(token).json() == {"active": False}
        refused = clinic.refresh(launch, refreshed["refresh_token"])
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")


def test_an_invalid_aud_gives_no_code(suite: Inferno) -> None:
    """(g)(10) 9.4: an error is returned, and no code."""
    changes = {"aud": "https://inferno.healthit.gov/invalid_aud"}
    launch = suite.standalone(Order(scope=ALL_PATIENT, redeem=False, changes=changes))

    assert "code" not in launch.returned
    assert launch.returned["error"]


def test_a_bad_code_is_400_exactly(suite: Inferno) -> None:
    """(g)(10) 9.17; RFC 6749 section 5.2."""
    launch = suite.standalone(Order(scope=SMALL, redeem=False))

    response = suite.redeem(launch, code="BAD_CODE")

    assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
    rules.token_headers(response)


def test_a_bad_client_is_refused_and_the_code_stays_good_for_its_owner(suite: Inferno) -> None:
    """(g)(10) 9.17: 400 or 401; RFC 6749 section 5.2 (invalid_client with a challenge)."""
    launch = suite.standalone(Order(scope=SMALL, redeem=False))
    form = {
        "grant_type": "authorization_code",
        "code": launch.returned["code"],
        "redirect_uri": f"{G10}/redirect",
    }
    form["code_verifier"] = launch.verifier

    response = suite.http.post(
        suite.configuration["token_endpoint"],
        data=form,
        headers={"authorization": basic("BAD_CLIENT_ID", launch.client["secret"])},
    )

    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")
    assert response.headers["www-authenticate"].startswith("Basic")
    assert suite.redeem(launch).status_code == 200


def test_a_wrong_secret_is_refused(suite: Inferno) -> None:
    """RFC 6749 section 5.2."""
    card = dict(suite.running.client("bench-symmetric")) | {"secret": "guess"}

    response = suite.ask({"grant_type": "authorization_code", "code": "any"}, card)

    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize("wrong", ["missing", "empty", "random", "the challenge itself"])
@pytest.mark.parametrize("client", ["bench-symmetric", "bench-public"])
def test_a_code_without_its_own_verifier_earns_nothing(suite: Inferno, client: str, wrong: str) -> None:
    """(g)(10) 9.18: four launches, each refused with 400 or 401; RFC 7636 section 4.6."""
    launch = suite.standalone(Order(client=client, scope=SMALL, redeem=False))
    verifier = {
        "missing": None,
        "empty": "",
        "random": f"{uuid.uuid4()}-{uuid.uuid4()}",
        "the challenge itself": challenge_of(launch.verifier),
    }[wrong]

    response = suite.redeem(launch, code_verifier=verifier)

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_grant"


def test_a_code_is_good_once_and_its_tokens_die_when_it_comes_again(suite: Inferno) -> None:
    """RFC 6749 section 4.1.2; RFC 9700 section 2.1.1."""
    launch = suite.standalone(Order(scope=f"{SMALL} offline_access"))
    # Its answer has evidently arrived (ADR 163).
    assert suite.refresh(launch).status_code == 200

    again = suite.redeem(launch)

    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert suite.dies(launch.token, f"Patient/{launch.patient}")


def test_an_ehr_launch_with_a_patient_scope_grants_exactly_that(stories: Stories) -> None:
    """(g)(10) 9.19."""
    scope = "launch openid fhirUser offline_access patient/Patient.rs"
    launch = stories.suite.ehr(stories.ehr_order(scope=scope), encounter=stories.encounter)

    assert launch.scopes == scope.split(" ")
    rules.patient_context(stories.suite, launch)


def test_introspection_of_an_ehr_launch_returns_what_its_client_got(stories: Stories) -> None:
    """(g)(10) 9.20."""
    rules.introspection(stories.suite, stories["g10 ehr"])


def test_an_asymmetric_client_launches_reads_and_refreshes(suite: Inferno) -> None:
    """(g)(10) 9.21: no client_id in the body, the assertion says it all; an unknown refresh token is 400 or 401."""
    launch = suite.standalone(Order(client="bench-asymmetric", scope=ALL_PATIENT))

    rules.patient_context(suite, launch)
    rules.openid(suite, launch)
    rules.refreshing(suite, launch)
    assert suite.refresh(launch, str(uuid.uuid4())).status_code == 400


def test_a_client_of_keys_cannot_pass_without_its_assertion(suite: Inferno) -> None:
    """SMART App Launch 2.2, client-confidential-asymmetric: a registered method is the only one."""
    launch = suite.standalone(Order(client="bench-asymmetric", scope=SMALL, redeem=False))
    public = launch.client | {"type": "public"}

    response = suite.redeem(Launch(**(vars(launch) | {"client": public})))

    assert response.status_code in {400, 401}
    assert response.json()["error"] == "invalid_client"


@pytest.mark.parametrize("form", ["patient/Patient.read", "patient/Patient.*", "patient/*.read"])
def test_v1_scopes_are_understood(suite: Inferno, form: str) -> None:
    """(g)(10) 9.22; SMART App Launch 2.2, #scopes-for-requesting-fhir-resources (v1)."""
    launch = suite.standalone(Order(scope=f"{CONTEXT} {form}"))

    rules.patient_context(suite, launch)
    assert {"openid", "fhirUser", "launch/patient", "offline_access"} <= set(launch.scopes)
