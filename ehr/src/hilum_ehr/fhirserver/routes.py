"""The HTTP edge: a raw ASGI callable, relative to where it is mounted, and the same without ASGI for in-process use."""

import asyncio
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson

from hilum.foundation.infra import logs
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.web.asgi import Receive, Scope, Send
from hilum_ehr.fhirserver import policy, render, search
from hilum_ehr.fhirserver.capabilities import capability_statement
from hilum_ehr.fhirserver.models import (
    MAX_BODY_BYTES,
    THREADS,
    FhirServerSettings,
    Issue,
    Precondition,
    Problem,
    Refused,
    Shape,
    Version,
)
from hilum_ehr.fhirserver.service import FhirService

Headers = tuple[tuple[bytes, bytes], ...]

FHIR_JSON = b"application/fhir+json"
_ACCEPTED = frozenset({"*/*", "application/*", "application/fhir+json", "application/json", "text/json"})
_WRITTEN = frozenset({"application/fhir+json", "application/json"})
_FORM = "application/x-www-form-urlencoded"
_READ_PARAMETERS = frozenset({"_format", "_pretty", "_summary", "_elements"})
_HISTORY_PARAMETERS = frozenset({"_format", "_pretty", "_count", search.PAGE})
_VERSION_ID = re.compile(r"[1-9][0-9]{0,8}")
_log = logs.get("fhirserver")


@dataclass(slots=True)
class Request:
    """One request. ``path`` starts at the FHIR base; header names are lower case."""

    method: str
    path: str
    query: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


@dataclass(slots=True)
class Response:
    """A response with its whole body."""

    status: int
    body: bytes = b""
    headers: Headers = ()


