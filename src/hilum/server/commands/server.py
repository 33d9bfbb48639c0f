"""Host commands: set up, serve and migrate the platform on this machine."""

import os
import secrets
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.schema_gate import SchemaState
from hilum.foundation.infra.system import SystemIds
from hilum.foundation.kernel.errors import HilumError, Invalid, NotPermitted, Unavailable
from hilum.foundation.kernel.pages import walk
from hilum.identity.people import service as identity
from hilum.identity.people.models import FIRST_ADMINISTRATORS, NewPerson, Person, StaffRole
from hilum.identity.signin import policy as signin_policy
from hilum.identity.signin import service as signin
from hilum.server.commands import host, preflight
from hilum.server.commands.sandbox import require_credentials_file
from hilum.surfaces.cli.api import base_url
from hilum.surfaces.cli.output import as_json, refuse

if TYPE_CHECKING:
    from hilum.foundation.infra.migrations.run import Plan


@click.command()
@click.option("--username", default="", help="The first administrator's user name.")
@click.option("--name", default="", help="The first administrator's full name.")
@click.option("--password", default="", help="Prompted for if not given.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def init(*, username: str, name: str, password: str, json_: bool) -> None:
    r"""Create the key-encryption key; with it set, add the first two administrators, one in each run.

    Without HILUM_SECRET_KEY a key is created and shown once; it is not stored. If there is data already, no key is created, since it
    would not open that data. With the key set, the database is migrated and an administrator is added, up to two: some actions take
    two people.

    \b
    Examples:
      export HILUM_SECRET_KEY=$(hilum init --json | jq -r .secret_key)
      hilum init --username admin --name "Ada Admin"
    """
    # The key is shown and never stored: a backup of this machine must not contain key and data together.
    if not os.environ.get("HILUM_SECRET_KEY"):
        host.refuse_new_key()
        _show_new_key(json_=json_)
        return
    from hilum.identity.signin.live import hash_password_now

    _migrate()
    username = username or click.prompt("User name of the first administrator")
    name = name or click.prompt("Full name")
    password = password or click.prompt("Password", hide_input=True, confirmation_prompt=True)
    # Hashing takes a fraction of a second of one core; it is
    # done before the transaction begins (security decision 4).
    digest = hash_password_now(password, SystemIds())
    person = host.write(lambda ctx: _add_first_administrator(ctx, username, name, password, digest))
    shown = {"id": person.id, "username": person.username, "role": person.role}
    if json_:
        as_json(shown)
    else:
        click.echo(
            f"{person.username} administers the platform. Next: start `hilum serve`, sign in at {base_url()}/signin and set up a second factor there; "
            f"then `hilum login --username {person.username}`, which asks for its code."
        )


def _show_new_key(*, json_: bool) -> None:
    key = secrets.token_urlsafe(48)
    if json_:
        as_json({"secret_key": key})
        return
    click.echo(
        "Keep this where only the platform can read it; without it, nothing that was sealed can be opened again:"
    )
    click.echo(f"  HILUM_SECRET_KEY={key}")
    click.echo("Then set it and run `hilum init` again to make the first administrator.")


def _add_first_administrator(ctx: Context, username: str, name: str, password: str, digest: str) -> Person:
    # Two, because nobody can approve anything alone; from then
    # on they add others, in the record and by two people.
    administrators = [
        each
        for each in walk(lambda page: identity.list_people(ctx, None, page), lambda each: each.username)
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
        raise Invalid("password_invalid", "This password cannot be used.", fields={"password": fault})
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
    from hilum.server import parts
    from hilum.server.parent_watch import end_with

    found = host.read_settings()
    # A part that the supervisor starts again checks again: the database may have changed since.
    if part != "sandbox":
        preflight.require_fit(found)
    if found.is_sandbox and part in {"all", "sandbox"}:
        require_credentials_file(found)
    # A child ends with its supervisor, even if that is killed and cannot tell it.
    if under:
        end_with(under)
    try:
        if part == "all" or (part == "platform" and not under):
            from hilum.server.supervisor import Supervisor

            names = parts.PARTS if part == "all" else (part,)
            raise SystemExit(Supervisor(found, names=names).run())
        parts.run(part, found)
    except Unavailable as error:
        refuse(error)


@click.command()
@click.option("--plan", "plan_only", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def migrate(*, plan_only: bool, json_: bool) -> None:
    r"""Bring the database to this release's newest migration. Safe to repeat and to run on several nodes at once.

    Prints its plan first. A migration that nodes of an older release cannot work with waits until these have stopped serving.

    \b
    Examples:
      HILUM_DATABASE_URL=postgresql://hilum@db/hilum hilum migrate
      hilum migrate --plan
    """
    # The plan is printed before anything happens, so that an operator can still stop.
    plan = _plan()
    if plan_only:
        _show_plan(plan, json_=json_)
        if plan.gate.state is SchemaState.CLOSED:
            refuse(NotPermitted("database_newer", plan.gate.fault))
        return
    if not json_:
        _show_plan(plan, json_=False)
    _migrate()
    if json_:
        as_json(_plan_as_json(plan))
    elif plan.steps:
        click.echo(f"The database is at migration {plan.steps[-1].revision}.")


def _plan() -> "Plan":
    from hilum.foundation.infra.migrations.run import plan_of

    try:
        return plan_of(host.read_settings().database_url)
    except (HilumError, OSError) as error:
        refuse(error if isinstance(error, HilumError) else _unwritable(error))


def _plan_as_json(plan: "Plan") -> dict[str, Any]:
    return {
        "revision": plan.gate.revision,
        "release": plan.gate.release,
        # The name of this member is public and older than the glossary's "schema state".
        "eligibility": plan.gate.state,
        "steps": [asdict(step) for step in plan.steps],
        "must_stop": [each.name for each in plan.blocking_nodes],
    }


def _show_plan(plan: "Plan", *, json_: bool) -> None:
    if json_:
        as_json(_plan_as_json(plan))
        return
    if plan.gate.state is SchemaState.NEWER:
        click.echo(
            f"The database is at migration {plan.gate.revision}, newer than this release ({plan.gate.release}), and works with it. "
            "Nothing to do."
        )
    elif plan.gate.opens:
        click.echo(f"The database is at migration {plan.gate.revision}. Nothing to do.")
    for step in plan.steps:
        click.echo(f"  {step.revision}  {step.title} (releases from {step.compatible_from} on work with it)")
    for each in plan.blocking_nodes:
        click.echo(
            f"  {each.name} runs release {each.release} and must stop serving first; it will be asked to stop."
        )


def _migrate() -> None:
    from hilum.foundation.infra.migrations.run import migrate as run

    found = host.read_settings()
    try:
        run(found.database_url)
    except (HilumError, OSError) as error:
        refuse(error if isinstance(error, HilumError) else _unwritable(error))
    # After the first migration the key leaves its check value, so that no node starts with another one.
    host.write(preflight.store_key_check)


def _unwritable(error: OSError) -> Unavailable:
    return Unavailable(
        "database_unavailable",
        f"The database cannot be created: {error.strerror}. Check HILUM_DATABASE_URL and its directory.",
    )
