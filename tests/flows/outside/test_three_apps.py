"""Three apps from registration to daily life at three hospitals, by the API alone and by ``hilum`` alone (C4, C146, C147, C183, C190).

A read-only scheduling app, a documentation assistant that writes notes, and a population-health backend service.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx2
import orjson
import pytest
from joserfc.jwk import ECKey

from tests.flows.outside.conftest import Starter
from tests.flows.outside.ground import (
    ADMINISTRATORS,
    ENDS,
    LAUNCH,
    PATIENCE_S,
    PLATFORM,
    REDIRECT,
    REVIEWER,
    SECURITY,
    Outside,
    note,
    tell,
)
from tests.flows.outside.shells import Shell
from tests.sim.browser import Client
from tests.sim.running import Running

IDENTITY = ("launch", "openid", "fhirUser")


@dataclass(frozen=True)
class Kind:
    """What one of the three apps is."""

    name: str
    category: str
    client_type: str
    scopes: tuple[str, ...]

    @property
    def backend(self) -> bool:
        return self.client_type == "backend"


SCHEDULING = Kind(
    "Day Planner",
    "scheduling",
    "confidential-symmetric",
    (*IDENTITY, "patient/Patient.rs", "user/Appointment.rs", "user/Practitioner.rs"),
)
NOTES = Kind(
    "Note Writer",
    "documentation_assistance",
    "confidential-asymmetric",
    (*IDENTITY, "patient/Patient.rs", "patient/Condition.rs", "patient/DocumentReference.crs"),
)
COHORT = Kind(
    "Cohort Discipline", "population_health", "backend", ("system/Patient.rs", "system/Condition.rs")
)


class Hand(Protocol):
    """Whoever governs, by one surface. ``who`` is a username; every method returns the record or fails."""

    def add_vendor(self, name: str) -> str: ...
    def add_app(self, vendor: str, kind: Kind) -> str: ...
    def add_version(self, app: str, label: str) -> str: ...
    def add_client(self, body: dict[str, Any]) -> dict[str, Any]: ...
    def certify(self, version: str, scopes: tuple[str, ...]) -> str: ...
    def install(self, tenant: str, app: str, roles: tuple[str, ...], scopes: tuple[str, ...]) -> str: ...
    def narrow(self, tenant: str, installation: str, scopes: tuple[str, ...]) -> list[str]: ...
    def stop(self, tenant: str, app: str) -> str: ...
    def release(self, who: str, switch: str) -> bool: ...


@dataclass
class ByApi:
    """Over ``/api/v1`` and nothing else."""

    running: Running
    tokens: dict[str, str] = field(default_factory=dict)

    def send(self, who: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        answer = httpx2.request(
            method,
            f"{self.running.base}/api/v1{path}",
            json=body,
            headers={"authorization": f"Bearer {self.token(who)}"},
            timeout=30,
        )
        assert answer.status_code < 300, (who, method, path, answer.text)
        return answer.json() if answer.content else {}

    def token(self, who: str) -> str:
        if who not in self.tokens:
            staff = [each for each in self.running.card["staff"] if each["username"] == who]
            self.tokens[who] = staff[0]["api_token"] if staff else self._signed_in(who)
        return self.tokens[who]

    def _signed_in(self, who: str) -> str:
        person = next(each for each in self.running.card["people"] if each["username"] == who)
        body = {"tenant": person["tenant"], "username": who, "password": person["password"]}
        answer = httpx2.post(f"{self.running.base}/api/v1/tokens", json=body, timeout=30)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def add_vendor(self, name: str) -> str:
        contacts = {"support_contact": "help@three.example", "security_contact": "sec@three.example"}
        return str(self.send(PLATFORM, "POST", "/vendors", {"name": name} | contacts)["id"])

    def add_app(self, vendor: str, kind: Kind) -> str:
        about = {"description": "One of three.", "purpose": "To be governed.", "category": kind.category}
        return str(self.send(PLATFORM, "POST", "/apps", {"vendor": vendor, "name": kind.name} | about)["id"])

    def add_version(self, app: str, label: str) -> str:
        return str(self.send(PLATFORM, "POST", f"/apps/{app}/versions", {"label": label})["id"])

    def add_client(self, body: dict[str, Any]) -> dict[str, Any]:
        return dict(self.send(PLATFORM, "POST", "/clients", body))

    def certify(self, version: str, scopes: tuple[str, ...]) -> str:
        body = {"version": version, "environment": "sandbox", "scopes": list(scopes), "expires_at": ENDS}
        return str(self.send(REVIEWER, "POST", "/certifications", body)["id"])

    def install(self, tenant: str, app: str, roles: tuple[str, ...], scopes: tuple[str, ...]) -> str:
        body = {"tenant": tenant, "app": app, "roles": list(roles), "scopes": list(scopes)}
        return str(self.send(ADMINISTRATORS[tenant], "POST", "/installations", body)["id"])

    def narrow(self, tenant: str, installation: str, scopes: tuple[str, ...]) -> list[str]:
        path, body = f"/installations/{installation}", {"scopes": list(scopes)}
        return list(self.send(ADMINISTRATORS[tenant], "PATCH", path, body)["scopes"])

    def stop(self, tenant: str, app: str) -> str:
        body = {"kind": "app_tenant", "key": f"{app}/{tenant}", "mode": "full_stop", "reason": "a story"}
        return str(self.send(ADMINISTRATORS[tenant], "POST", "/switches", body)["id"])

    def release(self, who: str, switch: str) -> bool:
        return bool(self.send(who, "POST", f"/switches/{switch}/release")["released_at"])


@dataclass
class ByCommands:
    """By ``hilum`` and nothing else, each person with an own token."""

    running: Running
    folder: Path
    shells: dict[str, Shell] = field(default_factory=dict)

    def json(self, who: str, *words: str) -> Any:
        if who not in self.shells:
            tokens = ByApi(self.running)
            self.shells[who] = Shell(
                {
                    "HILUM_API_URL": self.running.base,
                    "HILUM_API_TOKEN": tokens.token(who),
                    "HOME": str(self.folder),
                }
            )
        return self.shells[who].json(*words)

    def add_vendor(self, name: str) -> str:
        contacts = ("--support", "help@three.example", "--security", "sec@three.example")
        return str(self.json(PLATFORM, "vendor", "add", name, *contacts)["id"])

    def add_app(self, vendor: str, kind: Kind) -> str:
        about = (
            "--description",
            "One of three.",
            "--purpose",
            "To be governed.",
            "--category",
            kind.category,
        )
        return str(self.json(PLATFORM, "app", "add", kind.name, "--vendor", vendor, *about)["id"])

    def add_version(self, app: str, label: str) -> str:
        return str(self.json(PLATFORM, "app", "version", app, label)["id"])

    def add_client(self, body: dict[str, Any]) -> dict[str, Any]:
        file = self.folder / "client.json"
        file.write_bytes(orjson.dumps(body))
        return dict(self.json(PLATFORM, "app", "client", str(file)))

    def certify(self, version: str, scopes: tuple[str, ...]) -> str:
        named = [word for scope in scopes for word in ("--scope", scope)]
        ends = ("--environment", "sandbox", "--expires-at", ENDS)
        return str(self.json(REVIEWER, "app", "certify", version, *ends, *named)["id"])

    def install(self, tenant: str, app: str, roles: tuple[str, ...], scopes: tuple[str, ...]) -> str:
        words = [word for role in roles for word in ("--role", role)]
        words += [word for scope in scopes for word in ("--scope", scope)]
        return str(self.json(ADMINISTRATORS[tenant], "app", "install", app, *words)["id"])

    def narrow(self, tenant: str, installation: str, scopes: tuple[str, ...]) -> list[str]:
        words = [word for scope in scopes for word in ("--scope", scope)]
        return list(self.json(ADMINISTRATORS[tenant], "app", "narrow", installation, *words)["scopes"])

    def stop(self, tenant: str, app: str) -> str:
        target = ("--target", "app_tenant", "--key", f"{app}/{tenant}", "--reason", "a story")
        return str(self.json(ADMINISTRATORS[tenant], "switch", "engage", *target)["id"])

    def release(self, who: str, switch: str) -> bool:
        return bool(self.json(who, "switch", "release", switch)["released_at"])


@dataclass
class Held:
    """An app as its owner holds it."""

    kind: Kind
    app: str
    card: dict[str, Any]
    installations: dict[str, str] = field(default_factory=dict)


def registered(hand: Hand, vendor: str, kind: Kind) -> Held:
    """Register an app with a client and have it certified."""
    app = hand.add_app(vendor, kind)
    version = hand.add_version(app, "1.0")
    body: dict[str, Any] = {
        "app": app,
        "version": version,
        "client_name": kind.name,
        "client_type": kind.client_type,
        "deployment": "server",
        "scope": " ".join(kind.scopes),
    }
    private = {}
    if kind.client_type != "confidential-symmetric":
        key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384", "kid": "one"})
        body["jwks"] = {"keys": [key.as_dict(private=False)]}
        private = {"keys": [key.as_dict(private=True)]}
    if kind.backend:
        use = {"purpose": "Quality measures", "population": "All patients", "schedule": "At night"}
        body |= {"backend_use": use | {"approver": "Dr. Approver"}, "expires_at": ENDS}
    else:
        body |= {"redirect_uris": [REDIRECT], "launch_url": LAUNCH}
    made = hand.add_client(body)
    hand.certify(version, kind.scopes)
    card = {
        "client_id": made["id"],
        "type": kind.client_type,
        "secret": made.get("client_secret", ""),
        "private_jwks": private,
        "redirect_uris": [REDIRECT],
        "launch_url": LAUNCH,
    }
    return Held(kind, app, card)


async def client_of(outside: Outside, held: Held, tenant: str) -> Client:
    made = Client(outside.http, held.card, outside.running.tenant(tenant)["fhir"])
    await made.discover()
    return made


async def opened(outside: Outside, held: Held, tenant: str) -> tuple[Client, dict[str, Any]]:
    """Open an app from the chart, and return its client and token response."""
    launched = await outside.open_launch(held.card["client_id"], tenant)
    assert launched.status_code == 201, launched.text
    client, browser = await client_of(outside, held, tenant), outside.browser("physician", tenant)
    arrived = await browser.go(launched.json()["open_url"], (LAUNCH,))
    assert isinstance(arrived, httpx2.URL), arrived.text
    url = client.authorize_url(" ".join(held.kind.scopes), launch=arrived.params["launch"])
    redirected = await browser.go(url, (REDIRECT,))
    assert isinstance(redirected, httpx2.URL), redirected.text
    answer = await client.redeem(redirected, now=int(time.time()))
    assert answer.status_code == 200, answer.text
    return client, answer.json()


async def served(outside: Outside, held: Held, tenant: str) -> httpx2.Response:
    client = await client_of(outside, held, tenant)
    return await client.token(
        grant_type="client_credentials", scope=" ".join(held.kind.scopes), now=int(time.time())
    )


async def status(outside: Outside, client: Client, token: dict[str, Any], path: str, body: Any = None) -> int:
    """Read, or with a body create, and return the status."""
    headers = {"authorization": f"Bearer {token['access_token']}", "content-type": "application/fhir+json"}
    url = f"{client.fhir}/{path}"
    if body is None:
        return int((await outside.http.get(url, headers=headers)).status_code)
    return int((await outside.http.post(url, json=body, headers=headers)).status_code)


@pytest.mark.parametrize("surface", ["api", "commands"])
def test_three_apps_live_at_two_of_three_hospitals_each_as_that_hospital_approved_it(
    from_seed: Starter, tmp_path: Path, surface: str
) -> None:
    running = from_seed()
    hand: Hand = ByApi(running) if surface == "api" else ByCommands(running, tmp_path)
    vendor = hand.add_vendor("Three Apps")
    planner, writer, cohort = (registered(hand, vendor, kind) for kind in (SCHEDULING, NOTES, COHORT))

    # Installed at two of three hospitals, one of them with less.
    everything = {held.app: held.kind.scopes for held in (planner, writer, cohort)}
    less = {
        planner.app: (*IDENTITY, "patient/Patient.rs"),
        writer.app: (*IDENTITY, "patient/Patient.rs", "patient/DocumentReference.rs"),
        cohort.app: ("system/Patient.rs",),
    }
    for tenant, granted in (("general", everything), ("children", less)):
        for held in (planner, writer, cohort):
            roles = () if held.kind.backend else ("physician",)
            held.installations[tenant] = hand.install(tenant, held.app, roles, granted[held.app])
    tell(running, lambda outside: lived(outside, hand, planner, writer, cohort))


async def lived(outside: Outside, hand: Hand, planner: Held, writer: Held, cohort: Held) -> None:
    # Nothing at the hospital that approved none of them (C146).
    refused = await outside.open_launch(writer.card["client_id"], "clinic")
    assert (refused.status_code, refused.json()["code"]) == (403, "app_not_installed")
    assert (await served(outside, cohort, "clinic")).status_code == 400

    # Each gets what its hospital gave (C147).
    client, everything = await opened(outside, writer, "general")
    patient = everything["patient"]
    assert await status(outside, client, everything, "DocumentReference", note(patient)) == 201
    there, less = await opened(outside, writer, "children")
    assert "patient/DocumentReference.crs" not in less["scope"].split()
    assert await status(outside, there, less, "DocumentReference", note(less["patient"])) == 403
    planning, planned = await opened(outside, planner, "general")
    assert await status(outside, planning, planned, "Appointment?date=ge2020-01-01") == 200
    by_night = (await served(outside, cohort, "general")).json()
    assert set(by_night["scope"].split()) == set(COHORT.scopes)
    narrow_night = (await served(outside, cohort, "children")).json()
    assert narrow_night["scope"].split() == ["system/Patient.rs"]

    # Narrowed further: what is out loses it at once, and keeps the rest.
    left = await asyncio.to_thread(
        hand.narrow, "general", writer.installations["general"], ("patient/Patient.rs",)
    )
    assert set(left) == {*IDENTITY, "patient/Patient.rs"}
    assert await until(outside, client, everything, f"Condition?patient={patient}", 403)
    assert await status(outside, client, everything, f"Patient/{patient}") == 200

    # Stopped at one hospital, while the other one and the other apps go on.
    switch = await asyncio.to_thread(hand.stop, "children", writer.app)
    assert await until(outside, there, less, f"Patient/{less['patient']}", 403)
    assert await status(outside, client, everything, f"Patient/{patient}") == 200
    assert await status(outside, planning, planned, f"Patient/{planned['patient']}") == 200

    # A second person lifts it. What was issued before it stays dead, and a new launch works.
    assert await asyncio.to_thread(hand.release, SECURITY, switch)
    assert await status(outside, there, less, f"Patient/{less['patient']}") in {401, 403}
    until_launched = time.monotonic() + PATIENCE_S
    while (launched := await outside.open_launch(writer.card["client_id"], "children")).status_code != 201:
        assert time.monotonic() < until_launched, launched.text
        await asyncio.sleep(0.5)
    again, fresh = await opened(outside, writer, "children")
    assert await status(outside, again, fresh, f"Patient/{fresh['patient']}") == 200


async def until(outside: Outside, client: Client, token: dict[str, Any], path: str, wanted: int) -> bool:
    """Ask until the answer has this status: a change reaches a worker within a moment."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_S:
        if await status(outside, client, token, path) == wanted:
            return True
        await asyncio.sleep(0.1)
    return False
