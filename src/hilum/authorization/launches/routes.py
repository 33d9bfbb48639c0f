"""The EHR's launch API, and ``open_url``, to which an EHR sends the browser.

Source: docs/reference/contract.md, The EHR's launch API.
"""

import re
from collections.abc import Callable
from datetime import date
from functools import partial, wraps
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from hilum.authorization.launches import policy, service
from hilum.authorization.launches.models import BODY_BOUND, Activity, Availability, LaunchOrder
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import HilumError, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import ClientId, LaunchId, TenantId
from hilum.foundation.web import cookies
from hilum.foundation.web.faults import field_of, of_validation
from hilum.foundation.web.forms import read_body, read_query
from hilum.foundation.web.json_routes import Handler, JsonRoute
from hilum.foundation.web.kit import Kit, trace_of
from hilum.foundation.web.problems import method_refused, problem_response

T = TypeVar("T")
FAULTS_BOUND = 50
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# No conversions: an EHR that sends "true" or 1 for a boolean gets an error.
_STRICT = ConfigDict(extra="forbid", strict=True)


class LaunchBody(BaseModel):
    """The body of a request to open a launch."""

    model_config = _STRICT

    client_id: str
    person: str
    patient: str = ""
    encounter: str = ""
    intent: str = ""
    placement: str = ""
    fhir_context: list[dict[str, Any]] = Field(default_factory=list, alias="fhirContext")
    need_patient_banner: bool = True
    run: str = ""
    facility: str = ""
    launch_uri: str = ""

    def order(self) -> LaunchOrder:
        return LaunchOrder(
            client=ClientId(self.client_id),
            person=self.person,
            patient=self.patient,
            encounter=self.encounter,
            intent=self.intent,
            placement=self.placement,
            fhir_context=tuple(self.fhir_context),
            need_patient_banner=self.need_patient_banner,
            run=self.run,
            facility=self.facility,
            launch_uri=self.launch_uri,
        )


class MoveBody(BaseModel):
    """The chart that is open now. A field that is absent is unchanged; null closes it."""

    model_config = _STRICT

    patient: str | None = None
    encounter: str | None = None

    def now(self, name: str) -> str | None:
        return (getattr(self, name) or "") if name in self.model_fields_set else None


class CountBody(BaseModel):
    model_config = _STRICT

    role: str
    facility: str = ""
    count: int


class ActivityBody(BaseModel):
    """The people of each role who were active on a day."""

    model_config = _STRICT

    date: str
    counts: list[CountBody]

    def rows(self) -> list[Activity]:
        try:
            day = date.fromisoformat(self.date)
        except ValueError as error:
            fields = {"date": "date_malformed"}
            raise Invalid("activity_invalid", "The counts cannot be recorded.", fields=fields) from error
        return [Activity(day, each.role, each.facility, each.count) for each in self.counts]


Body = TypeVar("Body", bound=BaseModel)


def routes(kit: Kit) -> list[Route]:
    """Build the routes of the launch API and of ``open_url``."""
    handlers = _Handlers(kit)
    one = {"PATCH": _with_problems(handlers.move), "DELETE": _with_problems(handlers.end)}
    return [
        JsonRoute("/t/{tenant}/ehr/launches", {"POST": _with_problems(handlers.open)}, method_refused),
        JsonRoute("/t/{tenant}/ehr/launches/{launch}", one, method_refused),
        JsonRoute("/t/{tenant}/ehr/apps", {"GET": _with_problems(handlers.apps)}, method_refused),
        JsonRoute("/t/{tenant}/ehr/activity", {"POST": _with_problems(handlers.report)}, method_refused),
        Route("/t/{tenant}/ehr/open/{token}", handlers.begin, methods=["GET"]),
    ]


def _with_problems(handler: Handler) -> Handler:
    """Wrap an API handler so that its errors are problem+json; the application renders those of other routes as pages."""

    @wraps(handler)
    async def wrapped(request: Request) -> Response:
        try:
            return await handler(request)
        except HilumError as error:
            return problem_response(error, trace_of(request).request_id)

    return wrapped


