"""A vendor's snapshot over HTTP alone: made, used, reset and removed by its developer, and at no door there for anybody else (C123)."""

import json
import time
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import ClientMetadata, ClientType, Deployment, NewClient
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Environment, NewApp, NewVendor, NewVersion
from hilum.foundation.infra import settings
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson
from hilum.identity.signin import service as signin
from hilum.server.bootstrap import open_uow
from tests.flows.outside.ground import Grant, Outside, tell
from tests.sim.browser import Client, Person, form_with
from tests.sim.running import Running

NOWHERE = "own-00000000000000000000000000"
SCOPE = "launch openid fhirUser online_access patient/Patient.rs"


@dataclass
class Two:
    """Two vendors' developers at one sandbox, by their API tokens; ``card``: of the snapshot that the first one made."""

    outside: Outside
    lund: str
    rival: str
    rivals: dict[str, str]
    """The rival's vendor and its client for the sandbox."""
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def tenant(self) -> str:
        return str(self.card["tenant"])

    async def api(self, method: str, path: str, body: Any = None, *, by: str) -> httpx2.Response:
        url = f"{self.outside.running.base}/api/v1{path}"
        headers = {"authorization": f"Bearer {by}"} if by else {}
        return await self.outside.http.request(method, url, json=body, headers=headers)

    async def made(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        answer = await self.api(method, path, body, by=self.lund)
        assert answer.status_code in {200, 201}, answer.text
        return dict(answer.json())

    async def site(self, path: str, http: httpx2.AsyncClient | None = None) -> httpx2.Response:
        started = self.outside.started
        return await (http or self.outside.http).get(f"{started.sandbox}{path}")

    async def grant(self) -> Grant:
        """Launch the vendor's app from a chart of the snapshot, by its own EHR, and redeem."""
        card = self.card
        ehr = Client(
            self.outside.http,
            card | {"type": "confidential-symmetric", "secret": card["client_secret"]},
            card["fhir"],
        )
        await ehr.discover()
        token = await ehr.token(grant_type="client_credentials", scope="hilum/launch")
        assert token.status_code == 200, token.text
        order = {"client_id": "lumen-chart", "person": "dr.adeyemi", "patient": "gen-pat-okafor-rosalind"}
        bearer = {"authorization": f"Bearer {token.json()['access_token']}"}
        launched = await self.outside.http.post(card["launch_api"], json=order, headers=bearer)
        assert launched.status_code == 201, launched.text
        browser = Person(self.outside.fresh(), "dr.adeyemi", card["password"])
        app = Client(self.outside.http, self.outside.running.client("lumen-chart"), card["fhir"])
        await app.discover()
        arrived = await browser.go(launched.json()["open_url"], (app.card["launch_url"],))
        assert isinstance(arrived, httpx2.URL), arrived.text
        url = app.authorize_url(SCOPE, launch=arrived.params["launch"])
        redirected = await browser.go(url, (app.redirect_uri,))
        assert isinstance(redirected, httpx2.URL), redirected.text
        answer = await app.redeem(redirected, now=int(time.time()))
        assert answer.status_code == 200, answer.text
        return Grant(app, browser, answer.json(), order["patient"])

    async def entered(self) -> httpx2.AsyncClient:
        """A browser that came in by the key of the card."""
        http = self.outside.fresh()
        answer = await http.get(self.card["simulator"])
        assert answer.status_code == 303, answer.text
        return http


def rival_of(running: Running) -> tuple[str, dict[str, str]]:
    """Add another vendor with a developer and a client; return the developer's API token, and both by id."""
    uow = open_uow(settings.read(running.environment), SystemClock(), SystemIds(), "test")

    def verb(ctx: Context) -> tuple[str, dict[str, str]]:
        vendor = registry.add_vendor(ctx, NewVendor("Rival Works", "help@rival.example", "sec@rival.example"))
        order = NewPerson(TenantId(vendor.id), "dev.rival", "Rita Rival", "vendor_developer")
        person = identity.add_person(ctx, order)
        app = registry.add_app(
            ctx, NewApp(vendor.id, "Rival Board", "A board.", "To be shown.", "clinical_decision_support")
        )
        version = registry.add_version(ctx, app.id, NewVersion("1", ("chart_review",), ("sidebar",)))
        metadata = ClientMetadata(
            name="Rival Board",
            type=ClientType.PUBLIC,
            deployment=Deployment.BROWSER,
            environment=Environment.SANDBOX,
            redirect_uris=("http://127.0.0.1:9/cb",),
            launch_uri="http://127.0.0.1:9/launch",
            scopes=("launch", "patient/Patient.rs"),
        )
        client, _ = clients.add_client(ctx, NewClient(app.id, version.id, metadata))
        secret = signin.create_api_token(ctx, person.id, life=timedelta(hours=1))[1]
        return secret, {"vendor": vendor.id, "client": client.id}

    try:
        return uow.write_now(verb, actor=SYSTEM, trace=Trace("req_test"))
    finally:
        uow.close()


async def two_of(outside: Outside) -> Two:
    member = next(each for each in outside.running.card["members"] if each["username"] == "developer.lund")
    who = {name: member[name] for name in ("vendor", "username", "password")}
    answer = await outside.http.post(f"{outside.running.base}/api/v1/tokens", json=who)
    return Two(outside, answer.json()["token"], *rival_of(outside.started))


async def told(answer: httpx2.Response) -> tuple[int, Any]:
    """Return what somebody learns from a refusal, without the id of the request."""
    text = answer.text.replace(NOWHERE, "{tenant}")
    try:
        body = json.loads(text)
    except ValueError:
        return answer.status_code, text
    return answer.status_code, {
        name: value for name, value in body.items() if name not in {"instance", "request_id"}
    }


def test_a_developer_has_a_hospital_of_their_own(running: Running, tmp_path: Path) -> None:
    """C123: made, opened, loaded with data of their own, reset to what it began with, and removed, while nobody else learns that it is there."""
    tell(running, partial(story, folder=tmp_path))


async def story(outside: Outside, folder: Path) -> None:
    two = await two_of(outside)
    made = await two.made("POST", "/sandbox-snapshots", {"name": "mine", "template": "general"})
    try:
        two.card = await two.made("GET", f"/sandbox-snapshots/{made['id']}/card")
        grant = await two.grant()
        assert (await outside.read(grant)).status_code == 200
        http = await two.entered()
        await nobody_else_finds_it(two)
        session = await open_chart(two, http)
        assert (await ground_of_run(two))["changed_before"] == 0
        await loaded_data_is_its_own(two, http, folder)
        assert (await ground_of_run(two))["changed_before"] > 0
        before = two.card
        await two.made("POST", f"/sandbox-snapshots/{two.tenant}/reset")
        two.card = await two.made("GET", f"/sandbox-snapshots/{made['id']}/card")
        await nothing_of_before_works(two, before, grant, http, session)
        assert (await ground_of_run(two))["changed_before"] == 0
        assert (await outside.read(await two.grant())).status_code == 200
    finally:
        answer = await two.api("DELETE", f"/sandbox-snapshots/{made['id']}", by=two.lund)
        assert answer.status_code == 200, answer.text
    gone = await two.api("GET", f"/sandbox-snapshots/{made['id']}", by=two.lund)
    assert await told(gone) == await told(await two.api("GET", f"/sandbox-snapshots/{NOWHERE}", by=two.lund))
    again = await two.made("POST", "/sandbox-snapshots", {"name": "other", "template": "clinic"})
    assert again["id"] == made["id"], "its address is the vendor's, and no further tenant is needed"
    assert (await two.api("DELETE", f"/sandbox-snapshots/{made['id']}", by=two.lund)).status_code == 200


async def ground_of_run(two: Two) -> Any:
    """Return what reviewers are shown of where a certification run is made that begins now (C126)."""
    run = await two.made("POST", "/evidence-runs", {"client": "lumen-chart", "tenant": two.tenant})
    await two.made("POST", f"/evidence-runs/{run['id']}/abandon")
    assert run["ground"]["own"] is True
    return run["ground"]


async def open_chart(two: Two, http: httpx2.AsyncClient) -> str:
    """Open a chart in the simulator; its list has the vendor's app and none of another."""
    page = await two.site(f"/sandbox/h/{two.tenant}", http)
    assert page.status_code == 200, page.text
    form = form_with(page.text, "patient")
    fields = {"tenant": two.tenant, "person": "dr.adeyemi", "patient": "gen-pat-okafor-rosalind"}
    sent = form_fields(form) | fields
    headers = {"origin": two.outside.started.sandbox, "sec-fetch-site": "same-origin"}
    answer = await http.post(f"{two.outside.started.sandbox}/sandbox/sessions", data=sent, headers=headers)
    assert answer.status_code == 303, answer.text
    chart = await two.site(answer.headers["location"], http)
    assert "Lumen Chart" in chart.text
    assert (await two.site(answer.headers["location"])).status_code == 404, (
        "the address of a session opens it for nobody else"
    )
    return str(answer.headers["location"])


def form_fields(form: Any) -> dict[str, str]:
    return {name: value for name, value in form.fields if name == "csrf"}


async def nobody_else_finds_it(two: Two) -> None:
    """Ask at each door as a rival, as nobody and as another hospital's EHR: as if there were no such hospital."""
    outside, rival = two.outside, two.rival
    run = {"client": two.rivals["client"], "tenant": "{tenant}", "scenarios": ["*"]}
    agreement = {
        "vendor": two.rivals["vendor"],
        "tenant": "{tenant}",
        "kind": "baa",
        "parties": ["a", "b"],
        "document": "0" * 64,
        "effective_at": "2026-11-27T00:00:00Z",
    }
    doors: tuple[tuple[str, str, Any], ...] = (
        ("GET", "/sandbox-snapshots/{tenant}", None),
        ("GET", "/sandbox-snapshots/{tenant}/card", None),
        ("POST", "/sandbox-snapshots/{tenant}/reset", None),
        ("PUT", "/sandbox-snapshots/{tenant}/apps", None),
        ("DELETE", "/sandbox-snapshots/{tenant}", None),
        ("GET", "/tenants/{tenant}", None),
        ("GET", "/lookups?kind=tenant&named={tenant}", None),
        ("GET", "/facilities?tenant={tenant}", None),
        ("GET", "/installations?tenant={tenant}", None),
        ("GET", "/people?tenant={tenant}", None),
        ("POST", "/evidence-runs", run),
        ("POST", "/agreements", agreement),
        ("PUT", f"/clients/{two.rivals['client']}/sandbox-faults/{{tenant}}/slow", None),
    )
    for method, path, body in doors:
        answers = []
        for tenant in (two.tenant, NOWHERE):
            text = json.dumps(body).replace("{tenant}", tenant)
            answer = await two.api(method, path.replace("{tenant}", tenant), json.loads(text), by=rival)
            answers.append((answer.status_code, answer.text.replace(tenant, "{tenant}")))
        (status, first), (other, second) = answers
        assert (status, without_id(first)) == (other, without_id(second)), (method, path)
        assert status != 200 or '"items":[]' in first.replace(" ", ""), (method, path, first)
    listed = await two.api("GET", "/sandbox-snapshots", by=rival)
    assert listed.json()["items"] == []
    for tenant in (two.tenant, NOWHERE):
        for path in (
            f"/sandbox/h/{tenant}",
            f"/sandbox/h/{tenant}/own",
            f"/sandbox/launch?tenant={tenant}&client=lumen-chart",
            f"/sandbox/enter/{tenant}/guessed",
        ):
            answer = await two.site(path)
            assert answer.status_code == 404, path
            assert "There is no such hospital in this sandbox." in answer.text
    for path in ("/sandbox", "/sandbox/card.json", "/sandbox/accounts"):
        assert two.tenant not in (await two.site(path)).text
    for path in ("/", "/tenant"):
        assert two.tenant not in (await outside.http.get(f"{outside.running.base}{path}")).text
    # Another hospital's EHR, another vendor's program, and whoever registers a client.
    order = {"client_id": "lumen-chart", "person": "dr.adeyemi", "patient": "gen-pat-okafor-rosalind"}
    launched = await outside.http.post(two.card["launch_api"], json=order, headers=await outside.ehr_bearer())
    assert launched.status_code in {401, 403, 404}, launched.text
    program = Client(outside.http, outside.running.client("bench-backend"), two.card["fhir"])
    await program.discover()
    token = await program.token(
        grant_type="client_credentials", scope="system/Patient.rs", now=int(time.time())
    )
    assert (token.status_code, "access_token" in token.json()) == (400, False), token.text
    registered = await outside.http.post(
        f"{two.card['issuer']}/register",
        json={"client_name": "Guest", "redirect_uris": ["http://127.0.0.1:9/cb"]},
    )
    assert registered.status_code == 404, registered.text


def without_id(text: str) -> Any:
    try:
        found = json.loads(text)
    except ValueError:
        return text
    return {name: value for name, value in found.items() if name not in {"instance", "request_id"}}


async def loaded_data_is_its_own(two: Two, http: httpx2.AsyncClient, folder: Path) -> None:
    """Load a patient into the snapshot: it is in its charts, and in no other hospital's."""
    file = folder / "own.json"
    patient = {"resourceType": "Patient", "id": "own-pat-1", "name": [{"family": "Ownly", "given": ["Ada"]}]}
    file.write_text(json.dumps(patient))
    done = two.outside.started.hilum("sandbox", "load", str(file), "--hospital", two.tenant)
    assert done.returncode == 0, done.stderr
    assert "Ada Ownly" in (await two.site(f"/sandbox/h/{two.tenant}?q=ownly", http)).text
    assert "Ada Ownly" not in (await two.site("/sandbox/h/general?q=ownly")).text
    assert "own-pat-1" not in (await two.site("/sandbox/card.json")).text


async def nothing_of_before_works(
    two: Two, before: dict[str, Any], grant: Grant, http: httpx2.AsyncClient, session: str
) -> None:
    """After a reset: no token, refresh, secret, password, key of the simulator or open chart, and no record, of before."""
    outside = two.outside
    assert (await outside.read(grant)).status_code == 401
    refreshed = await grant.client.token(
        grant_type="refresh_token", refresh_token=grant.token["refresh_token"]
    )
    assert refreshed.status_code == 400, refreshed.text
    old = {
        "type": "confidential-symmetric",
        "client_id": before["client_id"],
        "secret": before["client_secret"],
    }
    ehr = Client(outside.http, old, before["fhir"])
    await ehr.discover()
    assert (await ehr.token(grant_type="client_credentials", scope="hilum/launch")).status_code == 401
    signs_in = {"tenant": two.tenant, "username": "dr.adeyemi", "password": before["password"]}
    assert (
        await outside.http.post(f"{outside.running.base}/api/v1/tokens", json=signs_in)
    ).status_code == 401
    for path in (session, f"/sandbox/h/{two.tenant}"):
        assert (await two.site(path, http)).status_code == 404, path
    assert (await outside.fresh().get(before["simulator"])).status_code == 404
    page = await two.site(f"/sandbox/h/{two.tenant}?q=ownly", await two.entered())
    assert "No such patient" in page.text


def test_nobody_makes_one_for_another_vendor_or_beyond_the_bound(running: Running) -> None:
    """C123: not the staff, not a hospital's people, not a stranger; a vendor has three."""

    async def bounds(outside: Outside) -> None:
        two = await two_of(outside)
        order = {"name": "mine", "template": "clinic"}
        assert (await outside.api("POST", "/sandbox-snapshots", order)).status_code == 403
        assert (await two.api("POST", "/sandbox-snapshots", order, by="")).status_code == 401
        wrong = await two.api(
            "POST", "/sandbox-snapshots", {"name": " ", "template": "general2"}, by=two.lund
        )
        assert wrong.json()["fields"].keys() == {"name", "template"}
        made = [
            await two.made("POST", "/sandbox-snapshots", order | {"name": f"n{each}"}) for each in range(3)
        ]
        try:
            full = await two.api("POST", "/sandbox-snapshots", order, by=two.lund)
            assert (full.status_code, full.json()["code"]) == (503, "too_many_snapshots")
            seen = await outside.api("GET", "/sandbox-snapshots")
            assert {each["id"] for each in seen.json()["items"]} == {each["id"] for each in made}
            for each in made:
                assert (await outside.api("GET", f"/sandbox-snapshots/{each['id']}/card")).status_code == 403
        finally:
            for each in made:
                await two.api("DELETE", f"/sandbox-snapshots/{each['id']}", by=two.lund)

    tell(running, bounds)
