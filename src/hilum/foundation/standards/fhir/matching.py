"""Tests whether a resource's JSON matches a token parameter (``category=system|code``).

Only what can be judged with certainty is supported: token parameters without modifier, and case-sensitive codes.
Source: FHIR R4 search.html#token; SMART App Launch 2.2, scopes-and-launch-context#finer-grained-resource-constraints-using-search-parameters
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from hilum.foundation.standards.fhir.paths import Leaf, UnsupportedExpression, compile_expression
from hilum.foundation.standards.fhir.searchparams import Kind, parameters_of
from hilum.foundation.standards.fhir.values import split, unescape

MATCHERS_BOUND = 10_000
_WORDS = frozenset({"code", "string", "uri", "id", "canonical", "url"})
Matcher = Callable[[dict[str, Any]], bool]
ANY_SYSTEM = None
Token = tuple[str | None, str]
"""A system (None: any, empty: none) and a code (empty: any of the system)."""


@lru_cache(maxsize=MATCHERS_BOUND)
def compile_constraint(type_: str, name: str, value: str) -> Matcher | None:
    """Build the test of a resource of the type for a parameter's value; None if it cannot be judged."""
    parameter = parameters_of(type_).get(name)
    # Other kinds compare by rules that servers interpret differently (date precision, accents, units): a
    # constraint that the gateway judges differently from the FHIR server would be a leak or a gap.
    if parameter is None or parameter.kind is not Kind.TOKEN or name.startswith("_"):
        return None
    wanted = tuple(_parse_token(part) for part in split(value, ","))
    # "|" alone would match any coding.
    if not all(code or system for system, code in wanted):
        return None
    try:
        select = compile_expression(parameter.expression, type_)
    except UnsupportedExpression:
        return None

    def matches(resource: dict[str, Any]) -> bool:
        try:
            selected = select(resource)
        except (TypeError, AttributeError, ValueError):
            return False  # malformed JSON from an upstream has no reliable codes
        # Codes are compared with their case. FHIR lets a server ignore it, but a constraint that matches too
        # much would disclose a record.
        return any(
            _meets(coding, token)
            for leaf, node in selected
            for coding in _tokens(leaf, node)
            for token in wanted
        )

    return matches


def compile_all(type_: str, constraints: tuple[tuple[str, str], ...]) -> tuple[Matcher, ...] | None:
    """Build the tests of all constraints of a scope; None if one of them cannot be judged."""
    matchers: list[Matcher] = []
    for name, value in constraints:
        matcher = compile_constraint(type_, name, value)
        if matcher is None:
            return None
        matchers.append(matcher)
    return tuple(matchers)


def is_testable(type_: str, constraints: tuple[tuple[str, str], ...]) -> bool:
    """Check whether all constraints of a scope can be judged on resources; a scope with others would permit nothing."""
    return compile_all(type_, constraints) is not None


def _parse_token(text: str) -> Token:
    parts = split(text, "|")
    if len(parts) == 1:
        return ANY_SYSTEM, unescape(parts[0])
    return unescape(parts[0]), unescape("|".join(parts[1:]))


def _meets(coding: tuple[str, str], wanted: Token) -> bool:
    system, code = wanted
    if system is not ANY_SYSTEM and coding[0] != system:
        return False
    # `system|` means any code of the system (FHIR R4 search.html#token).
    return not code or coding[1] == code


def _tokens(leaf: Leaf, node: Any) -> list[tuple[str, str]]:
    """Yield system and code of each value that a token parameter selects."""
    if leaf.type == "boolean":
        return [("", "true" if node else "false")] if isinstance(node, bool) else []
    if leaf.type in _WORDS:
        return [(leaf.system, node)] if isinstance(node, str) else []
    if not isinstance(node, dict):
        return []
    if leaf.type == "CodeableConcept":
        codings = node.get("coding")
        return (
            [_coded(c, "code") for c in codings if isinstance(c, dict)] if isinstance(codings, list) else []
        )
    if leaf.type == "Coding":
        return [_coded(node, "code")]
    if leaf.type in {"Identifier", "ContactPoint"}:
        return [_coded(node, "value")]
    return []


def _coded(node: dict[str, Any], key: str) -> tuple[str, str]:
    system, code = node.get("system", ""), node.get(key, "")
    return (system if isinstance(system, str) else "", code if isinstance(code, str) else "")