class FhirServer:
    """An embeddable FHIR server. Reads by id are answered inline, everything else in a small pool of threads."""

    def __init__(self, settings: FhirServerSettings, clock: Clock, ids: Ids) -> None:
        self.settings = settings
        self.service = FhirService(settings, clock, ids)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="fhirserver")
        self._clock = clock
        self._metadata: bytes | None = None

    def load(self, resources: Iterable[bytes | dict[str, Any]]) -> int:
        """Store many resources under their own ids; see ``FhirService.load``. Blocks: call it off the loop."""
        return self.service.load(resources)

    def close(self) -> None:
        """Wait for running requests, then close the file."""
        self._pool.shutdown()
        self.service.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            raise ValueError(scope["type"])
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        headers = dict(scope["headers"])
        method = scope["method"]
        try:
            body = await _read_body(headers, receive) if method in {"POST", "PUT", "PATCH"} else b""
        except Refused as refused:
            response = refusal(refused)
        else:
            response = await self.answer(Request(method, path, scope.get("query_string", b""), headers, body))
        await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})

    async def answer(self, request: Request) -> Response:
        """Answer a request without ASGI. Never raises for input."""
        parts = request.path.split("/")
        # A read by id takes microseconds; handing it to a thread and back would take several times as long.
        inline = len(parts) == 3 and not request.query and not parts[2].startswith(("$", "_"))
        if inline and not parts[0] and request.method in {"GET", "HEAD"}:
            return self._guarded(self._read, request, parts[1:])
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, self._guarded, self._route, request, parts[1:])

    def _guarded(
        self, verb: Callable[[Request, list[str]], Response], request: Request, parts: list[str]
    ) -> Response:
        try:
            _check_accept(request)
            return verb(request, parts)
        except Refused as refused:
            return refusal(refused)
        # The message of an unexpected error may contain a record's content, so only its type and place are logged.
        except Exception as error:  # noqa: BLE001 the edge: what is unmapped says nothing
            trace = error.__traceback__
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            where = f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else ""
            _log.error("fhirserver.request.failed", error=type(error).__name__, where=where)
            return refusal(Refused(Problem.INTERNAL, "The server failed. The request was not carried out."))

    def _route(self, request: Request, parts: list[str]) -> Response:
        # A trailing slash is tolerated; the gateway never sends one.
        if parts and not parts[-1]:
            parts = parts[:-1]
        method = "GET" if request.method == "HEAD" else request.method
        if any(part.startswith("$") for part in parts):
            raise Refused(Problem.NOT_IMPLEMENTED, "Operations are not supported.")
        match parts:
            case ["metadata"]:
                return _by_method(method, GET=lambda: self._capabilities(request))
            # Named instead of 404, so that a client learns that the interaction exists in FHIR but not here.
            case [] | ["_search"] | ["_history"] | [_, "_history"]:
                raise Refused(
                    Problem.NOT_IMPLEMENTED,
                    "Batches, and searches and disclosures of many types, are not supported.",
                )
            case [_, "_search"]:
                return _by_method(method, POST=lambda: self._search(request, parts))
            case [_]:
                return _by_method(
                    method,
                    GET=lambda: self._search(request, parts),
                    POST=lambda: self._create(request, parts),
                    PUT=_no_conditional,
                    DELETE=_no_conditional,
                    PATCH=_no_patch,
                )
            case [_, _]:
                return _by_method(
                    method,
                    GET=lambda: self._read(request, parts),
                    PUT=lambda: self._update(request, parts),
                    DELETE=lambda: self._delete(request, parts),
                    PATCH=_no_patch,
                )
            case [_, _, "_history"]:
                return _by_method(method, GET=lambda: self._history(request, parts))
            case [_, _, "_history", _]:
                return _by_method(method, GET=lambda: self._read_version(request, parts))
            case [_, _, _]:
                raise Refused(
                    Problem.NOT_IMPLEMENTED, "Searches of compartments are not supported; search the type."
                )
            case _:
                raise Refused(Problem.NOT_FOUND, "This path does not match any FHIR interaction.")

    def _read(self, request: Request, parts: list[str]) -> Response:
        return self._shown(self.service.read(parts[0], parts[1]), request)

    def _read_version(self, request: Request, parts: list[str]) -> Response:
        # 0 is no version: a malformed one is answered like one that does not exist.
        number = int(parts[3]) if _VERSION_ID.fullmatch(parts[3]) else 0
        return self._shown(self.service.read_version(parts[0], parts[1], number), request)

    def _shown(self, version: Version, request: Request) -> Response:
        headers = ((b"etag", render.etag(version)), (b"last-modified", render.last_modified(version)))
        held_tags = request.header(b"if-none-match")
        if held_tags is not None and policy.is_unchanged(held_tags, version):
            return Response(304, b"", headers)
        # The stored bytes, unparsed: decimals stay as they were written.
        if not request.query:
            return _json(200, version.body, headers)
        results = _results(request, _READ_PARAMETERS)
        shape, pretty = search.parse_shape(results), search.parse_presentation(results)
        if shape.summary == "count":
            raise Refused(Problem.BAD_VALUE, "_summary=count is for searches only.")
        return _json(200, render.shaped(version.body, shape, pretty=pretty), headers)

    def _history(self, request: Request, parts: list[str]) -> Response:
        plan = self.service.plan_history(parts[0], _pairs(request, _HISTORY_PARAMETERS))
        # One more than the page shows whether another page follows.
        versions = self.service.list_versions(parts[0], parts[1], before=plan.after, limit=plan.count + 1)
        shown = versions[: plan.count]
        next_page = shown[-1].number if len(versions) > plan.count else None
        return _json(200, render.history_bundle(shown, plan, self.settings.base_url, next_page=next_page))

    def _search(self, request: Request, parts: list[str]) -> Response:
        pairs = search.parse_query(request.query)
        if request.method == "POST":
            if _media_type(request) != _FORM:
                raise Refused(Problem.MEDIA_TYPE, f"A search by POST must be sent as {_FORM}.")
            # FHIR R4 search.html#Introduction: parameters of a POST search may be in the URL and in the body.
            pairs += search.parse_query(request.body)
        plan, page = self.service.search(parts[0], pairs)
        return _json(200, render.search_bundle(plan, page, self.settings.base_url))

    def _create(self, request: Request, parts: list[str]) -> Response:
        _check_written(request)
        unless = request.headers.get(b"if-none-exist")
        if unless is not None:
            unless = unless.removeprefix(b"?")
            # An empty condition would match everything and never create.
            if not search.parse_query(unless):
                raise Refused(Problem.MALFORMED, "If-None-Exist must contain a search.")
        version, created = self.service.create(parts[0], request.body, unless=unless)
        return self._written(version, request, created=created)

    def _update(self, request: Request, parts: list[str]) -> Response:
        _check_written(request)
        version, created = self.service.update(parts[0], parts[1], request.body, _precondition(request))
        return self._written(version, request, created=created)

    def _delete(self, request: Request, parts: list[str]) -> Response:
        gone = self.service.delete(parts[0], parts[1], _precondition(request))
        return Response(204, b"", ((b"etag", render.etag(gone)),) if gone else ())

    def _written(self, version: Version, request: Request, *, created: bool) -> Response:
        location = f"{self.settings.base_url}/{version.type}/{version.id}/_history/{version.number}"
        headers: Headers = (
            (b"etag", render.etag(version)),
            (b"last-modified", render.last_modified(version)),
            (b"location", location.encode()),
        )
        status = 201 if created else 200
        prefer = (request.header(b"prefer") or "").replace(" ", "")
        # Prefer is a wish: an unknown value is ignored and the whole resource returned
        # (FHIR R4 http.html#ops).
        if "return=minimal" in prefer:
            return Response(status, b"", headers)
        if "return=OperationOutcome" in prefer:
            return _json(status, render.outcome([Issue("Stored.")], "informational", "information"), headers)
        return _json(status, render.shaped(version.body, Shape(), pretty=_is_pretty(request)), headers)

    def _capabilities(self, request: Request) -> Response:
        results = _results(request, frozenset({"_format", "_pretty", "mode"}))
        if results.pop("mode", ["full"]) != ["full"]:
            raise Refused(Problem.NOT_SUPPORTED, "Only mode=full is supported.")
        pretty = search.parse_presentation(results)
        if self._metadata is None:
            statement = capability_statement(self.settings, self.service.types, self._clock.now())
            self._metadata = orjson.dumps(statement)
        return _json(200, render.shaped(self._metadata, Shape(), pretty=pretty))


