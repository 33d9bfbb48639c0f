"""The scorecards of the disciplines, which are data (``data/scorecard.toml``), and which parts of a submission each discipline judges. Pure but for reading the file."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from hilum.policy.matrix.models import Discipline, Tier


@dataclass(frozen=True, slots=True)
class Point:
    """One question of a scorecard: where to look, and what to do if it is not met."""

    name: str
    question: str
    look_at: str
    fix: str


@dataclass(frozen=True, slots=True)
class Flag:
    """What keeps a discipline from passing whatever its score."""

    name: str
    says: str


@dataclass(frozen=True, slots=True)
class Scorecard:
    """What a discipline looks at. ``inputs``: the parts of a submission that it judges."""

    discipline: Discipline
    title: str
    inputs: tuple[str, ...]
    points: tuple[Point, ...]
    flags: tuple[Flag, ...]


@dataclass(frozen=True, slots=True)
class Scorecards:
    """``digest`` of everything that was read; ``pass_at``: percent of the points; ``reasons``: codes that belong to no discipline."""

    version: int
    digest: str
    pass_at: int
    of: Mapping[Discipline, Scorecard]
    reasons: Mapping[str, str]

    def reasons_of(self, discipline: Discipline) -> Mapping[str, str]:
        """Return every reason code of a discipline with its sentence: its points, its red flags, and the general ones."""
        card = self.of[discipline]
        points = {f"{discipline}.{each.name}": each.question for each in card.points}
        return points | {f"{discipline}.{each.name}": each.says for each in card.flags} | dict(self.reasons)

    @property
    def every_reason(self) -> Mapping[str, str]:
        """Every reason code with its sentence."""
        return {code: said for discipline in self.of for code, said in self.reasons_of(discipline).items()}


def read_scorecards(raw: Mapping[str, Any]) -> Scorecards:
    """Read scorecards; a discipline that is missing or has no point is refused, since an empty list would pass."""
    of = {Discipline(name): _card(Discipline(name), each) for name, each in raw["disciplines"].items()}
    if set(of) != set(Discipline) or not all(card.points and card.inputs for card in of.values()):
        raise ValueError("each discipline needs a scorecard with inputs and points")
    text = orjson.dumps(raw, option=orjson.OPT_SORT_KEYS)
    return Scorecards(
        raw["version"], hashlib.sha256(text).hexdigest(), raw["pass_at"], of, dict(raw["reasons"])
    )


def _card(discipline: Discipline, raw: Mapping[str, Any]) -> Scorecard:
    return Scorecard(
        discipline,
        raw["title"],
        tuple(raw["inputs"]),
        tuple(Point(**each) for each in raw["points"]),
        tuple(Flag(**each) for each in raw["flags"]),
    )


@cache
def shipped_scorecards() -> Scorecards:
    """Return the scorecards of this release."""
    text = (files("hilum.review.submissions") / "data" / "scorecard.toml").read_text("utf-8")
    return read_scorecards(tomllib.loads(text))


SANDBOX_RUN = "documents.sandbox_run"


def inputs_digest(content: Mapping[str, Any], card: Scorecard, tier: Tier | None, run: str = "") -> str:
    """Return the digest of the parts of a submission's description that a discipline judges, and of the tier for which it judges them (C108).

    ``run``: the digest of the certification run that its checks saw; empty if there was none. The platform makes runs, so the description does not contain them.
    """
    parts = {name: _part(content, name) for name in card.inputs}
    if run and SANDBOX_RUN in parts:
        parts[SANDBOX_RUN] = [*parts[SANDBOX_RUN], run]
    found = {"discipline": card.discipline.value, "tier": tier and tier.value, "parts": parts}
    return hashlib.sha256(orjson.dumps(found, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _part(content: Mapping[str, Any], name: str) -> Any:
    if name.startswith("documents."):
        kind = name.removeprefix("documents.")
        return [each for each in content["documents"] if each["kind"] == kind]
    if name in {"workflows", "placements", "ai_use"}:
        return content["version"][name]
    if name == "scopes":
        # A defence only where there is one: what was judged before there were any keeps its digest.
        return sorted(
            [each["scope"], each["justification"], *([each["defence"]] if each.get("defence") else [])]
            for each in content["scopes"]
        )
    return content[name]
