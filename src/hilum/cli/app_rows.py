"""``hilum app reread``: after rows of an app were put back by hand, on this host."""

import click

from hilum.cli import host
from hilum.cli.resources import json_option, show_one
from hilum.kernel.ids import AppId


@click.command("reread")
@click.argument("app_id", metavar="APP")
@json_option
def app_reread(app_id: str, *, json_: bool) -> None:
    r"""Have every worker read an app again, with its clients, certifications and installations: after you put rows of it back by hand.

    A worker leaves out a row that cannot be read, and reads it again with the next change of its app or when it starts. APP is the id that
    `hilum doctor` shows. What still does not match gets nothing, as before. Exceptions and overrides are read again when a worker starts.

    \b
    Example:
      hilum app reread app_01h...
    """
    from hilum.installations import service as installations

    hospitals = host.write(lambda ctx: installations.announce_again(ctx, AppId(app_id)))
    # Whoever has the shell needs no account here.
    show_one({"app": app_id, "hospitals": hospitals}, json_=json_, names_of=host.names_of)
