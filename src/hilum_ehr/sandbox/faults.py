"""Faults of the sandbox's own FHIR servers: unavailable, slow, short pages, a conflict, a lost answer.

They are kept in a file beside the servers' data, which every process of this machine reads, and stand between whoever asks and the server. Each
is of one hospital and of one run, client or set of launches, so that nobody else meets it, and ends by itself.
"""

import asyncio
import fcntl
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

from hilum.kernel.errors import Conflict, Unavailable
from hilum.kernel.ports import Clock
from hilum_ehr.fhirserver.search import PAGE

FHIR_FOLDER = "fhir"
"""Where the servers' data and this file are, below the data of the sandbox."""
FILE_NAME = "faults.json"
FAULT_LIFE = timedelta(minutes=3)
"""The longest that a fault lasts."""
FAULTS_BOUND = 100
"""Faults of all hospitals at a time; beyond it the oldest ends."""
BY_HAND = "hand-"
"""How the maker of a fault begins that was picked by hand."""
HAND_BOUND = 60
"""Faults that were picked by hand at a time, so that they never end those of certification runs."""
READ_EVERY_S = 0.05
"""How soon a process notices a change."""
SLOW_S = 3.0
SLOW_AT_ONCE = 16
"""Answers of a hospital that are held back at a time in one process. Each keeps a place at its server: with all of them held, nobody else was
answered."""
SHORT_PAGE, EMPTY_PAGES = 2, 12
"""Entries of a short page, and how many empty ones follow the first: the gateway fills its pages from ten of the server's, so that fewer
would never be seen by an app."""
MADE_BOUND = 1_000
OF_BOUND = 40
"""Launches that one fault reaches; the oldest are left out."""
KINDS = {
    "unavailable": "The FHIR server is unavailable",
    "slow": "The FHIR server answers after three seconds",
    "short_pages": "Pages of a search are short, and some are empty",
    "conflict": "The first change of each record finds that somebody else changed it",
    "lost_answer": "The answer to the first write is lost, though it was carried out",
}
"""What can be made to fail, in words."""
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
_MARK = "_empty"
"""Parameter of the links between empty pages; the server itself never sees it."""
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Fault:
    """``of``: the run, client or launches whose requests fail; ``chart``: only those about this patient. ``made_by``: who ends it."""

    tenant: str
    kind: str
    until: str
    of: tuple[str, ...]
    chart: str = ""
    made_by: str = ""


