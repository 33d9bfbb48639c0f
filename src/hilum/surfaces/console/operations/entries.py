"""The policy in words, entry by entry of category and tier, and the form that makes a version with one entry changed (C179, C208)."""

from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from hilum.apps.agreements.models import KINDS
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound
from hilum.foundation.standards.smart.scopes import SPECIAL
from hilum.foundation.web.forms import Form
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import (
    ANY,
    PROOFS,
    TIERS,
    Automation,
    Book,
    ClientAuthentication,
    Discipline,
    Expiry,
    Fault,
    PolicyEntry,
    Tier,
    TrafficClass,
)
from hilum.policy.matrix.policy import as_of, flat, rules_of
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.parts import entry_words
from hilum.surfaces.console.parts.exceptions import short

NOTE_BOUND = 2_000
TICKED = ("client_authentication", "session_scopes", "workflows", "placements", "agreements", "evidence", "scenarios", "proofs", "disciplines")  # fmt: skip
"""The fields of the form that have several values, one tick each."""
_WORDS: Mapping[str, Collection[str]] = {
    "traffic_class": tuple(TrafficClass),
    "automation": tuple(Automation),
    "lifetimes.expiry": tuple(Expiry),
}
_HINTS = {
    "scopes": "One to a line. Those of a lower tier are not listed: each tier above has them too.",
    "lifetimes.idle": 'A duration, such as "90 d", or "none".',
    "lifetimes.absolute": 'A duration, such as "90 d", or "none".',
}


@dataclass(frozen=True, slots=True)
class Input:
    """A field of the form. ``kind``: ticks, lines, tick, choice, number or text. ``options``: value, text and whether it is chosen."""

    name: str
    label: str
    kind: str
    value: str = ""
    options: tuple[tuple[str, str, bool], ...] = ()
    hint: str = ""
    fault: str = ""


def table(book: Book) -> list[tuple[str, bool, list[tuple[str, int, str] | None]]]:
    """Return each category of a policy with the address of its entry for each tier, how many scopes it has and who reviews; None where it allows none."""
    return [
        (
            category.title,
            category.open,
            [
                _row(name, tier, category.entries[tier]) if tier in category.entries else None
                for tier in TIERS
            ],
        )
        for name, category in book.categories.items()
    ]


def _row(name: str, tier: Tier, policy_entry: PolicyEntry) -> tuple[str, int, str]:
    reviewed = ", ".join(sorted(policy_entry.disciplines)) or "by no person"
    if policy_entry.review.automatic:
        reviewed += ", unless every check passes"
    return address("operations.entry", f"{name}.{tier}"), len(policy_entry.scopes), reviewed


async def show(visit: Visit) -> Response:
    """Show everything that the policy says of apps of a category and tier."""

    def verb(ctx: Context) -> dict[str, Any]:
        number, book = _in_force(ctx)
        name, tier, policy_entry = _entry(book, visit.param())
        now = as_of(book, ctx.now).categories[name].entries[tier]
        return _titled(book, name, tier, number) | {
            "groups": entry_words.grouped(policy_entry, now, book),
            "until": None
            if policy_entry.observe is None or now == policy_entry
            else policy_entry.observe.until,
            "change": address("operations.entry_change", visit.param())
            if visit.may_open("operations.entry_change")
            else "",
        }

    return visit.render("console/operations/entry.html", **await visit.read(verb))


def _in_force(ctx: Context) -> tuple[int, Book]:
    number = policies.in_force(ctx).everywhere
    return number, policies.get_version(ctx, number)[1]


def _entry(book: Book, id_: str) -> tuple[str, Tier, PolicyEntry]:
    """Return an entry by category and tier, such as ``scheduling.low``. Raises NotFound."""
    name, _, tier = id_.rpartition(".")
    category = book.categories.get(name)
    if category is None or tier not in {*TIERS} or Tier(tier) not in category.entries:
        raise NotFound("entry_not_found", "The policy in force has no such entry.")
    return name, Tier(tier), category.entries[Tier(tier)]


def _titled(book: Book, name: str, tier: Tier, number: int) -> dict[str, Any]:
    return {"category": book.categories[name].title, "tier": tier.value, "number": number}


async def show_change(visit: Visit) -> Response:
    """Show the form that changes an entry."""
    return await _form(visit)


async def _form(
    visit: Visit,
    given: Form = fields.NO_FORM,
    error: Invalid | Conflict | None = None,
    wrong: Collection[Fault] = (),
) -> Response:
    def verb(ctx: Context) -> dict[str, Any]:
        number, book = _in_force(ctx)
        name, tier, _ = _entry(book, visit.param())
        prefix = f"categories.{name}.entries.{tier}."
        faults = {each.path.removeprefix(prefix): each.sentence for each in wrong}
        groups = _groups(book, visit.param(), given, faults)
        shown = {each.name for _, found in groups for each in found}
        return _titled(book, name, tier, number) | {
            "groups": groups,
            "after": given.one("after") or policies.in_force(ctx).last,
            "elsewhere": [(path, sentence) for path, sentence in faults.items() if path not in shown],
            "entry": address("operations.entry", visit.param()),
        }

    answered = fields.answered(given, error) | ({"status": 422} if wrong else {})
    return visit.render(
        "console/operations/entry_change.html", **answered, wrong=bool(wrong), **await visit.read(verb)
    )


