"""Kill switches over four workers: each target stops every endpoint, on every worker, within seconds; its release revives nothing."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.effort import FULL
from tests.flows.outside.ground import (
    EVERY_WORKER,
    PATIENCE_S,
    SCOPE,
    STANDALONE,
    WORKERS,
    Grant,
    Outside,
    refused_grant,
    tell,
    until_all,
)
from tests.sim.browser import Client
from tests.sim.running import Running

CEILING_S = 5.0
"""C139: the ceiling of P9."""
DELEGATED = frozenset({"authorize", "code", "refresh", "introspect", "launch", "gateway"})
EVERY_ENDPOINT = DELEGATED | {"credentials", "service"}
SERVICE = frozenset({"credentials", "service"})

TARGETS: dict[str, tuple[str, str, frozenset[str], bool]] = {
    # name: kind, key, the endpoints that close, whether the next hospital is stopped too
    "the platform": ("platform", "", EVERY_ENDPOINT, True),
    "the tenant": ("tenant", "general", EVERY_ENDPOINT, False),
    "the vendor": ("vendor", "{vendor}", EVERY_ENDPOINT, True),
    "the app": ("app", "{app}", DELEGATED, True),
    "a service's app": ("app", "{service}", SERVICE, False),
    "the version": ("version", "{version}", DELEGATED, True),
    "the person": ("person", "{person}", DELEGATED, False),
    "the app at the tenant": ("app_tenant", "{app}/general", DELEGATED, False),
    "the service at the tenant": ("app_tenant", "{service}/general", SERVICE, False),
    "the app for the person": ("app_person", "{app}/{person}", DELEGATED, False),
}
TRIED = TARGETS if FULL else ("the platform", "a service's app", "the app at the tenant")
"""One of each reach: everything, one service wherever it is, one app at one hospital. Every target at every endpoint, in one process:
tests/flows/test_endpoints_under_stops.py.
"""
WIDE = {"platform", "tenant", "vendor", "app", "scope", "resource_type"}


@dataclass
class Endpoints:
    """Everything that was issued before the switch, and the ways to try it."""

    outside: Outside
    held: Grant
    code: tuple[Client, httpx2.URL]
    later_code: tuple[Client, httpx2.URL]
    service: dict[str, str]
    next_door: Grant
    launch: str
    answers: dict[str, httpx2.Response | httpx2.URL] = field(default_factory=dict)

    async def refused(self, endpoint: str) -> bool:
        answer = await getattr(self, f"_{endpoint}")()
        self.answers[endpoint] = answer
        if isinstance(answer, httpx2.URL):
            return "code" not in answer.params
        if endpoint == "introspect":
            return bool(answer.json() == {"active": False})
        return bool(answer.status_code in {400, 401, 403})

    async def _authorize(self) -> httpx2.URL | httpx2.Response:
        client = self.held.client
        self.held.browser.patient = self.held.patient
        return await self.held.browser.go(client.authorize_url(STANDALONE), (client.redirect_uri,))

    async def _code(self) -> httpx2.Response:
        client, redirected = self.code
        return await client.redeem(redirected)

    async def _refresh(self) -> httpx2.Response:
        return await self.held.client.token(
            grant_type="refresh_token", refresh_token=self.held.token["refresh_token"]
        )

    async def _introspect(self) -> httpx2.Response:
        server = await self.outside.system_client("resource_servers")
        return await introspect(server, self.held.token["access_token"])

    async def _launch(self) -> httpx2.Response:
        return await self.outside.open_launch("bench-symmetric")

    async def _gateway(self) -> httpx2.Response:
        return await self.outside.read(self.held)

    async def _credentials(self) -> httpx2.Response:
        return await self.outside.backend()

    async def _service(self) -> httpx2.Response:
        """The gateway, with a backend's token."""
        return await self.outside.http.get(
            f"{self.held.client.fhir}/Patient/{self.held.patient}", headers=self.service
        )


async def introspect(server: Client, token: str) -> httpx2.Response:
    secret = (server.id, server.card["secret"])
    return await server.http.post(
        server.discovery["introspection_endpoint"], data={"token": token}, auth=secret
    )


async def everything_issued(outside: Outside) -> Endpoints:
    outside.forget_ehr()
    held, first, second, service, next_door, opened = await asyncio.gather(
        outside.grant(),
        outside.code("bench-symmetric"),
        outside.code("bench-symmetric"),
        outside.backend(),
        outside.grant(tenant="children"),
        outside.open_launch("bench-symmetric"),
    )
    assert service.status_code == 200, service.text
    bearer = {"authorization": f"Bearer {service.json()['access_token']}"}
    open_url = opened.json()["open_url"]
    return Endpoints(outside, held, (first[0], first[2]), (second[0], second[2]), bearer, next_door, open_url)


