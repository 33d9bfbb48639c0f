"""``hilum``: the command line's entry."""

import gc
import os
from functools import partial
from importlib import import_module

import click

from hilum.foundation.actions.live import declared
from hilum.foundation.infra import logs
from hilum.surfaces.cli import actions

MODULES = {
    "app": "surfaces.cli.apps",
    "approval": "server.commands.people",
    "audit": "server.commands.records",
    "backup": "server.commands.backups",
    "break-glass": "surfaces.cli.break_glass",
    "certificate": "surfaces.cli.certificates",
    "client": "surfaces.cli.clients",
    "consent": "surfaces.cli.consents",
    "contact": "surfaces.cli.contacts",
    "deletion-request": "surfaces.cli.deletion_requests",
    "defect": "surfaces.cli.defects",
    "doctor": "server.commands.doctor",
    "drill": "surfaces.cli.drills",
    "evidence": "surfaces.cli.evidence",
    "explain": "server.commands.switches",
    "facility": "surfaces.cli.facilities",
    "history": "surfaces.cli.disclosures",
    "finding": "surfaces.cli.app_findings",
    "hold": "surfaces.cli.holds",
    "idp": "surfaces.cli.identity_providers",
    "init": "server.commands.server",
    "installation": "surfaces.cli.installations",
    "keys": "server.commands.keys",
    "listing": "surfaces.cli.listings",
    "login": "surfaces.cli.resources",
    "confirm": "surfaces.cli.resources",
    "migrate": "server.commands.server",
    "notices": "surfaces.cli.notices",
    "person": "server.commands.people",
    "policy": "surfaces.cli.policies",
    "request": "surfaces.cli.requests",
    "restore": "server.commands.backups",
    "review": "surfaces.cli.reviews",
    "sandbox": "server.commands.sandbox",
    "serve": "server.commands.server",
    "session": "surfaces.cli.sessions",
    "switch": "server.commands.switches",
    "tenant": "server.commands.offboardings",
    "vendor": "surfaces.cli.vendors",
    "webhook": "surfaces.cli.notices",
}
"""The module of each command. Only that of the command in use is imported: loading all of them takes longer than most commands run."""

COLLECT_EVERY = 20_000
"""Objects allocated and not freed before the collector examines its youngest generation."""
PRIVATE = 0o077
"""The umask: files hold records and keys, so only their owner may read them, also those that a library creates."""
SERVING = frozenset({"serve", "sandbox"})
"""Their log is read by machines. The other commands log errors only: a person would read each warning twice, as JSON and as the refusal."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the base class passes it
        return [*MODULES, *(noun for noun in declared() if noun not in MODULES)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the base class passes it
        if cmd_name not in MODULES:
            return actions.group_of(cmd_name) if cmd_name in declared() else None
        # What a module makes stays, and the collector would walk it again and again: a fifth of a start.
        gc.set_threshold(COLLECT_EVERY, 20, 50)
        command: click.Command = getattr(
            import_module(f"hilum.{MODULES[cmd_name]}"), cmd_name.replace("-", "_")
        )
        if isinstance(command, click.Group):
            actions.add_declared(cmd_name, command)
        _keep_examples(command)
        return command


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="hilum")
@click.pass_context
def main(context: click.Context) -> None:
    r"""Govern SMART on FHIR apps at the door of an EHR.

    Host commands work on this machine's data and need its settings (HILUM_SECRET_KEY, HILUM_DATABASE_URL, HILUM_DATA_DIR): init, serve,
    migrate, doctor, backup, restore, audit verify, keys rotate, sandbox, tenant leave export, tenant leave erase; and with --local: switch engage, switch release,
    person deactivate, person reset, person reset-factors, explain.
    All others use the API of a running platform: HILUM_API_URL is its address, and `hilum login` saves an API token of yours.

    \b
    Examples:
      hilum sandbox run
      hilum login --username admin.ferro
      hilum app list
      hilum explain req_01m886m4ymntcfhmb7pj7qg62w

    Exit code: 0 done, 1 refused, 2 misused.
    """
    logs.configure(level="debug" if context.invoked_subcommand in SERVING else "error")
    # The old umask is restored at the end, for callers that run commands within their own process.
    context.call_on_close(partial(os.umask, os.umask(PRIVATE)))


def _keep_examples(command: click.Command) -> None:
    r"""Replace the letters ``\b`` in help texts, which are raw strings, with the character that stops click from rewrapping the examples."""
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    for each in getattr(command, "commands", {}).values():
        _keep_examples(each)


_keep_examples(main)

if __name__ == "__main__":
    main()
