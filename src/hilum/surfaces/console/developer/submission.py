"""One submission of a vendor: its form while it is a draft, what it lacks, what the checks found with what to do, and its history."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import SCOPES_BOUND, App, AppVersion, Environment
from hilum.apps.registry.policy import applicant_of
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted
from hilum.foundation.web.forms import Form
from hilum.foundation.web.problems import status_of
from hilum.identity.people.models import VendorRight
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import Book, Discipline
from hilum.policy.matrix.policy import tiers_to_certify
from hilum.review.submissions import service as review
from hilum.review.submissions.models import (
    MADE_HERE,
    Act,
    AskedScope,
    DisciplineState,
    Document,
    State,
    Submission,
    SubmissionOrder,
    SubmissionView,
    Visibility,
)
from hilum.review.submissions.policy import REVIEWER_SHOWN, appeal_bar, entries_of
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame
from hilum.surfaces.console.developer.reviews import asked_by_clients
from hilum.surfaces.console.parts import clocks, disciplines, submissions

_PAGES = {
    "profile": "developer.statements",
    "version": "developer.versions",
    "clients": "developer.client_new",
    "contacts": "developer.contacts",
    "environment": "developer.app",
}
"""Where what is missing is fixed, by the first word of its field; everything else is on the form itself."""
_REQUIRED = fields.sentences({"": "missing"})[""]
_LABELS = {
    "profile": "Statements",
    "version": "Version",
    "clients": "Clients",
    "contacts": "Contacts & domains",
    "environment": "Environment",
    "scopes": "Scopes",
    "documents": "Documents",
}
_CHECKED_AT = {
    "redirect": "developer.clients",
    "launch": "developer.clients",
    "keys": "developer.clients",
    "client": "developer.clients",
    "privacy_policy": "developer.statements",
    "terms": "developer.statements",
    "sandbox_run": "developer.runs",
    "shared_sandbox": "developer.runs",
}
"""Where an address that did not pass is changed, by what it is."""
_OF_RULE = {"contacts.proved": "developer.contacts", "tier.allowed": "developer.app"}
"""Where what a check of a rule did not pass is changed."""
_READERS = (
    (Visibility.REVIEWERS.value, "reviewers only"),
    (Visibility.HOSPITALS.value, "hospitals too, once it is certified"),
    (Visibility.PUBLIC.value, "everybody, once it is certified: its address is in the certificate"),
)
_DOCUMENT_FIELDS = ("url", "sha256", "dated", "expires", "visibility")
_NO_DOCUMENT = ("", "", "", "", Visibility.REVIEWERS.value)


@dataclass(frozen=True, slots=True)
class Written:
    """What a form holds: its rows of scopes (ticked, scope, justification), and the texts of each kind of document.

    ``defences``: by scope, why one is still needed that nobody used.
    """

    scopes: tuple[tuple[bool, str, str], ...]
    documents: Mapping[str, tuple[str, ...]]
    """By kind: address, digest, day, last day, who reads it."""
    more: str = ""
    defences: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> dict[str, str]:
        """Return the ticked scopes with their justification."""
        return {scope: why for ticked, scope, why in self.scopes if ticked}


async def show(visit: Visit) -> Response:
    """Show a submission."""
    return await _page(visit)


async def _page(
    visit: Visit,
    form: Form | None = None,
    wrong: Mapping[str, str] | None = None,
    *,
    stale: str = "",
    refused: Conflict | NotPermitted | None = None,
    tried: bool = False,
) -> Response:
    app, app_status, facts = await visit.read(partial(_read, visit=visit, form=form, wrong=wrong or {}))
    status = 409 if stale else status_of(refused) if refused else 422 if wrong or tried else 200
    return frame.show(
        visit,
        "console/developer/submission.html",
        app,
        app_status,
        status=status,
        stale=stale,
        refused=refused.detail if refused else "",
        tried=tried,
        reason=form.one("reason") if form else "",
        reason_fault=fields.sentences(wrong or {}).get("reason", ""),
        answered=form.one("text") if form else "",
        answer_fault=fields.sentences(wrong or {}).get("text", ""),
        submits=frame.may(visit, VendorRight.APPS),
        **facts,
    )


def _read(
    ctx: Context, visit: Visit, form: Form | None, wrong: Mapping[str, str]
) -> tuple[App, Any, dict[str, Any]]:
    view = review.view(ctx, visit.param(), visit.ports.unused)
    found = view.submission
    app = frame.own_app(ctx, found.app)
    version = registry.get_version(ctx, found.version)
    run = review.last_runs(ctx, [found]).get(found.id)
    reviewed = review.view_disciplines(ctx, found.id)
    who = _names(ctx, [*(each.actor for each in view.steps), *(each.actor for each in reviewed.steps)])
    happened = [*submissions.history(view.steps, who), *reversed(disciplines.history(reviewed.steps, who))]
    facts: dict[str, Any] = {
        "found": found,
        "state": submissions.state_badge(found, run, reviewed.disciplines, reviews=False),
        "history": sorted(happened, key=lambda each: each.at, reverse=True),
        "clocks": clocks.rows(review.view_clocks(ctx, found.id), ctx.now),
        "appeals": not appeal_bar(found, view.steps, ctx.now),
        "disciplines": [
            each | {"answers": each["discipline"].state is DisciplineState.NEEDS_CHANGES}
            for each in disciplines.cards(reviewed, who, ctx.now)
        ],
        "reasons": [review.shipped_scorecards().every_reason.get(each, each) for each in found.reasons],
        "run": run,
        "withdraws": submissions.possible(found.state, Act.WITHDRAW),
        "back": address("developer.review", app.id),
    }
    if found.state is State.DRAFT:
        facts |= _draft(ctx, app, version, view, form=form, wrong=wrong)
    else:
        facts |= _submitted(ctx, app, view)
    return app, frame.app_status_of(ctx, app), facts


def _names(ctx: Context, actors: Iterable[str]) -> dict[str, str]:
    wanted = set(actors)
    names = fields.names(ctx, wanted)
    return {
        each: fields.who(names, each, "a reviewer" if each == REVIEWER_SHOWN else "a former colleague")
        for each in wanted
    }


# --- a draft -------------------------------------------------------------------------------------------------------------------


def _draft(
    ctx: Context,
    app: App,
    version: AppVersion,
    view: SubmissionView,
    *,
    form: Form | None,
    wrong: Mapping[str, str],
) -> dict[str, Any]:
    found, book = view.submission, policies.asked_of(ctx, app.id)
    stored = _stored(found.order)
    sent = form is not None and "revision" in form and form.one("act") != "withdraw"
    shown = written(form) if sent and form is not None else stored
    ticked = [(scope, why) for is_asked, scope, why in shown.scopes if is_asked]
    offered = asked_by_clients(ctx, app, version, found.environment)
    listed = {scope for _, scope, _ in shown.scopes}
    rows = [*shown.scopes, *((False, each, "") for each in offered if each not in listed)][:SCOPES_BOUND]
    worded = submissions.scope_rows(
        (AskedScope(scope, why) for _, scope, why in rows), version.workflows, book
    )
    needs = _needs(ctx, app, version, found.environment, tuple(scope for scope, _ in ticked), book=book)
    kinds = [each for each in sorted(book.evidence) if each not in MADE_HERE]
    # Asked for only of what nobody used, or where there is one already.
    defended = {*stored.defences, *shown.defences, *_undefended(view)}
    return {
        "draft": True,
        "revision": found.revision,
        "rows": [
            (
                is_asked,
                each,
                # Faults number the scopes that are asked for, which not every row is.
                _fault(wrong, f"scopes.{number}.justification") if is_asked else "",
                _theirs(stored, each, sent=sent),
                (
                    shown.defences.get(each.scope, ""),
                    _fault(wrong, f"scopes.{number}.defence") if is_asked else "",
                )
                if each.scope in defended
                else None,
            )
            for (is_asked, _, _), each, number in zip(rows, worded, _numbers(rows), strict=True)
        ],
        "gone": [(scope, why) for scope, why in stored.asked.items() if sent and scope not in shown.asked],
        "more": shown.more,
        "scopes_fault": _fault(wrong, "scopes"),
        "documents": [
            {
                "kind": kind,
                "title": book.evidence[kind],
                "needed": kind in needs["evidence"],
                "given": shown.documents.get(kind, _NO_DOCUMENT),
                "theirs": stored.documents.get(kind, _NO_DOCUMENT) if sent else None,
                "faults": _of_document(wrong, form, kind),
            }
            for kind in sorted(kinds, key=lambda each: each not in needs["evidence"])
        ],
        "readers": _READERS,
        "workflows": submissions.workflows_of(book, version.workflows),
        "declared": submissions.declared_in_words(book, version.workflows),
        "missing": _missing(view, app, book),
        **needs,
    }


def _undefended(view: SubmissionView) -> list[str]:
    """Return the scopes of a draft that nobody used and whose use is not defended."""
    asked = view.submission.order.scopes
    return [each.scope for number, each in enumerate(asked) if f"scopes.{number}.defence" in view.missing]


def _numbers(rows: Sequence[tuple[bool, str, str]]) -> list[int]:
    """Return for each row how many rows before it are asked for."""
    return [sum(is_asked for is_asked, _, _ in rows[:number]) for number in range(len(rows))]


def _stored(order: SubmissionOrder) -> Written:
    return Written(
        tuple((True, each.scope, each.justification) for each in order.scopes),
        {each.kind: _texts(each) for each in order.documents},
        defences={each.scope: each.defence for each in order.scopes if each.defence},
    )


def written(form: Form) -> Written:
    """Return what a form holds, also what is not valid."""
    rows, defences = [], {}
    for number in range(SCOPES_BOUND):
        if f"scope_{number}" not in form:
            break
        if f"defence_{number}" in form:
            defences[form.one(f"scope_{number}")] = form.one(f"defence_{number}").strip()
        ticked = form.one(f"ask_{number}") == "yes"
        rows.append((ticked, form.one(f"scope_{number}"), form.one(f"why_{number}").strip()))
    listed = {scope for _, scope, _ in rows}
    more = [each for each in dict.fromkeys(form.one("more").split()) if each not in listed]
    kinds = [name.removeprefix("url_") for name in form.values if name.startswith("url_")]
    documents = {
        kind: tuple(form.one(f"{name}_{kind}").strip() for name in _DOCUMENT_FIELDS) for kind in kinds
    }
    return Written((*rows, *((True, each, "") for each in more)), documents, defences=defences)


def order_of(form: Form) -> SubmissionOrder:
    """Return the submission in a form. Raises Invalid for an invalid day."""
    found, wrong, documents = written(form), {}, []
    for kind, (url, sha256, dated, expires, visible) in _given(found).items():
        days: dict[str, date | None] = {"dated": None, "expires": None}
        for name, text in (("dated", dated), ("expires", expires)):
            try:
                days[name] = date.fromisoformat(text) if text or name == "dated" else None
            except ValueError:
                wrong[f"documents.{kind}.{name}"] = "date_malformed"
        if days["dated"] is not None:
            # Anything else than what the form offers is the narrowest.
            who = Visibility(visible) if visible in set(Visibility) else Visibility.REVIEWERS
            documents.append(Document(kind, url, sha256, days["dated"], days["expires"], who))
    if wrong:
        raise Invalid("submission_invalid", "The submission is invalid; see fields.", fields=wrong)
    return SubmissionOrder(
        tuple(AskedScope(scope, why, found.defences.get(scope, "")) for scope, why in found.asked.items()),
        tuple(documents),
    )


def _texts(document: Document) -> tuple[str, ...]:
    ends = "" if document.expires is None else document.expires.isoformat()
    return document.url, document.sha256, document.dated.isoformat(), ends, document.visibility.value


def _given(found: Written) -> dict[str, tuple[str, ...]]:
    # Who reads it is always chosen, so it says nothing about whether there is one.
    return {kind: texts for kind, texts in found.documents.items() if any(texts[:-1])}


def _needs(
    ctx: Context,
    app: App,
    version: AppVersion,
    environment: Environment,
    scopes: tuple[str, ...],
    *,
    book: Book,
) -> dict[str, Any]:
    """Return what the policy asks for with some scopes: the tier, the documents, and the proofs with whether they are there."""
    applicant = applicant_of(app, version, scopes)
    entries = entries_of(book, applicant) if scopes else []
    production = environment is Environment.PRODUCTION
    unproved = set(review.unproved_of(ctx, app))
    tiers = tiers_to_certify(book, applicant).values() if scopes else ()
    proofs = sorted({proof for entry in entries for proof in entry.proofs}) if production else []
    return {
        "tier": max((each.tier for each in tiers), key=lambda each: each.rank, default=None),
        "evidence": {kind for entry in entries for kind in entry.evidence} - MADE_HERE
        if production
        else set(),
        "proofs": [(each.replace("_", " "), each not in unproved) for each in proofs],
    }


def _fault(wrong: Mapping[str, str], name: str) -> str:
    return fields.sentences({name: wrong[name]})[name] if name in wrong else ""


def _theirs(stored: Written, row: submissions.ScopeRow, *, sent: bool) -> str | None:
    """Return the justification that is stored now of a scope in a form that was sent, if it differs; None if it does not."""
    if not sent:
        return None
    now = stored.asked.get(row.scope)
    return now if now is not None and now != row.justification else None


def _of_document(wrong: Mapping[str, str], form: Form | None, kind: str) -> dict[str, str]:
    """Return the sentences of the faults of a document, which are known by its place among those that were sent, or by its kind."""
    given = list(_given(written(form))) if form is not None else []
    keys = [kind, *([str(given.index(kind))] if kind in given else [])]
    found = {
        name.rpartition(".")[2]: code
        for name, code in wrong.items()
        if any(name.startswith(f"documents.{key}.") for key in keys)
    }
    return fields.sentences(found)


def _missing(view: SubmissionView, app: App, book: Book) -> list[dict[str, Any]]:
    """Return what keeps a draft from being submitted, together where one sentence says it of several: what, and where it is fixed."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for name, sentence in fields.sentences(view.missing).items():
        part, _, rest = name.partition(".")
        page = _PAGES.get(part, "")
        line = found.setdefault(
            (part, sentence),
            {
                "part": _LABELS.get(part, part),
                "what": [],
                "sentence": sentence,
                "href": address(page, app.id) if page else f"#{part}",
            },
        )
        if what := _what(part, rest, view.submission, book):
            line["what"].append(what)
    for line in found.values():
        if line["sentence"] == _REQUIRED and len(line["what"]) > 1:
            line["sentence"] = "Each of these is required."
    return list(found.values())


