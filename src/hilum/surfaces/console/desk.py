"""The desk behind every page: who is there, may they open it, the frame around it, its forms and its errors."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from hilum.controls.approvals.models import Asked as AskedTwo
from hilum.foundation.infra import lanes
from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.kernel.errors import HilumError, Invalid, NotFound, NotPermitted
from hilum.foundation.web import cookies, faults, forms
from hilum.foundation.web.bounds import TOO_LARGE
from hilum.foundation.web.forms import Form
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.problems import retry_after_of, status_of
from hilum.foundation.web.static import download
from hilum.foundation.web.urls import host_of, path_of, segment, with_query
from hilum.identity.people import service as identity
from hilum.identity.people.policy import is_vendor
from hilum.records.audit.models import Event
from hilum.surfaces.console import lists as list_views
from hilum.surfaces.console import policy, service, words
from hilum.surfaces.console.lists import List
from hilum.surfaces.console.models import (
    EXPORT_BOUND,
    STREAM_LIFE_S,
    STREAM_LOOK_S,
    STREAM_TICK_S,
    STREAMS_BOUND,
    STREAMS_PER_PERSON,
    Asked,
    Cell,
    Console,
    Listed,
    NotForYou,
    Page,
    SignInFirst,
    Visitor,
)
from hilum.surfaces.console.ports import Ports

T = TypeVar("T")
TEMPLATES = Path(__file__).parent / "templates"
STATIC = Path(__file__).parent / "static"
HOSPITALS_SHOWN = 100
RETRY_MS = 3_000
"""After which time a browser opens a stream again that broke off."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Visit:
    """One request for a page by somebody who may open it."""

    kit: Kit
    ports: Ports
    request: Request
    page: Page
    visitor: Visitor
    cookie: str

    @property
    def trace(self) -> Trace:
        return trace_of(self.request)

    @property
    def path(self) -> str:
        """Return the path of this page."""
        return self.request.url.path

    def param(self, name: str = "id") -> str:
        """Return an id that is a part of the page's address. Raises NotFound for a text that can be none."""
        # The pattern also keeps control characters out of the database.
        found = str(self.request.path_params[name])
        if not _ID.fullmatch(found):
            raise NotFound("page_not_found", "There is nothing at this address.")
        return found

    def query(self) -> Form:
        """Return the query of the page's address. Raises Invalid."""
        return forms.read_query(self.request)

    def may_open(self, key: str) -> bool:
        """Check whether the person may open another page."""
        return policy.may_open(self.visitor, policy.PAGES[key])

    def link(self, name: str, id_: str) -> str:
        """Return the path of an object's page in this console; empty if there is none, or it is for others."""
        page = at(self, name)
        return address(page, id_) if id_ and page in policy.PAGES and self.may_open(page) else ""

    async def read(self, verb: Callable[[Context], T]) -> T:
        """Run a verb as the visitor, in a read transaction."""
        return await self.kit.uow.read(verb, actor=self.visitor.actor, trace=self.trace)

    async def write(self, verb: Callable[[Context], T]) -> T:
        """Run a verb as the visitor in a write transaction, in which their session is judged again."""

        def judged(ctx: Context) -> T:
            return verb(service.require(ctx, self.visitor, self.cookie, writing=True))

        return await self.kit.uow.write(judged, trace=self.trace)

    async def read_records(self, verb: Callable[[Context], T]) -> T:
        """Run a read that looks into the journals, in the lane of such reads."""
        with lanes.using(Lane.STAFF_AUDIT if self.visitor.actor.is_platform else Lane.AUDIT):
            return await self.read(verb)

    async def audited(self, asked: Event, verb: Callable[[Context], tuple[T, Event]]) -> T:
        """Run a read of the audit, which is recorded before it is returned."""
        return await self.ports.recorded(asked, verb, actor=self.visitor.actor, trace=self.trace)

    def render(self, template: str, *, status: int = 200, **facts: Any) -> Response:
        """Render a page in the frame of its console."""
        frame = frame_of(self.visitor, self.page, self.kit, str(self.request.path_params.get("id", "")))
        more: dict[str, Any] = {
            "csrf": self.csrf(self.page.key),
            "token": self.csrf,
            "page": self.page,
            "frame": frame,
            "visit": self,
        }
        hospital = "" if self.visitor.actor.vendor is not None else self.visitor.session.tenant or ""
        return self.kit.pages.render(
            self.request, template, status=status, defaults_of=hospital, **(more | facts)
        )

    def csrf(self, purpose: str) -> str:
        """Return the token of a form of a page."""
        return forms.csrf_token(self.visitor.session.csrf, f"console:{purpose}")

    async def show_list(
        self,
        shown: List,
        verb: Callable[[Context, Asked], Listed],
        template: str = "console/list.html",
        **facts: Any,
    ) -> Response:
        """Show a list whose rows a verb reads as the visitor, or send it as a file."""

        async def read(asked: Asked) -> Listed:
            return await self.read(lambda ctx: verb(ctx, asked))

        return await self.listing(shown, read, template, **facts)

    async def listing(
        self,
        shown: List,
        read: Callable[[Asked], Awaitable[Listed]],
        template: str = "console/list.html",
        *,
        within: Mapping[str, str] = MappingProxyType({}),
        **facts: Any,
    ) -> Response:
        """Show a list that is read in its own way, or send it as a file. ``within``: what else its address has, such as whose records it lists."""
        given = self.query()
        flat = {name: values[0] for name, values in given.values.items()}
        asked = replace(policy.asked(flat, shown.filters, shown.orders), within=within)
        if not asked.format:
            listed = await read(asked)
            return self.render(template, list=list_views.view(shown, asked, listed, self.path), **facts)
        rows: list[tuple[Cell, ...]] = []
        records: list[Mapping[str, Any]] = []
        while len(rows) < EXPORT_BOUND:
            listed = await read(asked)
            rows += [tuple(row) for row in listed.rows]
            records += listed.records
            asked = replace(asked, after=listed.next)
            if not listed.next:
                break
        cut = bool(asked.after) or len(rows) > EXPORT_BOUND
        some = records[:EXPORT_BOUND] or list_views.records_of(shown, rows[:EXPORT_BOUND])
        body, media = list_views.exported(some, asked.format, cut=cut)
        return download(body, f"{self.page.key.replace('.', '-')}.{asked.format}", media)


