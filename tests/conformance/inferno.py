"""A conformance suite's side of every conversation: registered at its own redirect, careful about nothing but the published rules.

Written from the facts that the public kits assert (SMART App Launch 2.2 and ONC (g)(10)); it knows nothing of the inside.
"""

import asyncio
import base64
import hashlib
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from joserfc import jwt
from joserfc.jwk import KeySet

from tests.sim.browser import Form, Person, form_with
from tests.sim.running import Running

HOST = "http://localhost:4567"
"""Where a suite stands when it runs on a developer's machine; also the Origin of its public clients."""
SMART = f"{HOST}/custom/smart_stu2_2"
G10 = f"{HOST}/custom/smart"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
FHIR_JSON = "application/fhir+json"
HEARD_WITHIN_S = 1.0


@dataclass
class Tester(Person):
    """The tester at a browser; ``keep`` says which ticks stay on the consent page."""

    keep: Callable[[str], bool] = lambda _: True

    def _fill(self, response: httpx2.Response) -> tuple[Form, list[tuple[str, str]]] | None:
        filled = super()._fill(response)
        if filled is None:
            return None
        form, data = filled
        return form, [(name, value) for name, value in data if name != "scope" or self.keep(value)]


@dataclass(frozen=True)
class Launch:
    """One authorization from end to end: what was asked, where the browser came back to, what the token endpoint said."""

    client: dict[str, Any]
    fhir: str
    asked: str
    redirect_uri: str
    verifier: str
    returned: dict[str, str]
    """The query of the redirect; empty when a page of the server's own was the end of it."""
    pages: tuple[str, ...]
    answer: httpx2.Response | None = None

    @property
    def body(self) -> dict[str, Any]:
        assert self.answer is not None, self.returned
        assert self.answer.status_code == 200, self.answer.text
        return dict(self.answer.json())

    @property
    def token(self) -> str:
        return str(self.body["access_token"])

    @property
    def patient(self) -> str:
        return str(self.body["patient"])

    @property
    def scopes(self) -> list[str]:
        return str(self.body["scope"]).split(" ")


@dataclass(frozen=True)
class Order:
    """What a tester types before a launch. ``person``: who signs in, by username or role; ``changes``: authorize parameters to alter."""

    client: str = "bench-symmetric"
    scope: str = ""
    person: str = "patient"
    redirect_uri: str = f"{G10}/redirect"
    patient: str = ""
    post: bool = False
    redeem: bool = True
    decision: str = "allow"
    keep: Callable[[str], bool] = lambda _: True
    changes: Mapping[str, str] = field(default_factory=dict)