class FaultBook:
    """The faults in force, of one process; every process of the machine has the same file."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path, self._clock = folder / FILE_NAME, clock
        self._looked = -READ_EVERY_S
        self._stamp: tuple[int, int] | None = None
        self._held: dict[str, tuple[Fault, ...]] = {}

    def of(self, tenant: str) -> tuple[Fault, ...]:
        """Return the faults of a hospital that are in force."""
        # Asked for each request, so that the file is looked at now and then only.
        at = self._clock.monotonic()
        if at - self._looked >= READ_EVERY_S:
            self._looked = at
            self._look()
        found = self._held.get(tenant)
        if not found:
            return ()
        now = self._clock.now()
        return tuple(each for each in found if now < datetime.fromisoformat(each.until))

    def add(self, fault: Fault) -> None:
        """Put a fault in force, for FAULT_LIFE at most."""
        self._add(fault, lambda _: None)

    def _add(self, fault: Fault, fits: Callable[[list[Fault]], None]) -> None:
        latest = (self._clock.now() + FAULT_LIFE).isoformat()
        assert fault.kind in KINDS, "only what is listed can be made"
        bounded = Fault(**asdict(fault) | {"until": min(fault.until, latest), "of": tuple(fault.of)})

        def added(held: list[Fault]) -> list[Fault]:
            fits(held)
            # The same again, in the same hands, replaces it: its time begins again, and it is listed once.
            kept = [each for each in held if (each.made_by, each.kind) != (bounded.made_by, bounded.kind)]
            return [*kept, bounded][-FAULTS_BOUND:]

        self._change(added)

    def all(self) -> tuple[Fault, ...]:
        """Return the faults of every hospital that are in force, as the file has them."""
        now = self._clock.now().isoformat()
        return tuple(each for each in _read(self._path) if each.until > now)

    def add_by_hand(self, fault: Fault) -> None:
        """Put a fault in force in place of the same one of its maker. Raises Conflict beyond HAND_BOUND."""
        assert fault.made_by.startswith(BY_HAND), "its maker is known as one by hand"

        def fits(held: list[Fault]) -> None:
            others = (each for each in held if each.made_by != fault.made_by)
            if sum(each.made_by.startswith(BY_HAND) for each in others) >= HAND_BOUND:
                detail = "Too much is failing in this sandbox already. Try again in three minutes."
                raise Conflict("faults_bound", detail)

        self._add(fault, fits)

    def join(self, made_by: str, name: str) -> None:
        """Let faults that somebody made reach one more launch."""

        def joined(fault: Fault) -> Fault:
            of = (*fault.of, name)[-OF_BOUND:]
            return replace(fault, of=of) if fault.made_by == made_by else fault

        self._change(lambda held: [joined(each) for each in held])

    def clear(self, made_by: str) -> bool:
        """End the faults that somebody made; return whether there were any."""
        if not any(each.made_by == made_by for each in _read(self._path)):
            return False
        self._change(lambda held: [each for each in held if each.made_by != made_by])
        return True

    def _change(self, change: Callable[[list[Fault]], list[Fault]]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with (self._path.parent / f"{FILE_NAME}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now = self._clock.now().isoformat()
            held = [each for each in _read(self._path) if each.until > now]
            written = self._path.with_suffix(".new")
            written.write_bytes(orjson.dumps([asdict(each) for each in change(held)]))
            written.replace(self._path)
        self._looked = -READ_EVERY_S

    def _look(self) -> None:
        try:
            found = self._path.stat()
        except OSError:
            self._stamp, self._held = None, {}
            return
        stamp = found.st_mtime_ns, found.st_ino
        if stamp != self._stamp:
            held: dict[str, tuple[Fault, ...]] = {}
            for each in _read(self._path):
                held[each.tenant] = (*held.get(each.tenant, ()), each)
            self._stamp, self._held = stamp, held


def _read(path: Path) -> list[Fault]:
    """Read the file; a file that cannot be read has no faults."""
    try:
        found = orjson.loads(path.read_bytes())
        return [Fault(**each | {"of": tuple(each["of"])}) for each in found]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def with_faults(
    app: App, book: FaultBook, tenant: str, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> App:
    """Wrap a hospital's FHIR server so that its faults stand between whoever asks and the server."""
    made: dict[tuple[str, str], None] = {}
    places = asyncio.Semaphore(SLOW_AT_ONCE)

    async def hold_back() -> None:
        if not places.locked():
            async with places:
                await pause(SLOW_S)

    def first(fault: Fault, target: str) -> bool:
        """Check whether a fault is made here for the first time."""
        key = f"{fault.made_by} {fault.until} {fault.kind}", target
        if key in made:
            return False
        if len(made) >= MADE_BOUND:
            made.clear()
        made[key] = None
        return True

    async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
        faults, number = book.of(tenant), _unmark(scope)
        if not faults:
            await app(scope, receive, send)
            return
        answer, short = _Held(), False
        body = await _body(receive)
        writes = scope["method"] in _WRITES and not scope["path"].endswith("/_search")
        for each in faults:
            if each.kind == "unavailable" and writes and _about(each, scope, body):
                # Before it is carried out: whether a write was done must not be in doubt.
                await _refuse(send, 503, "transient", "The server is unavailable.")
                return
            if each.kind == "short_pages" and _searches(scope) and _about(each, scope):
                scope["query_string"] = _shortened(scope["query_string"])
                short = True
            if (
                each.kind == "conflict"
                and scope["method"] in {"PUT", "PATCH"}
                and _about(each, scope, body)
                and first(each, scope["path"])
            ):
                await _refuse(send, 412, "conflict", "Somebody else changed this record.")
                return
        await app(scope, _once(body), answer.send)
        if short:
            answer.rewrite(partial(_spread, query=scope["query_string"].decode(), number=number))
        for each in faults:
            if not _about(each, scope, body, answer.body):
                continue
            if each.kind == "unavailable":
                await _refuse(send, 503, "transient", "The server is unavailable.")
                return
            if each.kind == "slow":
                await hold_back()
            if each.kind == "lost_answer" and writes and first(each, ""):
                raise Unavailable("upstream_answer_lost", "The FHIR server did not answer.")
        await answer.pass_on(send)

    return faulty


