"""What a consent page says and offers, and what the ticks on it mean. Pure."""

from collections.abc import Iterable
from datetime import datetime

from hilum.consent.models import Authorization, Choice, PlainPermission
from hilum.consent.words import CATEGORIES, SPECIAL, TYPES
from hilum.standards.fhir.visibility import VISIBILITY, Belonging
from hilum.standards.smart.scopes import (
    ANY_TYPE,
    CREATE,
    DELETE,
    READ,
    SEARCH,
    UPDATE,
    WRITES,
    ClinicalScope,
    Prefix,
    Scope,
    ScopeError,
    SpecialScope,
    letters_of,
    parse_scope,
)

DECLINABLE = frozenset({"offline_access", "online_access"})
"""Special scopes that can be unticked; the others say only who and what is meant, and come with the rest."""
_REACH = {
    Prefix.PATIENT: "of this patient",
    Prefix.USER: "of every patient you may open",
    Prefix.SYSTEM: "of every patient",
}


def stands(authorization: Authorization, now: datetime) -> bool:
    """Tell whether the agreement counts."""
    return authorization.revoked_at is None and now < authorization.expires_at


def plain_words(scope: str | Scope) -> PlainPermission:
    """Say in plain words what a scope permits. Every scope has words; one that does not parse is told as permitting nothing."""
    parsed = parse_scope(scope) if isinstance(scope, str) else scope
    text = scope if isinstance(scope, str) else ""
    if isinstance(parsed, ScopeError):
        return PlainPermission(text, "Nothing", "This word means nothing here.", ())
    if isinstance(parsed, SpecialScope):
        title, meaning = SPECIAL[parsed.name]
        away = parsed.name == "offline_access"
        return PlainPermission(text or parsed.name, title, meaning, (), sensitive=away)
    name, meaning, sensitive = _type_words(parsed.type)
    if narrowed := _constraint_words(parsed):
        name = f"{name}: {narrowed}"
    verbs = _verbs(parsed.letters)
    title = f"{_join(verbs)} {name}"
    return PlainPermission(
        scope=text or _rendered(parsed, parsed.type, parsed.query),
        title=title[0].upper() + title[1:],
        meaning=meaning,
        verbs=verbs,
        reach=_REACH[parsed.prefix],
        writes=bool(parsed.letters & WRITES),
        sensitive=sensitive,
    )


def _type_words(resource_type: str) -> tuple[str, str, bool]:
    if resource_type == ANY_TYPE:
        return "everything in the record", "All kinds of entries, present and future.", True
    found = TYPES.get(resource_type)
    if found is not None:
        return found
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in resource_type).strip()
    return f"{spaced} entries", "A kind of entry that has no plain words here.", True


def _constraint_words(scope: ClinicalScope) -> str:
    told = dict(CATEGORIES.get(scope.type, ()))
    return ", ".join(
        told.get(value, f"{name} {value}") if name == "category" else f"{name} {value}"
        for name, value in scope.constraints
    )


def _verbs(letters: int) -> tuple[str, ...]:
    verbs = ["see"] if letters & READ else ["find"] if letters & SEARCH else []
    verbs += [
        verb for bit, verb in ((CREATE, "add"), (UPDATE, "change"), (DELETE, "delete")) if letters & bit
    ]
    return tuple(verbs)


def _join(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def categories_of(resource_type: str) -> tuple[tuple[str, str], ...]:
    """List the categories of a type that can be chosen one by one: ``system|code`` and plain words. Empty for most types."""
    return CATEGORIES.get(resource_type, ())


def types_of(prefix: Prefix) -> tuple[str, ...]:
    """List the types that a wildcard reaches; under ``patient/`` neither directories and catalogues nor groups."""
    beyond = {Belonging.SHARED, Belonging.POPULATION} if prefix is Prefix.PATIENT else set()
    return tuple(name for name, rule in VISIBILITY.items() if rule.belonging not in beyond)


def choices(asked: Iterable[str]) -> tuple[Choice, ...]:
    """List the checkboxes of a consent page, in order: one per type, one per category where a type has them.

    The value of each is a scope string. Scopes that only name who and what is meant are no choice.
    """
    found: dict[str, Choice] = {}
    for text in asked:
        for choice in _choices_of(text):
            found.setdefault(choice.value, choice)
    return tuple(found.values())


def _choices_of(text: str) -> list[Choice]:
    scope = parse_scope(text)
    if isinstance(scope, ScopeError):
        return []
    if isinstance(scope, SpecialScope):
        return [Choice(text, text, plain_words(text))] if scope.name in DECLINABLE else []
    if scope.type != ANY_TYPE:
        return _choices_of_type(text, scope, scope.type)
    return [
        choice
        for resource_type in types_of(scope.prefix)
        for choice in _choices_of_type(text, scope, resource_type)
    ]


def _choices_of_type(text: str, scope: ClinicalScope, resource_type: str) -> list[Choice]:
    whole = text if scope.type != ANY_TYPE else _rendered(scope, resource_type, "")
    categories = () if scope.constraints else categories_of(resource_type)
    if not categories:
        return [Choice(whole, text, plain_words(whole))]
    return [
        Choice(value, text, plain_words(value), group=whole)
        for code, _ in categories
        for value in (_rendered(scope, resource_type, f"category={code}"),)
    ]


def _rendered(scope: ClinicalScope, resource_type: str, query: str) -> str:
    base = f"{scope.prefix}/{resource_type}.{letters_of(scope.letters)}"
    return f"{base}?{query}" if query else base


def apply_ticks(asked: Iterable[str], ticked: Iterable[str]) -> tuple[str, ...]:
    """Give the scopes that a person's ticks grant, in the order asked.

    Nothing unticked: exactly the strings asked. A wildcard with a type unticked becomes the remaining types; a type with all its
    categories ticked stays whole, otherwise the ticked categories replace it. A whole type's own string counts as all of its
    categories when none of them is ticked. Ticks that were not offered count for nothing.
    """
    texts, chosen = tuple(dict.fromkeys(asked)), frozenset(ticked)
    granted: dict[str, None] = {}
    for text in texts:
        for kept in _kept(text, chosen):
            granted.setdefault(kept)
    return tuple(granted)


def _kept(text: str, chosen: frozenset[str]) -> list[str]:
    scope = parse_scope(text)
    if isinstance(scope, ScopeError):
        return []
    if isinstance(scope, SpecialScope):
        return [text] if scope.name not in DECLINABLE or text in chosen else []
    if scope.type != ANY_TYPE:
        return _kept_of_type(text, scope, scope.type, chosen)
    if text in chosen and not any(choice.value in chosen for choice in _choices_of(text)):
        return [text]
    kept: list[str] = []
    whole = True
    for resource_type in types_of(scope.prefix):
        of_type = _kept_of_type(text, scope, resource_type, chosen)
        whole = whole and of_type == [_rendered(scope, resource_type, "")]
        kept += of_type
    return [text] if whole else kept


def _kept_of_type(text: str, scope: ClinicalScope, resource_type: str, chosen: frozenset[str]) -> list[str]:
    whole = text if scope.type != ANY_TYPE else _rendered(scope, resource_type, "")
    offered = [choice.value for choice in _choices_of_type(text, scope, resource_type)]
    kept = [value for value in offered if value in chosen]
    if len(kept) == len(offered) or (not kept and whole in chosen):
        return [whole]
    return kept
