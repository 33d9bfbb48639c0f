"""A read that repeats is answered by what is stored, permitted and in force now, whatever was answered before (C71, C75)."""

from typing import Any

import pytest

from tests.flows.gateway_ground import Ground, Play
from tests.unit.gateway.enforcement.facts import RESTRICTED, category, observation

LABORATORY = category("laboratory")


def record(patient: str = "p1", **more: Any) -> dict[str, Any]:
    return observation("o1", patient, category=LABORATORY, code={"text": "a"}, **more)


async def read_often(made: Ground, token: str, target: str = "Observation/o1") -> None:
    for _ in range(4):
        assert (await made.get(target, token)).status == 200


@pytest.mark.parametrize(
    "stored", [record(meta=RESTRICTED), record("p2"), record(subject={"display": "nobody"})]
)
def test_a_record_that_has_changed_is_judged_again(play: Play, stored: dict[str, Any]) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/*.rs")
        await read_often(made, token)

        made.load(stored)
        assert (await made.get("Observation/o1", token)).status == 404

        made.load(record(status="amended"))
        answer = await made.get("Observation/o1", token)
        assert (answer.status, answer.json["status"]) == (200, "amended")

    play(story)


def test_what_one_token_was_shown_another_is_not(play: Play) -> None:
    async def story(made: Ground) -> None:
        await read_often(made, made.token("patient/*.rs"))

        for scopes, patient, status in (
            (("patient/*.rs",), "p2", 404),
            (("patient/Patient.rs",), "p1", 403),
            (("patient/Observation.rs?category=vital-signs",), "p1", 404),
            (("patient/Observation.r",), "p1", 200),
        ):
            token = made.token(*scopes, patient=patient)
            assert [(await made.get("Observation/o1", token)).status for _ in range(4)] == [status] * 4

    play(story)


def test_only_the_version_that_is_stored_now_is_unchanged(play: Play) -> None:
    async def story(made: Ground) -> None:
        token = made.token("patient/*.rs")
        known = {"if-none-match": (await made.get("Observation/o1", token)).headers["etag"]}
        for _ in range(4):
            assert (await made.get("Observation/o1", token, headers=known)).status == 304

        made.load(record(status="amended"))

        assert (await made.get("Observation/o1", token, headers=known)).status == 200

    play(story)
