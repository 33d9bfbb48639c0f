"""What was planted in every flow, done right, done wrong and broken on our side, stands in no log and, if it is a secret, in no table."""

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson

from tests.flows.outside.conftest import Starter
from tests.flows.outside.ground import SCOPE, STANDALONE, Grant, Outside, tell
from tests.sim.browser import Person
from tests.sim.running import Running

CANARY = "canary7Q"


@dataclass
class Planted:
    """``secrets`` must stand nowhere but with their owner; ``words`` not in a log."""

    secrets: set[str] = field(default_factory=set)
    words: set[str] = field(default_factory=set)

    def keep(self, answer: dict[str, Any]) -> None:
        names = ("access_token", "refresh_token", "id_token", "client_secret", "token", "launch")
        halves = ("secret_start", "secret_end")
        self.secrets |= {str(answer[name]) for name in (*names, *halves) if answer.get(name)}


def test_nothing_planted_in_any_flow_stands_in_a_log_or_as_a_usable_secret_in_a_table(
    from_seed: Starter,
) -> None:
    """C153, C9: patients' names and ids, tokens, codes, handles, secrets, passwords and query strings; also while tables are broken."""
    running, planted = from_seed(workers=1), Planted()
    for kind in ("clients", "ehr_clients", "resource_servers"):
        planted.secrets |= {each["secret"] for each in running.card[kind] if each["secret"]}
    planted.secrets |= {each["api_token"] for each in running.card["staff"]}
    planted.words |= {each["id"] for each in running.card["patients"]}
    planted.words |= {each["name"] for each in running.card["patients"]}
    planted.words |= {each["password"] for each in running.card["people"]}

    async def story(outside: Outside) -> None:
        await right(outside, planted)
        await wrong(outside, planted)
        await staff(outside, planted)
        held = await outside.grant()
        planted.keep(held.token)
        in_tables(running, planted)
        await broken(outside, held)

    tell(running, story)
    running.stop()
    found = running.log
    assert "failed" in found or "broken" in found, "what broke is told of"
    assert "Traceback" not in found
    told = sorted(each for each in planted.secrets | planted.words if each in found)
    assert not told, told
    assert CANARY not in found
    assert "SELECT" not in found


async def right(outside: Outside, planted: Planted) -> None:
    """Launch, sign in, pick, redeem, refresh, read, search, write, introspect, revoke."""
    for client_id in ("bench-symmetric", "bench-public"):
        client, browser, redirected = await outside.code(client_id)
        planted.secrets |= {redirected.params["code"], client.verifier}
        grant = Grant(client, browser, (await client.redeem(redirected)).json(), "")
        planted.keep(grant.token)
        refreshed = await client.token(grant_type="refresh_token", refresh_token=grant.token["refresh_token"])
        planted.keep(refreshed.json())
        grant.token = refreshed.json()
        for path in ("Patient", f"Patient?name={CANARY}", f"Observation?code={CANARY}", f"Patient/{CANARY}"):
            await outside.read(grant, path)
        for endpoint in ("introspection_endpoint", "revocation_endpoint"):
            form = {"token": grant.token["access_token"], "client_id": client.id}
            form |= {"client_secret": client.card["secret"]} if client.card["secret"] else {}
            await outside.http.post(client.discovery[endpoint], data=form)
    patient = outside.browser("patient")
    client = await outside.client("bench-public")
    back = await patient.go(client.authorize_url(STANDALONE), (client.redirect_uri,))
    assert isinstance(back, httpx2.URL)
    planted.keep((await client.redeem(back)).json())
    planted.keep((await outside.backend()).json())
    opened = (await outside.open_launch("bench-symmetric", intent=CANARY)).json()
    planted.secrets |= {opened["launch"], urlsplit(opened["open_url"]).path.rpartition("/")[2]}
    for cookie in patient.http.cookies.jar:
        planted.secrets.add(str(cookie.value))


