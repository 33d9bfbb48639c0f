"""Adding a policy: read from a file or from what was pasted, checked, compared with the one in force, and added as a version (C208)."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
from starlette.responses import Response

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, Unavailable
from hilum.foundation.web.forms import Form
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import NUMBER_BOUND, Book, CurrentVersions
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.fields import no_such_act
from hilum.surfaces.console.operations.policies import MADE_FROM
from hilum.surfaces.console.parts.book_changes import differences

DOCUMENTS = ("book",)
"""Fields in which a file with a policy is chosen."""
TEXT_BOUND = 2_000
POINTS_BOUND = 500
"""Points in one line of TOML: what a key with ever more parts costs grows with their square."""


@dataclass(frozen=True, slots=True)
class Made:
    """A document that somebody made, the version it was made from, and the last application that its author knew of."""

    document: Mapping[str, Any]
    base: int
    after: int


async def show(visit: Visit) -> Response:
    """Show the form that takes a policy."""
    return await _page(visit)


async def _page(
    visit: Visit,
    given: Form = fields.NO_FORM,
    error: Invalid | Conflict | None = None,
    **found: Any,
) -> Response:
    now = await visit.read(policies.in_force)
    answered = fields.answered(given, error)
    return visit.render(
        "console/operations/book_new.html",
        **answered | ({"status": 422} if found.get("wrong") else {}),
        now=now,
        stale=isinstance(error, Conflict),
        text=found.pop("text", ""),
        download=address("operations.version", str(now.everywhere), format="json"),
        **{"wrong": (), "compared": None} | found,
    )


async def add(visit: Visit, form: Form) -> Response:
    """Check a policy and show what it would change, or add it as a version, which is in force nowhere yet."""
    text = ""
    try:
        text = _text(form)
        found = await visit.read(partial(_checked, form=form, text=text))
        if found.get("wrong") or form.one("act") != "add":
            return await _page(visit, form, text=text, **found)
        number = await visit.write(partial(_added, form=form, text=text))
    except (Invalid, Conflict) as error:
        return await _page(visit, form, error, text=text)
    return to(address("operations.version", str(number)))


def _text(form: Form) -> str:
    """Return what was pasted, or what is in the file that was chosen. Raises Invalid."""
    if "book" not in form.files:
        return form.one("document")
    try:
        found = form.files["book"].decode()
    except UnicodeDecodeError:
        found = "\x00"
    if "\x00" in found:
        raise _unreadable("The file is not UTF-8 text.")
    return found


def _checked(ctx: Context, form: Form, text: str) -> dict[str, Any]:
    """Return everything that is wrong with a document, each with its place; or how it differs from what is in force. Raises Invalid, Conflict."""
    if form.one("act") not in {"check", "add"}:
        raise no_such_act()
    made, now = _made(form, text), policies.in_force(ctx)
    _require_known(form, made, now)
    book, faults = policies.validate(ctx, made.document)
    if book is None:
        return {"wrong": [(each.path or "the document", each.sentence) for each in faults]}
    return {"compared": _compared(ctx, now, book)}


def _compared(ctx: Context, now: CurrentVersions, book: Book) -> dict[str, Any]:
    try:
        before = policies.get_version(ctx, now.everywhere)[1]
    except Unavailable as error:
        # Whoever fixes a damaged policy adds one while nothing can be compared.
        return {"fault": error.detail}
    return {
        "fault": "",
        **differences(policies.changes(before, book), policies.privilege_increases(before, book)),
    }


def _added(ctx: Context, form: Form, text: str) -> int:
    note = fields.required(form, "note", TEXT_BOUND, "Say what it changes, and why.")
    made = _made(form, text)
    _require_known(form, made, policies.in_force(ctx))
    return policies.add_version(ctx, made.document, base=made.base, note=note).number


def _require_known(form: Form, made: Made, now: CurrentVersions) -> None:
    """Check that nothing was applied since a document was made, or that its author says to have looked at that. Raises Conflict."""
    if made.after == now.last or form.one("seen") == str(now.last):
        return
    detail = f"Others were put in force since this policy was made, after application {made.after}; the last one is application {now.last}."
    raise Conflict("concurrent_change", detail)


def _made(form: Form, text: str) -> Made:
    document = _parsed(text)
    stated = document.pop(MADE_FROM, None)
    said = stated if isinstance(stated, dict) else {}
    base, after = (
        said.get(name, int(given) if (given := form.one(of)).isdecimal() and len(given) < 10 else -1)
        for name, of in (("version", "base"), ("after", "after"))
    )
    if any(type(each) is not int or not 0 <= each <= NUMBER_BOUND for each in (base, after)):
        raise _unreadable(
            f"`{MADE_FROM}` states from which version it was made and after which application; both are numbers."
        )
    return Made(document, base, after)


def _parsed(text: str) -> dict[str, Any]:
    """Return the document of a text: JSON if it begins with a brace, TOML otherwise. Raises Invalid, with the line where it stops."""
    if not text.strip():
        raise Invalid("form_invalid", "Choose a file, or paste a policy.", fields={"document": "missing"})
    is_json = text.lstrip().startswith("{")
    if not is_json and any(line.count(".") > POINTS_BOUND for line in text.split("\n")):
        raise _unreadable(f"A line has more than {POINTS_BOUND} dots. Split it.")
    try:
        found = orjson.loads(text) if is_json else tomllib.loads(text)
        again = orjson.loads(orjson.dumps(found))
    except RecursionError:
        raise _unreadable("Its lists are nested too deeply.") from None
    # Of TOML also for a number with more digits than Python reads.
    except (ValueError, orjson.JSONEncodeError) as error:
        raise _unreadable(f"It is neither TOML nor JSON: {error}.") from error
    assert isinstance(again, dict), "what begins with a brace is an object, and TOML is one"
    return again


def _unreadable(detail: str) -> Invalid:
    return Invalid("document_unreadable", detail, fields={"document": "document_unreadable"})
