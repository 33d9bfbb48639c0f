"""What was submitted of an app to review, and beginning with another version."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from starlette.responses import Response

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import SCOPES_BOUND, App, AppVersion, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound
from hilum.foundation.kernel.ids import VersionId
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.standards.smart.scopes import parse_scope
from hilum.foundation.web.forms import Form
from hilum.identity.people.models import VendorRight
from hilum.review.submissions import service as review
from hilum.review.submissions.models import (
    COUNTED_BOUND,
    AskedScope,
    BrowseQuery,
    LaneRequest,
    LaneState,
    Submission,
    SubmissionOrder,
)
from hilum.surfaces.console import fields, policy, service
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.models import ROWS
from hilum.surfaces.console.parts import submissions

VERSIONS = 50
LANE_STATES: Mapping[LaneState, tuple[str, str]] = MappingProxyType(
    {
        LaneState.ASKED: ("waits for a reviewer", "info"),
        LaneState.VERIFIED: ("you are who you say you are", "info"),
        LaneState.REFUSED: ("refused", "bad"),
        LaneState.ENABLED: ("enabled", "good"),
    }
)
ENVIRONMENTS = (
    (Environment.SANDBOX.value, "The sandbox, to try it"),
    (Environment.PRODUCTION.value, "Production, at hospitals"),
)


async def show(visit: Visit) -> Response:
    """Show what was submitted of an app, newest first, and the form that begins a submission."""
    return await _page(visit)


async def _page(visit: Visit, given: Form = fields.NO_FORM, error: fields.Refused | None = None) -> Response:
    asked = policy.asked({"after": visit.query().one("after")}, (), ())
    app, app_status, facts = await visit.read(partial(_read, visit=visit, after=asked.after))
    return frame.show(
        visit,
        "console/developer/reviews.html",
        app,
        app_status,
        **fields.answered(given, error),
        submits=frame.may(visit, VendorRight.APPS),
        environments=ENVIRONMENTS,
        first=visit.path if asked.after else "",
        **facts,
    )


def _read(ctx: Context, visit: Visit, after: str) -> tuple[App, Any, dict[str, Any]]:
    app = frame.own_app(ctx, visit.param())
    page = review.browse(ctx, BrowseQuery(app=app.id, newest=True, after=after, limit=ROWS))
    runs = review.last_runs(ctx, page.submissions)
    judged = review.disciplines_by_submission(ctx, page.submissions)
    rows = [
        (
            each,
            submissions.state_badge(each, runs.get(each.id), judged.get(each.id, ()), reviews=False),
            address("developer.submission", each.id),
        )
        for each in page.submissions
    ]
    versions = registry.list_versions(ctx, app.id, PageQuery(limit=VERSIONS))
    return (
        app,
        frame.app_status_of(ctx, app),
        {
            "rows": rows,
            "count": policy.counted(page.total, COUNTED_BOUND, "submission", "submissions"),
            "next": address("developer.review", app.id, after=page.next) if page.next else "",
            "versions": [(each.id, f"Version {each.label}") for each in versions],
            "access": _asked_access(ctx, app),
        },
    )


async def begin(visit: Visit, form: Form) -> Response:
    """Begin a draft of a version for an environment, with what is known already, continue the open one, or ask for access that regulation protects."""
    if form.one("act") == "ask_access":
        return await _ask_access(visit, form)
    try:
        environment = Environment(form.one("environment"))
    except ValueError:
        fault = {"environment": "not_an_option"}
        return await _page(visit, form, Invalid("form_invalid", "Choose an environment.", fields=fault))

    def verb(ctx: Context) -> str:
        app = frame.own_app(ctx, visit.param())
        version = _version(ctx, app, form.one("version"))
        if found := open_submission(ctx, app, version, environment):
            return found.id
        order = prefilled(ctx, app, version, environment)
        return review.create(ctx, version.id, environment, order, draft=True).submission.id

    try:
        return to(address("developer.submission", await visit.write(verb)))
    except Invalid as error:
        return await _page(visit, form, error)


async def _ask_access(visit: Visit, form: Form) -> Response:
    """Ask for access to a patient's own record, for a version of the app."""

    def verb(ctx: Context) -> object:
        version = _version(ctx, frame.own_app(ctx, visit.param()), form.one("of"))
        return review.ask_access(ctx, version.id, tuple(form.one("scopes").split()))

    try:
        await visit.write(verb)
    except (Invalid, Conflict) as error:
        return await _page(visit, form, error)
    return to(visit.path)


def _asked_access(ctx: Context, app: App) -> list[tuple[LaneRequest, str, tuple[str, str]]]:
    """Return what was asked for of an app, with the version's label and the state in words."""
    found = review.list_access(ctx, PageQuery(limit=PAGE_BOUND))
    return [
        (each, service.version_label(ctx, each.version), LANE_STATES[each.state])
        for each in found
        if each.app == app.id
    ]


def _version(ctx: Context, app: App, id_: str) -> AppVersion:
    try:
        version = registry.get_version(ctx, VersionId(id_[:64]))
    except NotFound:
        version = None
    if version is None or version.app != app.id:
        raise Invalid("form_invalid", "Choose a version.", fields={"version": "not_an_option"})
    return version


def open_submission(
    ctx: Context, app: App, version: AppVersion, environment: Environment
) -> Submission | None:
    """Return the open submission of a version for an environment; None if there is none."""
    found = review.browse(
        ctx, BrowseQuery(app=app.id, newest=True, environment=environment, limit=PAGE_BOUND)
    ).submissions
    return next((each for each in found if each.version == version.id and each.closed_at is None), None)


def prefilled(ctx: Context, app: App, version: AppVersion, environment: Environment) -> SubmissionOrder:
    """Return what a new draft begins with: the scopes of the clients, and what was written of them for the environment before."""
    found = review.browse(
        ctx, BrowseQuery(app=app.id, newest=True, environment=environment, limit=1)
    ).submissions
    last = found[0].order if found else SubmissionOrder()
    known = {each.scope: each for each in last.scopes}
    wanted = asked_by_clients(ctx, app, version, environment) or tuple(known)
    return SubmissionOrder(
        tuple(known.get(each, AskedScope(each, "")) for each in wanted[:SCOPES_BOUND]),
        tuple(each for each in last.documents if each.last_day >= ctx.now.date()),
    )


def asked_by_clients(
    ctx: Context, app: App, version: AppVersion, environment: Environment
) -> tuple[str, ...]:
    """Return the scopes for which the app's clients ask, each once: of the environment and the version as far as there are such clients."""
    chosen = clients.list_clients(ctx, app.id, PageQuery(limit=PAGE_BOUND))
    chosen = [each for each in chosen if each.environment is environment] or chosen
    chosen = [each for each in chosen if each.version == version.id] or chosen
    return tuple({str(parse_scope(scope)): scope for each in chosen for scope in each.scopes}.values())