async def wrong(outside: Outside, planted: Planted) -> None:
    """The same with everything wrong."""
    http, base = outside.http, outside.running.tenant()
    who = outside.running.person("physician")
    password = f"wrong-{CANARY}-password"
    stranger = Person(outside.fresh(), who["username"], password)
    client = await outside.client("bench-symmetric")
    await stranger.http.get(client.authorize_url(STANDALONE, launch=CANARY), follow_redirects=True)
    page = await stranger.http.get(f"{base['issuer']}/signin")
    form = stranger._fill(page)
    assert form
    await stranger.http.post(f"{base['issuer']}/signin", data=dict(form[1]))
    held = await outside.grant()
    planted.keep(held.token)
    used = await outside.code("bench-symmetric")
    await client.token(grant_type="authorization_code", code=used[2].params["code"], redirect_uri=CANARY)
    for url, data in (
        ("token_endpoint", {"grant_type": "authorization_code", "code": CANARY}),
        ("token_endpoint", {"grant_type": "refresh_token", "refresh_token": f"hil_rt_{CANARY}"}),
        ("introspection_endpoint", {"token": f"hil_at_{CANARY}"}),
        ("revocation_endpoint", {"token": CANARY}),
    ):
        await http.post(client.discovery[url], data=data, auth=(client.id, f"hil_cs_{CANARY}"))
        await http.post(client.discovery[url], content=f"{CANARY}=%ff&{CANARY}")
        await http.post(client.discovery[url], json={CANARY: CANARY})
    metadata = {
        "client_name": CANARY,
        "redirect_uris": [f"http://{CANARY}/*"],
        "jwks_uri": f"http://127.0.0.1:1/{CANARY}",
    }
    await http.post(client.discovery["registration_endpoint"], json=metadata)
    await http.post(base["launch_api"], json={"person": CANARY}, headers=await outside.ehr_bearer())
    await http.get(f"{base['issuer']}/ehr/open/{CANARY}")
    await http.get(f"{outside.running.base}/{CANARY}?x={CANARY}")
    await http.get(f"{base['fhir']}/Patient?{CANARY}={CANARY}", headers={"authorization": f"Bearer {CANARY}"})
    for method, path, body in (
        ("POST", "Observation", b'{"resourceType":"Observation","note":"' + CANARY.encode()),
        ("POST", "Observation", orjson.dumps({"resourceType": "Observation", "status": CANARY})),
        ("PUT", f"Patient/{CANARY}", orjson.dumps({"resourceType": "Patient", "id": CANARY})),
        ("POST", "", b"x" * 3_000_000),
        ("GET", f"Patient?name:{CANARY}=1", b""),
        ("GET", f"{CANARY}/{CANARY}", b""),
    ):
        headers = held.bearer | {"content-type": "application/fhir+json"}
        await http.request(method, f"{base['fhir']}/{path}", content=body, headers=headers)


async def staff(outside: Outside, planted: Planted) -> None:
    """The API, right and wrong."""
    body = {"username": "admin.ferro", "password": f"wrong-{CANARY}"}
    for sent in (body, body | {"password": "sandbox-admin.ferro"}, {CANARY: CANARY}):
        answer = await outside.http.post(f"{outside.running.base}/api/v1/tokens", json=sent)
        planted.keep(answer.json())
    for path in (f"/people/{CANARY}", f"/explain/{CANARY}", f"/accesses?patient={CANARY}", f"/{CANARY}"):
        await outside.api("GET", path)
    await outside.api("POST", "/people", {"username": CANARY, "name": CANARY, "role": CANARY})
    asked = await outside.api(
        "POST", "/tenants/general/system-clients", {"client_type": "ehr", "client_name": "E"}
    )
    planted.keep(asked.json())
    second = next(each for each in outside.running.card["staff"] if each["username"] == "security.ito")
    agreed = await outside.http.post(
        f"{outside.running.base}/api/v1/approvals/{asked.json()['approval']['id']}/approve",
        headers={"authorization": f"Bearer {second['api_token']}"},
    )
    planted.keep(agreed.json())
    pending = await outside.api(
        "POST", "/tenants/general/system-clients", {"client_type": "ehr", "client_name": "F"}
    )
    planted.keep(pending.json())


def in_tables(running: Running, planted: Planted) -> None:
    """C9: a dump of every database holds no secret that could be used. (The sandbox's credentials file publishes its own.)"""
    databases = [running.home / "hilum.db", *(running.home / "journal").glob("*.db")]
    for path in databases:
        with closing(sqlite3.connect(path)) as db:
            dump = "\n".join(db.iterdump())
        found = sorted(each for each in planted.secrets if each in dump)
        assert not found, (path.name, found)


async def broken(outside: Outside, held: Grant) -> None:
    """Take tables away under a running platform: what fails then may be a 500 or 503, and is told of without its data."""
    home: Path = outside.started.home
    client = await outside.client("bench-public")
    for database, tables in (
        (home / "fhir" / "general.db", None),
        (
            home / "hilum.db",
            ("access_token", "signin_session", "authorization_request", "launch", "identity_person"),
        ),
    ):
        with closing(sqlite3.connect(database)) as db, db:
            db.execute("PRAGMA foreign_keys = OFF")
            names = tables or [
                name
                for (name,) in db.execute(
                    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
                )
            ]
            for name in names:
                db.execute(f'ALTER TABLE "{name}" RENAME TO "{name}_gone"')
        answers = await asyncio.gather(
            outside.read(held),
            outside.read(held, f"Observation?code={CANARY}"),
            outside.http.get(client.authorize_url(SCOPE, launch=CANARY, state=CANARY)),
            client.token(grant_type="authorization_code", code=CANARY, redirect_uri=CANARY),
            client.token(grant_type="refresh_token", refresh_token=held.token["refresh_token"]),
            outside.api("GET", f"/people/{CANARY}"),
            outside.http.post(
                f"{outside.running.base}/api/v1/tokens", json={"username": CANARY, "password": CANARY * 3}
            ),
            outside.open_launch("bench-symmetric"),
        )
        for answer in answers:
            assert "Traceback" not in answer.text
            assert "SELECT" not in answer.text
            assert "sqlite" not in answer.text.lower()