def refusal(refused: Refused) -> Response:
    """Build the response to a refused request, by ``render.STATUS``."""
    status, code = render.STATUS[refused.problem]
    severity = "fatal" if refused.problem is Problem.INTERNAL else "error"
    # Transactions are short and bounded, so trying again soon is likely to succeed.
    headers: Headers = ((b"retry-after", b"1"),) if status == 503 else ()
    return _json(status, render.outcome(refused.issues or (Issue(code),), code, severity), headers)


def _json(status: int, body: bytes, headers: Headers = ()) -> Response:
    length = (b"content-length", str(len(body)).encode())
    return Response(status, body, ((b"content-type", FHIR_JSON), length, *headers))


def _by_method(method: str, **verbs: Callable[[], Response]) -> Response:
    verb = verbs.get(method)
    if verb is None:
        response = refusal(Refused(Problem.METHOD, "This URL does not support this method."))
        allowed = (b"allow", ", ".join(sorted(verbs)).encode())
        return Response(response.status, response.body, (*response.headers, allowed))
    return verb()


def _no_conditional() -> Response:
    raise Refused(
        Problem.NOT_IMPLEMENTED, "Conditional updates and deletions are not supported; use the resource's id."
    )


def _no_patch() -> Response:
    raise Refused(Problem.NOT_IMPLEMENTED, "PATCH is not supported; read, change and PUT with If-Match.")


def _pairs(request: Request, supported: frozenset[str]) -> list[tuple[str, str]]:
    pairs = search.parse_query(request.query)
    for name, _ in pairs:
        if name not in supported:
            raise Refused(Problem.UNKNOWN_PARAMETER, f"Unknown parameter '{name[:64]}' for this interaction.")
    return pairs


def _results(request: Request, supported: frozenset[str]) -> dict[str, list[str]]:
    results: dict[str, list[str]] = {}
    for name, value in _pairs(request, supported):
        results.setdefault(name, []).append(value)
    return results


def _precondition(request: Request) -> Precondition:
    return policy.parse_precondition(request.header(b"if-match"), request.header(b"if-none-match"))


def _media_type(request: Request) -> str:
    text = request.header(b"content-type") or ""
    kind, _, parameters = text.partition(";")
    charset = re.search(r"charset=\"?([^\";\s]+)", parameters, re.IGNORECASE)
    if charset and charset.group(1).lower() not in {"utf-8", "utf8"}:
        raise Refused(Problem.MEDIA_TYPE, "Only UTF-8 is supported.")
    return kind.strip().lower()


def _check_written(request: Request) -> None:
    if _media_type(request) not in _WRITTEN:
        raise Refused(Problem.MEDIA_TYPE, "A resource must be sent as application/fhir+json.")
    _is_pretty(request)


def _is_pretty(request: Request) -> bool:
    return search.parse_presentation(_results(request, frozenset({"_format", "_pretty"})))


def _check_accept(request: Request) -> None:
    accept = request.headers.get(b"accept")
    if accept is None or accept in {b"*/*", FHIR_JSON, b"application/json"} or b"_format=" in request.query:
        return
    for part in accept.decode("latin-1").split(","):
        kind, _, parameters = part.partition(";")
        # q=0 means "not acceptable" (RFC 9110 section 12.4.2).
        refused = re.search(r"\bq=0(?:\.0*)?(?:;|$)", parameters.replace(" ", ""))
        if kind.strip().lower() in _ACCEPTED and not refused:
            return
    raise Refused(Problem.NOT_ACCEPTABLE, "Only JSON is supported: send Accept: application/fhir+json.")


async def _read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    too_large = Refused(Problem.TOO_LARGE, f"A body may have at most {MAX_BODY_BYTES} bytes.")
    declared = headers.get(b"content-length", b"0")
    # Refused before a byte is read. The count below still decides, since the header may be missing or wrong.
    if declared.isdigit() and int(declared[:20]) > MAX_BODY_BYTES:
        raise too_large
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(Problem.MALFORMED, "The client closed the connection before the body was complete.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            raise too_large
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
