"""Two answers side by side must not tell what neither says: pages, totals, refusals; nor may a label be got round."""

from pathlib import Path
from typing import Any

import pytest

from hilum.infra.edge import Edge
from tests.attack.test_gateway_by_pointing import CANARY, told
from tests.flows.gateway_ground import Ground, Play, patient, player
from tests.sim.fhir_upstream import OtherServer
from tests.sim.world import FakeClock, SeededIds
from tests.unit.gateway.facts import RESTRICTED, category, observation

LABORATORY = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"


@pytest.fixture
def play(sqlite_edge: Edge, clock: FakeClock, ids: SeededIds, tmp_path: Path) -> Play:
    return player(sqlite_edge, clock, ids, tmp_path)


class ShortPages(OtherServer):
    """A server that gives shorter pages than it is asked for, as R4 lets it."""

    def _bundle(self, found: list[dict[str, Any]], size: int) -> dict[str, Any]:
        return super()._bundle(found, min(size, 2))


# --- pages: one that is full and leads to an empty one would say that something was withheld there -----------------------------


@pytest.mark.parametrize(
    ("there", "absent"),
    [
        ("_id=o1,o3", "_id=o1,nothing"),
        ("_id=o1,o3&_sort=-_id", "_id=o1,nothing&_sort=-_id"),
        ("_id=o1,o3&_security=R,N", "_id=o1,nothing&_security=R,N"),
        ("_id=o1,o2,o3&code:missing=false", "_id=o1,o2,nothing&code:missing=false"),
    ],
)
@pytest.mark.parametrize("count", [1, 2])
def test_a_full_page_does_not_tell_that_a_withheld_record_follows(
    play: Play, there: str, absent: str, count: int
) -> None:
    """C75, C82: with a filter over what the record says, its very content could be asked for, code by code."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")

        withheld = await made.get(f"Observation?{there}&_count={count}", token)
        nothing = await made.get(f"Observation?{absent}&_count={count}", token)

        assert withheld.status == 200
        assert told(withheld) == told(nothing)

    play(story)


def test_a_full_page_does_not_tell_of_another_patients_record_outside_a_narrower_scope(play: Play) -> None:
    """C75, C76: beside a granular user scope a search cannot be narrowed before it leaves, so every page of it is judged."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"), observation("y2", "p2", category=category("survey"), code={"text": CANARY}))
        token = made.token("patient/Observation.rs", f"user/Observation.rs?category={LABORATORY}")

        beyond = await made.get("Observation?_id=o1,y2&_count=1", token)
        nothing = await made.get("Observation?_id=o1,nothing&_count=1", token)

        assert beyond.ids == ["Observation/o1"]
        assert told(beyond) == told(nothing)

    play(story)


def test_a_full_page_does_not_tell_of_a_provenance_that_is_about_somebody_else_too(play: Play) -> None:
    """C75: pr2 is about an Observation of p2 as well."""

    async def story(made: Ground) -> None:
        token = made.token("patient/*.rs")

        answer = await made.get("Provenance?target=Observation/o1&_count=1", token)

        assert answer.ids == ["Provenance/pr1"]
        assert answer.link("next") is None

    play(story)


def test_short_pages_of_a_server_tell_no_more_than_long_ones(play: Play) -> None:
    """C75: the gateway fills its page from them, and looks at what follows."""
    server = ShortPages()
    server.load(
        *(observation(f"a{n}", code={"text": "mine"}) for n in range(4)),
        *(observation(f"b{n}", code={"text": CANARY}, meta=RESTRICTED) for n in range(4)),
    )

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")

        for count in (2, 3, 4, 5):
            found: list[str] = []
            page: str | None = f"Observation?_count={count}"
            while page is not None:
                answer = await made.get(page, token)
                assert answer.ids, "a page that is led to holds something"
                found += answer.ids
                page = answer.link("next")
            assert found == [f"Observation/a{n}" for n in range(4)]

    play(story, embedded=lambda _tenant: server)


@pytest.mark.parametrize("hidden", [(), (0, 3, 4), (5,), tuple(range(6))])
@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_pages_give_every_visible_record_once_and_whole_pages(
    play: Play, hidden: tuple[int, ...], count: int
) -> None:
    """C74, C78: wherever the withheld ones lie."""

    async def story(made: Ground) -> None:
        metas = [RESTRICTED if n in hidden else {} for n in range(6)]
        made.load(*(observation(f"s{n}", code={"text": "s"}, meta=meta) for n, meta in enumerate(metas)))
        token = made.token("patient/Observation.rs")
        expected = [f"Observation/s{n}" for n in range(6) if n not in hidden]
        sizes: list[int] = []
        found: list[str] = []
        page: str | None = f"Observation?_id=s0,s1,s2,s3,s4,s5&_sort=_id&_count={count}"
        while page is not None:
            answer = await made.get(page, token)
            sizes.append(len(answer.ids))
            found += answer.ids
            page = answer.link("next")

        assert found == expected
        assert sizes == [len(expected[n : n + count]) for n in range(0, len(expected), count)] or sizes == [0]

    play(story)


# --- totals --------------------------------------------------------------------------------------------------------------------


def test_a_total_does_not_come_and_go_with_what_was_brought_along(play: Play) -> None:
    """C75, C76: whoever writes a reference to a guessed id would learn whether there is such a record."""
    server = OtherServer()
    server.load(
        patient("p1"),
        patient("p2"),
        *(observation(f"o{n}", code={"text": "mine"}) for n in range(3)),
    )

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.crs", person="patient")

        first = await made.get("Observation?_count=1", token)
        server.resources.pop("Patient/p1")
        second = await made.get("Observation?_count=1", token)

        assert "Patient/p1" not in first.ids, "this server brings subjects along unasked"
        assert first.json["total"] == second.json["total"] == 3

    play(story, embedded=lambda _tenant: server)
