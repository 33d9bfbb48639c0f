"""The dependencies that ``server`` passes to every module with routes."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from starlette.requests import Request

from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.settings import Mode
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.actor import Actor
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.standards.browsers import browser_family
from hilum.foundation.web.bounds import GUESS_DELAY_S, GUESSES_BURST, GUESSES_RATE, RefusalDelay
from hilum.foundation.web.pages import Pages
from hilum.foundation.web.problems import status_of
from hilum.foundation.web.urls import Urls


class Authenticate(Protocol):
    """Returns the actor of an API request's bearer token.

    Raises NotAuthenticated without a valid token, NotPermitted if a switch stops its person or they are not of the ``audience``.
    """

    async def __call__(self, request: Request, audience: Sequence[str] | None = None, /) -> Actor: ...


RecordForbidden = Callable[[Request, Actor, NotPermitted, str], Awaitable[None]]
"""(request, who asked, the refusal, the method and the route) records that somebody tried what is forbidden, within bounds."""


async def record_nothing(_request: Request, _actor: Actor, _error: NotPermitted, _call: str) -> None:
    """Record nothing, on sites without consoles and API."""


@dataclass(frozen=True, slots=True)
class Kit:
    """The unit of work, clock and ids, URLs, pages, authentication of API requests, the record of forbidden ones, and the delay of refused guesses."""

    uow: UnitOfWork
    clock: Clock
    ids: Ids
    urls: Urls
    mode: Mode
    pages: Pages
    authenticate: Authenticate
    record_forbidden: RecordForbidden = record_nothing
    guesses: RefusalDelay = field(
        default_factory=partial(RefusalDelay, burst=GUESSES_BURST, rate=GUESSES_RATE, delay_s=GUESS_DELAY_S)
    )

    @property
    def is_sandbox(self) -> bool:
        return self.mode is Mode.SANDBOX

    async def forbidden(self, request: Request, actor: Actor, error: NotPermitted, call: str) -> None:
        """Record a refusal by right (403), unless the verb did: then its event has more."""
        if status_of(error) == 403 and not error.recorded:
            await self.record_forbidden(request, actor, error, call)


@dataclass(frozen=True, slots=True)
class SignInTarget:
    """Where a person continues after signing in.

    ``app``: the name of the app that waits for them, empty if none does. ``origins``: foreign origins that redirects may end at, for
    ``form-action``: Chromium checks a form's whole chain of redirects against the policy of its page.
    """

    app: str = ""
    origins: tuple[str, ...] = ()
    logo: str = ""
    """The path of the app's logo; empty if it has none."""


NOWHERE = SignInTarget()
FindSignInTarget = Callable[[Request, str, str], Awaitable[SignInTarget]]
"""(request, tenant, path to continue at) -> ``SignInTarget``."""


async def find_nothing(_request: Request, _tenant: str, _then: str) -> SignInTarget:
    """Return ``NOWHERE``, for sites without an authorization flow."""
    return NOWHERE


def trace_of(request: Request) -> Trace:
    """Return a request's id, source address and correlation id, as the dispatcher stored them, and its browser's family."""
    state = request.scope.get("state", {})
    return Trace(
        request_id=str(state.get("request_id", "")),
        source=str(state.get("source", "")),
        correlation_id=str(state.get("correlation_id", "")),
        browser=browser_family(request.headers.get("user-agent", "")),
    )
