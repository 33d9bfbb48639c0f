"""``hilum consent``: what people agreed to, as FHIR Consent resources."""

import click

from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import id_of
from hilum.surfaces.cli.output import as_json
from hilum.surfaces.cli.resources import json_option, show

COLUMNS = ("id", "person", "app", "created_at", "last_used_at", "ends_at", "ends_by", "ended", "unused")


@click.group()
def consent() -> None:
    r"""See when agreements with apps end, and export what patients and proxies agreed to.

    \b
    Example:
      hilum consent export --person per_01h...
    """


@consent.command("list")
@click.option("--person", default="", help="Only those of one person: a user name or an id.")
@json_option
def list_(*, person: str, json_: bool) -> None:
    r"""List agreements with apps: when each was last used, when it ends or ended, and the reason with which a refresh fails then.

    With --json also the token families under each.

    A hospital's administrator lists everybody's at the hospital, of staff too, others their own.

    \b
    Examples:
      hilum consent list
      hilum consent list --person pat --json
    """
    person = id_of("person", person)
    where = f"/authorizations?person={api.segment(person)}" if person else "/authorizations"
    show(api.every(where), COLUMNS, json_=json_)


@consent.command("export")
@click.option("--person", default="", help="Only what one person agreed to: a user name or an id.")
@click.option("--authorization", default="", help="Only one agreement, by id, with its history.")
def export(*, person: str, authorization: str) -> None:
    r"""Export agreements as a FHIR R4 Bundle of Consent resources, each in all its versions. It is JSON, and ends with the first hundred agreements.

    A hospital's administrator exports everybody's at the hospital, others their own.

    \b
    Examples:
      hilum consent export > consents.json
      hilum consent export --authorization aut_01h...
    """
    person = id_of("person", person)
    where = f"/consents/{api.segment(authorization)}" if authorization else "/consents"
    as_json(
        api.call("GET", f"{where}?person={api.segment(person)}" if person and not authorization else where)
    )
