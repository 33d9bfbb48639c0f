"""Certification runs as the consoles show them: their states in words, what each scenario asks for, and what was concluded."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hilum.evidence import policy
from hilum.evidence.models import Outcome, Run, State
from hilum.identity import service as identity
from hilum.infra.context import Context

_STATES = {
    State.OPEN: ("under way", "accent"),
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


def briefly(ctx: Context, found: Sequence[Run]) -> list[dict[str, Any]]:
    """Return runs as a list has them, each with its hospital's name and the scenarios that were not met or not shown."""
    hospitals = identity.tenant_names(ctx, [each.tenant for each in found])
    return [
        {
            "run": each,
            "state": state(each, ctx.now),
            "hospital": hospitals.get(each.tenant, each.tenant),
            "lacking": [one for one in scenarios(each) if one["outcome"] and one["outcome"][1] != "good"],
        }
        for each in found
    ]
