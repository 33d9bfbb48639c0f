"""A SMART backend service in one file: no person, no browser; a signed assertion for a token, a token for data.

    python examples/backend_services.py                          # the sandbox of `make run`
    python examples/backend_services.py --tenant children --card http://localhost:8001/sandbox/card.json

It is the client of a county's immunization registry, and reports how many patients a hospital has and with what they were
vaccinated. It needs the standard library, and joserfc for the signature.

Source: SMART App Launch 2.2, backend-services; RFC 7523 (private_key_jwt)
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
PAUSE_BOUND_S = 60


class Refused(Exception):
    """A request was refused, or could not be made. The message may be shown."""


def call(request: urllib.request.Request) -> dict[str, Any]:
    """Send a request and return the JSON of its answer. A 429 or 503 is tried again after the time that it names. Raises Refused."""
    if request.type not in {"http", "https"}:
        raise Refused(f"{request.full_url} is not a web address")
    for attempt in range(1, TRIES + 1):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 judged above
                content: dict[str, Any] = json.load(answer)
                return content
        except urllib.error.HTTPError as error:
            if error.code in {429, 503} and attempt < TRIES:
                time.sleep(_pause_s(error.headers.get("Retry-After", "")))
                continue
            # Every answer of Hilum has a request id; `hilum explain <request id>` tells why it was refused.
            request_id = error.headers.get("X-Request-Id", "unknown")
            raise Refused(f"{error.code}: {_reason(error.read())} (request {request_id})") from error
        except urllib.error.URLError as error:
            raise Refused(f"{request.full_url} does not answer: {error.reason}") from error
    raise Refused(f"{request.full_url} stays busy")


def _reason(body: bytes) -> str:
    """Return the sentence of an OAuth error or an OperationOutcome."""
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        return "no reason given"
    issue = (content.get("issue") or [{}])[0]
    text = (issue.get("details") or {}).get("text") or issue.get("diagnostics")
    return str(content.get("error_description") or content.get("error") or text or "no reason given")


def _pause_s(retry_after: str) -> int:
    """Return how long to wait: the seconds that the server names, at most a minute; one second if it names a date or nothing."""
    return min(int(retry_after), PAUSE_BOUND_S) if retry_after.isascii() and retry_after.isdigit() else 1


def get(url: str, token: str = "") -> dict[str, Any]:
    """Return the JSON at an address; with a token, that of a FHIR resource."""
    headers = {"Accept": "application/fhir+json"} if token else {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return call(urllib.request.Request(url, headers=headers))  # noqa: S310 judged in call


def assertion(token_endpoint: str, private_jwks: Any) -> str:
    """Return a signed client assertion: for this token endpoint, for a few minutes and for one use (``jti``)."""
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
    # The header names the key, which the server looks up in the client's key set.
    return jwt.encode({"alg": "ES384", "kid": key.kid, "typ": "JWT"}, claims, key, algorithms=["ES384"])


def fetch_token(fhir_base: str, private_jwks: Any) -> str:
    """Return a new access token. There is no refresh token: when an access token expires, request another."""
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
    """Yield the resources of a search, page by page. Raises Refused for a `next` link that leads to another server."""
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
    """Print a hospital's vaccinations by vaccine; return the exit code."""
    parser = argparse.ArgumentParser(description="Report a hospital's vaccinations by vaccine.")
    parser.add_argument(
        "--card", default="http://localhost:8001/sandbox/card.json", help="The sandbox's card."
    )
    parser.add_argument("--tenant", default="general", help="The hospital, as the card names it.")
    options = parser.parse_args()
    try:
        card = get(options.card)
        fhir_base = next((each["fhir"] for each in card["tenants"] if each["id"] == options.tenant), "")
        if not fhir_base:
            raise Refused(f"the card names no hospital called {options.tenant}")
        # Outside a sandbox the private key stays on your machine, and only the public key is registered.
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
