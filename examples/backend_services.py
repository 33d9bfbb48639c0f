"""A SMART backend service in one file: no person, no browser; a signed assertion for a token, a token for data.

    python examples/backend_services.py                          # the sandbox of `make run`
    python examples/backend_services.py --tenant children --card http://localhost:8001/sandbox/card.json

It plays a county's immunization registry: whoever is a patient of the hospital, and what they were vaccinated with.
Uses the standard library, and joserfc for the signature. Source: SMART App Launch 2.2, backend-services;
RFC 7523 (private_key_jwt).
"""

import argparse
import json
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import KeySet

CLIENT_ID = "northgate-registry"
SCOPE = "system/Patient.rs system/Immunization.rs"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE_S = 240  # the specification allows five minutes at most
PAGES_BOUND = 200
TRIES = 3


class Refused(Exception):
    """The server said no; the message is fit to show."""


def call(request: urllib.request.Request) -> dict[str, Any]:
    """Send a request, wait when asked to (429, 503), and read its JSON."""
    if request.type not in {"http", "https"}:
        raise Refused(f"{request.full_url} is not a web address")
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 judged above
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            if error.code in {429, 503} and attempt < TRIES:
                time.sleep(min(int(error.headers.get("Retry-After") or 1), 60))
                continue
            # Every answer of Hilum has a request id; `hilum explain <request id>` tells why it was refused.
            request_id = error.headers.get("X-Request-Id", "unknown")
            raise Refused(f"{error.code}: {_reason(error.read())} (request {request_id})") from error
        except urllib.error.URLError as error:
            raise Refused(f"{request.full_url} does not answer: {error.reason}") from error
    raise Refused(f"{request.full_url} stays busy")


def _reason(body: bytes) -> str:
    """Find the sentence in an OAuth error or an OperationOutcome."""
    try:
        said = json.loads(body)
    except ValueError:
        return "no reason given"
    issue = (said.get("issue") or [{}])[0]
    words = (issue.get("details") or {}).get("text") or issue.get("diagnostics")
    return str(said.get("error_description") or said.get("error") or words or "no reason given")


def get(url: str, token: str = "") -> dict[str, Any]:
    """Get JSON, with a bearer token where there is one."""
    headers = {"Accept": "application/fhir+json"} if token else {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return call(urllib.request.Request(url, headers=headers))  # noqa: S310 judged in call


def assertion(token_endpoint: str, private_jwks: Any) -> str:
    """Sign the statement that we are who we are: for this endpoint, for a few minutes, for one use (jti)."""
    key = next(key for key in KeySet.import_key_set(private_jwks).keys if key.key_type == "EC")
    now = int(time.time())
    claims = {
        "iss": CLIENT_ID,
        "sub": CLIENT_ID,
        "aud": token_endpoint,
        "iat": now,
        "exp": now + ASSERTION_LIFE_S,
        "jti": secrets.token_hex(16),
    }
    # The header names the key, so that the server finds it in the key set it knows of us.
    return jwt.encode({"alg": "ES384", "kid": key.kid, "typ": "JWT"}, claims, key, algorithms=["ES384"])


def fetch_token(fhir_base: str, private_jwks: Any) -> str:
    """Ask for an access token. There is no refresh token: when this one ends, ask again."""
    server = get(f"{fhir_base}/.well-known/smart-configuration")
    form = {
        "grant_type": "client_credentials",
        "scope": SCOPE,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion(server["token_endpoint"], private_jwks),
    }
    body = urlencode(form).encode()
    answer = call(urllib.request.Request(server["token_endpoint"], data=body))  # noqa: S310 judged in call
    if missing := set(SCOPE.split()) - set(answer["scope"].split()):
        print(f"not granted: {' '.join(sorted(missing))}", file=sys.stderr)
    return str(answer["access_token"])


def search(fhir_base: str, resource_type: str, token: str, **parameters: str) -> Iterator[dict[str, Any]]:
    """Walk over a search, page by page. The server's `next` links are taken as they are, if they are the server's own."""
    url = f"{fhir_base}/{resource_type}?{urlencode(parameters)}"
    for _ in range(PAGES_BOUND):
        if not url.startswith(f"{fhir_base}/"):
            raise Refused("a page link leads to another server; the token was not sent there")
        bundle = get(url, token)
        yield from (entry["resource"] for entry in bundle.get("entry", []))
        url = next((link["url"] for link in bundle.get("link", []) if link["relation"] == "next"), "")
        if not url:
            return


def main() -> int:
    """Report vaccinations by vaccine."""
    parser = argparse.ArgumentParser(description="Report a hospital's vaccinations by vaccine.")
    parser.add_argument(
        "--card", default="http://localhost:8001/sandbox/card.json", help="The sandbox's card."
    )
    parser.add_argument("--tenant", default="general", help="The hospital, as the card names it.")
    chosen = parser.parse_args()
    try:
        card = get(chosen.card)
        fhir_base = next((each["fhir"] for each in card["tenants"] if each["id"] == chosen.tenant), "")
        if not fhir_base:
            raise Refused(f"the card names no hospital called {chosen.tenant}")
        # In life the private key never leaves your own machine, and only its public half is registered.
        client = next(each for each in card["clients"] if each["client_id"] == CLIENT_ID)
        if not client["private_jwks"]:
            raise Refused("this sandbox is public and shows no keys")
        token = fetch_token(fhir_base, client["private_jwks"])
        patients = sum(1 for _ in search(fhir_base, "Patient", token, _count="100"))
        vaccines = Counter(
            each["vaccineCode"].get("text", "unknown")
            for each in search(fhir_base, "Immunization", token, status="completed", _count="200")
        )
    except Refused as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1
    print(f"{patients} patients, {vaccines.total()} vaccinations at {fhir_base}")
    for name, count in vaccines.most_common():
        print(f"{count:6}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
