"""The policy as a document: parsed, validated and written. Pure.

A document is what TOML or JSON holds. In one that a person writes, the entries of a tier start from those of ``base``, and the scopes of a
entry include those of the category's lower tiers. What ``render`` returns has neither shortcut and parses to the same book.
The fields are those of ``models``; what refers from one field to another is checked here.
"""

import copy
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.smart.scopes import SPECIAL, ScopeError, parse_scope
from hilum.policy.matrix.exceptions import requirements
from hilum.policy.matrix.fields import LIST_BOUND, shown
from hilum.policy.matrix.limits import lifetime_faults
from hilum.policy.matrix.models import (
    ANY,
    DOCUMENT_BOUND,
    FAULTS_BOUND,
    FORMAT,
    TIERS,
    Book,
    Category,
    Fault,
    PolicyEntry,
    Tier,
)
from hilum.policy.matrix.observed_entries import ENTRY_LIMITS, CurrentBook, completed
from hilum.policy.matrix.products import product_faults
from hilum.policy.matrix.soundness import soundness_faults

__all__ = ["book_faults", "canonical", "read_book", "read_stored", "render"]
_NESTED = ("review", "quota", "alerts", "lifetimes")
_CODES = {
    "missing": ("missing", "It is required."),
    "unexpected_keyword_argument": ("unknown", "There is no such field."),
    "dataclass_type": ("not_a_table", "It must be a table of names and values."),
    "mapping_type": ("not_a_table", "It must be a table of names and values."),
    "dict_type": ("not_a_table", "It must be a table of names and values."),
    "tuple_type": ("not_a_list", "It must be a list."),
    "frozen_set_type": ("not_a_list", "It must be a list."),
    "bool_type": ("not_a_flag", "It must be true or false."),
    "date_from_datetime_parsing": ("not_a_date", "It must be a date such as 2026-01-31."),
    "int_type": ("out_of_range", "It must be a whole number."),
    "float_type": ("out_of_range", "It must be a number."),
    "finite_number": ("out_of_range", "It must be a number."),
    "too_short": ("empty", "Name at least one, or leave the condition out."),
}
"""Code and sentence of pydantic's errors that need no value."""


# --- written -------------------------------------------------------------------------------------------------------------------


@cache
def _books() -> TypeAdapter[Book]:
    return TypeAdapter(Book)


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the bytes that stand for a rendered document: equal policies have equal bytes."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def render(book: Book) -> dict[str, Any]:
    """Return the whole document of a policy: every entry in full, every list in one order.

    What is the default is left out, so that policies from before a field keep their digests.
    """
    written = _books().dump_python(book, mode="json", by_alias=True, exclude_defaults=True)
    return {"format": FORMAT} | written  # type: ignore[no-any-return] # a mapping, since a policy is a dataclass


# --- read ----------------------------------------------------------------------------------------------------------------------


def read_book(document: object, against: CurrentBook | None = None) -> tuple[Book | None, tuple[Fault, ...]]:
    """Parse and validate a document to be added: the policy, or None and everything that is wrong with it.

    ``against``: gives what is in force, from which the entries that are observed take what they were; asked only if there are any.
    """
    if not isinstance(document, Mapping):
        return None, (Fault("the document", "not_a_table", "It must be a table of names and values."),)
    if document.get("format") != FORMAT:
        sentence = f"This release reads format {FORMAT}. Start from `hilum policy show shipped --document`, or see the changelog."
        code = "format_unknown" if "format" in document else "missing"
        return None, (Fault("format", code, sentence),)
    faults = list(_nulls("", document))
    try:
        book = _parse(document, stored=False)
    except ValidationError as error:
        faults += (_fault(each) for each in error.errors(include_url=False))
        return None, tuple(dict.fromkeys(faults))[:FAULTS_BOUND]
    faults += [*_reference_faults(book), *_contradictions(book), *_scope_faults(book)]
    if not faults:
        faults += book_faults(book)
    if not faults and against is not None:
        book = completed(book, against, faults)
    if faults:
        return None, tuple(dict.fromkeys(faults))[:FAULTS_BOUND]
    written = canonical(render(book))
    if len(written) > DOCUMENT_BOUND:
        sentence = (
            f"Written out in full it has {len(written)} bytes, and at most {DOCUMENT_BOUND} are allowed."
        )
        return None, (Fault("the document", "too_large", sentence),)
    return replace(book, digest=hashlib.sha256(written).hexdigest()), ()


