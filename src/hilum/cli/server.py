"""Host commands: set up, serve, migrate, look after and verify the platform on this machine."""

import secrets
import sys
from typing import Any

import click

from hilum.cli import host
from hilum.cli.output import REFUSED, as_json
from hilum.infra.context import Context


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def init(*, json_: bool) -> None:
    r"""Make a key-encryption key for HILUM_SECRET_KEY. It is shown once and stored nowhere.

    \b
    Example:
      export HILUM_SECRET_KEY=$(hilum init --json | jq -r .secret_key)
    """
    key = secrets.token_urlsafe(48)
    if json_:
        as_json({"secret_key": key})
        return
    click.echo(
        "Keep this where only the platform can read it; without it nothing that was sealed can be opened again:"
    )
    click.echo(f"  HILUM_SECRET_KEY={key}")
    click.echo("Then: hilum migrate, and hilum person add-admin to make the first administrator.")


@click.command()
@click.option(
    "--part",
    type=click.Choice(["all", "platform", "sandbox", "jobs"]),
    default="all",
    help="Serve one process only.",
)
def serve(part: str) -> None:
    r"""Serve the platform: web workers, jobs, and in sandbox mode the sandbox site.

    \b
    Examples:
      HILUM_WORKERS=4 hilum serve
      hilum serve --part jobs
    """
    from hilum.app import jobs
    from hilum.app import serve as serving

    found = host.read_settings()
    if part == "all":
        raise SystemExit(serving.Supervisor(found).run())
    if part == "platform":
        serving.run_web("hilum.app.entry:platform", found.listen, found.workers)
    elif part == "sandbox":
        serving.run_web("hilum.app.entry:sandbox", found.sandbox_listen, 1)
    else:
        jobs.run(found)


@click.command()
def migrate() -> None:
    r"""Bring the database to the newest migration. Safe to repeat.

    \b
    Example:
      HILUM_DATABASE_URL=postgresql://hilum@db/hilum hilum migrate
    """
    from hilum.infra.migrations.run import migrate as run

    run(host.read_settings().database_url)
    click.echo("migrated")


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def doctor(*, json_: bool) -> None:
    r"""Check settings, database and migrations, and say what to do about each fault.

    \b
    Example:
      hilum doctor --json
    """
    from hilum.infra.migrations.run import is_current

    found = host.read_settings()

    def look(ctx: Context) -> bool:
        return is_current(ctx.tx)

    current = host.read(look)
    findings: list[dict[str, Any]] = [
        {"check": "settings", "ok": True, "next": ""},
        {"check": "database reachable", "ok": True, "next": ""},
        {"check": "migrations", "ok": current, "next": "" if current else "run `hilum migrate`"},
        {
            "check": "data directory",
            "ok": found.data_dir.is_dir(),
            "next": "" if found.data_dir.is_dir() else f"make {found.data_dir}",
        },
    ]
    if json_:
        as_json(findings)
    else:
        for finding in findings:
            click.echo(
                f"{'ok  ' if finding['ok'] else 'BAD '} {finding['check']}  {finding['next']}".rstrip()
            )
    sys.exit(0 if all(finding["ok"] for finding in findings) else REFUSED)


@click.group()
def audit() -> None:
    """Read and verify the audit chains of this machine."""
