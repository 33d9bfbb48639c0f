"""Stored documents of earlier and later releases: what was valid when it was signed stays readable, or is refused by name (C179)."""

import json
from pathlib import Path
from typing import Any

import pytest

from hilum.policy.matrix.chain import document_digest
from hilum.policy.matrix.document import canonical, read_book, read_stored, render
from hilum.policy.matrix.models import ACCESS_TOKEN_BOUND, DOCUMENT_BOUND, FORMAT, LIST_BOUND, Book, Tier
from hilum.policy.matrix.soundness import soundness_faults
from tests.unit.policy.matrix.books import GONE, document

DOCUMENTS = sorted((Path(__file__).parent / "documents").glob("*.json"))
"""As releases stored them. Never changed; one is added for each format."""
LOW = "categories.scheduling.entries.low"
DIGEST = "d" * 64


def stored(changes: dict[str, Any]) -> tuple[Book | None, list[tuple[str, str]]]:
    """Read the newest document with the values at some dotted paths replaced."""
    made = json.loads(DOCUMENTS[-1].read_bytes())
    for path, value in changes.items():
        *way, last = path.split(".")
        at: Any = made
        for part in way:
            at = at[int(part)] if part.isdigit() else at[part]
        if value is GONE:
            del at[last]
        else:
            at[last] = value
    book, faults = read_stored(made, DIGEST)
    return book, [(fault.path, fault.code) for fault in faults]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_document_that_a_release_stored_is_still_read_whole(path: Path) -> None:
    text = path.read_text("utf-8")

    book, warnings = read_stored(json.loads(text), document_digest(text))

    assert (book is not None, warnings) == (True, ())
    assert book is not None
    assert book.digest == document_digest(text)
    assert set(book.categories) == set(json.loads(text)["categories"])
    written = json.loads(text)["categories"]
    for name, category in book.categories.items():
        for tier, entry in category.entries.items():
            assert list(entry.scopes) == written[name]["entries"][tier]["scopes"]


def test_a_book_that_is_no_longer_sound_is_read() -> None:
    """A release that judges more strictly must not take away what is in force."""
    book, warnings = stored({"tier_rules": []})

    assert book is not None
    assert warnings == []
    assert "floor_lowered" in {fault.code for fault in soundness_faults(book)}


def test_a_limit_above_todays_bound_counts_as_the_bound() -> None:
    book, warnings = stored({f"{LOW}.lifetimes.access_token": "2 h"})

    assert book is not None
    assert book.categories["scheduling"].entries[Tier.LOW].lifetimes.access_token == ACCESS_TOKEN_BOUND
    assert warnings == [(f"{LOW}.lifetimes.access_token", "out_of_range")]


def test_lists_and_texts_above_todays_bounds_are_read_whole() -> None:
    scopes = [f"user/Observation.rs?category={n}" for n in range(LIST_BOUND + 1)]
    evidence = {f"evidence-{n}": "x" * 5000 for n in range(200)}
    made = json.loads(DOCUMENTS[-1].read_bytes())

    book, warnings = stored({f"{LOW}.scopes": scopes, "evidence": made["evidence"] | evidence})

    assert (book is not None, warnings) == (True, [])
    assert book is not None
    assert len(book.categories["scheduling"].entries[Tier.LOW].scopes) == len(scopes)
    assert len(book.evidence) > len(evidence)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"tier_rules.0.tier": "critical"}, ("tier_rules[0].tier", "word_unknown")),
        ({"categories.scheduling.floor": "none"}, ("categories.scheduling.floor", "word_unknown")),
        ({f"{LOW}.disciplines": ["ethical"]}, (f"{LOW}.disciplines", "word_unknown")),
        ({f"{LOW}.alerts": GONE}, (f"{LOW}.alerts", "missing")),
        ({"regulated_lane": GONE}, ("regulated_lane", "missing")),
        ({f"{LOW}.purposes": []}, (f"{LOW}.purposes", "unknown")),
        ({"format": FORMAT + 1}, ("format", "format_newer")),
        ({"format": FORMAT + 2, "compatible_from": FORMAT + 1}, ("format", "format_newer")),
        ({"format": FORMAT + 1, "compatible_from": "1"}, ("format", "format_newer")),
        ({"format": "1"}, ("format", "format_newer")),
        ({"format": None}, ("format", "format_newer")),
    ],
)
def test_what_this_release_cannot_read_is_refused_with_its_place(
    changes: dict[str, Any], fault: tuple[str, str]
) -> None:
    """Unknown means no: a word that is left out could be the one that limits."""
    book, faults = stored(changes)

    assert book is None
    assert fault in faults


def test_the_fault_that_makes_a_book_unreadable_is_found_behind_many_warnings() -> None:
    """FAULTS_BOUND is for people who write; here it would hide why."""
    scopes = [f"user/Nothing{n}.rs" for n in range(150)]

    book, faults = stored({f"{LOW}.scopes": scopes, "categories.unclassified.floor": "none"})

    assert book is None
    assert faults == [("categories.unclassified.floor", "word_unknown")]


def test_a_newer_format_that_says_it_is_compatible_is_read_and_its_new_fields_are_ignored() -> None:
    """A rolling upgrade: the older nodes go on."""
    book, warnings = stored(
        {"format": FORMAT + 1, "compatible_from": FORMAT, f"{LOW}.colour": "red", "seasons": {}}
    )

    assert book is not None
    assert {code for _, code in warnings} == {"unknown"}


@pytest.mark.parametrize("document_", [None, [], "", 7, {}, {"format": 1}, {"compatible_from": 1}])
def test_what_is_no_document_is_refused(document_: Any) -> None:
    assert read_stored(document_, DIGEST)[0] is None


def test_a_document_that_would_not_be_readable_once_written_out_is_refused_when_it_is_added() -> None:
    """139 scopes in each of two tiers are 278 in the upper one, since an entry is written out with those below it."""
    scopes = {
        tier: [
            f"{prefix}/Appointment.rs?status={tier}{n}" for n in range(70) for prefix in ("user", "patient")
        ]
        for tier in ("low", "moderate")
    }
    changes = {f"categories.scheduling.entries.{tier}.scopes": listed for tier, listed in scopes.items()}

    book, faults = read_book(document(changes))

    assert book is None
    assert [(fault.path, fault.code) for fault in faults] == [
        ("categories.scheduling.entries.moderate.scopes", "too_many")
    ]


def test_a_document_above_the_bound_on_its_size_is_refused() -> None:
    long = "x" * 200
    scopes = [f"user/Observation.rs?code={n}{long}" for n in range(190)]
    categories = {
        f"categories.c{n}": {
            "title": "C",
            "floor": "low",
            "open": True,
            "entries": {"low": {"scopes": scopes}},
        }
        for n in range(14)
    }

    book, faults = read_book(document(categories))

    assert book is None
    assert [fault.code for fault in faults] == ["too_large"], faults[:3]
    assert str(DOCUMENT_BOUND) in faults[0].sentence


def test_what_is_valid_is_valid_again_as_it_is_stored() -> None:
    book, _ = read_book(document({f"{LOW}.quota": {"burst": 99}}))
    assert book is not None

    again, faults = read_book(json.loads(canonical(render(book))))

    assert faults == ()
    assert again is not None
    assert again.digest == book.digest == document_digest(canonical(render(book)).decode())
