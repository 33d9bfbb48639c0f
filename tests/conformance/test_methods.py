"""RFC 9110: what each protocol address answers to a method it does not take, in the words of its own protocol."""

import pytest

from tests.conformance.inferno import Inferno

POSTED = ["token", "introspection", "revocation", "registration"]


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", POSTED)
def test_the_token_endpoints_refuses_other_methods_in_json(suite: Inferno, name: str, method: str) -> None:
    """RFC 6749 sections 3.2 and 5.2, RFC 7009 and RFC 7662 section 2: POST only, errors are JSON; RFC 9110 section 15.5.6."""
    answer = suite.http.request(method, suite.configuration[f"{name}_endpoint"])

    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"] == "invalid_request"
    assert {each.strip() for each in answer.headers["allow"].split(",")} == {"POST", "OPTIONS"}
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "address",
    [
        "{fhir}/.well-known/smart-configuration",
        "{issuer}/.well-known/openid-configuration",
        "{base}/.well-known/oauth-authorization-server/t/general",
        "{issuer}/oauth/jwks.json",
    ],
)
def test_public_documents_refuse_other_methods_in_json(suite: Inferno, address: str, method: str) -> None:
    """RFC 9110 section 15.5.6; C24: JSON whatever is asked."""
    issuer, base = suite.configuration["issuer"], suite.running.base
    answer = suite.http.request(method, address.format(fhir=suite.fhir, issuer=issuer, base=base))

    assert answer.status_code == 405
    assert answer.json()["error"] == "invalid_request"
    assert {each.strip() for each in answer.headers["allow"].split(",")} == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize("name", POSTED)
def test_a_head_of_the_token_endpoints_is_refused_without_a_body(suite: Inferno, name: str) -> None:
    """RFC 9110 section 9.3.2."""
    answer = suite.http.head(suite.configuration[f"{name}_endpoint"])

    assert (answer.status_code, answer.content) == (405, b"")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_the_launch_api_refuses_other_methods_as_a_problem(suite: Inferno, method: str) -> None:
    """RFC 9457 section 3; docs/reference/contract.md, Errors."""
    answer = suite.http.request(method, suite.running.tenant(suite.tenant)["launch_api"])

    assert answer.status_code == 405
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json()["code"], answer.headers["allow"]) == ("method_not_allowed", "POST")


def test_a_head_reads_no_more_than_the_head_of_a_document(suite: Inferno) -> None:
    """RFC 9110 section 9.3.2; C24."""
    address = f"{suite.fhir}/.well-known/smart-configuration"

    head, whole = suite.http.head(address), suite.http.get(address)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"] == "application/json"