async def ids_of(outside: Outside) -> dict[str, str]:
    service = await outside.app_of("bench-backend")
    return await outside.app_of("bench-symmetric") | {
        "service": service["app"],
        "person": await outside.person_id(),
    }


async def engaged_under_load(outside: Outside, ask: Any, kind: str, key: str) -> tuple[dict[str, Any], float]:
    """Engage while eight callers keep asking over fresh connections; return when the last request that passed was sent after it."""
    passed: list[datetime] = []
    row, begun = 0, time.monotonic()

    async def one() -> None:
        nonlocal row
        sent = datetime.now(UTC)
        answer = await ask()
        row = 0 if answer.status_code == 200 else row + 1
        if answer.status_code == 200:
            passed.append(sent)

    async def callers() -> None:
        while row < EVERY_WORKER:
            await asyncio.gather(*(one() for _ in range(8)))
            assert time.monotonic() - begun < PATIENCE_S, "some worker goes on answering"

    calling = asyncio.create_task(callers())
    while len(passed) < 8:
        await asyncio.sleep(0)
        assert not calling.done()
    switch = await outside.engage(kind, key)
    await calling
    return switch, (max(passed) - datetime.fromisoformat(switch["engaged_at"])).total_seconds()


async def heard(outside: Outside, switch_id: str) -> dict[str, float]:
    """Return by worker how many seconds it took to learn of a switch, once all have recorded it."""
    begun = time.monotonic()
    while True:
        events = (await outside.api("GET", "/audit/events?action=gateway.switch.enforced")).json()["items"]
        mine = [each["facts"] for each in events if each["facts"]["switch"] == switch_id]
        if len({each["worker"] for each in mine}) == WORKERS:
            return {each["worker"]: each["ms"] / 1000 for each in mine}
        assert time.monotonic() - begun < PATIENCE_S, mine
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("name", TRIED)
def test_a_full_stop_closes_every_endpoint_on_every_worker_and_its_release_revives_nothing(
    hospital: Running, name: str
) -> None:
    """C138, C139, C140, C143, C144, K3."""
    kind, template, stopped, far = TARGETS[name]

    async def story(outside: Outside) -> None:
        key = template.format(**await ids_of(outside))
        endpoints = await everything_issued(outside)
        for endpoint in sorted(EVERY_ENDPOINT - {"code", "refresh"}):
            assert not await endpoints.refused(endpoint), (endpoint, endpoints.answers[endpoint])

        watched = endpoints._gateway if "gateway" in stopped else endpoints._service
        switch, passed = await engaged_under_load(outside, watched, kind, key)
        try:
            told = await heard(outside, switch["id"])
            print(f"{kind}: last pass {passed * 1000:.0f} ms, heard {max(told.values()) * 1000:.0f} ms")

            assert max(told.values()) < CEILING_S
            assert passed <= max(told.values())
            # Refusals of before the last worker's confirmation are not counted by the report; these are of after it.
            await until_all(watched, lambda answer: answer.status_code != 200)
            await contained(outside, switch, told)
            for endpoint in sorted(EVERY_ENDPOINT - {"code", "refresh"} | (stopped & {"code", "refresh"})):
                assert await endpoints.refused(endpoint) == (endpoint in stopped), (
                    endpoint,
                    endpoints.answers[endpoint],
                )
            assert ((await outside.read(endpoints.next_door)).status_code == 403) == far
            if kind not in {"platform", "tenant"}:
                assert (await outside.read(endpoints.next_door, "metadata")).status_code == 200
        except BaseException:
            # The hospital is everybody's.
            await outside.release(switch["id"])
            raise

        await released(outside, switch)
        outside.forget_ehr()
        await until_all(
            lambda: outside.read(endpoints.held), lambda a: (a.status_code != 200) == ("gateway" in stopped)
        )
        for endpoint in sorted(stopped & {"gateway", "introspect", "refresh", "service"}):
            assert await endpoints.refused(endpoint), (endpoint, endpoints.answers[endpoint])
        if "code" in stopped:
            client, redirected = endpoints.later_code
            assert refused_grant(await client.redeem(redirected))
            old = await outside.browser().go(endpoints.launch, (client.card["launch_url"],))
            assert isinstance(old, httpx2.Response), old
            assert old.status_code == 403, old.text
        for endpoint in sorted({"authorize", "credentials", "launch"}):
            assert not await endpoints.refused(endpoint), (endpoint, endpoints.answers[endpoint])
        second = await outside.grant()
        assert (await outside.read(second)).status_code == 200

    tell(hospital, story)


