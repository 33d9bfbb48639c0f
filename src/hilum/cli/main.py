"""``hilum``: the command line's entry."""

import gc
import os
from functools import partial
from importlib import import_module

import click

from hilum.infra import logs

MODULES = {
    "alert": "alerts",
    "agreement": "agreements",
    "app": "apps",
    "approval": "people",
    "audit": "records",
    "backup": "backups",
    "break-glass": "break_glass",
    "certificate": "certificates",
    "client": "clients",
    "consent": "consents",
    "contact": "contacts",
    "disposal": "disposals",
    "defect": "defects",
    "doctor": "doctor",
    "drill": "drills",
    "evidence": "evidence",
    "explain": "switches",
    "facility": "facilities",
    "history": "histories",
    "finding": "app_findings",
    "hold": "holds",
    "idp": "identity_providers",
    "init": "server",
    "installation": "installations",
    "keys": "keys",
    "listing": "listings",
    "login": "resources",
    "confirm": "resources",
    "mandate": "mandates",
    "migrate": "server",
    "notices": "notices",
    "person": "people",
    "policy": "policies",
    "request": "requests",
    "restore": "backups",
    "review": "reviews",
    "sandbox": "sandbox",
    "serve": "server",
    "session": "sessions",
    "switch": "switches",
    "tenant": "departures",
    "vendor": "vendors",
    "webhook": "notices",
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
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the base class passes it
        if cmd_name not in MODULES:
            return None
        # What a module makes stays, and the collector would walk it again and again: a fifth of a start.
        gc.set_threshold(COLLECT_EVERY, 20, 50)
        command: click.Command = getattr(
            import_module(f"hilum.cli.{MODULES[cmd_name]}"), cmd_name.replace("-", "_")
        )
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