def _about(fault: Fault, scope: Scope, *bodies: bytes) -> bool:
    """Check whether a request is of a fault, by who asks, and if it is of one chart, by the address and what is sent either way."""
    if not set(fault.of) & set(scope.get("state", {}).get("asked_by", ())):
        return False
    if not fault.chart:
        return True
    chart = fault.chart.encode()
    target = scope["path"].encode() + b"?" + scope["query_string"]
    return chart in target or any(b"Patient/" + chart + b'"' in body for body in bodies)


def _searches(scope: Scope) -> bool:
    """Check whether a request is a search of a type by its address; anything else refuses a page size."""
    path = scope["path"].strip("/")
    return scope["method"] == "GET" and bool(path) and "/" not in path and path != "metadata"


def _shortened(query: bytes) -> bytes:
    kept = [(name, value) for name, value in parse_qsl(query.decode(), keep_blank_values=True)]
    if any(name == "_count" and value.isdigit() and int(value) <= SHORT_PAGE for name, value in kept):
        return query
    return urlencode(
        [*((n, v) for n, v in kept if n != "_count"), ("_count", str(SHORT_PAGE))], safe="/|,:"
    ).encode()


def _unmark(scope: Scope) -> int:
    """Take the number of an empty page out of an address and return it; zero if it has none. It may outlive the fault that put it there."""
    query = scope["query_string"]
    head, found, number = query.rpartition(f"&{_MARK}=".encode())
    if not found or not number.isdigit():
        return 0
    scope["query_string"] = head
    return int(number[:4])


def _spread(body: bytes, query: str, number: int) -> bytes:
    """Put empty pages between the first page of a search and the rest of it."""
    page = orjson.loads(body)
    links = {each["relation"]: each["url"] for each in page.get("link", ())}
    if number > EMPTY_PAGES or page.get("resourceType") != "Bundle" or (PAGE in query and not number):
        return body
    further = links.get("next")
    if number:
        page.pop("entry", None)
        further = f"{next(iter(links.values())).partition('?')[0]}?{query}"
    if not further:
        return body
    others = [each for each in page["link"] if each["relation"] != "next"]
    page["link"] = [*others, {"relation": "next", "url": f"{further}&{_MARK}={number + 1}"}]
    return orjson.dumps(page)


async def _body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _once(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


class _Held:
    """An answer that is looked at before it is passed on."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(each.get("body", b"") for each in self.messages)

    def rewrite(self, change: Callable[[bytes], bytes]) -> None:
        """Change the body of a good answer."""
        start = self.messages[0]
        if start["status"] != 200:
            return
        body = change(self.body)
        headers = [each for each in start["headers"] if each[0].lower() != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        self.messages = [
            {**start, "headers": [*headers, length]},
            {"type": "http.response.body", "body": body},
        ]

    async def pass_on(self, send: Send) -> None:
        for each in self.messages:
            await send(each)


async def _refuse(send: Send, status: int, code: str, text: str) -> None:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    body = orjson.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
    headers: Iterable[tuple[bytes, bytes]] = [(b"content-type", b"application/fhir+json")]
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
