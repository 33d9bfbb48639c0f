"""``hilum sandbox``: three synthetic hospitals on this machine."""

import os
import secrets
import sys
from dataclasses import asdict
from pathlib import Path

import click

from hilum.foundation.infra.context import Context
from hilum.foundation.infra.settings import SETTINGS, Settings
from hilum.foundation.kernel.errors import HilumError, NotFound, NotPermitted
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.lists import counted
from hilum.identity.people import service as identity
from hilum.identity.people.models import UpstreamKind
from hilum.server.commands import host, preflight
from hilum.surfaces.cli.output import as_json, refuse
from hilum.surfaces.cli.resources import json_option
from hilum.surfaces.cli.sandbox_faults import fault
from hilum.surfaces.cli.sandbox_snapshots import snapshot

DATA_DIR = ".hilum"
PORT = click.option(
    "--port",
    default=lambda: int(os.environ.get("PORT", "8000")),
    show_default="8000",
    help="Port of the platform.",
)
SANDBOX_PORT = click.option(
    "--sandbox-port",
    default=lambda: int(os.environ.get("SANDBOX_PORT", "8001")),
    show_default="8001",
    help="Port of the sandbox site.",
)


@click.group()
def sandbox() -> None:
    r"""Seed and serve the synthetic hospitals.

    \b
    Examples:
      hilum sandbox run
      hilum sandbox seed
      hilum sandbox load patients.ndjson --hospital general
      hilum sandbox fault make slow --client "Lumen Chart" --tenant general
      hilum sandbox snapshot create mine
    """


sandbox.add_command(fault)
sandbox.add_command(snapshot)


@sandbox.command()
@PORT
@SANDBOX_PORT
def run(port: int, sandbox_port: int) -> None:
    r"""Set everything up, seed once, and serve until Ctrl-C.

    \b
    Examples:
      hilum sandbox run
      hilum sandbox run --port 9000 --sandbox-port 9001
    """
    _defaults(port, sandbox_port)
    found = host.read_settings()
    prepare(found)
    preflight.require_fit(found)
    from hilum.server.supervisor import Supervisor

    try:
        raise SystemExit(Supervisor(found).run(lambda: welcome(found)))
    except HilumError as error:
        refuse(error)


@sandbox.command()
@PORT
@SANDBOX_PORT
def seed(port: int, sandbox_port: int) -> None:
    r"""Migrate and seed without serving. Safe to repeat.

    \b
    Example:
      hilum sandbox seed
    """
    _defaults(port, sandbox_port)
    prepare(host.read_settings())


@sandbox.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--hospital",
    default="general",
    show_default=True,
    help="Into which synthetic hospital, or snapshot by its id.",
)
@json_option
def load(files: tuple[Path, ...], hospital: str, *, json_: bool) -> None:
    r"""Load your own FHIR R4 data: Bundles, NDJSON files (.ndjson) or single resources as JSON.

    Every resource is checked before any is stored; each is stored under its own id, so that loading again replaces it. The patients
    appear in the simulator at once, also while it is served. Load synthetic data only: a sandbox protects nobody's record.

    \b
    Examples:
      hilum sandbox load patients.ndjson observations.ndjson
      hilum sandbox load bundles/*.json --hospital clinic --json
      hilum sandbox load patients.ndjson --hospital own-4f1d0c6a2b7e4d90a1c3b5e7f9
    """
    require_ehr()
    from hilum.server import own_data

    _defaults(int(os.environ.get("PORT", "8000")), int(os.environ.get("SANDBOX_PORT", "8001")))
    found = host.read_settings()
    require_credentials_file(found)
    tenant = host.read(lambda ctx: identity.find_tenant(ctx, TenantId(hospital)))
    try:
        if tenant is None or not tenant.sandbox or tenant.upstream.kind is not UpstreamKind.EMBEDDED:
            raise NotFound("tenant_not_found", f"There is no synthetic hospital {hospital[:64]!r} here.")
        with click.progressbar(length=1_000, label="loading", show_eta=False, file=sys.stderr) as bar:
            loaded = own_data.load(
                found,
                tenant.id,
                list(files),
                progress=lambda share: bar.update(max(0, int(share * 1_000) - bar.pos)),
            )
    except HilumError as error:
        refuse(error)
    if json_:
        as_json(asdict(loaded))
        return
    for kind, count in loaded.counts.items():
        click.echo(f"{count:8}  {kind}")
    click.echo(f"{counted(len(loaded.patients), 'patient')}, at {found.sandbox_url}/sandbox/h/{tenant.id}")


def welcome(found: Settings) -> None:
    """Print the addresses to open, and how to sign in on the command line."""
    click.echo()
    click.secho("Hilum is running. Everyone in it is synthetic.", bold=True)
    click.echo(f"  Launch an app from a chart   {found.sandbox_url}/sandbox")
    click.echo(f"  The platform                 {found.base_url}/")
    accounts = "Accounts" if found.sandbox_public else "Accounts and passwords"
    click.echo(f"  {accounts:28} {found.sandbox_url}/sandbox/accounts")
    click.echo(f"  The same for scripts         {found.sandbox_url}/sandbox/card.json")
    command = f"{_program()} login --username admin.ferro"
    default = next(each.default for each in SETTINGS if each.name == "HILUM_BASE_URL")
    if found.base_url == default:
        click.echo(f"  On the command line          {command}")
    else:
        click.echo(f"  On the command line          export HILUM_API_URL={found.base_url}")
        click.echo(f"                               {command}")
    from hilum_ehr.sandbox.credentials import FILE_NAME

    password = (
        f"every password is in {found.data_dir / FILE_NAME}"
        if found.sandbox_public
        else "its password is sandbox-admin.ferro"
    )
    click.echo(f"                               ({password})")
    ours = os.environ["HILUM_DATA_DIR"] == DATA_DIR
    removal = "`make clean` removes it." if ours else "delete that folder to start over."
    click.echo(f"  Stop with Ctrl-C. The data is in {found.data_dir}; {removal}")
    sys.stdout.flush()


