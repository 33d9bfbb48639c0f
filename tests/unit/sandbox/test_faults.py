"""Faults of a hospital's FHIR server stand in front of it, for one chart, and leave everything else as it is (C122)."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from hilum.foundation.web.asgi import Message, Receive, Scope, Send
from hilum_ehr.sandbox.faults import EMPTY_PAGES, SLOW_AT_ONCE, Fault, FaultBook, with_faults
from tests.sim.world import START, FakeClock

UNTIL = (START + timedelta(minutes=2)).isoformat()


class Server:
    """A FHIR server with five records of each chart, which notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        query = scope["query_string"].decode()
        self.asked.append(f"{scope['path']}?{query}")
        page: dict[str, Any] = {
            "resourceType": "Bundle",
            "link": [{"relation": "self", "url": f"http://ehr{scope['path']}?{query}"}],
            "entry": [{}],
        }
        if "_page" not in query:
            page["link"] += [{"relation": "next", "url": f"http://ehr{scope['path']}?{query}&_page=3"}]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
        await send({"type": "http.response.body", "body": orjson.dumps(page)})


class Hospital:
    def __init__(self, folder: Path) -> None:
        clock = FakeClock()
        self.book, self.server = FaultBook(folder, clock), Server()
        self.app = with_faults(self.server, self.book, "general")

    def get(self, path: str, query: str = "", by: tuple[str, ...] = ("run_1",)) -> tuple[int, dict[str, Any]]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": b""}

        async def send(message: Message) -> None:
            sent.append(message)

        scope: dict[str, Any] = {"method": "GET", "path": path, "query_string": query.encode()}
        scope["state"] = {"asked_by": by}

        async def ask() -> None:
            await self.app(scope, receive, send)

        asyncio.run(ask())
        return sent[0]["status"], orjson.loads(sent[1]["body"])


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path)


def following(page: dict[str, Any]) -> str:
    return next((each["url"] for each in page["link"] if each["relation"] == "next"), "")


def test_pages_of_a_chart_are_short_and_some_are_empty(hospital: Hospital) -> None:
    """The rest comes behind so many empty pages that the gateway does not fill one page of an app from them."""
    hospital.book.add(Fault("general", "short_pages", UNTIL, ("run_1",), made_by="run_1"))

    _, page = hospital.get("/Condition", "patient=p1&_count=51")
    sizes = [len(page["entry"])]
    while where := following(page):
        _, page = hospital.get("/Condition", where.partition("?")[2])
        sizes.append(len(page.get("entry", ())))

    assert sizes == [1, *[0] * EMPTY_PAGES, 1]
    assert hospital.server.asked[0] == "/Condition?patient=p1&_count=2"
    assert not any("_empty" in each for each in hospital.server.asked)


@pytest.mark.parametrize(
    ("path", "query"),
    [("/metadata", ""), ("/Condition", "patient=p2"), ("/Condition/p1", ""), ("/Patient/p1/$everything", "")],
)
def test_pages_of_anything_else_stay_whole(hospital: Hospital, path: str, query: str) -> None:
    """A page size is no parameter of what is no search, and other charts are other people's."""
    hospital.book.add(Fault("general", "short_pages", UNTIL, ("run_1",), "p1", made_by="run_1"))

    hospital.get(path, query)

    assert hospital.server.asked == [f"{path}?{query}"]


@pytest.mark.parametrize("kind", ["unavailable", "short_pages", "slow", "conflict", "lost_answer"])
@pytest.mark.parametrize("by", [(), ("",), ("cli_1", "lau_2", "")])
def test_whoever_is_not_of_the_fault_meets_nothing(
    hospital: Hospital, kind: str, by: tuple[str, ...]
) -> None:
    """C122: not the same chart in other hands, and not the platform's own questions."""
    hospital.book.add(Fault("general", kind, UNTIL, ("lau_1",), made_by="somebody"))

    status, page = hospital.get("/Condition", "patient=p1", by)

    assert (status, page["entry"]) == (200, [{}])
    assert hospital.server.asked == ["/Condition?patient=p1"]


def test_a_link_outlives_the_fault_that_put_it_there(hospital: Hospital) -> None:
    _, page = hospital.get("/Condition", "patient=p1&_count=2&_page=3&_empty=4")

    assert page["entry"] == [{}]
    assert hospital.server.asked == ["/Condition?patient=p1&_count=2&_page=3"]


def test_whoever_ends_their_faults_reads_whether_there_were_any(hospital: Hospital) -> None:
    hospital.book.add(Fault("general", "slow", UNTIL, ("run_1",), made_by="run_1"))

    assert not hospital.book.clear("run_2")
    assert hospital.book.clear("run_1")
    assert not hospital.book.of("general")


def test_only_some_answers_are_held_back_at_a_time(hospital: Hospital) -> None:
    """C122: each keeps a place at the server, so that who holds back all of them would keep everybody else out."""
    hospital.book.add(Fault("general", "slow", UNTIL, ("run_1",), made_by="run_1"))
    held = 0

    async def ask_many() -> int:
        released = asyncio.Event()

        async def pause(_: float) -> None:
            nonlocal held
            held += 1
            await released.wait()

        app = with_faults(hospital.server, hospital.book, "general", pause)

        async def ask() -> None:
            scope: dict[str, Any] = {"method": "GET", "path": "/Patient/p1", "query_string": b""}
            scope["state"] = {"asked_by": ("run_1",)}
            await app(scope, receive, send)

        asking = [asyncio.create_task(ask()) for _ in range(SLOW_AT_ONCE + 4)]
        answered, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        released.set()
        await asyncio.gather(*asking)
        return len(answered)

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(_: Message) -> None:
        pass

    assert asyncio.run(ask_many()) > 0
    assert held == SLOW_AT_ONCE
