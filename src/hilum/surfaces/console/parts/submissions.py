"""What pages of submissions share, for the vendor and for reviewers: states and checks in words, scopes against workflows, differences."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import orjson

from hilum.authorization.consent.policy import describe_all
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.lists import counted
from hilum.foundation.standards.smart.scopes import SPECIAL, all_covered
from hilum.foundation.web.forms import Form
from hilum.policy.matrix.models import NOT_DECLARED, Book, Workflow
from hilum.policy.matrix.policy import excess_scopes
from hilum.review.submissions.models import (
    Act,
    AskedScope,
    Check,
    DisciplineReview,
    DisciplineState,
    Result,
    Run,
    State,
    Step,
    Submission,
)
from hilum.review.submissions.policy import next_state
from hilum.surfaces.console import words
from hilum.surfaces.console.models import TimelineEntry

RULES: Mapping[str, str] = MappingProxyType(
    {
        "requirements.waived": "What is waived for the app",
        "address.answers": "The address answers",
        "address.stays": "The address does not redirect elsewhere",
        "address.tls": "The address has a valid certificate",
        "checks.completed": "The checks ran to completion",
        "contacts.proved": "The contact is proved",
        "content.as_submitted": "It is what was submitted",
        "document.as_declared": "The document matches its declared digest",
        "evidence.attached": "The document is attached",
        "keys.kept": "Keys did not change under their ids",
        "keys.usable": "The keys can be used",
        "records.unchanged": "The record is as it was submitted",
        "scopes.justified": "Scopes are within the workflows, or justified",
        "tier.allowed": "The risk tier is allowed",
    }
)
"""What each rule of the automated checks looks for."""
_RESULTS = {
    Result.PASSED: ("passed", "good"),
    Result.FAILED: ("failed", "bad"),
    Result.UNKNOWN: ("not seen", "warn"),
    Result.NOT_REQUIRED: ("not required", "plain"),
}
_STEPS = {
    State.DRAFT: "began a draft",
    State.SUBMITTED: "submitted it",
    State.CHECKING: "began the automated checks",
    State.IN_REVIEW: "finished the automated checks",
    State.CERTIFIED: "certified it",
    State.REJECTED: "rejected it",
    State.WITHDRAWN: "withdrew it",
}
_CLOSED = {
    State.CERTIFIED: ("approved", "good"),
    State.REJECTED: ("rejected", "bad"),
    State.WITHDRAWN: ("withdrawn", "plain"),
}
DIFFERENT_BOUND = 200
"""Differences that a page shows; it says how many more there are."""
VALUE_BOUND = 2_000
"""Characters of one value that a page of differences shows."""


def state_badge(
    found: Submission, run: Run | None, disciplines: Iterable[DisciplineReview] = (), *, reviews: bool
) -> tuple[str, str]:
    """Return the state of a submission as a word and its colour, for who reviews it or for who fixes it."""
    if found.state in _CLOSED:
        return _CLOSED[found.state]
    if found.state is State.DRAFT:
        return ("draft", "plain")
    fixes = run is not None and any(each.blocks for each in run.judgement.checks)
    fixes = fixes or any(each.state is DisciplineState.NEEDS_CHANGES for each in disciplines)
    if found.state is State.IN_REVIEW and fixes != reviews:
        return ("waiting for you", "accent")
    return ("in review", "info")


def checks(found: Sequence[Check], submission: str) -> dict[str, Any]:
    """Return what checks concluded, what keeps it from being certified first."""
    return {
        "blocking": [_check(each, submission) for each in found if each.blocks],
        "fine": [_check(each, submission) for each in found if not each.blocks],
    }


def _check(check: Check, submission: str) -> dict[str, Any]:
    text, tone = _RESULTS[check.result]
    return {
        "check": check,
        "title": RULES.get(check.rule, check.rule),
        "result": text,
        "tone": tone,
        "reproduction": check.reproduction.replace("SUBMISSION", submission),
        "href": "",
    }


@dataclass(frozen=True, slots=True)
class ScopeRow:
    """A scope that is asked for, in words, with the declared workflows that need it. ``beyond``: none does, though it reaches records."""

    scope: str
    words: tuple[str, ...]
    writes: bool
    justification: str
    workflows: tuple[str, ...]
    beyond: bool
    plain: bool
    """It is of launch, identity or session, and reaches no record."""
    new: bool = False


def scope_rows(
    asked: Iterable[AskedScope],
    declared: Sequence[str],
    book: Book,
    certified: Iterable[str] | None = None,
) -> list[ScopeRow]:
    """Return scopes against the workflows that a version declares. ``certified``: what was certified before it; what is not within is new."""
    known = tuple(asked)
    before = None if certified is None else tuple(certified)
    beyond = set(excess_scopes(book, tuple(declared), tuple(each.scope for each in known)))
    return [
        ScopeRow(
            each.scope,
            *_words(each.scope),
            each.justification,
            tuple(flow.title for flow in workflows_of(book, declared) if _needs(flow, each.scope)),
            each.scope in beyond,
            each.scope in SPECIAL,
            before is not None and not all_covered((each.scope,), before),
        )
        for each in known
    ]


def _words(scope: str) -> tuple[tuple[str, ...], bool]:
    found = describe_all((scope,))
    texts = tuple(f"{each.title} ({each.reach})" if each.reach else each.title for each in found)
    return texts, any(each.writes for each in found)


def workflows_of(book: Book, declared: Sequence[str]) -> list[Workflow]:
    """Return the workflows of the policy that a version declares."""
    return [book.workflows[name] for name in declared if name in book.workflows]


def declared_in_words(book: Book, declared: Sequence[str]) -> str:
    """Return what a version declares, in words."""
    if tuple(declared) == NOT_DECLARED:
        return "not declared, so treated as made for every one"
    return (
        ", ".join(book.workflows[each].title if each in book.workflows else each for each in declared)
        or "none"
    )


def _needs(workflow: Workflow, scope: str) -> bool:
    return scope not in SPECIAL and all_covered((scope,), workflow.scopes)


def history(steps: Iterable[Step], who: Mapping[str, str]) -> list[TimelineEntry]:
    """Return what became of a submission, newest first. ``who``: the names of actors, as steps have them."""
    return [
        TimelineEntry(
            each.at,
            "had it checked again" if _is_rerun(each) else _STEPS[each.after],
            who.get(each.actor, "somebody"),
            each.reason,
            "bad" if each.after is State.REJECTED else "plain",
        )
        for each in reversed(list(steps))
    ]


def _is_rerun(step: Step) -> bool:
    return step.before is State.IN_REVIEW and step.after is State.CHECKING


def possible(state: State, act: Act) -> bool:
    """Check whether an act is possible in a state."""
    return next_state(state, act) is not None


# --- differences ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which two descriptions of what was submitted differ. An empty side has nothing there."""

    place: str
    before: str
    after: str


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Difference]:
    """Return where two descriptions of what was submitted differ, in the order of their places."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    return [
        Difference(_place(path), _text(old.get(path)), _text(new.get(path)))
        for path in sorted(old.keys() | new.keys())
        if old.get(path) != new.get(path) and path[0] != "format"
    ]


def _leaves(value: object, path: tuple[str, ...] = ()) -> Iterable[tuple[tuple[str, ...], object]]:
    """Yield each value with its path. Entries of a list are matched by name, so that a changed order is no difference."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            if name == "id" and path:
                continue
            yield from _leaves(each, (*path, str(name)))
    elif isinstance(value, list) and any(isinstance(each, Mapping) for each in value):
        for number, each in enumerate(value):
            yield from _leaves(each, (*path, _key(each, number)))
    elif isinstance(value, list):
        yield path, sorted(map(str, value))
    else:
        yield path, value


def _key(entry: Any, number: int) -> str:
    if not isinstance(entry, Mapping):
        return str(number + 1)
    return next(
        (str(entry[name]) for name in ("scope", "kind", "id", "name") if entry.get(name)), str(number + 1)
    )


def _place(path: tuple[str, ...]) -> str:
    # A scope is written as it is; the names of fields are words.
    rest = path[1:] if path[0] == "scopes" else (each.replace("_", " ") for each in path[1:])
    return ": ".join([words.field(path[0]), *rest])


def _text(value: object) -> str:
    if value is None or value == []:
        return ""
    if isinstance(value, list):
        text = "\n".join(map(str, value))
    else:
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
    # What is cut off is said to be; the whole is in the API's answer.
    return text if len(text) <= VALUE_BOUND else f"{text[:VALUE_BOUND]} … ({counted(len(text), 'character')})"


def revision_of(form: Form) -> int:
    """Return the revision of a submission that a page was made from. Raises Invalid."""
    text = form.one("revision")
    if not (text.isdecimal() and 0 < len(text) < 10):
        raise Invalid("form_invalid", "Open the page again.", fields={"revision": "malformed"})
    return int(text)