class Inferno:
    """A suite set up against one tenant."""

    def __init__(self, running: Running, tenant: str = "general") -> None:
        self.running, self.tenant = running, tenant
        self.fhir: str = running.tenant(tenant)["fhir"]
        self.http = httpx2.Client(timeout=30)
        self.registered: dict[str, dict[str, Any]] = {}
        """Clients that registered themselves, in the form of the card's."""
        self.configuration: dict[str, Any] = self.http.get(
            f"{self.fhir}/.well-known/smart-configuration"
        ).json()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def client(self, client_id: str) -> dict[str, Any]:
        """Find a client of the card, or one that registered itself."""
        return self.registered.get(client_id) or self.running.client(client_id)

    def register(self, method: str, *, keys: Mapping[str, Any] | None = None, **metadata: Any) -> str:
        """Register by RFC 7591 and give the client id; ``keys`` is the private half of what ``metadata`` publishes."""
        wanted = {"client_name": "Suite", "token_endpoint_auth_method": method} | metadata
        answer = self.http.post(self.configuration["registration_endpoint"], json=wanted)
        assert answer.status_code == 201, answer.text
        told = answer.json()
        card = {"client_id": told["client_id"], "secret": told.get("client_secret", "")}
        card |= {"type": "public" if method == "none" else "registered", "private_jwks": keys}
        card |= {"launch_url": metadata.get("launch_url", "")}
        self.registered[told["client_id"]] = card
        return str(told["client_id"])

    # --- launches -----------------------------------------------------------------------------------------------------------

    def standalone(self, order: Order) -> Launch:
        """Launch as an app of its own: sign in, pick, consent, redeem."""
        return asyncio.run(self._standalone(order))

    def ehr(self, order: Order, *, encounter: str = "", through_simulator: bool = False) -> Launch:
        """Launch from a chart, by the EHR's launch API or by the simulator's page towards the suite's own launch address."""
        return asyncio.run(self._ehr(order, encounter, through_simulator))

    def visit(self, url: str, stop_at: str, order: Order) -> str:
        """Send a fresh browser to an address that another client made; give where it was sent back to."""
        return asyncio.run(self._visit(url, stop_at, order))

    async def _visit(self, url: str, stop_at: str, order: Order) -> str:
        async with httpx2.AsyncClient(timeout=30) as http:
            came = await self._tester(http, order).go(url, (stop_at,))
            assert isinstance(came, httpx2.URL), came.text
            return str(came)

    async def _standalone(self, order: Order) -> Launch:
        async with httpx2.AsyncClient(timeout=30) as http:
            return await self._authorize(http, order, launch="")

    async def _ehr(self, order: Order, encounter: str, through_simulator: bool) -> Launch:
        async with httpx2.AsyncClient(timeout=30) as http:
            if through_simulator:
                launch_uri = f"{SMART}/launch"
                query = {"tenant": self.tenant, "client": order.client, "patient": order.patient}
                query |= {"person": self._card_of(order)["username"], "launch_uri": launch_uri}
                start = f"{self.running.sandbox}/sandbox/launch?{urlencode(query)}"
            else:
                launch_uri = self.client(order.client)["launch_url"]
                start = self.open(order, encounter)["open_url"]
            arrived = await self._tester(http, order).go(start, (launch_uri,))
            assert isinstance(arrived, httpx2.URL), arrived
            # The suite resumes only for an iss that is the very string it was configured with.
            assert arrived.params["iss"] == self.fhir
            assert arrived.params["launch"]
            return await self._authorize(http, order, launch=arrived.params["launch"])

    def open(self, order: Order, encounter: str = "") -> dict[str, Any]:
        """Open a launch as the hospital's EHR."""
        card = next(each for each in self.running.card["ehr_clients"] if each["tenant"] == self.tenant)
        told = self.ask({"grant_type": "client_credentials", "scope": "hilum/launch"}, card)
        wanted = {"client_id": order.client, "person": self._card_of(order)["username"]}
        wanted |= {"patient": order.patient} | ({"encounter": encounter} if encounter else {})
        opened = self.http.post(
            self.running.tenant(self.tenant)["launch_api"],
            json=wanted,
            headers={"authorization": f"Bearer {told.json()['access_token']}"},
        )
        assert opened.status_code == 201, opened.text
        return dict(opened.json())

    async def _authorize(self, http: httpx2.AsyncClient, order: Order, *, launch: str) -> Launch:
        state, verifier = str(uuid.uuid4()), f"{uuid.uuid4()}-{uuid.uuid4()}"
        given = {
            "response_type": "code",
            "client_id": order.client,
            "redirect_uri": order.redirect_uri,
            "scope": order.scope,
            "state": state,
            "aud": self.fhir,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        given |= {"launch": launch} if launch else {}
        given |= order.changes
        tester = self._tester(http, order)
        endpoint = self.configuration["authorization_endpoint"]
        if order.post:
            came = await tester.go(endpoint, (order.redirect_uri,), post=given)
        else:
            came = await tester.go(f"{endpoint}?{urlencode(given)}", (order.redirect_uri,))
        returned: dict[str, str] = {}
        if isinstance(came, httpx2.URL):
            returned = {name: each[0] for name, each in parse_qs(urlsplit(str(came)).query).items()}
            assert returned["state"] == state
        else:
            tester.pages.append(came.text)
        client = self.client(order.client)
        made = Launch(
            client, self.fhir, order.scope, order.redirect_uri, verifier, returned, tuple(tester.pages)
        )
        if not order.redeem:
            return made
        assert returned.get("code"), (returned, tester.pages[-1:])
        assert "error" not in returned
        return Launch(**(vars(made) | {"answer": self.redeem(made)}))

    def _card_of(self, order: Order) -> dict[str, Any]:
        people = [each for each in self.running.card["people"] if each["tenant"] == self.tenant]
        return next(each for each in people if order.person in {each["username"], each["role"]})

    def _tester(self, http: httpx2.AsyncClient, order: Order) -> Tester:
        card = self._card_of(order)
        return Tester(
            http,
            card["username"],
            card["password"],
            decision=order.decision,
            patient=order.patient,
            keep=order.keep,
        )

    # --- the token endpoint -------------------------------------------------------------------------------------------------

    def redeem(self, launch: Launch, **changes: str | None) -> httpx2.Response:
        """Exchange the code of a launch; a change to None leaves the parameter out."""
        form: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": launch.returned["code"],
            "redirect_uri": launch.redirect_uri,
            "code_verifier": launch.verifier,
        }
        sent = {name: value for name, value in (form | changes).items() if value is not None}
        return self.ask(sent, launch.client)

    def refresh(self, launch: Launch, token: str = "", scope: str = "") -> httpx2.Response:
        """Refresh, with or without naming scopes."""
        form = {"grant_type": "refresh_token", "refresh_token": token or launch.body["refresh_token"]}
        return self.ask(form | ({"scope": scope} if scope else {}), launch.client)

    def ask(self, form: dict[str, str], client: Mapping[str, Any]) -> httpx2.Response:
        """POST the token endpoint, authenticated as the card says the client does."""
        headers = {"accept": "application/json"}
        if client.get("type") == "public":
            form, headers = form | {"client_id": client["client_id"]}, headers | {"origin": HOST}
        elif client.get("private_jwks"):
            form = form | {
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": self.assertion(client),
            }
        else:
            headers["authorization"] = basic(client["client_id"], client["secret"])
        return self.http.post(self.configuration["token_endpoint"], data=form, headers=headers)

    def assertion(self, client: Mapping[str, Any], alg: str = "") -> str:
        """Sign a client assertion as a suite does: neither iat nor nbf, 64 hexadecimal digits of jti."""
        keys = KeySet.import_key_set(client["private_jwks"]).keys
        kinds = {"ES384": "EC", "RS384": "RSA"}
        key = next(each for each in keys if not alg or each.key_type == kinds[alg])
        alg = alg or next(name for name, kind in kinds.items() if kind == key.key_type)
        claims = {
            "iss": client["client_id"],
            "sub": client["client_id"],
            "aud": self.configuration["token_endpoint"],
            "exp": int(time.time()) + 300,
            "jti": uuid.uuid4().hex + uuid.uuid4().hex,
        }
        return jwt.encode({"alg": alg, "kid": key.kid, "typ": "JWT"}, claims, key, algorithms=[alg])

    def introspect(self, token: str, **more: str) -> httpx2.Response:
        """Ask as the hospital's own resource server."""
        peer = next(each for each in self.running.card["resource_servers"] if each["tenant"] == self.tenant)
        headers = {"accept": "application/json", "authorization": basic(peer["client_id"], peer["secret"])}
        endpoint = self.configuration["introspection_endpoint"]
        return self.http.post(endpoint, data={"token": token} | more, headers=headers)

    # --- FHIR ---------------------------------------------------------------------------------------------------------------

    def read(self, token: str, path: str, **headers: str) -> httpx2.Response:
        """GET below the FHIR base, with a token or (empty) without."""
        given = {"accept": FHIR_JSON} | ({"authorization": f"Bearer {token}"} if token else {}) | headers
        return self.http.get(f"{self.fhir}/{path}", headers=given)

    def dies(self, token: str, path: str) -> bool:
        """Return whether a token is refused within a second of what ended it: workers learn of an end from their snapshots."""
        until = time.monotonic() + HEARD_WITHIN_S
        while (status := self.read(token, path).status_code) == 200 and time.monotonic() < until:
            pass
        return status == 401

    def post_search(self, token: str, resource_type: str, parameters: Mapping[str, str]) -> httpx2.Response:
        """Search by POST."""
        headers = {"accept": FHIR_JSON, "authorization": f"Bearer {token}"}
        return self.http.post(f"{self.fhir}/{resource_type}/_search", data=parameters, headers=headers)

    def resources(
        self, token: str, resource_type: str, parameters: Mapping[str, str]
    ) -> list[dict[str, Any]]:
        """Search, follow every page, and give what matched."""
        response = self.read(token, f"{resource_type}?{urlencode(parameters)}")
        found: list[dict[str, Any]] = []
        for _ in range(20):
            assert response.status_code == 200, response.text
            bundle = response.json()
            found += [entry["resource"] for entry in bundle.get("entry", [])]
            following = [link["url"] for link in bundle.get("link", []) if link["relation"] == "next"]
            if not following:
                break
            response = self.http.get(following[0], headers={"authorization": f"Bearer {token}"})
        return [each for each in found if each["resourceType"] == resource_type]

    def connected_apps(self, person: str, press: str) -> str:
        """Sign in at the connected-apps page and remove the app called ``press``; give the page that follows."""
        return asyncio.run(self._connected_apps(person, press))

    async def _connected_apps(self, person: str, press: str) -> str:
        async with httpx2.AsyncClient(timeout=30) as http:
            endpoint = self.configuration["management_endpoint"]
            page = await self._tester(http, Order(person=person)).go(endpoint, ())
            assert isinstance(page, httpx2.Response), page
            cards = [part for part in page.text.split("<section") if f"Remove {press}" in part]
            data: list[tuple[str, str]] = []
            for part in cards:
                for form in (form_with(each, "action") for each in part.split("</form>")[:-1]):
                    if ("action", "remove") in form.submits:
                        data = [*form.fields, ("action", "remove")]
            assert data, page.text
            headers = {"origin": self.running.base, "content-type": "application/x-www-form-urlencoded"}
            done = await http.post(endpoint, content=urlencode(data), headers=headers, follow_redirects=True)
            assert done.status_code == 200, done.text
            return done.text


