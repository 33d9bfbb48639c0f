"""What an app did, as kinds of calls: the least scopes that permit them, and the shapes that a contract keeps. Pure.

A trace is a list of records. What was refused is no part of it. Source: C220
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from urllib.parse import parse_qsl

from hilum.foundation.standards.fhir.attachments import referrer_types
from hilum.foundation.standards.fhir.searchparams import parameters_of
from hilum.foundation.standards.smart.scopes import (
    CREATE,
    READ,
    SEARCH,
    SPECIAL,
    UPDATE,
    ClinicalScope,
    Prefix,
    Scope,
    covers,
    parse_stored,
    render,
)
from hilum.records.audit.models import SETTLEMENT, UNDELIVERED
from hilum.records.audit.policy import OWN_RECORD, letter_of, permitting_scopes
from hilum.review.certification_runs.judging import MINT, in_order
from hilum.review.certification_runs.models import CATEGORIES_BOUND, SHAPES_BOUND, Call, Proposed, Row, Shape

Pieces = tuple[ClinicalScope, ...]
_MADE = frozenset({"done", "unknown"})
"""Outcomes of requests that were permitted and reached the hospital's server."""
_REPEATS = frozenset({SETTLEMENT, UNDELIVERED})
"""Rules of records that say more about a request which has a record of its own."""
_PAGE = "_page"
_CATEGORY = "category"
_SESSION = frozenset({"offline_access", "online_access"})
_STANDALONE = frozenset({"launch/patient", "launch/encounter"})
_REACH = {Prefix.PATIENT: 0, Prefix.USER: 1}


def calls_of(rows: Sequence[Row], held: Iterable[str]) -> tuple[Call, ...]:
    """Return the kinds of calls of a trace, in the order in which they came first. ``held``: the scopes of its client, which say what included records needed."""
    ordered = in_order(rows)
    made = [each for each in ordered if _is_call(each)]
    scopes = tuple(each for each in parse_stored(held) if isinstance(each, ClinicalScope))
    workflows = _workflows(ordered)
    touched = {each.type for each in made}
    counted: Counter[Call] = Counter()
    begun: dict[tuple[str, str, str], Call] = {}
    for row in made:
        query = parse_qsl(row.asked.partition("?")[2], keep_blank_values=True)
        search = row.launch, row.type, row.rule
        if any(name == _PAGE for name, _ in query) and search in begun:
            # The next page of a search needs what its first page needed, and says nothing of its own.
            counted[begun[search]] += 1
            continue
        call = Call(
            row.name,
            row.type,
            _texts(permitting_scopes(row.rule, row.type, row.name) or _attaching(row)),
            _needs(row, query, scopes, touched),
            tuple(sorted({name.partition(":")[0] for name, _ in query})),
            workflows.get(row.launch, ""),
        )
        if row.name == "search-type":
            begun[search] = call
        counted[call] += 1
    return tuple(replace(call, number=number) for call, number in counted.items())


def _is_call(row: Row) -> bool:
    if not row.request or row.rule in _REPEATS:
        return False
    return row.outcome in _MADE and bool(letter_of(row.name))


def _texts(scopes: Iterable[Scope]) -> tuple[str, ...]:
    return tuple(sorted({render(each) for each in scopes}))


def _workflows(rows: Iterable[Row]) -> dict[str, str]:
    """Return the workflow of each launch, by the tokens that were issued in it."""
    return {
        each.launch: str(each.facts["workflow"])
        for each in rows
        if each.name == MINT and each.launch and "workflow" in each.facts
    }


def _needs(
    row: Row, query: Sequence[tuple[str, str]], held: Pieces, touched: Iterable[str]
) -> tuple[str, ...]:
    """Return the least scopes, one letter each, that permit a request and what it brought along."""
    if row.rule == OWN_RECORD:
        return _texts(permitting_scopes(row.rule, row.type, row.name))
    permitted = permitting_scopes(row.rule, row.type, row.name) or _attaching(row)
    pieces = _widest(each for each in permitted if isinstance(each, ClinicalScope))
    category = _category(query) if row.name == "search-type" else ""
    found: list[ClinicalScope] = [
        replace(each, constraints=((_CATEGORY, category),), query="")
        if category and not each.constraints
        else each
        for each in pieces
    ]
    for type_, letter in _included_types(query):
        found += _reaching(held, type_, letter)
    if row.type == "Binary" and row.name == "read":
        # An attachment is read through a record that refers to it and that may be read as well.
        referring = [each for each in referrer_types() if _reaching(held, each, READ)]
        for type_ in [each for each in referring if each in touched] or referring:
            found += _reaching(held, type_, READ)
    return _texts(found)


def _attaching(row: Row) -> Pieces:
    """Return what permitted a new attachment: scopes to write the records that can refer to it."""
    if (row.type, row.name) != ("Binary", "create"):
        return ()
    return tuple(
        replace(each, letters=letter)
        for each in parse_stored(row.rule.split(", "))
        if isinstance(each, ClinicalScope)
        for letter in (CREATE, UPDATE)
        if each.letters & letter
    )


def _widest(pieces: Iterable[ClinicalScope]) -> Pieces:
    """Leave out of the scopes that permitted one request those that reach no further than another.

    Which of them a record was read by is not known, so what reaches furthest is needed: with less, the request might have been refused.
    """
    return _furthest(pieces, _reaches_as_far)