def book_faults(book: Book) -> list[Fault]:
    """Return the faults of a policy with valid fields."""
    return [*soundness_faults(book), *product_faults(book), *lifetime_faults(book)]


def read_stored(document: object, digest: str) -> tuple[Book | None, tuple[Fault, ...]]:
    """Parse a document that was valid for the release that stored it: the policy, or None if this release cannot read it; and the faults.

    With a policy the faults are warnings: it is in force whatever this release would refuse today. A limit above today's counts as
    today's, and a scope that is no longer known permits nothing. Soundness is not judged. A field that a later release adds must be
    optional here, with the value that means what its absence meant. A newer format is read where it states a ``compatible_from`` that this
    release reads; its other fields are ignored.
    """
    if not isinstance(document, Mapping):
        return None, (Fault("the document", "not_a_table", "It must be a table of names and values."),)
    written = document.get("format")
    readable = document.get("compatible_from", written)
    if not isinstance(written, int) or not isinstance(readable, int) or readable > FORMAT or written < FORMAT:
        return None, (
            Fault("format", "format_newer", f"It is of format {written}, and this release reads {FORMAT}."),
        )
    repaired = copy.deepcopy(dict(document))
    repaired.pop("compatible_from", None)
    warnings: list[Fault] = []
    try:
        book = _parse(repaired, stored=True)
    except ValidationError as error:
        found = error.errors(include_url=False)
        hard = [_fault(each) for each in found if not _repaired(repaired, each, newer=written > FORMAT)]
        if hard:
            return None, tuple(hard)
        warnings = [_fault(each) for each in found]
        book = _parse(repaired, stored=True)
    if wrong := tuple(_reference_faults(book)):
        return None, wrong
    return replace(book, digest=digest), (*warnings, *_scope_faults(book))


def _repaired(document: dict[str, Any], error: ErrorDetails, *, newer: bool) -> bool:
    """Put today's bound in the place of a stored limit beyond it, and remove what only a newer format has; return whether that could be done."""
    *way, last = error["loc"]
    at: Any = document
    for part in way:
        at = at[part]
    context = error.get("ctx", {})
    if error["type"] in {"less_than_equal", "greater_than_equal"}:
        (at[last],) = context.values()
        return True
    if context.get("bound"):
        at[last] = context["bound"]
        return True
    if newer and error["type"] == "unexpected_keyword_argument":
        del at[last]
        return True
    return False


def _parse(document: Mapping[str, Any], *, stored: bool) -> Book:
    """Parse everything but the format. Raises ValidationError."""
    found = _books().validate_python(_written_out(document), context={"stored": stored})
    return replace(found, categories={name: _with_lower(each) for name, each in found.categories.items()})


