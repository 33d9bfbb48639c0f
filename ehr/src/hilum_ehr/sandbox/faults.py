"""Injects faults into the sandbox's own FHIR servers: unavailable, slow, short pages, a conflict, a lost answer.

The faults in force are in a file beside the servers' data, which every process of this machine reads. Each reaches the requests of one run, client
or set of launches at one hospital only, and ends by itself.
"""

import asyncio
import fcntl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import orjson

from hilum.foundation.kernel.errors import Conflict, Unavailable
from hilum.foundation.kernel.ports import Clock
from hilum.foundation.web.asgi import App, Message, Receive, Scope, Send
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
"""Answers of a hospital that are delayed at a time in one process. Each occupies one of the server's slots; the others must stay free for the
requests that no fault reaches."""
SHORT_PAGE, EMPTY_PAGES = 2, 12
"""Entries of a short page, and how many empty pages follow the first. The gateway fills one of its pages from up to ten of the server's, so an
app would never see fewer."""
DONE_BOUND = 1_000
"""Faults that happen once and have happened, as one server remembers them."""
OF_BOUND = 40
"""Launches that one fault reaches; the oldest are left out."""
KINDS = {
    "unavailable": "The FHIR server is unavailable",
    "slow": "The FHIR server answers after three seconds",
    "short_pages": "Pages of a search are short, and some are empty",
    "conflict": "The first change of each record finds that somebody else changed it",
    "lost_answer": "The answer to the first write is lost, though it was carried out",
}
"""The kinds of faults, as the pages name them."""
_MARK = "_empty"
"""Parameter of the links between empty pages; the server itself never sees it."""
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``of``: the run, client or launches whose requests it reaches; ``chart``: if set, only requests about this patient.

    ``made_by`` names whoever made it and may end it.
    """

    tenant: str
    kind: str
    until: str
    of: tuple[str, ...]
    chart: str = ""
    made_by: str = ""


class FaultBook:
    """Reads and writes the file of faults. Other processes of the machine have books of the same file."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path, self._clock = folder / FILE_NAME, clock
        self._checked_at = -READ_EVERY_S
        self._version: tuple[int, int] | None = None
        """Time of change and inode of the file as it was read last."""
        self._by_tenant: dict[str, tuple[Fault, ...]] = {}

    def of(self, tenant: str) -> tuple[Fault, ...]:
        """Return the faults of a hospital that are in force."""
        # Called for each request, so the file is checked every READ_EVERY_S only.
        at = self._clock.monotonic()
        if at - self._checked_at >= READ_EVERY_S:
            self._checked_at = at
            self._refresh()
        faults = self._by_tenant.get(tenant)
        if not faults:
            return ()
        now = self._clock.now()
        return tuple(fault for fault in faults if now < datetime.fromisoformat(fault.until))

    def add(self, fault: Fault) -> None:
        """Put a fault in force, for FAULT_LIFE at most."""
        self._add(fault, lambda _: None)

    def _add(self, fault: Fault, check: Callable[[list[Fault]], None]) -> None:
        latest = (self._clock.now() + FAULT_LIFE).isoformat()
        assert fault.kind in KINDS, "a fault is of a listed kind"
        bounded = replace(fault, until=min(fault.until, latest), of=tuple(fault.of))

        def added(faults: list[Fault]) -> list[Fault]:
            check(faults)
            # A fault of the same maker and kind is replaced: its time begins again, and it is listed once.
            others = [each for each in faults if (each.made_by, each.kind) != (bounded.made_by, bounded.kind)]
            return [*others, bounded][-FAULTS_BOUND:]

        self._change(added)

    def all(self) -> tuple[Fault, ...]:
        """Return the faults of every hospital that are in force, as the file has them."""
        now = self._clock.now().isoformat()
        return tuple(fault for fault in _read(self._path) if fault.until > now)

    def add_by_hand(self, fault: Fault) -> None:
        """Put a fault in force that was picked by hand. Raises Conflict if HAND_BOUND of other makers are in force."""
        assert fault.made_by.startswith(BY_HAND), "the maker's name begins with BY_HAND"

        def check(faults: list[Fault]) -> None:
            others = (each for each in faults if each.made_by != fault.made_by)
            if sum(each.made_by.startswith(BY_HAND) for each in others) >= HAND_BOUND:
                detail = "Too much is failing in this sandbox already. Try again in three minutes."
                raise Conflict("faults_bound", detail)

        self._add(fault, check)

    def extend(self, made_by: str, launch: str) -> None:
        """Extend the faults of a maker to one more launch."""

        def extended(fault: Fault) -> Fault:
            of = (*fault.of, launch)[-OF_BOUND:]
            return replace(fault, of=of) if fault.made_by == made_by else fault

        self._change(lambda faults: [extended(each) for each in faults])

    def clear(self, made_by: str) -> bool:
        """End the faults of a maker; return whether there were any."""
        if not any(each.made_by == made_by for each in _read(self._path)):
            return False
        self._change(lambda faults: [each for each in faults if each.made_by != made_by])
        return True

    def _change(self, change: Callable[[list[Fault]], list[Fault]]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with (self._path.parent / f"{FILE_NAME}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            now = self._clock.now().isoformat()
            faults = [each for each in _read(self._path) if each.until > now]
            new_file = self._path.with_suffix(".new")
            new_file.write_bytes(orjson.dumps([asdict(each) for each in change(faults)]))
            new_file.replace(self._path)
        # Read the file again at the next request, whatever the time.
        self._checked_at = -READ_EVERY_S

    def _refresh(self) -> None:
        """Read the file if it was replaced."""
        try:
            status = self._path.stat()
        except OSError:
            self._version, self._by_tenant = None, {}
            return
        version = status.st_mtime_ns, status.st_ino
        if version != self._version:
            by_tenant: dict[str, tuple[Fault, ...]] = {}
            for fault in _read(self._path):
                by_tenant[fault.tenant] = (*by_tenant.get(fault.tenant, ()), fault)
            self._version, self._by_tenant = version, by_tenant


def _read(path: Path) -> list[Fault]:
    """Return the faults in the file; none if it cannot be read."""
    try:
        return [Fault(**each | {"of": tuple(each["of"])}) for each in orjson.loads(path.read_bytes())]
    except (OSError, ValueError, TypeError, KeyError):
        return []


def with_faults(
    app: App, book: FaultBook, tenant: str, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> App:
    """Return a hospital's FHIR server with the faults of a book injected. ``pause`` delays an answer."""
    done: dict[tuple[str, str], None] = {}
    slots = asyncio.Semaphore(SLOW_AT_ONCE)

    async def delay() -> None:
        if not slots.locked():
            async with slots:
                await pause(SLOW_S)

    def is_first(fault: Fault, target: str) -> bool:
        """Check whether a fault that happens once has not happened to a target yet, and record that it does."""
        key = f"{fault.made_by} {fault.until} {fault.kind}", target
        if key in done:
            return False
        if len(done) >= DONE_BOUND:
            done.clear()
        done[key] = None
        return True

    async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
        # A page's number may outlive the fault that put it into the link, and is always taken out.
        faults, number = book.of(tenant), _take_page_number(scope)
        if not faults:
            await app(scope, receive, send)
            return
        answer, is_short = _BufferedAnswer(), False
        body = await _read_body(receive)
        is_write = scope["method"] in _WRITES and not scope["path"].endswith("/_search")
        for fault in faults:
            if fault.kind == "unavailable" and is_write and _applies(fault, scope, body):
                # Refused before it is carried out, so that nobody is in doubt whether it was.
                await _refuse(send, 503, "transient", "The server is unavailable.")
                return
            if fault.kind == "short_pages" and _is_type_search(scope) and _applies(fault, scope):
                scope["query_string"] = _with_short_pages(scope["query_string"])
                is_short = True
            if (
                fault.kind == "conflict"
                and scope["method"] in {"PUT", "PATCH"}
                and _applies(fault, scope, body)
                and is_first(fault, scope["path"])
            ):
                await _refuse(send, 412, "conflict", "Somebody else changed this record.")
                return
        await app(scope, _replay(body), answer.send)
        if is_short:
            answer.rewrite(partial(_with_empty_pages, query=scope["query_string"].decode(), number=number))
        for fault in faults:
            if not _applies(fault, scope, body, answer.body):
                continue
            if fault.kind == "unavailable":
                await _refuse(send, 503, "transient", "The server is unavailable.")
                return
            if fault.kind == "slow":
                await delay()
            if fault.kind == "lost_answer" and is_write and is_first(fault, ""):
                raise Unavailable("upstream_answer_lost", "The FHIR server did not answer.")
        await answer.replay(send)

    return faulty


def _applies(fault: Fault, scope: Scope, *bodies: bytes) -> bool:
    """Check whether a fault reaches a request: by its caller and, for a fault of one chart, by the patient in its address or in a body."""
    if not set(fault.of) & set(scope.get("state", {}).get("asked_by", ())):
        return False
    if not fault.chart:
        return True
    chart = fault.chart.encode()
    target = scope["path"].encode() + b"?" + scope["query_string"]
    return chart in target or any(b"Patient/" + chart + b'"' in body for body in bodies)


def _is_type_search(scope: Scope) -> bool:
    """Check whether a request searches one type with GET; the server refuses a page size in any other."""
    path = scope["path"].strip("/")
    return scope["method"] == "GET" and bool(path) and "/" not in path and path != "metadata"


def _with_short_pages(query: bytes) -> bytes:
    parameters = parse_qsl(query.decode(), keep_blank_values=True)
    if any(name == "_count" and value.isdigit() and int(value) <= SHORT_PAGE for name, value in parameters):
        return query
    others = [(name, value) for name, value in parameters if name != "_count"]
    return urlencode([*others, ("_count", str(SHORT_PAGE))], safe="/|,:").encode()


def _take_page_number(scope: Scope) -> int:
    """Remove the number of an empty page from a request's address and return it; 0 if there is none."""
    query, separator, number = scope["query_string"].rpartition(f"&{_MARK}=".encode())
    if not separator or not number.isdigit():
        return 0
    scope["query_string"] = query
    return int(number[:4])


def _with_empty_pages(body: bytes, query: str, number: int) -> bytes:
    """Return a page of a search with its ``next`` link changed, so that EMPTY_PAGES empty pages follow the first.

    ``number`` is that of the page: 0 for the first, whose link leads to the empty pages; the last of these leads to the server's second page.
    """
    page = orjson.loads(body)
    links = {each["relation"]: each["url"] for each in page.get("link", ())}
    if number > EMPTY_PAGES or page.get("resourceType") != "Bundle" or (PAGE in query and not number):
        return body
    next_url = links.get("next")
    if number:
        page.pop("entry", None)
        next_url = f"{next(iter(links.values())).partition('?')[0]}?{query}"
    if not next_url:
        return body
    others = [each for each in page["link"] if each["relation"] != "next"]
    page["link"] = [*others, {"relation": "next", "url": f"{next_url}&{_MARK}={number + 1}"}]
    return orjson.dumps(page)


async def _read_body(receive: Receive) -> bytes:
    chunks = []
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _replay(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


class _BufferedAnswer:
    """The server's answer, collected so that it can be changed or lost before it is sent."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    def rewrite(self, change: Callable[[bytes], bytes]) -> None:
        """Change the body of an answer with status 200."""
        start = self.messages[0]
        if start["status"] != 200:
            return
        body = change(self.body)
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        length = (b"content-length", str(len(body)).encode())
        self.messages = [
            {**start, "headers": [*headers, length]},
            {"type": "http.response.body", "body": body},
        ]

    async def replay(self, send: Send) -> None:
        for message in self.messages:
            await send(message)


async def _refuse(send: Send, status: int, code: str, text: str) -> None:
    issue = {"severity": "error", "code": code, "diagnostics": text}
    body = orjson.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
    headers: Iterable[tuple[bytes, bytes]] = [(b"content-type", b"application/fhir+json")]
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})
