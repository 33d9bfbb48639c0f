"""Exceptions in words: a tier that people set, an AI that writes alone, a requirement that is waived; and ending one."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PageQuery
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ExceptionKind, PolicyException
from hilum.surfaces.console import service
from hilum.surfaces.console.models import ROWS, Asked, Cell, Filter, Option

TEXT_SHOWN = 200
NONE_STATED = "nothing, since it only removes access"
KINDS = Filter(
    "kind",
    "Kind",
    (
        Option("raised_tier", "Raised tiers"),
        Option("lowered_tier", "Lowered tiers"),
        Option("autonomous_writes", "AI that writes alone"),
        Option("waived_requirement", "Waived requirements"),
    ),
)
_STATES: Mapping[str, str] = MappingProxyType(
    {"": "open", "ended": "ended", "expired": "over", "elsewhere": "applies nowhere"}
)
"""The state of an exception in a word; any other does not apply under the policy in force."""


def page(ctx: Context, asked: Asked) -> tuple[list[tuple[PolicyException, str]], str]:
    """Return a page of exceptions, newest first, each with why it does not apply, and where the next one begins."""
    kind = ExceptionKind(asked["kind"]) if asked["kind"] else None
    found = policies.shown_exceptions(ctx, PageQuery(asked.after, ROWS + 1), kind)
    shown = found[:ROWS]
    return shown, shown[-1][0].id if len(found) > ROWS else ""


def what(ctx: Context, exception: PolicyException) -> str:
    """Return what an exception changes."""
    if exception.version is None:
        return f"{exception.title or exception.requirement} is not asked for at the {exception.tier} tier"
    label = f"version {service.version_label(ctx, exception.version)}"
    if exception.tier:
        return f"{label} is treated as {exception.tier}, not as {exception.computed}"
    return f"the AI of {label} writes alone"


def titled(ctx: Context, exception: PolicyException) -> str:
    """Return what an exception changes, as the title of its page."""
    text = what(ctx, exception)
    return f"{text[:1].upper()}{text[1:]}"


def instead(exception: PolicyException) -> str:
    """Return what is done instead."""
    return exception.control or NONE_STATED


def state(why: str) -> tuple[str, str]:
    """Return the state of an exception in a word, with its tone; ``why``: why it does not apply."""
    return _STATES.get(why, "does not count"), "plain" if why else "warn"


def badge(why: str) -> Cell:
    """Return the state of an exception as a cell."""
    text, tone = state(why)
    return Cell(text, kind="badge", tone=tone)


def ends(exception: PolicyException) -> Cell:
    """Return the end of an exception as a cell."""
    return Cell("" if exception.ends_at else "when a reviewer ends it", at=exception.ends_at)


def shown(ctx: Context, id_: str) -> tuple[PolicyException, dict[str, Any]]:
    """Return one exception, and what each console's page shows of it."""
    found = policies.get_exception(ctx, id_)
    text, tone = state(policies.why_not(ctx, found))
    return found, {
        "found": found,
        "what": titled(ctx, found),
        "state": text,
        "tone": tone,
        "control": instead(found),
    }


def is_over(ctx: Context, found: PolicyException) -> bool:
    """Check whether an exception was ended, or has run out."""
    return found.ended_at is not None or (found.ends_at is not None and ctx.now >= found.ends_at)


def short(text: str) -> str:
    """Return a text, cut off where it is too long for a row."""
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"
