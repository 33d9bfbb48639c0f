"""What one hospital gave is worth nothing at another, at any door; and installing here installs nowhere else."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.flows.outside.ground import SCOPE, STANDALONE, Outside, refused_grant, tell
from tests.sim.running import Running

HERE, THERE = "general", "children"
ADMIN_HERE, ADMIN_THERE = "admin.hall", "admin.ortega"


def test_a_code_is_redeemed_only_where_it_was_issued(hospital: Running) -> None:
    """C37: the try elsewhere is refused and takes nothing from its owner."""

    async def story(outside: Outside) -> None:
        client, _, redirected = await outside.code("bench-symmetric", HERE)
        elsewhere = await outside.client("bench-symmetric", THERE)
        form: dict[str, Any] = {
            "grant_type": "authorization_code",
            "code": redirected.params["code"],
            "redirect_uri": client.redirect_uri,
            "code_verifier": client.verifier,
        }
        assert refused_grant(await elsewhere.token(**form))
        assert (await client.token(**form)).status_code == 200

    tell(hospital, story)


def test_a_launch_is_used_only_where_it_was_opened(hospital: Running) -> None:
    """C27, C37: neither the address for the browser nor the handle for the app; a handle shown elsewhere is burnt."""

    async def story(outside: Outside) -> None:
        opened = (await outside.open_launch("bench-symmetric", HERE)).json()
        moved = opened["open_url"].replace(f"/t/{HERE}/", f"/t/{THERE}/")
        assert (await outside.http.get(moved)).status_code == 404
        browser = outside.browser(tenant=HERE)
        arrived = await browser.go(opened["open_url"], ("http://127.0.0.1:9009/launch",))
        assert isinstance(arrived, httpx2.URL)
        elsewhere = await outside.client("bench-symmetric", THERE)
        told = await outside.browser(tenant=THERE).go(
            elsewhere.authorize_url(SCOPE, launch=opened["launch"]), (elsewhere.redirect_uri,)
        )
        assert isinstance(told, httpx2.Response), "whoever opened it reads why"
        assert (told.status_code, "opened for another person" in told.text) == (403, True)
        assert "code=" not in told.text
        client = await outside.client("bench-symmetric", HERE)
        late = await browser.go(client.authorize_url(SCOPE, launch=opened["launch"]), (client.redirect_uri,))
        assert not isinstance(late, httpx2.URL) or "code" not in late.params

    tell(hospital, story)


def test_an_access_token_is_nothing_at_any_door_of_another_hospital(hospital: Running) -> None:
    """C37: gateway, introspection, revocation and the EHR's door; it stays what it is at home."""

    async def story(outside: Outside) -> None:
        held, server = await asyncio.gather(
            outside.grant(tenant=HERE), outside.system_client("resource_servers", THERE)
        )
        base = outside.running.tenant(THERE)
        asked = [
            outside.http.get(f"{base['fhir']}/{path}", headers=held.bearer)
            for path in ("Patient", f"Patient/{held.patient}", "Observation?code=1", "Practitioner/x")
        ]
        answers = await asyncio.gather(
            *asked,
            outside.http.post(base["launch_api"], json={}, headers=held.bearer),
            outside.http.post(f"{base['issuer']}/ehr/activity", json={}, headers=held.bearer),
        )
        for answer in answers[:4]:
            assert answer.status_code == 401, answer.text
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
            assert "tenant" not in answer.json()["issue"][0]["diagnostics"]
        assert {answer.status_code for answer in answers[4:]} <= {401, 403, 422}
        secret = (server.id, server.card["secret"])
        seen = await outside.http.post(
            server.discovery["introspection_endpoint"],
            data={"token": held.token["access_token"]},
            auth=secret,
        )
        assert seen.json() == {"active": False}
        elsewhere = await outside.client("bench-symmetric", THERE)
        revoked = await outside.http.post(
            elsewhere.discovery["revocation_endpoint"],
            data={"token": held.token["access_token"]},
            auth=(elsewhere.id, elsewhere.card["secret"]),
        )
        assert revoked.status_code == 200
        assert (await outside.read(held)).status_code == 200

    tell(hospital, story)


