"""Scopes: their grammar, their algebra, and the compiled form for the gateway's decisions.

Source: SMART App Launch 2.2, scopes-and-launch-context; RFC 6749 section 3.3.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, lru_cache
from types import MappingProxyType
from urllib.parse import unquote

from hilum.foundation.standards.fhir.matching import Matcher, compile_all
from hilum.foundation.standards.fhir.visibility import VISIBILITY, Belonging

# Scopes are parsed at authorize before the person is signed in, so number and length are bounded first.
SCOPES_BOUND = 200
SCOPE_TEXT_BOUND = 500
CONSTRAINTS_BOUND = 8
COMPILED_BOUND = 10_000
NARROWED_BOUND = 20_000
PARSED_BOUND = 10_000

LETTERS = "cruds"
CREATE, READ, UPDATE, DELETE, SEARCH = (1 << n for n in range(5))
ALL_LETTERS = (1 << 5) - 1
WRITES = CREATE | UPDATE | DELETE
ANY_TYPE = "*"

SPECIAL = frozenset(
    {
        "openid",
        "fhirUser",
        "launch",
        "launch/patient",
        "launch/encounter",
        "online_access",
        "offline_access",
        "hilum/launch",
    }
)
"""Scopes that are not about resources. ``hilum/launch`` lets an EHR client open launches."""
LAUNCH_AND_IDENTITY = frozenset({"openid", "fhirUser", "launch", "launch/patient", "launch/encounter"})
"""The scopes that an app needs to be launched and to identify its user; they reach no record but the user's own."""

# RFC 6749 section 3.3: printable ASCII without space, quote and backslash.
_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_BETWEEN = re.compile(r"[ \t\r\n]+")
_CLINICAL = re.compile(
    r"(?P<prefix>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]{1,63})\.(?P<access>[A-Za-z*]+)(?:\?(?P<query>.*))?"
)
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
# SMART 2.2, #scopes-for-requesting-fhir-resources: v1 `read` includes search, `write` all three writes. `*` is in v1 only.
_V1 = {"read": READ | SEARCH, "write": CREATE | UPDATE | DELETE, "*": ALL_LETTERS}


class Prefix(StrEnum):
    """Whose access a clinical scope grants."""

    PATIENT = "patient"
    USER = "user"
    SYSTEM = "system"


_NAMED_ONLY = MappingProxyType(
    {
        Prefix.PATIENT: frozenset(
            name
            for name, rule in VISIBILITY.items()
            if rule.belonging in {Belonging.SHARED, Belonging.POPULATION}
        )
    }
)
"""The types that a wildcard of a prefix does not reach: ``patient/*`` is about the patient, so directories, catalogues and groups
need a scope that names them (ADR 12)."""


class ScopeError(StrEnum):
    """Why a scope's text is invalid."""

    CHARACTERS = "scope_characters"
    TOO_LONG = "scope_too_long"
    TOO_MANY = "scope_too_many"
    UNKNOWN = "scope_unknown"
    """An unknown scope; it may be ignored instead of refused (RFC 6749 section 3.3)."""
    MALFORMED = "scope_malformed"
    LETTERS = "scope_letters"
    """A letter is unknown, repeated or out of the order c r u d s."""
    CONSTRAINT = "scope_constraint"


SCOPE_FAULTS = {
    ScopeError.CHARACTERS: "a scope has characters that are not allowed in scopes",
    ScopeError.TOO_LONG: "a scope is too long",
    ScopeError.TOO_MANY: f"more than {SCOPES_BOUND} scopes are requested",
    ScopeError.MALFORMED: "a scope is malformed; write patient/Observation.rs",
    ScopeError.LETTERS: "the letters of a scope are unknown, repeated or not in the order c r u d s",
    ScopeError.CONSTRAINT: "the ?parameter=value of a scope is malformed or not supported for its type",
}
"""The sentence for the client; none for an unknown scope, which is ignored."""


@dataclass(frozen=True, slots=True)
class SpecialScope:
    """A scope of identity, launch or session."""

    name: str


@dataclass(frozen=True, slots=True)
class ClinicalScope:
    """What may be done to resources of a type. ``letters`` is a mask of CREATE .. SEARCH; constraints must all hold.

    ``query`` keeps the constraints as they were written, so that an answer repeats a granular scope verbatim.
    """

    prefix: Prefix
    type: str
    letters: int
    constraints: tuple[tuple[str, str], ...] = ()
    query: str = field(default="", compare=False)


Scope = ClinicalScope | SpecialScope


@cache
def types_of(prefix: Prefix) -> tuple[str, ...]:
    """Return the resource types that a wildcard of a prefix reaches."""
    return tuple(name for name in VISIBILITY if wildcard_reaches(prefix, name))


