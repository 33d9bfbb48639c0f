"""Host commands: set up, serve, migrate, look after and verify the platform on this machine."""

import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from hilum.cli import host
from hilum.cli.output import REFUSED, as_json, refuse
from hilum.identity import service as identity
from hilum.identity.models import FIRST_ADMINISTRATORS, NewPerson, Person, StaffRole, Tenant
from hilum.infra.context import Context, Trace
from hilum.infra.settings import Settings
from hilum.infra.system import SystemIds
from hilum.kernel.errors import HilumError, Invalid, NotPermitted, Unavailable
from hilum.keys import service as keys
from hilum.keys.live import vault
from hilum.keys.models import Purpose
from hilum.signin import policy as signin_policy
from hilum.signin import service as signin

NAMED_BOUND = 5
"""How many of the things that a key does not open are named."""


@click.command()
@click.option("--username", default="", help="The first administrator's user name.")
@click.option("--name", default="", help="The first administrator's full name.")
@click.option("--password", default="", help="Asked for when not given.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def init(*, username: str, name: str, password: str, json_: bool) -> None:
    r"""Make the key-encryption key; with it set, make the first two administrators, one a run.

    Without HILUM_SECRET_KEY a key is made and shown once; it is stored nowhere. With it, the database is migrated and an
    administrator is added; that works while there are fewer than two, so that there are two people for what takes two.

    \b
    Examples:
      export HILUM_SECRET_KEY=$(hilum init --json | jq -r .secret_key)
      hilum init --username admin --name "Ada Admin"
    """
    if not os.environ.get("HILUM_SECRET_KEY"):
        _show_new_key(json_=json_)
        return
    from hilum.signin.live import hash_password_now

    _migrate()
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
    administrators = [
        each
        for each in identity.list_people(ctx, None)
        if each.role == StaffRole.PLATFORM_ADMIN and each.active
    ]
    if username.strip().lower() in {each.username for each in administrators}:
        raise NotPermitted("administrator_exists", "This administrator exists already.")
    if len(administrators) >= FIRST_ADMINISTRATORS:
        raise NotPermitted(
            "administrator_exists",
            "There are two administrators already; they add others by `hilum person add`.",
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
@click.option("--under", type=int, default=0, hidden=True)
def serve(part: str, under: int) -> None:
    r"""Serve the platform: web workers, jobs, and in sandbox mode the sandbox site.

    \b
    Examples:
      HILUM_WORKERS=4 hilum serve
      hilum serve --part jobs
    """
    from hilum.app import jobs
    from hilum.app import serve as serving
    from hilum.app.parent import end_with

    found = host.read_settings()
    if part != "sandbox":
        host.read(lambda ctx: _fit_to_serve(ctx, found))
    if under:
        end_with(under)
    try:
        if part == "all":
            raise SystemExit(serving.Supervisor(found).run())
        if part == "platform":
            serving.run_web("hilum.app.entry:platform", found.listen, found.workers)
        elif part == "sandbox":
            serving.run_web("hilum.app.entry:sandbox", found.sandbox_listen, 1)
        else:
            jobs.run(found)
    except Unavailable as error:
        refuse(error)


def _fit_to_serve(ctx: Context, found: Settings) -> None:
    """Refuse what would serve wrongly: data of another version, or synthetic hospitals in production."""
    from hilum.infra.migrations.run import is_current

    if not is_current(ctx.tx):
        raise NotPermitted(
            "migrations_missing", "The database is not at the newest migration; run `hilum migrate`."
        )
    if not found.is_sandbox and (synthetic := _sandbox_tenants(ctx)):
        raise NotPermitted(
            "sandbox_tenants", f"Production does not serve synthetic hospitals: {', '.join(synthetic)}."
        )


def _sandbox_tenants(ctx: Context) -> list[str]:
    return [each.id for each in identity.list_tenants(ctx) if each.sandbox]


@click.command()
def migrate() -> None:
    r"""Bring the database to the newest migration. Safe to repeat.

    \b
    Example:
      HILUM_DATABASE_URL=postgresql://hilum@db/hilum hilum migrate
    """
    _migrate()
    click.echo("migrated")


def _migrate() -> None:
    from hilum.infra.migrations.run import migrate as run

    try:
        run(host.read_settings().database_url)
    except (HilumError, OSError) as error:
        refuse(error if isinstance(error, HilumError) else _unwritable(error))


def _unwritable(error: OSError) -> Unavailable:
    return Unavailable("database_unavailable", f"The database cannot be made: {error.strerror}.")


@click.command()
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def doctor(*, json_: bool) -> None:
    r"""Check settings, database, migrations and the key-encryption key, and say what to do about each fault.

    \b
    Example:
      hilum doctor --json
    """
    found = host.read_settings()
    findings = [Finding("settings", ok=True), *_database_findings(found), *_directory_findings(found)]
    if json_:
        as_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'BAD '} {finding.check}  {finding.next}".rstrip())
    sys.exit(0 if all(finding.ok for finding in findings) else REFUSED)


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, whether it is well, and what to do next where it is not."""

    check: str
    ok: bool
    next: str = ""


def _database_findings(found: Settings) -> Iterator[Finding]:
    from hilum.infra.migrations.run import is_current

    file = Path(found.database_url.removeprefix("sqlite:///"))
    if found.database_url.startswith("sqlite") and not file.is_file():
        yield Finding("database", ok=False, next=f"{file} is not there yet: run `hilum migrate`")
        return
    edge = host.open_edge(found)
    trace = Trace(edge.ids.new("req"), source="host")
    try:
        current = edge.read_now(lambda ctx: is_current(ctx.tx), actor=host.actor(), trace=trace)
        yield Finding("database", ok=True)
        yield Finding("migrations", ok=current, next="" if current else "run `hilum migrate`")
        if current:
            yield edge.read_now(_secret_key_finding, actor=host.actor(), trace=trace)
        if current and not found.is_sandbox:
            synthetic = edge.read_now(_sandbox_tenants, actor=host.actor(), trace=trace)
            told = f"production does not serve them: {', '.join(synthetic)}" if synthetic else ""
            yield Finding("no synthetic hospitals", ok=not synthetic, next=told)
    except Unavailable as error:
        yield Finding(
            "database", ok=False, next=f"{error.detail} Look at HILUM_DATABASE_URL and at the server."
        )
    finally:
        edge.close()


def _secret_key_finding(ctx: Context) -> Finding:
    """Try the key on what is sealed in the database: signing keys, and the credentials of FHIR servers."""
    tenants = identity.list_tenants(ctx)
    rings = [(Purpose.CHECKPOINT, ""), *((Purpose.ID_TOKEN, each.id) for each in tenants)]
    shut = [
        f"the signing key of {ring or 'the audit'}"
        for purpose, ring in rings
        if not keys.opens(ctx, purpose, ring)
    ]
    shut += [
        f"the FHIR server's credentials of {each.id}" for each in tenants if not _opens_credentials(each)
    ]
    if not shut:
        return Finding("secret key", ok=True)
    named = ", ".join(shut[:NAMED_BOUND])
    more = f" and {len(shut) - NAMED_BOUND} more" if len(shut) > NAMED_BOUND else ""
    advice = "set the key that this data was sealed with; a restored backup needs the key of its time"
    return Finding("secret key", ok=False, next=f"HILUM_SECRET_KEY does not open {named}{more}: {advice}")


def _opens_credentials(tenant: Tenant) -> bool:
    from hilum.upstream.live import PURPOSE
    from hilum.upstream.policy import host_of

    upstream = tenant.upstream
    try:
        return not upstream.credentials_sealed or bool(
            vault().open(PURPOSE, upstream.credentials_sealed, host_of(upstream.url))
        )
    except Invalid:
        return False


def _directory_findings(found: Settings) -> Iterator[Finding]:
    where = found.data_dir
    if not where.is_dir():
        yield Finding("data directory", ok=False, next=f"make {where}")
    else:
        writable = os.access(where, os.W_OK)
        yield Finding(
            "data directory", ok=writable, next="" if writable else f"let the platform write to {where}"
        )