class _Handlers:
    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    async def open(self, request: Request) -> Response:
        tenant = _tenant(request)
        body = await self._read(request, LaunchBody)
        opened = await self._as_ehr(request, lambda ctx: service.open_launch(ctx, body.order()))
        urls = self._kit.urls
        iss = urls.fhir_base(tenant)
        answer = {
            "id": opened.launch.id,
            "launch": opened.handle,
            "launch_url": policy.app_address(opened.launch_uri, iss, opened.handle),
            "open_url": urls.open_launch(tenant, opened.open_token),
            "expires_at": opened.launch.expires_at.isoformat(),
        }
        location = urls.launch(tenant, opened.launch.id)
        return JSONResponse(answer, 201, {"location": location, "cache-control": "no-store"})

    async def move(self, request: Request) -> Response:
        body = await self._read(request, MoveBody)
        launch = _launch(request)
        patient, encounter = body.now("patient"), body.now("encounter")
        moved = await self._as_ehr(request, lambda ctx: service.move(ctx, launch, patient, encounter))
        answer = {
            "id": moved.id,
            "patient": moved.patient,
            "encounter": moved.encounter,
            "moved": moved.moved_at is not None,
        }
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    async def end(self, request: Request) -> Response:
        launch = _launch(request)
        await self._as_ehr(request, lambda ctx: service.end(ctx, launch))
        return Response(status_code=204)

    async def apps(self, request: Request) -> Response:
        query = read_query(request, multi={"client_id"})
        clients = [ClientId(each) for each in query.many("client_id")]

        # A read transaction: an EHR polls this every second for each open chart, and must neither wait for nor
        # block SQLite's writer.
        def run(ctx: Context) -> list[Availability]:
            ehr = service.authenticate_ehr(ctx, _tenant(request), _bearer(request))
            person, facility = query.one("person"), query.one("facility")
            return service.availability(ctx.as_actor(ehr), person, clients, facility)

        states = await self._kit.uow.read(run, trace=trace_of(request))
        items = [
            {
                "client_id": each.client,
                "name": each.name,
                "description": each.description,
                "open": not each.reason,
                "reason": each.reason,
                "detail": each.detail,
                "logo": self._kit.urls.logo("app", each.app, each.logo),
            }
            for each in states
        ]
        return JSONResponse({"items": items}, headers={"cache-control": "no-store"})

    async def report(self, request: Request) -> Response:
        body = await self._read(request, ActivityBody)
        rows = body.rows()
        count = await self._as_ehr(request, lambda ctx: service.record_activity(ctx, rows))
        return JSONResponse({"recorded": count})

    async def begin(self, request: Request) -> Response:
        """Create the session that the EHR vouches for, and redirect to the app. GET only: a HEAD must not use up the token."""
        tenant = _tenant(request)
        if request.method != "GET":
            return Response(status_code=405, headers={"allow": "GET"})
        token = str(request.path_params["token"])
        begun = await self._kit.uow.write(
            lambda ctx: service.use_open_token(ctx, tenant, token), trace=trace_of(request)
        )
        address = policy.app_address(begun.launch_uri, self._kit.urls.fhir_base(tenant), begun.handle)
        # The URL of this request contains a one-time secret, which the app must not get as a referrer.
        headers = {"cache-control": "no-store", "referrer-policy": "no-referrer"}
        response = RedirectResponse(address, 303, headers)
        secure = self._kit.urls.is_secure(tenant)
        # Both, because the EHR may open a window or a frame, and only a partitioned cookie is sent in a frame.
        for cookie in (cookies.SESSION, cookies.FRAME_SESSION):
            cookies.put(response, cookie, begun.cookie, secure=secure)
        return response

    async def _read(self, request: Request, kind: type[Body]) -> Body:
        """Read a body after authenticating its sender. ``_as_ehr`` authenticates again, because a stop may come while the body arrives."""
        tenant, bearer = _tenant(request), _bearer(request)
        authenticate = partial(service.authenticate_ehr, tenant=tenant, bearer=bearer)
        # Before the body is read, so that no unauthenticated caller can make this server parse one (security decision 26).
        await self._kit.uow.read(authenticate, trace=trace_of(request))
        return _parse(await read_body(request, BODY_BOUND), kind)

    async def _as_ehr(self, request: Request, verb: Callable[[Context], T]) -> T:
        tenant, bearer = _tenant(request), _bearer(request)

        def run(ctx: Context) -> T:
            return verb(ctx.as_actor(service.authenticate_ehr(ctx, tenant, bearer)))

        return await self._kit.uow.write(run, trace=trace_of(request))


def _tenant(request: Request) -> TenantId:
    return TenantId(_named(request, "tenant"))


def _launch(request: Request) -> LaunchId:
    return LaunchId(_named(request, "launch"))


def _named(request: Request, name: str) -> str:
    text = str(request.path_params[name])
    if _ID.fullmatch(text) is None:
        raise NotFound(
            f"{name}_unknown", "There is nothing at this address. Check the tenant and the launch id in it."
        )
    return text


def _bearer(request: Request) -> str:
    scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not bearer:
        raise NotPermitted("not_authenticated", "Send an access token of this hospital's EHR client.")
    return bearer.strip()


def _parse(raw: bytes, kind: type[Body]) -> Body:
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Invalid("json_malformed", "The body is not JSON.") from error
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)[:FAULTS_BOUND]
        fields = {field_of(fault["loc"]): of_validation(fault)["code"] for fault in errors}
        raise Invalid("fields_invalid", "Some fields cannot be accepted.", fields=fields) from error