def test_a_refresh_token_is_nothing_at_another_hospital(hospital: Running) -> None:
    """C37, C48: refused at the token endpoint, unseen at introspection, not revoked; it stays what it is at home."""

    async def story(outside: Outside) -> None:
        held = await outside.grant(tenant=HERE)
        presented = held.token["refresh_token"]
        elsewhere = await outside.client("bench-symmetric", THERE)
        assert refused_grant(await elsewhere.token(grant_type="refresh_token", refresh_token=presented))
        auth = (elsewhere.id, elsewhere.card["secret"])
        for endpoint in ("introspection_endpoint", "revocation_endpoint"):
            answer = await outside.http.post(
                elsewhere.discovery[endpoint], data={"token": presented}, auth=auth
            )
            assert answer.status_code == 200
            assert answer.content in {b"{}", b'{"active":false}'}, answer.text
        again = await held.client.token(grant_type="refresh_token", refresh_token=presented)
        assert again.status_code == 200, again.text

    tell(hospital, story)


def test_a_page_link_is_followed_only_where_it_was_given(hospital: Running) -> None:
    """C37, C78: not at another hospital, not by another app, not after being touched."""

    async def story(outside: Outside) -> None:
        held, there, other = await asyncio.gather(
            outside.grant(tenant=HERE),
            outside.grant(tenant=THERE),
            outside.grant("bench-public", tenant=HERE),
        )
        page = (await outside.read(held, "Observation?_count=1")).json()
        link = next(each["url"] for each in page["link"] if each["relation"] == "next")
        assert link.startswith(held.client.fhir)
        followed = await outside.http.get(link, headers=held.bearer)
        assert followed.status_code == 200
        moved = link.replace(f"/t/{HERE}/", f"/t/{THERE}/")
        for url, who in ((moved, there), (moved, held), (link, other), (link, there), (link + "A", held)):
            answer = await outside.http.get(url, headers=who.bearer)
            assert answer.status_code in {400, 401, 404}, (url, answer.status_code)
            assert "entry" not in answer.json()

    tell(hospital, story)


@pytest.mark.parametrize("kind", ["ehr_clients", "resource_servers"])
def test_a_hospitals_own_client_is_unknown_at_another(hospital: Running, kind: str) -> None:
    """C37: the secret of an EHR or a resource server opens only its own hospital."""

    async def story(outside: Outside) -> None:
        own, there = await outside.system_client(kind, HERE), await outside.system_client(kind, THERE)
        auth = (own.id, own.card["secret"])
        form = {"grant_type": "client_credentials", "scope": "hilum/launch", "token": "hil_at_x"}
        for endpoint in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
            answer = await outside.http.post(there.discovery[endpoint], data=form, auth=auth)
            assert answer.status_code in {400, 401}, (endpoint, answer.text)
            assert answer.json()["error"] in {"invalid_client", "unauthorized_client"}

    tell(hospital, story)


def test_an_ehrs_token_opens_moves_and_ends_no_launch_elsewhere(hospital: Running) -> None:
    """C37: a foreign EHR's token at the launch API, and a foreign launch's id with an own token."""

    async def story(outside: Outside) -> None:
        bearer = await outside.ehr_bearer(HERE)
        mine, theirs = await asyncio.gather(
            outside.open_launch("bench-symmetric", HERE), outside.open_launch("bench-symmetric", THERE)
        )
        base = outside.running.tenant(THERE)["launch_api"]
        order = {"client_id": "bench-symmetric", "person": "dr.whitfield"}
        tried = [
            await outside.http.post(base, json=order, headers=bearer),
            await outside.http.patch(f"{base}/{theirs.json()['id']}", json={"patient": "x"}, headers=bearer),
            await outside.http.delete(f"{base}/{theirs.json()['id']}", headers=bearer),
            await outside.http.delete(f"{base}/{mine.json()['id']}", headers=bearer),
        ]
        own = outside.running.tenant(HERE)["launch_api"]
        tried.append(await outside.http.delete(f"{own}/{theirs.json()['id']}", headers=bearer))
        assert {each.status_code for each in tried[:4]} == {401}, [each.text for each in tried]
        assert tried[4].status_code == 404, tried[4].text
        arrived = await outside.browser(tenant=THERE).go(
            theirs.json()["open_url"], ("http://127.0.0.1:9009/launch",)
        )
        assert isinstance(arrived, httpx2.URL), "nobody else's word ended it"

    tell(hospital, story)


