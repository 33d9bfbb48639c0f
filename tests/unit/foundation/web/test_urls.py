"""Absolute addresses (docs/reference/contract.md, Origins and Addresses)."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.web import urls

URLS = urls.Urls("http://127.0.0.1:8000", "http://localhost:8001")


@pytest.mark.parametrize(
    ("made", "path"),
    [
        (URLS.issuer("general"), "/t/general"),
        (URLS.fhir_base("general"), "/t/general/fhir"),
        (URLS.smart_configuration("general"), "/t/general/fhir/.well-known/smart-configuration"),
        (URLS.openid_configuration("general"), "/t/general/.well-known/openid-configuration"),
        (URLS.authorization_server_metadata("general"), "/.well-known/oauth-authorization-server/t/general"),
        (URLS.authorize("general"), "/t/general/oauth/authorize"),
        (URLS.token("general"), "/t/general/oauth/token"),
        (URLS.introspect("general"), "/t/general/oauth/introspect"),
        (URLS.revoke("general"), "/t/general/oauth/revoke"),
        (URLS.register("general"), "/t/general/oauth/register"),
        (URLS.jwks("general"), "/t/general/oauth/jwks.json"),
        (URLS.manage("general"), "/t/general/oauth/manage"),
        (URLS.launches("general"), "/t/general/ehr/launches"),
        (URLS.launchable("general"), "/t/general/ehr/apps"),
        (URLS.api("/accesses"), "/api/v1/accesses"),
        (URLS.home(), "/"),
    ],
)
def test_the_contract_says_where_things_are(made: str, path: str) -> None:
    assert made == f"http://127.0.0.1:8000{path}"


def test_the_sandbox_has_an_origin_of_its_own() -> None:
    assert URLS.sandbox("/card.json") == "http://localhost:8001/sandbox/card.json"
    assert URLS.sandbox_apps() == "http://localhost:8001/apps"


def test_a_tenant_may_live_on_its_own_origin() -> None:
    own = urls.Urls("https://platform.example", own_origin={"far": "https://ehr.far.example"}.get)  # type: ignore[arg-type]

    assert own.fhir_base("far") == "https://ehr.far.example/t/far/fhir"
    assert own.authorization_server_metadata("far") == (
        "https://ehr.far.example/.well-known/oauth-authorization-server/t/far"
    )
    assert own.fhir_base("near") == "https://platform.example/t/near/fhir"
    assert own.api("/x").startswith("https://platform.example/")


def test_https_is_derived_from_the_origin_that_serves_the_tenant() -> None:
    assert not URLS.is_secure("general")
    assert urls.Urls("https://platform.example").is_secure()


@given(st.text(min_size=1, max_size=30))
def test_no_name_reaches_another_address(name: str) -> None:
    made = urlsplit(URLS.launch(name, name))

    assert (made.scheme, made.netloc, made.query, made.fragment) == ("http", "127.0.0.1:8000", "", "")
    assert made.path.count("/") == 5


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Platform.example:443", "platform.example"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://platform.example:80/x", "platform.example"),
        ("https://platform.example:8443", "platform.example:8443"),
    ],
)
def test_a_host_is_what_browsers_send(url: str, host: str) -> None:
    assert urls.host_of(url) == host


def test_a_path_keeps_its_query() -> None:
    assert urls.path_of("http://x.example/a?b=c") == "/a?b=c"
    assert urls.path_of("http://x.example") == "/"
