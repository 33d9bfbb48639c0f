"""Commands of ``hilum app``: the tier of a version, delta reviews, and what a version declares of its AI."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import version_argument
from hilum.surfaces.cli.resources import json_option, show, show_one

TIERS = click.Choice(["low", "moderate", "high"])
AUTONOMY = click.Choice(["informs", "drafts", "acts_after_human_step", "acts_alone"])
POPULATION = click.Choice(["one", "up_to_1000", "up_to_100000", "all"])
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


@click.command("tier")
@version_argument
@json_option
def tier(version_id: str, *, json_: bool) -> None:
    r"""Show the risk tier of a version with its reasons, by everything that it is certified for.

    \b
    Example:
      hilum app tier ver_01h...
    """
    show_one(api.call("GET", f"/app-versions/{api.segment(version_id)}/tier"), json_=json_)


@click.command("delta-reviews")
@json_option
def delta_reviews(*, json_: bool) -> None:
    r"""List the certifications whose tier has risen since, or whose use exceeds the declaration (source "use"): each needs a delta review.

    \b
    Example:
      hilum app delta-reviews --json
    """
    show(api.every("/delta-reviews"), REVIEWS, json_=json_)


COMMANDS = (tier, delta_reviews)
