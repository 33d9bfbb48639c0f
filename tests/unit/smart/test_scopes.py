"""The grammar and algebra of scopes."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.foundation.standards.smart import scopes
from hilum.foundation.standards.smart.scopes import (
    ClinicalScope,
    Prefix,
    Scope,
    ScopeError,
    SpecialScope,
    compile_scopes,
    covers,
    intersect,
    letters_of,
    mask_of,
    narrow,
    parse_scope,
    parse_scopes,
    render,
)

LAB = "category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"

masks = st.integers(1, scopes.ALL_LETTERS)
types = st.sampled_from(["*", "Patient", "Observation", "Condition"])
constraint = st.tuples(st.sampled_from(["category", "status"]), st.sampled_from(["a|x", "b y", "c&d", "ä%"]))


@st.composite
def clinical(draw: st.DrawFn) -> ClinicalScope:
    resource_type = draw(types)
    constraints = () if resource_type == "*" else tuple(draw(st.lists(constraint, max_size=2, unique=True)))
    return ClinicalScope(draw(st.sampled_from(Prefix)), resource_type, draw(masks), constraints)


any_scope = st.one_of(clinical(), st.sampled_from(sorted(scopes.SPECIAL)).map(SpecialScope))
scope_lists = st.lists(any_scope, max_size=6)


@given(any_scope)
def test_a_scope_reads_back_as_it_was_written(scope: Scope) -> None:
    """C59."""
    assert parse_scope(render(scope)) == scope


@given(st.text(max_size=60))
def test_no_text_breaks_the_parser(text: str) -> None:
    """C59: a text is a scope that is written the same way, or an error by name."""
    parsed = parse_scope(text)

    assert isinstance(parsed, ScopeError) or parse_scope(render(parsed)) == parsed
    parse_scopes(text)


@given(st.sampled_from(["patient/", "user/"]), st.text(max_size=20))
def test_no_ending_breaks_the_parser(start: str, text: str) -> None:
    for whole in (start + text, start + "Observation.rs?" + text):
        parsed = parse_scope(whole)
        assert isinstance(parsed, ScopeError) or parse_scope(render(parsed)) == parsed


@given(masks)
def test_letters_read_back_as_they_were_written(mask: int) -> None:
    assert mask_of(letters_of(mask)) == mask


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("patient/Observation.sr", ScopeError.LETTERS),
        ("patient/Observation.rr", ScopeError.LETTERS),
        ("patient/Observation.rsx", ScopeError.LETTERS),
        ("patient/Observation.Read", ScopeError.LETTERS),
        ("patient/Observation.r*", ScopeError.LETTERS),
        ("patient/Observation.", ScopeError.MALFORMED),
        ("patient/Observation", ScopeError.MALFORMED),
        ("patient/observation.r", ScopeError.MALFORMED),
        ("patient/**.r", ScopeError.MALFORMED),
        ("patient/.r", ScopeError.MALFORMED),
        ("patient/Observation/x.r", ScopeError.MALFORMED),
        ("system/", ScopeError.MALFORMED),
        ("profile", ScopeError.UNKNOWN),
        ("launch/practitioner", ScopeError.UNKNOWN),
        ("Patient/Observation.r", ScopeError.UNKNOWN),
        ('patient/"Observation".r', ScopeError.CHARACTERS),
        ("patient/Observation.r?a=\u00e4", ScopeError.CHARACTERS),
        ("", ScopeError.CHARACTERS),
        ("patient/Observation.rs?", ScopeError.CONSTRAINT),
        ("patient/Observation.rs?category", ScopeError.CONSTRAINT),
        ("patient/Observation.rs?category=", ScopeError.CONSTRAINT),
        ("patient/Observation.rs?=x", ScopeError.CONSTRAINT),
        ("patient/Observation.rs?category:in=x", ScopeError.CONSTRAINT),
        ("patient/Observation.rs?subject.name=x", ScopeError.CONSTRAINT),
        ("patient/Observation.rs?a=%zz", ScopeError.CONSTRAINT),
        ("patient/Observation.rs?a=%ff", ScopeError.CONSTRAINT),
        ("patient/Observation.rs?a=%00", ScopeError.CONSTRAINT),
        ("patient/Observation.rs?" + "&".join(["a=b"] * 9), ScopeError.CONSTRAINT),
        ("patient/Observation.read?category=x", ScopeError.CONSTRAINT),
        ("patient/*.rs?category=x", ScopeError.CONSTRAINT),
        ("patient/Observation.rs?a=" + "b" * 500, ScopeError.TOO_LONG),
    ],
)
def test_what_the_grammar_does_not_know_is_refused_by_name(text: str, error: ScopeError) -> None:
    """C59; SMART 2.2 scopes-and-launch-context."""
    assert parse_scope(text) is error


def test_a_scope_that_is_too_long_is_not_kept() -> None:
    """Anybody can send one to /authorize before they sign in, so what is kept of scopes has a bound in bytes."""
    before = scopes._parse.cache_info().misses

    assert scopes.parse_scope("patient/Observation.rs?a=" + "b" * 500) is ScopeError.TOO_LONG

    assert scopes._parse.cache_info().misses == before
    assert scopes._parse.cache_info().maxsize == scopes.PARSED_BOUND


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("patient/Observation.read", "patient/Observation.rs"),
        ("user/Observation.write", "user/Observation.cud"),
        ("patient/*.*", "patient/*.cruds"),
        ("system/*.read", "system/*.rs"),
        ("patient/*.read", "patient/*.rs"),
    ],
)
def test_a_v1_scope_becomes_its_v2_letters(old: str, new: str) -> None:
    """C59."""
    parsed = parse_scope(old)

    assert not isinstance(parsed, ScopeError)
    assert render(parsed) == new


@pytest.mark.parametrize(
    "text",
    [
        f"patient/Observation.rs?{LAB}",
        "patient/Observation.rs?category=http%3A%2F%2Fx%7Claboratory",
        "user/Condition.r?category=a|b&clinical-status=active",
        "launch/patient",
        "hilum/launch",
    ],
)
def test_a_v2_scope_is_answered_verbatim(text: str) -> None:
    """Conformance [9.23]: the granular scope comes back as it was asked."""
    parsed = parse_scope(text)

    assert not isinstance(parsed, ScopeError)
    assert render(parsed) == text


def test_constraints_are_decoded_once_for_the_gateway() -> None:
    parsed = parse_scope("patient/Observation.rs?category=http%3A%2F%2Fx%7Clab&status=final")

    assert isinstance(parsed, ClinicalScope)
    assert parsed.constraints == (("category", "http://x|lab"), ("status", "final"))


def test_a_foreign_word_stays_out_but_a_broken_clinical_scope_refuses_the_list() -> None:
    """RFC 6749 section 3.3."""
    assert parse_scopes("openid profile patient/Patient.r") == (
        (SpecialScope("openid"), ClinicalScope(Prefix.PATIENT, "Patient", scopes.READ)),
        ("profile",),
    )
    assert parse_scopes("openid patient/Patient.sr") is ScopeError.LETTERS
    assert parse_scopes(" ".join(f"a{n}" for n in range(201))) is ScopeError.TOO_MANY


@pytest.mark.parametrize("between", [" ", "  ", "\t", "\n", "\r\n", " \n "])
def test_a_list_may_be_pasted_over_several_lines(between: str) -> None:
    """RFC 6749 section 3.3 has spaces only; a form's text field brings the others along."""
    text = f"{between}openid{between}patient/Patient.r{between}"

    assert parse_scopes(text) == parse_scopes("openid patient/Patient.r")


