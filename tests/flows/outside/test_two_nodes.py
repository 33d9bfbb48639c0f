"""Two nodes are one platform: what begins at one ends at the other, and what is stopped at one is stopped at both."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx2
import psycopg

from hilum.apps.installations import service as installations
from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.nodes import BEAT
from hilum.foundation.kernel.actor import SYSTEM
from tests.flows.outside.ground import PATIENCE_S, Grant, Outside, answered_within, refreshed, refused_grant
from tests.sim.nodes import Nodes


async def introspected(outside: Outside, token: str) -> dict[str, Any]:
    server = await outside.system_client("resource_servers")
    asked = {"token": token}
    secret = (server.id, server.card["secret"])
    answer = await outside.http.post(server.discovery["introspection_endpoint"], data=asked, auth=secret)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_code_flow_begun_at_one_node_ends_at_the_other(nodes: Nodes) -> None:
    """C36, C184: the code that A gave is redeemed at B, once; the token reads at both."""

    async def story(a: Outside, b: Outside, _either: Outside) -> None:
        client, browser, redirected = await a.code("bench-symmetric")
        client.http = b.http
        answer = await client.redeem(redirected)
        assert answer.status_code == 200, answer.text
        grant = Grant(client, browser, answer.json(), "p1")
        for outside in (a, b):
            assert (await outside.read(grant)).status_code == 200
        client.http = a.http
        assert refused_grant(await client.redeem(redirected)), "a second use, at the node that gave it"
        for outside in (a, b):
            await answered_within(partial(outside.read, grant), 401)

    nodes.tell(story)


def test_every_step_of_a_launch_may_fall_on_another_node(nodes: Nodes) -> None:
    """C27, C36: no step needs the node that took the one before."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        grants = await asyncio.gather(*(either.grant() for _ in range(3)))
        for grant in grants:
            assert (await a.read(grant)).status_code == (await b.read(grant)).status_code == 200

    nodes.tell(story)


def test_a_switch_engaged_at_one_node_refuses_at_the_other(nodes: Nodes) -> None:
    """C139, P9: at every door of the other node, and its release revives nothing there."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        held = await either.grant()
        assert (await b.read(held)).status_code == 200
        app = await a.app_of("bench-symmetric")
        switch = await a.engage("app_tenant", f"{app['app']}/general")
        await answered_within(lambda: b.read(held), 403)
        assert refused_grant(await refreshed(b, held))
        assert not (await introspected(b, held.token["access_token"]))["active"]
        assert (await b.open_launch("bench-symmetric")).status_code == 403
        await b.release(switch["id"])
        for outside in (a, b):
            await answered_within(partial(outside.open_launch, "bench-symmetric"), 201)
        assert (await a.read(held)).status_code == (await b.read(held)).status_code == 403
        assert refused_grant(await refreshed(a, held))

    nodes.tell(story)


def test_networks_that_are_pinned_at_one_node_count_at_the_other(nodes: Nodes) -> None:
    """C213: for new tokens and for those that are out, at each node; and so does what admits them again."""

    async def story(a: Outside, b: Outside, _either: Outside) -> None:
        issued = await a.backend()
        assert issued.status_code == 200, issued.text
        client = await a.client("bench-backend")
        held = Grant(client, a.browser(), issued.json(), "p1")
        app = (await a.app_of("bench-backend"))["app"]
        found = (await a.api("GET", "/installations?tenant=general")).json()["items"]
        (here,) = (each["id"] for each in found if each["app"] == app)
        try:
            pinned = await a.api("PUT", f"/installations/{here}/networks", {"networks": ["192.0.2.0/24"]})
            assert pinned.status_code == 200, pinned.text
            for outside in (b, a):
                await answered_within(partial(outside.read, held), 403)
                assert "network_not_allowed" in (await outside.read(held)).text
                refused = await outside.backend()
                assert (refused.status_code, "network_not_allowed" in refused.text) == (400, True), (
                    refused.text
                )
            assert (await b.backend("children")).status_code == 200, "the pin is one hospital's"
        finally:
            lift(nodes, here)
        for outside in (b, a):
            await answered_within(partial(outside.read, held), 200)
            assert (await outside.backend()).status_code == 200

    nodes.tell(story)


def lift(nodes: Nodes, installation: str) -> None:
    """Admit every network again, which takes the hospital's administrator, or the platform itself beside the nodes."""
    uow = nodes.uow()
    try:
        pin = partial(installations.pin_networks, installation_id=installation, asked=())
        uow.write_now(pin, actor=SYSTEM, trace=Trace("req_lift"))
    finally:
        uow.close()