def wildcard_reaches(prefix: Prefix, type_: str) -> bool:
    """Check whether a wildcard of a prefix includes a type."""
    return type_ not in _NAMED_ONLY.get(prefix, ())


def everything(prefix: Prefix, letters: str = LETTERS) -> tuple[str, ...]:
    """Return the scopes that reach all that a prefix can reach: the wildcard, and each type that needs a scope of its own."""
    # Groups are reached by no patient/ scope, named or not.
    named = {name for name in _NAMED_ONLY.get(prefix, ()) if VISIBILITY[name].belonging is Belonging.SHARED}
    types = (ANY_TYPE, *sorted(named))
    return tuple(f"{prefix}/{type_}.{letters}" for type_ in types)


def letters_of(mask: int) -> str:
    """Return the letters of a mask, in order."""
    return "".join(letter for n, letter in enumerate(LETTERS) if mask >> n & 1)


def mask_of(letters: str) -> int | None:
    """Parse letters into a mask; None if one is unknown, repeated or out of order."""
    mask = last = 0
    for letter in letters:
        bit = 1 << LETTERS.find(letter) if letter in LETTERS else 0
        # Letters must be in the order cruds, so each set of rights has exactly one spelling (SMART 2.2
        # #fhir-resource-scope-syntax).
        if bit <= last:
            return None
        mask, last = mask | bit, bit
    return mask or None


def parse_scope(text: str) -> Scope | ScopeError:
    """Parse one scope.

    Source: SMART App Launch 2.2, scopes-and-launch-context#fhir-resource-scope-syntax, #scopes-for-requesting-fhir-resources (v1).
    """
    # Checked before the cache, so that the cache is bounded in bytes too.
    return ScopeError.TOO_LONG if len(text) > SCOPE_TEXT_BOUND else _parse(text)


@lru_cache(maxsize=PARSED_BOUND)
def _parse(text: str) -> Scope | ScopeError:
    if not _TOKEN.fullmatch(text):
        return ScopeError.CHARACTERS
    if text in SPECIAL:
        return SpecialScope(text)
    # Whatever looks like a clinical scope must parse, or the whole request is refused: an app must not work
    # with fewer rights than it believes it has because of a typing error.
    if not text.startswith(("patient/", "user/", "system/")):
        return ScopeError.UNKNOWN
    match = _CLINICAL.fullmatch(text)
    if match is None:
        return ScopeError.MALFORMED
    prefix, resource_type = Prefix(match["prefix"]), match["type"]
    access, query = match["access"], match["query"]
    if access in _V1:
        # Constraints exist in v2 only.
        if query is not None:
            return ScopeError.CONSTRAINT
        return ClinicalScope(prefix, resource_type, _V1[access])
    mask = mask_of(access)
    if mask is None:
        return ScopeError.LETTERS
    if query is None:
        return ClinicalScope(prefix, resource_type, mask)
    constraints = _parse_constraints(query)
    # A search parameter belongs to a type; on * it would have no fixed meaning.
    if constraints is None or resource_type == ANY_TYPE:
        return ScopeError.CONSTRAINT
    return ClinicalScope(prefix, resource_type, mask, constraints, query)


def _parse_constraints(query: str) -> tuple[tuple[str, str], ...] | None:
    constraints: list[tuple[str, str]] = []
    for part in query.split("&"):
        name, equals, raw = part.partition("=")
        value = unquote(raw, errors="strict") if _decodes(raw) else ""
        # An empty value would constrain nothing, and the consent page could not show an unprintable one.
        if not equals or not value or not _PARAMETER.fullmatch(name) or not value.isprintable():
            return None
        constraints.append((name, value))
    return tuple(constraints) if len(constraints) <= CONSTRAINTS_BOUND else None


