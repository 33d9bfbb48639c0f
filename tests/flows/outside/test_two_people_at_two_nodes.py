"""What takes two people, decided at two nodes in one instant: it happens once, or not at all, and nobody counts twice."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any

import httpx2
import psycopg
import pytest

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Conflict
from hilum.foundation.kernel.ids import PersonId, TenantId
from hilum.identity.people import service as identity
from hilum.identity.people.models import NewPerson, TenantChange
from hilum.identity.signin import service as signin
from tests.effort import effort
from tests.flows.outside.ground import Outside
from tests.sim.nodes import TRACE, Nodes, unguessable

ROUNDS = effort(4, 40)
MOVED = TenantId("children")
ITO, BAUER = "security.ito", "security.bauer"


def write(nodes: Nodes, verb: Any) -> Any:
    """Run a verb as the platform itself, beside the nodes."""
    uow = nodes.uow()
    try:
        return uow.write_now(verb, actor=SYSTEM, trace=TRACE)
    finally:
        uow.close()


@pytest.fixture
def stays(nodes: Nodes) -> Iterator[None]:
    """Put the hospital's FHIR server back where it was."""
    before = write(nodes, lambda ctx: identity.get_tenant(ctx, MOVED)).upstream
    yield
    write(nodes, lambda ctx: identity.update_tenant(ctx, MOVED, TenantChange(upstream=before)))


def elsewhere() -> str:
    return f"https://fhir.example/{unguessable()}"


async def asked(outside: Outside, method: str, path: str, body: dict[str, Any]) -> str:
    answer = await outside.api(method, path, body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["approval"]["id"])


async def asked_to_move(outside: Outside, url: str) -> str:
    return await asked(outside, "PATCH", f"/tenants/{MOVED}", {"upstream": {"kind": "http", "url": url}})


async def at_once(*sent: Any) -> list[httpx2.Response]:
    answers: list[httpx2.Response] = list(await asyncio.gather(*sent))
    assert not [each.text for each in answers if each.status_code not in {200, 401, 403, 409}]
    return answers


def decide(outside: Outside, approval: str, by: str, how: str = "approve") -> Any:
    return outside.api("POST", f"/approvals/{approval}/{how}", by=by)


async def place(outside: Outside) -> str:
    return str((await outside.api("GET", f"/tenants/{MOVED}")).json()["upstream_url"])


async def state(outside: Outside, approval: str) -> str:
    return str((await outside.api("GET", f"/approvals/{approval}")).json()["state"])


async def decisions(outside: Outside, approval: str) -> list[str]:
    """List what is on record of an approval's end."""
    listed = (
        await outside.api("GET", "/audit/events?action=approvals.approval.", by="auditor.quispe")
    ).json()
    return [
        each["action"].rpartition(".")[2]
        for each in listed["items"]
        if each["facts"].get("approval") == approval
        and each["outcome"] == "done"
        and not each["action"].endswith(".ask")
    ]


@pytest.mark.usefixtures("stays")
def test_a_move_that_two_colleagues_agree_to_at_two_nodes_at_once_happens_once(nodes: Nodes) -> None:
    """C200; security decision 25."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        for _ in range(ROUNDS):
            url = elsewhere()
            approval = await asked_to_move(either, url)

            answers = await at_once(decide(a, approval, ITO), decide(b, approval, BAUER))

            assert sorted(each.status_code for each in answers) == [200, 409], [each.text for each in answers]
            assert (await place(a), await place(b)) == (url, url)
            assert await decisions(either, approval) == ["approve"]

    nodes.tell(story)


@pytest.mark.usefixtures("stays")
def test_where_one_agrees_as_another_refuses_one_of_them_counts(nodes: Nodes) -> None:
    """C200: both are answered by what really happened."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        for _ in range(ROUNDS):
            url, before = elsewhere(), await place(either)
            approval = await asked_to_move(either, url)

            agreed, refused = await at_once(decide(a, approval, ITO), decide(b, approval, BAUER, "refuse"))

            assert sorted((agreed.status_code, refused.status_code)) == [200, 409], (
                agreed.text,
                refused.text,
            )
            moved = agreed.status_code == 200
            assert await place(either) == (url if moved else before)
            assert await state(either, approval) == ("approved" if moved else "refused")
            assert await decisions(either, approval) == ["approve" if moved else "refuse"]

    nodes.tell(story)


