"""One lens of a submission: its scorecard as a form, what it found, and taking, judging and giving it back."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, NotPermitted
from hilum.foundation.web.forms import Form
from hilum.policy.matrix.models import Lens
from hilum.review.submissions import service as review
from hilum.review.submissions.models import (
    FINDINGS_BOUND,
    Answer,
    JudgeOrder,
    LensState,
    NewFinding,
    Severity,
    Verdict,
)
from hilum.review.submissions.policy import may_decide
from hilum.surfaces.console import fields, service
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.parts import lenses

MULTI = ("flags", "reasons")
FINDINGS = 5
"""Findings for which a form has room at first; each time that more room is asked for, it has as many more."""
_TEXTS = ("rule", "severity", "evidence", "reproduction", "fix")


def path_of(submission: str, lens: Lens) -> str:
    """Return the path of the page of a lens."""
    return f"{address('review.submission', submission)}/{lens}"


def _lens(visit: Visit) -> Lens:
    try:
        return Lens(visit.param("lens"))
    except ValueError as error:
        raise NotFound("lens_not_found", "There is no such lens.") from error


async def show(visit: Visit) -> Response:
    """Show a lens."""
    return await _page(visit)


async def _page(
    visit: Visit,
    form: Form | None = None,
    error: Invalid | None = None,
    refused: Conflict | NotPermitted | None = None,
) -> Response:
    facts = await visit.read(partial(_read, visit=visit, lens=_lens(visit)))
    given = form or fields.NO_FORM
    wrong = dict(error.fields) if error else {}
    return visit.render(
        "console/review/lens.html",
        **fields.answered(given, refused or error),
        wrong=_unplaced(wrong),
        rows=_rows(given, wrong),
        may_add=_room(given) < FINDINGS_BOUND,
        **facts,
    )


def _read(ctx: Context, visit: Visit, lens: Lens) -> dict[str, Any]:
    view, found = review.view_lenses(ctx, visit.param()), review.view(ctx, visit.param()).submission
    names = service.names(
        ctx,
        [
            found.app,
            found.vendor,
            *(each.reviewer for each in view.lenses),
            *(each.actor for each in view.steps),
        ],
    )
    who = {
        each: names.actor(each)
        for each in {*(one.reviewer for one in view.lenses), *(one.actor for one in view.steps)}
    }
    mine = next((each for each in lenses.cards(view, who, ctx.now) if each["lens"].lens is lens), None)
    if mine is None:
        raise NotFound("lens_not_found", "This submission has no such lens.")
    state, me = mine["lens"].state, str(ctx.actor)
    bar = review.bars(ctx, found.id).get(lens, "")
    card, scorecards = review.shipped_scorecards().of[lens], review.shipped_scorecards()
    return {
        "mine": mine,
        "card": card,
        "pass_at": scorecards.pass_at,
        "codes": list(scorecards.reasons_of(lens).items()),
        "title": f"{names.app(found.app)}, version {found.label}",
        "vendor": names.vendor(found.vendor),
        "submission": address("review.submission", found.id),
        "bar": bar if may_decide(ctx.actor) else "",
        "takes": may_decide(ctx.actor) and state is LensState.OPEN and not bar,
        "judges": mine["lens"].reviewer == me and state is LensState.TAKEN and not bar,
        "releases": mine["lens"].reviewer == me and state in {LensState.TAKEN, LensState.NEEDS_CHANGES},
        "answers": lenses.ANSWERS,
        "verdicts": lenses.VERDICTS,
        "severities": lenses.SEVERITIES,
        "history": list(reversed(lenses.history((each for each in view.steps if each.lens is lens), who))),
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
    """Take a lens, judge it, give it back, record that something it found is fixed, or make room for more findings."""
    id_, lens = visit.param(), _lens(visit)
    if form.one("act") == "more":
        return await _page(visit, form)
    try:
        await visit.write(_verb(form, id_, lens))
    except Invalid as error:
        return await _page(visit, form, error)
    except (Conflict, NotPermitted) as error:
        return await _page(visit, form, refused=error)
    return to(visit.path)


def _verb(form: Form, id_: str, lens: Lens) -> Any:
    if form.one("act") == "resolve":
        return partial(review.resolve, finding_id=form.one("finding")[:64], note=form.one("note"))
    revision = form.one("revision")
    if not (revision.isdecimal() and 0 < len(revision) < 10):
        raise Invalid("form_invalid", "Open the page again.", fields={"revision": "malformed"})
    match form.one("act"):
        case "take":
            return partial(review.take, submission_id=id_, lens=lens, revision=int(revision))
        case "release":
            return partial(
                review.release,
                submission_id=id_,
                lens=lens,
                revision=int(revision),
                reason=form.one("reason"),
            )
        case "judge":
            return partial(review.judge, order=_order(form, id_, lens, int(revision)))
        case _:
            raise fields.no_such_act()


def _order(form: Form, id_: str, lens: Lens, revision: int) -> JudgeOrder:
    try:
        verdict = Verdict(form.one("verdict"))
    except ValueError as error:
        raise Invalid("verdict_invalid", "Choose a verdict.", fields={"verdict": "missing"}) from error
    known = {each.value for each in Answer}
    answers = {
        each.name: Answer(form.one(f"answer_{each.name}"))
        for each in review.shipped_scorecards().of[lens].points
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
        lens,
        revision,
        verdict,
        form.one("text"),
        answers,
        form.many("flags"),
        form.many("reasons"),
        tuple(found),
    )
