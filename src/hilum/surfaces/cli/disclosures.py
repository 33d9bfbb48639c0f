"""``hilum history``: what apps did with a record."""

from datetime import datetime

import click

from hilum.surfaces.cli.resources import MOMENT, all_option, json_option, limit_option, read_list, show

COLUMNS = ("at", "app", "kind", "resource_type", "count", "records", "outcome", "used_by", "why")


@click.command()
@click.argument("patient")
@click.option("--app", default="", help="Only what one app did, by its id.")
@click.option("--since", type=MOMENT, help="From this moment or day on.")
@click.option("--before", type=MOMENT, help="Before this moment or day.")
@limit_option
@all_option
@json_option
def history(
    patient: str,
    *,
    app: str,
    since: datetime | None,
    before: datetime | None,
    limit: int,
    all_: bool,
    json_: bool,
) -> None:
    r"""List what apps did with your record, or that of a person you act for: what, when, and who permitted it.

    \b
    Examples:
      hilum history pat-117
      hilum history pat-117 --since 2026-11-01 --all --json
    """
    query = {"patient": patient, "app": app}
    query |= {
        name: moment.isoformat()
        for name, moment in (("since", since), ("before", before))
        if moment is not None
    }
    show(read_list("/history", limit, all_=all_, **query), COLUMNS, json_=json_)
