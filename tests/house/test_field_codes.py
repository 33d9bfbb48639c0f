"""What is wrong with a field is said by a code of one list, each with its sentence; prose and codes never mix."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from hilum.standards.smart.scopes import ScopeError
from hilum.web.faults import INVALID, SENTENCES, explained, of_validation

SOURCE = Path(__file__).parents[2] / "src" / "hilum"
ROOMS = (
    "clients",
    "contacts",
    "disposals",
    "notices",
    "registry",
    "requests",
    "review",
    "controls",
    "switchboard",
    "identity",
    "signin",
    "launches",
    "audit",
    "consent",
    "web",
)
STANDARDS = ("registration.py", "keysets.py", "redirects.py", "smart/launch.py")
NOT_OF_FIELDS = {"_take_fault", "_launch_fault", "decision_fault"}
"""Functions that say why something else cannot be done."""
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
    paths = [path for room in ROOMS for path in sorted((SOURCE / room).glob("*.py"))]
    paths += [SOURCE / "standards" / name for name in STANDARDS]
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
