"""What every launch of every group is held to, once."""

import base64
import json
import re
import time
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.conformance.inferno import HOST, Inferno, Launch

REFERENCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")
IDENTITY_TYPES = {"Patient", "Practitioner", "RelatedPerson", "Person"}
CLINICAL = re.compile(
    r"(?P<prefix>patient|user)/(?P<type>\*|[A-Z][A-Za-z]+)\.(?P<access>c?r?u?d?s?|\*)(\?.+)?"
)
COMPARTMENT = frozenset(
    {
        "AllergyIntolerance", "CarePlan", "CareTeam", "Condition", "Coverage", "DiagnosticReport", "DocumentReference", "Encounter",
        "Goal", "Immunization", "MedicationDispense", "MedicationRequest", "Observation", "Patient", "Procedure", "Provenance",
        "QuestionnaireResponse", "RelatedPerson", "ServiceRequest", "Specimen",
    }
)  # fmt: skip
MUST_COVER = (
    "Patient", "AllergyIntolerance", "CarePlan", "CareTeam", "Condition", "DiagnosticReport", "DocumentReference", "Goal",
    "Immunization", "MedicationRequest", "Observation", "Procedure", "Provenance", "ServiceRequest", "Coverage",
    "MedicationDispense", "Specimen",
)  # fmt: skip


def token_body(body: dict[str, Any], asked: str) -> None:
    """Check a token response against SMART App Launch 2.2, app-launch#obtain-access-token."""
    for name in ("access_token", "token_type", "expires_in", "scope"):
        assert body[name], name
    for name in ("access_token", "token_type", "scope"):
        assert isinstance(body[name], str), name
    assert isinstance(body.get("refresh_token", ""), str)
    assert type(body["expires_in"]) is int
    assert body["expires_in"] > 60
    assert body["token_type"].lower() == "bearer"
    for scope in body["scope"].split(" "):
        assert any(_within(scope, wish) for wish in asked.split(" ")), scope
    for entry in body.get("fhirContext", []):
        assert isinstance(entry, dict)
        assert {"reference", "canonical", "identifier"} & set(entry)
        assert REFERENCE.fullmatch(entry.get("reference", "Patient/1"))


def _within(scope: str, wish: str) -> bool:
    """Return whether a granted scope is one that was asked, or one type of a wildcard that was asked."""
    prefix, star, access = wish.partition("/*.")
    letters = scope.partition(".")[2]
    return scope == wish or (bool(star) and scope.startswith(f"{prefix}/") and set(letters) <= set(access))


def token_headers(response: httpx2.Response) -> None:
    """Check a token response against RFC 6749 section 5.1: never to be stored."""
    assert "no-store" in response.headers["cache-control"]
    assert "no-cache" in response.headers["pragma"]
    assert response.headers["content-type"].startswith("application/json")


def openid(suite: Inferno, launch: Launch) -> None:
    """Verify an id_token from nothing but itself and what its issuer publishes. Source: SMART App Launch 2.2, #scopes-for-requesting-identity-data."""
    id_token = launch.body["id_token"]
    claims = id_token_claims(suite, id_token)
    assert launch.client["client_id"] in (
        claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    )
    assert claims["exp"] > time.time() - 60
    assert 0 < len(claims["sub"].strip()) < 256
    assert {"iss", "sub", "aud", "exp", "iat"} <= set(claims)
    resource_type, resource_id = claims["fhirUser"].split("/")[-2:]
    assert resource_type in IDENTITY_TYPES
    read = suite.read(launch.token, f"{resource_type}/{resource_id}")
    assert (read.status_code, read.json()["resourceType"]) == (200, resource_type), read.text


def id_token_claims(suite: Inferno, id_token: str) -> dict[str, Any]:
    """Return the claims of an id_token whose signature and issuer hold."""
    issuer = part_of(id_token, 1)["iss"]
    found = suite.http.get(f"{issuer.removesuffix('/')}/.well-known/openid-configuration")
    assert found.status_code == 200
    configuration = found.json()
    keys = KeySet.import_key_set(suite.http.get(configuration["jwks_uri"]).json())
    checked = jwt.decode(id_token, keys, algorithms=["RS256"])
    assert checked.claims["iss"] == configuration["issuer"]
    return dict(checked.claims)


def part_of(token: str, n: int) -> dict[str, Any]:
    """Decode a part of a JWT without believing it."""
    part = token.split(".")[n]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def refreshing(suite: Inferno, launch: Launch) -> None:
    """Refresh twice, without scope and with all of it; each answer is whole, wider in nothing, and its token reads the patient."""
    latest = launch.body["refresh_token"]
    for scope in ("", launch.body["scope"]):
        response = suite.refresh(launch, latest, scope)
        assert response.status_code == 200, response.text
        token_headers(response)
        body = response.json()
        token_body(body, launch.body["scope"])
        if launch.client["type"] == "public":
            assert response.headers["access-control-allow-origin"] in {HOST, "*"}
        read = suite.read(body["access_token"], f"Patient/{launch.patient}")
        assert (read.status_code, read.json().get("id")) == (200, launch.patient)
        latest = body.get("refresh_token", latest)


def introspection(suite: Inferno, launch: Launch) -> None:
    """Check the introspection of an active token against the token response of its client. Source: SMART App Launch 2.2, token-introspection."""
    response = suite.introspect(launch.token)
    assert response.status_code == 200, response.text
    told, body = response.json(), launch.body
    assert told["active"] is True
    assert told["client_id"] == launch.client["client_id"]
    assert sorted(told["scope"].split(" ")) == sorted(launch.scopes)
    assert type(told["exp"]) is int
    assert told["exp"] >= time.time() - 600
    for name in ("patient", "encounter", "intent"):
        assert told.get(name) == body.get(name), name
    claims = id_token_claims(suite, body["id_token"])
    assert (told["iss"], told["sub"]) == (claims["iss"], claims["sub"])
    assert told["fhirUser"] == claims["fhirUser"]


def clinical_scopes(launch: Launch, *, prefixes: set[str]) -> None:
    """Check a grant against (g)(10): letters of v2, compartment types by the right prefix, and every required type covered."""
    covered = set()
    for scope in launch.scopes:
        if "/" not in scope or scope.startswith("launch/"):
            continue
        match = CLINICAL.fullmatch(scope)
        assert match, scope
        assert match["prefix"] in prefixes or match["type"] not in COMPARTMENT, scope
        access = match["access"]
        if access == "*" or {"r", "s"} <= set(access):
            covered.add(match["type"])
    assert "*" in covered or set(MUST_COVER) <= covered, set(MUST_COVER) - covered


def patient_context(suite: Inferno, launch: Launch) -> None:
    """The patient of the token response can be read with its token, and not at all without one. Source: (g)(10) g10_patient_context, g10_unauthorized_access."""
    read = suite.read(launch.token, f"Patient/{launch.patient}")
    assert (read.status_code, read.json()["resourceType"], read.json()["id"]) == (
        200,
        "Patient",
        launch.patient,
    )
    assert suite.read("", f"Patient/{launch.patient}").status_code == 401
