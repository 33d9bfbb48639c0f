"""``hilum defect``: the figure that no action declares, since everybody reads it."""

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.resources import json_option, show_one


@click.group()
def defect() -> None:
    r"""Record defects of apps, and say of those that escaped to production whether the sandbox could have shown them.

    \b
    Examples:
      hilum defect report "Chart Viewer@1.0" --seen-in production --severity high --summary "Shows the wrong dose."
      hilum defect tag def_01h... --scenario patient_switched
    """


@defect.command("figures")
@json_option
def figures(*, json_: bool) -> None:
    r"""Show how many defects escaped to production, and how many of those the sandbox could have shown.

    \b
    Example:
      hilum defect figures
    """
    show_one(api.call("GET", "/defect-figures"), json_=json_)