def _furthest(
    pieces: Iterable[ClinicalScope], reaches: Callable[[ClinicalScope, ClinicalScope], bool]
) -> Pieces:
    """Leave out each scope that another one reaches as far as."""
    distinct = tuple(dict.fromkeys(pieces))
    return tuple(
        each for each in distinct if not any(other != each and reaches(other, each) for other in distinct)
    )


def _reaches_as_far(one: ClinicalScope, other: ClinicalScope) -> bool:
    if {one.prefix, other.prefix} <= _REACH.keys() and _REACH[one.prefix] > _REACH[other.prefix]:
        return covers(one, replace(other, prefix=one.prefix))
    return covers(one, other)


def _category(query: Sequence[tuple[str, str]]) -> str:
    """Return the one category, with its system, that a search named; empty if it named none or several."""
    named = [value for name, value in query if name == _CATEGORY]
    if len(named) != 1 or "," in named[0] or "\\" in named[0]:
        return ""
    system, bar, code = named[0].partition("|")
    return named[0] if system and bar and code and named[0].isprintable() else ""


def _included_types(query: Iterable[tuple[str, str]]) -> Iterator[tuple[str, int]]:
    """Return the types that a search may have included, each with the letter that must cover it."""
    for name, value in query:
        source, _, rest = value.partition(":")
        if name == "_revinclude":
            yield source, SEARCH
        elif name == "_include":
            parameter, _, target = rest.partition(":")
            found = parameters_of(source).get(parameter)
            targets = (target,) if target else () if found is None else found.targets
            yield from ((each, READ) for each in targets)


def _reaching(held: Pieces, type_: str, letter: int) -> Pieces:
    pieces = ((each, replace(each, type=type_, letters=letter)) for each in held)
    return _widest(piece for each, piece in pieces if covers(each, piece))


# --- launches ------------------------------------------------------------------------------------------------------------------


def launch_scopes(rows: Iterable[Row]) -> Mapping[str, int]:
    """Return the scopes of launch, identity and session that the launches of a trace used, each with how many did.

    A session scope counts as used once a token was refreshed by it.
    """
    found: Counter[str] = Counter()
    families: set[str] = set()
    for row in in_order(rows):
        if row.name != MINT or row.outcome != "done":
            continue
        granted = SPECIAL.intersection(row.facts.get("scopes", ()))
        family = str(row.facts.get("family", ""))
        if family and family in families:
            found.update(granted & _SESSION)
            continue
        families.add(family)
        unused = _STANDALONE if row.launch else {"launch"}
        found.update(granted - _SESSION - unused)
    return dict(sorted(found.items()))


# --- proposals -----------------------------------------------------------------------------------------------------------------


def propose(calls: Iterable[Call], launches: Mapping[str, int] | None = None) -> tuple[Proposed, ...]:
    """Return the least scopes that permit some calls, each with the calls that need it (C220).

    INVARIANT: each call is permitted by them, and none of them can be left out, nor a letter of one.
    """
    calls, launches = tuple(calls), launches or {}
    named = parse_stored(dict.fromkeys(text for each in calls for text in each.needs))
    whole = frozenset(text for each in calls for text in each.scopes)
    asked = (each for each in named if isinstance(each, ClinicalScope))
    least = _furthest(_whole_types(asked, whole), covers)
    # Pieces that differ in their letters only become one scope.
    joined: dict[ClinicalScope, ClinicalScope] = {}
    for piece in least:
        bare = replace(piece, letters=0)
        before = joined.get(bare)
        joined[bare] = piece if before is None else replace(piece, letters=piece.letters | before.letters)
    special = {render(each) for each in named if not isinstance(each, ClinicalScope)} | launches.keys()
    of_calls = [Proposed(text, _needing(calls, text)) for text in sorted(map(render, joined.values()))]
    of_launches = [Proposed(text, _needing(calls, text), launches.get(text, 0)) for text in sorted(special)]
    return (*of_launches, *of_calls)


def _whole_types(pieces: Iterable[ClinicalScope], whole: Container[str]) -> Iterator[ClinicalScope]:
    """Return the whole type, if it was granted, instead of more categories of it than anybody would grant one by one."""
    asked = tuple(pieces)
    number = Counter((each.prefix, each.type, each.letters) for each in asked if each.constraints)
    for each in asked:
        many = number[each.prefix, each.type, each.letters] > CATEGORIES_BOUND
        bare = replace(each, constraints=(), query="")
        yield bare if many and render(bare) in whole else each


def _needing(calls: Iterable[Call], text: str) -> tuple[Call, ...]:
    return tuple(each for each in calls if any(permits((text,), (need,)) for need in each.needs))


def permits(scopes: Iterable[str], needs: Iterable[str]) -> bool:
    """Check whether some scopes cover all that a call needs."""
    held = parse_stored(scopes)
    return all(any(covers(each, need) for each in held) for need in parse_stored(needs))


def shapes_of(calls: Iterable[Call]) -> tuple[Shape, ...]:
    """Return the shapes of some calls: one for each interaction with a type in a workflow, with every scope and parameter that it came with."""
    found: dict[tuple[str, str, str], Shape] = {}
    for each in calls:
        key = each.workflow, each.type, each.interaction
        held = found.get(key, Shape(each.interaction, each.type, workflow=each.workflow))
        found[key] = replace(
            held,
            scopes=tuple(sorted({*held.scopes, *each.scopes})),
            parameters=tuple(sorted({*held.parameters, *each.parameters})),
            number=held.number + each.number,
        )
    return tuple(found[key] for key in sorted(found))[:SHAPES_BOUND]
