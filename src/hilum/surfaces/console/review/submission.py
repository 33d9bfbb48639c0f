"""One submission on one page: what checks found, scopes against workflows, what differs from what was certified last, and the decision."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import Certification
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.kernel.ids import AppId
from hilum.foundation.kernel.pages import PageQuery
from hilum.foundation.standards.smart.scopes import SPECIAL
from hilum.foundation.web.branding import app_logo
from hilum.foundation.web.forms import Form
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book, Population
from hilum.policy.matrix.policy import POPULATIONS
from hilum.review.certification_runs import service as evidence
from hilum.review.certification_runs.models import Run as SandboxRun
from hilum.review.submissions import service as review
from hilum.review.submissions.models import Act, DecideOrder, Run, Submission
from hilum.review.submissions.policy import may_decide
from hilum.surfaces.console import fields, service, words
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.parts import clocks, disciplines, run_words, submissions
from hilum.surfaces.console.review.discipline import path_of

MULTI = ("reasons",)
RUNS_LINKED = 10
"""Earlier runs of the checks to which a page links, and certification runs that it shows."""
_OF_CLIENT = (
    "type",
    "deployment",
    "redirect_uris",
    "launch_uri",
    "origins",
    "jwks_uri",
    "grant_types",
    "scopes",
)


async def show(visit: Visit) -> Response:
    """Show a submission."""
    return await _page(visit)


async def _page(
    visit: Visit,
    form: Form | None = None,
    error: Invalid | None = None,
    refused: Conflict | NotPermitted | None = None,
) -> Response:
    query = visit.query()
    number = query.one("run")
    if number and not (number.isdecimal() and 0 < len(number) < 7):
        raise Invalid(
            "filter_malformed", "The address of this page is not valid.", fields={"run": "word_malformed"}
        )
    read = partial(
        _read, visit=visit, number=int(number) if number else None, again=query.one("replay") == "1"
    )
    facts = await visit.read(read)
    return visit.render(
        "console/review/submission.html",
        **fields.answered(form or fields.NO_FORM, refused or error),
        **facts,
    )


def _read(ctx: Context, visit: Visit, number: int | None, *, again: bool) -> dict[str, Any]:
    view = review.view(ctx, visit.param())
    found = view.submission
    book = policies.current(ctx).everywhere
    content: Mapping[str, Any] = orjson.loads(found.content) if found.content else {}
    run = _run(ctx, found, number)
    last = run.number if run and number is None else _last(ctx, found)
    reviewed = review.view_disciplines(ctx, found.id)
    actors = {each.actor for each in view.steps} | {each.actor for each in reviewed.steps}
    actors |= {each.reviewer for each in reviewed.disciplines}
    names = service.names(ctx, [found.app, found.vendor, *actors])
    who = {each: names.actor(each) for each in actors}
    happened = [*submissions.history(view.steps, who), *reversed(disciplines.history(reviewed.steps, who))]
    decides = may_decide(ctx.actor) and submissions.possible(found.state, Act.REJECT)
    obstacle, stop = review.view_obstacles(ctx, found.id) if decides else ("", "")
    before, certified = _before(ctx, found)
    judged = submissions.checks(run.judgement.checks, found.id) if run else {"blocking": [], "fine": []}
    declared = content["version"]["workflows"] if content else ()
    app_page = address("operations.app", found.app)
    return {
        "found": found,
        "title": f"{names.app(found.app)}, version {found.label}",
        "vendor": names.vendor(found.vendor),
        "app_page": app_page,
        "state": submissions.state_badge(found, run, reviewed.disciplines, reviews=True),
        "clocks": clocks.rows(review.view_clocks(ctx, found.id), ctx.now),
        "disciplines": [
            each | {"href": path_of(found.id, each["discipline"].discipline)}
            for each in disciplines.cards(reviewed, who, ctx.now)
        ],
        "obstacle": obstacle,
        "stop": stop,
        "suspended": registry.suspension_of(ctx, registry.get_app(ctx, found.app)) if stop else "",
        "codes": list(review.shipped_scorecards().every_reason.items()),
        "reasons": [review.shipped_scorecards().every_reason.get(each, each) for each in found.reasons],
        "run": run,
        "runs": [each for each in range(last, max(last - RUNS_LINKED, 0), -1) if run and each != run.number],
        "sandbox_runs": [
            each | {"href": address("review.run", each["run"].id)}
            for each in run_words.briefly(ctx, _sandbox_runs(ctx, found))
        ],
        "replay": review.replay(ctx, found.id, run.number) if again and run else None,
        # What reaches records comes first.
        "scopes": submissions.scope_rows(
            sorted(found.order.scopes, key=lambda each: each.scope in SPECIAL),
            declared,
            book,
            certified.scopes if certified else None,
        ),
        "gone": _gone(found, certified),
        "declared": submissions.declared_in_words(book, declared),
        "workflows": submissions.workflows_of(book, declared),
        "documents": [(book.evidence.get(each.kind, each.kind), each) for each in found.order.documents],
        "stated": _stated(content, book),
        "logo": app_logo(visit.kit.urls, found.app, content["app"].get("logo", "")) if content else "",
        "clients": [_client(each) for each in content.get("clients", ())],
        "certified": certified,
        "certified_label": _label(ctx, certified),
        "differences": submissions.differences(before, content) if before and content else None,
        "differences_bound": submissions.DIFFERENT_BOUND,
        "history": sorted(happened, key=lambda each: each.at, reverse=True),
        "decides": decides,
        "reruns": may_decide(ctx.actor) and submissions.possible(found.state, Act.RERUN),
        "ends": _ends(ctx, book, content, run),
        **judged,
    }


def _run(ctx: Context, found: Submission, number: int | None) -> Run | None:
    if number is not None:
        return review.view_run(ctx, found.id, number)
    return review.last_runs(ctx, [found]).get(found.id)


def _sandbox_runs(ctx: Context, found: Submission) -> list[SandboxRun]:
    return evidence.list_runs(ctx, PageQuery(limit=RUNS_LINKED), app=AppId(found.app))


def _last(ctx: Context, found: Submission) -> int:
    run = review.last_runs(ctx, [found]).get(found.id)
    return run.number if run else 0


def _before(ctx: Context, found: Submission) -> tuple[Mapping[str, Any], Certification | None]:
    """Return what was certified last of the app for the environment, before this submission, with what was submitted for it."""
    of_it = [
        each
        for each in registry.certifications_of(ctx, AppId(found.app))
        if each.environment is found.environment
        and each.submission != found.id
        and (found.closed_at is None or each.certified_at < found.closed_at)
    ]
    if not of_it:
        return {}, None
    last = max(of_it, key=lambda each: each.certified_at)
    try:
        text = review.view(ctx, last.submission).submission.content if last.submission else ""
    except NotFound:
        text = ""
    return (orjson.loads(text) if text else {}), last


def _gone(found: Submission, certified: Certification | None) -> list[str]:
    asked = {each.scope for each in found.order.scopes}
    return [each for each in certified.scopes if each not in asked] if certified else []


def _label(ctx: Context, certified: Certification | None) -> str:
    return service.version_label(ctx, certified.version) if certified else ""


def _stated(content: Mapping[str, Any], book: Book) -> list[tuple[str, str]]:
    """Return what the vendor states, in words: app, version, profile."""
    if not content:
        return []
    app, version, profile = content["app"], content["version"], content["profile"]
    ai_use, category = version["ai_use"], book.categories.get(app["category"])
    found = [
        ("What it does", app["description"]),
        ("What the data is for", app["purpose"]),
        ("Category", category.title if category else app["category"]),
        (
            "Opened from",
            ", ".join(book.placements.get(each, each) for each in version["placements"]) or "nowhere",
        ),
        ("Patients it reaches", _population(version)),
        ("Artificial intelligence", _ai(ai_use)),
    ]
    return found + [(words.field(name), _value(value)) for name, value in profile.items()]


def _population(version: Mapping[str, Any]) -> str:
    stated = version.get("population")
    return POPULATIONS[Population(stated)] if stated else "not stated, so treated as every patient"


def _ai(ai_use: Mapping[str, Any] | None) -> str:
    if ai_use is None:
        return "declares none"
    said = f"{ai_use['model']}, for {ai_use['purpose']}; it {ai_use['autonomy'].replace('_', ' ')}"
    return f"{said}; before anything comes of it: {ai_use['human_step']}" if ai_use["human_step"] else said


def _value(value: object) -> str:
    match value:
        case None | "" | []:
            return "not stated" if value is None or value == "" else "none"
        case bool():
            return "yes" if value else "no"
        case list():
            return "; ".join(map(_value, value))
        case dict():
            return ", ".join(str(each) for each in value.values() if each)
        case _:
            return str(value)


def _client(client: Mapping[str, Any]) -> dict[str, Any]:
    keys = "registered keys" if client["jwks"] else ""
    rows = [(words.field(name), _value(client[name])) for name in _OF_CLIENT if client[name]]
    return {"name": client["name"], "rows": [*rows, *([("Keys", keys)] if keys else [])]}


def _ends(ctx: Context, book: Book, content: Mapping[str, Any], run: Run | None) -> str:
    """Return the day to which the policy lets a certification of this tier last; empty if there is none."""
    category = book.categories.get(content["app"]["category"]) if content else None
    tier = run.judgement.route.tier if run else None
    entry = category.entries.get(tier) if category and tier else None
    return f"{ctx.now + entry.certificate_life:%Y-%m-%d}" if entry else ""


# --- acts ----------------------------------------------------------------------------------------------------------------------


async def act(visit: Visit, form: Form) -> Response:
    """Have a submission checked again, certify it, or reject it."""
    try:
        revision = submissions.revision_of(form)
        match form.one("act"):
            case "rerun":
                await visit.write(partial(review.rerun, submission_id=visit.param(), revision=revision))
            case "certify" | "reject" as wanted:
                order = DecideOrder(
                    visit.param(),
                    revision,
                    wanted == "certify",
                    form.one("reason"),
                    _day(form, wanted),
                    form.many("reasons") if wanted == "reject" else (),
                    form.one("despite"),
                )
                await visit.write(partial(review.decide, order=order))
            case _:
                raise fields.no_such_act()
    except Invalid as error:
        return await _page(visit, form, error)
    except (Conflict, NotPermitted) as error:
        # The obstacle is shown beside the form, which keeps what was typed.
        return await _page(visit, form, refused=error)
    return to(visit.path)


def _day(form: Form, wanted: str) -> datetime | None:
    return fields.day(form, "expires_at") if wanted == "certify" else None