def _decodes(raw: str) -> bool:
    if re.search(r"%(?![0-9A-Fa-f]{2})", raw):
        return False
    try:
        unquote(raw, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


def render(scope: Scope) -> str:
    """Return a scope's text in v2 form, with its constraints as written."""
    if isinstance(scope, SpecialScope):
        return scope.name
    text = f"{scope.prefix}/{scope.type}.{letters_of(scope.letters)}"
    if not scope.constraints:
        return text
    return f"{text}?{scope.query or _query(scope.constraints)}"


def _query(constraints: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{name}={_escape(value)}" for name, value in constraints)


def _escape(value: str) -> str:
    return "".join(
        character
        if _TOKEN.fullmatch(character) and character not in "%&+#"
        else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in value
    )


def words_of(text: str) -> list[str]:
    """Split a scope parameter. Tabs and line ends count as spaces, because people paste scopes over several lines."""
    return _BETWEEN.split(text)


def parse_scopes(text: str) -> tuple[tuple[Scope, ...], tuple[str, ...]] | ScopeError:
    """Parse a space-separated list: return the scopes in order without duplicates, and the unknown words.

    A clinical scope that does not parse refuses the whole; a foreign word (``profile``) only stays out of the answer,
    as RFC 6749 section 3.3 allows.
    """
    # Duplicates are dropped before they are counted, and the order stays: the first occurrence decides.
    words = list(dict.fromkeys(words_of(text)))
    if len(words) > SCOPES_BOUND:
        return ScopeError.TOO_MANY
    scopes: dict[Scope, None] = {}
    foreign: list[str] = []
    for word in words:
        if not word:
            continue
        parsed = parse_scope(word)
        if parsed is ScopeError.UNKNOWN:
            foreign.append(word)
        elif isinstance(parsed, ScopeError):
            return parsed
        else:
            scopes.setdefault(parsed)
    return tuple(scopes), tuple(foreign)


def parse_stored(texts: Iterable[str]) -> tuple[Scope, ...]:
    """Parse stored scope texts, dropping those that do not parse: they grant nothing."""
    scopes = (parse_scope(text) for text in texts)
    return tuple(scope for scope in scopes if not isinstance(scope, ScopeError))


def covers(wider: Scope, narrower: Scope) -> bool:
    """Check whether ``wider`` permits everything that ``narrower`` permits."""
    if isinstance(wider, SpecialScope) or isinstance(narrower, SpecialScope):
        return wider == narrower
    return (
        wider.prefix == narrower.prefix
        and _reaches(wider, narrower.type)
        and narrower.letters & ~wider.letters == 0
        # All constraints of a scope must hold, so more of them permit less.
        and set(wider.constraints) <= set(narrower.constraints)
    )


def _reaches(scope: ClinicalScope, type_: str) -> bool:
    return scope.type == type_ or (scope.type == ANY_TYPE and wildcard_reaches(scope.prefix, type_))


def _meet(scope: ClinicalScope, allowed: ClinicalScope) -> ClinicalScope | None:
    letters = scope.letters & allowed.letters
    if scope.prefix != allowed.prefix or not letters:
        return None
    # The narrower of the two types. Constraints of both sides apply, since each side must permit the result.
    type_ = allowed.type if scope.type == ANY_TYPE else scope.type
    if scope.type != allowed.type and (
        ANY_TYPE not in {scope.type, allowed.type} or not wildcard_reaches(scope.prefix, type_)
    ):
        return None
    more = tuple(constraint for constraint in allowed.constraints if constraint not in scope.constraints)
    constraints = scope.constraints + more
    # The written form is kept where one side alone supplied the constraints; the response repeats a granular scope verbatim.
    query = ""
    if not more:
        query = scope.query
    elif not scope.constraints:
        query = allowed.query
    return ClinicalScope(scope.prefix, type_, letters, constraints, query)


def _narrow_one(scope: ClinicalScope, allowed: Iterable[ClinicalScope]) -> Iterable[ClinicalScope]:
    # Rights from several allowed scopes over the same type and constraints are one scope with all letters;
    # different constraints stay apart, since letters must not pass from one to the other.
    merged: dict[tuple[str, frozenset[tuple[str, str]]], ClinicalScope] = {}
    for each in allowed:
        part = _meet(scope, each)
        if part is None:
            continue
        key = part.type, frozenset(part.constraints)
        before = merged.get(key)
        letters = part.letters | (before.letters if before else 0)
        merged[key] = ClinicalScope(part.prefix, part.type, letters, part.constraints, part.query)
    parts = list(merged.values())
    for n, part in enumerate(parts):
        others = parts[:n] + parts[n + 1 :]
        # A part within another adds nothing and would only lengthen the consent page.
        if not any(covers(other, part) for other in others):
            yield part


def intersect(scopes: Iterable[Scope], allowed: Iterable[Scope]) -> tuple[Scope, ...]:
    """Return what both sides permit, as written and ordered in ``scopes`` where it is allowed in full.

    INVARIANT: each returned scope is covered by one of ``scopes`` and, letter by letter, by ``allowed``.
    """
    allowed = tuple(allowed)
    clinical = tuple(scope for scope in allowed if isinstance(scope, ClinicalScope))
    special = {scope for scope in allowed if isinstance(scope, SpecialScope)}
    out: dict[Scope, None] = {}
    for scope in scopes:
        if isinstance(scope, SpecialScope):
            if scope in special:
                out.setdefault(scope)
            continue
        for part in _narrow_one(scope, clinical):
            out.setdefault(part)
    return tuple(out)


def narrow(texts: Iterable[str], allowed: Iterable[str]) -> tuple[str, ...]:
    """Return ``intersect`` of scope texts; texts that do not parse are dropped."""
    return tuple(render(scope) for scope in intersect(parse_stored(texts), parse_stored(allowed)))


def all_covered(asked: Iterable[str], allowed: Iterable[str]) -> bool:
    """Check whether every asked scope is within the allowed ones, letter by letter (RFC 6749 section 6: a refresh never widens)."""
    return first_beyond(asked, allowed) is None


def first_beyond(asked: Iterable[str], allowed: Iterable[str]) -> str | None:
    """Return the first asked scope that the allowed ones do not cover; None if they cover all."""
    within = parse_stored(allowed)
    special = {scope for scope in within if isinstance(scope, SpecialScope)}
    clinical = tuple(scope for scope in within if isinstance(scope, ClinicalScope))
    for text in asked:
        scope = parse_scope(text)
        if isinstance(scope, ScopeError):
            return text
        if not (scope in special if isinstance(scope, SpecialScope) else _is_covered(scope, clinical)):
            return text
    return None


def _is_covered(asked: ClinicalScope, allowed: Iterable[ClinicalScope]) -> bool:
    """Check whether allowed scopes together permit ``asked`` in full, as if ``intersect`` returned it whole, in one pass over them.

    Hospitals and vendors choose both lists, so the cost must not grow with the square of their lengths.
    """
    # `covers` is not enough: several allowed scopes may cover one asked scope together.
    letters = asked.letters
    constraints = set(asked.constraints)
    for each in allowed:
        if (
            each.prefix == asked.prefix
            and _reaches(each, asked.type)
            and constraints.issuperset(each.constraints)
        ):
            letters &= ~each.letters
            if not letters:
                return True
    return False


def of_rights(rights: Mapping[str, str], prefix: Prefix) -> tuple[ClinicalScope, ...]:
    """Build scopes of one prefix from a table type -> letters."""
    masks = ((resource_type, mask_of(letters)) for resource_type, letters in sorted(rights.items()))
    return tuple(ClinicalScope(prefix, resource_type, mask) for resource_type, mask in masks if mask)


@dataclass(frozen=True, slots=True)
class CompiledScope:
    """One clinical scope as the gateway uses it. ``text`` identifies it in decisions.

    ``constraints`` narrow a search; ``matchers`` are the same conditions as tests of a resource. They are None if one of them cannot be
    tested: then the scope permits nothing.
    """

    prefix: Prefix
    mask: int
    constraints: tuple[tuple[str, str], ...]
    text: str
    # Not compared: equal constraints compile to different function objects.
    matchers: tuple[Matcher, ...] | None = field(compare=False)


# Built once for each distinct set of scopes and shared by its tokens; a decision only looks up the type.
@dataclass(frozen=True, slots=True, eq=False)
class CompiledScopes:
    """A token's scopes by resource type, for ``grants`` and ``mask``. ``compile_scopes`` returns one object for equal scopes."""

    by_type: dict[str, tuple[CompiledScope, ...]]
    any_type: tuple[CompiledScope, ...]
    special: frozenset[str]

    def grants(self, type_: str) -> tuple[CompiledScope, ...]:
        """Return every scope that applies to the type, wildcards included, in the order of the grant."""
        # Types that no scope names fall back to the wildcards; those of named types include them already.
        return self.by_type.get(type_, self.any_type)

    def mask(self, type_: str) -> int:
        """Return the letters that any scope permits on the type, whatever its prefix and constraints."""
        mask = 0
        for grant in self.grants(type_):
            mask |= grant.mask
        return mask


@lru_cache(maxsize=COMPILED_BOUND)
def compile_scopes(texts: tuple[str, ...]) -> CompiledScopes:
    """Compile scope texts for decisions; texts that do not parse permit nothing."""
    scopes = parse_stored(texts)
    clinical = [scope for scope in scopes if isinstance(scope, ClinicalScope)]
    special = frozenset(scope.name for scope in scopes if isinstance(scope, SpecialScope))

    def of_type(*wanted: str) -> tuple[CompiledScope, ...]:
        return tuple(
            CompiledScope(
                scope.prefix,
                scope.letters,
                scope.constraints,
                render(scope),
                compile_all(scope.type, scope.constraints),
            )
            for scope in clinical
            if scope.type in wanted
        )

    types = {scope.type for scope in clinical} - {ANY_TYPE}
    return CompiledScopes({type_: of_type(type_, ANY_TYPE) for type_ in types}, of_type(ANY_TYPE), special)


@lru_cache(maxsize=NARROWED_BOUND)
def compile_narrowed(texts: tuple[str, ...], *allowed: tuple[str, ...]) -> CompiledScopes:
    """Compile scope texts, narrowed to what each of the others still allows."""
    for each in allowed:
        texts = narrow(texts, each)
    return compile_scopes(texts)