async def contained(outside: Outside, switch: dict[str, Any], told: dict[str, float]) -> None:
    """The journals of all workers prove what was seen from outside, for targets that records are indexed by (C148)."""
    unnamed, begun = switch["kind"] == "version", time.monotonic()
    while True:
        answer = await outside.api("GET", f"/switches/{switch['id']}/containment", by="security.ito")
        assert answer.status_code == 200, answer.text
        report = answer.json()["report"]
        # The index of accesses follows the journals within a second or two.
        if unnamed or sum(each["refused"] for each in report["tenants"]) >= EVERY_WORKER:
            break
        assert time.monotonic() - begun < PATIENCE_S, report
        await asyncio.sleep(0.2)
    assert report["verdict"] == ("not_proven" if unnamed else "contained"), report
    assert report["gaps"] == (["target_not_recorded"] if unnamed else [])
    assert {each["worker"] for each in report["confirmations"]} == set(told)
    assert unnamed or all(each["last_permitted"] for each in report["tenants"]), report["tenants"]


async def released(outside: Outside, switch: dict[str, Any]) -> None:
    """One person releases a narrow switch; a wide one stays until another says so too (C143)."""
    path = f"/switches/{switch['id']}/release"
    first = await outside.api("POST", path, by="security.ito")
    assert first.status_code == 200, first.text
    assert first.json()["in_force"] == (switch["kind"] in WIDE)
    if switch["kind"] in WIDE:
        again = await outside.api("POST", path, by="security.ito")
        assert (again.status_code, again.json()["code"]) == (409, "asked_by_you"), "one person is not two"
        second = await outside.api("POST", path, by="security.bauer")
        assert second.status_code == 200, second.text
        assert not second.json()["in_force"], second.text


PARTS = {
    "a scope": ("scope", "patient/Observation.rs"),
    "a resource type": ("resource_type", "Observation"),
}


WILD = SCOPE.replace("Patient.rs patient/Observation.rs", "*.rs")
HELD = [("a scope", SCOPE), ("a resource type", WILD)]


@pytest.mark.parametrize(
    ("name", "held"), HELD + ([("a scope", WILD), ("a resource type", SCOPE)] if FULL else [])
)
def test_a_stopped_scope_or_type_leaves_the_rest_and_never_comes_back_to_older_grants(
    hospital: Running, name: str, held: str
) -> None:
    """C138, C140, security 8: the part is taken out at the gateway, at introspection and at refresh, for good."""
    kind, key = PARTS[name]
    observation, patient = "Observation?code=8867-4", "Patient"

    async def story(outside: Outside) -> None:
        grant, far = await asyncio.gather(outside.grant(scope=held), outside.grant(tenant="children"))
        code_client, _, redirected = await outside.code("bench-symmetric", scope=held)
        assert (await outside.read(grant, observation)).status_code == 200

        switch, passed = await engaged_under_load(
            outside, lambda: outside.read(grant, observation), kind, key
        )
        told = await heard(outside, switch["id"])
        assert passed <= max(told.values()) < CEILING_S
        assert (await outside.read(grant, patient)).status_code == 200
        assert (await outside.read(far, observation)).status_code == 403
        redeemed = (await code_client.redeem(redirected)).json()
        assert not reaches(redeemed["scope"], "Observation"), redeemed["scope"]
        assert reaches(redeemed["scope"], "Patient"), redeemed["scope"]
        refreshed = await grant.client.token(
            grant_type="refresh_token", refresh_token=grant.token["refresh_token"]
        )
        assert not reaches(refreshed.json()["scope"], "Observation"), refreshed.text

        await released(outside, switch)
        newest = await grant.client.token(
            grant_type="refresh_token", refresh_token=refreshed.json()["refresh_token"]
        )
        late = Grant(grant.client, grant.browser, newest.json(), grant.patient)
        await until_all(lambda: outside.read(late, observation), lambda a: a.status_code == 403)
        await until_all(lambda: outside.read(late, patient), lambda a: a.status_code == 200, in_a_row=1)
        second = await outside.grant(scope=held)
        await until_all(lambda: outside.read(second, observation), lambda a: a.status_code == 200)

    tell(hospital, story)


def reaches(scope: str, resource_type: str) -> bool:
    return any(f"/{each}." in f" {scope}" for each in (resource_type, "*"))


def test_a_stopped_scope_is_not_granted_again_and_not_given_to_services(hospital: Running) -> None:
    """C140: authorize and client credentials leave it out; asked alone, they refuse."""

    async def story(outside: Outside) -> None:
        switch = await outside.engage("resource_type", "Observation")
        try:
            second = await outside.grant()
            assert not reaches(second.token["scope"], "Observation"), second.token["scope"]
            both = await outside.backend(scope="system/Observation.rs system/Patient.rs")
            assert not reaches(both.json()["scope"], "Observation"), both.text
            alone = await outside.backend(scope="system/Observation.rs")
            assert alone.status_code == 400, alone.text
            assert alone.json()["error"] == "invalid_scope"
        finally:
            await outside.release(switch["id"])

    tell(hospital, story)