def _what(part: str, rest: str, found: Submission, book: Book) -> str:
    number = rest.partition(".")[0]
    at = int(number) if number.isdecimal() else -1
    if part == "scopes" and 0 <= at < len(found.order.scopes):
        return found.order.scopes[at].scope
    if part == "documents":
        kind = found.order.documents[at].kind if 0 <= at < len(found.order.documents) else rest
        return book.evidence.get(kind, kind)
    return rest.replace("_", " ").replace(".", " ")


# --- what was submitted --------------------------------------------------------------------------------------------------------


def _submitted(ctx: Context, app: App, view: SubmissionView) -> dict[str, Any]:
    found = view.submission
    book = policies.current(ctx).everywhere
    content = orjson.loads(found.content) if found.content else {}
    declared = content["version"]["workflows"] if content else ()
    run = review.last_runs(ctx, [found]).get(found.id)
    judged = submissions.checks(run.judgement.checks, found.id) if run else {"blocking": [], "fine": []}
    for each in (*judged["blocking"], *judged["fine"]):
        page = _OF_RULE.get(each["check"].rule) or _CHECKED_AT.get(each["check"].about.partition(":")[0], "")
        each["href"] = address(page, app.id) if page else ""
    return {
        "draft": False,
        "scopes": submissions.scope_rows(found.order.scopes, declared, book),
        "documents": [(book.evidence.get(each.kind, each.kind), each) for each in found.order.documents],
        "declared": submissions.declared_in_words(book, declared),
        "reruns": submissions.possible(found.state, Act.RERUN),
        "again": address("developer.review", app.id),
        **judged,
    }


