"""The least scopes that would have permitted what an app did in the sandbox, and putting them into the draft of a submission."""

from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Environment
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.lists import counted
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.foundation.standards.smart.scopes import covers, parse_stored
from hilum.foundation.web.forms import Form
from hilum.identity.people.models import VendorRight
from hilum.review.certification_runs import service as evidence
from hilum.review.certification_runs.models import TRACE_DAYS, Proposal
from hilum.review.certification_runs.models import State as RunState
from hilum.review.submissions import service as review
from hilum.review.submissions.models import AskedScope, State, SubmissionOrder
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.developer.reviews import open_submission, prefilled
from hilum.surfaces.console.parts import run_words

RUNS = 20
DAYS = tuple((str(each), counted(each, "day")) for each in TRACE_DAYS)
_JUDGED = frozenset({RunState.PASSED, RunState.FAILED, RunState.INCOMPLETE})


async def show(visit: Visit) -> Response:
    """Show what is proposed from a run, or from what a client did lately; without either, what can be chosen."""
    return await _page(visit, visit.query())


async def _page(
    visit: Visit, asked: Form, trouble: Invalid | Conflict | NotPermitted | None = None
) -> Response:
    app, app_status, facts = await visit.read(partial(_choices, visit=visit))
    found = None
    if asked.one("run") or asked.one("client"):
        try:
            found = await _proposal(visit, app, asked)
        except (Invalid, Conflict) as error:
            trouble = trouble or error
    return frame.show(
        visit,
        "console/developer/proposal.html",
        app,
        app_status,
        **fields.answered(asked, trouble),
        found=found,
        asked={name: asked.one(name)[:100] for name in ("run", "client", "days")},
        days=DAYS,
        puts=frame.may(visit, VendorRight.APPS),
        scopes=address("developer.scopes", app.id),
        **facts,
    )


def _choices(ctx: Context, visit: Visit) -> tuple[App, Any, dict[str, Any]]:
    app = frame.own_app(ctx, visit.param())
    runs = [
        each for each in evidence.list_runs(ctx, PageQuery(limit=RUNS), app=app.id) if each.state in _JUDGED
    ]
    listed = clients.list_clients(ctx, app.id, PageQuery(limit=PAGE_BOUND))
    facts = {
        "runs": [
            (
                each["run"].id,
                f"Version {each['run'].label} at {each['hospital']}, {each['run'].opened_at:%Y-%m-%d %H:%M}",
            )
            for each in run_words.briefly(ctx, runs)
        ],
        "clients": [
            (each.id, each.name)
            for each in listed
            if each.environment is Environment.SANDBOX and not each.dynamic
        ],
    }
    return app, frame.app_status_of(ctx, app), facts


async def _proposal(visit: Visit, app: App, asked: Form) -> Proposal:
    run, client = asked.one("run")[:64], asked.one("client")[:64]
    if run:
        return await visit.read_records(partial(evidence.propose_of_run, app_id=app.id, run_id=run))
    days = asked.one("days") or "7"
    verb = partial(
        evidence.propose_of_client,
        app_id=app.id,
        client_id=client,
        days=int(days) if days.isdecimal() and len(days) < 4 else 0,
        accesses=visit.ports.accesses,
    )
    return await visit.audited(evidence.reading_of_trace(client), verb)


async def put(visit: Visit, form: Form) -> Response:
    """Put the scopes that the page showed into the draft for production of the version; begin one if there is none."""
    try:
        app = await visit.read(lambda ctx: frame.own_app(ctx, visit.param()))
        found = await _proposal(visit, app, form)
        if " ".join(found.texts) != form.one("scopes"):
            detail = "The app has made other calls since you looked. Look at the proposal again."
            raise Conflict("changed_since_read", detail)
        draft = await visit.write(partial(_put, visit=visit, app_id=app.id, found=found))
    except (Invalid, Conflict, NotPermitted) as error:
        return await _page(visit, form, error)
    return to(address("developer.submission", draft))


def _put(ctx: Context, visit: Visit, app_id: AppId, found: Proposal) -> str:
    app, version = frame.own_app(ctx, app_id), registry.get_version(ctx, found.version)
    held = open_submission(ctx, app, version, Environment.PRODUCTION)
    if held is None:
        order = _with(prefilled(ctx, app, version, Environment.PRODUCTION), found)
        return review.create(ctx, version.id, Environment.PRODUCTION, order, draft=True).submission.id
    if held.state is not State.DRAFT:
        detail = (
            "This version is submitted already. Withdraw that, and begin another draft with these scopes."
        )
        raise Conflict("submission_not_draft", detail)
    order = _with(held.order, found)
    review.change(ctx, held.id, order, held.revision, unused=visit.ports.unused)
    return held.id


def _with(order: SubmissionOrder, found: Proposal) -> SubmissionOrder:
    """Return an order with the proposed scopes. What is said of a scope is kept, also where it is narrowed."""
    held = [(each, parse_stored((each.scope,))) for each in order.scopes]
    scopes = []
    for text in found.texts:
        (scope,) = parse_stored((text,))
        said = [each for each, wider in held if wider and covers(wider[0], scope)]
        scopes.append(
            AskedScope(text, said[0].justification, said[0].defence) if said else AskedScope(text, "")
        )
    return SubmissionOrder(tuple(scopes), order.documents)