def _written_out(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document without shortcuts: each entry with what the base of its tier states."""
    made = {"packs": [], **document}
    del made["format"]
    bases = made.get("base")
    if not isinstance(bases, Mapping):
        return made
    # What is no tier is refused as an unknown field.
    made["base"] = {name: each for name, each in bases.items() if name not in {*TIERS}}
    if not made["base"]:
        del made["base"]
    categories = made.get("categories")
    if isinstance(categories, Mapping):
        made["categories"] = {name: _with_bases(each, bases) for name, each in categories.items()}
    return made


def _with_bases(category: Any, bases: Mapping[str, Any]) -> Any:
    entries = category.get("entries") if isinstance(category, Mapping) else None
    if not isinstance(entries, Mapping):
        return category
    made = {}
    for tier, own in entries.items():
        base = bases.get(tier)
        made[tier] = entry = _merged(base, own)
        observe = entry.get("observe") if isinstance(entry, Mapping) else None
        if isinstance(observe, Mapping) and "earlier" in observe:
            made[tier] = {**entry, "observe": {**observe, "earlier": _merged(base, observe["earlier"])}}
    return {**category, "entries": made}


def _merged(base: Any, own: Any) -> Any:
    """Return an entry with missing values taken from ``base``, also within nested tables."""
    if not isinstance(base, Mapping) or not isinstance(own, Mapping):
        return own
    merged = {**base, **own}
    for name in _NESTED:
        below, above = base.get(name), own.get(name)
        if isinstance(below, Mapping) and isinstance(above, Mapping):
            merged[name] = {**below, **above}
    return merged


def _with_lower(category: Category) -> Category:
    """Return a category whose entries also list the scopes of the lower tiers."""
    entries: dict[Tier, PolicyEntry] = {}
    lower: tuple[str, ...] = ()
    for tier in (tier for tier in TIERS if tier in category.entries):
        lower = tuple(sorted({*lower, *category.entries[tier].scopes}))
        entries[tier] = replace(category.entries[tier], scopes=lower)
    return replace(category, entries=entries)


# --- what is wrong -------------------------------------------------------------------------------------------------------------


def _fault(error: ErrorDetails) -> Fault:
    """Return the fault for an error of pydantic."""
    kind, loc = error["type"], error["loc"]
    if loc and loc[-1] == "[key]" and kind != "enum":
        sentence = f"{shown(error['input'])} is not a name: small letters, digits, - and _."
        return Fault(_path(loc[:-2]), "name_malformed", sentence)
    # A word is refused with the field that lists it, a key with its table.
    whole = kind == "dataclass_type" or not loc
    path = _path(
        loc if whole else loc[:-2] if loc[-1] == "[key]" else loc[:-1] if isinstance(loc[-1], int) else loc
    )
    if kind in _CODES:
        return Fault(path, *_CODES[kind])
    match kind:
        case "enum" | "literal_error":
            return Fault(
                path, "word_unknown", f"{shown(error['input'])} is not one of {error['ctx']['expected']}."
            )
        case "string_type":
            return Fault(path, "not_text", "It must be one line of text.")
        case "string_pattern_mismatch":
            return Fault(path, "word_unknown", f"{shown(error['input'])} is not a name: small letters and _.")
        case "less_than_equal" | "greater_than_equal":
            (bound,) = error["ctx"].values()
            least = "at least" if kind == "greater_than_equal" else "at most"
            return Fault(path, "out_of_range", f"It must be {least} {bound:g}.")
        case _:
            sentence = str(error.get("ctx", {}).get("sentence", f"{error['msg']}."))
            return Fault(
                path, kind if "ctx" in error and "sentence" in error["ctx"] else "not_valid", sentence
            )


def _path(loc: Collection[int | str]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")[:200] or "the document"


def _nulls(path: str, value: object) -> Iterator[Fault]:
    """Find nulls: none of them says that there is no limit."""
    if value is None:
        yield Fault(path, "missing", "It is required.")
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _nulls(f"{path}.{name}".removeprefix("."), each)
    elif isinstance(value, list | tuple):
        for n, each in enumerate(value):
            yield from _nulls(f"{path}[{n}]", each)


def _entries(book: Book) -> Iterator[tuple[str, Tier, PolicyEntry]]:
    """Yield each entry by its path, and what it was if it is observed."""
    for name, category in book.categories.items():
        for tier, entry in category.entries.items():
            path = f"categories.{name}.entries.{tier}"
            yield path, tier, entry
            if entry.observe is not None and entry.observe.earlier is not None:
                yield f"{path}.observe.earlier", tier, entry.observe.earlier


def _reference_faults(book: Book) -> Iterator[Fault]:
    """Find names in one part of a policy that another part does not have."""
    known: dict[str, Collection[str]] = {
        "categories": book.categories,
        "workflows": {*book.workflows, ANY},
        "placements": {*book.placements, ANY},
        "scenarios": book.scenarios,
        "evidence": book.evidence,
    }
    named: list[tuple[str, Collection[str], Collection[str]]] = [
        ("exceptions.waivable", book.exceptions.waivable, requirements(book.evidence, book.scenarios))
    ]
    for path, _, entry in _entries(book):
        fields = ("workflows", "placements", "scenarios", "evidence")
        named += [(f"{path}.{name}", getattr(entry, name), known[name]) for name in fields]
        if entry.observe is not None:
            named.append((f"{path}.observe.limits", entry.observe.limits, ENTRY_LIMITS))
    for workflow in book.workflows.values():
        named.append((f"workflows.{workflow.name}.placements", workflow.placements, book.placements))
    for n, rule in enumerate(book.tier_rules):
        places = (
            ("categories", book.categories),
            ("workflows", book.workflows),
            ("placements", book.placements),
        )
        named += [(f"tier_rules[{n}].{name}", getattr(rule, name), words) for name, words in places]
    for path, words, allowed in named:
        for word in sorted(set(words) - set(allowed)):
            sentence = f"{shown(word)} is not known here. Known are {', '.join(sorted(allowed)) or 'none'}."
            yield Fault(path, "word_unknown", sentence)


def _contradictions(book: Book) -> Iterator[Fault]:
    """Find fields that cannot be meant together."""
    for path, tier, entry in _entries(book):
        if entry.withdraw_days < entry.suspend_days:
            yield Fault(
                f"{path}.withdraw_days", "contradictory", "Nothing is withdrawn before it is suspended."
            )
        if tier is not Tier.LOW and entry.review.automatic:
            sentence = "Only the low tier passes without a person. Remove it."
            yield Fault(f"{path}.review.automatic", "contradictory", sentence)
        # The entry is written out with the scopes of the lower ones, and must be readable again.
        if len(entry.scopes) > LIST_BOUND:
            sentence = f"With those of the lower tiers it lists {len(entry.scopes)}; at most {LIST_BOUND} are allowed."
            yield Fault(f"{path}.scopes", "too_many", sentence)
        observed = entry.observe
        if observed is not None and observed.earlier is not None:
            if observed.limits:
                sentence = "State what to observe, or how the entry was; not both."
                yield Fault(f"{path}.observe.limits", "contradictory", sentence)
            if observed.earlier.observe is not None:
                sentence = "What an entry was is not observed."
                yield Fault(f"{path}.observe.earlier.observe", "contradictory", sentence)
    for n, rule in enumerate(book.tier_rules):
        if rule.special and (rule.prefixes or rule.types or rule.letters):
            sentence = "A scope is either on resources or special, never both."
            yield Fault(f"tier_rules[{n}].special", "contradictory", sentence)
    for n, pack in enumerate(book.packs):
        if pack.valid_until is not None and pack.valid_until <= pack.valid_from:
            yield Fault(f"packs[{n}].valid_until", "contradictory", "It must be after valid_from.")


def _scope_faults(book: Book) -> Iterator[Fault]:
    """Find scopes that are none, or name no resource type; they permit nothing."""
    for path, _, entry in _entries(book):
        yield from _malformed(f"{path}.scopes", entry.scopes)
    for workflow in book.workflows.values():
        yield from _malformed(f"workflows.{workflow.name}.scopes", workflow.scopes)
    for product in book.products.values():
        clinical = [each for each in product.covers if each not in SPECIAL]
        yield from _malformed(f"scopes.{product.name}.covers", clinical)


def _malformed(path: str, scopes: Collection[str]) -> Iterator[Fault]:
    for text in scopes:
        parsed = parse_scope(text)
        if isinstance(parsed, ScopeError) or text in SPECIAL:
            yield Fault(path, "scope_malformed", f"{shown(text)} is not a scope on a resource type.")
        elif parsed.type != ANY and parsed.type not in resource_types():  # type: ignore[union-attr]
            yield Fault(path, "resource_type_unknown", f"{shown(text)} names no resource type of FHIR R4.")
