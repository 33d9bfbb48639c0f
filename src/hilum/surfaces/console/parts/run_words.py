"""Certification runs as the consoles show them: their states in words, what each scenario asks for, and what was concluded."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.web.forms import Form
from hilum.foundation.web.urls import with_query
from hilum.identity.people import service as identity
from hilum.review.certification_runs import policy
from hilum.review.certification_runs.models import Outcome, Row, Run, State

RECORDS = 100
"""Records of a judged run on one page."""
_STATES = {
    State.OPEN: ("in progress", "accent"),
    State.PASSED: ("passed", "good"),
    State.FAILED: ("failed", "bad"),
    State.INCOMPLETE: ("incomplete", "warn"),
    State.ABANDONED: ("given up", "plain"),
}
_OUTCOMES = {
    Outcome.MET.value: ("met", "good"),
    Outcome.NOT_MET.value: ("not met", "bad"),
    Outcome.INCOMPLETE.value: ("not shown", "warn"),
}


def state(run: Run, now: datetime) -> tuple[str, str]:
    """Return a run's state in words, with its tone."""
    if run.state is State.OPEN and now >= run.expires_at:
        return "past its end", "warn"
    return _STATES[run.state]


def scenarios(run: Run) -> list[dict[str, Any]]:
    """Return the scenarios of a run: what to do in each, and once it was judged, what was concluded and what to do about it."""
    concluded: Mapping[str, Mapping[str, str]] = {
        each["scenario"]: each for each in run.result.get("scenarios", ())
    }
    return [
        _scenario(name, title, concluded.get(name, {}), under_way=run.scenario == name)
        for name, title in run.scenarios.items()
    ]


def _scenario(name: str, title: str, found: Mapping[str, str], *, under_way: bool) -> dict[str, Any]:
    how, good = policy.advice(name)
    return {
        "name": name,
        "title": title,
        "how": how,
        "good": good,
        "under_way": under_way,
        "outcome": _OUTCOMES.get(found.get("outcome", "")),
        "sentence": found.get("sentence", ""),
        "fix": found.get("fix", ""),
    }


def ground(run: Run) -> tuple[str, str]:
    """Return where a run was made: in a few words, and in sentences."""
    found = policy.ground_of(run)
    if found.own is None:
        return "not known whose", "Whether this hospital is the vendor's own is not known."
    if not found.own:
        return "shared by all vendors", "This sandbox hospital is shared by all vendors."
    said = [
        "This hospital is a snapshot of the vendor's own: the vendor is its EHR, and can change its charts."
    ]
    if found.reset_at is not None:
        said.append(
            f"It was reset on {found.reset_at:%Y-%m-%d} at {found.reset_at:%H:%M} UTC, before the run was opened."
        )
        said.append(f"{_changed(found.changed_before)} between the two.")
    if found.reset_meanwhile:
        said.append("It was reset again while the run was open.")
    if found.changed_at_end is not None:
        said.append(
            f"{_changed(found.changed_at_end)} by the end of the run, counting what the app itself wrote."
        )
    return "the vendor's own snapshot", " ".join(said)


def _changed(number: int | None) -> str:
    if number is None:
        return "It is not known how many of its records were changed"
    return f"{number or 'None'} of its records {'were' if number > 1 else 'was'} changed"


def briefly(ctx: Context, found: Sequence[Run]) -> list[dict[str, Any]]:
    """Return runs as a list has them, each with its hospital's name and the scenarios that were not met or not shown."""
    hospitals = identity.tenant_names(ctx, [each.tenant for each in found])
    return [
        {
            "run": each,
            "state": state(each, ctx.now),
            "hospital": hospitals.get(each.tenant, each.tenant),
            "ground": ground(each),
            "lacking": [one for one in scenarios(each) if one["outcome"] and one["outcome"][1] != "good"],
        }
        for each in found
    ]


def start(query: Form) -> int:
    """Return the record of a run from which an address starts. Raises Invalid."""
    text = query.one("from")
    if text and not (text.isdecimal() and len(text) < 7):
        raise Invalid(
            "filter_malformed", "The address of this page is not valid.", fields={"from": "word_malformed"}
        )
    return int(text or 0)


def records(run: Run, first: int, here: str) -> dict[str, Any]:
    """Return the records by which a run was judged from ``first`` on, with the links to those before and after; ``here`` is its page."""
    kept: tuple[Row, ...] = policy.read_rows(run.rows) if run.rows else ()
    end = first + RECORDS
    return {
        "kept": bool(run.rows),
        "rows": kept[first:end],
        "count": len(kept),
        "first": f"{here}#recorded" if first else "",
        "next": f"{with_query(here, **{'from': str(end)})}#recorded" if len(kept) > end else "",
    }