def test_a_session_at_one_hospital_signs_nobody_in_at_another(hospital: Running) -> None:
    """C30, C37: authorize and the connected apps ask for sign-in again."""

    async def story(outside: Outside) -> None:
        held = await outside.grant(tenant=HERE)
        browser = held.browser.http
        there = outside.running.tenant(THERE)
        elsewhere = await outside.client("bench-symmetric", THERE)
        for url in (elsewhere.authorize_url(STANDALONE), f"{there['issuer']}/oauth/manage"):
            answer = await browser.get(url, follow_redirects=True)
            assert answer.status_code == 200
            assert 'name="password"' in answer.text, answer.text[:300]
        own = await browser.get(f"{outside.running.tenant(HERE)['issuer']}/oauth/manage")
        assert 'name="password"' not in own.text

    tell(hospital, story)


def test_an_assertion_made_for_one_hospital_is_refused_at_another(hospital: Running) -> None:
    """C37, C51: ``aud`` names one token endpoint."""

    async def story(outside: Outside) -> None:
        here, there = (
            await outside.client("bench-backend", HERE),
            await outside.client("bench-backend", THERE),
        )
        asserted = here.assertion(now=int(time.time()))
        form: dict[str, Any] = {
            "grant_type": "client_credentials",
            "scope": "system/Patient.rs",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": asserted,
        }
        wrong = await outside.http.post(there.discovery["token_endpoint"], data=form)
        assert wrong.status_code == 401
        assert wrong.json()["error"] == "invalid_client"
        keys = [
            {key["kid"] for key in (await outside.http.get(each.discovery["jwks_uri"])).json()["keys"]}
            for each in (here, there)
        ]
        assert keys[0].isdisjoint(keys[1]), "each hospital signs with keys of its own"

    tell(hospital, story)


