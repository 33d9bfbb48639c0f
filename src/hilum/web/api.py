"""What every API route shares: strict bodies, bounded words, pages of a list, and the way from a request to one verb."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints
from starlette.requests import Request
from starlette.routing import BaseRoute, Match, Route

from hilum.infra.context import Context
from hilum.kernel.actor import Actor
from hilum.kernel.errors import HilumError
from hilum.web.asgi import App, Receive, Scope, Send
from hilum.web.kit import Kit, trace_of
from hilum.web.problems import problem_response

T = TypeVar("T")
ANYONE = "anyone"
"""How the audience of a route begins that is open without a token."""
_BODIES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
"""An id as we make them; also what keeps control characters from the database."""
Cursor = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@+-]{0,100}$")]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=200)]
"""One line of text."""
Prose = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=2_000)]
Word = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]*$", max_length=1_000)]
"""Printable ASCII without spaces: an address, a scope."""


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is not a moment that UTC can name") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A moment with its zone, in UTC: the last hours of year 9999 elsewhere are none there, and nobody could read them again."""


class Strict(BaseModel):
    """A body or query that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid")


class Shown(BaseModel):
    """A record as it is shown: the members named here, read from the record itself."""

    model_config = ConfigDict(from_attributes=True)


class Paging(Strict):
    """``after`` is ``next`` of the page before."""

    after: Cursor = ""


class Page(BaseModel, Generic[T]):
    """A page of a list. ``next`` is empty on the last."""

    items: list[T]
    next: str = ""


def page_of(
    found: Sequence[T], shown: Callable[[T], Any], *, bound: int, key: Callable[[T], str]
) -> dict[str, Any]:
    """Give a page; where it is full, the next begins after its last."""
    full = len(found) >= bound
    return {"items": [shown(each) for each in found], "next": key(found[-1]) if full else ""}


def audience(*roles: str) -> dict[str, Any]:
    """Declare for whom a route is; its verb judges, this tells."""
    assert roles
    return {"x-audience": list(roles)}


class TokenFirst:
    """Judges the API token of a request that may have a body before anything of the body is read.

    A framework parses bodies first; nobody without a token may make us do that. The verb judges the token again, in case it was
    revoked while the body arrived. ``routes`` are the API's; those whose audience is anyone are let through.
    """

    def __init__(
        self, app: App, routes: Iterable[BaseRoute], authenticate: Callable[[Request], Awaitable[Actor]]
    ) -> None:
        self._app = app
        self._open = [route for route in routes if isinstance(route, Route) and _is_open(route)]
        self._authenticate = authenticate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] in _BODIES and not self._is_open(scope):
            request = Request(scope)
            try:
                await self._authenticate(request)
            except HilumError as error:
                await problem_response(error, trace_of(request).request_id)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        return any(route.matches(scope)[0] is Match.FULL for route in self._open)


def _is_open(route: Route) -> bool:
    audience = (getattr(route, "openapi_extra", None) or {}).get("x-audience", "")
    return any(each.startswith(ANYONE) for each in ([audience] if isinstance(audience, str) else audience))


async def change(kit: Kit, request: Request, verb: Callable[[Context], T]) -> T:
    """Run a verb on behalf of whoever holds the request's API token, in a writing transaction."""
    actor = await kit.authenticate(request)
    return await kit.edge.write(verb, actor=actor, trace=trace_of(request))


async def look(kit: Kit, request: Request, verb: Callable[[Context], T]) -> T:
    """Run a reading verb on behalf of whoever holds the request's API token."""
    actor = await kit.authenticate(request)
    return await kit.edge.read(verb, actor=actor, trace=trace_of(request))