@pytest.mark.usefixtures("stays")
def test_of_two_moves_agreed_to_at_two_nodes_at_once_the_second_is_not_what_was_agreed_to(
    nodes: Nodes,
) -> None:
    """C200: each was asked as a move from where the hospital was."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        for _ in range(ROUNDS):
            urls = (elsewhere(), elsewhere())
            first, second = [await asked_to_move(either, url) for url in urls]

            answers = await at_once(decide(a, first, ITO), decide(b, second, BAUER))

            codes = [each.status_code for each in answers]
            assert sorted(codes) == [200, 409], [each.text for each in answers]
            assert await place(either) == urls[codes.index(200)]
            left = (first, second)[codes.index(409)]
            assert await state(either, left) == "pending"
            assert (await decide(either, left, ITO, "refuse")).status_code == 200

    nodes.tell(story)


def test_a_client_that_two_agree_to_at_two_nodes_at_once_is_made_once(nodes: Nodes) -> None:
    """C200: one has the other half of its secret, and there is one client that it opens."""
    name = f"Ward system {unguessable()}"

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        body = {"client_type": "ehr", "client_name": name}
        approval = await asked(either, "POST", f"/tenants/{MOVED}/system-clients", body)

        answers = await at_once(decide(a, approval, ITO), decide(b, approval, BAUER))

        assert sorted(each.status_code for each in answers) == [200, 409]
        assert [bool(each.json().get("secret_end")) for each in answers if each.status_code == 200] == [True]

    nodes.tell(story)
    with psycopg.connect(nodes.url) as db:
        made = db.execute("SELECT count(*) FROM registry_app WHERE name = %s", (name,)).fetchone()
    assert made == (1,)


def test_nobody_is_two_people_by_two_nodes(nodes: Nodes) -> None:
    """C144, C200: one person's two words for a wide release, given at two nodes in one instant, are one; two people's are two."""

    async def story(a: Outside, b: Outside, either: Outside) -> None:
        for _ in range(ROUNDS):
            vendor = (await either.app_of("bench-backend"))["vendor"]
            switch = (await either.engage("vendor", vendor, "observe"))["id"]
            release = partial(_release, switch=switch)

            await at_once(release(a, by=ITO), release(b, by=ITO))
            assert (await _switch(either, switch))["in_force"], "one person released it alone"
            await at_once(release(a, by=ITO), release(b, by=BAUER))
            assert not (await _switch(either, switch))["in_force"]

    nodes.tell(story)


def _release(outside: Outside, *, switch: str, by: str) -> Any:
    return outside.api("POST", f"/switches/{switch}/release", by=by)


async def _switch(outside: Outside, switch: str) -> dict[str, Any]:
    return dict((await outside.api("GET", f"/switches/{switch}")).json())


@contextmanager
def three_of_the_staff(nodes: Nodes) -> Iterator[dict[str, str]]:
    """Let three people and nobody else count as second people of the staff; their API tokens by their ids."""

    def make(ctx: Context) -> dict[str, str]:
        people = [
            identity.add_person(ctx, NewPerson(None, f"staff-{unguessable()}", "Staff", "platform_admin"))
            for _ in range(3)
        ]
        life = timedelta(hours=1)
        return {
            each.id: signin.create_api_token(ctx, each.id, life=life, name="card", factor_at=ctx.now)[1]
            for each in people
        }

    hidden = (
        "UPDATE identity_person SET active = %s WHERE tenant = '' AND NOT id = ANY(%s) AND username = ANY(%s)"
    )
    known = [each["username"] for each in nodes.card["staff"]]
    tokens = write(nodes, make)
    with psycopg.connect(nodes.url, autocommit=True) as db:
        db.execute(hidden, (False, list(tokens), known))
        try:
            yield tokens
        finally:
            db.execute(hidden, (True, list(tokens), known))
            for person in tokens:
                with suppress(Conflict):  # inactive already
                    write(nodes, lambda ctx, person=person: identity.deactivate_person(ctx, PersonId(person)))


def test_two_who_take_each_other_off_the_staff_at_two_nodes_at_once_leave_two(nodes: Nodes) -> None:
    """C200: else whoever is left is nobody's second person, and has nobody."""

    async def story(a: Outside, b: Outside, tokens: dict[str, str]) -> list[int]:
        (first, second, third) = tokens
        answers = await at_once(_deactivate(a, tokens[first], second), _deactivate(b, tokens[second], third))
        return sorted(each.status_code for each in answers)

    for _ in range(ROUNDS):
        with three_of_the_staff(nodes) as tokens:
            assert nodes.tell(lambda a, b, _either: story(a, b, tokens)) != [200, 200]


def _deactivate(outside: Outside, token: str, person: str) -> Any:
    url = f"{outside.running.base}/api/v1/people/{person}"
    return outside.http.delete(url, headers={"authorization": f"Bearer {token}"})
