"""Settings and secrets by which a FHIR server lets Hilum in: what does not fit together is refused by its code (security decision 15)."""

from typing import Any

import pytest

from hilum.identity.people import policy
from hilum.identity.people.models import (
    CLIENT_ID_BOUND,
    PEM_BOUND,
    PROFILES,
    QUIRKS_BOUND,
    SCOPE_BOUND,
    Profile,
    TokenAuth,
    UpstreamKind,
    UpstreamRef,
    UpstreamSecrets,
)

TOKENS: dict[str, Any] = {
    "token_auth": TokenAuth.BASIC,
    "token_url": "https://login.x.example/token",
    "client_id": "hilum",
    "scope": "system/*.rs system/Patient.crus",
}
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def there(**more: Any) -> UpstreamRef:
    return UpstreamRef(UpstreamKind.HTTP, "https://x.example/fhir", **more)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, ""),
        ({"scope": ""}, ""),
        ({"token_auth": TokenAuth.KEY}, ""),
        ({"token_url": "http://127.0.0.1:8080/token"}, ""),
        ({"token_url": "http://login.x.example/token"}, "token_url_malformed"),
        ({"token_url": ""}, "token_url_malformed"),
        ({"token_url": "https://a:b@login.x.example/token"}, "token_url_malformed"),
        ({"token_url": "https://login.x.example/token?a=b"}, "token_url_malformed"),
        ({"token_auth": None}, "token_auth_missing"),
        ({"client_id": ""}, "upstream_client_id_malformed"),
        ({"client_id": "a\r\nb"}, "upstream_client_id_malformed"),
        ({"client_id": "a" * (CLIENT_ID_BOUND + 1)}, "upstream_client_id_malformed"),
        ({"scope": "a\nb"}, "upstream_scope_malformed"),
        ({"scope": "a" * (SCOPE_BOUND + 1)}, "upstream_scope_malformed"),
        ({"authorities": "none"}, "certificates_malformed"),
        ({"certificate": PEM}, "certificates_malformed"),
        ({"authorities": "x" * (PEM_BOUND + 1)}, "certificates_malformed"),
    ],
)
def test_how_tokens_are_asked_for_is_judged(change: dict[str, Any], fault: str) -> None:
    assert policy.upstream_fault(there(**TOKENS | change)) == fault


@pytest.mark.parametrize(
    ("quirks", "fault"),
    [
        (("page=100", "no-form", "id-alone", "one-patient", "patient-criteria", "ignores=location"), ""),
        (("page=0",), "quirks_unknown"),
        (("page=",), "quirks_unknown"),
        (("page=10000",), "quirks_unknown"),
        (("no-form=1",), "quirks_unknown"),
        (("ignores=",), "quirks_unknown"),
        (("ignores=a b",), "quirks_unknown"),
        (("slow",), "quirks_unknown"),
        ((), ""),
        (("no-form",) * (QUIRKS_BOUND + 1), "quirks_unknown"),
    ],
)
def test_a_word_that_is_no_quirk_is_refused(quirks: tuple[str, ...], fault: str) -> None:
    """C89: a setting that the gateway could not act on is not kept."""
    assert policy.upstream_fault(there(quirks=quirks)) == fault


def test_the_embedded_server_has_no_quirks() -> None:
    assert policy.upstream_fault(UpstreamRef(UpstreamKind.EMBEDDED, quirks=("no-form",)))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_what_products_are_known_for_can_be_acted_on(profile: Profile) -> None:
    assert policy.quirks_of(profile.quirks) is not None


HEADER = {"headers": {"Subscription-Key": "k"}}


@pytest.mark.parametrize(
    ("server", "secrets", "fault"),
    [
        ({}, {}, ""),
        ({}, {"authorization": "Bearer x"}, ""),
        ({}, HEADER, ""),
        (TOKENS, {"client_secret": "s"}, ""),
        (TOKENS, {"client_secret": "s"} | HEADER, ""),
        (TOKENS, {}, "client_secret_missing"),
        (TOKENS | {"token_auth": TokenAuth.KEY}, {}, ""),
        (TOKENS | {"token_auth": TokenAuth.KEY}, {"client_secret": "s"}, "client_secret_unexpected"),
        ({}, {"client_secret": "s"}, "client_secret_unexpected"),
        (TOKENS, {"client_secret": "s", "authorization": "Bearer x"}, "authorization_unexpected"),
        ({"certificate": PEM}, {"key": "k"}, ""),
        ({"certificate": PEM}, {}, "certificate_or_key_missing"),
        ({}, {"key": "k"}, "certificate_or_key_missing"),
        ({}, {"authorization": "Bearer a\r\nX: y"}, "credentials_malformed"),
        ({}, {"authorization": "Bearer ä"}, "credentials_malformed"),
        ({}, {"headers": {"A": "b\nc"}}, "credentials_malformed"),
        ({}, {"headers": {"Authorization": "x"}}, "headers_malformed"),
        ({}, {"headers": {"host": "x"}}, "headers_malformed"),
        ({}, {"headers": {"Content-Length": "0"}}, "headers_malformed"),
        ({}, {"headers": {"X": "a", "x": "b"}}, "headers_malformed"),
        ({}, {"headers": {"X: y": "a"}}, "headers_malformed"),
        ({}, {"headers": {f"X-{n}": "a" for n in range(11)}}, "headers_malformed"),
    ],
)
def test_secrets_that_do_not_fit_are_refused(
    server: dict[str, Any], secrets: dict[str, Any], fault: str
) -> None:
    assert policy.secrets_fault(there(**server), UpstreamSecrets(**secrets)) == fault


def test_the_embedded_server_takes_no_secrets() -> None:
    embedded = UpstreamRef(UpstreamKind.EMBEDDED)
    assert policy.secrets_fault(embedded, UpstreamSecrets()) == ""
    assert policy.secrets_fault(embedded, UpstreamSecrets("Bearer x")) == "credentials_unexpected"
