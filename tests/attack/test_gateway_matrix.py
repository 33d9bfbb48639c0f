"""Every interaction against every scope letter, over the real gateway: exactly its own letter opens it."""

from itertools import combinations
from typing import Any

import pytest

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Quota
from tests.flows.gateway_ground import GENERAL, Ground, Play
from tests.unit.gateway.enforcement.facts import observation

NEW = {k: v for k, v in observation(code={"text": "x"}).items() if k != "id"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
BATCH = {"resourceType": "Bundle", "type": "batch", "entry": []}

INTERACTIONS: dict[str, tuple[str, str, str, Any, dict[str, str], int]] = {
    "read": ("r", "GET", "Observation/o1", None, {}, 200),
    "vread": ("r", "GET", "Observation/o1/_history/1", None, {}, 200),
    "search by GET": ("s", "GET", "Observation?patient=p1", None, {}, 200),
    "search by POST": ("s", "POST", "Observation/_search", b"patient=p1", FORM, 200),
    "create": ("c", "POST", "Observation", NEW, {}, 201),
    "update": ("u", "PUT", "Observation/o1", observation("o1", code={"text": "y"}), {}, 200),
    "delete": ("d", "DELETE", "Observation/o2", None, {}, 204),
}
NEVER: dict[str, tuple[str, str, Any, dict[str, str]]] = {
    "history of a record": ("GET", "Observation/o1/_history", None, {}),
    "history of a type": ("GET", "Observation/_history", None, {}),
    "patch": ("PATCH", "Observation/o1", [], {}),
    "conditional create": ("POST", "Observation", NEW, {"If-None-Exist": "code=x"}),
    "conditional update": ("PUT", "Observation?code=x", NEW, {}),
    "conditional delete": ("DELETE", "Observation?code=x", None, {}),
    "batch": ("POST", "", BATCH, {}),
    "transaction": ("POST", "", BATCH | {"type": "transaction"}, {}),
    "operation": ("GET", "Patient/p1/$everything", None, {}),
}
MASKS = ["".join(letters) for n in range(1, 6) for letters in combinations("cruds", n)]


@pytest.mark.parametrize("prefix", ["patient", "user", "system"])
def test_each_interaction_needs_exactly_its_letter(play: Play, prefix: str) -> None:
    """C72."""

    async def story(made: Ground) -> None:
        client = "backend" if prefix == "system" else "app"
        app = made.clients[client].app
        made.run(lambda ctx: controls.set_quota(ctx, app, GENERAL, Quota(10_000.0, 10_000)))
        for letters in MASKS:
            token = made.token(f"{prefix}/Observation.{letters}", client=client)
            for name, (letter, method, target, body, headers, status) in INTERACTIONS.items():
                if letter == "d":
                    made.load(observation("o2", code={"text": "again"}))
                answer = await made.send(method, target, token, body=body, headers=headers)
                expected = status if letter in letters else 403
                assert answer.status == expected, (letters, name, answer.body)

    play(story)


def test_what_is_not_judged_yet_opens_to_no_letter(play: Play) -> None:
    """C67, C72, C80 in its first form."""

    async def story(made: Ground) -> None:
        for prefix, client in (("patient", "app"), ("user", "app"), ("system", "backend")):
            token = made.token(f"{prefix}/*.cruds", client=client)
            for name, (method, target, body, headers) in NEVER.items():
                answer = await made.send(method, target, token, body=body, headers=headers)
                assert answer.status == 400, (prefix, name)

    play(story)


def test_the_letters_of_one_type_say_nothing_of_another(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/Condition.cruds", "patient/Patient.cruds")
        for name, (_, method, target, body, headers, _) in INTERACTIONS.items():
            answer = await made.send(method, target, token, body=body, headers=headers)
            assert answer.status == 403, name

    play(story)
