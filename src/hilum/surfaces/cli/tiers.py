"""Commands of ``hilum app`` and ``hilum policy``: tiers that people set, exceptions, and what a version declares of its AI."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import version_argument
from hilum.surfaces.cli.resources import MOMENT, json_option, show, show_done, show_one, tenant_option

TIERS = click.Choice(["low", "moderate", "high"])
AUTONOMY = click.Choice(["informs", "drafts", "acts_after_human_step", "acts_alone"])
POPULATION = click.Choice(["one", "up_to_1000", "up_to_100000", "all"])
RAISED = ("version", "label", "app", "tier", "reason", "raised_by", "raised_at")
REVIEWS = (
    "id",
    "app",
    "version",
    "certification",
    "certified",
    "computed",
    "source",
    "opened_at",
    "sentence",
)
EXCEPTIONS = (
    "id",
    "kind",
    "app",
    "version",
    "tenant",
    "state",
    "computed",
    "tier",
    "ends_at",
    "reason",
    "control",
    "agreed_by",
)
_CONTROL = click.option(
    "--control", required=True, help="What is done instead until then, such as who checks what."
)
_AI = {
    "ai_model": ("model", "The model that it uses, with its version."),
    "ai_purpose": ("purpose", "What the model is for."),
    "ai_human_step": ("human_step", "What a person does before its output takes effect."),
    "ai_model_card": ("model_card", "The https address of the model's card."),
    "ai_model_card_digest": ("model_card_digest", "The SHA-256 of the card, in hexadecimal."),
}


def ai_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options by which a version declares its use of AI."""
    for name, (_, text) in reversed(_AI.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, default="", help=text)(command)
    text = "How far it acts by itself; with acts_alone it writes only where the hospital made an exception."
    return click.option("--ai-autonomy", "ai_autonomy", type=AUTONOMY, help=text)(command)


def ai_use(options: Mapping[str, str | None]) -> dict[str, Any]:
    """Return the declared use of AI; empty if none is."""
    stated = {field: options[name] for name, (field, _) in _AI.items() if options.get(name)}
    if autonomy := options.get("ai_autonomy"):
        stated["autonomy"] = autonomy
    return stated


def _path(version: str, verb: str) -> str:
    return f"/app-versions/{api.segment(version)}/{verb}"


@click.command("tier")
@version_argument
@json_option
def tier(version_id: str, *, json_: bool) -> None:
    r"""Show the risk tier of a version with its reasons, by everything that it is certified for.

    \b
    Example:
      hilum app tier ver_01h...
    """
    show_one(api.call("GET", _path(version_id, "tier")), json_=json_)


@click.command("raise-tier")
@version_argument
@click.argument("tier", type=TIERS)
@click.option("--reason", required=True, help="Why; it is part of the tier's sentence, and recorded.")
@json_option
def raise_tier(version_id: str, tier: str, *, reason: str, json_: bool) -> None:
    r"""Raise the risk tier of a version at once (reviewers). What the higher cell does not allow is withheld everywhere.

    \b
    Example:
      hilum app raise-tier ver_01h... high --reason "it suggests doses in its pages"
    """
    show_one(api.call("POST", _path(version_id, "raise-tier"), {"tier": tier, "reason": reason}), json_=json_)


@click.command("end-raise")
@version_argument
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def end_raise(version_id: str, *, reason: str, json_: bool) -> None:
    r"""End the raise of a version's tier (a reviewer other than the one who raised it).

    \b
    Example:
      hilum app end-raise ver_01h... --reason "the pages were removed"
    """
    show_one(api.call("POST", _path(version_id, "end-raise"), {"reason": reason}), json_=json_)


@click.command("raised")
@json_option
def raised(*, json_: bool) -> None:
    r"""List the versions whose tier a reviewer raised, newest first.

    \b
    Example:
      hilum app raised --json
    """
    show(api.every("/raised-tiers"), RAISED, json_=json_)


@click.command("delta-reviews")
@json_option
def delta_reviews(*, json_: bool) -> None:
    r"""List the certifications whose tier has risen since, or whose use exceeds the declaration (source "use"): each needs a delta review.

    \b
    Example:
      hilum app delta-reviews --json
    """
    show(api.every("/delta-reviews"), REVIEWS, json_=json_)


@click.command("lower-tier")
@version_argument
@click.argument("tier", type=TIERS)
@click.option(
    "--reason", required=True, help="Why it may count as of a lower tier until then; it is recorded."
)
@_CONTROL
@click.option("--until", type=MOMENT, required=True, help="When it ends by itself, such as 2026-12-01.")
@json_option
def lower_tier(
    version_id: str, tier: str, *, reason: str, control: str, until: datetime, json_: bool
) -> None:
    r"""Ask a second person to let a version count as of a lower tier than the computed one, for a time.

    \b
    Example:
      hilum app lower-tier ver_01h... moderate --until 2026-12-01T00:00:00Z --reason "certified again by then" \
        --control "a nurse looks at each list"
    """
    body = {"tier": tier, "reason": reason, "control": control, "ends_at": until.isoformat()}
    show_done(api.call("POST", _path(version_id, "lower-tier"), body), json_=json_)


@click.command("allow-autonomous")
@version_argument
@tenant_option
@click.option("--reason", required=True, help="Why its AI may write alone until then; it is recorded.")
@_CONTROL
@click.option("--until", type=MOMENT, required=True, help="When it ends by itself, such as 2026-12-01.")
@json_option
def allow_autonomous(
    version_id: str, *, tenant: str, reason: str, control: str, until: datetime, json_: bool
) -> None:
    r"""Ask a second person of a hospital to let a version's AI write there without a person, for a time.

    \b
    Example:
      hilum app allow-autonomous ver_01h... --tenant general --until 2026-12-01T00:00:00Z \
        --reason "nights have no second pharmacist" --control "the pharmacy checks each entry daily"
    """
    at = api.require_tenant(tenant)
    body = {"tenant": at, "reason": reason, "control": control, "ends_at": until.isoformat()}
    show_done(api.call("POST", _path(version_id, "autonomous-writes"), body), json_=json_)


@click.command("exceptions")
@json_option
def exceptions(*, json_: bool) -> None:
    r"""List lowered tiers and autonomous writes, newest first, with the reason for each that has no effect.

    \b
    Example:
      hilum policy exceptions --json
    """
    found = api.every("/policies/exceptions")
    if not json_:
        found = [{**each, "control": each["control"] or "none stated"} for each in found]
    show(found, EXCEPTIONS, json_=json_)


@click.command("end-exception")
@click.argument("exception_id", metavar="EXCEPTION")
@click.option("--reason", required=True, help="Why; it is recorded.")
@json_option
def end_exception(exception_id: str, *, reason: str, json_: bool) -> None:
    r"""End an exception at once. This takes one person.

    \b
    Example:
      hilum policy end-exception exc_01 --reason "certified again"
    """
    path = f"/policies/exceptions/{api.segment(exception_id)}/end"
    show_done(api.call("POST", path, {"reason": reason}), json_=json_)


COMMANDS = (tier, raise_tier, end_raise, raised, delta_reviews, lower_tier, allow_autonomous)
