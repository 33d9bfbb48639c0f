"""What every API route shares: strict bodies, bounded strings, pages of a list, and running one verb for a request.

A write, in order: 1 ``server.asgi`` bounds it and ``server.lanes`` sets its lane; 2 the token is authenticated, in a lane of its own, and its
role compared with the route's audience; 3 only then is the body read, within the route's bound, and validated; 4 the token is
authenticated again, if that took longer than CALLER_KEPT_S; 5 one verb runs in one transaction (``infra.unit_of_work``): it judges the actor, changes
rows, records the event and announces which facts changed; 6 the commit; 7 the answer, or problem+json with the error's code. A 403
that the verb did not record is recorded here (C69).
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, Generic, TypeVar, get_args

import orjson
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery, Sorts
from hilum.foundation.web import problems
from hilum.foundation.web.bounds import API_BODY_BOUND, LARGE_BODY_BOUND, SMALL_BODY_BOUND, too_large
from hilum.foundation.web.kit import Kit, trace_of

T = TypeVar("T")
ANYONE, ONESELF, STAFF, MEMBER = "anyone", "oneself", "staff", "member"
"""Audiences beside the roles: no token needed; every holder of a token, about themselves; every role of the platform's staff, and of a
vendor's members."""
SURPLUS_BOUND = 10
"""How many names a body may have beyond the fields of its model; each is named in the refusal."""
ENTRIES_BOUND = 4_000
"""How many names and entries a body may have in all, at every depth; five times as many beyond API_BODY_BOUND bytes."""
QUERY_BOUND = 100
"""How many parameters the address of a call may have."""
_AUDIENCE, _BODY, _CALLER = "x-audience", "x-body-bound", "hilum.caller"
CALLER_KEPT_S = 0.1
"""How long a caller counts as authenticated while the body of the call arrives. Whoever holds many half-sent bodies acts that long after a stop."""

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
"""An id of this platform. The pattern also keeps control characters out of the database."""
Cursor = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@+~-]{0,1500}$")]
"""The key of a row, several joined by ``~``, or its place in an order."""
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=200)]
"""One line of text."""
Prose = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=2_000)]
Word = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]*$", max_length=1_000)]
"""Printable ASCII without spaces: a URL, a scope."""


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of the range of UTC times") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with its zone, converted to UTC. Times at either end of the calendar that do not exist in UTC are refused, since they could
not be read back."""


class Strict(BaseModel):
    """A body or query that refuses unknown fields."""

    # A misspelled field that was ignored would leave its default in force, such as no end.
    model_config = ConfigDict(extra="forbid")


class Shown(BaseModel):
    """The base of response bodies: their fields are read from the attributes of a record."""

    model_config = ConfigDict(from_attributes=True)


class Paging(Strict):
    """``after`` is ``next`` of the previous page; ``limit`` is the maximum number of rows."""

    after: Cursor = ""
    limit: Annotated[int, Field(ge=1, le=PAGE_BOUND)] = PAGE_BOUND

    @property
    def page(self) -> PageQuery:
        return PageQuery(self.after, self.limit)


class Sorted(Paging):
    """``sort`` is one of the list's orders, with ``-`` before it to reverse it; empty sorts by the key. A cursor belongs to one order."""

    sort: str = ""

    @property
    def page(self) -> PageQuery:
        return PageQuery(self.after, self.limit, self.sort)


def one_of(sorts: Sorts) -> Any:
    """Return the annotation of a list's ``sort`` parameter, which allows only the list's own orders."""
    words: list[Any] = ["", *sorts.words]
    return Field(pattern=f"^({'|'.join(words)})$", json_schema_extra={"enum": words})


class Page(BaseModel, Generic[T]):
    """A page of a list. ``next`` is empty on the last page."""

    items: list[T]
    next: str = ""


def _id_of(record: Any) -> str:
    return str(record.id)


def page_of(
    records: Sequence[T],
    shown: Callable[[T], Any],
    query: Paging,
    *,
    key: Callable[[T], str] = _id_of,
) -> dict[str, Any]:
    """Return a page as a response body. If it is full, ``next`` is the key of its last record."""
    # A list that ends exactly here gets one more page, which is empty: to avoid that, every page would
    # have to read one row more.
    is_full = len(records) >= query.limit
    return {"items": [shown(record) for record in records], "next": key(records[-1]) if is_full else ""}


def audience(*who: str, large: bool = False) -> dict[str, Any]:
    """Declare the audience of a route: roles, or one of the constants above. Its verb checks the rest, which depends on the request.

    ``large``: a field needs a body of up to LARGE_BODY_BOUND.
    """
    assert who
    return {_AUDIENCE: list(who)} | ({_BODY: LARGE_BODY_BOUND} if large else {})


