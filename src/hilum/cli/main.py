"""``hilum``: the command line's entry."""

import click

from hilum.cli import apps, nouns, records, sandbox, server, switches
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
    records.audit,
    sandbox.sandbox,
    nouns.login,
    nouns.tenant,
    nouns.person,
    apps.vendor,
    apps.app,
    switches.switch,
    switches.explain,
)


def _keep_examples(command: click.Command) -> None:
    """Write the mark by which click leaves lines as they are: docstrings of ours hold it in letters."""
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    for each in getattr(command, "commands", {}).values():
        _keep_examples(each)


for command in COMMANDS:
    _keep_examples(command)
    main.add_command(command)

if __name__ == "__main__":
    main()
