"""A small app in a certification run, over HTTP alone: a well-made one in every scenario of the policy, and one that makes each mistake."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from tests.flows.outside.ground import ADMINISTRATORS, ENDS, LAUNCH, REDIRECT, REVIEWER, Outside, note
from tests.sim.browser import Client, Person, forms_of

NAME = "Note Keeper"
SCOPES = (
    "launch", "openid", "fhirUser", "offline_access",
    "user/Patient.rs", "user/Encounter.rs", "user/Condition.rs", "user/Observation.rs", "user/DocumentReference.crus",
)  # fmt: skip
"""Scopes of the high tier, for its writes of notes."""
ROLES = ("physician", "front_desk")
STUBBORN = 5
"""How often the app that makes mistakes tries what was refused."""
QUICK_S, MANY = 0.12, 12
"""It tries again so soon, and so often, when it is asked to wait."""
LOOKS_EVERY_S = 0.02
WATCHED_S = 2.2
"""How long the person looks at an app that is stopped."""


async def register(
    outside: Outside,
    tenants: tuple[str, ...],
    *,
    name: str = NAME,
    scopes: tuple[str, ...] = SCOPES,
) -> dict[str, Any]:
    """Register, certify and install the app; return its card."""
    contacts = {"support_contact": "help@keeper.example", "security_contact": "sec@keeper.example"}
    vendor = (await _made(outside, "/vendors", {"name": f"{name} Works"} | contacts))["id"]
    about = {"description": "Keeps notes.", "purpose": "To be run.", "category": "documentation_assistance"}
    app = (await _made(outside, "/apps", {"vendor": vendor, "name": name} | about))["id"]
    version = (
        await _made(
            outside,
            f"/apps/{app}/versions",
            {"label": "1.0", "optional_scopes": sorted({"user/Encounter.rs"}.intersection(scopes))},
        )
    )["id"]
    key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384", "kid": "one"})
    client = await _made(
        outside,
        "/clients",
        {
            "app": app,
            "version": version,
            "client_name": name,
            "client_type": "confidential-asymmetric",
            "deployment": "server",
            "scope": " ".join(scopes),
            "jwks": {"keys": [key.as_dict(private=False)]},
            "redirect_uris": [REDIRECT],
            "launch_url": LAUNCH,
        },
    )
    certified = {
        "version": version,
        "environment": "sandbox",
        "scopes": list(scopes),
        "expires_at": ENDS,
    }
    await _made(outside, "/certifications", certified, by=REVIEWER)
    for tenant in tenants:
        body = {"tenant": tenant, "app": app, "roles": list(ROLES), "scopes": list(scopes)}
        await _installed(outside, tenant, body)
    return {
        "client_id": client["id"],
        "type": "confidential-asymmetric",
        "private_jwks": {"keys": [key.as_dict(private=True)]},
        "redirect_uris": [REDIRECT],
        "launch_url": LAUNCH,
    }


async def _made(outside: Outside, path: str, body: dict[str, Any], by: str = "admin.ferro") -> dict[str, Any]:
    answer = await outside.api("POST", path, body, by=by)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def _installed(outside: Outside, tenant: str, body: dict[str, Any]) -> None:
    who = next(each for each in outside.running.card["people"] if each["username"] == ADMINISTRATORS[tenant])
    signs_in = {"tenant": tenant, "username": who["username"], "password": who["password"]}
    token = await outside.http.post(f"{outside.running.base}/api/v1/tokens", json=signs_in)
    bearer = {"authorization": f"Bearer {token.json()['token']}"}
    answer = await outside.http.post(
        f"{outside.running.base}/api/v1/installations", json=body, headers=bearer
    )
    assert answer.status_code == 201, answer.text


@dataclass
class RunApp:
    """The app at one hospital. ``behaves``: it is well made; otherwise it makes the mistake that each scenario looks for."""

    outside: Outside
    card: dict[str, Any]
    tenant: str
    behaves: bool = True
    hidden: tuple[str, ...] = ()
    """Records that the hospital withholds from apps, whose addresses the app that makes mistakes has from elsewhere."""
    run: str = ""
    token: dict[str, Any] = field(default_factory=dict)
    launch_id: str = ""
    keys: KeySet | None = None
    browsers: dict[str, Person] = field(default_factory=dict)

    async def open_run(self) -> dict[str, Any]:
        body = {"client": self.card["client_id"], "tenant": self.tenant, "scenarios": ["*"]}
        opened = await _made(self.outside, "/evidence-runs", body)
        self.run = opened["id"]
        return opened

    async def take(self, scenario: str) -> None:
        """Go through one scenario."""
        await self._tell(f"scenarios/{scenario}/begin")
        await SCENARIOS[scenario](self)
        await self._tell("scenarios/end")

    async def finish(self) -> dict[str, Any]:
        return await self._tell("finish")

    async def _tell(self, what: str) -> dict[str, Any]:
        answer = await self.outside.api("POST", f"/evidence-runs/{self.run}/{what}")
        assert answer.status_code == 200, (what, answer.text)
        return dict(answer.json())

    # --- what any app does ---

    @property
    def patient(self) -> str:
        return str(self.outside.running.patient(self.tenant)["id"])

    @property
    def chart(self) -> str:
        return f"Patient/{self.patient}"

    async def launch(self, role: str = "physician", **order: Any) -> None:
        """Be opened by the EHR, and get a token and who the person is."""
        client = Client(self.outside.http, self.card, self.outside.running.tenant(self.tenant)["fhir"])
        await client.discover()
        opened = await self.outside.open_launch(client.id, self.tenant, role=role, **order)
        assert opened.status_code == 201, opened.text
        self.launch_id = opened.json()["id"]
        browser = self.browsers.setdefault(role, self.outside.browser(role, self.tenant))
        arrived = await browser.go(opened.json()["open_url"], (LAUNCH,))
        assert isinstance(arrived, httpx2.URL), arrived.text
        asked = client.authorize_url(" ".join(SCOPES), launch=arrived.params["launch"])
        redirected = await browser.go(asked, (REDIRECT,))
        assert isinstance(redirected, httpx2.URL), redirected.text
        answer = await client.redeem(redirected, now=int(time.time()))
        assert answer.status_code == 200, answer.text
        self.client, self.token = client, answer.json()

    async def knows_person(self) -> bool:
        """Check the id_token; a well-made app fetches the keys again when it has none of that name."""
        if self.keys is None:
            await self._fetch_keys()
        if self._verifies():
            return True
        if self.behaves:
            await self._fetch_keys()
        return self._verifies()

    def _verifies(self) -> bool:
        assert self.keys is not None
        try:
            return bool(jwt.decode(self.token["id_token"], self.keys, algorithms=["RS256", "ES256", "ES384"]))
        except (JoseError, ValueError):
            return False

    async def _fetch_keys(self) -> None:
        found = await self.outside.http.get(self.client.discovery["jwks_uri"])
        self.keys = KeySet.import_key_set(found.json())

    async def get(self, target: str = "") -> httpx2.Response:
        return await self._send("GET", target or self.chart)

    async def _send(self, method: str, target: str, body: Any = None, **headers: str) -> httpx2.Response:
        url = target if target.startswith("http") else f"{self.client.fhir}/{target}"
        sent = {"authorization": f"Bearer {self.token['access_token']}", **headers}
        if body is not None:
            sent["content-type"] = "application/fhir+json"
        content = None if body is None else orjson.dumps(body)
        return await self.outside.http.request(method, url, content=content, headers=sent)

    async def refresh(self) -> bool:
        form = {"grant_type": "refresh_token", "refresh_token": self.token["refresh_token"]}
        answer = await self.client.token(now=int(time.time()), **form)
        if answer.status_code == 200:
            self.token = answer.json()
        return bool(answer.status_code == 200)

    async def meet(self, target: str = "") -> httpx2.Response:
        """Read now and then, until something is not as before: a change takes a moment to reach the gateway."""
        for _ in range(100):
            if (answer := await self.get(target)).status_code != 200:
                break
            await asyncio.sleep(LOOKS_EVERY_S)
        return answer

    async def insist(self, target: str = "") -> None:
        for _ in range(STUBBORN):
            await self.get(target)

    async def patiently(self, target: str) -> httpx2.Response:
        """Read, and wait while the quota of an earlier scenario lasts a moment longer."""
        while (answer := await self.get(target)).status_code == 429:
            await asyncio.sleep(int(answer.headers["retry-after"]))
        return answer

    async def read_again(self) -> None:
        """Read with a token that may have ended."""
        if (await self.meet()).status_code == 401 and self.behaves:
            assert await self.refresh()
            await self.get()
        else:
            await self.insist()

    async def pages(self, target: str, most: int) -> None:
        """Search, and follow its pages as a well-made app does."""
        for _ in range(most if self.behaves else 1):
            answer = await self.patiently(target)
            assert answer.status_code == 200, answer.text
            further = [each["url"] for each in answer.json()["link"] if each["relation"] == "next"]
            if not further:
                return
            target = further[0]

    # --- the scenarios ---

    async def launched(self) -> None:
        await self.launch()
        if await self.knows_person() and self.behaves:
            await self.get()

    async def token_expired(self) -> None:
        await self.launch()
        await self.get()
        await asyncio.sleep(self.token["expires_in"] + 0.1)
        await self.read_again()

    async def refresh_replay(self) -> None:
        assert (await self.meet()).status_code == 401
        for _ in range(1 if self.behaves else STUBBORN):
            assert not await self.refresh()
        await self.launch()

    async def patient_missing(self) -> None:
        await self.launch(patient="", encounter="")
        if not self.behaves:
            await self.insist("Patient/undefined")

    async def encounter_missing(self) -> None:
        await self.launch(encounter="")
        if not self.behaves:
            await self.insist("Encounter/undefined")

    async def resource_unavailable(self) -> None:
        await (self.get() if self.behaves else self.insist())

    async def slow_answer(self) -> None:
        await asyncio.gather(*(self.get() for _ in range(1 if self.behaves else 2)))

    async def quota_exceeded(self) -> None:
        answer = await self.meet()
        assert answer.status_code == 429
        if self.behaves:
            await asyncio.sleep(int(answer.headers["retry-after"]))
            await self.get()
            return
        for _ in range(MANY):
            await self.get()
            await asyncio.sleep(QUICK_S)

    async def partial_page(self) -> None:
        await self.pages(f"Condition?patient={self.patient}", most=20)

    async def access_withdrawn(self) -> None:
        browser, issuer = self.browsers["physician"], self.client.discovery["issuer"]
        page = (await browser.http.get(f"{issuer}/oauth/manage")).text
        section = next(each for each in page.split("<section") if f"Remove {NAME}" in each)
        form = next(each for each in forms_of(section) if ("action", "remove") in each.submits)
        fields = dict(form.fields) | {"action": "remove"}
        headers = {"origin": self.outside.running.base, "sec-fetch-site": "same-origin"}
        removed = await browser.http.post(f"{issuer}/oauth/manage", data=fields, headers=headers)
        assert removed.status_code in {200, 303}, removed.text
        assert (await self.meet()).status_code == 401
        if self.behaves:
            assert not await self.refresh()
        else:
            await self.insist()

    async def kill_switch(self) -> None:
        assert (await self.meet()).status_code == 403
        if not self.behaves:
            await self.insist()
        await asyncio.sleep(WATCHED_S)

    async def key_rotation(self) -> None:
        await self.launch()
        if await self.knows_person():
            await self.get()

    async def search_too_costly(self) -> None:
        wide = f"Observation?patient={self.patient}&_sort=date,code,status,_id"
        await (self.get(wide) if self.behaves else self.insist(wide))
        await self.get(f"Observation?patient={self.patient}&_count=5")

    async def data_withheld(self) -> None:
        await self.patiently("Condition?_count=200")
        if not self.behaves:
            for each in self.hidden * 2:
                await self.patiently(each)

    async def role_without_right(self) -> None:
        await self.launch(role="front_desk")
        target = f"Observation?patient={self.patient}"
        await (self.get(target) if self.behaves else self.insist(target))

    async def chart_moved(self) -> None:
        await self.launch()
        url = f"{self.outside.running.tenant(self.tenant)['launch_api']}/{self.launch_id}"
        others = (each for each in self.outside.running.card["patients"] if each["tenant"] == self.tenant)
        other = next(each["id"] for each in others if each["id"] != self.patient)
        bearer = await self.outside.ehr_bearer(self.tenant)
        moved = await self.outside.http.patch(url, json={"patient": other, "encounter": None}, headers=bearer)
        assert moved.status_code == 200, moved.text
        for _ in range(100):
            if (await self._send("POST", "DocumentReference", note(self.patient))).status_code == 403:
                break
            # That the chart was turned takes a moment to reach the gateway.
            await asyncio.sleep(LOOKS_EVERY_S)
        if self.behaves:
            await self.launch()
            return
        for _ in range(STUBBORN):
            await self._send("POST", "DocumentReference", note(self.patient))

    async def write_conflict(self) -> None:
        answer = await self._send("POST", "DocumentReference", note(self.patient))
        assert answer.status_code == 201, answer.text
        written, target = answer.json(), f"DocumentReference/{answer.json()['id']}"
        for _ in range(2):
            version = f'W/"{written["meta"]["versionId"]}"'
            answer = await self._send("PUT", target, written, **{"if-match": version})
            if answer.status_code == 200:
                return
            if self.behaves:
                written = (await self.get(target)).json()

    async def write_unknown(self) -> None:
        lost = await self._send("POST", "DocumentReference", note(self.patient))
        assert lost.status_code >= 500, lost.text
        if self.behaves:
            await self.get(f"DocumentReference?patient={self.patient}")
        else:
            await self._send("POST", "DocumentReference", note(self.patient))

    async def optional_declined(self) -> None:
        await self.launch()
        assert "user/Encounter.rs" not in self.token["scope"]
        await self.get()
        if not self.behaves:
            await self.insist(f"Encounter?patient={self.patient}")

    async def many_patients(self) -> None:
        await self.pages("Patient?_count=10", most=3)


SCENARIOS: dict[str, Callable[[RunApp], Awaitable[None]]] = {
    "launch": RunApp.launched,
    "token_expired": RunApp.token_expired,
    "clock_skew": RunApp.read_again,
    "refresh_replay": RunApp.refresh_replay,
    "resource_unavailable": RunApp.resource_unavailable,
    "slow_answer": RunApp.slow_answer,
    "quota_exceeded": RunApp.quota_exceeded,
    "partial_page": RunApp.partial_page,
    "search_too_costly": RunApp.search_too_costly,
    "data_withheld": RunApp.data_withheld,
    "many_patients": RunApp.many_patients,
    "write_conflict": RunApp.write_conflict,
    "write_unknown": RunApp.write_unknown,
    "kill_switch": RunApp.kill_switch,
    "key_rotation": RunApp.key_rotation,
    "access_withdrawn": RunApp.access_withdrawn,
    "patient_missing": RunApp.patient_missing,
    "encounter_missing": RunApp.encounter_missing,
    "role_without_right": RunApp.role_without_right,
    "chart_moved": RunApp.chart_moved,
    "optional_declined": RunApp.optional_declined,
}
"""What the app does in each scenario, in an order in which it is launched again as seldom as possible."""
