"""What two people allow an app for a time, in words: a rule set aside, a lower tier, an AI that writes alone; and ending it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import NOT_STATED, Override, PolicyException
from hilum.surfaces.console import service
from hilum.surfaces.console.models import ROWS, Asked, Cell

Allowance = Override | PolicyException
TEXT_SHOWN = 200
_STATES: Mapping[str, str] = MappingProxyType(
    {
        "": "open",
        "ended": "ended",
        "expired": "over",
        "elsewhere": "applies nowhere",
    }
)
"""The state of an exception in a word; any other does not apply under the rule book in force."""


def page(ctx: Context, asked: Asked, *, rules: bool) -> tuple[list[tuple[Allowance, str]], str]:
    """Return a page of exceptions, newest first, each with why it does not apply, and where the next one begins. ``rules``: the rules set aside."""
    wanted = PageQuery(asked.after, ROWS + 1)
    found: list[tuple[Allowance, str]]
    found = [*(policies.shown_overrides if rules else policies.shown_exceptions)(ctx, wanted)]
    shown = found[:ROWS]
    return shown, shown[-1][0].id if len(found) > ROWS else ""


def what(ctx: Context, each: Allowance) -> tuple[str, str]:
    """Return what is allowed, and what is done instead."""
    if isinstance(each, Override):
        return f"without the rule {each.rule}", short(each.control)
    label, instead = f"version {service.version_label(ctx, each.version)}", short(each.control) or NOT_STATED
    if each.tier:
        return f"{label} is treated as {each.tier}, not as {each.computed}", instead
    return f"the AI of {label} writes alone", instead


def titled(ctx: Context, each: Allowance) -> str:
    """Return what is allowed, as the title of its page."""
    allowed, _ = what(ctx, each)
    return f"{allowed[:1].upper()}{allowed[1:]}"


def state(why: str) -> tuple[str, str]:
    """Return the state of an exception in a word, with its tone; ``why``: why it does not count."""
    return _STATES.get(why, "does not count"), "plain" if why else "warn"


def badge(why: str) -> Cell:
    """Return the state of an exception as a cell."""
    text, tone = state(why)
    return Cell(text, kind="badge", tone=tone)


def shown(ctx: Context, id_: str) -> tuple[Allowance, dict[str, Any]]:
    """Return one exception, and what each console's page shows of it."""
    found, why = policies.shown_allowance(ctx, id_)
    text, tone = state(why)
    return found, {
        "found": found,
        "what": titled(ctx, found),
        "state": text,
        "tone": tone,
        "control": found.control or NOT_STATED,
    }


def is_over(ctx: Context, found: Allowance) -> bool:
    """Check whether an exception was ended, or has run out."""
    return found.ended_at is not None or ctx.now >= found.ends_at


def end(ctx: Context, id_: str, reason: str) -> object:
    """End an exception at once; one person does it."""
    verb = policies.end_override if id_.startswith("ovr_") else policies.end_exception
    return verb(ctx, id_, reason)


def short(text: str) -> str:
    """Return a text, cut off where it is too long for a row."""
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"