@pytest.mark.parametrize("between", ["\x0b", "\x0c", "\x1c", "\x85", "\xa0", "\u2028", "\u3000", "\x00"])
def test_no_other_character_parts_scopes(between: str) -> None:
    """RFC 6749 section 3.3, appendix A.4."""
    assert parse_scopes(f"openid{between}patient/Patient.r") is ScopeError.CHARACTERS


def test_repeats_count_once_also_across_versions() -> None:
    assert parse_scopes("patient/Patient.rs patient/Patient.read patient/Patient.rs") == (
        (ClinicalScope(Prefix.PATIENT, "Patient", scopes.READ | scopes.SEARCH),),
        (),
    )


@pytest.mark.parametrize(
    ("wider", "narrower", "answer"),
    [
        ("patient/*.rs", "patient/Observation.r", True),
        ("patient/*.rs", f"patient/Observation.rs?{LAB}", True),
        ("patient/Observation.rs", f"patient/Observation.rs?{LAB}", True),
        (f"patient/Observation.rs?{LAB}", "patient/Observation.rs", False),
        (f"patient/Observation.rs?{LAB}", f"patient/Observation.r?{LAB}&status=final", True),
        ("patient/Observation.rs", "patient/*.rs", False),
        ("patient/Observation.r", "patient/Observation.rs", False),
        ("user/Observation.rs", "patient/Observation.rs", False),
        ("system/*.cruds", "patient/Patient.r", False),
        ("openid", "openid", True),
        ("openid", "fhirUser", False),
        ("patient/*.cruds", "openid", False),
        ("launch", "launch/patient", False),
    ],
)
def test_covering_goes_by_prefix_type_letters_and_constraints(
    wider: str, narrower: str, answer: bool
) -> None:
    first, second = scopes.parse_stored([wider, narrower])

    assert covers(first, second) is answer