def basic(client_id: str, secret: str) -> str:
    """Authenticate as suites do: neither half is url-encoded."""
    return f"Basic {base64.b64encode(f'{client_id}:{secret}'.encode()).decode()}"


def challenge_of(verifier: str) -> str:
    """Hash a code verifier as S256 does."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def scopes_of(prefix: str, types: Iterable[str], access: str = "rs") -> str:
    """Write one scope per type."""
    return " ".join(f"{prefix}/{each}.{access}" for each in types)


TYPES = (
    "Medication", "AllergyIntolerance", "CarePlan", "CareTeam", "Condition", "Coverage", "Device", "DiagnosticReport",
    "DocumentReference", "Encounter", "Goal", "Immunization", "Location", "MedicationDispense", "MedicationRequest", "Observation",
    "Organization", "Patient", "Practitioner", "PractitionerRole", "Procedure", "Provenance", "QuestionnaireResponse",
    "RelatedPerson", "ServiceRequest", "Specimen",
)  # fmt: skip
"""The types that (g)(10) asks for, US Core 6.1.0."""
CONTEXT = "launch/patient openid fhirUser offline_access"
SEARCHES: Mapping[str, str] = {
    "Patient": "Patient?_id={patient}",
    "AllergyIntolerance": "AllergyIntolerance?patient={patient}",
    "CarePlan": "CarePlan?patient={patient}&category=assess-plan",
    "CareTeam": "CareTeam?patient={patient}&status=proposed",
    "Condition": "Condition?patient={patient}",
    "Device": "Device?patient={patient}",
    "DiagnosticReport": "DiagnosticReport?patient={patient}&category=LAB",
    "DocumentReference": "DocumentReference?patient={patient}",
    "Goal": "Goal?patient={patient}",
    "Immunization": "Immunization?patient={patient}",
    "MedicationRequest": "MedicationRequest?patient={patient}&intent=proposal",
    "Observation": "Observation?patient={patient}&code=2708-6",
    "Procedure": "Procedure?patient={patient}",
    "Encounter": "Encounter?patient={patient}",
    "ServiceRequest": "ServiceRequest?patient={patient}",
    "Coverage": "Coverage?patient={patient}",
    "MedicationDispense": "MedicationDispense?patient={patient}",
}
"""One search per type that (g)(10) uses to tell unrestricted from restricted access."""
