"""Host commands: set up, serve, migrate, look after and verify the platform on this machine."""

import os
import secrets
import sys
from dataclasses import asdict
from typing import Any

import click

from hilum.cli import host
from hilum.cli.output import REFUSED, as_json
from hilum.identity import service as identity
from hilum.identity.models import NewPerson, Person, StaffRole
from hilum.infra.context import Context
from hilum.infra.system import SystemIds
from hilum.kernel.errors import Invalid, NotPermitted
from hilum.signin import policy as signin_policy
from hilum.signin import service as signin


@click.command()
@click.option("--username", default="", help="The first administrator's user name.")
@click.option("--name", default="", help="The first administrator's full name.")
@click.option("--password", default="", help="Asked for when not given.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def init(*, username: str, name: str, password: str, json_: bool) -> None:
    r"""Make the key-encryption key; with it set, make the first administrator.

    Without HILUM_SECRET_KEY a key is made and shown once; it is stored nowhere. With it, the database is migrated and the first
    administrator is added; that works only while there is none.

    \b
    Examples:
      export HILUM_SECRET_KEY=$(hilum init --json | jq -r .secret_key)
      hilum init --username admin --name "Ada Admin"
    """
    if not os.environ.get("HILUM_SECRET_KEY"):
        _show_new_key(json_=json_)
        return
    from hilum.infra.migrations.run import migrate as run
    from hilum.signin.live import hash_password_now

    run(host.read_settings().database_url)
    username = username or click.prompt("User name of the first administrator")
    name = name or click.prompt("Full name")
    password = password or click.prompt("Password", hide_input=True, confirmation_prompt=True)
    digest = hash_password_now(password, SystemIds())
    person = host.write(lambda ctx: _add_first_administrator(ctx, username, name, password, digest))
    made = {"id": person.id, "username": person.username, "role": person.role}
    if json_:
        as_json(made)
    else:
        click.echo(
            f"{person.username} administers the platform. Next: hilum serve, then hilum login --username {person.username}"
        )


def _show_new_key(*, json_: bool) -> None:
    key = secrets.token_urlsafe(48)
    if json_:
        as_json({"secret_key": key})
        return
    click.echo(
        "Keep this where only the platform can read it; without it nothing that was sealed can be opened again:"
    )
    click.echo(f"  HILUM_SECRET_KEY={key}")
    click.echo("Then set it and run `hilum init` again to make the first administrator.")


def _add_first_administrator(ctx: Context, username: str, name: str, password: str, digest: str) -> Person:
    if any(each.role == StaffRole.PLATFORM_ADMIN and each.active for each in identity.list_people(ctx, None)):
        raise NotPermitted(
            "administrator_exists",
            "There is an administrator already; they add others by `hilum person add`.",
        )
    if fault := signin_policy.password_fault(password):
        raise Invalid("password_invalid", "The password cannot be taken.", fields={"password": fault})
    person = identity.add_person(ctx, NewPerson(None, username, name, StaffRole.PLATFORM_ADMIN))
    signin.set_password(ctx, person.id, digest)
    return person


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
    """Verify the audit chains of this installation."""


@audit.command("verify")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def audit_verify(*, json_: bool) -> None:
    r"""Read every chain and checkpoint; report edits, removals, reorderings, and the tail that no checkpoint covers yet.

    \b
    Example:
      hilum audit verify --json
    """
    from hilum.audit import live, service

    found = host.read_settings()
    reader = live.open_reader(found.data_dir / "journal", found.database_url)
    verdict = host.read(lambda ctx: service.verify(ctx, reader))
    if json_:
        as_json({**asdict(verdict), "intact": verdict.intact})
    else:
        click.echo(
            f"{verdict.records} records under {verdict.checkpoints} checkpoints; {verdict.uncovered} not yet covered"
        )
        for fault in verdict.faults:
            click.secho(f"  {fault}", fg="red")
        click.secho(
            "intact" if verdict.intact else "NOT INTACT", fg="green" if verdict.intact else "red", bold=True
        )
    sys.exit(0 if verdict.intact else REFUSED)