def _program() -> str:
    """Return the command that starts this program from another terminal in this folder."""
    program = Path(sys.argv[0])
    inside = program.is_absolute() and program.is_relative_to(Path.cwd())
    return os.path.relpath(program) if inside else str(program)


def prepare(found: Settings) -> None:
    """Migrate the database, then seed the sandbox unless it is seeded already. Exits 1 if that is refused."""
    require_ehr()
    from hilum.foundation.infra.migrations.run import migrate
    from hilum.server import seed as plan

    # Seeding writes people with published passwords; refused before anything is created.
    if not found.is_sandbox:
        click.secho(
            "refused: HILUM_MODE is not sandbox; synthetic hospitals are never put into a production platform",
            fg="red",
            err=True,
        )
        raise SystemExit(1)
    found.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        migrate(found.database_url)
    except HilumError as error:
        refuse(error)
    # After migrating, since it reads tables, and before seeding: a production database whose mode was set
    # wrongly is refused.
    host.read(_holds_nobody_real)
    try:
        with click.progressbar(
            length=100, label="synthetic hospitals", show_eta=False, file=sys.stderr
        ) as bar:
            plan.carry_out(found, progress=lambda share: bar.update(max(0, int(share * 100) - bar.pos)))
    except HilumError as error:
        refuse(error)
    require_credentials_file(found)
    with click.progressbar(
        length=100, label="templates of snapshots", show_eta=False, file=sys.stderr
    ) as bar:
        plan.make_templates(found, progress=lambda share: bar.update(max(0, int(share * 100) - bar.pos)))
    # Checked after seeding too: a sandbox may have been seeded for one person and now be opened to strangers.
    uow = host.open_uow(found)
    try:
        preflight.require_unpublished(uow, found)
    except HilumError as error:
        refuse(error)
    finally:
        uow.close()


def require_credentials_file(found: Settings) -> None:
    """Exit 1 if this sandbox's files are not on this node, or if it is open to strangers but has the published passwords."""
    require_ehr()
    from hilum_ehr.sandbox.credentials import FILE_NAME, CredentialsFile

    if (found.data_dir / FILE_NAME).is_file():
        try:
            # The credentials file says for whom the passwords were drawn;
            # the mode of this process may have changed since.
            seeded_for_strangers = CredentialsFile.load(found.data_dir / FILE_NAME).public
        except HilumError as error:
            refuse(error)
        if found.sandbox_public and not seeded_for_strangers:
            from hilum.server.seed import PUBLISHED

            refuse(NotPermitted("published_credentials", PUBLISHED))
        return
    seeded = host.read(lambda ctx: bool(identity.list_tenants(ctx)))
    where = "was seeded on another node or into another directory" if seeded else "has not been seeded"
    advice = (
        "A sandbox is served from one node: set HILUM_DATA_DIR to the directory that holds its files, or set "
        "HILUM_DATABASE_URL to an empty database and run `hilum sandbox seed`"
        if seeded
        else "Run `hilum sandbox seed`"
    )
    refuse(
        NotPermitted(
            "sandbox_files_missing",
            f"{found.data_dir / FILE_NAME} is missing: this sandbox {where}. {advice}.",
        )
    )


def require_ehr() -> None:
    """Exit 1 if the EHR of the sandbox is not installed."""
    # Imported here: it takes longer than most commands of this module.
    from hilum.server import ehr

    try:
        ehr.require_installed()
    except HilumError as error:
        refuse(error)


def _holds_nobody_real(ctx: Context) -> None:
    """Raise NotPermitted for data of a real platform: hospitals that are not synthetic, or staff without any hospital yet."""
    tenants = identity.list_tenants(ctx)
    # Staff without a hospital is a production platform that has just been set up.
    if not all(each.sandbox for each in tenants) or (not tenants and identity.list_people(ctx, None)):
        raise NotPermitted(
            "not_a_sandbox",
            "This data is not a sandbox's. Set HILUM_DATA_DIR and HILUM_DATABASE_URL to others.",
        )


def _defaults(port: int, sandbox_port: int) -> None:
    # setdefault: a sandbox can be placed elsewhere by the same variables as a platform.
    data = Path(os.environ.setdefault("HILUM_DATA_DIR", DATA_DIR))
    os.environ.setdefault("HILUM_MODE", "sandbox")
    os.environ.setdefault("HILUM_BASE_URL", f"http://127.0.0.1:{port}")
    os.environ.setdefault("HILUM_SANDBOX_URL", f"http://localhost:{sandbox_port}")
    os.environ.setdefault("HILUM_DATABASE_URL", f"sqlite:///{data}/hilum.db")
    if not os.environ.get("HILUM_SECRET_KEY"):
        os.environ["HILUM_SECRET_KEY"] = _secret_key(data)


def _secret_key(data: Path) -> str:
    path = data / host.KEY_FILE
    # A database without its key file must not be answered with a new key.
    if not path.exists():
        host.refuse_new_key()
    data.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        # Private from the first byte.
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(48), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
