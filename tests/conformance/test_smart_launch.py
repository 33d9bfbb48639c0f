"""SMART App Launch 2.2, app-launch: standalone and EHR launches of every kind of client, to a token response."""

import pytest

from tests.conformance import rules
from tests.conformance.conftest import SUITE_REDIRECT, WIDE, WIDE_EHR, Stories
from tests.conformance.inferno import CONTEXT, G10, HOST, Inferno, Order

STANDALONE = [
    "smart standalone public",
    "smart standalone symmetric",
    "smart standalone asymmetric",
    "smart standalone clinician",
]
EHR = ["smart ehr public", "smart ehr symmetric"]


@pytest.mark.parametrize("story", STANDALONE + EHR)
def test_the_browser_comes_back_with_a_code_and_no_error(stories: Stories, story: str) -> None:
    """SMART 1.2, 1.3 smart_app_redirect_stu2, smart_code_received; RFC 9207: the issuer comes along."""
    returned = stories[story].returned

    assert returned["code"]
    assert "error" not in returned
    assert returned["iss"] == stories.suite.configuration["issuer"]


@pytest.mark.parametrize("story", STANDALONE + EHR)
def test_the_token_response_is_whole_and_of_the_right_types(stories: Stories, story: str) -> None:
    """SMART 1.2, 1.3 smart_token_exchange_stu2_2, smart_token_response_body_stu2_2."""
    launch = stories[story]

    rules.token_body(launch.body, launch.asked)
    assert launch.body["refresh_token"]
    assert launch.body["id_token"]


@pytest.mark.parametrize("story", STANDALONE + EHR)
def test_exactly_the_scopes_that_were_asked_and_allowed_are_granted(stories: Stories, story: str) -> None:
    """SMART App Launch 2.2, #granted-scopes: nothing was unticked, so nothing is renamed or lost."""
    launch = stories[story]

    if "user/*.rs" in launch.asked:
        assert set(launch.asked.split()) - {"user/*.rs"} <= set(launch.scopes)
        assert not [scope for scope in launch.scopes if scope.startswith("patient/")]
    else:
        assert launch.scopes == launch.asked.split(" ")


@pytest.mark.parametrize("story", STANDALONE + EHR)
def test_the_token_response_is_never_kept_by_a_cache(stories: Stories, story: str) -> None:
    """SMART 1.2, 1.3 smart_token_response_headers; RFC 6749 section 5.1."""
    answer = stories[story].answer
    assert answer is not None

    rules.token_headers(answer)


@pytest.mark.parametrize(
    "story", ["smart standalone public", "smart standalone clinician", "smart ehr public"]
)
def test_a_public_client_reads_the_token_response_from_its_own_origin(stories: Stories, story: str) -> None:
    """SMART 1.2, 1.3 smart_cors_token_exchange; C26."""
    answer = stories[story].answer
    assert answer is not None

    assert answer.headers["access-control-allow-origin"] in {HOST, "*"}
    assert "access-control-allow-credentials" not in answer.headers


def test_a_preflight_of_the_token_endpoint_answers_registered_origins_only(suite: Inferno) -> None:
    """Fetch standard, CORS preflight; C26."""
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    endpoint = suite.configuration["token_endpoint"]

    mine = suite.http.options(endpoint, headers=asked | {"origin": HOST})
    foreign = suite.http.options(endpoint, headers=asked | {"origin": "https://evil.example"})

    assert mine.headers["access-control-allow-origin"] == HOST
    assert mine.status_code in {200, 204}
    assert "access-control-allow-origin" not in foreign.headers


@pytest.mark.parametrize("story", STANDALONE + EHR)
def test_the_patient_of_the_launch_is_the_one_the_token_reads(stories: Stories, story: str) -> None:
    """SMART App Launch 2.2, #launch-context-arrives-with-your-access_token."""
    rules.patient_context(stories.suite, stories[story])


def test_a_clinician_chooses_the_patient_of_a_standalone_launch(stories: Stories) -> None:
    """SMART App Launch 2.2, #requesting-context-with-scopes: the picker decides."""
    assert stories["smart standalone clinician"].patient == stories.chart


