"""Many people, apps and hospitals at once on four workers: nothing fails, nothing repeats, nobody gets somebody else's chart."""

import asyncio
import base64
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Any

import httpx2
import orjson

from tests.effort import effort
from tests.flows.outside.ground import SCOPE, STANDALONE, Grant, Outside, tell
from tests.sim.running import Running

FLOWS = effort(36, 200)
"""C58 promises 200."""
SIGN_INS_AT_ONCE = 5
CLIENTS = ("bench-symmetric", "bench-public", "bench-asymmetric")


@dataclass
class Seen:
    """What came out of every flow. ``statuses`` counts every answer of every kind."""

    statuses: Counter[int] = field(default_factory=Counter)
    once: list[str] = field(default_factory=list)
    at_door: defaultdict[str, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(SIGN_INS_AT_ONCE))
    )
    """By person: who signs in more often at one instant is asked to wait (C57), as no one person does."""
    crossed: list[str] = field(default_factory=list)


def test_parallel_mixed_flows_neither_fail_nor_repeat_nor_cross(hospital: Running) -> None:
    """C58: EHR launches, standalone launches, refreshes, backends and reads at three hospitals in parallel."""

    async def story(outside: Outside) -> Seen:
        seen = Seen()

        async def count(answer: httpx2.Response) -> None:
            seen.statuses[answer.status_code] += 1

        outside.hooks.append(count)
        kinds = (launched, launched, standalone, backend)
        turns = enumerate(islice(cycle(kinds), FLOWS))
        await asyncio.gather(*(kind(outside, seen, number) for number, kind in turns))
        return seen

    seen = tell(hospital, story)
    assert not any(status >= 500 for status in seen.statuses), seen.statuses
    assert not seen.crossed, seen.crossed
    assert len(seen.once) == len(set(seen.once)), "a code, handle or token was given twice"
    assert len(seen.once) >= FLOWS * 2


def tenant_of(outside: Outside, number: int) -> str:
    return str(outside.running.card["tenants"][number % 3]["id"])


async def launched(outside: Outside, seen: Seen, number: int) -> None:
    """A clinician launches on one of many charts; the app reads, refreshes and reads again."""
    tenant = tenant_of(outside, number)
    charts = [
        each for each in outside.running.card["patients"] if each["tenant"] == tenant and each["encounters"]
    ]
    chart = charts[number % len(charts)]
    role = ("physician", "nurse")[number % 2]
    client = await outside.client(CLIENTS[number % 3], tenant)
    opened = await outside.open_launch(
        client.id, tenant, role=role, patient=chart["id"], encounter=chart["encounters"][0]
    )
    assert opened.status_code == 201, opened.text
    browser = outside.browser(role, tenant)
    async with seen.at_door[browser.username]:
        arrived = await browser.go(opened.json()["open_url"], (client.card["launch_url"],))
    assert isinstance(arrived, httpx2.URL), arrived.text
    url = client.authorize_url(SCOPE, launch=arrived.params["launch"])
    back = await browser.go(url, (client.redirect_uri,))
    assert isinstance(back, httpx2.URL), back.text
    answer = await client.redeem(back, now=int(time.time()))
    assert answer.status_code == 200, answer.text
    seen.once += [back.params["code"], arrived.params["launch"]]
    grant = Grant(client, browser, answer.json(), chart["id"])
    await look(outside, seen, grant, outside.running.person(role, tenant))
    assert grant.token["encounter"] == chart["encounters"][0]
    refreshed = await client.token(
        grant_type="refresh_token", refresh_token=grant.token["refresh_token"], now=int(time.time())
    )
    assert refreshed.status_code == 200, refreshed.text
    grant.token = refreshed.json() | {"id_token": grant.token["id_token"]}
    await look(outside, seen, grant, outside.running.person(role, tenant))


async def standalone(outside: Outside, seen: Seen, number: int) -> None:
    """A patient signs in and gives an app their own chart, or the one they act for."""
    tenant = tenant_of(outside, number)
    people = [
        each
        for each in outside.running.card["people"]
        if each["tenant"] == tenant and each["role"] == "patient"
    ]
    who = people[number % len(people)]
    client = await outside.client("bench-public", tenant)
    browser = outside.browser("patient", tenant)
    browser.username, browser.password = who["username"], who["password"]
    async with seen.at_door[who["username"]]:
        back = await browser.go(client.authorize_url(STANDALONE), (client.redirect_uri,))
    assert isinstance(back, httpx2.URL), back.text
    answer = await client.redeem(back)
    assert answer.status_code == 200, answer.text
    seen.once.append(back.params["code"])
    own = who["fhirUser"].rpartition("/fhir/")[2]
    told = answer.json()
    chart = (
        own.removeprefix("Patient/")
        if own.startswith("Patient/") and not told["patient"]
        else told["patient"]
    )
    await look(outside, seen, Grant(client, browser, told, chart), who)


async def backend(outside: Outside, seen: Seen, number: int) -> None:
    """A service reads at one hospital."""
    tenant = tenant_of(outside, number)
    answer = await outside.backend(tenant)
    assert answer.status_code == 200, answer.text
    token = answer.json()
    seen.once += [token["access_token"], token["access_token"] + "#"]
    where = outside.running.tenant(tenant)["fhir"]
    found = await outside.http.get(
        f"{where}/Patient?_count=5", headers={"authorization": f"Bearer {token['access_token']}"}
    )
    assert found.status_code == 200, found.text
    note_crossing(
        seen,
        found.json(),
        where,
        {each["id"] for each in outside.running.card["patients"] if each["tenant"] == tenant},
    )


async def look(outside: Outside, seen: Seen, grant: Grant, who: dict[str, Any]) -> None:
    """Read the chart and hold everything against whose it must be."""
    seen.once.append(grant.token["access_token"])
    if grant.token["patient"] != grant.patient:
        seen.crossed.append(f"{grant.token['patient']} for {grant.patient}")
    claims = orjson.loads(base64.urlsafe_b64decode(grant.token["id_token"].split(".")[1] + "=="))
    if claims["fhirUser"] != who["fhirUser"]:
        seen.crossed.append(f"{claims['fhirUser']} for {who['fhirUser']}")
    own = await outside.read(grant)
    found = await outside.read(grant, "Observation?_count=10")
    assert {own.status_code, found.status_code} == {200}, (own.text, found.text)
    if own.json()["id"] != grant.patient:
        seen.crossed.append(f"read {own.json()['id']} for {grant.patient}")
    note_crossing(seen, found.json(), grant.client.fhir, {grant.patient})


def note_crossing(seen: Seen, bundle: dict[str, Any], base: str, own: set[str]) -> None:
    for entry in bundle.get("entry", ()):
        resource = entry["resource"]
        whose = (
            resource["id"]
            if resource["resourceType"] == "Patient"
            else resource["subject"]["reference"].rpartition("/")[2]
        )
        if whose not in own or not entry["fullUrl"].startswith(base):
            seen.crossed.append(f"{entry['fullUrl']} of {whose}")