def _groups(book: Book, id_: str, given: Form, faults: Mapping[str, str]) -> list[tuple[str, list[Input]]]:
    """Return the fields of the form by what they are about, with what was typed, or else what is in force."""
    name, tier, policy_entry = _entry(book, id_)
    groups: dict[str, list[Input]] = {}
    values = dict(flat(rules_of(policy_entry))) | {"scopes": "\n".join(_own_scopes(book, name, tier))}
    for path, text in values.items():
        made = _input(book, path, _value(policy_entry, path), _typed(given, path, text), faults.get(path, ""))
        groups.setdefault(entry_words.group_of(path), []).append(made)
    return list(groups.items())


def _typed(given: Form, path: str, text: str) -> str:
    if "after" not in given:
        return text
    return " ".join(given.many(path)) if path in TICKED else given.one(path)


def _input(book: Book, path: str, value: object, text: str, fault: str) -> Input:
    label, hint = entry_words.label(path), _HINTS.get(path, "")
    if path in TICKED:
        chosen = set(text.split())
        options = tuple((word, title, word in chosen) for word, title in _options(book, path).items())
        return Input(path, label, "ticks", options=options, fault=fault)
    if path in _WORDS:
        words = tuple((word, word.replace("_", " "), word == text) for word in map(str, _WORDS[path]))
        return Input(path, label, "choice", options=words, fault=fault)
    match value:
        case bool():
            return Input(path, label, "tick", value=text, fault=fault)
        case int() | float():
            return Input(path, label, "number", value=text, fault=fault)
        case tuple():
            return Input(path, label, "lines", value=text, hint=hint, fault=fault)
        case _:
            return Input(path, label, "text", value=text or "none", hint=hint, fault=fault)


def _options(book: Book, path: str) -> Mapping[str, str]:
    """Return what can be ticked in a field, with titles."""
    plain: dict[str, Collection[str]] = {
        "client_authentication": tuple(ClientAuthentication),
        "session_scopes": sorted(SPECIAL),
        "proofs": PROOFS,
        "disciplines": tuple(Discipline),
    }
    if path in plain:
        return {str(word): str(word) for word in plain[path]}
    titles: dict[str, Mapping[str, str]] = {
        "workflows": {ANY: "every workflow"} | {name: each.title for name, each in book.workflows.items()},
        "placements": {ANY: "every place"} | dict(book.placements),
        "agreements": KINDS,
        "evidence": book.evidence,
        "scenarios": book.scenarios,
    }
    return titles[path]


def _own_scopes(book: Book, name: str, tier: Tier) -> tuple[str, ...]:
    """Return the scopes of an entry without those of the lower tiers."""
    policy_entries = book.categories[name].entries
    lower = {
        scope
        for each in TIERS[: tier.rank]
        if each in policy_entries
        for scope in policy_entries[each].scopes
    }
    return tuple(scope for scope in policy_entries[tier].scopes if scope not in lower)


def _value(policy_entry: PolicyEntry, path: str) -> object:
    value: object = policy_entry
    for part in path.split("."):
        value = getattr(value, part)
    return value


async def change(visit: Visit, form: Form) -> Response:
    """Add a version in which the entry says what the form has; it is in force nowhere yet."""

    def verb(ctx: Context) -> int | tuple[Fault, ...]:
        now = policies.in_force(ctx)
        note = fields.required(form, "note", NOTE_BOUND, "Say what it changes, and why.")
        if form.one("after") != str(now.last):
            detail = "A version was put in force since you opened this page. Open it again, and change what is in force now."
            raise Conflict("concurrent_change", detail)
        number, book = _in_force(ctx)
        document = _changed(book, visit.param(), form)
        _, faults = policies.validate(ctx, document)
        if faults:
            return faults
        return policies.add_version(ctx, document, base=number, note=note).number

    try:
        done = await visit.write(verb)
    except (Invalid, Conflict) as error:
        return await _form(visit, form, error)
    if isinstance(done, int):
        return to(address("operations.version", str(done)))
    return await _form(visit, form, wrong=done)


def _changed(book: Book, id_: str, form: Form) -> dict[str, Any]:
    """Return the document of a policy in which one entry says what a form has. Raises NotFound, Invalid (nothing differs)."""
    name, tier, policy_entry = _entry(book, id_)
    before = policies.render(book)
    document = deepcopy(before)
    policy_entries = document["categories"][name]["entries"]
    # A tier gets the scopes of the lower ones when the document is read, so what is taken from one goes from those above.
    for each in policy_entries:
        policy_entries[each]["scopes"] = list(_own_scopes(book, name, Tier(each)))
    entry = policy_entries[tier.value]
    for path in dict(flat(rules_of(policy_entry))):
        _put(entry, path, _sent(form, path, _value(policy_entry, path)))
    made, _ = policies.read_book(document)
    if made is not None and policies.render(made) == before:
        raise Invalid(
            "form_invalid", "Nothing differs from the version in force.", fields={"form": "invalid"}
        )
    return document


def _put(entry: dict[str, Any], path: str, value: object) -> None:
    table, _, inner = path.partition(".")
    if inner:
        entry.setdefault(table, {})[inner] = value
    else:
        entry[table] = value


def _sent(form: Form, path: str, value: object) -> object:
    """Return what was sent in a field, as documents have it. What is no number stays text, which the document refuses with its place."""
    if path in TICKED:
        return list(form.many(path))
    text = form.one(path).strip()
    match value:
        case bool():
            return text == "yes"
        case tuple():
            return text.split()
        case int() | float():
            return _number(text)
        case _:
            return text


def _number(text: str) -> object:
    try:
        return int(text) if text.lstrip("-").isdecimal() else float(text)
    except ValueError:
        return short(text)
