"""One discipline of a submission: its scorecard as a form, what it found, and taking, judging and giving it back."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.web.forms import Form
from hilum.policy.matrix.models import Discipline
from hilum.review.submissions import service as review
from hilum.review.submissions.models import (
    FINDINGS_BOUND,
    Answer,
    DisciplineState,
    JudgeOrder,
    NewFinding,
    Severity,
    Verdict,
)
from hilum.review.submissions.policy import may_decide
from hilum.surfaces.console import fields, service
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.parts import disciplines

MULTI = ("flags", "reasons")
FINDINGS = 5
"""Findings for which a form has room at first; each time that more room is asked for, it has as many more."""
_TEXTS = ("rule", "severity", "evidence", "reproduction", "fix")


def path_of(submission: str, discipline: Discipline) -> str:
    """Return the path of the page of a discipline."""
    return f"{address('review.submission', submission)}/{discipline}"


def _discipline(visit: Visit) -> Discipline:
    try:
        return Discipline(visit.param("discipline"))
    except ValueError as error:
        raise NotFound("discipline_not_found", "There is no such discipline.") from error


async def show(visit: Visit) -> Response:
    """Show a discipline."""
    return await _page(visit)


async def _page(
    visit: Visit,
    form: Form | None = None,
    error: Invalid | None = None,
    refused: Conflict | NotPermitted | None = None,
) -> Response:
    facts = await visit.read(partial(_read, visit=visit, discipline=_discipline(visit)))
    given = form or fields.NO_FORM
    wrong = dict(error.fields) if error else {}
    return visit.render(
        "console/review/discipline.html",
        **fields.answered(given, refused or error),
        wrong=_unplaced(wrong),
        rows=_rows(given, wrong),
        may_add=_room(given) < FINDINGS_BOUND,
        **facts,
    )


def _read(ctx: Context, visit: Visit, discipline: Discipline) -> dict[str, Any]:
    view, found = review.view_disciplines(ctx, visit.param()), review.view(ctx, visit.param()).submission
    names = service.names(
        ctx,
        [
            found.app,
            found.vendor,
            *(each.reviewer for each in view.disciplines),
            *(each.actor for each in view.steps),
        ],
    )
    who = {
        each: names.actor(each)
        for each in {*(one.reviewer for one in view.disciplines), *(one.actor for one in view.steps)}
    }
    mine = next(
        (
            each
            for each in disciplines.cards(view, who, ctx.now)
            if each["discipline"].discipline is discipline
        ),
        None,
    )
    if mine is None:
        raise NotFound("discipline_not_found", "This submission has no such discipline.")
    state, me = mine["discipline"].state, str(ctx.actor)
    bar = review.bars(ctx, found.id).get(discipline, "")
    card, scorecards = review.shipped_scorecards().of[discipline], review.shipped_scorecards()
    return {
        "mine": mine,
        "card": card,
        "pass_at": scorecards.pass_at,
        "codes": list(scorecards.reasons_of(discipline).items()),
        "title": f"{names.app(found.app)}, version {found.label}",
        "vendor": names.vendor(found.vendor),
        "submission": address("review.submission", found.id),
        "bar": bar if may_decide(ctx.actor) else "",
        "takes": may_decide(ctx.actor) and state is DisciplineState.OPEN and not bar,
        "judges": mine["discipline"].reviewer == me and state is DisciplineState.TAKEN and not bar,
        "releases": mine["discipline"].reviewer == me
        and state in {DisciplineState.TAKEN, DisciplineState.NEEDS_CHANGES},
        "answers": disciplines.ANSWERS,
        "verdicts": disciplines.VERDICTS,
        "severities": disciplines.SEVERITIES,
        "history": list(
            reversed(disciplines.history((each for each in view.steps if each.discipline is discipline), who))
        ),
    }


def _rows(given: Form, wrong: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the rows of findings of a form: those that were sent, then empty ones."""
    sent = _sent(given)
    return [
        {
            "number": number,
            "given": sent[number] if number < len(sent) else dict.fromkeys(_TEXTS, ""),
            "faults": fields.sentences(
                {
                    name.rpartition(".")[2]: code
                    for name, code in wrong.items()
                    if name.startswith(f"findings.{number}.")
                }
            ),
        }
        for number in range(_room(given))
    ]


def _room(form: Form) -> int:
    """Return the number of findings that a form has room for."""
    asked = form.one("room")
    known = int(asked) if asked.isdecimal() and len(asked) < 4 else FINDINGS
    more = FINDINGS if form.one("act") == "more" else 0
    return max(FINDINGS, min(known + more, FINDINGS_BOUND))


def _sent(form: Form) -> list[dict[str, str]]:
    rows = [{name: form.one(f"{name}_{number}").strip() for name in _TEXTS} for number in range(_room(form))]
    return [each for each in rows if each["evidence"] or each["reproduction"] or each["fix"]]


def _unplaced(wrong: Mapping[str, str]) -> list[str]:
    """Return the sentences of faults of the verdict as a whole, which stand above the form."""
    return [
        text
        for name, text in fields.sentences(wrong).items()
        if name in {"verdict", "flags", "findings", "reasons"}
    ]


# --- acts ----------------------------------------------------------------------------------------------------------------------


async def act(visit: Visit, form: Form) -> Response:
    """Take a discipline, judge it, give it back, record that something it found is fixed, or make room for more findings."""
    id_, discipline = visit.param(), _discipline(visit)
    if form.one("act") == "more":
        return await _page(visit, form)
    try:
        await visit.write(_verb(form, id_, discipline))
    except Invalid as error:
        return await _page(visit, form, error)
    except (Conflict, NotPermitted) as error:
        return await _page(visit, form, refused=error)
    return to(visit.path)


def _verb(form: Form, id_: str, discipline: Discipline) -> Any:
    if form.one("act") == "resolve":
        return partial(review.resolve, finding_id=form.one("finding")[:64], note=form.one("note"))
    revision = form.one("revision")
    if not (revision.isdecimal() and 0 < len(revision) < 10):
        raise Invalid("form_invalid", "Open the page again.", fields={"revision": "malformed"})
    match form.one("act"):
        case "take":
            return partial(review.take, submission_id=id_, discipline=discipline, revision=int(revision))
        case "release":
            return partial(
                review.release,
                submission_id=id_,
                discipline=discipline,
                revision=int(revision),
                reason=form.one("reason"),
            )
        case "judge":
            return partial(review.judge, order=_order(form, id_, discipline, int(revision)))
        case _:
            raise fields.no_such_act()


def _order(form: Form, id_: str, discipline: Discipline, revision: int) -> JudgeOrder:
    try:
        verdict = Verdict(form.one("verdict"))
    except ValueError as error:
        raise Invalid("verdict_invalid", "Choose a verdict.", fields={"verdict": "missing"}) from error
    known = {each.value for each in Answer}
    answers = {
        each.name: Answer(form.one(f"answer_{each.name}"))
        for each in review.shipped_scorecards().of[discipline].points
        if form.one(f"answer_{each.name}") in known
    }
    found = []
    for number, each in enumerate(_sent(form)):
        if each["severity"] not in {severity.value for severity in Severity}:
            fault = {f"findings.{number}.severity": "not_an_option"}
            raise Invalid("verdict_invalid", "Choose how severe it is.", fields=fault)
        found.append(
            NewFinding(
                each["rule"], Severity(each["severity"]), each["evidence"], each["reproduction"], each["fix"]
            )
        )
    return JudgeOrder(
        id_,
        discipline,
        revision,
        verdict,
        form.one("text"),
        answers,
        form.many("flags"),
        form.many("reasons"),
        tuple(found),
    )
