"""Clients that others wrote, unmodified, through whole flows: PyPI fhirclient, fhirpy, and Authlib's OAuth2 client."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from fhirclient.client import FHIRClient
from fhirclient.models.condition import Condition
from fhirclient.models.observation import Observation
from fhirclient.server import FHIRPermissionDeniedException, FHIRUnauthorizedException
from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import AuthorizationError, ForbiddenError, ResourceNotFound

from tests.conformance.conftest import EHR_CALLBACK, Stories
from tests.conformance.inferno import CONTEXT, Inferno, Order

CLINICAL = "patient/Patient.rs patient/Observation.rs patient/Condition.rs"


# --- PyPI fhirclient: endpoints only from /metadata, launch scopes added by itself, state sent to the token endpoint -----------


@contextmanager
def smart_client(
    suite: Inferno, client: str, scope: str, launch_token: str | None = None
) -> Iterator[FHIRClient]:
    settings = {
        "app_id": client,
        "app_secret": suite.running.client(client)["secret"],
        "api_base": suite.fhir,
        "redirect_uri": EHR_CALLBACK,
        "scope": scope,
        "launch_token": launch_token,
    }
    made = FHIRClient(settings=settings)
    yield made
    made.server.session.close()


@pytest.mark.parametrize("client", ["bench-public", "bench-symmetric"])
def test_fhirclient_launches_standalone_reads_and_refreshes(suite: Inferno, client: str) -> None:
    """SMART App Launch 2.2, app-launch: standalone; a scope named twice counts once, a state at the token endpoint is nothing to us."""
    with smart_client(suite, client, f"{CONTEXT} {CLINICAL}") as smart:
        assert not smart.prepare()
        assert smart.desired_scope.count("launch/patient") == 2

        smart.handle_callback(suite.visit(smart.authorize_url, EHR_CALLBACK, Order(client=client)))

        assert smart.ready
        assert smart.patient.id == smart.patient_id
        assert smart.human_name(smart.patient.name[0])
        found = list(Observation.where({"patient": smart.patient_id}).perform_resources_iter(smart.server))
        assert len(found) > 20
        assert smart.reauthorize()
        assert list(Condition.where({"patient": smart.patient_id}).perform_resources_iter(smart.server))


def test_fhirclient_launches_from_the_ehr(suite: Inferno, stories: Stories) -> None:
    """SMART App Launch 2.2, app-launch: EHR launch, with the launch the EHR gave."""
    order = stories.ehr_order()
    opened = suite.open(order, stories.encounter)
    with smart_client(suite, "bench-symmetric", "openid fhirUser user/*.rs", opened["launch"]) as smart:
        smart.prepare()

        smart.handle_callback(suite.visit(smart.authorize_url, EHR_CALLBACK, order))

        assert smart.patient.id == stories.chart
        assert smart.launch_context["encounter"] == stories.encounter
        assert smart.launch_context["need_patient_banner"] is True


def test_fhirclient_with_its_own_default_scopes_gets_what_the_person_may_have(
    suite: Inferno, stories: Stories
) -> None:
    """SMART App Launch 2.2, #granted-scopes: v1 wildcards and a foreign word are narrowed, not refused."""
    order = stories.ehr_order(client="bench-public")
    settings = {"app_id": "bench-public", "api_base": suite.fhir, "redirect_uri": EHR_CALLBACK}
    smart = FHIRClient(settings=settings)
    smart.prepare()

    smart.handle_callback(suite.visit(smart.authorize_url, EHR_CALLBACK, order))

    assert smart.patient.id == stories.chart
    assert "profile" not in smart.launch_context["scope"].split(" ")
    smart.server.session.close()


def test_fhirclient_gets_the_reason_when_the_person_denies(suite: Inferno) -> None:
    """RFC 6749 section 4.1.2.1."""
    with smart_client(suite, "bench-symmetric", f"{CONTEXT} {CLINICAL}") as smart:
        smart.prepare()
        callback = suite.visit(smart.authorize_url, EHR_CALLBACK, Order(decision="deny"))

        with pytest.raises(Exception, match="the person declined"):
            smart.handle_callback(callback)
        assert not smart.ready


def test_fhirclient_is_refused_what_was_not_granted(suite: Inferno) -> None:
    """(g)(10) 3.2: 403 for another type, 401 without a token."""
    with smart_client(suite, "bench-symmetric", f"{CONTEXT} patient/Patient.rs") as smart:
        smart.prepare()
        with pytest.raises(FHIRUnauthorizedException):
            next(Observation.where({"patient": "any"}).perform_iter(smart.server))

        smart.handle_callback(suite.visit(smart.authorize_url, EHR_CALLBACK, Order()))

        with pytest.raises(FHIRPermissionDeniedException):
            next(Observation.where({"patient": smart.patient_id}).perform_iter(smart.server))


# --- Authlib: authorization code with PKCE, refresh, introspection, revocation, private_key_jwt --------------------------------