# --- acts ----------------------------------------------------------------------------------------------------------------------


async def act(visit: Visit, form: Form) -> Response:
    """Save a draft, submit it, have it checked again, answer a discipline, appeal, or withdraw it."""
    verb: Callable[[Context, str, int], object]
    match form.one("act"):
        case "save" | "submit":
            return await _save(visit, form)
        case "withdraw":
            verb = partial(review.withdraw, reason=form.one("reason"))
        case "rerun":
            verb = review.rerun
        case "appeal":
            verb = partial(_appealed, text=form.one("text"))
        case "answer":
            discipline = _discipline(form)
            verb = partial(_answer, discipline=discipline, text=form.one("text"))
        case _:
            raise fields.no_such_act()
    try:
        revision = submissions.revision_of(form)
        await visit.write(lambda ctx: verb(ctx, visit.param(), revision))
    except Invalid as error:
        return await _page(visit, form, error.fields)
    except (Conflict, NotPermitted) as error:
        return await _page(visit, form, refused=error)
    return to(visit.path)


def _discipline(form: Form) -> Discipline:
    try:
        return Discipline(form.one("discipline"))
    except ValueError as error:
        raise Invalid(
            "form_invalid", "Choose a discipline.", fields={"discipline": "not_an_option"}
        ) from error