@asynccontextmanager
async def administrator(outside: Outside, username: str, tenant: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Somebody who administers a hospital, at the API."""
    body = {"username": username, "password": f"sandbox-{username}", "tenant": tenant}
    made = await outside.http.post(f"{outside.running.base}/api/v1/tokens", json=body)
    assert made.status_code == 201, made.text
    headers = {"authorization": f"Bearer {made.json()['token']}", "connection": "close"}
    yield httpx2.AsyncClient(
        transport=outside.transport, base_url=f"{outside.running.base}/api/v1", headers=headers, timeout=60
    )
    await outside.http.delete(f"{outside.running.base}/api/v1/tokens/{made.json()['id']}", headers=headers)


def test_an_administrators_api_token_reaches_nothing_of_another_hospital(hospital: Running) -> None:
    """C37, C145, C182: no list, no record, no change; what is there is as unknown as what is not."""

    async def story(outside: Outside) -> None:
        far = await outside.grant(tenant=THERE)
        request = (await outside.read(far)).headers["x-request-id"]
        app = (await outside.app_of("bench-symmetric"))["app"]
        person = await outside.person_id("physician", THERE)
        installed = (await outside.api("GET", f"/installations?tenant={THERE}")).json()["items"][0]["id"]
        switch = await outside.engage("app_tenant", f"{app}/clinic", "observe")
        tries: list[tuple[str, str, Any]] = [
            ("GET", f"/people?tenant={THERE}", None),
            ("GET", f"/people/{person}", None),
            ("GET", f"/tenants/{THERE}", None),
            ("GET", f"/installations?tenant={THERE}", None),
            ("GET", f"/quotas?tenant={THERE}", None),
            ("GET", f"/switches?tenant={THERE}", None),
            ("GET", f"/switches/{switch['id']}", None),
            ("GET", f"/accesses?tenant={THERE}", None),
            ("GET", "/accesses", None),
            ("GET", f"/audit/events?tenant={THERE}", None),
            ("GET", "/audit/events", None),
            ("GET", f"/events?tenant={THERE}", None),
            ("GET", f"/explain/{request}", None),
            ("GET", f"/clients/ehr-{THERE}", None),
            ("POST", f"/clients/ehr-{THERE}/secret", {}),
            ("POST", f"/tenants/{THERE}/system-clients", {"client_type": "ehr", "client_name": "x"}),
            ("POST", "/people", {"tenant": THERE, "username": "x", "name": "X", "role": "nurse"}),
            ("POST", "/people", {"username": "x", "name": "X", "role": "platform_admin"}),
            ("PUT", f"/people/{person}/password", {"password": "a long new password"}),
            ("DELETE", f"/people/{person}/sessions", None),
            ("DELETE", f"/people/{person}", None),
            ("PATCH", f"/tenants/{THERE}", {"name": "Mine"}),
            ("POST", "/installations", {"tenant": THERE, "app": app, "roles": ["nurse"]}),
            ("PATCH", f"/installations/{installed}", {"roles": []}),
            ("DELETE", f"/installations/{installed}", None),
            ("PUT", f"/quotas/{app}/{THERE}", {"rate_per_s": 1, "burst": 1}),
            ("POST", "/switches", {"kind": "tenant", "key": THERE, "reason": "x"}),
            ("POST", "/switches", {"kind": "app_tenant", "key": f"{app}/{THERE}", "reason": "x"}),
            ("POST", "/switches", {"kind": "person", "key": person, "reason": "x"}),
            ("POST", "/switches", {"kind": "app_person", "key": f"{app}/{person}", "reason": "x"}),
            ("POST", f"/switches/{switch['id']}/release", None),
            ("POST", f"/apps/{app}/suspend", {"reason": "x"}),
        ]
        async with administrator(outside, ADMIN_HERE, HERE) as api:
            for method, path, body in tries:
                answer = await api.request(method, path, json=body)
                assert answer.status_code in {403, 404}, (method, path, answer.status_code, answer.text)
                assert THERE not in answer.text, (path, answer.text)
            assert (await api.get(f"/people?tenant={HERE}")).status_code == 200
        await outside.release(switch["id"])
        assert (await outside.read(far)).status_code == 200

    tell(hospital, story)


def test_an_app_installed_at_one_hospital_works_at_no_other(hospital: Running) -> None:
    """C146, C38: another hospital's people, tokens and launches stay closed until it installs the app itself."""

    async def story(outside: Outside) -> None:
        client_id = await only_here(outside)
        outside.running.card["clients"].append(
            outside.running.client("bench-public") | {"client_id": client_id, "tenants": [HERE]}
        )
        held = await outside.grant(client_id, HERE, scope="launch openid fhirUser patient/Patient.rs")
        assert (await outside.read(held)).status_code == 200
        opened = await outside.open_launch(client_id, THERE)
        assert opened.status_code == 403, opened.text
        elsewhere = await outside.client(client_id, THERE)
        told = await outside.browser(tenant=THERE).go(
            elsewhere.authorize_url("launch/patient patient/Patient.rs"), (elsewhere.redirect_uri,)
        )
        assert isinstance(told, httpx2.Response)
        assert told.status_code == 403
        assert "This app is not installed at" in told.text
        assert "error=access_denied" in told.text, "the way back to the app"
        answer = await outside.http.get(f"{elsewhere.fhir}/Patient", headers=held.bearer)
        assert answer.status_code == 401

        async with administrator(outside, ADMIN_THERE, THERE) as api:
            app = (await outside.app_of(client_id))["app"]
            made = await api.post(
                "/installations", json={"tenant": THERE, "app": app, "roles": ["physician"]}
            )
            assert made.status_code == 201, made.text
        far = await outside.grant(client_id, THERE, scope="launch openid fhirUser patient/Patient.rs")
        assert (await outside.read(far)).status_code == 200

    tell(hospital, story)


async def only_here(outside: Outside) -> str:
    """Register, certify and install a new app at one hospital, each by whom it is given to."""

    async def made(path: str, body: dict[str, Any], by: str = "admin.ferro") -> dict[str, Any]:
        answer = await outside.api("POST", path, body, by=by)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    contacts = {"support_contact": "help@apart.example", "security_contact": "sec@apart.example"}
    vendor = await made("/vendors", {"name": "Apart"} | contacts)
    app = await made(
        "/apps",
        {
            "vendor": vendor["id"],
            "name": "Apart",
            "description": "One.",
            "purpose": "To be apart.",
            "category": "scheduling",
        },
    )
    version = await made(f"/apps/{app['id']}/versions", {"label": "1"})
    client = {
        "app": app["id"],
        "version": version["id"],
        "client_name": "Apart",
        "client_type": "public",
        "deployment": "browser",
        "redirect_uris": ["http://127.0.0.1:9009/callback"],
        "launch_url": "http://127.0.0.1:9009/launch",
        "scope": "launch launch/patient openid fhirUser patient/Patient.rs",
    }
    registered = await made("/clients", client)
    certified = {
        "version": version["id"],
        "environment": "sandbox",
        "scopes": client["scope"].split(),
        "expires_at": (datetime.now(UTC) + timedelta(days=30)).isoformat(),
    }
    await made("/certifications", certified, by="reviewer.mensah")
    async with administrator(outside, ADMIN_HERE, HERE) as api:
        body = {"tenant": HERE, "app": app["id"], "roles": ["physician"]}
        installed = await api.post("/installations", json=body)
        assert installed.status_code == 201, installed.text
    return str(registered["id"])


NAMES = (
    "nowhere", "GENERAL", "General", "general ", "general%00", "general%2f..", "..%2fgeneral", "%2e%2e", "-", "g" * 33,
    "general,children", "général", "%c3%28", "general;children", "*", "0",
)  # fmt: skip
ROUTES = (
    ("GET", "fhir/metadata"), ("GET", "fhir/Patient"), ("GET", "fhir/.well-known/smart-configuration"),
    ("GET", ".well-known/openid-configuration"), ("GET", "oauth/authorize?client_id=bench-public"), ("GET", "oauth/jwks.json"),
    ("POST", "oauth/token"), ("POST", "oauth/introspect"), ("POST", "oauth/revoke"), ("POST", "oauth/register"),
    ("GET", "oauth/manage"), ("POST", "oauth/manage"), ("GET", "signin"), ("POST", "signin"), ("POST", "ehr/launches"),
    ("POST", "ehr/activity"), ("GET", "ehr/open/x"), ("PATCH", "ehr/launches/x"), ("DELETE", "ehr/launches/x"),
)  # fmt: skip


def test_made_up_tenants_lead_nowhere_on_any_route(hospital: Running) -> None:
    """C145: no route answers 5xx, and none says anything of a hospital."""

    async def story(outside: Outside) -> None:
        held = await outside.grant(tenant=HERE)
        base = outside.running.base
        secrets = [each["name"] for each in outside.running.card["tenants"]]

        async def ask(name: str, method: str, route: str) -> None:
            data = "token=x&grant_type=client_credentials" if method == "POST" else None
            headers = held.bearer | {"content-type": "application/x-www-form-urlencoded"}
            url = f"{base}/t/{quote(name, safe='%,;*')}/{route}"
            answer = await outside.http.request(method, url, content=data, headers=headers)
            assert 300 <= answer.status_code < 500, (url, answer.status_code, answer.text)
            assert not any(each in answer.text for each in secrets), (url, answer.text)
            if answer.status_code < 400:
                assert answer.headers["location"].startswith(base), url

        for name in NAMES:
            await asyncio.gather(*(ask(name, method, route) for method, route in ROUTES))
        for name in NAMES[:4]:
            answer = await outside.http.get(f"{base}/.well-known/oauth-authorization-server/t/{quote(name)}")
            assert answer.status_code == 404, answer.text

    tell(hospital, story)