def test_a_refresh_token_used_at_both_nodes_ends_its_family_at_both(nodes: Nodes) -> None:
    """C48: reuse is seen wherever it is tried."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        held = await either.grant()
        first = await refreshed(a, held)
        assert first.status_code == 200, first.text
        rotated = Grant(held.client, held.browser, first.json(), held.patient)
        again = await refreshed(b, held)
        assert again.json()["refresh_token"] == rotated.token["refresh_token"], (
            "the answer may have been lost (ADR 163)"
        )
        rotated.token = (await refreshed(b, rotated)).json()
        assert (await b.read(rotated)).status_code == 200
        assert refused_grant(await refreshed(b, held))
        for outside in (a, b):
            await answered_within(partial(outside.read, rotated), 401)
            assert refused_grant(await refreshed(outside, rotated))

    nodes.tell(story)


def test_of_one_code_redeemed_at_both_nodes_at_once_by_two_verifiers_nothing_lives(nodes: Nodes) -> None:
    """Security decision 9: the loser's try is a replay, so the winner's tokens are dead at both. The same request at both earns one pair."""

    async def story(a: Outside, b: Outside, _either: Outside) -> None:
        client, browser, redirected = await a.code("bench-symmetric")
        other = await b.client("bench-symmetric")
        other.verifier, other.state = client.verifier, client.state
        answers = await asyncio.gather(client.redeem(redirected), other.redeem(redirected))
        assert [each.status_code for each in answers] == [200, 200], [each.text for each in answers]
        assert len({each.json()["access_token"] for each in answers}) == 1
        other.verifier = "w" * 43
        assert refused_grant(await other.redeem(redirected))
        grant = Grant(client, browser, answers[0].json(), "p1")
        for outside in (a, b):
            await answered_within(partial(outside.read, grant), 401)

    nodes.tell(story)


def test_a_session_that_the_ehr_ends_at_one_node_is_over_at_the_other(nodes: Nodes) -> None:
    """C31: the launch is ended at A; B serves nothing under it."""

    async def story(a: Outside, b: Outside, _either: Outside) -> None:
        opened = await a.open_launch("bench-symmetric")
        assert opened.status_code == 201, opened.text
        client, browser = await b.client("bench-symmetric"), b.browser()
        arrived = await browser.go(opened.json()["open_url"], (client.card["launch_url"],))
        assert isinstance(arrived, httpx2.URL), arrived.text
        scope = "launch openid online_access patient/Patient.rs"
        url = client.authorize_url(scope, launch=arrived.params["launch"])
        redirected = await browser.go(url, (client.redirect_uri,))
        assert isinstance(redirected, httpx2.URL), redirected.text
        answer = await client.redeem(redirected)
        grant = Grant(client, browser, answer.json(), "p1")
        assert (await b.read(grant)).status_code == 200
        where = f"{a.running.tenant()['launch_api']}/{opened.json()['id']}"
        ended = await a.http.delete(where, headers=await a.ehr_bearer())
        assert ended.status_code == 204, ended.text
        for outside in (b, a):
            await answered_within(partial(outside.read, grant), 401)

    nodes.tell(story)


def test_a_token_revoked_at_one_node_is_inactive_and_refused_at_the_other(nodes: Nodes) -> None:
    """RFC 7009, RFC 7662: and a token that lives is active at both."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        held = await either.grant()
        token = held.token["access_token"]
        for outside in (a, b):
            assert (await introspected(outside, token))["active"]
        client = await a.client("bench-symmetric")
        revoked = await a.http.post(
            client.discovery["revocation_endpoint"],
            data={"token": held.token["refresh_token"]},
            auth=(client.id, client.card["secret"]),
        )
        assert revoked.status_code == 200, revoked.text
        await answered_within(lambda: b.read(held), 401)
        for outside in (a, b):
            assert await introspected(outside, token) == {"active": False}

    nodes.tell(story)


def test_one_node_dies_and_the_other_answers_on(nodes: Nodes) -> None:
    """C184: nothing that is left needs the node that died; it comes back to the same platform."""

    async def before(_a: Outside, b: Outside, either: Outside) -> Grant:
        held = await either.grant()
        nodes.a.kill()
        assert (await b.read(held)).status_code == 200
        return await b.grant()

    held = nodes.tell(before)
    nodes.heal()

    async def after(a: Outside, _b: Outside, _either: Outside) -> int:
        return (await a.read(held)).status_code

    assert nodes.tell(after) == 200
    verified = nodes.b.hilum("audit", "verify", "--json")
    assert verified.returncode == 0, verified.stdout


@contextmanager
def changed(nodes: Nodes, change: str, back: str) -> Iterator[None]:
    """Change something in the database by hand, and change it back."""
    with psycopg.connect(nodes.url, autocommit=True) as db:
        db.execute(change)
        try:
            yield
        finally:
            db.execute(back)