Show = Callable[[Visit], Awaitable[Response]]
Act = Callable[[Visit, Form], Awaitable[Response]]


def to(path: str, **query: str) -> Response:
    """Send the browser on after a form, so that reloading does not send it again."""
    return RedirectResponse(with_query(path, **query), 303)


def to_approval(visit: Visit, asked: AskedTwo) -> Response:
    """Send the browser on to what now waits for a second person; of what reviewers ask for the staff decide."""
    console = Console.OPERATIONS if visit.page.console is Console.REVIEW else visit.page.console
    return to(address(f"{console}.approval", asked.approval.id))


def frame_of(visitor: Visitor, page: Page, kit: Kit, id_: str = "") -> dict[str, Any]:
    """Return what is around a page: where one can go, where one is, and who one is."""
    tenant = visitor.session.tenant if visitor.actor.vendor is None else None
    top = policy.trail(page)[0] if page.parent else page
    opened = policy.opened(visitor, page.console)
    search = policy.PAGES.get(f"{page.console}.search")
    staff = policy.is_of_staff(page.console)
    waits = policy.PAGES["operations.staff" if staff else f"{page.console}.waiting"]
    return {
        "console": words.CONSOLES[page.console],
        "home": opened[0].path if opened else f"/{page.console}",
        "menus": [
            (title, pages[0].path, [(each.title, each.path, each.key == top.key) for each in pages])
            for title, pages in policy.menus(visitor, page.console).items()
        ],
        "beside": [
            (words.CONSOLES[each.console], each.path) for each in policy.beside(visitor, page.console)
        ],
        "trail": [(each.title, each.path.replace("{id}", segment(id_))) for each in policy.trail(page)],
        "search": search.path if search and policy.may_open(visitor, search) else "",
        "waiting": visitor.waiting,
        "waits_at": waits.path if policy.may_open(visitor, waits) else "",
        "name": visitor.person.name,
        "role": words.role(visitor.role),
        "place": visitor.place,
        "signout": path_of(kit.urls.signout(tenant or "")),
        "account": path_of(kit.urls.account(visitor.session.tenant or "")),
        "guide": f"/{page.console}/guide#{top.key.partition('.')[2]}",
        "how_to": words.HOW_TO.get(top.key, words.HOW_TO[page.console]),
        "live": f"/{page.console}/live",
        "keys": words.KEYS,
    }


async def _form_of(request: Request, multi: tuple[str, ...], files: Mapping[str, str]) -> Form:
    """Read the form that somebody who may open the page sent. ``files``: the fault of each file that is too large. Raises Invalid."""
    if not files:
        return await forms.read_form(request, multi=multi)
    try:
        return await forms.read_form_with_files(request, files=files.keys(), multi=multi)
    except Invalid as error:
        if error.code != TOO_LARGE:
            raise
        # The page says what is too large, and not how many bytes a form has.
        detail = "The file is too large, so it was not read."
        raise Invalid(TOO_LARGE, detail, fields=dict([next(iter(files.items()))])) from error


