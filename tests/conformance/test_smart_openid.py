"""SMART App Launch 2.2, #scopes-for-requesting-identity-data; OpenID Connect Core 1.0: who the user is."""

import pytest
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tests.conformance import rules
from tests.conformance.conftest import WIDE, Stories
from tests.conformance.inferno import HOST, Inferno, Order

STORIES = [
    "smart standalone public",
    "smart standalone asymmetric",
    "smart standalone clinician",
    "smart ehr public",
    "smart ehr symmetric",
    "g10 standalone",
    "g10 ehr",
]


@pytest.mark.parametrize("story", STORIES)
def test_the_id_token_verifies_and_names_a_resource_that_its_token_reads(
    stories: Stories, story: str
) -> None:
    """SMART 1.4 smart_openid_decode_id_token to smart_openid_fhir_user_claim; C44."""
    rules.openid(stories.suite, stories[story])


def test_the_openid_configuration_stands_where_the_issuer_says(suite: Inferno) -> None:
    """SMART 1.4 smart_openid_retrieve_configuration, smart_openid_required_configuration_fields."""
    found = suite.http.get(f"{suite.running.tenant()['issuer']}/.well-known/openid-configuration")

    told = found.json()
    assert found.status_code == 200
    assert found.headers["content-type"].startswith("application/json")
    assert told["issuer"] == suite.running.tenant()["issuer"]
    for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
        assert told[name] == suite.configuration[name]
    assert "code" in told["response_types_supported"]
    assert told["subject_types_supported"] == ["public"]
    assert "RS256" in told["id_token_signing_alg_values_supported"]


def test_rfc_8414_metadata_stands_at_its_own_address_and_agrees(suite: Inferno) -> None:
    """RFC 8414 section 3.1."""
    told = suite.http.get(
        f"{suite.running.base}/.well-known/oauth-authorization-server/t/{suite.tenant}"
    ).json()

    for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "introspection_endpoint"):
        assert told[name] == suite.configuration[name], name


def test_the_key_set_holds_public_rsa_keys_only(suite: Inferno) -> None:
    """SMART 1.4 smart_openid_retrieve_jwks."""
    found = suite.http.get(suite.configuration["jwks_uri"])

    keys = found.json()["keys"]
    assert found.status_code == 200
    assert any(key["kty"] == "RSA" for key in keys)
    assert all(not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key) for key in keys)
    KeySet.import_key_set({"keys": keys})


@pytest.mark.parametrize("story", ["smart standalone public", "g10 ehr"])
def test_the_header_names_rs256_and_a_published_key(stories: Stories, story: str) -> None:
    """SMART 1.4 smart_openid_token_header."""
    header = rules.part_of(stories[story].body["id_token"], 0)

    kids = [
        key["kid"] for key in stories.suite.http.get(stories.suite.configuration["jwks_uri"]).json()["keys"]
    ]
    assert header["alg"] == "RS256"
    assert header["kid"] in kids


def test_an_id_token_that_somebody_altered_does_not_verify(stories: Stories) -> None:
    """OpenID Connect Core 1.0 section 3.1.3.7."""
    head, claims, signature = stories["g10 ehr"].body["id_token"].split(".")
    other = stories["g10 standalone"].body["id_token"].split(".")[1]
    assert claims != other

    with pytest.raises(JoseError):
        rules.id_token_claims(stories.suite, f"{head}.{other}.{signature}")


def test_another_hospitals_keys_do_not_verify_it(stories: Stories) -> None:
    """C37: one key set a tenant."""
    mine = stories.suite.http.get(stories.suite.configuration["jwks_uri"]).json()["keys"]
    with Inferno(stories.suite.running, "children") as other:
        theirs = other.http.get(other.configuration["jwks_uri"]).json()["keys"]

    assert not {key["n"] for key in mine if key["kty"] == "RSA"} & {key.get("n") for key in theirs}


@pytest.mark.parametrize(
    "story",
    [
        "smart standalone public",
        "smart standalone symmetric",
        "smart standalone asymmetric",
        "smart ehr public",
        "smart ehr symmetric",
    ],
)
def test_a_script_of_the_apps_own_origin_reads_the_fhir_user(stories: Stories, story: str) -> None:
    """SMART 1.4 smart_cors_openid_fhir_user_claim; C26."""
    launch = stories[story]
    who = "/".join(rules.part_of(launch.body["id_token"], 1)["fhirUser"].split("/")[-2:])

    read = stories.suite.read(launch.token, who, origin=HOST)

    assert read.status_code == 200
    assert read.headers["access-control-allow-origin"] in {HOST, "*"}


@pytest.mark.parametrize("role", ["patient", "physician", "nurse"])
def test_identity_alone_reads_the_users_own_resource_and_nothing_else(stories: Stories, role: str) -> None:
    """SMART 1.4: the fhirUser resource is readable whatever the clinical scopes."""
    order = stories.ehr_order(
        client="bench-public",
        scope="openid fhirUser",
        person=role,
        patient="",
        redirect_uri=f"{HOST}/custom/smart_stu2_2/redirect",
    )
    launch = stories.suite.standalone(order)

    rules.openid(stories.suite, launch)
    assert "patient" not in launch.body
    assert "refresh_token" not in launch.body
    assert stories.suite.read(launch.token, f"Patient/{stories.chart}").status_code in {401, 403, 404}
    assert stories.suite.read(launch.token, f"Observation?patient={stories.chart}").status_code in {401, 403}


def test_a_parent_is_a_related_person_and_opens_the_childs_chart(suite: Inferno) -> None:
    """SMART App Launch 2.2, #scopes-for-requesting-identity-data: fhirUser may be a RelatedPerson."""
    with Inferno(suite.running, "children") as children:
        launch = children.standalone(Order(scope=WIDE, person="rania.haddad"))

        rules.openid(children, launch)
        rules.patient_context(children, launch)
        assert "/RelatedPerson/" in rules.part_of(launch.body["id_token"], 1)["fhirUser"]