@given(any_scope, any_scope, any_scope)
def test_covering_is_reflexive_and_transitive(a: Scope, b: Scope, c: Scope) -> None:
    assert covers(a, a)
    if covers(a, b) and covers(b, c):
        assert covers(a, c)


def _atoms(given_scopes: tuple[Scope, ...] | list[Scope]) -> list[Scope]:
    out: list[Scope] = []
    for scope in given_scopes:
        if isinstance(scope, SpecialScope):
            out.append(scope)
            continue
        out.extend(
            ClinicalScope(scope.prefix, scope.type, 1 << n, scope.constraints)
            for n in range(5)
            if scope.letters >> n & 1
        )
    return out


@given(scope_lists, scope_lists)
def test_an_intersection_never_yields_more_than_either_side(asked: list[Scope], allowed: list[Scope]) -> None:
    """C68: no path yields more."""
    for atom in _atoms(intersect(asked, allowed)):
        assert any(covers(scope, atom) for scope in asked)
        assert any(covers(scope, atom) for scope in allowed)


@given(scope_lists, scope_lists)
def test_an_intersection_loses_nothing_that_both_sides_permit(
    asked: list[Scope], allowed: list[Scope]
) -> None:
    both = _atoms(intersect(asked, allowed))
    for atom in _atoms(asked):
        if any(covers(scope, atom) for scope in allowed):
            assert any(covers(scope, atom) for scope in both)


@given(scope_lists)
def test_what_is_allowed_whole_comes_back_whole_and_in_order(asked: list[Scope]) -> None:
    assert intersect(asked, asked) == tuple(dict.fromkeys(asked))


@given(scope_lists, scope_lists, scope_lists)
def test_narrowing_twice_changes_nothing_more(a: list[Scope], b: list[Scope], c: list[Scope]) -> None:
    once = intersect(a, b)

    assert set(_atoms(intersect(once, b))) == set(_atoms(once))
    for atom in _atoms(intersect(once, c)):
        assert any(covers(scope, atom) for scope in once)


@pytest.mark.parametrize(
    ("asked", "allowed", "answer"),
    [
        (
            ["patient/*.rs"],
            ["patient/Observation.r", "patient/Patient.rs"],
            ("patient/Observation.r", "patient/Patient.rs"),
        ),
        (
            ["patient/Observation.rs"],
            ["patient/Observation.r", "patient/Observation.s"],
            ("patient/Observation.rs",),
        ),
        (["patient/Observation.read"], ["patient/*.cruds"], ("patient/Observation.rs",)),
        ([f"patient/Observation.rs?{LAB}"], ["patient/*.rs"], (f"patient/Observation.rs?{LAB}",)),
        (["patient/Observation.rs"], [f"patient/Observation.rs?{LAB}"], (f"patient/Observation.rs?{LAB}",)),
        (["patient/Observation.cud"], ["patient/*.rs"], ()),
        (["user/Observation.rs", "openid"], ["patient/*.rs"], ()),
        (["nonsense/..", "openid"], ["openid", "nonsense/.."], ("openid",)),
    ],
)
def test_narrowing_keeps_the_asked_words_where_it_can(
    asked: list[str], allowed: list[str], answer: tuple[str, ...]
) -> None:
    assert narrow(asked, allowed) == answer