def test_a_database_that_leaves_this_release_behind_closes_every_node_until_it_works_again(
    nodes: Nodes,
) -> None:
    """An old node stops being ready and refuses with a reason; it never answers 500."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        held = await either.grant()
        asks: dict[str, Callable[[Outside], Any]] = {
            "readyz": lambda outside: outside.http.get(f"{nodes.base}/readyz"),
            "read": lambda outside: outside.read(held),
            "api": lambda outside: outside.api("GET", "/switches"),
            "token": lambda outside: refreshed(outside, held),
            "signin": lambda outside: outside.http.get(f"{nodes.base}/signin"),
        }
        with changed(
            nodes,
            "UPDATE schema_gate SET compatible_from = '9999'",
            "UPDATE schema_gate SET compatible_from = '0001'",
        ):
            await asyncio.gather(*(until(partial(asks["readyz"], out), 503) for out in (a, b)))
            for outside in (a, b):
                for name in ("read", "api", "signin"):
                    answer = await asks[name](outside)
                    assert answer.status_code == 503, (name, answer.text)
                    assert "retry-after" in answer.headers, name
                    assert "waiting to be upgraded" in answer.text, name
                assert (await outside.http.get(f"{nodes.base}/healthz")).status_code == 200
        await asyncio.gather(*(until(partial(asks["readyz"], out), 200) for out in (a, b)))
        assert (await a.read(held)).status_code == (await b.read(held)).status_code == 200

    nodes.tell(story)


async def until(ask: Callable[[], Awaitable[httpx2.Response]], status: int) -> None:
    """Ask until the answer is ``status``: the next heartbeat of each process brings it."""
    begun = time.monotonic()
    while (answer := await ask()).status_code != status:
        assert time.monotonic() - begun < 3 * BEAT.total_seconds(), (answer.status_code, answer.text)
        await asyncio.sleep(0.05)


def test_an_embedded_tenant_that_came_about_on_two_nodes_is_refused_with_a_reason(nodes: Nodes) -> None:
    """Both nodes answer 503 for its patients; neither answers 404, or ``total: 0``."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        held = await either.grant(tenant="children")
        made = {"id": "here", "name": "Here", "upstream": {"kind": "embedded"}}
        refused = await a.api("POST", "/tenants", made)
        assert refused.status_code == 422, refused.text
        assert "embedded_needs_one_node" in refused.text
        there = "(SELECT upstream_url FROM identity_tenant WHERE id = 'general')"
        moved = "UPDATE identity_tenant SET upstream_kind = '{}', upstream_url = {} WHERE id = 'children'"
        with changed(nodes, moved.format("embedded", "''"), moved.format("http", there)):
            told = await a.api("PATCH", "/tenants/children", {"name": "Children"})
            assert told.status_code == 200, told.text
            for outside in (a, b):
                await until(partial(outside.read, held), 503)
                for path in ("Patient/p1", "Observation?patient=p1"):
                    answer = await outside.read(held, path)
                    assert answer.status_code == 503, answer.text
                    assert "upstream_unavailable" in answer.text
        await a.api("PATCH", "/tenants/children", {"name": "Children's"})
        await until(lambda: b.read(held), 200)

    nodes.tell(story)


def test_an_apps_quota_is_divided_by_the_workers_of_all_nodes(nodes: Nodes) -> None:
    """With two nodes an app got twice what it was allowed."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        held = await either.grant()
        app = (await a.app_of("bench-symmetric"))["app"]
        path = f"/quotas/{app}/general"
        wide = {"rate_per_s": 10_000, "burst": 10_000}
        assert (await a.api("PUT", path, {"rate_per_s": 0.01, "burst": 20})).status_code == 204
        try:
            given: list[httpx2.Response] = []
            begun = time.monotonic()
            while time.monotonic() - begun < PATIENCE_S and len(given) < 40:
                answer = await either.read(held)
                if answer.headers.get("ratelimit-limit") == "10":
                    given.append(answer)
            assert len(given) == 40, "the quota reached both nodes, and each has its half"
            assert {each.status_code for each in given} == {200, 429}
            assert sum(each.status_code == 200 for each in given) <= 20
        finally:
            assert (await a.api("PUT", path, wide)).status_code == 204
            for outside in (a, b):
                await until(partial(outside.read, held), 200)

    nodes.tell(story)


def test_jobs_run_on_one_node_at_a_time(nodes: Nodes) -> None:
    """One lease a job, and both nodes on the list, with their workers and clocks."""
    with psycopg.connect(nodes.url, autocommit=True) as db:
        begun = time.monotonic()
        while db.execute("SELECT count(*) FROM lease WHERE name IN ('checkpoint', 'purge')").fetchone() != (
            2,
        ):
            assert time.monotonic() - begun < PATIENCE_S, "not every job has run"
            time.sleep(0.05)
        listed = db.execute(
            "SELECT name, workers, closed, abs(skew_ms) < 2000 FROM node ORDER BY name"
        ).fetchall()
        leases: dict[str, str] = dict(db.execute("SELECT name, holder FROM lease").fetchall())

    assert len(listed) == 2
    assert {row[1:] for row in listed} == {(1, "", True)}
    assert set(leases) >= {"checkpoint", "purge"}
    assert all(any(holder.startswith(name) for name, *_ in listed) for holder in leases.values())
