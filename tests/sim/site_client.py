"""A client of an application in this process, which answers each request in the calling thread.

Starlette's own starts a thread and an event loop for each request, and passes each part of an answer between two threads: ten times as
much work as sending a request to an application that does nothing.
"""

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, Self, TypeVar
from urllib.parse import unquote

import httpx2
from starlette.testclient import TestClient
from starlette.types import Message

T = TypeVar("T")
TURNS_BOUND = 20
"""How many turns of the loop what an answer began gets after it: a task that is always ready must not keep the answer back."""
_entered: list["SiteClient"] = []


class SiteClient(TestClient):
    """``TestClient`` without a lifespan. An answer is read whole before ``get`` and the like return.

    While one is entered, as with ``with``, tasks go on from one request to the next.
    """

    def __init__(self, app: Any, *, raise_server_exceptions: bool = True, **more: Any) -> None:
        super().__init__(app, **more)
        self._transport = _Transport(app, raises=raise_server_exceptions)

    def __enter__(self) -> Self:
        _entered.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        with _state.changed:
            _entered.remove(self)
            _end_tasks()


class _Transport(httpx2.BaseTransport):
    def __init__(self, app: Any, *, raises: bool) -> None:
        self._app, self._raises = app, raises

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        sent: list[Message] = []
        try:
            run(self._answer(request, sent))
        except Exception:
            if self._raises:
                raise
            # What the application answered before it failed is its answer, as over a connection.
            sent = sent or [{"type": "http.response.start", "status": 500}]
        assert sent, "the application did not answer"
        assert sent[0]["type"] == "http.response.start"
        body = b"".join(each.get("body", b"") for each in sent[1:])
        return httpx2.Response(
            sent[0]["status"],
            headers=sent[0].get("headers", []),
            content=b"" if request.method == "HEAD" else body,
            request=request,
        )

    async def _answer(self, request: httpx2.Request, sent: list[Message]) -> None:
        unread, ended = [request.read()], asyncio.Event()

        async def receive() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            assert not ended.is_set(), "the answer had ended"
            sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                ended.set()

        await self._app(_scope_of(request), receive, send)


def _scope_of(request: httpx2.Request) -> dict[str, Any]:
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "path": unquote(url.path),
        "raw_path": url.raw_path.split(b"?", 1)[0],
        "root_path": "",
        "scheme": url.scheme,
        "query_string": url.query,
        "headers": [(key.lower().encode(), value.encode()) for key, value in request.headers.multi_items()],
        "client": ("testclient", 50_000),
        "server": [url.host, url.port or {"http": 80, "https": 443}[url.scheme]],
        "extensions": {},
        "state": {},
    }


def run(answering: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in the one event loop that all clients share, in whichever of the waiting threads runs it just now."""
    if asyncio._get_running_loop() is not None:  # the caller is a coroutine of another loop
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: run(answering)).result()
    with _state.changed:
        _state.waiting += 1
        leads, _state.led = not _state.led, True
    try:
        return _lead(answering) if leads else _follow(answering)
    finally:
        with _state.changed:
            _state.waiting -= 1
            _end_tasks()


def _lead(answering: Awaitable[T]) -> T:
    """Run the loop until this is answered, and whatever other threads wait for meanwhile."""
    try:
        return _shared_loop().run_until_complete(_with_what_it_began(answering))
    finally:
        _state.led = False
        _state.announce()


async def _with_what_it_began(answering: Awaitable[T]) -> T:
    """Await an answer, then run what is ready by then, such as verbs that it began without waiting for them."""
    loop: Any = asyncio.get_running_loop()
    try:
        return await answering
    finally:
        for _ in range(TURNS_BOUND):
            if not loop._ready:
                break
            await asyncio.sleep(0)


def _follow(answering: Coroutine[Any, Any, T]) -> T:
    """Wait while another thread runs the loop, and run it on if that one is answered first."""
    loop = _shared_loop()
    result = asyncio.run_coroutine_threadsafe(answering, loop)
    result.add_done_callback(lambda _: _state.announce())
    while not result.done():
        with _state.changed:
            _state.changed.wait_for(lambda: result.done() or not _state.led)
            if result.done():
                break
            _state.led = True
        with suppress(Exception):  # what the coroutine raised is raised below
            _lead(asyncio.wrap_future(result, loop=loop))
    return result.result()


class _State:
    """``led``: a thread runs the loop. ``waiting``: how many threads wait for an answer."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.led, self.waiting = False, 0

    def announce(self) -> None:
        with self.changed:
            self.changed.notify_all()


_state = _State()


def _end_tasks() -> None:
    """End what the last request left running, as the end of a loop of its own would; not while a client is entered."""
    left = () if _entered or _state.waiting else asyncio.all_tasks(_shared_loop())
    for each in left:
        each.cancel()
    if left:
        _shared_loop().run_until_complete(asyncio.gather(*left, return_exceptions=True))


@cache
def _shared_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    atexit.register(loop.close)
    return loop
