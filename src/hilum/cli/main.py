"""``hilum``: the command line's entry."""

import click

from hilum.cli import nouns, sandbox, server, switches
from hilum.infra import logs


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hilum")
def main() -> None:
    """Govern SMART on FHIR apps at the door of an EHR.

    Host commands work on this machine's data; the others speak the API of a running platform (see `hilum login --help`).
    """
    logs.configure()


COMMANDS = (
    server.init,
    server.serve,
    server.migrate,
    server.doctor,
    server.audit,
    sandbox.sandbox,
    nouns.login,
    nouns.tenant,
    nouns.person,
    nouns.vendor,
    nouns.app,
    switches.switch,
    switches.explain,
)
for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