def admits(audience: Iterable[str], actor: Actor) -> bool:
    """Check whether an actor belongs to an audience. An unknown role admits nobody."""
    who = set(audience)
    if who & {ANYONE, ONESELF}:
        return True
    if MEMBER in who and actor.kind is ActorKind.MEMBER and actor.roles:
        return True
    return bool(who & actor.roles) or (STAFF in who and actor.is_platform)


class _Parsed(Request):
    """A request whose body was parsed before FastAPI sees it."""

    document: Any = None

    async def json(self) -> Any:
        return self.document


async def _read(request: Request, bound: int, fields: int) -> Request:
    """Read and parse a body. Raises Invalid for one that is too large, no JSON, or has many more names than its model has fields."""
    if (body := request.scope.get("state", {}).get("body")) is not None:
        body.narrow(bound)
    parsed = _Parsed(request.scope, request.receive)
    content = await parsed.body()
    if len(content) > bound:
        raise too_large(bound)
    read = partial(_document, content, fields)
    parsed.document = read() if len(content) <= API_BODY_BOUND else await asyncio.to_thread(read)
    return parsed


def _document(content: bytes, fields: int) -> Any:
    try:
        document = orjson.loads(content) if content else None
    except orjson.JSONDecodeError:
        raise Invalid("json_malformed", "The body is not valid JSON.") from None
    # Pydantic builds an error for each unknown name, which takes a hundred times as long as reading it.
    surplus = isinstance(document, dict) and len(document) > fields + SURPLUS_BOUND
    if surplus or _has_more(document, ENTRIES_BOUND * (1 if len(content) <= API_BODY_BOUND else 5)):
        raise Invalid("body_too_complex", "The body has many more names or entries than this call takes.")
    return document


def _has_more(document: Any, bound: int) -> bool:
    """Check whether a document has more than ``bound`` names and entries in all."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list):
            bound -= len(value)
            if bound < 0:
                return True
            waiting += value.values() if isinstance(value, dict) else value
    return False


def _fields_of(annotation: Any) -> int:
    """Return how many fields a body's model has. ``annotation``: the model, or a union with it."""
    return max(len(getattr(each, "model_fields", ())) for each in (annotation, *get_args(annotation)))


def api_router(kit: Kit, *tags: str) -> APIRouter:
    """Build a router below ``/api/v1`` whose routes authenticate the caller before they read or validate the rest of a request.

    FastAPI parses bodies and validates parameters first, which unauthenticated callers must not be able to cause.
    """

    class CallerFirst(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()
            extra = self.openapi_extra or {}
            who = extra.get(_AUDIENCE, ())
            assert who, f"{self.path} declares no audience"
            bound = extra.get(_BODY) or (SMALL_BODY_BOUND if {ANYONE, ONESELF} & set(who) else API_BODY_BOUND)
            fields = 0 if self.body_field is None else _fields_of(self.body_field.field_info.annotation)

            async def admitted(request: Request) -> Response:
                actor = None if ANYONE in who else await kit.authenticate(request, who)
                if actor is not None:
                    request.scope[_CALLER] = actor, kit.clock.monotonic()
                if request.scope["query_string"].count(b"&") > QUERY_BOUND:
                    raise Invalid("query_too_long", f"An address has at most {QUERY_BOUND} parameters.")
                if self.body_field is not None:
                    request = await _read(request, bound, fields)
                try:
                    return await handle(request)
                except NotPermitted as error:
                    if actor is not None:
                        await kit.forbidden(request, actor, error, f"{request.method} {self.path}")
                    raise

            return admitted

    return APIRouter(prefix="/api/v1", tags=list(tags), route_class=CallerFirst, responses=problems.DESCRIBED)


def join(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Add the routes of routers to an application.

    ``include_router`` would describe every route a second time, while the first request waits.
    """
    for router in routers:
        app.router.routes.extend(router.routes)


async def caller(kit: Kit, request: Request) -> Actor:
    """Return the caller of a request. The result of the check before the handler is used once; later calls authenticate again."""
    actor, at = request.scope.pop(_CALLER, (None, 0.0))
    # A token may be revoked while a body arrives slowly.
    is_recent = actor is not None and kit.clock.monotonic() - at < CALLER_KEPT_S
    return actor if is_recent else await kit.authenticate(request)


async def run_write(kit: Kit, request: Request, verb: Callable[[Context], T]) -> T:
    """Run a verb as the request's caller, in a write transaction."""
    actor = await caller(kit, request)
    return await kit.uow.write(verb, actor=actor, trace=trace_of(request))


async def run_read(kit: Kit, request: Request, verb: Callable[[Context], T]) -> T:
    """Run a verb as the request's caller, in a read transaction."""
    actor = await caller(kit, request)
    return await kit.uow.read(verb, actor=actor, trace=trace_of(request))