def test_the_aud_of_an_authorization_may_end_with_a_slash(suite: Inferno) -> None:
    """(g)(10) 0.6: the base URL as the tester typed it."""
    order = Order(
        client="bench-public",
        scope=WIDE,
        redirect_uri=SUITE_REDIRECT,
        redeem=False,
        changes={"aud": f"{suite.fhir}/"},
    )

    assert suite.standalone(order).returned["code"]


def test_a_standalone_launch_may_be_asked_by_post(suite: Inferno) -> None:
    """SMART 1.2 smart_app_redirect_stu2: the tester may pick POST; SMART App Launch 2.2, authorize-post."""
    order = Order(client="bench-public", scope=WIDE, redirect_uri=SUITE_REDIRECT, post=True)

    rules.patient_context(suite, suite.standalone(order))


def test_scopes_may_be_pasted_over_several_lines(suite: Inferno) -> None:
    """SMART 1.2: a suite sends the text field in which a tester typed the scopes as it is; the answer has single spaces (RFC 6749 section 3.3)."""
    launch = suite.standalone(Order(scope=f"{CONTEXT}\r\npatient/Patient.rs\n\tpatient/Condition.rs\n"))

    assert launch.body["scope"] == f"{CONTEXT} patient/Patient.rs patient/Condition.rs"


@pytest.mark.parametrize("aud", ["https://inferno.healthit.gov/invalid_aud", "", "{other}", "{fhir}/Patient"])
def test_an_authorization_for_another_audience_gives_no_code(suite: Inferno, aud: str) -> None:
    """(g)(10) 9.4; SMART App Launch 2.2, #obtain-authorization-code; C37."""
    aud = aud.format(other=suite.running.tenant("children")["fhir"], fhir=suite.fhir)

    launch = suite.standalone(Order(scope=WIDE, redeem=False, changes={"aud": aud}))

    assert "code" not in launch.returned
    assert launch.returned["error"] == "invalid_request"


def test_a_person_who_denies_gives_no_code(suite: Inferno) -> None:
    """RFC 6749 section 4.1.2.1; (g)(10) 3.7: it is the person who authorizes."""
    launch = suite.standalone(Order(scope=WIDE, redeem=False, decision="deny"))

    assert "code" not in launch.returned
    assert launch.returned["error"] == "access_denied"


def test_a_person_who_unticks_everything_shares_nothing_of_the_record(
    suite: Inferno, stories: Stories
) -> None:
    """SMART App Launch 2.2, #granted-scopes: what is granted is what the person left ticked."""
    launch = stories.declining(Order(scope=WIDE, keep=lambda _: False))

    assert not [scope for scope in launch.scopes if scope.startswith("patient/")]
    assert "offline_access" not in launch.scopes
    assert "refresh_token" not in launch.body
    assert suite.read(launch.token, f"Observation?patient={launch.patient}").status_code in {401, 403}


@pytest.mark.parametrize(
    ("name", "value"),
    [("response_type", "token"), ("code_challenge_method", "plain"), ("code_challenge", ""), ("scope", "")],
)
def test_a_request_against_the_rules_gives_no_code(suite: Inferno, name: str, value: str) -> None:
    """SMART App Launch 2.2, #considerations-for-pkce-support; RFC 6749 section 4.1.2.1."""
    launch = suite.standalone(Order(scope=WIDE, redeem=False, changes={name: value}))

    assert "code" not in launch.returned
    assert launch.returned["error"]


def test_a_redirect_uri_that_is_only_like_a_registered_one_is_never_followed(suite: Inferno) -> None:
    """(g)(10) 0.1: the match is exact; RFC 9700 section 2.1."""
    for wrong in (
        f"{G10}/redirect/",
        f"{G10}/redirect?more=1",
        f"{G10}/redirecting",
        "https://evil.example/redirect",
    ):
        order = Order(scope=WIDE, redeem=False, redirect_uri=wrong)
        assert suite.standalone(order).returned == {}


def test_a_launch_that_the_ehr_never_opened_gives_no_code(suite: Inferno, stories: Stories) -> None:
    """SMART App Launch 2.2, #ehr-launch; C31."""
    order = stories.ehr_order(scope=WIDE_EHR, redeem=False, changes={"launch": "never-opened"})

    launch = suite.standalone(order)

    assert "code" not in launch.returned
    assert launch.returned["error"] == "invalid_request"