class Desk:
    """Makes routes of the pages of one worker."""

    def __init__(self, kit: Kit, ports: Ports) -> None:
        self._kit, self._ports = kit, ports
        self._streams: Counter[str] = Counter()
        self._stopping = False
        ports.at_stop(self._stop)

    def _stop(self) -> None:
        self._stopping = True

    def route(
        self,
        key: str,
        show: Show,
        act: Act | None = None,
        *,
        multi: tuple[str, ...] = (),
        pictures: tuple[str, ...] = (),
        documents: tuple[str, ...] = (),
    ) -> list[Route]:
        """Build the routes of a page: what shows it, and what its forms do.

        ``multi``: fields with several values. ``pictures``, ``documents``: fields in which somebody chooses a file.
        """
        page = policy.PAGES[key]
        files = dict.fromkeys(pictures, "picture_too_large") | dict.fromkeys(documents, "document_too_large")

        async def get(request: Request) -> Response:
            return await self._answer(request, page, show)

        async def post(request: Request) -> Response:
            assert act is not None

            async def submitted(visit: Visit) -> Response:
                form = await _form_of(request, multi, files)
                self._check(visit, form)
                if any("\x00" in text for values in form.values.values() for text in values):
                    raise Invalid(
                        "form_malformed", "The form contains characters that are not allowed in text."
                    )
                return await act(visit, form)

            return await self._answer(request, page, submitted)

        found = [Route(page.path, get, methods=["GET"])]
        return [*found, Route(page.path, post, methods=["POST"])] if act is not None else found

    def live(self, console: Console) -> Route:
        """Build the stream that says when a page of a console is out of date."""

        async def stream(request: Request) -> Response:
            visitor = await self._visitor(request)
            if visitor is None or not policy.is_of(visitor, console):
                return Response(status_code=403)
            if (
                self._streams.total() >= STREAMS_BOUND
                or self._streams[visitor.person.id] >= STREAMS_PER_PERSON
            ):
                return Response(status_code=429, headers={"retry-after": "10"})
            headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
            return StreamingResponse(
                self._changes(request, visitor), media_type="text/event-stream", headers=headers
            )

        return Route(f"/{console}/live", stream, methods=["GET"])

    async def _changes(self, request: Request, visitor: Visitor) -> AsyncIterator[str]:
        """Yield an event whenever a page may be out of date, as long as the session lives."""
        self._streams[visitor.person.id] += 1
        try:
            seen, quiet = self._ports.generation(), 0.0
            yield f"retry: {RETRY_MS}\n\n"
            for _ in range(int(STREAM_LIFE_S / STREAM_LOOK_S)):
                await asyncio.sleep(STREAM_LOOK_S)
                quiet += STREAM_LOOK_S
                now = self._ports.generation()
                if now == seen and quiet < STREAM_TICK_S:
                    if self._stopping:
                        return
                    continue
                # Judged again before each word: a session that has ended learns nothing more.
                if self._stopping or await self._visitor(request) is None:
                    return
                why = "tick" if now == seen else "changed"
                seen, quiet = now, 0.0
                yield f"event: {why}\ndata: {{}}\n\n"
        finally:
            self._streams[visitor.person.id] -= 1
            if not self._streams[visitor.person.id]:
                del self._streams[visitor.person.id]

    async def _answer(self, request: Request, page: Page, show: Show) -> Response:
        visitor = await self._visitor(request)
        try:
            if visitor is None or not policy.is_of(visitor, page.console):
                if visitor is not None:
                    error = NotForYou("not_permitted", words.not_for_you(visitor.role, page))
                    await self._forbidden(request, page, visitor, error)
                return await self._elsewhere(request, page, visitor)
            visit = Visit(self._kit, self._ports, request, page, visitor, self._cookie(request))
            if not policy.may_open(visitor, page):
                raise NotForYou("not_permitted", words.not_for_you(visitor.role, page))
            if request.method == "GET":
                waiting = await visit.read(partial(service.count_waiting, acts=self._ports.acts))
                visit = replace(visit, visitor=replace(visitor, waiting=waiting))
            return await show(visit)
        except HilumError as error:
            if visitor is None or isinstance(error, SignInFirst):
                return await self._elsewhere(request, page, None)
            if isinstance(error, NotPermitted):
                await self._forbidden(request, page, visitor, error)
            return self._trouble(request, page, visitor, error)

    async def _forbidden(self, request: Request, page: Page, visitor: Visitor, error: NotPermitted) -> None:
        await self._kit.forbidden(request, visitor.actor, error, f"{request.method} {page.path}")

    def _cookie(self, request: Request) -> str:
        return cookies.read(request, cookies.SESSION, secure=self._kit.urls.is_secure())

    async def _visitor(self, request: Request) -> Visitor | None:
        cookie, trace = self._cookie(request), trace_of(request)

        def look(ctx: Context) -> tuple[Visitor, bool] | None:
            found = service.enter(ctx, cookie, production=not self._kit.is_sandbox)
            return None if found is None else (found, service.is_due(found, ctx))

        # Anybody can send a well-formed cookie, so looking it up takes no thread of the page's lane (ADR 32).
        with lanes.using(Lane.CALLERS):
            found = await self._kit.uow.read(look, trace=trace) if cookie else None
        if found is None:
            return None
        visitor, due = found
        if due:
            await self._kit.uow.write(partial(service.touch, visitor=visitor), trace=trace)
        return visitor

    def _check(self, visit: Visit, form: Form) -> None:
        """Check that a form came from a page of this console in this browser. Raises NotPermitted."""
        urls, tenant = self._kit.urls, visit.visitor.session.tenant or ""
        host = visit.request.headers.get("host", "").lower()
        own = urls.origin(tenant) if visit.visitor.actor.vendor is None else urls.origin()
        origin = own if host_of(own) == host else urls.origin()
        secret = visit.visitor.session.csrf
        forms.check_post(visit.request, form, secret, origin=origin, purpose=f"console:{visit.page.key}")

    async def _elsewhere(self, request: Request, page: Page, visitor: Visitor | None) -> Response:
        """Answer somebody who is not at this console: the way to sign in, or that it is for others."""
        urls = self._kit.urls
        then = path_of(str(request.url)) if request.method == "GET" else page.path.partition("/{")[0]
        facts: dict[str, Any] = {
            "console": words.CONSOLES[page.console],
            "visitor": visitor,
            "role": words.role(visitor.role) if visitor else "",
        }
        if visitor is None and request.method == "GET" and policy.is_of_staff(page.console):
            return RedirectResponse(urls.signin(then=then), 303)
        if page.console is Console.DEVELOPER:
            return self._vendor_sign_in(request, page, facts)
        hospitals = []
        if page.console is Console.TENANT:
            found = await self._kit.uow.read(identity.list_shared, trace=trace_of(request))
            hospitals = [(each.name, urls.signin(each.id, then=then)) for each in found if each.active]
        return self._kit.pages.render(
            request,
            "console/sign_in_first.html",
            status=403 if visitor else 401,
            hospitals=hospitals[:HOSPITALS_SHOWN],
            signin="" if page.console is Console.TENANT else urls.signin(then=then),
            own=words.own_console(visitor.actor.kind) if visitor else "",
            posted=request.method != "GET",
            **facts,
        )

    def _vendor_sign_in(self, request: Request, page: Page, facts: dict[str, Any]) -> Response:
        """Answer somebody who is not at the developers' console: each vendor signs in at a page of its own."""
        urls, visitor = self._kit.urls, facts["visitor"]
        came = request.method == "GET"
        vendor = forms.read_query(request).one("vendor").strip() if came else ""
        path = request.url.path if came else page.path.partition("/{")[0]
        if is_vendor(vendor):
            # Whether there is such a vendor, only a member who signs in learns.
            return RedirectResponse(urls.signin(vendor, then=path), 303)
        return self._kit.pages.render(
            request,
            "console/sign_in_first.html",
            status=403 if visitor else 401,
            vendors=path,
            signin="",
            hospitals=(),
            vendor=vendor[:100],
            accounts=urls.sandbox("/accounts") if self._kit.is_sandbox else "",
            own=words.own_console(visitor.actor.kind) if visitor else "",
            posted=request.method != "GET",
            **facts,
        )

    def _trouble(self, request: Request, page: Page, visitor: Visitor, error: HilumError) -> Response:
        """Show an error inside the console: what happened, which fields, and what to do next."""
        fields = faults.explained(error.fields) if isinstance(error, Invalid) else {}
        status, retry = status_of(error), retry_after_of(error)
        response = self._kit.pages.render(
            request,
            "console/trouble.html",
            status=status,
            trouble=words.trouble(error, status),
            fields=[(words.field(name), each["detail"]) for name, each in fields.items()],
            request_id=trace_of(request).request_id,
            page=page,
            frame=frame_of(visitor, page, self._kit, str(request.path_params.get("id", ""))),
            posted=request.method == "POST",
        )
        if retry:
            response.headers["retry-after"] = str(retry)
        return response


def address(page: str, id_: str = "", /, **query: str) -> str:
    """Return the path of a page by its key, with a query."""
    return with_query(policy.PAGES[page].path.replace("{id}", segment(id_)), **query)


def at(visit: Visit, name: str) -> str:
    """Return the key of a page of the visitor's console."""
    return f"{visit.page.console}.{name}"