@pytest.mark.parametrize(
    ("asked", "allowed", "answer"),
    [
        (["patient/Observation.r"], ["patient/*.rs", "openid"], True),
        (["patient/Observation.read"], ["patient/Observation.rs"], True),
        (["patient/*.rs"], ["patient/Observation.rs"], False),
        (["patient/Observation.cruds"], ["patient/Observation.rs"], False),
        (["patient/Observation.rs"], [f"patient/Observation.rs?{LAB}"], False),
        (["offline_access"], ["online_access"], False),
        (["system/Observation.r"], ["patient/Observation.r"], False),
        (["what?"], ["what?"], False),
    ],
)
def test_a_refresh_is_within_its_grant_or_it_is_not(
    asked: list[str], allowed: list[str], answer: bool
) -> None:
    """C49."""
    assert scopes.all_covered(asked, allowed) is answer


_TYPES = ("Observation", "Patient", "*", "Group", "Practitioner", "Binary")
_QUERIES = ("", "", "?a=1", "?b=2", "?a=1&b=2", "?b=2&a=1", "?a=1&a=2", "?a=%31")


def _some_scope(draw: random.Random) -> str:
    if draw.random() < 0.1:
        return draw.choice(("openid", "launch", "what?", "patient/Observation.x"))
    letters = "".join(each for each in "cruds" if draw.random() < 0.5) or draw.choice(("read", "write", "r"))
    prefix = draw.choice(("patient", "user"))
    return f"{prefix}/{draw.choice(_TYPES)}.{letters}{draw.choice(_QUERIES)}"


def test_a_scope_is_covered_if_the_intersection_gives_it_back() -> None:
    """C49: the check in one pass over the allowed scopes answers as the intersection does."""
    draw, covered = random.Random(49), 0
    for _ in range(5_000):
        asked, allowed = _some_scope(draw), [_some_scope(draw) for _ in range(draw.randint(0, 12))]
        parsed = scopes.parse_scope(asked)
        given = not isinstance(parsed, ScopeError) and (
            intersect((parsed,), scopes.parse_stored(allowed)) == (parsed,)
        )
        assert scopes.all_covered([asked], allowed) is given, (asked, allowed)
        covered += given
    assert covered > 200, "both answers are tried"


def test_many_constraints_of_one_type_are_compared_in_one_pass() -> None:
    """Vendors and hospitals choose these lists: 200 by 200 takes no seconds."""
    many = [f"patient/Observation.rs?code=c{n}" for n in range(200)]

    assert scopes.first_beyond([*many, "patient/Observation.rs"], many) == "patient/Observation.rs"


def test_the_compiled_form_answers_by_type_with_wildcards_joined_in() -> None:
    compiled = compile_scopes(
        ("openid", "patient/*.r", f"patient/Observation.s?{LAB}", "user/Patient.u", "broken/..x")
    )

    assert compiled.special == {"openid"}
    assert letters_of(compiled.mask("Observation")) == "rs"
    assert letters_of(compiled.mask("Patient")) == "ru"
    assert letters_of(compiled.mask("Encounter")) == "r"
    assert [grant.text for grant in compiled.grants("Observation")] == [
        "patient/*.r",
        f"patient/Observation.s?{LAB}",
    ]
    assert compile_scopes(()).mask("Patient") == 0


@given(scope_lists, types.filter(lambda name: name != "*"))
def test_the_compiled_form_permits_exactly_the_letters_of_the_scopes(asked: list[Scope], name: str) -> None:
    expected = 0
    for scope in asked:
        if isinstance(scope, ClinicalScope) and scope.type in {"*", name}:
            expected |= scope.letters

    assert compile_scopes(tuple(render(scope) for scope in asked)).mask(name) == expected


def test_a_rights_table_reads_as_scopes_and_unknown_letters_give_nothing() -> None:
    found = scopes.of_rights({"Patient": "rs", "Observation": "x", "Task": ""}, Prefix.USER)

    assert [render(scope) for scope in found] == ["user/Patient.rs"]