@pytest.mark.parametrize("client", ["bench-public", "bench-symmetric"])
def test_authlib_walks_the_whole_life_of_a_grant(suite: Inferno, client: str) -> None:
    """RFC 6749 sections 4.1 and 6, RFC 7636, RFC 7009, RFC 7662."""
    card, told = suite.running.client(client), suite.configuration
    method = "none" if card["type"] == "public" else "client_secret_basic"
    verifier = "authlib-" + "v" * 50
    with OAuth2Session(
        client,
        card["secret"] or None,
        scope=f"{CONTEXT} {CLINICAL}",
        redirect_uri=EHR_CALLBACK,
        token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method,
        code_challenge_method="S256",
    ) as session:
        url, _ = session.create_authorization_url(
            told["authorization_endpoint"], code_verifier=verifier, aud=suite.fhir
        )
        callback = suite.visit(url, EHR_CALLBACK, Order(client=client))
        token = session.fetch_token(
            told["token_endpoint"], authorization_response=callback, code_verifier=verifier
        )

        path = f"{suite.fhir}/Patient/{token['patient']}"
        assert session.get(path).json()["id"] == token["patient"]
        fresh = session.refresh_token(told["token_endpoint"])
        assert fresh["access_token"] != token["access_token"]
        assert session.get(path).status_code == 200
        if method != "none":
            asked = session.introspect_token(told["introspection_endpoint"], token=fresh["access_token"])
            assert asked.json()["active"] is True
        assert (
            session.revoke_token(told["revocation_endpoint"], token=fresh["refresh_token"]).status_code == 200
        )
        with pytest.raises(OAuthError, match="invalid_grant"):
            session.refresh_token(told["token_endpoint"], refresh_token=fresh["refresh_token"])


def test_authlib_with_another_verifier_is_refused(suite: Inferno) -> None:
    """RFC 7636 section 4.6."""
    told, verifier = suite.configuration, "authlib-" + "v" * 50
    with OAuth2Session(
        "bench-public",
        scope=f"{CONTEXT} {CLINICAL}",
        redirect_uri=EHR_CALLBACK,
        token_endpoint_auth_method="none",
        code_challenge_method="S256",
    ) as session:
        url, _ = session.create_authorization_url(
            told["authorization_endpoint"], code_verifier=verifier, aud=suite.fhir
        )
        callback = suite.visit(url, EHR_CALLBACK, Order())
        assert parse_qs(urlsplit(callback).query)["iss"] == [told["issuer"]]

        with pytest.raises(OAuthError, match="invalid_grant"):
            session.fetch_token(
                told["token_endpoint"], authorization_response=callback, code_verifier="w" * 50
            )


def backend_token(suite: Inferno, scope: str) -> str:
    """Return the token that Authlib obtains as a backend service, by private_key_jwt."""
    card, endpoint = suite.running.client("bench-backend"), suite.configuration["token_endpoint"]
    key = next(each for each in card["private_jwks"]["keys"] if each["kty"] == "RSA")
    with OAuth2Session(
        "bench-backend", key, scope=scope, token_endpoint_auth_method="private_key_jwt"
    ) as session:
        # Authlib would let its assertions live for an hour; SMART allows five minutes.
        claims = {"exp": int(time.time()) + 240}
        method = PrivateKeyJWT(endpoint, claims=claims, headers={"kid": key["kid"]}, alg="RS384")
        session.register_client_auth_method(method)
        return str(session.fetch_token(endpoint, grant_type="client_credentials")["access_token"])


def test_authlib_with_assertions_that_live_an_hour_is_refused(suite: Inferno) -> None:
    """SMART App Launch 2.2, client-confidential-asymmetric: exp is no more than five minutes in the future."""
    card, endpoint = suite.running.client("bench-backend"), suite.configuration["token_endpoint"]
    key = next(each for each in card["private_jwks"]["keys"] if each["kty"] == "RSA")
    with OAuth2Session("bench-backend", key, token_endpoint_auth_method="private_key_jwt") as session:
        session.register_client_auth_method(PrivateKeyJWT(endpoint, headers={"kid": key["kid"]}, alg="RS384"))

        with pytest.raises(OAuthError, match="invalid_client"):
            session.fetch_token(endpoint, grant_type="client_credentials", scope="system/*.rs")


# --- fhirpy: data only, with the tokens of the others --------------------------------------------------------------------------


def test_fhirpy_reads_searches_and_pages_with_a_backend_token(suite: Inferno) -> None:
    """SMART App Launch 2.2, backend-services; FHIR R4 search and paging."""
    token = backend_token(suite, "system/Patient.rs system/Observation.rs")
    client = SyncFHIRClient(suite.fhir, authorization=f"Bearer {token}")

    everyone = client.resources("Patient").limit(10).fetch_all()
    expected = [each for each in suite.running.card["patients"] if each["tenant"] == suite.tenant]
    assert len(everyone) == len(expected)
    someone = client.reference("Patient", everyone[0].id).to_resource()
    assert someone.id == everyone[0].id
    found = client.resources("Observation").search(patient=someone.id)
    assert found.limit(5).fetch() is not None
    assert found.count() == len(found.fetch_all()) > 200  # above one page, and with a parameter of its own
    with pytest.raises(ForbiddenError):
        client.resources("Condition").fetch()


def test_fhirpy_writes_what_its_scope_allows(suite: Inferno) -> None:
    """FHIR R4, create, update, delete; SMART App Launch 2.2: letters c, u and d."""
    token = backend_token(suite, "system/Observation.cruds system/Patient.rs")
    client = SyncFHIRClient(suite.fhir, authorization=f"Bearer {token}")
    patient = client.resources("Patient").limit(1).fetch()[0]
    coding = {"system": "http://loinc.org", "code": "8867-4"}

    made = client.resource(
        "Observation", status="preliminary", code={"coding": [coding]}, subject=patient.to_reference()
    )
    made.save()
    made["status"] = "final"
    made.save()

    assert client.reference("Observation", made.id).to_resource()["status"] == "final"
    made.delete()  # type: ignore[no-untyped-call]
    with pytest.raises(ResourceNotFound):
        client.reference("Observation", made.id).to_resource()


def test_fhirpy_without_a_good_token_gets_nothing(suite: Inferno) -> None:
    """RFC 6750 section 3.1."""
    for authorization in (None, "Bearer hil_at_made_up"):
        with pytest.raises(AuthorizationError):
            SyncFHIRClient(suite.fhir, authorization=authorization).resources("Patient").fetch()