def _answer(ctx: Context, id_: str, revision: int, *, discipline: Discipline, text: str) -> object:
    return review.answer(ctx, id_, discipline, revision, text)


def _appealed(ctx: Context, id_: str, revision: int, *, text: str) -> object:
    del revision  # a rejection changes by an appeal alone, of which there is one
    return review.appeal(ctx, id_, text)


async def _save(visit: Visit, form: Form) -> Response:
    try:
        revision = submissions.revision_of(form)
        order = order_of(form)
        change = partial(
            review.change,
            submission_id=visit.param(),
            order=order,
            revision=revision,
            unused=visit.ports.unused,
        )
        saved = await visit.write(change)
    except Invalid as error:
        return await _page(visit, form, error.fields or {"form": "invalid"})
    except Conflict as error:
        if error.code != "changed_since_read":
            return await _page(visit, refused=error)
        return await _page(visit, form, stale=error.detail)
    if form.one("act") == "save":
        return to(f"{visit.path}#missing")
    try:
        submit = partial(
            review.submit,
            submission_id=visit.param(),
            revision=saved.submission.revision,
            unused=visit.ports.unused,
        )
        await visit.write(submit)
    except Invalid:
        # What was typed is saved; the page lists what it lacks.
        return await _page(visit, tried=True)
    return to(visit.path)