def test_softer_modes_stop_only_what_they_say_and_end_nothing(hospital: Running) -> None:
    """C142: observe stops nothing, no new launches stops launches, read only stops writes; all are over with their release."""

    async def story(outside: Outside) -> None:
        ids = await ids_of(outside)
        scope = SCOPE.replace("Observation.rs", "Observation.cruds")
        held = await outside.grant(scope=scope)
        key = f"{ids['app']}/general"
        wants = {"observe": (200, 201, 201), "no_new_launches": (200, 201, 403), "read_only": (200, 403, 201)}
        for mode, (reading, writing, launching) in wants.items():
            switch = await outside.engage("app_tenant", key, mode)
            await heard(outside, switch["id"])
            seen = (
                await outside.read(held),
                await write(outside, held),
                await outside.open_launch("bench-symmetric"),
            )
            assert tuple(each.status_code for each in seen) == (reading, writing, launching), mode
            await outside.release(switch["id"])
        await until_all(lambda: write(outside, held), lambda a: a.status_code == 201, in_a_row=24)
        refreshed = await held.client.token(
            grant_type="refresh_token", refresh_token=held.token["refresh_token"]
        )
        assert refreshed.status_code == 200, refreshed.text

    tell(hospital, story)


async def write(outside: Outside, held: Grant) -> httpx2.Response:
    resource = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "a drill"},
        "subject": {"reference": f"Patient/{held.patient}"},
        "effectiveDateTime": datetime.now(UTC).isoformat(),
    }
    headers = held.bearer | {"content-type": "application/fhir+json"}
    return await outside.http.post(f"{held.client.fhir}/Observation", json=resource, headers=headers)


def test_a_switch_that_runs_out_leaves_earlier_tokens_dead(hospital: Running) -> None:
    """C138, C143: the end time is an end like a release."""

    async def story(outside: Outside) -> None:
        ids, held = await ids_of(outside), await outside.grant()
        until = datetime.now(UTC) + timedelta(seconds=2)
        switch = await outside.engage("app_tenant", f"{ids['app']}/general", expires_at=until.isoformat())
        begun = time.monotonic()
        while (await outside.api("GET", f"/switches/{switch['id']}")).json()["in_force"]:
            assert time.monotonic() - begun < PATIENCE_S
            await asyncio.sleep(0.05)
        await until_all(lambda: outside.read(held), lambda a: a.status_code in {401, 403})
        second = await outside.grant()
        await until_all(lambda: outside.read(second), lambda a: a.status_code == 200)

    tell(hospital, story)


def test_switching_at_one_hospital_leaves_the_latency_of_another_alone(hospital: Running) -> None:
    """C144: no call at the other hospital fails or waits for the switch."""

    async def story(outside: Outside) -> None:
        far = await outside.grant(tenant="children")
        key = f"{(await ids_of(outside))['app']}/general"
        took: list[float] = []

        async def reads() -> None:
            for _ in range(60):
                begun = time.monotonic()
                answer = await outside.read(far)
                took.append(time.monotonic() - begun)
                assert answer.status_code == 200, answer.text

        async def switches() -> None:
            for _ in range(5):
                switch = await outside.engage("app_tenant", key)
                await outside.release(switch["id"])

        await asyncio.gather(reads(), switches())
        assert max(took) < CEILING_S, sorted(took)[-3:]

    tell(hospital, story)


@pytest.mark.parametrize(
    ("by", "kind", "key"),
    [
        ("reviewer.mensah", "app", "{app}"),
        ("auditor.quispe", "platform", ""),
        ("security.ito", "app", "app_that_is_not"),
        ("security.ito", "person", "per_nobody"),
        ("security.ito", "tenant", "nowhere"),
        ("security.ito", "scope", "patient/Observation.zz"),
        ("security.ito", "platform", "x"),
    ],
)
def test_a_switch_is_engaged_by_whom_it_is_given_to_and_on_what_exists(
    hospital: Running, by: str, kind: str, key: str
) -> None:
    """C138, C182: a refusal leaves no switch."""

    async def story(outside: Outside) -> None:
        before = (await outside.api("GET", "/switches")).json()["items"]
        body = {"kind": kind, "key": key.format(**await ids_of(outside)), "reason": "a drill"}
        answer = await outside.api("POST", "/switches", body, by=by)
        assert answer.status_code in {403, 404, 422}, answer.text
        assert (await outside.api("GET", "/switches")).json()["items"] == before

    tell(hospital, story)
