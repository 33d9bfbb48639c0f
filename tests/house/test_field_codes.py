"""What is wrong with a field is said by a code of one list, each with its sentence; prose and codes never mix."""

import ast
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest

from hilum.foundation.kernel.limits import out_of_range, too_long, too_many, too_short
from hilum.foundation.standards.smart.scopes import ScopeError
from hilum.foundation.web.faults import INVALID, SENTENCES, explained, of_validation

SOURCE = Path(__file__).parents[2] / "src" / "hilum"
MODULES = (
    "apps/clients",
    "apps/contacts",
    "apps/deletion_requests",
    "records/notices",
    "apps/registry",
    "hospitals/requests",
    "review/submissions",
    "controls/switches",
    "operations/switch_administration",
    "identity/people",
    "identity/signin",
    "authorization/launches",
    "records/audit",
    "authorization/consent",
    "foundation/web",
)
STANDARDS = ("registration.py", "keysets.py", "redirects.py", "smart/launch.py")
NOT_OF_FIELDS = {"_take_fault", "_launch_fault", "decision_fault"}
"""Functions that say why something else cannot be done."""
LIMITS = {"too_long", "too_short", "too_many", "out_of_range"}
"""Functions of ``kernel.limits``, each by the code that it returns."""
NO_CODES = {"authorization_code", "client_credentials", "refresh_token", "device"}
"""Words in the same functions that name grants."""


def constants(node: ast.AST | None) -> Iterator[str]:
    """Return the texts that an expression can be, not those it compares or indexes with."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from constants(body)
            yield from constants(orelse)
        case ast.Call(func=ast.Name(id=name), args=[_, *more]) if name in LIMITS:
            yield from constants(more[0]) if more and name != "out_of_range" else (name,)
        case ast.Call(func=ast.Name(id="Bounded"), args=[code, _]):
            yield from constants(code)
        case ast.BoolOp(values=values):
            for each in values:
                yield from constants(each)
        case ast.Dict(values=values):
            for each in values:
                yield from constants(each)


def said_in(tree: ast.AST) -> Iterator[str]:
    """Return what a module says is wrong with fields."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) if (
                re.search(r"_faults?$|^validate_\w+_uri$", name) and name not in NOT_OF_FIELDS
            ):
                for each in ast.walk(node):
                    if isinstance(each, ast.Return):
                        yield from constants(each.value)
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id="faults"))], value=value):
                yield from constants(value)
            case ast.Assign(targets=[ast.Name(id="fields")], value=ast.Dict() as value):
                yield from constants(value)
            case ast.keyword(arg="fields", value=value):
                yield from constants(value)


def used() -> dict[str, str]:
    """Return each code that the code uses, and where."""
    paths = [path for module in MODULES for path in sorted((SOURCE / module).glob("*.py"))]
    paths += [SOURCE / "foundation" / "standards" / name for name in STANDARDS]
    found = {text: path.name for path in paths for text in said_in(ast.parse(path.read_text())) if text}
    return {code: where for code, where in found.items() if code not in NO_CODES}


def test_every_code_of_a_field_has_its_sentence() -> None:
    found = used()

    assert len(found) > 80
    assert {code: where for code, where in found.items() if code not in SENTENCES} == {}
    assert {each.value for each in ScopeError} <= set(SENTENCES)


def test_every_sentence_is_one_and_no_code_is_prose() -> None:
    for code, sentence in SENTENCES.items():
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", code), code
        assert re.fullmatch(r"[A-Z][^\n]{5,180}\.", sentence), sentence


def test_a_code_that_nobody_listed_says_no_more_than_that() -> None:
    """What was sent, or an inner word, never reaches an answer this way."""
    assert explained({"name": "hil_pat_secret", "age": "too_long"}) == {
        "name": {"code": INVALID, "detail": SENTENCES[INVALID]},
        "age": {"code": "too_long", "detail": SENTENCES["too_long"]},
    }


@pytest.mark.parametrize(
    ("code", "plain", "detail"),
    [
        (too_long(2_000), "too_long", "This text is too long: at most 2,000 characters."),
        (too_short(20), "too_short", "This text is too short: at least 20 characters."),
        (too_many(5), "too_many", "This list has too many entries: at most 5."),
        (
            too_short(12, "password_too_short"),
            "password_too_short",
            "Choose a longer password: at least 12 characters.",
        ),
        (
            out_of_range(1, 30, "days"),
            "out_of_range",
            "This number or period is too small or too large: from 1 to 30 days.",
        ),
    ],
)
def test_the_sentence_of_a_bound_says_it_and_its_code_stays(code: str, plain: str, detail: str) -> None:
    assert explained({"field": code}) == {"field": {"code": plain, "detail": detail}}
    assert explained({"field": deepcopy(code)})["field"]["detail"] == detail


def test_no_room_returns_a_bare_code_of_a_bound() -> None:
    """Whoever is refused for a bound reads the bound."""
    bare = {
        f"{path.relative_to(SOURCE)}: {code}"
        for path in sorted(SOURCE.rglob("*.py"))
        if path.parts[-2] != "web"
        for code in LIMITS
        if re.search(rf'(return|fields=\{{[^}}]*:|faults\[[^\]]*\] =) "{code}"', path.read_text())
    }

    assert bare <= {
        "policy/matrix/service.py: out_of_range",
    }, "a version that is not stored, and a field that is no number, have no bound to say"


def test_what_a_framework_finds_is_said_by_codes_of_the_list() -> None:
    kinds = (
        "missing",
        "extra_forbidden",
        "int_parsing",
        "string_type",
        "less_than_equal",
        "enum",
        "a_new_one",
    )
    found = [of_validation({"type": kind, "msg": "Input should be something"}) for kind in kinds]

    assert [each["code"] for each in found] == [
        "missing",
        "field_unknown",
        "wrong_type",
        "wrong_type",
        "out_of_range",
        "not_an_option",
        "malformed",
    ]
    assert {each["code"] for each in found} <= set(SENTENCES)
    assert all(each["detail"].endswith(".") for each in found)


def test_the_refusal_of_a_malformed_text_shows_the_pattern() -> None:
    found = of_validation(
        {"type": "string_pattern_mismatch", "msg": "String should match", "ctx": {"pattern": "^ven_[a-z]+$"}}
    )

    assert found == {"code": "malformed", "detail": "This value has the wrong format: ^ven_[a-z]+$."}
